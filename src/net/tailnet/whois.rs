//! Answers of the LocalAPI's `whois`, read into what a caller needs of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Error;
use crate::policy::identity::{User, WhoIs};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reply {
    node: Option<Node>,
    user_profile: Option<Profile>,
    cap_map: Option<BTreeMap<String, Option<Vec<Box<RawValue>>>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "as the LocalAPI sends it")]
struct Node {
    #[serde(rename = "StableID")]
    stable_id: String,
    name: String,
    computed_name: String,
    tags: Option<Vec<String>>,
    addresses: Option<Vec<String>>,
    expired: bool,
    machine_authorized: bool,
    #[serde(rename = "UnsignedPeerAPIOnly")]
    unsigned: bool,
    is_jailed: bool,
    #[serde(rename = "IsWireGuardOnly")]
    wireguard_only: bool,
    sharer: i64,
    hostinfo: Option<Hostinfo>,
    key_expiry: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Hostinfo {
    sharee_node: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Profile {
    #[serde(rename = "ID")]
    id: i64,
    login_name: String,
    display_name: String,
    #[serde(rename = "ProfilePicURL")]
    picture: String,
    groups: Option<Vec<String>>,
}

impl WhoIs {
    /// Reads the LocalAPI's JSON.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Error> {
        let reply: Reply = serde_json::from_slice(json)?;
        let node = reply
            .node
            .ok_or_else(|| Error::Node("whois named no node".to_owned()))?;
        let fqdn = node.name.trim_end_matches('.').to_owned();
        let first = fqdn.split('.').next().unwrap_or_default();
        let node_name = if first.is_empty() {
            node.computed_name
        } else {
            first.to_owned()
        };
        let tags = node.tags.unwrap_or_default();
        let groups = reply
            .user_profile
            .as_ref()
            .and_then(|profile| profile.groups.clone());
        // A tagged node still comes with a profile, whose login means nobody.
        let user = reply
            .user_profile
            .filter(|profile| {
                tags.is_empty()
                    && !profile.login_name.is_empty()
                    && profile.login_name != "tagged-devices"
            })
            .map(|profile| User {
                id: profile.id,
                login: profile.login_name,
                display_name: profile.display_name,
                picture: Some(profile.picture).filter(|url| !url.is_empty()),
            });
        let capabilities = reply.cap_map.unwrap_or_default();
        Ok(Self {
            stable_id: node.stable_id,
            node_name,
            node_fqdn: fqdn,
            tags,
            addresses: node
                .addresses
                .unwrap_or_default()
                .iter()
                .filter_map(|prefix| prefix.split('/').next()?.parse().ok())
                .collect(),
            user,
            capabilities: capabilities
                .into_iter()
                .map(|(name, objects)| (name, objects.unwrap_or_default()))
                .collect(),
            expired: node.expired,
            authorized: node.machine_authorized,
            unsigned: node.unsigned,
            jailed: node.is_jailed,
            wireguard_only: node.wireguard_only,
            shared_in: node.sharer != 0 || node.hostinfo.is_some_and(|info| info.sharee_node),
            // Go writes a time that was never set as the year 1.
            key_expiry: node.key_expiry.filter(|time| !time.starts_with("0001-")),
            groups: groups.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_local_api() {
        let json = br#"{"Node":{"StableID":"n1","Name":"laptop.tail.test.","MachineAuthorized":true,
            "Addresses":["100.64.0.2/32","fd7a:115c:a1e0::2/128"],"KeyExpiry":"0001-01-01T00:00:00Z"},
            "UserProfile":{"ID":7,"LoginName":"alice@example.com","Groups":["group:eng"]},
            "CapMap":{"x.org/cap/ai":[{"role":"user"}],"y":null}}"#;
        let who = WhoIs::parse(json).unwrap();
        assert_eq!((who.node_name.as_str(), who.addresses.len()), ("laptop", 2));
        assert_eq!(who.user.unwrap().login, "alice@example.com");
        assert_eq!(
            who.capabilities["x.org/cap/ai"][0].get(),
            r#"{"role":"user"}"#
        );
        assert_eq!(
            (who.groups, who.key_expiry),
            (vec!["group:eng".to_owned()], None)
        );
        let tagged = br#"{"Node":{"StableID":"n2","Name":"ci.","Tags":["tag:ci"]},
            "UserProfile":{"LoginName":"tagged-devices"}}"#;
        let who = WhoIs::parse(tagged).unwrap();
        assert!(who.user.is_none() && !who.authorized && who.tags == ["tag:ci"]);
        assert!(WhoIs::parse(b"{}").is_err());
    }
}
