//! Where secrets are sent: a stored one comes back only where nothing that decides that has changed.
//! Beside a key stand the keys that name its server; headers of grants go to providers, and what is
//! on a tailnet is wherever the gateway's node is.

use std::collections::BTreeSet;

use super::what::{parts, shown, text};
use crate::config::declare::Holds;
use crate::config::file::File;
use crate::config::hujson::{Node, Value};
use crate::config::within::Within;

/// What of the whole document sends secrets elsewhere.
pub(super) struct Moves {
    /// Another tailnet, or none: names and addresses on it are others.
    tailnet: bool,
    /// Providers that are new, or that are elsewhere.
    providers: Vec<String>,
}

impl Moves {
    pub(super) fn between(new: &Node, old: Option<&Node>) -> Self {
        let mut moves = Self {
            tailnet: is_another_tailnet(new, old),
            providers: Vec::new(),
        };
        let within = File::within().member("providers");
        let providers = new.member("providers").map_or(&[][..], Node::members);
        let before = old.and_then(|old| old.member("providers"));
        for member in providers {
            let old = before.and_then(|before| before.member(&member.key));
            let within = within.member(&member.key);
            if moves.beside(&member.node, old, within).is_some() {
                moves.providers.push(member.key.clone());
            }
        }
        moves
    }

    /// Where the secrets of the object at `path` were sent, if the new one sends them elsewhere.
    pub(super) fn of(
        &self,
        new: &Node,
        old: Option<&Node>,
        within: Within<'_>,
        path: &str,
    ) -> Option<String> {
        if path.starts_with("grants[") && new.member("add_headers").is_some() {
            return self.by_grant(new, old);
        }
        self.beside(new, old, within)
    }

    /// By the keys of the object itself.
    fn beside(&self, new: &Node, old: Option<&Node>, within: Within<'_>) -> Option<String> {
        let mut was = None;
        let mut is_moved = false;
        let mut is_unsure = false;
        let members = new.members().iter();
        let members = members.chain(old.map_or(&[][..], Node::members));
        let keys = members.map(|member| (within.member(&member.key).holds, &*member.key));
        // URLs come first: they say best where something was sent.
        let keys: BTreeSet<(Holds, &str)> =
            keys.filter(|(holds, _)| holds.is_destination()).collect();
        for (_, key) in keys {
            let to = new
                .member(key)
                .map_or_else(String::new, |node| plain(key, node));
            let (mut from, mut from_shown) = (String::new(), String::new());
            if let Some(node) = old.and_then(|old| old.member(key)) {
                from = plain(key, node);
                // It can hold a secret as well, which comes back if it is shown as it was.
                from_shown = shown(&from, &parts(node, within.member(key)));
            }
            is_moved |= to != from_shown && !is_same_place(&to, &from);
            is_unsure |= is_unverified(&to);
            was = was.or((!from_shown.is_empty()).then(|| origin(&from_shown)));
        }
        is_moved |= self.tailnet && is_unsure && old.is_some();
        is_moved.then(|| was.unwrap_or_else(|| "no server".to_owned()))
    }

    /// Headers of a grant go to the providers that its models are of.
    fn by_grant(&self, new: &Node, old: Option<&Node>) -> Option<String> {
        let models = |node: &Node| {
            let models = node.member("models").and_then(text);
            models.map_or_else(String::new, std::borrow::Cow::into_owned)
        };
        let (to, from) = (models(new), old.map(models).unwrap_or_default());
        let pattern = to.split('/').next().unwrap_or_default();
        let is_glob = pattern.contains(['*', '?', '[', '{']) || pattern.is_empty();
        let goes_there = |id: &String| is_glob || id == pattern;
        let is_moved = to != from || self.providers.iter().any(goes_there);
        is_moved.then(|| format!("the providers of {from:?} as they are"))
    }
}

/// Whether the gateway would be on another tailnet.
fn is_another_tailnet(new: &Node, old: Option<&Node>) -> bool {
    let of = |node: Option<&Node>, key| {
        let section = node.and_then(|node| node.member("tailnet"));
        let value = section.and_then(|section| section.member(key));
        let value = value.map_or_else(String::new, |node| plain(key, node));
        // What holds without the key.
        Some(value).filter(|value| key != "mode" || value != "embedded")
    };
    ["control_url", "mode", "socket"]
        .into_iter()
        .any(|key| of(Some(new), key).unwrap_or_default() != of(old, key).unwrap_or_default())
}

/// A value as text; empty for what means the same as no value.
fn plain(key: &str, node: &Node) -> String {
    match (&node.value, text(node)) {
        (Value::Bool(true), _) => "true".to_owned(),
        (_, Some(text)) if key == "network" && text == "auto" => String::new(),
        (_, Some(text)) => text.into_owned(),
        _ => String::new(),
    }
}

/// Whether nothing but the network says who answers at a URL: TLS would verify the name.
fn is_unverified(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://") else {
        return false;
    };
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let host = authority[..end].rsplit('@').next().unwrap_or_default();
    let is_local = |name: &str| host == name || host.starts_with(&format!("{name}:"));
    !["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .any(is_local)
}

/// Scheme, host and port of a URL, in lower case: whom a request goes to. What could be read in
/// two ways stands for itself as a whole.
pub(super) fn origin(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_ascii_lowercase();
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    if rest[end..].contains('@') {
        return url.to_owned();
    }
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}").to_ascii_lowercase()
}

/// Whether two URLs lead to the same recipient. Parameters can name other hosts, and on servers that
/// many share a path names whose it is; versions of an API don't.
pub(super) fn is_same_place(one: &str, other: &str) -> bool {
    let query = |url: &str| {
        url.split_once('?')
            .map_or(String::new(), |(_, query)| query.to_owned())
    };
    origin(one) == origin(other) && query(one) == query(other) && tenant(one) == tenant(other)
}

/// The path of a URL without versions; empty for databases, whose path is a name on the server.
fn tenant(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://").filter(|_| url.starts_with("http")) else {
        return String::new();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let is_version = |segment: &&str| {
        let rest = segment.strip_prefix('v').unwrap_or_default();
        rest.starts_with(|char: char| char.is_ascii_digit()) && rest.len() <= 8
    };
    let kept = path
        .split('/')
        .filter(|part| !part.is_empty() && !is_version(part));
    kept.collect::<Vec<_>>().join("/")
}
