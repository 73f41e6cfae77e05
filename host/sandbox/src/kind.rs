//! What kind of file is this? Looked at before a compiler sees a byte of it.
//!
//! People drop all sorts of things into a folder of modules: the wrong build target, a page saved instead of a file, half a copy. The compiler would call
//! them all "invalid"; each has its own cause and its own remedy, and most can be told from the first bytes and the lengths of the top-level sections.

use crate::error::LoadError;

/// The largest file that is looked at. The largest connectors known (Python with its interpreter) have 18 MiB.
pub const MAX_MODULE_BYTES: usize = 64 << 20;

const MAGIC: &[u8] = b"\0asm";

/// What loading looks at first, before anything is compiled or hashed: is this a whole component, by its head and the lengths of its sections? For
/// whoever wants to say something of a file without an engine. That a file passes promises nothing more.
///
/// # Errors
/// What it is instead, in one line to stand behind the file's name.
pub fn recognise(bytes: &[u8]) -> Result<(), LoadError> {
    check(bytes)
}

/// What a file of more than [`MAX_MODULE_BYTES`] is, by its beginning (some KiB of it): for whoever does not read such a file whole.
#[must_use]
pub fn oversized(beginning: &[u8], size: u64) -> LoadError {
    let beginning = beginning.get(..4096).unwrap_or(beginning);
    let what = if beginning.iter().all(|b| *b == 0) {
        "it begins with zeros: it was probably copied half, or its disk was full; copy the file again".to_owned()
    } else {
        match beginning.strip_prefix(MAGIC) {
            None => format!("it is {}, not a WebAssembly component: put the connector's .wasm file here", name_other(beginning)),
            Some([_, _, 0, 0, ..]) => format!("it is a core WebAssembly module, not a component: {}", core_advice(beginning)),
            Some(_) => "build it with optimisation, and without debug information".to_owned(),
        }
    };
    LoadError::TooLarge { size, limit: MAX_MODULE_BYTES as u64, what }
}

/// Refuses what can't be a component.
pub(crate) fn check(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if bytes.len() > MAX_MODULE_BYTES {
        return Err(oversized(bytes, bytes.len() as u64));
    }
    if bytes.iter().all(|b| *b == 0) {
        return Err(LoadError::Zeros(bytes.len() as u64));
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(LoadError::NotWasm(name_other(bytes)));
    };
    let (version, layer) = match rest {
        [a, b, c, d, ..] => (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])),
        _ => return Err(LoadError::Truncated { at: 0, wanted: 8, there: bytes.len() as u64 }),
    };
    if layer == 0 {
        return Err(LoadError::CoreModule(core_advice(bytes)));
    }
    // 0x0d is what every released toolchain writes for the component layer.
    if layer != 1 || version != 0x0d {
        return Err(LoadError::Format(version));
    }
    check_sections(bytes)
}

/// Walks the top-level sections by their lengths alone.
fn check_sections(bytes: &[u8]) -> Result<(), LoadError> {
    let mut at = 8;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.len() >= 8 && rest.iter().all(|b| *b == 0) {
            // Space was set aside for the file, and the copy stopped here.
            return Err(LoadError::Truncated { at: at as u64, wanted: rest.len() as u64, there: 0 });
        }
        let body = rest.get(1..).unwrap_or_default();
        let Some((length, taken)) = leb(body) else {
            return Err(LoadError::Truncated { at: at as u64, wanted: 2, there: rest.len() as u64 });
        };
        let there = (body.len().saturating_sub(taken)) as u64;
        if length > there {
            return Err(LoadError::Truncated { at: at as u64, wanted: length, there });
        }
        at = at.saturating_add(1).saturating_add(taken).saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// An unsigned LEB128 of at most 32 bits, with its own length.
fn leb(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|w| w == word)
}

/// How a core module probably came to be.
fn core_advice(bytes: &[u8]) -> String {
    // Only Rust builds components by itself.
    const WRAP: &str =
        "In Rust, build it for wasm32-wasip2; in other languages, run `wasm-tools component embed` and `wasm-tools component new` on it";
    if contains(bytes, b"component-type") {
        "it has bindings inside but was never wrapped. Run `wasm-tools component new` on it; in Rust, build it for wasm32-wasip2".into()
    } else if contains(bytes, b"wasi_snapshot_preview1") {
        format!("it was built for wasm32-wasip1. {WRAP}")
    } else {
        format!("it was probably built for wasm32-unknown-unknown. {WRAP}")
    }
}

