//! The response to a request of HTTP/1, as the parser has it. When it has ended, it is the caller's turn to send
//! another request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use hyper::body::{Bytes, Frame, SizeHint};

use super::turn::{Asked, Chunked, Turn};
use crate::wire::Body;
use crate::wire::body::BodyError;

/// The body of the response that is sent.
pub(super) struct ResponseBody {
    /// `None` in chunks: then it stands where the connection can take it from the parser.
    whole: Option<Body>,
    turn: Arc<Turn>,
}

impl ResponseBody {
    pub(super) fn of(
        mut response: Response<Body>,
        asked: Asked,
        turn: Arc<Turn>,
    ) -> Response<Self> {
        turn.served.sent.begin(&mut response);
        let (head, body) = response.into_parts();
        let mut whole = None;
        if asked.is_chunked(&head, &body) {
            let keep_alive = asked.keep_alive(&head);
            *turn.chunked() = Some(Chunked {
                body,
                waits: false,
                keep_alive,
            });
        } else {
            whole = Some(body);
        }
        Response::from_parts(head, Self { whole, turn })
    }
}

impl Drop for ResponseBody {
    /// Begins the caller's turn, unless the response goes on without the parser.
    fn drop(&mut self) {
        let body = self.whole.take();
        let body = body.or_else(|| self.turn.chunked().take().map(|sent| sent.body));
        if body.is_some() {
            drop(body);
            self.turn.served.sent.end();
            self.turn.served.pace.give();
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(body) = &mut self.whole {
            let next = Pin::new(body).poll_frame(cx);
            self.turn.served.sent.asked(&next);
            return next;
        }
        let mut chunked = self.turn.chunked();
        let Some(sent) = &mut *chunked else {
            return Poll::Ready(None);
        };
        let next = Pin::new(&mut sent.body).poll_frame(cx);
        sent.waits = next.is_pending();
        self.turn.served.sent.asked(&next);
        next
    }

    fn is_end_stream(&self) -> bool {
        if let Some(body) = &self.whole {
            return hyper::body::Body::is_end_stream(body);
        }
        let chunked = self.turn.chunked();
        let chunked = chunked.as_ref();
        chunked.is_none_or(|sent| hyper::body::Body::is_end_stream(&sent.body))
    }

    fn size_hint(&self) -> SizeHint {
        // How many chunks will come isn't known.
        (self.whole.as_ref()).map_or_else(SizeHint::default, hyper::body::Body::size_hint)
    }
}
