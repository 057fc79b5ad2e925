//! Meters one turn: its events are those of the responses API but for the names of some.

use std::time::Duration;

use crate::formats::assembly::Assembling;
use crate::formats::openai_responses::{Events, read_response};
use crate::formats::tokens::roughly;
use crate::formats::{Meter, MeteredRequest, Reading, Tokens};
use crate::wire::json::Part;

/// Milliseconds of sound that stand for a token.
const SOUND: u128 = 100;

pub(super) fn new(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Assembling::new(Events::default(), read, request))
}

/// Reads the response that ends a turn.
fn read(response: Part<'_>) -> Reading {
    let reading = read_response(response);
    let why = response.word("status_details/reason");
    let status = reading.finish_reason;
    let failure = (status.as_deref() == Some("failed")).then(|| {
        let error = |key: &str| response.word(&format!("status_details/error/{key}"));
        let words = error("message").or_else(|| error("code"));
        words.unwrap_or_else(|| "the response failed".to_owned())
    });
    Reading {
        finish_reason: why.filter(|why| !why.is_empty()).or(status),
        failure,
        tokens: of_duration(response).unwrap_or(reading.tokens),
        ..reading
    }
}

/// What a transcription stands for whose usage is `{"type": "duration", "seconds": N}`.
fn of_duration(response: Part<'_>) -> Option<Tokens> {
    let usage = response.get("usage")?;
    usage.get("type").filter(|kind| kind.is("duration"))?;
    let seconds = usage.get("seconds")?.value().as_f64()?;
    let heard = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    let heard = u64::try_from(heard.div_ceil(SOUND)).unwrap_or(u64::MAX);
    let text = response.word("output/0/content/0/text").unwrap_or_default();
    Some(Tokens {
        input: Some(heard),
        audio_input: Some(heard),
        output: Some(roughly(text.len() as u64)),
        estimated: true,
        ..Tokens::default()
    })
}
