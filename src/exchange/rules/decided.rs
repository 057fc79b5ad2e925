//! What rules decide of all requests of a caller for a model, worked out at the first of them: whose
//! price counts, which buckets pay, who looks, and which provider answers where only one can. What
//! depends on the moment (health, turns, balances) is looked at for each request.
//!
//! It lives as long as the rules. Permits and providers are told apart by their addresses in memory,
//! and are kept with what was decided, so that no other one has the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, OnceLock};

use http::{HeaderName, HeaderValue, Uri};

use super::Rules;
use crate::base::labels::Labels;
use crate::base::lock::lock;
use crate::base::quick_hash::QuickHash;
use crate::base::text::Text;
use crate::config::AuthMode;
use crate::formats::Format;
use crate::policy::access::{CacheGrant, DirectChecks, Header, Permit};
use crate::policy::budget::{Definitions, Denied, Plan};
use crate::policy::identity::Caller;
use crate::policy::pricing::Quote;
use crate::policy::route::Route;
use crate::wire::headers::CREDENTIALS;

/// Decisions of each kind that are kept; beyond it all are made once more. Those of callers whom the
/// tailnet has described again since are among them, and hold what those callers might do.
const MOST: usize = 1_024;

/// What was decided so far.
#[derive(Default)]
pub(super) struct Decided {
    terms: Kept<Terms>,
    routes: Kept<OnlyRoute>,
}

/// On which terms a caller gets a model of a provider.
pub struct Terms {
    asker: Asker,
    route: Route,
    /// What it costs.
    pub quote: Arc<Quote>,
    /// The buckets that pay, unless the labels of a request decide that.
    pub plan: Option<Result<Plan, Denied>>,
    /// Those that pay where the caller's account does, if they are others: those that don't count money.
    pub own_credential_plan: Option<Plan>,
    /// The guardrails that look at it.
    pub guards: Vec<Text>,
    /// Whether grants name hooks for it.
    pub has_hooks: bool,
    /// Whether responses are kept for the same request, and how.
    pub cache: Option<CacheGrant>,
    /// Whether a header with a credential is added, by the provider's configuration or by a grant.
    pub adds_credential: bool,
    /// Headers that grants add, and those that say who asks, where the provider is told.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The URL of the first request without a query, and the path of its API: most have the same.
    url: OnceLock<(String, Uri)>,
}

/// The only route of a caller's requests for a model.
struct OnlyRoute {
    asker: Asker,
    question: Question<Text>,
    route: Route,
}

/// Who asks, and what they may.
#[derive(Clone)]
pub struct Asker {
    /// Who.
    pub caller: Arc<Caller>,
    /// What they may.
    pub permit: Arc<Permit>,
}

/// What a route is looked for, besides the asker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Question<M> {
    /// The format that its provider has to speak, by name.
    pub format: &'static str,
    /// The flag of providers that take frames of a WebSocket, if it is one.
    pub socket: Option<&'static str>,
    /// The model as the caller names it.
    pub model: M,
}

impl Asker {
    /// Whose request it is: that of the person for whom the caller speaks, or the caller's own.
    pub fn owner(&self) -> &Arc<Caller> {
        let person = self.permit.person();
        person.map_or(&self.caller, |person| &person.caller)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.caller, &other.caller) && Arc::ptr_eq(&self.permit, &other.permit)
    }

    fn place(&self) -> (usize, usize) {
        let caller = Arc::as_ptr(&self.caller).addr();
        (caller, Arc::as_ptr(&self.permit).addr())
    }
}

impl<M> Question<M> {
    /// What is asked in a format over HTTP, or with frames for providers that have a flag.
    pub fn new(format: &'static Format, socket: Option<&'static str>, model: M) -> Self {
        Self {
            format: format.name,
            socket,
            model,
        }
    }

    fn of<N>(&self, model: N) -> Question<N> {
        Question {
            format: self.format,
            socket: self.socket,
            model,
        }
    }
}

impl Rules {
    /// On which terms a request goes to a provider.
    pub fn terms(&self, asker: &Asker, route: &Route) -> Arc<Terms> {
        let provider = Arc::as_ptr(&route.provider).addr();
        let key = key((asker.place(), provider, &*route.model));
        let is_it = |terms: &Terms| {
            terms.asker.is(asker)
                && Arc::ptr_eq(&terms.route.provider, &route.provider)
                && terms.route.model == route.model
        };
        if let Some(terms) = self.decided.terms.get(key).filter(|terms| is_it(terms)) {
            return terms;
        }
        let terms = Arc::new(Terms::of(self, asker, route));
        self.decided.terms.keep(key, Arc::clone(&terms));
        terms
    }

