//! Refusals of the pipeline: what the caller is told, and what the record says.

use http::request::Parts;
use http::{StatusCode, header};

use super::context::{Asked, Context};
use super::draft::Draft;
use super::ending::Stage;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::formats::{Format, NO_MODEL};
use crate::policy::route::NoRoute;
use crate::wire::{Rejection, body};

/// Models that a refusal names.
const SHOWN: usize = 20;

/// An admitted request that goes no further, with the stage at which it was refused.
#[must_use = "the caller is told, and the record made"]
pub(super) struct Refused {
    draft: Draft,
    stage: Stage,
    rejection: Rejection,
}

impl Refused {
    pub(super) fn new(draft: Draft, stage: Stage, rejection: Rejection) -> Self {
        Self {
            draft,
            stage,
            rejection,
        }
    }

    /// Makes the record. What is left is what the caller is told.
    pub(super) fn record(mut self) -> Rejection {
        self.draft.refuse(self.stage, &self.rejection);
        self.rejection
    }
}

/// A refusal of a request without a model, with the models that it could name.
pub(super) fn with_models(mut rejection: Rejection, context: &Context, head: &Parts) -> Rejection {
    if rejection.code.0 != NO_MODEL {
        return rejection;
    }
    let mut names: Vec<&str> = Vec::new();
    for found in context.rules.routes.models(context.permit()) {
        if context.fit(head.uri.path(), found.provider).is_some() && !names.contains(&found.model) {
            names.push(found.model);
        }
        if names.len() > SHOWN {
            break;
        }
    }
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    let advice = if names.is_empty() {
        "you have no access to a model that can be asked in this API".to_owned()
    } else {
        format!("name one of these: {}{more}", names.join(", "))
    };
    let endpoint = context.format.default_model(head.uri.path());
    let setting = endpoint
        .map(|endpoint| format!(", or have an admin set `default_models.{endpoint}`"))
        .unwrap_or_default();
    rejection.message = format!("{}; {advice}{setting}", rejection.message).into();
    rejection
}

/// The refusal of a request that no provider can answer. Its record says more than the caller may know.
pub(super) fn no_route(none: &NoRoute, asked: &Asked, draft: &mut Draft) -> Rejection {
    let model = &asked.call.model;
    let caller = asked.asker.owner().name();
    let not_found = format!("no route found for model \"{model}\" for user \"{caller}\"");
    let (model, mut message) = (model.clone(), not_found);
    let reason = match none {
        NoRoute::OtherApi { through } => {
            let reason = Reason::OtherFormat {
                model,
                through: through.iter().copied().map(Text::fixed).collect(),
                format: Text::fixed(asked.format.name),
            };
            message = reason.to_string();
            reason
        }
        NoRoute::Unknown => Reason::NotServed { model },
        NoRoute::NotGranted { candidates } => Reason::NotGranted {
            models: candidates.clone(),
        },
    };
    if let Some(words) = asked.format.refusals.missing_model
        && !matches!(none, NoRoute::OtherApi { .. })
    {
        message = words(&asked.call.model);
    }
    draft.reason(reason);
    Rejection::new(StatusCode::NOT_FOUND, "model_not_found", message)
}

/// How the types of forms begin.
const FORM: &str = "multipart/";

/// A body that is not declared as what its format reads could have been sent by a web page
/// without asking.
pub(super) fn unreadable_type(format: &Format, headers: &http::HeaderMap) -> Result<(), Rejection> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let text = values.next().and_then(|value| value.to_str().ok());
    let accepted = format.accepts;
    // A program that reads the second of two types reads another body.
    let is_one = values.next().is_none();
    // Without parameters there is nothing more to judge.
    if is_one && text.is_some_and(|text| accepted.contains(&text)) {
        return Ok(());
    }
    // What isn't read here may be anything.
    if accepted.is_empty() {
        return Ok(());
    }
    let declared = text
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    let readable = match declared {
        Some(declared) => {
            let is_it = |kind: &&str| declared.eq_ignore_ascii_case(kind);
            is_one && accepted.iter().any(is_it)
        }
        None => !headers.contains_key(header::CONTENT_TYPE) && (format.takes_untyped)(headers),
    };
    let wrong = |why: String| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Rejection::new(status, "wrong_content_type", why))
    };
    if !readable {
        return wrong(format!(
            "the request needs the header Content-Type: {}",
            accepted.join(" or ")
        ));
    }
    let is_form = declared.is_some_and(|kind| {
        let start = kind.get(..FORM.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(FORM))
    });
    match text {
        // A form's reader judges the parameters of forms.
        Some(text) if !is_form && !is_utf8(text) => wrong(format!(
            "the header Content-Type has the value {text:?}: its only parameter can be \
             charset=utf-8, once"
        )),
        _ => Ok(()),
    }
}

/// Whether a type has no parameter but the character set UTF-8, or ASCII, which is a part of it. Some
/// servers decode a body by this parameter, and would read another request than the gateway.
fn is_utf8(content_type: &str) -> bool {
    let parameters = content_type.split(';').skip(1).map(str::trim);
    let mut named = parameters.filter(|parameter| !parameter.is_empty());
    let is_known = named.next().is_none_or(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value
            .strip_prefix('"')
            .map_or(value, |inner| inner.strip_suffix('"').unwrap_or(value));
        let is_utf8 = ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(value));
        name.eq_ignore_ascii_case("charset") && is_utf8
    });
    is_known && named.next().is_none()
}

pub(super) fn unreadable(error: &body::ReadError) -> Rejection {
    let (status, code) = match error {
        body::ReadError::Full(full) => return (*full).into(),
        body::ReadError::TooLarge { .. } | body::ReadError::OverMemory { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        }
        body::ReadError::Stalled => (StatusCode::REQUEST_TIMEOUT, "body_stalled"),
        body::ReadError::Broken(_) => (StatusCode::BAD_REQUEST, "body_broken"),
    };
    Rejection::new(status, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn only_utf8_is_read() {
        for (parameters, expected) in [
            ("", true),
            (";", true),
            ("; charset=utf-8", true),
            (";Charset=\"UTF-8\"", true),
            ("; charset=us-ascii", true),
            ("; charset=utf-7", false),
            ("; charset=utf-16", false),
            ("; charset=\"utf-7\"", false),
            ("; charset=utf-8; charset=utf-7", false),
            ("; charset=utf-7; charset=utf-8", false),
            ("; charset*=utf-8''utf-7", false),
            ("; charset", false),
            ("; charset = utf-8", false),
            ("; version=2", false),
        ] {
            let kind = format!("application/json{parameters}");
            assert_eq!(is_utf8(&kind), expected, "{kind}");
        }
    }
}
