//! From grants to a [`Permit`]: the proof that a caller has a role, and the models it covers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;

use super::broken::Broken;
use super::recent::Recent;
use super::{BucketRef, Capability, ModelPattern, Remains, Role, SendHook};
use crate::config;
use crate::policy::identity::{Caller, EXTERNAL, Principal, is_reserved};
use crate::wire::Rejection;

/// The caller has no role: nothing at all is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied: no role granted")]
pub struct NoRole;

impl NoRole {
    /// What the caller is told; the log says who it was.
    #[must_use]
    pub fn rejection(self, caller: &Caller) -> Rejection {
        tracing::info!(
            login = caller.name(),
            node = caller.node_name(),
            "refused: {self}"
        );
        Rejection::new(StatusCode::FORBIDDEN, "no_role", self.to_string())
    }
}

struct Granted {
    /// Where the grant stands, for explanations.
    source: Arc<str>,
    capabilities: Vec<Capability>,
    /// Of objects that can't be decoded.
    remains: Vec<Remains>,
    /// Objects of capabilities that are not ours.
    foreign: Vec<(String, Arc<RawValue>)>,
}

impl Granted {
    /// What holds of objects that can't be decoded, and where they stand.
    fn remains(&self) -> impl Iterator<Item = (Remains, Arc<str>)> {
        let remains = self.remains.iter().cloned();
        remains.map(|remains| (remains, Arc::clone(&self.source)))
    }
}

/// All grants of a configuration, ready to be asked.
pub struct Access {
    grants: Vec<Granted>,
    /// From a `src` entry to the grants that name it.
    by_source: HashMap<String, Vec<usize>>,
    /// From a member to the configuration's groups that list it.
    groups_of: HashMap<String, Vec<String>>,
    /// Capability names that count.
    names: Vec<String>,
    /// Whether admins read what others said where no grant says anything of it.
    admins_read_captures: bool,
    recent: Recent,
    broken: Broken,
}

/// What a caller may do. Only [`Access::permit`] makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    role: Role,
    role_source: Arc<str>,
    /// The grants that match the caller.
    sources: Vec<Arc<str>>,
    models: Vec<(ModelPattern, Arc<str>)>,
    headers: Vec<(Option<ModelPattern>, String, String)>,
    read_pricing: bool,
    read_metrics: bool,
    read_captures: bool,
    filterable_headers: Vec<String>,
    quotas: Vec<(Option<ModelPattern>, BucketRef, Arc<str>)>,
    hooks: Vec<(Option<ModelPattern>, SendHook)>,
    guards: Vec<(Option<ModelPattern>, String)>,
    /// What grants say of the chat; one that allows it wins.
    chat: Option<bool>,
    /// Capabilities that are not ours, as JSON.
    foreign: Vec<(String, Arc<RawValue>)>,
}

impl Access {
    /// Compiles the grants of a configuration.
    #[must_use]
    pub fn compile(file: &config::File) -> Self {
        let names = file.tailnet.capabilities.clone();
        let mut grants = Vec::with_capacity(file.grants.len());
        let mut by_source: HashMap<String, Vec<usize>> = HashMap::new();
        for (nth, grant) in file.grants.iter().enumerate() {
            let source: Arc<str> = format!("grants[{nth}], line {}", grant.at.line).into();
            let (mut capabilities, mut remains) = (Vec::new(), Vec::new());
            for raw in names
                .iter()
                .filter_map(|name| grant.app.get(name))
                .flatten()
            {
                match Capability::decode(raw) {
                    Ok(capability) => capabilities.push(capability),
                    Err(error) => {
                        tracing::warn!(%source, %error, "a capability grants nothing");
                        remains.push(Capability::remains(raw));
                    }
                }
            }
            let foreign = grant
                .app
                .iter()
                .filter(|(name, _)| !names.contains(name))
                .flat_map(|(name, objects)| {
                    objects
                        .iter()
                        .map(|raw| (name.clone(), Arc::from(raw.clone())))
                });
            grants.push(Granted {
                source,
                capabilities,
                remains,
                foreign: foreign.collect(),
            });
            for entry in &grant.src {
                by_source.entry(entry.clone()).or_default().push(nth);
            }
        }
        let mut groups_of: HashMap<String, Vec<String>> = HashMap::new();
        for (group, members) in &file.groups {
            for member in members {
                groups_of
                    .entry(member.clone())
                    .or_default()
                    .push(group.clone());
            }
        }
        Self {
            grants,
            by_source,
            groups_of,
            names,
            admins_read_captures: file.access.admins_read_captures,
            recent: Recent::default(),
            broken: Broken::default(),
        }
    }

