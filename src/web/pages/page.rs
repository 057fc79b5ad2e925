//! A page inside the frame that every page has.

use maud::{Markup, html};

/// A page inside the frame.
pub(super) struct Page {
    pub title: String,
    /// Links that lead here, the outermost first.
    pub above: Vec<(String, String)>,
    /// Beside the title.
    pub actions: Markup,
    pub body: Markup,
    /// Scripts besides the usual one.
    pub scripts: &'static [&'static str],
    /// Takes all the width that there is.
    pub wide: bool,
    /// Shows what is new by itself. Scripts of its own would lose their hold of its elements.
    pub live: bool,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            above: Vec::new(),
            actions: html! {},
            body,
            scripts: &[],
            wide: false,
            live: false,
        }
    }

    #[must_use]
    pub(super) fn below(mut self, address: impl Into<String>, name: impl Into<String>) -> Self {
        self.above.push((address.into(), name.into()));
        self
    }

    #[must_use]
    pub(super) fn actions(mut self, actions: Markup) -> Self {
        self.actions = actions;
        self
    }

    #[must_use]
    pub(super) fn scripts(mut self, scripts: &'static [&'static str]) -> Self {
        self.scripts = scripts;
        self
    }

    #[must_use]
    pub(super) fn live(mut self) -> Self {
        self.live = true;
        self
    }

    #[must_use]
    pub(super) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}
