//! Direct access: paths of a provider's own API that pass as they are, at `/direct/PROVIDER/PATH`. No model is
//! chosen and nothing is counted, so each path has to be granted, and budgets and hooks take part only where a
//! grant says so.

use std::sync::Arc;

use super::{Capability, PathPattern, Remains};
use crate::base::text::Text;

/// What takes part in a direct request, besides the grant of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectChecks {
    /// An empty budget of the caller's refuses it.
    pub budgets: bool,
    /// Hooks are called.
    pub hooks: bool,
}

impl DirectChecks {
    /// What two grants ask for together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            budgets: self.budgets || other.budgets,
            hooks: self.hooks || other.hooks,
        }
    }
}

/// A path that a grant opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectGrant {
    /// The pattern that covers it.
    pub pattern: Text,
    /// The grant that has it.
    pub source: Text,
    /// What all grants of the caller ask for.
    pub checks: DirectChecks,
}

/// What one capability object says of direct access.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    /// The paths that it opens, for which its checks hold. Without any, it opens none and they hold for all.
    paths: Vec<PathPattern>,
    checks: DirectChecks,
    source: Arc<str>,
}

impl Direct {
    /// That of an object which says something of it.
    pub(super) fn of(object: &Capability, source: &Arc<str>) -> Option<Self> {
        let checks = DirectChecks {
            budgets: object.direct_budgets,
            hooks: object.direct_hooks,
        };
        let says = !object.direct_paths.is_empty() || checks != DirectChecks::default();
        says.then(|| Self {
            paths: object.direct_paths.clone(),
            checks,
            source: Arc::clone(source),
        })
    }

    /// That of an object which can't be decoded: it opens nothing, and what it asks for holds for all paths.
    pub(super) fn of_remains(remains: &Remains, source: &Arc<str>) -> Option<Self> {
        let checks = DirectChecks {
            budgets: remains.direct_budgets,
            hooks: remains.direct_hooks,
        };
        (checks != DirectChecks::default()).then(|| Self {
            paths: Vec::new(),
            checks,
            source: Arc::clone(source),
        })
    }

    /// The patterns of the paths that it opens.
    pub(super) fn patterns(&self) -> &[PathPattern] {
        &self.paths
    }

    fn opening(&self, path: &str) -> Option<&PathPattern> {
        self.paths.iter().find(|pattern| pattern.matches(path))
    }

    /// How the objects of a caller's grants open `/PROVIDER/PATH`; `None` if they don't.
    pub(super) fn grant(all: &[Self], path: &str) -> Option<DirectGrant> {
        let (pattern, first) = all.iter().find_map(|one| Some((one.opening(path)?, one)))?;
        let held = all
            .iter()
            .filter(|one| one.paths.is_empty() || one.opening(path).is_some());
        let checks = held.map(|one| one.checks);
        Some(DirectGrant {
            pattern: pattern.text(),
            source: Arc::clone(&first.source).into(),
            checks: checks.fold(DirectChecks::default(), DirectChecks::and),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config;
    use crate::policy::access::{Access, DirectGrant, Subject};
    use crate::policy::identity::Caller;

    fn granted(objects: &str, path: &str) -> Option<DirectGrant> {
        let text = format!(
            r#"{{"grants":[{{"src":["ann@x.org"],"app":{{"tailscale.com/cap/aperture":[{{"role":"user"}},{objects}]}}}}]}}"#
        );
        let file = config::parse(&text, &|_| None).unwrap().file;
        let caller = Caller::hypothetical("ann@x.org", None);
        let permit = Access::compile(&file).permit(&caller).unwrap();
        permit.direct(Subject::Path {
            provider: "p",
            path,
        })
    }

    #[test]
    fn a_path_is_opened_by_its_pattern_alone() {
        let paths = r#"{"direct_paths":["/p/v1/files/**","/q/**"]}"#;
        let grant = granted(paths, "/v1/files/a").unwrap();
        assert_eq!(grant.pattern, "/p/v1/files/**");
        assert!(granted(paths, "/v1/files").is_some());
        for other in ["/v1/batches", "/v1/filesystem", "/v1/file%73"] {
            assert_eq!(granted(paths, other), None, "{other}");
        }
        // A model is another thing, and so is a role.
        assert_eq!(granted(r#"{"models":"**"},{"role":"admin"}"#, "/v1"), None);
    }

    #[test]
    fn what_one_object_asks_for_no_other_takes_back() {
        let checks = |objects: &str| {
            let checks = granted(objects, "/v1/files").unwrap().checks;
            (checks.budgets, checks.hooks)
        };
        let open = r#"{"direct_paths":["**"]}"#;
        assert_eq!(checks(open), (false, false));
        for (more, expected) in [
            (r#"{"direct_budgets":true}"#, (true, false)),
            (
                r#"{"direct_paths":["/p/v1/*"],"direct_hooks":true}"#,
                (false, true),
            ),
            (
                r#"{"direct_paths":["/p/v2/*"],"direct_hooks":true}"#,
                (false, false),
            ),
            (
                r#"{"direct_paths":["**"],"direct_budgets":false}"#,
                (false, false),
            ),
            // It can't be read: it opens nothing, and asks for what it may mean.
            (r#"{"direct_paths":7,"direct_hooks":"yes"}"#, (false, true)),
        ] {
            assert_eq!(checks(&format!("{open},{more}")), expected, "{more}");
        }
    }
}
