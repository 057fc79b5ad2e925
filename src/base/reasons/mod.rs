//! Why a request went as it did: each decision as a code with small arguments.
//!
//! The database keeps the codes as JSON; they become sentences only when they are read. So a request
//! formats no text that may never be read, and a sentence can be improved for old records too.
//! The derived error texts are those sentences; no reason is ever returned as an error.
//!
//! Databases hold the names of variants and fields: renaming one turns the records that have it into
//! [`Reason::Unknown`]. Records of older versions hold sentences.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::bucket::Shown;
use super::text::Text;

/// Declares each decision once: its sentence, the code that databases hold, and its arguments.
///
/// The reader is ours: serde's for an enum of this size is a twelfth of what the compiler reads of the program.
macro_rules! reasons {
    ($(
        $(#[$sentence:meta])*
        $code:literal => $name:ident $({ $($(#[$on:meta])* $argument:ident: $type:ty),* $(,)? })?,
    )*) => {
        /// One decision.
        #[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
        pub enum Reason {
            $(
                $(#[$sentence])*
                #[serde(rename = $code)]
                $name $({ $($(#[$on])* $argument: $type),* })?,
            )*
            /// The sentence of an older version.
            #[error("{0}")]
            #[serde(untagged)]
            Sentence(String),
            /// The code of a newer version: nodes that share a database are updated one after the other.
            #[error("{0}")]
            #[serde(untagged)]
            Unknown(Value),
        }

        fn known(code: &str, arguments: &Value) -> Option<Reason> {
            match code {
                $($code => Some(Reason::$name $({ $($argument: argument(arguments, stringify!($argument))?),* })?),)*
                _ => None,
            }
        }
    };
}

reasons! {
    // Who asks, and what grants say of it.
    #[error("caller {caller} on node {node}, role {role} by {grant}")]
    "caller" => Caller {
        caller: Text,
        node: Text,
        role: Text,
        grant: Text,
    },
    #[error("the caller is {caller} on node {node}")]
    "assumed_caller" => AssumedCaller { caller: Text, node: Text },
    #[error("role {role} by {grant}")]
    "role" => Role { role: Text, grant: Text },
    #[error("it speaks for {login} (grants that match {login}: {})", .grants.join("; "))]
    "speaks_for" => SpeaksFor { login: Text, grants: Vec<Text> },
    #[error("no grant of the configuration gives this caller a role")]
    "no_role" => NoRole,
    #[error("grants that match this caller: {}", .grants.join("; "))]
    "grants" => Grants { grants: Vec<Text> },
    #[error(
        "only the configuration was asked: what the tailnet policy grants {login} is known once \
         they have called"
    )]
    "policy_unknown" => PolicyUnknown { login: Text },

    // Which providers could answer, and in which order.
    #[error("alias {alias:?} stands for \"{provider}/{model}\" ({strategy})")]
    "alias" => Alias {
        alias: Text,
        provider: Text,
        model: Text,
        strategy: Text,
    },
    #[error("{name:?} stands for {model:?}")]
    "latest_tag" => LatestTag { name: Text, model: Text },
    #[error("models pattern {pattern:?} of {grant}")]
    "granted" => Granted { pattern: Text, grant: Text },
    #[error("direct_paths pattern {pattern:?} of {grant}")]
    "direct" => Direct { pattern: Text, grant: Text },
    #[error("no grant gives direct access to {path}")]
    "not_direct" => NotDirect { path: Text },
    #[error("provider {provider} is the only one with {model:?}")]
    "only_provider" => OnlyProvider { provider: Text, model: Text },
    #[error(
        "provider {provider} (preference {preference}) before {others} other(s) with {model:?}{}",
        .tie.as_ref().map(|tie| format!(", {tie}")).unwrap_or_default()
    )]
    "preferred_provider" => PreferredProvider {
        provider: Text,
        preference: i64,
        others: usize,
        model: Text,
        #[serde(skip_serializing_if = "Option::is_none")]
        tie: Option<Tie>,
    },
    #[error("put off because they fail: {}", .providers.join(", "))]
    "failing_last" => FailingLast { providers: Vec<Text> },
    #[error("put off because they are limited: {}", joined(.providers))]
    "limited_last" => LimitedLast { providers: Vec<Limited> },
    #[error("provider {provider} holds what the request names, and no other does")]
    "only_holder" => OnlyHolder { provider: Text },
    #[error("provider {provider} made what the request names")]
    "holder" => Holder { provider: Text },
    #[error("if that fails, provider {provider} as {model:?}")]
    "alternative" => Alternative { provider: Text, model: Text },

    // Why none can.
    #[error("no provider serves {model:?}")]
    "not_served" => NotServed { model: Text },
    #[error("no enabled provider lists {model:?}")]
    "not_listed" => NotListed { model: Text },
    #[error("no grant covers any of {}", .models.join(", "))]
    "not_granted" => NotGranted { models: Vec<Text> },
    #[error("no grant of this caller covers any of {}", .models.join(", "))]
    "not_granted_to_caller" => NotGrantedToCaller { models: Vec<Text> },
    #[error("model {model:?} is available through {}, not {format}", .through.join(", "))]
    "other_format" => OtherFormat {
        model: Text,
        through: Vec<Text>,
        format: Text,
    },
    #[error(
        "the provider speaks {}, not {format}: set its `compatibility`, or use another endpoint",
        .through.join(", ")
    )]
    "speaks_other" => SpeaksOther {
        through: Vec<Text>,
        format: Text,
    },

    // Translation.
    #[error(
        "translated for provider {provider}: {from} → {to}{}",
        if .dropped.is_empty() { String::new() } else { format!("; left out: {}", .dropped.join(", ")) }
    )]
    "translated" => Translated {
        provider: Text,
        from: Text,
        to: Text,
        dropped: Vec<Text>,
    },
    #[error("not translated for provider {provider}: {why}")]
    "untranslatable" => Untranslatable { provider: Text, why: Text },

    // Callers' own credentials.
    #[error("provider {provider} gets the caller's own credential: the caller's account pays")]
    "own_credential" => OwnCredential { provider: Text },
    #[error(
        "provider {provider} can't help out: it is another server than the one that gets the \
         caller's own credential"
    )]
    "other_server" => OtherServer { provider: Text },
    #[error("provider {provider} is passed over: it takes the caller's own credential, and got none")]
    "no_credential" => NoCredential { provider: Text },

    // Budgets.
    #[error(
        "bucket {} has {left}; {held} held for this request ({grants})",
        .buckets.join(", then ")
    )]
    "held" => Held {
        buckets: Vec<Text>,
        left: Shown,
        held: Shown,
        grants: Text,
    },
    #[error("bucket {} pays ({grants})", .buckets.join(", then "))]
    "pays" => Pays {
        buckets: Vec<Text>,
        grants: Text,
    },
    #[error("every request is refused with 429: {why}")]
    "never_paid" => NeverPaid { why: Text },
    #[error("no budget pays for provider {provider}; asking another")]
    "unpaid" => Unpaid { provider: Text },

    // Guardrails.
    #[error(
        "{}",
        .found.iter().map(|what| format!("guard {guard} has found {what}"))
            .collect::<Vec<_>>().join("; ")
    )]
    "guard_reports" => GuardReports { guard: Text, found: Vec<Text> },
    #[error("guard {guard} has taken out {what}")]
    "guard_removes" => GuardRemoves { guard: Text, what: Text },
    #[error("guard {guard} blocks it for {what}")]
    "guard_blocks" => GuardBlocks { guard: Text, what: Text },
    #[error("hook {hook} allows it ({ms} ms)")]
    "hook_allows" => HookAllows { hook: Text, ms: u64 },
    #[error("hook {hook} changes the request ({ms} ms)")]
    "hook_modifies" => HookModifies { hook: Text, ms: u64 },
    #[error("hook {hook} blocks it: {message} ({ms} ms)")]
    "hook_blocks" => HookBlocks {
        hook: Text,
        message: Text,
        ms: u64,
    },
    #[error("hook {hook} failed, and nothing may pass then: {why} ({ms} ms)")]
    "hook_failed_closed" => HookFailedClosed { hook: Text, why: Text, ms: u64 },
    #[error("hook {hook} failed, and is passed over: {why} ({ms} ms)")]
    "hook_failed_open" => HookFailedOpen { hook: Text, why: Text, ms: u64 },
    #[error("provider {provider} can't take over: {guardrail} has not looked at the request")]
    "unchecked" => Unchecked { provider: Text, guardrail: Text },

    #[error("put off because a budget runs low: \"{provider}/{model}\" ({})", .buckets.join(", "))]
    "spared" => Spared {
        provider: Text,
        model: Text,
        buckets: Vec<Text>,
    },

    // Attempts, and what providers say.
    #[error(
        "attempt {attempt} at provider {provider} failed after {ms:.0} ms: {why}; asking {next}"
    )]
    "attempt_failed" => AttemptFailed {
        attempt: u32,
        provider: Text,
        ms: f64,
        why: Text,
        next: Next,
    },
    #[error(
        "attempt at provider {provider} failed after {ms:.0} ms: {why}; asking it again on a new \
         connection"
    )]
    "new_connection" => NewConnection {
        provider: Text,
        ms: f64,
        why: Text,
    },
    #[error(
        "attempt at provider {provider} failed after {ms:.0} ms: it answered {status} to \
         `stream_options`; asking it again without them"
    )]
    "without_stream_options" => WithoutStreamOptions {
        provider: Text,
        ms: f64,
        status: Text,
    },
    #[error("provider {provider} answered {status} to key {key}; asking it again with key {next}")]
    "other_key" => OtherKey {
        provider: Text,
        status: Text,
        key: usize,
        next: usize,
    },
    #[error(
        "provider {provider} closed a kept connection before it answered; asking it again on a \
         new one"
    )]
    "kept_connection_closed" => KeptConnectionClosed { provider: Text },
    #[error("the response of provider {provider} to the same request was kept, and is given again")]
    "cached" => Cached { provider: Text },
    #[error("provider {provider} does not count tokens: the count is an estimate")]
    "estimated_count" => EstimatedCount { provider: Text },
    #[error("provider {provider} is not asked: it has no model to load or unload")]
    "nothing_to_load" => NothingToLoad { provider: Text },
    #[error(
        "provider {provider} says that it used model {model:?}: its price is charged, which is higher"
    )]
    "dearer_model" => DearerModel { provider: Text, model: Text },
    #[error("provider {provider} runs it in a batch of its own, at the price of batches")]
    "provider_batch" => ProviderBatch { provider: Text },
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(from)? {
            Value::String(text) => known(&text, &Value::Null).unwrap_or(Self::Sentence(text)),
            value => {
                let only = value.as_object().filter(|object| object.len() == 1);
                let reason = only.and_then(|object| object.iter().next());
                let reason = reason.and_then(|(code, arguments)| known(code, arguments));
                reason.unwrap_or(Self::Unknown(value))
            }
        })
    }
}

fn argument<T: DeserializeOwned>(arguments: &Value, name: &str) -> Option<T> {
    T::deserialize(arguments.get(name).unwrap_or(&Value::Null)).ok()
}

/// Why the first of equally preferred providers is the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Tie {
    #[error("the first by its id")]
    Id,
    #[error("its turn")]
    Turn,
    #[error("{open} open requests")]
    LeastBusy { open: usize },
    #[error("where this conversation is at home")]
    Home,
    #[error("because this conversation's own server is busy")]
    HomeBusy,
}

/// A provider that takes no requests for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{provider} for {seconds} s")]
pub struct Limited {
    pub provider: Text,
    pub seconds: u64,
}

/// Which provider is asked after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    #[error("another")]
    Another,
    #[error("the same again")]
    Same,
}

fn joined(limited: &[Limited]) -> String {
    let each: Vec<String> = limited.iter().map(ToString::to_string).collect();
    each.join(", ")
}

/// Serializes reasons as people read them, for answers of the API.
pub fn as_sentences<S: Serializer>(reasons: &[Reason], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(reasons.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests;