    /// What the caller may do, as it was found when they asked before.
    ///
    /// # Errors
    /// As [`Access::permit`].
    pub fn permit_again(&self, caller: &Arc<Caller>) -> Result<Arc<Permit>, NoRole> {
        if let Some(permit) = self.recent.get(caller) {
            return Ok(permit);
        }
        let permit = Arc::new(self.permit(caller)?);
        self.recent.keep(caller, Arc::clone(&permit));
        Ok(permit)
    }

    /// What the caller may do.
    ///
    /// # Errors
    /// [`NoRole`] when no grant gives a role, whatever models it may name.
    pub fn permit(&self, caller: &Caller) -> Result<Permit, NoRole> {
        let mut role: Option<(Role, Arc<str>)> = None;
        let mut models = Vec::new();
        let mut headers = Vec::new();
        let (mut read_pricing, mut read_metrics) = (false, false);
        let mut read_captures: Option<bool> = None;
        let mut filterable_headers = Vec::new();
        let mut quotas = Vec::new();
        let mut hooks = Vec::new();
        let mut guards = Vec::new();
        let mut chat = None;
        let mut foreign = Vec::new();
        let (mut broken, mut unreadable) = (Vec::new(), Vec::new());
        let mut sources: Vec<Arc<str>> = Vec::new();
        let mut add = |capability: Capability, source: &Arc<str>| {
            if let Some(granted) = capability.role
                && role.as_ref().is_none_or(|(held, _)| granted > *held)
            {
                role = Some((granted, Arc::clone(source)));
            }
            if sources.last() != Some(source) {
                sources.push(Arc::clone(source));
            }
            read_pricing |= capability.read_pricing;
            read_metrics |= capability.read_metrics;
            read_captures = read_captures.max(capability.read_captures);
            filterable_headers.extend(capability.filterable_headers);
            for (name, value) in capability.add_headers {
                headers.push((capability.models.clone(), name, value));
            }
            for bucket in capability.quotas {
                quotas.push((capability.models.clone(), bucket, Arc::clone(source)));
            }
            let covered = || capability.models.clone();
            hooks.extend((capability.send_hooks.into_iter()).map(|hook| (covered(), hook)));
            guards.extend((capability.guards.into_iter()).map(|guard| (covered(), guard)));
            // What says yes wins over what says no, and that over what says nothing.
            chat = chat.max(capability.chat);
            if let Some(pattern) = capability.models {
                models.push((pattern, Arc::clone(source)));
            }
        };
        for (nth, named) in self.matching(caller) {
            let grant = &self.grants[nth];
            for capability in &grant.capabilities {
                add(named.gets(capability), &grant.source);
            }
            foreign.extend(grant.foreign.iter().cloned());
            broken.extend(grant.remains());
        }
        for name in &self.names {
            let source: Arc<str> = format!("the tailnet policy's {name}").into();
            for raw in caller.capabilities().get(name).into_iter().flatten() {
                match Capability::decode(raw) {
                    Ok(capability) => add(capability, &source),
                    Err(error) => {
                        unreadable.push((name, &**raw, error));
                        broken.push((Capability::remains(raw), Arc::clone(&source)));
                    }
                }
            }
        }
        self.tell(caller, &unreadable);
        foreign.extend(self.others(caller));
        let (role, role_source) = role.ok_or(NoRole)?;
        let permit = Permit {
            role,
            role_source,
            sources,
            models,
            headers,
            read_pricing,
            read_metrics,
            read_captures: self.reads_captures(role, read_captures),
            filterable_headers,
            quotas,
            hooks,
            guards,
            chat,
            foreign,
        };
        Ok(permit.hold(broken))
    }

