//! Every secret is sealed with what it belongs to: moved anywhere else, or changed by one bit, it does not open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_vault::{DataKey, Identity, OsRandom, SealError, Vault, WrappedKey};
use std::sync::Arc;

const TOKEN: &[u8] = b"gho_canary-0123456789abcdefghij";
const HERE: Identity<'static> = Identity { connector: "github", connection: "c-7f3a", name: "access-token", guest: false };

fn vault() -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let (vault, _) = Vault::open(&folder.path().join("key"), false, Arc::new(OsRandom)).unwrap();
    (folder, vault)
}

fn refused(data: &DataKey, id: &Identity<'_>, sealed: &[u8]) -> SealError {
    match data.open(id, sealed) {
        Ok(_) => panic!("opened as {id:?}"),
        Err(why) => why,
    }
}

#[test]
fn a_credential_opens_where_it_belongs() {
    let (_folder, vault) = vault();
    let (data, wrapped) = vault.new_data_key("c-7f3a");
    let sealed = data.seal(&HERE, TOKEN);
    assert!(!sealed.windows(8).any(|w| TOKEN.windows(8).any(|t| t == w)), "the plaintext shows through");
    assert!(data.open(&HERE, &sealed).unwrap().matches(TOKEN));
    let again = vault.unwrap("c-7f3a", &wrapped).unwrap();
    assert!(again.open(&HERE, &sealed).unwrap().matches(TOKEN));
    assert!(data.open(&HERE, &data.seal(&HERE, b"")).unwrap().is_empty());
}

#[test]
fn a_ciphertext_moved_to_any_other_identity_does_not_open() {
    let (_folder, vault) = vault();
    let (data, _) = vault.new_data_key("c-7f3a");
    let sealed = data.seal(&HERE, TOKEN);
    let connectors = ["github", "lastfm", "githu", "githubc", ""];
    let connections = ["c-7f3a", "c-7f3b", "-7f3a", "c-7f3aa", ""];
    let names = ["access-token", "refresh-token", "access-toke", "aaccess-token", ""];
    let mut moved = 0;
    for connector in connectors {
        for connection in connections {
            for name in names {
                for guest in [false, true] {
                    let id = Identity { connector, connection, name, guest };
                    if id == HERE {
                        continue;
                    }
                    assert_eq!(refused(&data, &id, &sealed), SealError::Refused, "{id:?}");
                    moved += 1;
                }
            }
        }
    }
    assert_eq!(moved, 5 * 5 * 5 * 2 - 1);
}

#[test]
fn a_ciphertext_of_another_connection_or_host_does_not_open() {
    let (_folder, vault) = vault();
    let (data, wrapped) = vault.new_data_key("c-7f3a");
    let (other, _) = vault.new_data_key("c-7f3a");
    let sealed = data.seal(&HERE, TOKEN);
    assert_eq!(refused(&other, &HERE, &sealed), SealError::Refused);

    // The wrapped key itself moved to another connection's row.
    assert_eq!(vault.unwrap("c-0000", &wrapped).err(), Some(SealError::Refused));
    // Another host's key ring.
    let (_folder2, stranger) = self::vault();
    match stranger.unwrap("c-7f3a", &wrapped).err() {
        Some(SealError::UnknownKey { key_id }) => assert_eq!(key_id, vault.key_id()),
        other => panic!("{other:?}"),
    }
    // … that claims to be ours.
    let posing = WrappedKey { key_id: stranger.key_id().to_owned(), bytes: wrapped.bytes.clone() };
    assert_eq!(stranger.unwrap("c-7f3a", &posing).err(), Some(SealError::Refused));
}

#[test]
fn each_single_flipped_bit_is_an_error() {
    let (_folder, vault) = vault();
    let (data, wrapped) = vault.new_data_key("c-7f3a");
    let sealed = data.seal(&HERE, TOKEN);
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..sealed.len() * 8 {
        refused(&data, &HERE, &flip(&sealed, bit));
    }
    for bit in 0..wrapped.bytes.len() * 8 {
        let changed = WrappedKey { key_id: wrapped.key_id.clone(), bytes: flip(&wrapped.bytes, bit) };
        assert!(vault.unwrap("c-7f3a", &changed).is_err(), "bit {bit} of the wrapped key");
    }
    let host = vault.seal("flow", TOKEN);
    for bit in 0..host.len() * 8 {
        assert!(vault.open_sealed("flow", &flip(&host, bit)).is_err(), "bit {bit} of the host's value");
    }
}

#[test]
fn each_cut_and_each_added_byte_is_an_error() {
    let (_folder, vault) = vault();
    let (data, wrapped) = vault.new_data_key("c-7f3a");
    let sealed = data.seal(&HERE, TOKEN);
    for len in 0..sealed.len() {
        refused(&data, &HERE, &sealed[..len]);
        refused(&data, &HERE, &sealed[sealed.len() - len..]);
    }
    refused(&data, &HERE, &[&sealed[..], b"\0"].concat());
    for len in 0..wrapped.bytes.len() {
        assert!(vault.unwrap("c-7f3a", &WrappedKey { key_id: wrapped.key_id.clone(), bytes: wrapped.bytes[..len].to_vec() }).is_err());
    }
    let host = vault.seal("flow", TOKEN);
    for len in 0..host.len() {
        assert!(vault.open_sealed("flow", &host[..len]).is_err());
    }
}

#[test]
fn the_hosts_own_values_open_in_their_own_context_only() {
    let (_folder, vault) = vault();
    let sealed = vault.seal("flow/state-1", b"verifier");
    assert!(vault.open_sealed("flow/state-1", &sealed).unwrap().matches(b"verifier"));
    for context in ["flow/state-2", "flow", "", "flow/state-11"] {
        assert_eq!(vault.open_sealed(context, &sealed).err(), Some(SealError::Refused), "{context}");
    }
    // A credential is not a host value, and a wrapped key is neither.
    let (data, wrapped) = vault.new_data_key("c");
    assert!(vault.open_sealed("flow/state-1", &data.seal(&HERE, TOKEN)).is_err());
    assert!(vault.open_sealed("c", &wrapped.bytes).is_err());
    let mut posing = vault.key_id().as_bytes().to_vec();
    posing.extend_from_slice(&wrapped.bytes);
    assert_eq!(vault.open_sealed("c", &posing).err(), Some(SealError::Refused));
}

#[test]
fn an_error_never_shows_the_value() {
    let (_folder, vault) = vault();
    let (data, _) = vault.new_data_key("c-7f3a");
    let mut sealed = data.seal(&HERE, TOKEN);
    sealed[30] ^= 1;
    let why = refused(&data, &HERE, &sealed);
    let text = format!("{why} {why:?}");
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains("link the account again"), "{text}");
}
