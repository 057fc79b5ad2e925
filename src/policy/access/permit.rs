//! A [`Permit`]: the proof that a caller has a role, and what their grants say of each [`Subject`].

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;

use super::{
    BucketRef, CacheGrant, Capability, Header, ModelPattern, Remains, Role, SendHook, Subject,
};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::policy::identity::Caller;
use crate::wire::Rejection;

/// The caller has no role: nothing at all is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied: no role granted")]
pub struct NoRole;

impl NoRole {
    /// The response to the caller; the log says who it was.
    #[must_use]
    pub fn rejection(self, caller: &Caller) -> Rejection {
        let (login, node) = (caller.name(), caller.node_name());
        tracing::info!(login, node, "refused: {self}");
        Rejection::new(StatusCode::FORBIDDEN, "no_role", self.to_string())
    }
}

/// What a caller may do. Only [`Access::permit`](super::Access::permit) makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    role: Role,
    role_source: Arc<str>,
    read_captures: bool,
    granted: Granted,
}

/// The sum of a caller's grants, whether or not they give a role.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted {
    role: Option<(Role, Arc<str>)>,
    /// The grants that match the caller.
    sources: Vec<Arc<str>>,
    models: Vec<Models>,
    headers: Vec<Scoped<Header>>,
    read_pricing: bool,
    read_metrics: bool,
    read_captures: Option<bool>,
    filterable_headers: Vec<String>,
    quotas: Vec<Scoped<BucketRef>>,
    hooks: Vec<Scoped<SendHook>>,
    guards: Vec<Scoped<String>>,
    caches: Vec<Scoped<CacheGrant>>,
    /// Whether the chat is available; a grant that allows it wins.
    chat: Option<bool>,
    /// Capabilities that are not ours, as JSON.
    pub(super) foreign: Vec<(String, Arc<RawValue>)>,
}

/// Models that a grant gives.
#[derive(Clone, Debug)]
struct Models {
    pattern: ModelPattern,
    source: Arc<str>,
    /// Requests for them may be translated.
    translate: bool,
}

/// What a grant adds to requests for the models that it covers; if it names none, for all.
#[derive(Clone, Debug)]
struct Scoped<T> {
    models: Option<ModelPattern>,
    added: T,
    source: Arc<str>,
}

impl Granted {
    /// Adds a capability object of a grant.
    pub(super) fn add(&mut self, capability: Capability, source: &Arc<str>) {
        let role = self.role.as_ref().map(|(held, _)| *held);
        if let Some(more) = capability.role.filter(|more| Some(*more) > role) {
            self.role = Some((more, Arc::clone(source)));
        }
        if self.sources.last() != Some(source) {
            self.sources.push(Arc::clone(source));
        }
        self.read_pricing |= capability.read_pricing;
        self.read_metrics |= capability.read_metrics;
        // A yes wins over a no, and a no over nothing.
        self.read_captures = self.read_captures.max(capability.read_captures);
        self.chat = self.chat.max(capability.chat);
        self.filterable_headers
            .extend(capability.filterable_headers);
        let models = capability.models.as_ref();
        extend(&mut self.headers, capability.add_headers, models, source);
        extend(&mut self.quotas, capability.quotas, models, source);
        extend(&mut self.hooks, capability.send_hooks, models, source);
        extend(&mut self.guards, capability.guards, models, source);
        let cache = capability.cache.into_iter().collect();
        extend(&mut self.caches, cache, models, source);
        if let Some(pattern) = capability.models {
            self.models.push(Models {
                pattern,
                source: Arc::clone(source),
                translate: capability.translate.unwrap_or(true),
            });
        }
    }

    /// Adds what holds of an object that can't be decoded.
    pub(super) fn add_remains(&mut self, remains: Remains, source: &Arc<str>) {
        let models = remains.models.as_ref();
        extend(&mut self.quotas, remains.quotas, models, source);
        extend(&mut self.guards, remains.guards, models, source);
    }

    /// The permit, if there is a role. `admins_read_captures` holds unless a grant says otherwise.
    pub(super) fn permit(mut self, admins_read_captures: bool) -> Result<Permit, NoRole> {
        let (role, role_source) = self.role.take().ok_or(NoRole)?;
        Ok(Permit {
            role,
            role_source,
            read_captures: role == Role::Admin
                && self.read_captures.unwrap_or(admins_read_captures),
            granted: self,
        })
    }
}

fn extend<T>(
    list: &mut Vec<Scoped<T>>,
    added: Vec<T>,
    models: Option<&ModelPattern>,
    source: &Arc<str>,
) {
    list.extend(added.into_iter().map(|added| Scoped {
        models: models.cloned(),
        added,
        source: Arc::clone(source),
    }));
}

fn applying<'a, T>(
    list: &'a [Scoped<T>],
    subject: Subject<'_>,
) -> impl Iterator<Item = &'a Scoped<T>> {
    list.iter()
        .filter(move |scoped| is_among(scoped.models.as_ref(), subject))
}

fn is_among(models: Option<&ModelPattern>, subject: Subject<'_>) -> bool {
    models.is_none_or(|models| models.matches(subject))
}

impl Permit {
    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Which grant gave the role.
    pub fn role_source(&self) -> &str {
        &self.role_source
    }

