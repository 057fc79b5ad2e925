//! A hook that is asked before a request goes on, and what its answer means.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::payload::{self, Request};
use super::{Tally, What, Wired, codings};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::config::{FailPolicy, Hook};
use crate::net::client::{Client, Errand};
use crate::wire::Rejection;

/// Longest answer of a hook.
const LONGEST: usize = 1 << 20;
/// A hook without a time limit has this one: a request can't wait for ever.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a hook decides.
pub(crate) enum Verdict {
    /// The request may go on.
    Allow,
    /// It may go on with another body.
    Modify(Bytes),
    /// It may not.
    Block(Rejection),
}

#[derive(Deserialize)]
struct Response<'a> {
    action: Action,
    #[serde(default)]
    status_code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, borrow)]
    request_body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Allow,
    Block,
    Modify,
}

/// Asks a hook: what it decides, and the reason for the record. If it fails, its definition decides.
pub(crate) async fn ask(
    upstream: &Client,
    wired: &Wired<'_>,
    request: &Request<'_>,
    tally: &Tally,
) -> (Verdict, Reason) {
    let began = Instant::now();
    let payload = payload::build(&wired.wants, request, None);
    let verdict = match post(upstream, wired.hook, payload, tally).await {
        Ok((status, _)) if !status.is_success() => Err(format!("it answered {status}")),
        Ok((_, body)) => read(&body),
        Err(why) => Err(why),
    };
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let hook = Text::from(wired.name);
    let (what, verdict, reason) = match verdict {
        Ok(Verdict::Allow) => {
            let reason = Reason::HookAllows { hook, ms };
            (What::Allowed, Verdict::Allow, reason)
        }
        Ok(Verdict::Modify(body)) => {
            let reason = Reason::HookModifies { hook, ms };
            (What::Modified, Verdict::Modify(body), reason)
        }
        Ok(Verdict::Block(rejection)) => {
            let message = Text::from(&*rejection.message);
            let reason = Reason::HookBlocks { hook, message, ms };
            (What::Blocked, Verdict::Block(rejection), reason)
        }
        Err(why) => {
            tracing::warn!(hook = wired.name, why, "a hook failed");
            let (verdict, reason) = if wired.hook.fail_policy == FailPolicy::Closed {
                let verdict = Verdict::Block(unavailable(&hook));
                (
                    verdict,
                    Reason::HookFailedClosed {
                        hook,
                        why: why.into(),
                        ms,
                    },
                )
            } else {
                (
                    Verdict::Allow,
                    Reason::HookFailedOpen {
                        hook,
                        why: why.into(),
                        ms,
                    },
                )
            };
            (What::Failed, verdict, reason)
        }
    };
    tally.count(wired.name, what, 1);
    (verdict, reason)
}

/// The refusal of a request that a guardrail should have judged and could not.
pub(crate) fn unavailable(name: &str) -> Rejection {
    Rejection::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "guardrail_unavailable",
        format!("the guardrail {name:?} is not available"),
    )
    .retry_after(Duration::from_secs(5))
}

/// How long a hook may take: never longer than a whole request.
pub(super) fn patience(hook: &Hook, upstream: &Client) -> Duration {
    let own = if hook.timeout.is_zero() {
        PATIENCE
    } else {
        hook.timeout
    };
    match upstream.timeouts().total {
        total if total.is_zero() => own,
        total => own.min(total),
    }
}

/// Posts a payload to a hook, compressed if its last response said that it can read that.
pub(super) async fn post(
    upstream: &Client,
    hook: &Hook,
    payload: Vec<u8>,
    tally: &Tally,
) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = hook
        .url
        .parse()
        .map_err(|_| "its url is not valid".to_owned())?;
    let authority = uri.authority().map_or("@", http::uri::Authority::as_str);
    // A user's name would be a credential that everybody can read.
    if authority.contains('@') || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("its url must begin with http:// or https:// and name no user".to_owned());
    }
    let began = Instant::now();
    let limit = patience(hook, upstream);
    let mut plain = Errand::json(uri, payload, limit, LONGEST)
        .trusting(hook.ca.as_ref())
        .authorized(hook.authorization, &hook.apikey)?;
    let mut packed = None;
    if let Some(coding) = tally.codings.of(&hook.url) {
        let body = codings::packed(coding, plain.body()).await;
        packed = body.map(|body| plain.packed(coding.name(), body));
    }
    if let Some(packed) = packed {
        let (head, body) = upstream.errand(packed).await?.into_parts();
        let is_refusal = head.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        tally.codings.learn(&hook.url, &head.headers, is_refusal);
        if !is_refusal {
            return Ok((head.status, body));
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(format!("no answer within {limit:?}"));
        }
        plain = plain.within(left);
    }
    let (head, body) = upstream.errand(plain).await?.into_parts();
    tally.codings.learn(&hook.url, &head.headers, false);
    Ok((head.status, body))
}

fn read(body: &[u8]) -> Result<Verdict, String> {
    // An array would be read as the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("invalid hook response: expected a JSON object".to_owned());
    }
    let response: Response<'_> =
        serde_json::from_slice(body).map_err(|error| format!("invalid hook response: {error}"))?;
    Ok(match response.action {
        Action::Allow => Verdict::Allow,
        Action::Block => {
            // Only what is an error can be told as one.
            let status = response
                .status_code
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code))
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::FORBIDDEN);
            let message = response
                .message
                .filter(|message| !message.is_empty())
                .unwrap_or_else(|| "request blocked by guardrail".to_owned());
            Verdict::Block(Rejection::new(status, "guardrail_blocked", message))
        }
        // Anything but an object replaces nothing.
        Action::Modify => match response.request_body.map(RawValue::get) {
            Some(body) if body.starts_with('{') => {
                Verdict::Modify(Bytes::copy_from_slice(body.as_bytes()))
            }
            _ => Verdict::Allow,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(Verdict::Allow) => "allow".to_owned(),
            Ok(Verdict::Modify(body)) => String::from_utf8(body.to_vec()).unwrap(),
            Ok(Verdict::Block(rejection)) => {
                format!("{} {}", rejection.status.as_u16(), rejection.message)
            }
            Err(_) => "failure".to_owned(),
        }
    }

    #[test]
    fn answers_are_read_as_documented() {
        for (text, expected) in [
            (r#"{"action":"allow","more":1}"#, "allow"),
            (r#"{"action":"block"}"#, "403 request blocked by guardrail"),
            (
                r#"{"action":"block","status_code":451,"message":"no"}"#,
                "451 no",
            ),
            (
                r#"{"action":"block","status_code":200}"#,
                "403 request blocked by guardrail",
            ),
            (
                r#"{"action":"modify","request_body":{"a": 1}}"#,
                r#"{"a": 1}"#,
            ),
            (r#"{"action":"modify","request_body":"text"}"#, "allow"),
            (r#"{"action":"modify","request_body":[1]}"#, "allow"),
            (r#"{"action":"modify"}"#, "allow"),
            (r#"{"action":"maybe"}"#, "failure"),
            (r"{}", "failure"),
            (r#"["allow"]"#, "failure"),
            ("", "failure"),
            ("allow", "failure"),
        ] {
            assert_eq!(verdict(text), expected, "{text}");
        }
    }
}
