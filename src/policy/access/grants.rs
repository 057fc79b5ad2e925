//! The grants of a configuration, and those that name a caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::broken::Broken;
use super::permit::{Granted, NoRole, Permit};
use super::recent::{Recent, Unseen};
use super::{Capability, Person, Remains};
use crate::config;
use crate::policy::identity::{Caller, EXTERNAL, Principal, is_reserved};

/// A grant of the configuration, decoded.
struct Grant {
    /// Its place, for explanations.
    source: Arc<str>,
    capabilities: Vec<Capability>,
    /// Of objects that can't be decoded.
    remains: Vec<Remains>,
    /// Objects of capabilities that are not ours.
    foreign: Vec<(String, Arc<RawValue>)>,
}

/// All grants of a configuration, ready to be asked.
pub struct Access {
    grants: Vec<Grant>,
    /// From a `src` entry to the grants that name it.
    by_source: HashMap<String, Vec<usize>>,
    /// From a member to the configuration's groups that list it.
    groups_of: HashMap<String, Vec<String>>,
    /// Capability names that count.
    names: Vec<String>,
    /// Whether admins read the content of others' requests, unless a grant says otherwise.
    admins_read_captures: bool,
    recent: Recent,
    unseen: Unseen,
    broken: Broken,
}

impl Access {
    /// Compiles the grants of a configuration.
    pub fn compile(file: &config::File) -> Self {
        let names = file.tailnet.capabilities.clone();
        let mut grants = Vec::with_capacity(file.grants.len());
        let mut by_source: HashMap<String, Vec<usize>> = HashMap::new();
        for (nth, grant) in file.grants.iter().enumerate() {
            let source: Arc<str> = format!("grants[{nth}], line {}", grant.at.line).into();
            let (mut capabilities, mut remains) = (Vec::new(), Vec::new());
            let ours = names.iter().filter_map(|name| grant.app.get(name));
            for raw in ours.flatten() {
                match Capability::decode(raw) {
                    Ok(capability) => capabilities.push(capability),
                    Err(error) => {
                        tracing::warn!(%source, %error, "a capability grants nothing");
                        remains.push(Remains::of(raw));
                    }
                }
            }
            grants.push(Grant {
                source,
                capabilities,
                remains,
                foreign: foreign(&grant.app, &names).collect(),
            });
            for entry in &grant.src {
                by_source.entry(entry.clone()).or_default().push(nth);
            }
        }
        let mut groups_of: HashMap<String, Vec<String>> = HashMap::new();
        for (group, members) in &file.groups {
            for member in members {
                let groups = groups_of.entry(member.clone()).or_default();
                groups.push(group.clone());
            }
        }
        Self {
            grants,
            by_source,
            groups_of,
            names,
            admins_read_captures: file.access.admins_read_captures,
            recent: Recent::default(),
            unseen: Unseen::default(),
            broken: Broken::default(),
        }
    }

    /// What the caller may do, from the requests before if it is known.
    ///
    /// # Errors
    /// As [`Access::permit`].
    pub fn cached_permit(&self, caller: &Arc<Caller>) -> Result<Arc<Permit>, NoRole> {
        if let Some(permit) = self.recent.get((caller, None)) {
            return Ok(permit);
        }
        let permit = Arc::new(self.permit(caller)?);
        self.recent.keep((caller, None), Arc::clone(&permit));
        Ok(permit)
    }

    /// What the caller may do when they speak for a person, which they may.
    ///
    /// # Errors
    /// As [`Access::permit`], for either of them.
    pub fn cached_permit_for(
        &self,
        caller: &Arc<Caller>,
        person: &Arc<Caller>,
    ) -> Result<Arc<Permit>, NoRole> {
        let who = (caller, Some(person));
        if let Some(permit) = self.recent.get(who) {
            return Ok(permit);
        }
        let own = self.cached_permit(caller)?;
        let permit = Arc::new(own.speaking_for(Person {
            caller: Arc::clone(person),
            permit: self.cached_permit(person)?,
        }));
        self.recent.keep(who, Arc::clone(&permit));
        Ok(permit)
    }

    /// A person whom the tailnet has not shown. What is granted to their login counts, and to groups of the
    /// configuration that list it.
    pub fn unseen(&self, login: &str) -> Arc<Caller> {
        self.unseen.get(login)
    }

    /// What the caller may do.
    ///
    /// # Errors
    /// [`NoRole`] when no grant gives a role, whatever models it may name.
    pub fn permit(&self, caller: &Caller) -> Result<Permit, NoRole> {
        let mut granted = Granted::default();
        let (mut broken, mut unreadable) = (Vec::new(), Vec::new());
        for (nth, named) in self.matching(caller) {
            let grant = &self.grants[nth];
            for capability in &grant.capabilities {
                let capability = match named {
                    Named::Themselves => capability.clone(),
                    Named::Namesake => capability.for_namesake(),
                };
                granted.add(capability, &grant.source);
            }
            granted.foreign.extend(grant.foreign.iter().cloned());
            let remains = grant.remains.iter().cloned();
            broken.extend(remains.map(|remains| (remains, Arc::clone(&grant.source))));
        }
        for name in &self.names {
            let source: Arc<str> = format!("the tailnet policy's {name}").into();
            for raw in caller.capabilities().get(name).into_iter().flatten() {
                match Capability::decode(raw) {
                    Ok(capability) => granted.add(capability, &source),
                    Err(error) => {
                        unreadable.push((name, &**raw, error));
                        broken.push((Remains::of(raw), Arc::clone(&source)));
                    }
                }
            }
        }
        self.log(caller, &unreadable);
        let foreign = foreign(caller.capabilities(), &self.names);
        granted.foreign.extend(foreign);
        for (remains, source) in broken {
            granted.add_remains(remains, &source);
        }
        granted.permit(self.admins_read_captures)
    }

    /// Logs the objects of the tailnet policy that can't be read, once for each change.
    fn log(&self, caller: &Caller, unreadable: &[(&String, &RawValue, serde_json::Error)]) {
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

    /// Grants whose `src` names the caller, in the order of the file, each with how it names them.
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
        let mut in_groups = Named::Themselves;
        match caller.principal() {
            Principal::User { login, .. } => {
                if !is_reserved(login) {
                    add_own(login, Named::Themselves);
                }
                add("*", Named::Themselves);
            }
            // `*` covers neither users of another tailnet nor this machine: they must be named.
            Principal::External { login, .. } => {
                add_own(&format!("{EXTERNAL}{login}"), Named::Themselves);
                if !is_reserved(login) {
                    add_own(login, Named::Namesake);
                }
                in_groups = Named::Namesake;
            }
            Principal::Tagged { tags } => {
                for tag in tags {
                    add_own(tag, Named::Themselves);
                }
                add("*", Named::Themselves);
            }
            Principal::Named { login } => add_own(login, Named::Themselves),
            Principal::Loopback => add_own(caller.name(), Named::Themselves),
        }
        for group in caller.groups() {
            add(group, in_groups);
        }
        found
    }
}

/// Objects of capabilities whose names are not ours.
fn foreign(
    objects: &BTreeMap<String, Vec<Box<RawValue>>>,
    ours: &[String],
) -> impl Iterator<Item = (String, Arc<RawValue>)> {
    let foreign = objects.iter().filter(|(name, _)| !ours.contains(name));
    foreign.flat_map(|(name, objects)| {
        let objects = objects.iter();
        objects.map(|raw| (name.clone(), raw.clone().into()))
    })
}

/// How a grant names a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// By a login that a user of this tailnet may have too: the caller is from another one.
    Namesake,
    /// By a name that only this caller can have.
    Themselves,
}