    /// On which terms a request for what stands at a provider goes to it: no guard inspects it, and budgets and
    /// hooks take part only where `checks` say so.
    pub fn terms_of_place(
        &self,
        asker: &Asker,
        route: &Route,
        labels: &Labels,
        checks: DirectChecks,
    ) -> Terms {
        let plan = if checks.budgets {
            let Asker { caller, permit } = asker;
            self.quotas.plan_of_all(permit, caller, labels)
        } else {
            Ok(Plan::default())
        };
        let mut hooks = asker.permit.hooks(route.subject());
        Terms {
            plan: Some(plan),
            has_hooks: checks.hooks && hooks.next().is_some(),
            ..Terms::without_checks(self, asker, route)
        }
    }

    /// The only route of a request, if it was found before.
    pub fn only_route(&self, asker: &Asker, question: Question<&str>) -> Option<Route> {
        let routes = &self.decided.routes;
        let known = routes.get(key(question.place(asker)))?;
        let is_it = known.asker.is(asker)
            && known.question.of(()) == question.of(())
            && known.question.model == *question.model;
        is_it.then(|| known.route.clone())
    }

    /// Keeps the only route of a request.
    pub fn keep_route(&self, asker: &Asker, question: Question<&str>, route: &Route) {
        let routes = &self.decided.routes;
        let known = OnlyRoute {
            asker: asker.clone(),
            question: question.of(question.model.into()),
            route: route.clone(),
        };
        let key = key(question.place(asker));
        routes.keep(key, Arc::new(known));
    }
}

impl<'m> Question<&'m str> {
    fn place(&self, asker: &Asker) -> impl Hash + use<'m> {
        let format = self.format.as_ptr().addr();
        let socket = self.socket.map(|flag| flag.as_ptr().addr());
        (asker.place(), format, socket, self.model)
    }
}

impl Terms {
    /// The URL for a path of the API.
    ///
    /// # Errors
    /// As [`Provider::url`](crate::policy::route::Provider::url).
    pub fn url(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let known = self.url.get().filter(|(of, _)| of == path);
        if let (Some((_, url)), None) = (known, query) {
            return Ok(url.clone());
        }
        let url = self.route.provider.url(path, &self.route.model, query)?;
        if query.is_none() {
            // The first one stays.
            let _ = self.url.set((path.to_owned(), url.clone()));
        }
        Ok(url)
    }

    fn of(rules: &Rules, asker: &Asker, route: &Route) -> Self {
        let (permit, subject) = (&asker.permit, route.subject());
        let plan = (!Definitions::depends_on_labels(permit, subject)).then(|| {
            let labels = Labels::default();
            rules.quotas.plan(permit, &asker.caller, &labels, subject)
        });
        let provider = &route.provider;
        let has_hooks = permit.hooks(subject).next().is_some();
        Self {
            own_credential_plan: plan.as_ref().and_then(|plan| {
                let is_apart =
                    provider.auth_mode == AuthMode::Passthrough && !provider.charge_passthrough;
                is_apart.then(|| plan.as_ref().ok().map(Plan::without_money))?
            }),
            plan,
            guards: permit.guards(subject).into_iter().map(Text::from).collect(),
            has_hooks,
            // Hooks get what providers answer.
            cache: permit.cache(subject).filter(|_| !has_hooks),
            ..Self::without_checks(rules, asker, route)
        }
    }

    /// The same without what inspects a request and what pays for it.
    fn without_checks(rules: &Rules, asker: &Asker, route: &Route) -> Self {
        let (permit, subject) = (&asker.permit, route.subject());
        let headers = permit
            .headers(subject)
            .filter_map(|Header { name, value }| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value).ok()?))
            });
        let provider = &route.provider;
        let identity = provider
            .identity_headers
            .then(|| asker.owner().identity_headers());
        let headers: Vec<_> = headers.chain(identity.into_iter().flatten()).collect();
        let added = provider.add_headers.iter().map(|(name, _)| name);
        let mut added = added.chain(headers.iter().map(|(name, _)| name));
        Self {
            quote: rules.prices.quote(&route.provider.id, &route.model).into(),
            plan: None,
            own_credential_plan: None,
            guards: Vec::new(),
            has_hooks: false,
            cache: None,
            adds_credential: added.any(|name| CREDENTIALS.contains(&name.as_str())),
            headers,
            url: OnceLock::new(),
            asker: asker.clone(),
            route: route.clone(),
        }
    }
}

