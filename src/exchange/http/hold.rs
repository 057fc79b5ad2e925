//! Responses that aren't streams, for a caller of another format: they are translated before the caller
//! gets a head, so that a failure still has a status, and another provider can be asked.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};

use crate::base::clock::within;
use crate::base::memory::{self, Hold};
use crate::exchange::Gateway;
use crate::exchange::beside::beside;
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::relay::{Begun, Unheld, framing};
use crate::exchange::translation::{LONG, Translated, Translation, no_memory};
use crate::formats::Format;
use crate::formats::translate::{self, Json, Translator};
use crate::wire::Rejection;
use crate::wire::decode::Decoding;

impl Gateway {
    /// Translates a provider's successful response, if it has to be and is whole. The response stays for
    /// those who meter it.
    ///
    /// # Errors
    /// If it breaks off, or takes too long.
    pub(super) async fn translated(
        &self,
        funded: &Funded<'_>,
        translation: &mut Translation,
        response: &mut Response<Begun>,
    ) -> Result<Option<Translated>, Failure> {
        let decoding = Decoding::of(response.headers());
        let framing = framing(response.headers(), translation.format);
        let timeouts = self.upstream.timeouts();
        let body = response.body_mut();
        if translation.is_streamed() {
            // Not all servers say that they send a stream.
            if framing.is_some() || decoding.is_some() {
                return Ok(None);
            }
            let began = within(timeouts.first_byte, body.peek(1)).await;
            let began = began.map_err(|_| Failure::TimedOut(timeouts.first_byte))?;
            if !began.trim_ascii_start().starts_with(b"{") {
                return Ok(None);
            }
        }
        let mut held = Hold::default();
        let read = body.hold(translate::LONGEST, timeouts.idle, &mut held);
        let read = within(timeouts.total, read).await;
        let read = read.map_err(|_| Failure::TimedOut(timeouts.total))?;
        let result = match read {
            Ok(packed) => {
                let plain = match decoding {
                    Some(mut decoding) => decoding.feed(&packed).into(),
                    None => packed,
                };
                let plain = body.masked_error(plain);
                let translator = translation.translator(framing, translate::LONGEST);
                run(translator, plain, held).await
            }
            Err(Unheld::TooLong) => Err(translate::Failure::too_long()),
            Err(Unheld::Full) => Err(no_memory()),
            Err(Unheld::Silent) => return Err(Failure::TimedOut(timeouts.idle)),
            Err(Unheld::Broken(why)) => return Err(Failure::Unreachable { why, sent: true }),
        };
        Ok(Some(result.unwrap_or_else(|failure| {
            let body = error(funded.format, &failure);
            Translated {
                response: body.clone(),
                body,
                failure: Some(failure),
            }
        })))
    }
}

/// Translates a whole body, a long one beside the threads that serve others.
async fn run(
    translator: Box<dyn Translator>,
    plain: Bytes,
    mut held: Hold,
) -> Result<Translated, translate::Failure> {
    if plain.len() < LONG {
        return translated(translator, &plain);
    }
    // The body, the response as it is read and as it is written, and the body that is made of that.
    let trees = Json::weight(&plain).saturating_mul(2);
    let needed = trees.saturating_add(memory::weighed(plain.len()));
    if needed > held.bounds().1 || held.reserve(needed).await.is_err() {
        return Err(no_memory());
    }
    let work = move || translated(translator, &plain);
    let done = beside(work).await;
    let why = "the gateway has failed to translate the response";
    let mut done = done.unwrap_or_else(|| Err(translate::Failure::new(why)))?;
    held.shrink(done.body.len());
    let is_same = done.body.as_ptr() == done.response.as_ptr();
    done.body = held.keep(done.body);
    if is_same {
        done.response = done.body.clone();
    }
    Ok(done)
}

fn translated(
    mut translator: Box<dyn Translator>,
    plain: &[u8],
) -> Result<Translated, translate::Failure> {
    let mut out = Vec::new();
    translator.feed(plain, &mut out)?;
    translator.finish(&mut out)?;
    let body = Bytes::from(out);
    let response = if translator.is_whole() {
        body.clone()
    } else {
        translator.response().to_string().into()
    };
    Ok(Translated {
        body,
        response,
        failure: None,
    })
}

/// The status that a failure stands for.
pub(super) fn status(failure: &translate::Failure) -> StatusCode {
    let status = failure.status;
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::BAD_GATEWAY)
}

fn rejection(failure: &translate::Failure) -> Rejection {
    Rejection::new(status(failure), "provider_error", failure.message.clone())
}

fn error(format: &Format, failure: &translate::Failure) -> Bytes {
    (format.refusals.body)(&rejection(failure))
        .to_string()
        .into()
}

/// Makes the head of a response that of an error.
pub(super) fn fail(head: &mut Parts, format: &Format, failure: &translate::Failure) {
    head.status = status(failure);
    (format.refusals.head)(&rejection(failure), &mut head.headers);
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(CONTENT_TYPE, json);
}
