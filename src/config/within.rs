//! What a value of the document means for secrets, by the key that it stands under: as the key is
//! declared, or by its name where nobody declared it.

use std::collections::HashMap;

use super::declare::{Holds, Kind};

/// Names of fields that hold a secret, in lower case and with `_` for `-`.
const SECRET: [&str; 9] = [
    "apikey",
    "access_key_id",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Ends of such names.
const SECRET_END: [&str; 6] = [
    "_apikey",
    "_key",
    "_password",
    "_secret",
    "_token",
    "_credentials",
];

/// Parts of a header's or a query parameter's name that tell of a credential in its value.
const CREDENTIAL: [&str; 12] = [
    "auth",
    "cookie",
    "credential",
    "dsn",
    "honeycomb-team",
    "jwt",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

/// The keys that are declared below a place.
#[derive(Default)]
pub(super) struct Declared {
    keys: HashMap<&'static str, (Holds, Declared)>,
    /// Those below any name, where names stand instead of keys.
    named: Option<Box<Declared>>,
}

impl Declared {
    /// Those below a value of this kind.
    pub(super) fn below(kind: Kind) -> Self {
        let mut all = Self::default();
        all.add(kind);
        all
    }

    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Object(keys) | Kind::Prices(keys) => {
                let keys = keys().into_iter();
                self.keys
                    .extend(keys.map(|key| (key.name, (key.holds, Self::below(key.kind)))));
            }
            Kind::List(kind) => self.add(*kind),
            Kind::Map(_, kind) => self.named = Some(Box::new(Self::below(*kind))),
            Kind::Capabilities(keys) => {
                self.named = Some(Box::new(Self::below(Kind::Object(keys))));
            }
            Kind::Any(kinds) => kinds.iter().for_each(|kind| self.add(*kind)),
            _ => {}
        }
    }
}

/// The keys around a value.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// The nearest key; that of the list for the items of a list.
    key: &'a str,
    /// What that key holds.
    pub holds: Holds,
    /// Whether that key is the name of a header.
    pub is_header: bool,
    declared: Option<&'static Declared>,
}

/// A place where nothing is declared.
impl Default for Within<'_> {
    fn default() -> Self {
        Self {
            key: "",
            holds: Holds::Nothing,
            is_header: false,
            declared: None,
        }
    }
}

impl<'a> Within<'a> {
    /// A place below which these keys are declared.
    pub(super) fn of(declared: &'static Declared) -> Self {
        Self {
            declared: Some(declared),
            ..Self::default()
        }
    }

    /// The value of a key.
    pub(super) fn member(self, key: &'a str) -> Self {
        let own = self.declared.and_then(|declared| declared.keys.get(key));
        let named = self.declared.and_then(|declared| declared.named.as_deref());
        // People choose the names of providers and hooks, which say nothing.
        let is_chosen = named.is_some_and(|below| !below.keys.is_empty());
        let holds = match own {
            Some((holds, _)) => *holds,
            None if is_chosen => Holds::Nothing,
            None => by_name(self.key, key),
        };
        Self {
            key,
            holds,
            is_header: self.holds == Holds::Headers,
            declared: own.map(|(_, below)| below).or(named),
        }
    }

    /// Whether the value is a secret as a whole.
    pub(super) fn is_secret(self) -> bool {
        self.holds == Holds::Secret || self.is_header && is_credential(self.key)
    }

    /// Whether a reference here can stand for a secret.
    pub(super) fn is_private(self) -> bool {
        self.is_secret() || self.is_header || self.holds == Holds::Headers
    }
}

impl Holds {
    /// Whether it says where the secrets beside it are sent.
    pub(super) fn is_destination(self) -> bool {
        self.is_url() || self == Self::Destination
    }

    pub(super) fn is_url(self) -> bool {
        matches!(self, Self::Url | Self::Webhook | Self::Proxy)
    }
}

/// What a key that nobody declared holds, by its name and that of its parent.
pub(super) fn by_name(parent: &str, key: &str) -> Holds {
    match key {
        _ if parent == "env" => return Holds::Secret,
        "url" | "endpoint" => return Holds::Webhook,
        "baseurl" | "control_url" => return Holds::Url,
        "proxy" => return Holds::Proxy,
        "network" | "tailnet" | "bucket_name" | "region" | "ca" => return Holds::Destination,
        _ if key.ends_with("headers") => return Holds::Headers,
        _ => {}
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    // Names that people choose, of groups and models, are no fields.
    let is_field = !key.contains([':', '/', ' ', '.']);
    let is_secret = SECRET.contains(&&*key) || SECRET_END.iter().any(|end| key.ends_with(end));
    if is_field && is_secret {
        Holds::Secret
    } else {
        Holds::Nothing
    }
}

/// Whether the name of a header says that it holds a credential.
pub(super) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;
    use crate::config::declare::{Key, Setting};

    fn each(parent: &str, declared: &Declared, look: &mut impl FnMut(&str, &str, Holds)) {
        for (key, (holds, below)) in &declared.keys {
            look(parent, key, *holds);
            each(key, below, look);
        }
        if let Some(named) = &declared.named {
            each("", named, look);
        }
    }

    #[test]
    fn keys_that_sound_like_a_secret_are_declared_as_one() {
        let mut sounding = 0;
        each(
            "",
            &Declared::below(File::KIND),
            &mut |parent, key, holds| {
                // A section, whose own keys say more, and a switch.
                if parent.is_empty() && ["tailnet", "identity_headers"].contains(&key) {
                    return;
                }
                let name_says = by_name(parent, key);
                sounding += usize::from(name_says != Holds::Nothing);
                assert!(
                    [holds, Holds::Nothing].contains(&name_says),
                    "{parent}.{key}"
                );
            },
        );
        assert!(sounding > 25, "{sounding}");
    }

    #[test]
    fn a_declaration_counts_more_than_a_name() {
        fn keys() -> Vec<Key> {
            vec![
                Key::new("pin", Kind::Secret, ""),
                Key::new("door_key", Kind::Text, ""),
                Key::new("peer", Kind::Text, "").holds(Holds::Url),
            ]
        }
        static DECLARED: std::sync::LazyLock<Declared> = std::sync::LazyLock::new(|| {
            Declared::below(Kind::Map("name", &Kind::List(&Kind::Object(keys))))
        });
        let within = Within::of(&DECLARED).member("any");
        for (key, holds) in [
            ("pin", Holds::Secret),
            ("door_key", Holds::Nothing),
            ("peer", Holds::Url),
            ("other_key", Holds::Secret),
            ("other", Holds::Nothing),
        ] {
            assert_eq!(within.member(key).holds, holds, "{key}");
        }
        let chosen = Within::of(&DECLARED).member("log-headers");
        assert_eq!(chosen.holds, Holds::Nothing);
    }
}
