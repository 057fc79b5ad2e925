//! A [`Permit`]: the proof that a caller has a role, and what their grants say of each [`Subject`].

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::cors::{AllowedOrigin, Cors};
use super::direct::Direct;
use super::speaking::{Speaking, USER};
use super::{
    BucketRef, CacheGrant, Capability, DirectGrant, Header, ModelPattern, Remains, RequiredLabels,
    Role, SendHook, Subject,
};
use crate::base::labels::Labels;
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
    /// The person for whom the caller speaks, whose own permit has to allow the same.
    person: Option<Box<Person>>,
}

/// A person for whom a caller speaks.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who it is, as far as the tailnet or the configuration knows.
    pub caller: Arc<Caller>,
    /// What they may do themselves.
    pub permit: Arc<Permit>,
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
    required_labels: Vec<Scoped<RequiredLabels>>,
    hooks: Vec<Scoped<SendHook>>,
    guards: Vec<Scoped<String>>,
    caches: Vec<Scoped<CacheGrant>>,
    /// Whether the chat is available; a grant that allows it wins.
    chat: Option<bool>,
    /// Pages of other sites that may call models.
    cors: Vec<Cors>,
    /// People for whom the caller may speak.
    speaking: Vec<Speaking>,
    /// Paths of providers that pass as they are.
    direct: Vec<Direct>,
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
        self.cors.extend(Cors::of(&capability));
        self.speaking.extend(Speaking::of(&capability));
        self.direct.extend(Direct::of(&capability, source));
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
        let labels = some(capability.require_labels);
        extend(&mut self.required_labels, labels, models, source);
        extend(&mut self.hooks, capability.send_hooks, models, source);
        extend(&mut self.guards, capability.guards, models, source);
        extend(&mut self.caches, capability.cache, models, source);
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
        self.direct.extend(Direct::of_remains(&remains, source));
        let models = remains.models.as_ref();
        extend(&mut self.quotas, remains.quotas, models, source);
        let labels = some(remains.require_labels);
        extend(&mut self.required_labels, labels, models, source);
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
            person: None,
        })
    }
}

/// What an object requires, if anything.
fn some(labels: RequiredLabels) -> Option<RequiredLabels> {
    Some(labels).filter(|labels| !labels.is_empty())
}

