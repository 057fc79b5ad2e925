//! A verified caller. One can only be made from an answer of the tailnet (or for loopback),
//! so whoever holds a `Caller` needs to check nothing again.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;

use super::resolve::Refused;
use crate::tailnet::WhoIs;

/// Capability objects by name, kept as the control server sent them.
pub(super) type Capabilities = BTreeMap<String, Vec<Box<RawValue>>>;

/// What kind of somebody the caller is. A tag can never be taken for a login: they are
/// different variants, not two spellings of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A device that a person of this tailnet is signed in on.
    User {
        /// The login that grants name.
        login: String,
    },
    /// A device shared into the tailnet by somebody outside it. `*` does not include it.
    External {
        /// The login that grants name.
        login: String,
    },
    /// A tagged device; the tags are sorted.
    Tagged {
        /// `tag:…` names.
        tags: Vec<String>,
    },
    /// This machine itself, over its loopback interface.
    Loopback,
}

/// A verified caller.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    name: Arc<str>,
    node_id: Arc<str>,
    node_name: Arc<str>,
    groups: Vec<String>,
    capabilities: Capabilities,
    picture: Option<String>,
}

/// How the loopback caller is written in grants, as Aperture does.
pub(super) const LOOPBACK: &str = "(loopback)";

/// What grants write for somebody else than a person. Control servers that let people choose
/// their names must not let them become one.
fn is_reserved(login: &str) -> bool {
    login == "*" || login == LOOPBACK || login.starts_with("tag:") || login.starts_with("group:")
}

impl Caller {
    /// The caller behind an answer of the tailnet.
    ///
    /// # Errors
    /// [`Refused`] for nodes that may not act: `WhoIs` answers for expired, unapproved and
    /// unsigned nodes too, with their capabilities, so it is checked here.
    pub fn from_whois(whois: WhoIs) -> Result<Self, Refused> {
        let unusable = [
            (whois.expired, "its node key has expired"),
            (!whois.authorized, "it is not approved in the tailnet"),
            (whois.unsigned, "tailnet lock has not signed it"),
            (whois.jailed, "it is jailed"),
            (whois.wireguard_only, "it is a WireGuard-only exit node"),
        ];
        for (is_so, why) in unusable {
            if is_so {
                return Err(Refused::Unusable(why));
            }
        }
        let mut tags = whois.tags;
        tags.sort();
        tags.dedup();
        let (principal, picture) = match whois.user {
            _ if !tags.is_empty() => (Principal::Tagged { tags }, None),
            Some(user) if user.login.is_empty() => return Err(Refused::Nobody),
            Some(user) if is_reserved(&user.login) => {
                return Err(Refused::Unusable(
                    "its login has a meaning of its own in grants",
                ));
            }
            Some(user) if whois.shared_in => {
                (Principal::External { login: user.login }, user.picture)
            }
            Some(user) => (Principal::User { login: user.login }, user.picture),
            None => return Err(Refused::Nobody),
        };
        let name = match &principal {
            Principal::User { login } | Principal::External { login } => login.as_str().into(),
            Principal::Tagged { tags } => tags.join(",").into(),
            Principal::Loopback => LOOPBACK.into(),
        };
        Ok(Self {
            principal,
            name,
            node_id: whois.stable_id.into(),
            node_name: whois.node_name.into(),
            groups: whois.groups,
            capabilities: whois.capabilities,
            picture,
        })
    }

    /// The caller on this machine's loopback interface.
    #[must_use]
    pub fn loopback() -> Arc<Self> {
        static ONLY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            Arc::new(Caller {
                principal: Principal::Loopback,
                name: LOOPBACK.into(),
                node_id: LOOPBACK.into(),
                node_name: "localhost".into(),
                groups: Vec::new(),
                capabilities: Capabilities::new(),
                picture: None,
            })
        });
        Arc::clone(&ONLY)
    }

    /// A caller that nobody is: to ask what the configuration would grant. `name` is a
    /// login, one or several tags, or `(loopback)`.
    #[must_use]
    pub fn hypothetical(name: &str, node: Option<&str>) -> Self {
        let mut caller = Self::clone(&Self::loopback());
        if name != LOOPBACK {
            caller.principal = if name.starts_with("tag:") {
                let mut tags: Vec<String> = name.split(',').map(str::to_owned).collect();
                tags.sort();
                Principal::Tagged { tags }
            } else {
                Principal::User {
                    login: name.to_owned(),
                }
            };
            caller.name = match &caller.principal {
                Principal::Tagged { tags } => tags.join(",").into(),
                _ => name.into(),
            };
            caller.node_id = "(any)".into();
            caller.node_name = node.unwrap_or("(any)").into();
        }
        caller
    }

    /// What kind of somebody.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The login, or the tags joined by `,`: what records and grants call this caller.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's stable id.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// The node's name.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// Tags, sorted; empty for people.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        match &self.principal {
            Principal::Tagged { tags } => tags,
            _ => &[],
        }
    }

    /// Groups that the tailnet shows for the caller.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Capabilities that the tailnet policy grants towards this gateway.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Where the profile picture is, for people who have one.
    #[must_use]
    pub fn picture(&self) -> Option<&str> {
        self.picture.as_deref()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tailnet::User;

    pub(crate) fn whois(login: Option<&str>, tags: &[&str]) -> WhoIs {
        WhoIs {
            stable_id: "n1".into(),
            node_name: "laptop".into(),
            node_fqdn: "laptop.tail.test".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            addresses: Vec::new(),
            user: login.map(|login| User {
                id: 1,
                login: login.to_owned(),
                display_name: String::new(),
                picture: None,
            }),
            capabilities: Capabilities::new(),
            expired: false,
            authorized: true,
            unsigned: false,
            jailed: false,
            wireguard_only: false,
            shared_in: false,
            key_expiry: None,
            groups: Vec::new(),
        }
    }

    #[test]
    fn people_tags_and_strangers() {
        let alice = Caller::from_whois(whois(Some("alice@example.com"), &[])).unwrap();
        assert_eq!(alice.name(), "alice@example.com");
        let tagged = Caller::from_whois(whois(Some("tagged-devices"), &["tag:z", "tag:a"]));
        assert_eq!(tagged.unwrap().name(), "tag:a,tag:z");
        assert_eq!(
            Caller::from_whois(whois(None, &[])).unwrap_err(),
            Refused::Nobody
        );
        let shared = WhoIs {
            shared_in: true,
            ..whois(Some("eve@elsewhere.org"), &[])
        };
        assert!(matches!(
            Caller::from_whois(shared).unwrap().principal(),
            Principal::External { .. }
        ));
    }

    #[test]
    fn nobody_becomes_a_tag_or_a_group_by_their_name() {
        for login in ["*", "(loopback)", "tag:admin", "group:eng"] {
            let refused = Caller::from_whois(whois(Some(login), &[]));
            assert!(matches!(refused, Err(Refused::Unusable(_))), "{login}");
        }
    }

    #[test]
    fn nodes_that_may_not_act_are_refused_although_whois_knows_them() {
        let base = || whois(Some("alice@example.com"), &[]);
        for refused in [
            WhoIs {
                expired: true,
                ..base()
            },
            WhoIs {
                authorized: false,
                ..base()
            },
            WhoIs {
                unsigned: true,
                ..base()
            },
            WhoIs {
                jailed: true,
                ..base()
            },
            WhoIs {
                wireguard_only: true,
                ..base()
            },
        ] {
            assert!(matches!(
                Caller::from_whois(refused),
                Err(Refused::Unusable(_))
            ));
        }
    }
}
