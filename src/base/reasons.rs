//! Why a request went as it did: each decision as a code with small arguments.
//!
//! The database keeps the codes as JSON; they become sentences only when they are read. So a request
//! formats no text that may never be read, and a sentence can be improved for old records too.
//! The derived error texts are those sentences; no reason is ever returned as an error.
//!
//! Databases hold the names of variants and fields: renaming one turns the records that have it into
//! [`Reason::Unknown`]. Records of older versions hold sentences.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::bucket::Shown;

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    // Who asks, and what grants say of it.
    #[error("caller {caller} on node {node}, role {role} by {grant}")]
    Caller {
        caller: String,
        node: String,
        role: String,
        grant: String,
    },
    #[error("the caller is {caller} on node {node}")]
    AssumedCaller { caller: String, node: String },
    #[error("role {role} by {grant}")]
    Role { role: String, grant: String },
    #[error("no grant of the configuration gives this caller a role")]
    NoRole,
    #[error("grants that match this caller: {}", .grants.join("; "))]
    Grants { grants: Vec<String> },
    #[error(
        "only the configuration was asked: what the tailnet policy grants {login} is known once \
         they have called"
    )]
    PolicyUnknown { login: String },

    // Which providers could answer, and in which order.
    #[error("alias {alias:?} stands for \"{provider}/{model}\" ({strategy})")]
    Alias {
        alias: String,
        provider: String,
        model: String,
        strategy: String,
    },
    #[error("{name:?} stands for {model:?}")]
    LatestTag { name: String, model: String },
    #[error("models pattern {pattern:?} of {grant}")]
    Granted { pattern: String, grant: String },
    #[error("provider {provider} is the only one with {model:?}")]
    OnlyProvider { provider: String, model: String },
    #[error(
        "provider {provider} (preference {preference}) before {others} other(s) with {model:?}{}",
        .tie.as_ref().map(|tie| format!(", {tie}")).unwrap_or_default()
    )]
    PreferredProvider {
        provider: String,
        preference: i64,
        others: usize,
        model: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tie: Option<Tie>,
    },
    #[error("put off because they fail: {}", .providers.join(", "))]
    FailingLast { providers: Vec<String> },
    #[error("put off because they are limited: {}", joined(.providers))]
    LimitedLast { providers: Vec<Limited> },
    #[error("provider {provider} holds what the request names, and no other does")]
    OnlyHolder { provider: String },
    #[error("provider {provider} made what the request names")]
    Holder { provider: String },
    #[error("if that fails, provider {provider} as {model:?}")]
    Alternative { provider: String, model: String },

    // Why none can.
    #[error("no provider serves {model:?}")]
    NotServed { model: String },
    #[error("no enabled provider lists {model:?}")]
    NotListed { model: String },
    #[error("no grant covers any of {}", .models.join(", "))]
    NotGranted { models: Vec<String> },
    #[error("no grant of this caller covers any of {}", .models.join(", "))]
    NotGrantedToCaller { models: Vec<String> },
    #[error("model {model:?} is available through {}, not {format}", .through.join(", "))]
    OtherFormat {
        model: String,
        through: Vec<String>,
        format: String,
    },
    #[error(
        "the provider speaks {}, not {format}: set its `compatibility`, or use another endpoint",
        .through.join(", ")
    )]
    SpeaksOther {
        through: Vec<String>,
        format: String,
    },

    // Budgets.
    #[error(
        "bucket {} has {left}; {held} held for this request ({grants})",
        .buckets.join(", then ")
    )]
    Held {
        buckets: Vec<String>,
        left: Shown,
        held: Shown,
        grants: String,
    },
    #[error("bucket {} pays ({grants})", .buckets.join(", then "))]
    Pays {
        buckets: Vec<String>,
        grants: String,
    },
    #[error("every request is refused with 429: {why}")]
    NeverPaid { why: String },
    #[error("no budget pays for provider {provider}; asking another")]
    Unpaid { provider: String },

    // Guardrails.
    #[error(
        "{}",
        .found.iter().map(|what| format!("guard {guard} has found {what}"))
            .collect::<Vec<_>>().join("; ")
    )]
    GuardReports { guard: String, found: Vec<String> },
    #[error("guard {guard} has taken out {what}")]
    GuardRemoves { guard: String, what: String },
    #[error("guard {guard} blocks it for {what}")]
    GuardBlocks { guard: String, what: String },
    #[error("hook {hook} allows it ({ms} ms)")]
    HookAllows { hook: String, ms: u64 },
    #[error("hook {hook} changes the request ({ms} ms)")]
    HookModifies { hook: String, ms: u64 },
    #[error("hook {hook} blocks it: {message} ({ms} ms)")]
    HookBlocks {
        hook: String,
        message: String,
        ms: u64,
    },
    #[error("hook {hook} failed, and nothing may pass then: {why} ({ms} ms)")]
    HookFailedClosed { hook: String, why: String, ms: u64 },
    #[error("hook {hook} failed, and is passed over: {why} ({ms} ms)")]
    HookFailedOpen { hook: String, why: String, ms: u64 },
    #[error("provider {provider} is no alternative: {guardrail} has not looked at the request")]
    Unchecked { provider: String, guardrail: String },

    // Attempts, and what providers say.
    #[error(
        "attempt {attempt} at provider {provider} failed after {ms:.0} ms: {why}; asking {next}"
    )]
    AttemptFailed {
        attempt: u32,
        provider: String,
        ms: f64,
        why: String,
        next: Next,
    },
    #[error(
        "attempt at provider {provider} failed after {ms:.0} ms: {why}; asking it again on a new \
         connection"
    )]
    NewConnection {
        provider: String,
        ms: f64,
        why: String,
    },
    #[error(
        "attempt at provider {provider} failed after {ms:.0} ms: it answered {status} to \
         `stream_options`; asking it again without them"
    )]
    WithoutStreamOptions {
        provider: String,
        ms: f64,
        status: String,
    },
    #[error(
        "provider {provider} closed a kept connection before it answered; asking it again on a \
         new one"
    )]
    KeptConnectionClosed { provider: String },
    #[error("provider {provider} does not count tokens: the count is an estimate")]
    EstimatedCount { provider: String },
    #[error(
        "provider {provider} says that it used model {model:?}: its price is charged, which is higher"
    )]
    DearerModel { provider: String, model: String },

    /// The sentence of an older version.
    #[error("{0}")]
    #[serde(untagged)]
    Sentence(String),
    /// The code of a newer version: nodes that share a database are updated one after the other.
    #[error("{0}")]
    #[serde(untagged)]
    Unknown(Value),
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
    pub provider: String,
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
mod tests {
    use super::*;

