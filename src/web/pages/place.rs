//! What a place is: the path of a page, who it is for, where the menu has it, and the function that
//! shows it.

use futures_util::future::BoxFuture;

use super::Visit;
use super::page::Page;
use crate::wire::Rejection;

/// Where the chat is, which a grant can take from somebody's menu.
pub(super) const CHAT: &str = "/ui/chat";

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

/// Where the menu has a page.
#[derive(Debug)]
pub(super) struct Menu {
    pub name: &'static str,
    pub icon: &'static str,
    pub group: Group,
}

/// A page: each is declared beside the function that shows it.
pub(super) struct Place {
    /// A segment in braces stands for any one segment.
    pub path: &'static str,
    pub is_for_admins: bool,
    /// `None` for one thing of a list.
    pub menu: Option<Menu>,
    pub show: Show,
}

type Show = for<'v> fn(&'v Visit<'v>) -> BoxFuture<'v, Result<Page, Rejection>>;

impl Place {
    pub(super) const fn for_everyone(path: &'static str, show: Show) -> Self {
        Self {
            path,
            is_for_admins: false,
            menu: None,
            show,
        }
    }

    pub(super) const fn for_admins(path: &'static str, show: Show) -> Self {
        Self {
            is_for_admins: true,
            ..Self::for_everyone(path, show)
        }
    }

    /// Puts it into the menu.
    pub(super) const fn listed(
        mut self,
        name: &'static str,
        icon: &'static str,
        group: Group,
    ) -> Self {
        self.menu = Some(Menu { name, icon, group });
        self
    }
}
