//! A verified caller. It can only be made from a response of the tailnet (or for loopback), so code
//! that has a `Caller` needs no further check.
//!
//! The identity of a caller is [`Caller::key`], never a login: people choose logins, users of other
//! tailnets have the same ones, and a login passes to the next person who gets the address.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;

use super::principal::{EXTERNAL, LOOPBACK, Principal, is_reserved};
use super::{Refused, User, WhoIs};
use crate::base::text::Text;
use crate::wire::text::{harmless, steers};

/// Capability objects by name, kept as the control server sent them.
pub(super) type Capabilities = BTreeMap<String, Vec<Box<RawValue>>>;

/// A verified caller.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    name: Arc<str>,
    key: Arc<str>,
    node_id: Arc<str>,
    node_name: Arc<str>,
    groups: Vec<String>,
    capabilities: Capabilities,
    display_name: Option<String>,
    picture: Option<String>,
}

/// What is known of a person besides their login.
#[derive(Default)]
struct Profile {
    display_name: Option<String>,
    picture: Option<String>,
}

/// Whether the name of a group can't be read as a person, a tag or everyone.
fn is_group(name: &str) -> bool {
    let is_of = |prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    };
    is_of("group:") || is_of("autogroup:")
}

/// Who is behind a node without tags.
fn person(user: User, shared_in: bool, fqdn: &str) -> Result<(Principal, Profile), Refused> {
    let User {
        id,
        login,
        display_name,
        picture,
    } = user;
    let profile = Profile {
        display_name: Some(display_name).filter(|name| !name.is_empty()),
        picture,
    };
    if login.is_empty() {
        return Err(Refused::Nobody);
    }
    if is_reserved(&login) {
        let why = "its login has a meaning of its own in grants";
        return Err(Refused::Unusable(why));
    }
    if login.chars().any(steers) {
        let why = "its login has characters that can't be seen";
        return Err(Refused::Unusable(why));
    }
    if !shared_in {
        return Ok((Principal::User { login, id }, profile));
    }
    let tailnet = fqdn.split_once('.').unwrap_or_default().1.to_owned();
    Ok((Principal::External { login, id, tailnet }, profile))
}

/// What a record says of a caller: texts that all of the caller's records share.
pub struct Names {
    /// [`Caller::key`].
    pub key: Text,
    /// [`Caller::name`].
    pub login: Text,
    /// [`Caller::node_id`].
    pub node_id: Text,
    /// [`Caller::node_name`].
    pub node_name: Text,
}

impl Caller {
    /// What a record says of the caller.
    pub fn names(&self) -> Names {
        Names {
            key: Arc::clone(&self.key).into(),
            login: Arc::clone(&self.name).into(),
            node_id: Arc::clone(&self.node_id).into(),
            node_name: Arc::clone(&self.node_name).into(),
        }
    }

    /// The caller behind a response of the tailnet.
    ///
    /// # Errors
    /// [`Refused`] for nodes that may not act: `WhoIs` knows expired, unapproved and unsigned nodes
    /// too, with their capabilities, so it is checked here.
    pub fn from_whois(whois: WhoIs) -> Result<Self, Refused> {
        let unusable = [
            (whois.expired, "its node key has expired"),
            (!whois.authorized, "it is not approved in the tailnet"),
            (whois.unsigned, "tailnet lock has not signed it"),
            (whois.jailed, "it is jailed"),
            (whois.wireguard_only, "it is a WireGuard-only exit node"),
        ];
        if let Some((_, why)) = unusable.into_iter().find(|(is_so, _)| *is_so) {
            return Err(Refused::Unusable(why));
        }
        let mut tags = whois.tags;
        tags.sort();
        tags.dedup();
        if tags.iter().any(|tag| !tag.starts_with("tag:")) {
            let why = "one of its tags does not begin with tag:";
            return Err(Refused::Unusable(why));
        }
        let (principal, profile) = match whois.user {
            // The tags of another tailnet mean something else there.
            _ if !tags.is_empty() && whois.shared_in => {
                let why = "it is a tagged device of another tailnet";
                return Err(Refused::Unusable(why));
            }
            _ if !tags.is_empty() => (Principal::Tagged { tags }, Profile::default()),
            Some(user) => person(user, whois.shared_in, &whois.node_fqdn)?,
            None => return Err(Refused::Nobody),
        };
        let mut groups = whois.groups;
        groups.retain(|group| is_group(group));
        Ok(Self {
            name: principal.name().into(),
            key: principal.key().into(),
            principal,
            node_id: whois.stable_id.into(),
            node_name: harmless(&whois.node_name).into(),
            groups,
            capabilities: whois.capabilities,
            display_name: profile.display_name,
            picture: profile.picture,
        })
    }

