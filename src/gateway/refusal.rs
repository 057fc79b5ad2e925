//! Refusals of the pipeline: what the caller is told, and what the record says.

use http::{StatusCode, header};

use super::guard::Passing;
use crate::api::{Api, Call, NO_MODEL};
use crate::identity::Caller;
use crate::relay::{Ended, Ending, Recording};
use crate::route::NoRoute;
use crate::wire::{Rejection, body};

/// Models that a refusal names.
const SHOWN: usize = 20;

/// Ends the record of a request that was refused, or that no provider answered.
pub(super) fn record(recording: &mut Recording, rejection: &Rejection) {
    recording.note(|entry| entry.status = rejection.status.as_u16());
    recording.end(Ended::new(Ending::of(rejection)));
}

/// A refusal of a request without a model, with the models that it could name.
pub(super) fn with_models(mut rejection: Rejection, passing: &Passing<'_>) -> Rejection {
    if rejection.code.0 != NO_MODEL {
        return rejection;
    }
    let mut names: Vec<&str> = Vec::new();
    for found in passing.rules.routes.models(passing.permit) {
        if (passing.fits)(found.provider) && !names.contains(&found.model) {
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
    rejection.message = format!("{}; {advice}", rejection.message).into();
    rejection
}

pub(super) fn no_route(
    none: &NoRoute,
    call: &Call,
    caller: &Caller,
    recording: &mut Recording,
    api: &dyn Api,
) -> Rejection {
    let (reason, message) = match none {
        NoRoute::OtherApi { through } => {
            let message = format!(
                "model {:?} is available through {}, not {}",
                call.model,
                through.join(", "),
                api.kind().0
            );
            (message.clone(), message)
        }
        NoRoute::Unknown => (
            format!("no provider serves {:?}", call.model),
            not_found(call, caller),
        ),
        NoRoute::NotGranted { candidates } => (
            format!("no grant covers any of {}", candidates.join(", ")),
            not_found(call, caller),
        ),
    };
    recording.note(|entry| entry.reasons.push(reason));
    Rejection::new(StatusCode::NOT_FOUND, "model_not_found", message)
}

fn not_found(call: &Call, caller: &Caller) -> String {
    format!(
        "no route found for model \"{}\" for user \"{}\"",
        call.model,
        caller.name()
    )
}

/// A body that is not declared as what its format reads could have been sent by a web page
/// without asking.
pub(super) fn unreadable_type(api: &dyn Api, headers: &http::HeaderMap) -> Result<(), Rejection> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|kind| kind.trim().to_ascii_lowercase());
    let accepted = api.accepts();
    // Whoever reads the second of two types reads another body.
    let is_one = headers.get_all(header::CONTENT_TYPE).iter().count() < 2;
    let readable = match declared {
        Some(declared) => is_one && accepted.contains(&declared.as_str()),
        None => !headers.contains_key(header::CONTENT_TYPE) && api.takes_untyped(headers),
    };
    if !readable {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong_content_type",
            format!(
                "the request needs the header Content-Type: {}",
                accepted.join(" or ")
            ),
        ));
    }
    Ok(())
}

pub(super) fn unreadable(error: &body::ReadError) -> Rejection {
    let (status, code) = match error {
        body::ReadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        body::ReadError::Stalled => (StatusCode::REQUEST_TIMEOUT, "body_stalled"),
        body::ReadError::Broken(_) => (StatusCode::BAD_REQUEST, "body_broken"),
    };
    Rejection::new(status, code, error.to_string())
}
