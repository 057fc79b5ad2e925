//! The pages, in one table: paths lead to pages by it, and the menu and the command palette show
//! what it has for a role.

/// Who a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Everyone,
    Admins,
}

/// Where a page stands in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What is the reader's own.
    You,
    /// Who used what.
    Activity,
    /// How the gateway is set up.
    Gateway,
}

impl Group {
    /// In the order of the menu.
    pub(super) const ALL: [Self; 3] = [Self::You, Self::Activity, Self::Gateway];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::You => "You",
            Self::Activity => "Activity",
            Self::Gateway => "Gateway",
        }
    }
}

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Agents,
    Api,
    Audit,
    Budgets,
    Chat,
    Configuration,
    Connection,
    Exports,
    Grants,
    Guardrails,
    Models,
    Mine,
    Overview,
    Providers,
    Requests,
    Sessions,
    SetUp,
    Tools,
    Users,
}

/// A page of the menu.
#[derive(Debug)]
pub(super) struct Place {
    pub path: &'static str,
    pub name: &'static str,
    pub icon: &'static str,
    pub group: Group,
    pub audience: For,
    pub show: Show,
}

const fn place(
    path: &'static str,
    (name, icon): (&'static str, &'static str),
    (group, audience): (Group, For),
    show: Show,
) -> Place {
    Place {
        path,
        name,
        icon,
        group,
        audience,
        show,
    }
}

const YOU: (Group, For) = (Group::You, For::Everyone);
const RECORDS: (Group, For) = (Group::Activity, For::Everyone);
const ACTIVITY: (Group, For) = (Group::Activity, For::Admins);
const GATEWAY: (Group, For) = (Group::Gateway, For::Admins);

/// Every page of the menu, in its order.
pub(super) const ALL: &[Place] = &[
    place("/ui/", ("My usage", "usage"), YOU, Show::Mine),
    place("/ui/chat", ("Chat", "chat"), YOU, Show::Chat),
    place("/ui/models", ("Models", "models"), YOU, Show::Models),
    place("/ui/setup", ("Set up", "setup"), YOU, Show::SetUp),
    place(
        "/ui/overview",
        ("Overview", "overview"),
        ACTIVITY,
        Show::Overview,
    ),
    place("/ui/users", ("Users", "users"), ACTIVITY, Show::Users),
    place("/ui/agents", ("Agents", "agents"), ACTIVITY, Show::Agents),
    place(
        "/ui/providers",
        ("Providers", "providers"),
        ACTIVITY,
        Show::Providers,
    ),
    place(
        "/ui/sessions",
        ("Sessions", "sessions"),
        RECORDS,
        Show::Sessions,
    ),
    place(
        "/ui/requests",
        ("Requests", "requests"),
        RECORDS,
        Show::Requests,
    ),
    place("/ui/tools", ("Tool use", "tools"), ACTIVITY, Show::Tools),
    place("/ui/grants", ("Grants", "grants"), GATEWAY, Show::Grants),
    place(
        "/ui/guardrails",
        ("Guardrails", "guardrails"),
        GATEWAY,
        Show::Guardrails,
    ),
    place(
        "/ui/budgets",
        ("Budgets", "budgets"),
        GATEWAY,
        Show::Budgets,
    ),
    place(
        "/ui/config",
        ("Configuration", "config"),
        GATEWAY,
        Show::Configuration,
    ),
    place(
        "/ui/exports",
        ("Exports", "exports"),
        GATEWAY,
        Show::Exports,
    ),
    place("/ui/audit", ("Audit log", "audit"), GATEWAY, Show::Audit),
    place(
        "/ui/connection",
        ("Connection", "connection"),
        GATEWAY,
        Show::Connection,
    ),
    place("/ui/api", ("API", "api"), GATEWAY, Show::Api),
];

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
    use super::*;

    #[test]
    fn every_page_has_a_path_and_a_sign_of_its_own() {
        for (nth, place) in ALL.iter().enumerate() {
            let others = &ALL[nth + 1..];
            assert!(others.iter().all(|other| other.path != place.path));
            assert!(others.iter().all(|other| other.icon != place.icon));
            let sign = super::super::icons::icon(place.icon).into_string();
            assert!(sign.contains("<path"), "{}", place.icon);
        }
        for (_, to) in MOVED {
            assert!(ALL.iter().any(|place| place.path == *to), "{to}");
        }
    }
}
