//! Signatures on thoughts, and on the parts that they led to. The API has them as bytes, which its SDKs
//! decode from Base64 and may encode with the alphabet for URLs.

use super::NAME;
use crate::formats::translate::{Seal, SealKind};

/// What the API takes in place of a signature on a call of a function that no model of its own has made
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>).
pub(super) const NONE: &str = "skip_thought_signature_validator";
/// All that it takes in place of one, and the same as the SDKs send it, which encode it once more.
const STAND_INS: [&str; 4] = [
    NONE,
    "context_engineering_is_the_way_to_go",
    "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
    "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv",
];

/// What a signature of a caller's stands for; `None` for one that stands for none.
pub(super) fn read(signature: &str, kind: SealKind) -> Option<Seal> {
    if signature.is_empty() || STAND_INS.contains(&signature) {
        return None;
    }
    Some(Seal::of(&standard(signature), NAME, kind))
}

/// What the caller gets.
pub(super) fn write(seal: &Seal) -> String {
    if seal.format == NAME {
        seal.value.clone()
    } else {
        seal.closed_base64()
    }
}

/// Base64 in its standard alphabet and with padding, as other APIs want it.
pub(super) fn standard(data: &str) -> String {
    let mut out = data.replace('-', "+").replace('_', "/");
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}