fn extend<T>(
    list: &mut Vec<Scoped<T>>,
    added: impl IntoIterator<Item = T>,
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
        for name in self.all_quotas().flat_map(|(bucket, _)| bucket.names()) {
            add("quotas", name);
        }
        for hook in &granted.hooks {
            add("send_hooks", &hook.added.name);
        }
        for guard in &granted.guards {
            add("guards", &guard.added);
        }
        for label in granted
            .required_labels
            .iter()
            .flat_map(|one| one.added.texts())
        {
            add("require_labels", &label);
        }
        for pattern in granted.speaking.iter().flat_map(Speaking::patterns) {
            add("may_speak_for", pattern);
        }
        for origin in granted.cors.iter().flat_map(Cors::origins) {
            add("set_cors", origin);
        }
        for pattern in granted.direct.iter().flat_map(Direct::patterns) {
            add("direct_paths", &pattern.text());
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

    /// Headers other than [`USER`] in which the caller may name a person.
    pub fn speaking_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let headers = self.granted.speaking.iter().map(Speaking::header);
        headers.filter(|header| **header != USER)
    }

    /// Sees whether the caller may speak for a person who is named in a header, or in any.
    ///
    /// # Errors
    /// 403 that says which grant is missing.
    pub fn check_speaking(
        &self,
        caller: &Caller,
        header: Option<&HeaderName>,
        login: &str,
    ) -> Result<(), Rejection> {
        let mut speaking = self.granted.speaking.iter();
        if speaking.any(|speaking| speaking.covers(header, login)) {
            return Ok(());
        }
        let why = format!(
            "access denied: no grant lets {} speak for {login}: it takes may_speak_for",
            caller.name()
        );
        Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "may_not_speak_for",
            why,
        ))
    }

    /// The permit of a caller who speaks for a person: what both may, with everything that the grants of both
    /// require and add.
    #[must_use]
    pub fn speaking_for(&self, person: Person) -> Self {
        let mut both = self.clone();
        let (granted, other) = (&mut both.granted, &person.permit.granted);
        granted.headers.extend(other.headers.iter().cloned());
        let labels = other.required_labels.iter().cloned();
        granted.required_labels.extend(labels);
        granted.hooks.extend(other.hooks.iter().cloned());
        granted.guards.extend(other.guards.iter().cloned());
        granted.foreign.extend(other.foreign.iter().cloned());
        both.person = Some(Box::new(person));
        both
    }

    /// The person for whom the caller speaks.
    #[must_use]
    pub fn person(&self) -> Option<&Person> {
        self.person.as_deref()
    }

    /// Whether a grant gives the subject, to the person as well if the caller speaks for one.
    #[must_use]
    pub fn covers(&self, subject: Subject<'_>) -> bool {
        self.granting(subject).next().is_some()
            && self
                .person()
                .is_none_or(|person| person.permit.covers(subject))
    }

    /// The pattern that gives the subject, and the grant that has it.
    pub fn why(&self, subject: Subject<'_>) -> Option<Reason> {
        let models = self.granting(subject).next()?;
        self.covers(subject).then(|| Reason::Granted {
            pattern: models.pattern.text(),
            grant: Arc::clone(&models.source).into(),
        })
    }

    /// Whether requests for the subject may be translated: some grant gives it and doesn't forbid that.
    #[must_use]
    pub fn translates(&self, subject: Subject<'_>) -> bool {
        self.granting(subject).any(|models| models.translate)
            && self
                .person()
                .is_none_or(|person| person.permit.translates(subject))
    }

    /// The grant of direct access to a path of a provider, to the person as well if the caller speaks for one;
    /// `None` without it.
    #[must_use]
    pub fn direct(&self, subject: Subject<'_>) -> Option<DirectGrant> {
        let Subject::Path { .. } = subject else {
            return None;
        };
        let own = Direct::grant(&self.granted.direct, &format!("/{subject}"))?;
        let Some(person) = self.person() else {
            return Some(own);
        };
        let theirs = person.permit.direct(subject)?;
        Some(DirectGrant {
            checks: own.checks.and(theirs.checks),
            ..own
        })
    }

    fn granting(&self, subject: Subject<'_>) -> impl Iterator<Item = &Models> {
        let models = self.granted.models.iter();
        models.filter(move |models| models.pattern.matches(subject))
    }

    /// Whether responses of the subject are kept for the same request, and how: of several grants that say
    /// so, for the shortest time, and shared only if all share. If the caller speaks for a person, a grant
    /// has to say so for each of them.
    #[must_use]
    pub fn cache(&self, subject: Subject<'_>) -> Option<CacheGrant> {
        let grants = applying(&self.granted.caches, subject).map(|scoped| scoped.added);
        let own = grants.reduce(CacheGrant::and)?;
        match self.person() {
            None => Some(own),
            Some(person) => Some(own.and(person.permit.cache(subject)?)),
        }
    }

    /// The buckets that pay for the subject, in the order of the grants, each with the grant that
    /// names it. Those of a person for whom the caller speaks are in the person's own permit.
    pub fn quotas(&self, subject: Subject<'_>) -> impl Iterator<Item = (&BucketRef, &str)> {
        applying(&self.granted.quotas, subject).map(|quota| (&quota.added, &*quota.source))
    }

    /// Sees whether a request for the subject has the labels that grants require.
    ///
    /// # Errors
    /// 403 that says which is missing.
    pub fn check_labels(&self, subject: Subject<'_>, labels: &Labels) -> Result<(), Rejection> {
        let mut required = applying(&self.granted.required_labels, subject);
        let missing = required.find_map(|required| required.added.missing(labels));
        missing.map_or(Ok(()), |why| {
            Err(Rejection::new(StatusCode::FORBIDDEN, "label_required", why))
        })
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

    /// What a page of another site is told whose origin may call a path in the caller's name; `None` if it
    /// may not.
    #[must_use]
    pub fn allowed_origin(&self, origin: &HeaderValue, path: &str) -> Option<AllowedOrigin> {
        AllowedOrigin::among(&self.granted.cors, origin, path)
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

    /// All buckets that pay for anything, each with the grant that names it.
    pub fn all_quotas(&self) -> impl Iterator<Item = (&BucketRef, &str)> {
        let quotas = self.granted.quotas.iter();
        quotas.map(|quota| (&quota.added, &*quota.source))
    }

    /// Headers that grants put on requests for the subject, in the order of the grants.
    pub fn headers(&self, subject: Subject<'_>) -> impl Iterator<Item = &Header> {
        applying(&self.granted.headers, subject).map(|header| &header.added)
    }
}