    /// Each reason as databases hold it, and as people read it.
    const ALL: &[(&str, &str)] = &[
        (
            r#"{"caller":{"caller":"ann@x.org","node":"laptop","role":"user","grant":"grants[0], line 3"}}"#,
            "caller ann@x.org on node laptop, role user by grants[0], line 3",
        ),
        (
            r#"{"assumed_caller":{"caller":"ann@x.org","node":"laptop"}}"#,
            "the caller is ann@x.org on node laptop",
        ),
        (
            r#"{"role":{"role":"admin","grant":"grants[0], line 3"}}"#,
            "role admin by grants[0], line 3",
        ),
        (
            r#""no_role""#,
            "no grant of the configuration gives this caller a role",
        ),
        (
            r#"{"grants":{"grants":["grants[0], line 3","grants[2], line 9"]}}"#,
            "grants that match this caller: grants[0], line 3; grants[2], line 9",
        ),
        (
            r#"{"policy_unknown":{"login":"ann@x.org"}}"#,
            "only the configuration was asked: what the tailnet policy grants ann@x.org is known \
             once they have called",
        ),
        (
            r#"{"alias":{"alias":"fast","provider":"p","model":"m/n","strategy":"first"}}"#,
            "alias \"fast\" stands for \"p/m/n\" (first)",
        ),
        (
            r#"{"latest_tag":{"name":"tiny","model":"tiny:latest"}}"#,
            "\"tiny\" stands for \"tiny:latest\"",
        ),
        (
            r#"{"granted":{"pattern":"p/**","grant":"grants[0], line 3"}}"#,
            "models pattern \"p/**\" of grants[0], line 3",
        ),
        (
            r#"{"only_provider":{"provider":"p","model":"m"}}"#,
            "provider p is the only one with \"m\"",
        ),
        (
            r#"{"preferred_provider":{"provider":"p","preference":-1,"others":2,"model":"m"}}"#,
            "provider p (preference -1) before 2 other(s) with \"m\"",
        ),
        (
            r#"{"failing_last":{"providers":["p","q"]}}"#,
            "put off because they fail: p, q",
        ),
        (
            r#"{"limited_last":{"providers":[{"provider":"p","seconds":3},{"provider":"q","seconds":60}]}}"#,
            "put off because they are limited: p for 3 s, q for 60 s",
        ),
        (
            r#"{"only_holder":{"provider":"p"}}"#,
            "provider p holds what the request names, and no other does",
        ),
        (
            r#"{"holder":{"provider":"p"}}"#,
            "provider p made what the request names",
        ),
        (
            r#"{"alternative":{"provider":"p","model":"m"}}"#,
            "if that fails, provider p as \"m\"",
        ),
        (
            r#"{"not_served":{"model":"m"}}"#,
            "no provider serves \"m\"",
        ),
        (
            r#"{"not_listed":{"model":"m"}}"#,
            "no enabled provider lists \"m\"",
        ),
        (
            r#"{"not_granted":{"models":["p/m","q/m"]}}"#,
            "no grant covers any of p/m, q/m",
        ),
        (
            r#"{"not_granted_to_caller":{"models":["p/m","q/m"]}}"#,
            "no grant of this caller covers any of p/m, q/m",
        ),
        (
            r#"{"other_format":{"model":"m","through":["a","b"],"format":"c"}}"#,
            "model \"m\" is available through a, b, not c",
        ),
        (
            r#"{"speaks_other":{"through":["a","b"],"format":"c"}}"#,
            "the provider speaks a, b, not c: set its `compatibility`, or use another endpoint",
        ),
        (
            r#"{"held":{"buckets":["day","team"],"left":["tokens",120],"held":["money",30000000],"grants":"grants[0], line 3"}}"#,
            "bucket day, then team has 120 tokens; $0.03 held for this request (grants[0], line 3)",
        ),
        (
            r#"{"pays":{"buckets":["day (up to $5.00)","team (up to $9.00)"],"grants":"grants[0], line 3"}}"#,
            "bucket day (up to $5.00), then team (up to $9.00) pays (grants[0], line 3)",
        ),
        (
            r#"{"never_paid":{"why":"no such bucket"}}"#,
            "every request is refused with 429: no such bucket",
        ),
        (
            r#"{"unpaid":{"provider":"p"}}"#,
            "no budget pays for provider p; asking another",
        ),
        (
            r#"{"guard_reports":{"guard":"g","found":["1 × email","2 × phone"]}}"#,
            "guard g has found 1 × email; guard g has found 2 × phone",
        ),
        (
            r#"{"guard_removes":{"guard":"g","what":"1 × email"}}"#,
            "guard g has taken out 1 × email",
        ),
        (
            r#"{"guard_blocks":{"guard":"g","what":"1 × email"}}"#,
            "guard g blocks it for 1 × email",
        ),
        (
            r#"{"hook_allows":{"hook":"h","ms":7}}"#,
            "hook h allows it (7 ms)",
        ),
        (
            r#"{"hook_modifies":{"hook":"h","ms":7}}"#,
            "hook h changes the request (7 ms)",
        ),
        (
            r#"{"hook_blocks":{"hook":"h","message":"no","ms":7}}"#,
            "hook h blocks it: no (7 ms)",
        ),
        (
            r#"{"hook_failed_closed":{"hook":"h","why":"it answered 500","ms":7}}"#,
            "hook h failed, and nothing may pass then: it answered 500 (7 ms)",
        ),
        (
            r#"{"hook_failed_open":{"hook":"h","why":"it answered 500","ms":7}}"#,
            "hook h failed, and is passed over: it answered 500 (7 ms)",
        ),
        (
            r#"{"unchecked":{"provider":"p","guardrail":"g"}}"#,
            "provider p is no alternative: g has not looked at the request",
        ),
        (
            r#"{"attempt_failed":{"attempt":1,"provider":"p","ms":12.345,"why":"it answered 503 Service Unavailable","next":"another"}}"#,
            "attempt 1 at provider p failed after 12 ms: it answered 503 Service Unavailable; asking \
             another",
        ),
        (
            r#"{"new_connection":{"provider":"p","ms":3.6,"why":"reset"}}"#,
            "attempt at provider p failed after 4 ms: reset; asking it again on a new connection",
        ),
        (
            r#"{"without_stream_options":{"provider":"p","ms":3.0,"status":"400 Bad Request"}}"#,
            "attempt at provider p failed after 3 ms: it answered 400 Bad Request to \
             `stream_options`; asking it again without them",
        ),
        (
            r#"{"kept_connection_closed":{"provider":"p"}}"#,
            "provider p closed a kept connection before it answered; asking it again on a new one",
        ),
        (
            r#"{"estimated_count":{"provider":"p"}}"#,
            "provider p does not count tokens: the count is an estimate",
        ),
        (
            r#"{"dearer_model":{"provider":"p","model":"m"}}"#,
            "provider p says that it used model \"m\": its price is charged, which is higher",
        ),
        (r#""route: \"fast\" is main""#, "route: \"fast\" is main"),
        (r#"{"later":{"a":1}}"#, r#"{"later":{"a":1}}"#),
    ];

    #[test]
    fn each_reason_keeps_its_code_and_its_sentence() {
        for (code, sentence) in ALL {
            let reason: Reason = serde_json::from_str(code).unwrap();
            assert_eq!(&reason.to_string(), sentence);
            assert_eq!(&serde_json::to_string(&reason).unwrap(), code);
            let is_known = !matches!(reason, Reason::Sentence(_) | Reason::Unknown(_));
            assert_eq!(
                is_known,
                !code.contains("route:") && !code.contains("later")
            );
        }
        let declared = include_str!("reasons.rs")
            .split("pub enum Tie")
            .next()
            .unwrap();
        assert_eq!(declared.matches("#[error(").count(), ALL.len());
    }

    #[test]
    fn ties_and_next_steps_are_part_of_a_sentence() {
        for (tie, told) in [
            (Tie::Id, "the first by its id"),
            (Tie::Turn, "its turn"),
            (Tie::LeastBusy { open: 3 }, "3 open requests"),
            (Tie::Home, "where this conversation is at home"),
            (
                Tie::HomeBusy,
                "because this conversation's own server is busy",
            ),
        ] {
            let reason = Reason::PreferredProvider {
                provider: "p".to_owned(),
                preference: 0,
                others: 1,
                model: "m".to_owned(),
                tie: Some(tie),
            };
            let sentence =
                format!("provider p (preference 0) before 1 other(s) with \"m\", {told}");
            assert_eq!(reason.to_string(), sentence);
            let code = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&code).unwrap(), reason);
        }
        assert_eq!(Next::Same.to_string(), "the same again");
    }
}
