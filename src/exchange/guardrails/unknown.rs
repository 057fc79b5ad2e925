//! Keys that a format doesn't know. A server may find a tool, a prompt or a text behind one that no
//! guardrail would look for, so a guardrail that decides refuses them by name.

use super::Request;
use crate::formats::known::says_nothing;
use crate::wire::{json, multipart};

/// Keys that are named in a refusal.
const SHOWN: usize = 10;

/// The keys of a request that no guardrail can judge, in words.
pub(super) fn inspect(request: Request<'_>) -> Option<String> {
    let unknown = keys(request);
    let quoted: Vec<String> = unknown
        .iter()
        .take(SHOWN)
        .map(|key| format!("{:?}", key.chars().take(60).collect::<String>()))
        .collect();
    let what = || format!("keys that no guardrail can judge: {}", quoted.join(", "));
    (!quoted.is_empty()).then(what)
}

/// Keys of a request that its format doesn't know, and that its provider's configuration doesn't
/// allow.
fn keys(request: Request<'_>) -> Vec<String> {
    let known = request.api.known;
    let body = &request.call.body[..];
    let passes = |key: &str| request.pass_keys.iter().any(|passed| passed == key);
    if request.is_form() {
        let parts = multipart::parts(body, request.kind).unwrap_or_default();
        let names = parts.into_iter().map(|part| part.name.to_owned());
        return names
            .filter(|name| !known.has_key(name) && !passes(name))
            .collect();
    }
    let mut unknown = Vec::new();
    for (key, value) in json::members(body).unwrap_or_default() {
        // SDKs write `null` for what is not set.
        if says_nothing(&body[value.clone()]) {
            continue;
        }
        let Some(key) = json::string(&body[key]) else {
            continue;
        };
        if let Some((outer, inner)) = known.inside.iter().find(|(outer, _)| *outer == key) {
            let object = &body[value];
            let members = json::members(object).unwrap_or_default();
            let members = members.into_iter();
            let names = members.filter(|(_, value)| !says_nothing(&object[value.clone()]));
            let names = names.filter_map(|(key, _)| json::string(&object[key]));
            let is_unknown = |name: &str| !inner.iter().any(|list| list.contains(&name));
            let names = names.filter(|name| is_unknown(name) && !passes(name));
            unknown.extend(names.map(|name| format!("{outer}.{name}")));
        } else if !known.has_key(&key) && !passes(&key) {
            unknown.push(key.into_owned());
        }
    }
    unknown
}