    /// Logs what of the tailnet policy can't be read, once for each change.
    fn tell(&self, caller: &Caller, unreadable: &[(&String, &RawValue, serde_json::Error)]) {
        let objects: Vec<_> = unreadable
            .iter()
            .map(|(name, raw, _)| (name.as_str(), raw.get()))
            .collect();
        for place in self.broken.new_among(caller, &objects) {
            let (capability, _, error) = &unreadable[place];
            let caller = caller.name();
            tracing::warn!(caller, capability, %error, "a capability of the policy grants nothing");
        }
    }

    /// Capability objects of the tailnet policy that are not ours.
    fn others(&self, caller: &Caller) -> impl Iterator<Item = (String, Arc<RawValue>)> {
        caller
            .capabilities()
            .iter()
            .filter(|(name, _)| !self.names.contains(name))
            .flat_map(|(name, objects)| {
                objects.iter().map(|raw| (name.clone(), raw.clone().into()))
            })
    }

    /// Whether others' captures may be read, by what grants say: yes wins over no, as an admin
    /// over a user.
    fn reads_captures(&self, role: Role, granted: Option<bool>) -> bool {
        role == Role::Admin && granted.unwrap_or(self.admins_read_captures)
    }

    /// Grants whose `src` names the caller, in the order of the file, and whether it can mean nobody
    /// else.
    fn matching(&self, caller: &Caller) -> BTreeMap<usize, Named> {
        let mut found = BTreeMap::new();
        let mut add = |name: &str, named: Named| {
            for nth in self.by_source.get(name).into_iter().flatten() {
                let known = found.entry(*nth).or_insert(named);
                *known = named.max(*known);
            }
        };
        // Of the configuration's groups as well.
        let mut add_own = |name: &str, named: Named| {
            add(name, named);
            for group in self.groups_of.get(name).into_iter().flatten() {
                add(group, named);
            }
        };
        match caller.principal() {
            Principal::User { login, .. } => {
                if !is_reserved(login) {
                    add_own(login, Named::Themselves);
                }
            }
            // `*` covers neither users of another tailnet nor this machine: they must be named.
            Principal::External { login, .. } => {
                add_own(&format!("{EXTERNAL}{login}"), Named::Themselves);
                if !is_reserved(login) {
                    add_own(login, Named::Namesake);
                }
            }
            Principal::Tagged { tags } => {
                for tag in tags {
                    add_own(tag, Named::Themselves);
                }
            }
            Principal::Loopback => add_own(caller.name(), Named::Themselves),
        }
        let (is_own, named) = match caller.principal() {
            Principal::User { .. } | Principal::Tagged { .. } => (true, Named::Themselves),
            Principal::External { .. } => (false, Named::Namesake),
            Principal::Loopback => (false, Named::Themselves),
        };
        if is_own {
            add("*", Named::Themselves);
        }
        for group in caller.groups() {
            add(group, named);
        }
        found
    }
}

/// How a grant names a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// By a login that a user of this tailnet may have too: the caller is from another one.
    Namesake,
    /// As nobody else.
    Themselves,
}

impl Named {
    /// What the caller gets of an object.
    fn gets(self, capability: &Capability) -> Capability {
        match self {
            Self::Themselves => capability.clone(),
            Self::Namesake => capability.for_namesake(),
        }
    }
}

impl Permit {
    /// The same with what holds of objects that can't be decoded, and where they stand.
    fn hold(mut self, broken: Vec<(Remains, Arc<str>)>) -> Self {
        for (remains, source) in broken {
            for guard in remains.guards {
                self.guards.push((remains.models.clone(), guard));
            }
            for bucket in remains.quotas {
                let bucket = (remains.models.clone(), bucket, Arc::clone(&source));
                self.quotas.push(bucket);
            }
        }
        self
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Which grant gave the role.
    #[must_use]
    pub fn role_source(&self) -> &str {
        &self.role_source
    }

    /// The grants that match the caller, in the order of the file; then the tailnet policy's.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| &**source)
    }

    /// Whether what others said may be read: by admins alone, and by none of them whose grants
    /// say no.
    #[must_use]
    pub fn may_read_captures(&self) -> bool {
        self.read_captures
    }

