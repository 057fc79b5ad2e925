//! A hook that is asked before a request goes on, and what its answer means.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::payload::{self, Story};
use super::{Tally, What, Wired, codings};
use crate::base::reasons::Reason;
use crate::config::FailPolicy;
use crate::net::client::{Client, Errand};
use crate::wire::Rejection;

/// Longest answer of a hook.
const LONGEST: usize = 1 << 20;
/// A hook without a time limit has this one: a request can't wait for ever.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a hook says.
#[derive(Debug)]
pub enum Answer {
    /// The request may go on.
    Allow,
    /// It may go on with another body.
    Modify(Bytes),
    /// It may not.
    Block(Rejection),
}

#[derive(Deserialize)]
struct Said<'a> {
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

/// Asks a hook. Answers with what it says, and the reason for the record.
///
/// # Errors
/// A 503 when it fails and its definition says that nothing may pass then.
pub async fn ask(
    upstream: &Client,
    wired: &Wired<'_>,
    story: &Story,
    body: &Bytes,
    tally: &Tally,
) -> Result<(Answer, Reason), (Rejection, Reason)> {
    let began = Instant::now();
    let said = exchange(upstream, wired, story, (body, tally)).await;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let name = wired.name;
    let what = match &said {
        Ok(Answer::Allow) => What::Allowed,
        Ok(Answer::Modify(_)) => What::Modified,
        Ok(Answer::Block(_)) => What::Blocked,
        Err(_) => What::Failed,
    };
    tally.count(name, what);
    match said {
        Ok(answer) => {
            let hook = name.to_owned();
            let reason = match &answer {
                Answer::Allow => Reason::HookAllows { hook, ms },
                Answer::Modify(_) => Reason::HookModifies { hook, ms },
                Answer::Block(rejection) => Reason::HookBlocks {
                    hook,
                    message: rejection.message.to_string(),
                    ms,
                },
            };
            Ok((answer, reason))
        }
        Err(why) => {
            tracing::warn!(hook = name, why, "a hook failed");
            let hook = name.to_owned();
            if wired.hook.fail_policy == FailPolicy::Closed {
                return Err((
                    unavailable(name),
                    Reason::HookFailedClosed { hook, why, ms },
                ));
            }
            Ok((Answer::Allow, Reason::HookFailedOpen { hook, why, ms }))
        }
    }
}

/// The refusal of a request that a guardrail should have judged and could not.
#[must_use]
pub fn unavailable(name: &str) -> Rejection {
    Rejection::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "guardrail_unavailable",
        format!("the guardrail {name:?} is not available"),
    )
    .retry_after(Duration::from_secs(5))
}

async fn exchange(
    upstream: &Client,
    wired: &Wired<'_>,
    story: &Story,
    (body, tally): (&Bytes, &Tally),
) -> Result<Answer, String> {
    let payload = payload::build(wired, story, body, None);
    let (status, said) = post(upstream, wired.hook, payload, tally).await?;
    if !status.is_success() {
        return Err(format!("it answered {status}"));
    }
    read(&said)
}

/// How long a hook may take: never longer than a whole request.
pub(super) fn patience(hook: &crate::config::Hook, upstream: &Client) -> Duration {
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
    hook: &crate::config::Hook,
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
        let (head, said) = upstream.errand(packed).await?.into_parts();
        let is_refusal = head.status == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        tally.codings.learn(&hook.url, &head.headers, is_refusal);
        if !is_refusal {
            return Ok((head.status, said));
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(format!("no answer within {limit:?}"));
        }
        plain = plain.within(left);
    }
    let (head, said) = upstream.errand(plain).await?.into_parts();
    tally.codings.learn(&hook.url, &head.headers, false);
    Ok((head.status, said))
}

fn read(said: &[u8]) -> Result<Answer, String> {
    // An array would be read as the fields in their order.
    if said.trim_ascii_start().first() != Some(&b'{') {
        return Err("invalid hook response: expected a JSON object".to_owned());
    }
    let said: Said<'_> =
        serde_json::from_slice(said).map_err(|error| format!("invalid hook response: {error}"))?;
    Ok(match said.action {
        Action::Allow => Answer::Allow,
        Action::Block => {
            // Only what is an error can be told as one.
            let status = said
                .status_code
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code))
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::FORBIDDEN);
            let message = said
                .message
                .filter(|message| !message.is_empty())
                .unwrap_or_else(|| "request blocked by guardrail".to_owned());
            Answer::Block(Rejection::new(status, "guardrail_blocked", message))
        }
        // What is no object replaces nothing.
        Action::Modify => match said.request_body.map(RawValue::get) {
            Some(body) if body.starts_with('{') => {
                Answer::Modify(Bytes::copy_from_slice(body.as_bytes()))
            }
            _ => Answer::Allow,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(Answer::Allow) => "allow".to_owned(),
            Ok(Answer::Modify(body)) => String::from_utf8(body.to_vec()).unwrap(),
            Ok(Answer::Block(rejection)) => {
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
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
