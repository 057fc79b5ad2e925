//! The pages, in one table: paths lead to pages by it, and the menu and the command palette show
//! what it has for a role.

use super::{
    Place, agents, api, audit, budgets, chat, configuration, connection, discover, exports, grants,
    guardrails, mine, models, overview, providers, request, requests, session, sessions, setup,
    tools, user, users, version, versions,
};
use crate::web::api::endpoint::matched;

/// Every page, those of the menu in its order.
pub(super) const ALL: &[Place] = &[
    mine::PLACE,
    chat::PLACE,
    models::PLACE,
    setup::PLACE,
    overview::PLACE,
    users::PLACE,
    user::PLACE,
    agents::PLACE,
    providers::PLACE,
    discover::PLACE,
    sessions::PLACE,
    session::PLACE,
    requests::PLACE,
    request::PLACE,
    tools::PLACE,
    grants::PLACE,
    guardrails::PLACE,
    budgets::PLACE,
    configuration::PLACE,
    versions::PLACE,
    version::PLACE,
    exports::PLACE,
    audit::PLACE,
    connection::PLACE,
    api::PLACE,
];

/// The page at a path, and what stands in place of its braces.
pub(super) fn find(path: &str) -> Option<(&'static Place, &str)> {
    ALL.iter()
        .find_map(|place| Some((place, matched(place.path, path)?)))
}

/// Where pages were before, or are in Aperture: an old link still works.
pub(super) const MOVED: &[(&str, &str)] = &[
    ("/ui", "/ui/"),
    ("/ui/dashboard", "/ui/"),
    ("/ui/dashboard/", "/ui/"),
    ("/ui/logs", "/ui/sessions"),
    ("/ui/adoption", "/ui/users"),
    ("/ui/settings", "/ui/config"),
    ("/chat", "/ui/chat"),
    ("/chat/", "/ui/chat"),
    ("/admin", "/ui/overview"),
    ("/admin/", "/ui/overview"),
    ("/admin/adoption", "/ui/overview"),
    ("/admin/settings/config", "/ui/config"),
    ("/admin/settings/providers", "/ui/providers"),
    ("/admin/settings/grants", "/ui/grants"),
    ("/admin/settings/reporting", "/ui/config"),
];

/// Where Aperture had another person's dashboard: `LOGIN` follows.
pub(super) const DASHBOARD: &str = "/ui/dashboard/";

#[cfg(test)]
mod tests {
    use super::super::place::Menu;
    use super::*;

    #[test]
    fn every_page_has_a_path_and_a_sign_of_its_own() {
        let mut icons = std::collections::HashSet::new();
        for (nth, place) in ALL.iter().enumerate() {
            let others = &ALL[nth + 1..];
            assert!(others.iter().all(|other| other.path != place.path));
            let Some(Menu { icon, .. }) = &place.menu else {
                continue;
            };
            assert!(icons.insert(icon), "{icon}");
            let sign = super::super::icons::icon(icon).into_string();
            assert!(sign.contains("<path"), "{icon}");
        }
        for (_, to) in MOVED {
            assert!(ALL.iter().any(|place| place.path == *to), "{to}");
        }
    }
}