/// A name for what is no WebAssembly.
fn name_other(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 9] = [
        (b"\x7fELF", "a program for this computer (ELF)"),
        (b"MZ", "a Windows program"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\xfd7zXZ", "an xz archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\x89PNG", "a picture"),
        (b"version https://git-lfs", "a placeholder of Git LFS (run `git lfs pull`)"),
        (b"(component", "the text form of a component (assemble it with `wasm-tools parse`)"),
    ];
    let start = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    let trimmed = start.trim_ascii_start();
    for (magic, name) in known {
        if start.starts_with(magic) || trimmed.starts_with(magic) {
            return name.into();
        }
    }
    let lower = trimmed.to_ascii_lowercase();
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") {
        return "a web page (the download probably failed)".into();
    }
    let text = start.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..));
    if text { "a text file".into() } else { "an unknown kind of file".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";

    fn refused(bytes: &[u8]) -> String {
        check(bytes).unwrap_err().to_string()
    }

    #[test]
    fn each_wrong_file_is_named_with_its_cause() {
        let cases: [(&[u8], &str); 15] = [
            (b"", "is empty"),
            (&[0; 100], "only zeros (100 bytes)"),
            (b"\0asm", "ends too early"),
            (b"\0asm\x01\0\0\0", "wasm32-unknown-unknown"),
            (b"\0asm\x01\0\0\0...wasi_snapshot_preview1", "wasm32-wasip1"),
            (b"\0asm\x01\0\0\0...wasi_snapshot_preview1", "`wasm-tools component embed` and"),
            (b"\0asm\x01\0\0\0...component-type:x", "component new"),
            (b"\0asm\x01\0\0\0...component-type:x", "wasm32-wasip2"),
            (b"\0asm\x0c\0\x01\0", "version 12"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"name = \"github\"\n", "a text file"),
            (b"\x7fELF\x02\x01", "ELF"),
            (b"PK\x03\x04....", "zip"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
            (b"\x01\x02\x03\x04", "unknown kind"),
        ];
        for (bytes, word) in cases {
            let text = refused(bytes);
            assert!(text.contains(word), "{bytes:?}: {text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_named_by_its_beginning() {
        let cases: [(&[u8], &str); 5] = [
            (&[0; 100], "it begins with zeros: it was probably copied half"),
            (b"PK\x03\x04....", "it is a zip archive, not a WebAssembly component"),
            (b"\0asm\x01\0\0\0...wasi_snapshot_preview1", "not a component: it was built for wasm32-wasip1"),
            (HEAD, "build it with optimisation"),
            (b"\0asm", "build it with optimisation"),
        ];
        for (beginning, word) in cases {
            let text = oversized(beginning, 80 << 20).to_string();
            assert!(text.starts_with("has 83886080 bytes, and this host takes modules of up to 67108864; "), "{text}");
            assert!(text.contains(word) && !text.contains('\n'), "{beginning:?}: {text}");
        }
        let zeros = vec![0; MAX_MODULE_BYTES + 1];
        assert_eq!(check(&zeros), Err(oversized(&[0; 10], zeros.len() as u64)));
    }

    #[test]
    fn half_a_copy_is_told_by_its_sections() {
        let whole = [HEAD, b"\x00\x05\x01nabc", b"\x00\x03\x01xy"].concat();
        assert_eq!(check(&whole), Ok(()));
        assert_eq!(check(&whole[..whole.len() - 1]), Err(LoadError::Truncated { at: 15, wanted: 3, there: 2 }));
        assert_eq!(check(&whole[..9]), Err(LoadError::Truncated { at: 8, wanted: 2, there: 1 }));
        let padded = [HEAD, b"\x00\x05\x01nabc", &[0; 500]].concat();
        assert!(refused(&padded).contains("copied half"));
        let huge = [HEAD, b"\x01\xff\xff\xff\xff\x0f"].concat();
        assert!(refused(&huge).contains("4294967295 bytes"));
    }
}
