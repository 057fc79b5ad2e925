//! From grants to buckets: which pay for a request, and in which order.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Denied;
use crate::base::bucket::{Link, Terms, Unit};
use crate::base::labels::{self, Labels};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::config::{self, Quota};
use crate::policy::access::{BucketRef, Permit, Subject};
use crate::policy::identity::Caller;

/// The budgets and limits of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Definitions(IndexMap<String, Quota>);

/// The buckets that pay for one request.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) chains: Vec<Planned>,
}

impl Plan {
    /// What pays, in sentences.
    #[must_use]
    pub fn describe(&self) -> Vec<Reason> {
        let pays = |planned: &Planned| {
            let links = planned.links.iter().map(|link| {
                let terms = &link.terms;
                let rate = terms
                    .rate_text()
                    .map(|rate| format!(", refilled by {rate}"));
                format!(
                    "{} (up to {}{})",
                    link.bucket,
                    terms.show(terms.capacity),
                    rate.unwrap_or_default()
                )
                .into()
            });
            Reason::Pays {
                buckets: links.collect(),
                grants: planned.source.clone(),
            }
        };
        self.chains.iter().map(pays).collect()
    }
}

/// A chain that is being put together.
struct Begun<'p> {
    /// Never empty.
    links: Vec<Link>,
    sources: Vec<&'p str>,
}

/// Buckets that pay together.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Never empty.
    pub(super) links: Arc<[Link]>,
    pub(super) unit: Unit,
    /// The grants that name them.
    pub(super) source: Text,
}

impl Plan {
    /// Those of the buckets that count tokens or requests.
    #[must_use]
    pub fn without_money(&self) -> Self {
        let chains = self.chains.iter();
        let chains = chains.filter(|planned| planned.unit != Unit::Money);
        Self {
            chains: chains.cloned().collect(),
        }
    }

    /// Whether a bucket counts requests, or those that run at the same time.
    #[must_use]
    pub fn counts_requests(&self) -> bool {
        let mut chains = self.chains.iter();
        chains.any(|planned| matches!(planned.unit, Unit::Requests | Unit::Parallel))
    }

    /// Whether no bucket pays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }
}

impl Definitions {
    /// Those of a configuration.
    #[must_use]
    pub fn compile(file: &config::File) -> Self {
        Self(file.quotas.clone())
    }

    /// The names of all, templates included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a bucket of a definition may hold.
    #[must_use]
    pub fn terms(&self, name: &str) -> Option<Terms> {
        self.0.get(name)?.as_ref().ok().copied()
    }

    /// The buckets that pay for the subject: the caller's, and those of the person for whom the caller speaks.
    /// Several grants that name one bucket make one chain, with the helpers of all; a bucket that helps out in
    /// a chain pays there alone. So nothing is taken from a bucket twice. Only buckets of labels depend on
    /// `labels` ([`Self::depends_on_labels`]).
    ///
    /// # Errors
    /// [`Denied::Broken`] for a name that stands for nothing: a mistake turns no budget off.
    pub fn plan(
        &self,
        permit: &Permit,
        caller: &Caller,
        labels: &Labels,
        subject: Subject<'_>,
    ) -> Result<Plan, Denied> {
        let own = permit.quotas(subject).map(|quota| (quota, caller));
        let theirs = permit.person().into_iter().flat_map(|person| {
            let quotas = person.permit.quotas(subject);
            quotas.map(|quota| (quota, &*person.caller))
        });
        self.planned(own.chain(theirs), labels)
    }

    /// All buckets of the caller, and of the person for whom the caller speaks, whatever they pay for.
    ///
    /// # Errors
    /// As for [`Self::plan`].
    pub fn plan_of_all(
        &self,
        permit: &Permit,
        caller: &Caller,
        labels: &Labels,
    ) -> Result<Plan, Denied> {
        let own = permit.all_quotas().map(|quota| (quota, caller));
        let theirs = permit.person().into_iter().flat_map(|person| {
            let quotas = person.permit.all_quotas();
            quotas.map(|quota| (quota, &*person.caller))
        });
        self.planned(own.chain(theirs), labels)
    }

