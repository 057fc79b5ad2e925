//! Requests that ask for nothing but that a server loads or unloads a model, as Ollama's clients send
//! before a conversation and after it. A provider that speaks the format gets them; one of another
//! format has nothing to load.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::base::reasons::Reason;
use crate::exchange::Gateway;
use crate::exchange::clear::Cleared;
use crate::exchange::relay::Begun;

impl Gateway {
    /// The response to such a request whose provider isn't asked.
    pub(super) fn idle(cleared: &mut Cleared) -> Option<Response<Begun>> {
        let asked = cleared.asked();
        let response = (asked.format.idle_response)(&asked.call)?;
        let next = cleared.choices.front()?;
        next.route.provider.translation(asked.format)?;
        let candidate = cleared.choices.pop_front()?;
        let provider = candidate.route.provider.id.clone();
        cleared.draft.reason(Reason::NothingToLoad { provider });
        let (asked, draft) = cleared.split();
        draft.choose(asked, candidate, None);
        let mut response = Response::new(Begun::from(Bytes::from(response.to_string())));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Some(response)
    }
}
