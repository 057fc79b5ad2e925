//! Opaque blobs of providers: reasoning that they encrypt, and signatures on it. They say
//! nothing to anyone but their provider, and they are long, so captures leave them out unless
//! the configuration keeps them (`database.keep_encrypted_blobs`).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Shorter values are left alone: a reader then sees that there was none.
const SHORT: usize = 32;
/// Stands for what was left out.
const LEFT_OUT: &[u8] = b"[left out]";

/// The JSON text without the string values of `keys`.
pub(super) fn without(json: &Bytes, keys: &[&str]) -> Bytes {
    let mut found: Vec<Range<usize>> = keys.iter().flat_map(|key| values(json, key)).collect();
    if found.is_empty() {
        return json.clone();
    }
    found.sort_by_key(|value| value.start);
    let mut out = BytesMut::with_capacity(json.len());
    let mut copied = 0;
    for value in found {
        // A key inside another one's value is gone with it.
        if value.start < copied {
            continue;
        }
        out.extend_from_slice(&json[copied..value.start]);
        out.extend_from_slice(LEFT_OUT);
        copied = value.end;
    }
    out.extend_from_slice(&json[copied..]);
    out.freeze()
}

/// The long string values of a key, without their quotes. In JSON text a quote that is not
/// escaped begins or ends a string, so the quoted key stands nowhere but where it is a string
/// of its own.
fn values(json: &[u8], key: &str) -> Vec<Range<usize>> {
    let quoted = format!("\"{key}\"");
    memmem::find_iter(json, quoted.as_bytes())
        .filter(|at| !is_escaped(json, *at))
        .filter_map(|at| value(json, at + quoted.len()))
        .filter(|value| value.len() >= SHORT)
        .collect()
}

fn value(json: &[u8], after_key: usize) -> Option<Range<usize>> {
    let colon = skip_space(json, after_key);
    if json.get(colon) != Some(&b':') {
        return None;
    }
    let open = skip_space(json, colon + 1);
    if json.get(open) != Some(&b'"') {
        return None;
    }
    let start = open + 1;
    let end = memchr::memchr_iter(b'"', &json[start..])
        .map(|quote| start + quote)
        .find(|quote| !is_escaped(json, *quote))
        // What was cut off before its end is left out to where it was cut.
        .unwrap_or(json.len());
    Some(start..end)
}

fn skip_space(json: &[u8], from: usize) -> usize {
    let space = json[from.min(json.len())..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    from + space
}

fn is_escaped(json: &[u8], at: usize) -> bool {
    let slashes = json[..at].iter().rev().take_while(|byte| **byte == b'\\');
    slashes.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_all(json: &str) -> String {
        let out = without(
            &Bytes::copy_from_slice(json.as_bytes()),
            &["signature", "data"],
        );
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn long_values_of_the_keys_are_left_out_and_nothing_else() {
        let blob = "Q".repeat(100);
        let json = format!(
            r#"{{"signature" : "{blob}","text":"the \"signature\":\"{blob}\" said","x":["signature","{blob}"],"data":"short","in":{{"data":"{blob}\\\"{blob}"}}}}"#
        );
        let out = without_all(&json);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["signature"], "[left out]");
        assert_eq!(value["in"]["data"], "[left out]");
        assert_eq!(value["data"], "short");
        assert_eq!(value["x"][1], blob.as_str());
        assert!(value["text"].as_str().unwrap().contains(&blob));
    }

    #[test]
    fn a_body_without_any_is_the_same_bytes_and_a_cut_one_no_trouble() {
        let json = Bytes::from_static(br#"{"a":"b"}"#);
        assert_eq!(without(&json, &["signature"]).as_ptr(), json.as_ptr());
        for cut in [r#"{"signature""#, r#"{"signature":"#, r#"{"signature":"\"#] {
            assert_eq!(without_all(cut), cut);
        }
        let cut = format!(r#"{{"signature":"{}"#, "Q".repeat(50));
        assert_eq!(without_all(&cut), r#"{"signature":"[left out]"#);
    }
}