    fn planned<'p>(
        &self,
        references: impl Iterator<Item = ((&'p BucketRef, &'p str), &'p Caller)>,
        labels: &Labels,
    ) -> Result<Plan, Denied> {
        // By the key of its first bucket.
        let mut chains: IndexMap<Text, Begun<'_>> = IndexMap::new();
        for ((reference, source), whose) in references {
            let first = self.link(&reference.bucket, whose, labels)?;
            let chain = chains.entry(first.key.clone()).or_insert_with(|| Begun {
                links: vec![first],
                sources: Vec::new(),
            });
            for helper in &reference.overdraft {
                let helper = self.link(helper, whose, labels)?;
                if !chain.links.iter().any(|link| link.key == helper.key) {
                    chain.links.push(helper);
                }
            }
            if !chain.sources.contains(&source) {
                chain.sources.push(source);
            }
        }
        let helpers = chains.values().flat_map(|chain| &chain.links[1..]);
        let helping: Vec<Text> = helpers.map(|link| link.key.clone()).collect();
        let mut plan = Plan::default();
        for (first, Begun { links, sources }) in chains {
            if helping.contains(&first) && links.len() == 1 {
                continue;
            }
            let (template, unit) = (&links[0].template, links[0].terms.unit);
            if let Some(other) = links.iter().find(|link| link.terms.unit != unit) {
                return Err(Denied::Broken {
                    quota: other.template.clone(),
                    why: format!("it counts something else than {template:?}, which it helps out"),
                });
            }
            plan.chains.push(Planned {
                links: links.into(),
                unit,
                source: sources.join(", ").into(),
            });
        }
        Ok(plan)
    }

    /// Whether the labels of a request decide which buckets pay for the subject.
    #[must_use]
    pub fn depends_on_labels(permit: &Permit, subject: Subject<'_>) -> bool {
        let mut names = permit
            .quotas(subject)
            .flat_map(|(bucket, _)| bucket.names());
        let person = permit.person();
        names.any(|name| label_of(name).is_some())
            || person.is_some_and(|person| Self::depends_on_labels(&person.permit, subject))
    }

    /// The buckets that may pay for anything of a caller's. Of those for labels, the ones of requests without
    /// the label.
    pub fn of<'a>(
        &'a self,
        permit: &'a Permit,
        caller: &'a Caller,
    ) -> impl Iterator<Item = Link> + 'a {
        permit
            .all_quotas()
            .flat_map(|(bucket, _)| bucket.names())
            .filter_map(|name| self.link(name, caller, &Labels::default()).ok())
    }

    /// The bucket of a name as an administrator writes it, such as `daily:pat@example.org`, if the
    /// name is all that tells it apart. A user with a number has another one.
    #[must_use]
    pub fn named(&self, bucket: &str) -> Option<Link> {
        let link = |template: &str, whose: &str| {
            let terms = self.terms(template)?;
            Some(Link::new(template, whose, bucket.into(), terms))
        };
        if !bucket.contains('<')
            && let Some(shared) = link(bucket, "")
        {
            return Some(shared);
        }
        let (prefix, whose) = bucket.split_once(':')?;
        if whose.is_empty() || whose.contains('<') {
            return None;
        }
        let caller = Caller::hypothetical(whose, None);
        let places = [
            ("<user>", caller.key().to_owned()),
            ("<node>", of_node(whose)),
        ];
        let of_caller = places
            .iter()
            .find_map(|(place, whose)| link(&format!("{prefix}:{place}"), whose));
        of_caller.or_else(|| {
            let mut templates = self.names().filter(|name| label_of(name).is_some());
            let is_of = |name: &&str| name.split_once(':').is_some_and(|(of, _)| of == prefix);
            link(templates.find(is_of)?, &of_label(whose))
        })
    }

    fn link(&self, template: &str, caller: &Caller, labels: &Labels) -> Result<Link, Denied> {
        let broken = |why: &str| Denied::Broken {
            quota: template.to_owned(),
            why: why.to_owned(),
        };
        let terms = self
            .0
            .get(template)
            .ok_or_else(|| broken("it is not defined"))?
            .as_ref()
            .map_err(|why| broken(why))?;
        let (whose, bucket) = match template.split_once(':') {
            Some((prefix, "<user>")) => (
                caller.key().to_owned(),
                format!("{prefix}:{}", caller.name()),
            ),
            Some((prefix, "<node>")) => {
                let node = caller.node_id();
                (of_node(node), format!("{prefix}:{node}"))
            }
            Some((prefix, place)) if label_of(template).is_some() => {
                let value = labels::placeholder(place).and_then(|key| labels.get(key));
                let value = value.unwrap_or(NO_LABEL);
                (of_label(value), format!("{prefix}:{value}"))
            }
            _ => (String::new(), template.to_owned()),
        };
        Ok(Link::new(template, &whose, bucket.into(), *terms))
    }
}

/// What stands for the value of a label that a request doesn't have. All such requests share a bucket, so that
/// leaving the label out saves nothing. No label has this value.
const NO_LABEL: &str = "(none)";

/// The label that a definition's buckets are told apart by.
fn label_of(template: &str) -> Option<&str> {
    labels::placeholder(template.split_once(':')?.1)
}

/// Whose a label's bucket is.
fn of_label(value: &str) -> String {
    format!("label:{value}")
}

/// Whose a node's bucket is.
fn of_node(id: &str) -> String {
    format!("node:{id}")
}
#[cfg(test)]
mod tests;