    /// What a record says of the caller, as far as grants decide it.
    pub fn reasons(&self, caller: &Caller) -> [Reason; 2] {
        let names = caller.names();
        let sources = self.granted.sources.iter();
        [
            Reason::Caller {
                caller: names.login,
                node: names.node_name,
                role: Text::fixed(self.role.word()),
                grant: Arc::clone(&self.role_source).into(),
            },
            Reason::Grants {
                grants: sources.map(|source| Arc::clone(source).into()).collect(),
            },
        ]
    }

    /// The grants that match the caller, in the order of the file; then the tailnet policy's.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.granted.sources.iter().map(|source| &**source)
    }

    /// Whether the content of other people's requests may be read: only by admins, and only if
    /// their grants don't forbid it.
    pub fn may_read_captures(&self) -> bool {
        self.read_captures
    }

    /// What is granted besides models, each in a few words, to compare two permits.
    pub fn besides_models(&self) -> BTreeSet<String> {
        let granted = &self.granted;
        let flags = [
            (granted.read_pricing, "read_pricing"),
            (granted.read_metrics, "read_metrics"),
            (self.read_captures, "read_captures"),
        ];
        let held = flags.into_iter().filter(|(is_held, _)| *is_held);
        let mut all: BTreeSet<String> = held.map(|(_, flag)| flag.to_owned()).collect();
        let mut add = |key: &str, name: &str| all.insert(format!("{key}: {name}"));
        for name in &granted.filterable_headers {
            add("filterable_headers", name);
        }
        for header in &granted.headers {
            // Values can be secret.
            add("add_headers", &header.added.name);
        }
        for name in self.all_quotas().flat_map(BucketRef::names) {
            add("quotas", name);
        }
        for hook in &granted.hooks {
            add("send_hooks", &hook.added.name);
        }
        for guard in &granted.guards {
            add("guards", &guard.added);
        }
        all
    }

    /// Whether a grant says that the price list may be read; being an admin does not.
    pub fn may_read_pricing(&self) -> bool {
        self.granted.read_pricing
    }

    /// Whether a grant says that the metrics may be read; being an admin does not.
    pub fn may_read_metrics(&self) -> bool {
        self.granted.read_metrics
    }

    /// Whether a grant says that records may be filtered by a header, named in lower case.
    pub fn may_filter_by(&self, header: &str) -> bool {
        let mut names = self.granted.filterable_headers.iter();
        names.any(|name| name == "*" || name == header)
    }

    /// Whether a grant gives the subject.
    #[must_use]
    pub fn covers(&self, subject: Subject<'_>) -> bool {
        self.granting(subject).next().is_some()
    }

    /// The pattern that gives the subject, and the grant that has it.
    pub fn why(&self, subject: Subject<'_>) -> Option<Reason> {
        let models = self.granting(subject).next()?;
        Some(Reason::Granted {
            pattern: models.pattern.text(),
            grant: Arc::clone(&models.source).into(),
        })
    }

    /// Whether requests for the subject may be translated: some grant gives it and doesn't forbid that.
    #[must_use]
    pub fn translates(&self, subject: Subject<'_>) -> bool {
        self.granting(subject).any(|models| models.translate)
    }

    fn granting(&self, subject: Subject<'_>) -> impl Iterator<Item = &Models> {
        let models = self.granted.models.iter();
        models.filter(move |models| models.pattern.matches(subject))
    }

    /// Whether responses of the subject are kept for the same request, and how: of several grants that say
    /// so, for the shortest time, and shared only if all share.
    #[must_use]
    pub fn cache(&self, subject: Subject<'_>) -> Option<CacheGrant> {
        let grants = applying(&self.granted.caches, subject).map(|scoped| scoped.added);
        grants.reduce(|one, other| CacheGrant {
            lasts: one.lasts.min(other.lasts),
            is_shared: one.is_shared && other.is_shared,
        })
    }

    /// The buckets that pay for the subject, in the order of the grants, each with the grant that
    /// names it.
    pub fn quotas(&self, subject: Subject<'_>) -> impl Iterator<Item = (&BucketRef, &str)> {
        applying(&self.granted.quotas, subject).map(|quota| (&quota.added, &*quota.source))
    }

    /// The hooks that are called for the subject.
    pub fn hooks(&self, subject: Subject<'_>) -> impl Iterator<Item = &SendHook> {
        let hooks = applying(&self.granted.hooks, subject).map(|hook| &hook.added);
        hooks.filter(move |hook| is_among(hook.models.as_ref(), subject))
    }

    /// Whether the chat is available: unless a grant takes it away and no other gives it.
    pub fn may_chat(&self) -> bool {
        self.granted.chat.unwrap_or(true)
    }

    /// The guardrails that inspect requests for the subject, each once.
    pub fn guards(&self, subject: Subject<'_>) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for guard in applying(&self.granted.guards, subject) {
            if !names.contains(&guard.added.as_str()) {
                names.push(&guard.added);
            }
        }
        names
    }

    /// Objects of capabilities that are not the gateway's.
    pub fn foreign(&self) -> &[(String, Arc<RawValue>)] {
        &self.granted.foreign
    }

    /// All buckets that pay for anything.
    pub fn all_quotas(&self) -> impl Iterator<Item = &BucketRef> {
        self.granted.quotas.iter().map(|quota| &quota.added)
    }

    /// Headers that grants put on requests for the subject, in the order of the grants.
    pub fn headers(&self, subject: Subject<'_>) -> impl Iterator<Item = &Header> {
        applying(&self.granted.headers, subject).map(|header| &header.added)
    }
}
