use super::*;

const SECRET: &str = "s3cr/t+\"é\\&=x~y 7";

fn scrubber() -> Scrubber {
    Scrubber::new([SECRET.as_bytes()])
}

#[test]
fn each_form_of_a_secret_is_found() {
    let hex: String = SECRET.bytes().map(|b| format!("{b:02x}")).collect();
    for (what, text) in [
        ("raw", SECRET.to_owned()),
        ("percent, all", "s3cr%2Ft%2B%22%C3%A9%5C%26%3Dx%7Ey%207".into()),
        ("percent, unreserved kept", "s3cr%2Ft%2B%22%C3%A9%5C%26%3Dx~y%207".into()),
        ("percent, lower case", "s3cr%2ft%2b%22%c3%a9%5c%26%3dx~y%207".into()),
        ("form", "s3cr%2Ft%2B%22%C3%A9%5C%26%3Dx%7Ey+7".into()),
        ("path kept", "s3cr/t+%22%C3%A9%5C&=x~y%207".into()),
        ("json", r#"s3cr/t+\"é\\&=x~y 7"#.into()),
        ("json, slashes", r#"s3cr\/t+\"é\\&=x~y 7"#.into()),
        ("json, unicode", r#"s3cr/t+\"\u00e9\\&=x~y 7"#.into()),
        ("json, unicode and slashes", r#"s3cr\/t+\"\u00e9\\&=x~y 7"#.into()),
        ("json, safe for html", r#"s3cr\/t+\"\u00e9\\\u0026=x~y 7"#.into()),
        ("html", "s3cr/t+&quot;é\\&amp;=x~y 7".into()),
        ("percent, everything", SECRET.bytes().map(|b| format!("%{b:02X}")).collect()),
        ("percent, everything in lower case", SECRET.bytes().map(|b| format!("%{b:02x}")).collect()),
        ("json, everything", SECRET.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()),
        ("json, everything in upper case", SECRET.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect()),
        ("hex", hex.clone()),
        ("HEX", hex.to_uppercase()),
    ] {
        let inside = format!("before {text} after");
        assert!(scrubber().finds(inside.as_bytes()), "{what}");
        assert_eq!(scrubber().text(&inside), "before *** after", "{what}");
        assert_eq!(scrubber().bytes(inside.into_bytes()), b"before *** after", "{what}");
    }
}

#[test]
fn base64_is_found_wherever_the_secret_begins() {
    for before in ["", "a", "ab", "abc", "user:", "Basic x:"] {
        for after in ["", "z", "zz", "zzz"] {
            let plain = format!("{before}{SECRET}{after}");
            for encoded in
                [STANDARD_NO_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain), base64::engine::general_purpose::STANDARD.encode(&plain)]
            {
                assert!(scrubber().finds(encoded.as_bytes()), "{plain}");
                let clean = scrubber().text(&encoded).into_owned();
                // At most two characters of it are left on either side, which mix in bits of what stands beside it.
                let left = clean.len() - STAND_IN.len();
                let beside = (before.len() * 8).div_ceil(6) + (after.len() * 8).div_ceil(6) + 5;
                assert!(left <= beside, "{clean}: {left} > {beside}");
            }
        }
    }
}

#[test]
fn short_values_and_empty_rings_touch_nothing() {
    let short = Scrubber::new([b"abc".as_slice(), b"1234567".as_slice(), "ééééééé".as_bytes(), b""]);
    let text = "abc 1234567 ééééééé 616263";
    assert!(matches!(short.text(text), Cow::Borrowed(_)));
    assert_eq!(short.bytes(text.as_bytes().to_vec()), text.as_bytes());
    assert!(Scrubber::new([b"12345678".as_slice()]).finds(b"x12345678x"), "eight are enough");
    assert!(!Scrubber::default().finds(text.as_bytes()));
}

#[test]
fn an_answer_without_a_secret_is_not_copied() {
    let body = vec![b'x'; 100_000];
    let at = body.as_ptr();
    let out = scrubber().bytes(body);
    assert_eq!(out.as_ptr(), at);
    assert!(matches!(scrubber().text("plain"), Cow::Borrowed(_)));
}

#[test]
fn several_secrets_and_overlaps_leave_nothing_behind() {
    let both = Scrubber::new([b"token-aaaa-bbbb".as_slice(), b"token-aaaa-bbbb-cccc".as_slice(), b"refresh-dddd".as_slice()]);
    assert_eq!(both.text("token-aaaa-bbbb-cccc token-aaaa-bbbb refresh-dddd"), "*** *** ***");
    assert_eq!(both.text("refresh-ddddtoken-aaaa-bbbb"), "******");
    let bytes = [b"\xff\xfe".as_slice(), b"refresh-dddd", b"\xff"].concat();
    assert_eq!(both.bytes(bytes), b"\xff\xfe***\xff");
}