    /// The caller on this machine's loopback interface.
    pub fn loopback() -> Arc<Self> {
        static ONLY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            Arc::new(Caller {
                principal: Principal::Loopback,
                name: LOOPBACK.into(),
                key: Principal::Loopback.key().into(),
                node_id: LOOPBACK.into(),
                node_name: "localhost".into(),
                groups: Vec::new(),
                capabilities: Capabilities::new(),
                display_name: None,
                picture: None,
            })
        });
        Arc::clone(&ONLY)
    }

    /// A caller who need not exist, to ask what the configuration would grant. `name` is a login,
    /// `external:` and the login of a user of another tailnet, one or several tags, or `(loopback)`.
    pub fn hypothetical(name: &str, node: Option<&str>) -> Self {
        let mut caller = Self::clone(&Self::loopback());
        if name == LOOPBACK {
            return caller;
        }
        caller.principal = if name.starts_with("tag:") {
            let mut tags: Vec<String> = name.split(',').map(str::to_owned).collect();
            tags.sort();
            Principal::Tagged { tags }
        } else if let Some(login) = name.strip_prefix(EXTERNAL) {
            Principal::External {
                login: login.to_owned(),
                id: 0,
                tailnet: String::new(),
            }
        } else {
            Principal::User {
                login: name.to_owned(),
                id: 0,
            }
        };
        caller.name = caller.principal.name().into();
        caller.key = caller.principal.key().into();
        caller.node_id = "(any)".into();
        caller.node_name = node.unwrap_or("(any)").into();
        caller
    }

    /// A person whom an application names, and whom the tailnet has not shown.
    pub fn named(login: &str) -> Self {
        let principal = Principal::Named {
            login: login.to_owned(),
        };
        Self {
            name: principal.name().into(),
            key: principal.key().into(),
            principal,
            node_id: "(any)".into(),
            node_name: "(any)".into(),
            ..Self::clone(&Self::loopback())
        }
    }

    /// The same caller with the login in the key too: for a control server that gives two people
    /// one number.
    pub(crate) fn by_login(mut self) -> Self {
        if let Principal::User { login, .. } | Principal::External { login, .. } = &self.principal {
            self.key = format!("{}:login:{login}", self.key).into();
        }
        self
    }

    /// Which kind of caller it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The login, or the tags joined by `,`: what people and grants call this caller. Another
    /// caller may have the same name; see [`Caller::key`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identity in records, balances and conversations: the user's number, with the tailnet for
    /// users of another one, or the set of tags.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The login of a person of this tailnet.
    pub fn own_login(&self) -> Option<&str> {
        match &self.principal {
            Principal::User { login, .. } => Some(login),
            _ => None,
        }
    }

    /// Whether `other` is the same device with the same owner. A device's tags may change.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let are_tagged = !self.tags().is_empty() && !other.tags().is_empty();
        self.node_id == other.node_id && (self.key == other.key || are_tagged)
    }

    /// The node's stable id.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// Tags, sorted; empty for people.
    pub fn tags(&self) -> &[String] {
        match &self.principal {
            Principal::Tagged { tags } => tags,
            _ => &[],
        }
    }

    /// Groups that the tailnet shows for the caller.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Capabilities that the tailnet policy grants towards this gateway.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What people call the person, besides the login.
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// Where the profile picture is, for people who have one.
    pub fn picture(&self) -> Option<&str> {
        self.picture.as_deref()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::identity::User;

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
        for login in [
            "*",
            "(loopback)",
            "(Loopback)",
            "tag:admin",
            "Tag:admin",
            "group:eng",
            "autogroup:admin",
            "user:7",
            "external:eve@elsewhere.org",
            "a:b@example.com",
            "kim@example.com\n",
            "kim\u{202e}@example.com",
        ] {
            let refused = Caller::from_whois(whois(Some(login), &[]));
            assert!(matches!(refused, Err(Refused::Unusable(_))), "{login}");
        }
        let odd = ["kim@example.com", "tag:ci", "*", "(loopback)", "group:"];
        let groups = ["group:eng", "autogroup:member"].iter().chain(&odd);
        let alice = Caller::from_whois(WhoIs {
            groups: groups.map(ToString::to_string).collect(),
            ..whois(Some("alice@example.com"), &[])
        });
        let alice = alice.unwrap();
        assert_eq!(alice.groups(), ["group:eng", "autogroup:member"]);
        for (tags, shared_in) in [(&["prod"][..], false), (&["tag:prod"], true)] {
            let tagged = Caller::from_whois(WhoIs {
                shared_in,
                ..whois(None, tags)
            });
            assert!(matches!(tagged, Err(Refused::Unusable(_))));
        }
    }

    #[test]
    fn callers_are_told_apart_by_numbers_and_sets_of_tags() {
        let user = |id: i64, login: &str, shared_in: bool| {
            let mut who = WhoIs {
                shared_in,
                ..whois(Some(login), &[])
            };
            who.user.as_mut().unwrap().id = id;
            Caller::from_whois(who).unwrap()
        };
        let amelie = user(10, "amelie@passkey", false);
        assert_eq!((amelie.name(), amelie.key()), ("amelie@passkey", "user:10"));
        // A user who is renamed keeps the key; another user with the old login has another one.
        assert_eq!(user(10, "amelie@new.org", false).key(), amelie.key());
        assert_ne!(user(11, "amelie@passkey", false).key(), amelie.key());
        let namesake = user(10, "amelie@passkey", true);
        assert_eq!(namesake.name(), "external:amelie@passkey");
        assert_eq!(namesake.key(), "external:tail.test:10");
        // A control server without numbers.
        assert_eq!(user(0, "a@x.org", false).key(), "login:a@x.org");
        assert_eq!(
            user(0, "a@x.org", true).key(),
            "external:tail.test:login:a@x.org"
        );
        let tagged = |tags: &[String]| {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            Caller::from_whois(whois(None, &tags)).unwrap()
        };
        let long: Vec<String> = ('a'..='f')
            .map(|letter| format!("tag:{}", letter.to_string().repeat(55)))
            .collect();
        let with = |last: &str| [long.as_slice(), &[last.to_owned()]].concat();
        let (prod, dev) = (tagged(&with("tag:prod")), tagged(&with("tag:zdev")));
        assert!(prod.key().starts_with("tags-sha256:") && prod.key().len() < 100);
        assert_ne!(prod.key(), dev.key());
        let short = ["tag:b".to_owned(), "tag:a".to_owned()];
        assert_eq!(tagged(&short).key(), "tags:tag:a,tag:b");
        let odd = tagged(&["tag:a,tag:b".to_owned()]);
        assert_ne!(odd.key(), tagged(&short).key());
        assert_eq!(Caller::loopback().key(), "loopback");
        let twice = user(10, "bob@example.com", false).by_login();
        assert_eq!(twice.key(), "user:10:login:bob@example.com");
    }

    #[test]
    fn nodes_that_may_not_act_are_refused_although_whois_knows_them() {
        let changes: [fn(&mut WhoIs); 5] = [
            |whois| whois.expired = true,
            |whois| whois.authorized = false,
            |whois| whois.unsigned = true,
            |whois| whois.jailed = true,
            |whois| whois.wireguard_only = true,
        ];
        for change in changes {
            let mut whois = whois(Some("alice@example.com"), &[]);
            change(&mut whois);
            let refused = Caller::from_whois(whois);
            assert!(matches!(refused, Err(Refused::Unusable(_))));
        }
    }
}