    /// What is held besides models, each in a few words, for those who compare.
    #[must_use]
    pub fn besides_models(&self) -> BTreeSet<String> {
        let flags = [
            (self.read_pricing, "read_pricing"),
            (self.read_metrics, "read_metrics"),
            (self.read_captures, "read_captures"),
        ];
        let flags = flags.into_iter().filter(|(held, _)| *held);
        // Values of headers can be secret.
        let headers = self.headers.iter().map(|(_, name, _)| name);
        let quotas = self.quotas.iter().flat_map(|(_, bucket, _)| bucket.names());
        flags
            .map(|(_, name)| name.to_owned())
            .chain(
                self.filterable_headers
                    .iter()
                    .map(|name| format!("filterable_headers: {name}")),
            )
            .chain(headers.map(|name| format!("add_headers: {name}")))
            .chain(quotas.map(|name| format!("quotas: {name}")))
            .chain(
                self.hooks
                    .iter()
                    .map(|(_, hook)| format!("send_hooks: {}", hook.name)),
            )
            .chain(
                self.guards
                    .iter()
                    .map(|(_, guard)| format!("guards: {guard}")),
            )
            .collect()
    }

    /// Whether a grant says that the price list may be read; being an admin does not.
    #[must_use]
    pub fn may_read_pricing(&self) -> bool {
        self.read_pricing
    }

    /// Whether a grant says that the metrics may be read; being an admin does not.
    #[must_use]
    pub fn may_read_metrics(&self) -> bool {
        self.read_metrics
    }

    /// Whether a grant says that records may be filtered by a header, named in lower case.
    #[must_use]
    pub fn may_filter_by(&self, header: &str) -> bool {
        self.filterable_headers
            .iter()
            .any(|name| name == "*" || name == header)
    }

    /// The pattern that covers `provider/model` and the grant that it stands in.
    #[must_use]
    pub fn covers(&self, provider: &str, model: &str) -> Option<(&ModelPattern, &str)> {
        self.models
            .iter()
            .find(|(pattern, _)| pattern.matches(provider, model))
            .map(|(pattern, source)| (pattern, &**source))
    }

    /// The buckets that pay for `provider/model`, in the order of the grants, each with the grant
    /// that names it.
    pub fn quotas(&self, provider: &str, model: &str) -> impl Iterator<Item = (&BucketRef, &str)> {
        self.quotas
            .iter()
            .filter(move |(pattern, _, _)| {
                pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches(provider, model))
            })
            .map(|(_, bucket, source)| (bucket, &**source))
    }

    /// The hooks that are called for `provider/model`.
    pub fn hooks(&self, provider: &str, model: &str) -> impl Iterator<Item = &SendHook> {
        let matches = move |pattern: &Option<ModelPattern>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches(provider, model))
        };
        self.hooks
            .iter()
            .filter(move |(pattern, hook)| matches(pattern) && matches(&hook.models))
            .map(|(_, hook)| hook)
    }

    /// Whether the chat is there: unless a grant takes it away and none gives it back.
    #[must_use]
    pub fn may_chat(&self) -> bool {
        self.chat.unwrap_or(true)
    }

    /// The guards that look at requests for `provider/model`, each once.
    pub fn guards(&self, provider: &str, model: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for (pattern, guard) in &self.guards {
            let covers = pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches(provider, model));
            if covers && !found.contains(&guard.as_str()) {
                found.push(guard);
            }
        }
        found
    }

    /// What the grants say besides: objects of capabilities that are not the gateway's.
    pub fn foreign(&self) -> &[(String, Arc<RawValue>)] {
        &self.foreign
    }

    /// All buckets that pay for anything.
    pub fn all_quotas(&self) -> impl Iterator<Item = &BucketRef> {
        self.quotas.iter().map(|(_, bucket, _)| bucket)
    }

    /// Headers that grants put on requests for `provider/model`, in the order of the grants.
    pub fn headers(&self, provider: &str, model: &str) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .filter(move |(pattern, _, _)| {
                pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches(provider, model))
            })
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod reference;