/// Decisions by a hash of what they are about. Two may have the same, so each use checks what it gets.
struct Kept<T> {
    all: Mutex<HashMap<u64, Arc<T>, QuickHash>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
        }
    }
}

fn key(of: impl Hash) -> u64 {
    QuickHash::default().hash_one(of)
}

impl<T> Kept<T> {
    fn get(&self, key: u64) -> Option<Arc<T>> {
        lock(&self.all).get(&key).map(Arc::clone)
    }

    fn keep(&self, key: u64, decision: Arc<T>) {
        let mut all = lock(&self.all);
        let before = (all.len() >= MOST).then(|| std::mem::take(&mut *all));
        all.insert(key, decision);
        // Nobody waits for the lock while they are dropped.
        drop(all);
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::formats;
    use crate::policy::route::{Evidence, Fit, Traffic};

    fn rules(price: &str) -> Rules {
        let text = format!(
            r#"{{"providers":{{
                "p":{{"baseurl":"http://p","models":["m","n"],"add_headers":{{}}}},
                "q":{{"baseurl":"http://q","models":["n"]}}}},
              "quotas":{{"b":{{"capacity":"$1"}},"c:<user>":{{"capacity":"$2"}}}},
              "prices":{{"p/m":{{"input":"{price}","output":"1"}}}},
              "grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
                {{"role":"user","models":"**","quotas":[{{"bucket":"c:<user>"}}]}},
                {{"models":"p/m","quotas":[{{"bucket":"b"}}],"guards":["g"]}}]}}}}]}}"#
        );
        Rules::compile(config::parse(&text, &|_| None).unwrap(), 1)
    }

    fn asker(rules: &Rules, login: &str) -> Asker {
        let caller = Arc::new(Caller::hypothetical(login, None));
        let permit = rules.access.cached_permit(&caller).unwrap();
        Asker { caller, permit }
    }

    fn route(rules: &Rules, asker: &Asker, model: &str) -> Route {
        let traffic = Traffic::default();
        let evidence = Evidence {
            traffic: &traffic,
            conversation: None,
            holder: None,
        };
        let chosen = rules
            .routes
            .select(&asker.permit, model, &|_| Some(Fit::Native), evidence);
        chosen.unwrap().first
    }

    #[test]
    fn terms_are_those_of_the_caller_and_the_model() {
        let rules = rules("1");
        let (ann, bob) = (asker(&rules, "ann@x.org"), asker(&rules, "bob@x.org"));
        let (m, n) = (route(&rules, &ann, "m"), route(&rules, &ann, "n"));
        for _ in 0..2 {
            let terms = rules.terms(&ann, &m);
            assert_eq!(terms.guards, ["g"]);
            let plan = format!("{:?}", terms.plan.as_ref().unwrap().as_ref().unwrap());
            assert!(
                plan.contains("c:ann@x.org") && plan.contains("\"b\""),
                "{plan}"
            );
            let plan = format!(
                "{:?}",
                rules
                    .terms(&bob, &m)
                    .plan
                    .as_ref()
                    .unwrap()
                    .as_ref()
                    .unwrap()
            );
            assert!(plan.contains("c:bob@x.org"), "{plan}");
            let terms = rules.terms(&ann, &n);
            assert!(terms.guards.is_empty());
        }
        assert!(Arc::ptr_eq(&rules.terms(&ann, &m), &rules.terms(&ann, &m)));
        let terms = rules.terms(&ann, &m);
        for _ in 0..2 {
            for (path, query) in [("/v1/a", None), ("/v1/a", Some("q")), ("/v1/b", None)] {
                let url = m.provider.url(path, "m", query).unwrap();
                assert_eq!(terms.url(path, query).unwrap(), url);
            }
        }
    }

    #[test]
    fn a_route_is_that_of_its_asker_format_and_model() {
        let rules = rules("1");
        let (ann, bob) = (asker(&rules, "ann@x.org"), asker(&rules, "bob@x.org"));
        let m = route(&rules, &ann, "m");
        let question = |format, socket, model| Question::new(format, socket, model);
        let [first, second] = [formats::ALL[0], formats::ALL[1]];
        rules.keep_route(&ann, question(first, None, "m"), &m);
        let found = |asker: &Asker, question| rules.only_route(asker, question).is_some();
        assert!(found(&ann, question(first, None, "m")));
        assert!(!found(&bob, question(first, None, "m")));
        assert!(!found(&ann, question(second, None, "m")));
        assert!(!found(&ann, question(first, Some("flag"), "m")));
        assert!(!found(&ann, question(first, None, "n")));
    }
}
