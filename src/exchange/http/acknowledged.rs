//! Responses that end only when their record is durable, for those who bill by records: the last bytes, or
//! the end of a response of unknown length, are held until then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::records::{Error, Ledger};
use crate::wire::Body;
use crate::wire::body::BodyError;

/// Holds the end of a response until the ledger has written all that was handed to it before.
pub(super) async fn acknowledged(response: Response<Body>, ledger: Ledger) -> Response<Body> {
    if response.body().is_end_stream() {
        // There is nothing to hold but the whole of it. It may say more than is written, as with any
        // failure of the disk after the head was sent.
        if let Err(error) = ledger.written_so_far().await {
            tracing::error!(%error, "a response can't be acknowledged");
        }
        return response;
    }
    response.map(|body| {
        let left = body.size_hint().exact();
        let held = Acknowledged {
            body,
            left,
            held: None,
            state: State::Passing(ledger),
        };
        held.boxed_unsync()
    })
}

struct Acknowledged {
    body: Body,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    /// The last frame.
    held: Option<Frame<Bytes>>,
    state: State,
}

enum State {
    Passing(Ledger),
    /// The body has ended, and so its record is made.
    Ending(BoxFuture<'static, Result<(), Error>>),
    Ended,
}

impl Acknowledged {
    /// Whether a frame is the last.
    fn is_last(&mut self, frame: &Frame<Bytes>) -> bool {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(length as u64);
        }
        self.left == Some(0) || self.body.is_end_stream()
    }
}

impl hyper::body::Body for Acknowledged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Passing(ledger) => {
                    let ledger = ledger.clone();
                    match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                        Some(Ok(frame)) if this.held.is_none() && this.is_last(&frame) => {
                            this.held = Some(frame);
                        }
                        None => {
                            let written = async move { ledger.written_so_far().await };
                            this.state = State::Ending(Box::pin(written));
                        }
                        // A response that breaks off acknowledges nothing.
                        other => return Poll::Ready(other),
                    }
                }
                State::Ending(written) => {
                    let written = ready!(written.as_mut().poll(cx));
                    this.state = State::Ended;
                    if let Err(error) = written {
                        this.held = None;
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
                State::Ended => return Poll::Ready(this.held.take().map(Ok)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, |left| {
            let held = self.held.as_ref().and_then(Frame::data_ref);
            SizeHint::with_exact(left + held.map_or(0, Bytes::len) as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::FutureExt;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn of(body: Body) -> (Response<Body>, Ledger) {
        let ledger = Ledger::open("sqlite::memory:", Path::new(".")).unwrap();
        (Response::new(body), ledger)
    }

    fn full(text: &'static str) -> Body {
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed_unsync()
    }

    #[tokio::test]
    async fn the_last_bytes_wait_for_the_disk() {
        let (response, ledger) = of(full("all of it"));
        let mut body = acknowledged(response, ledger).await.into_body();
        assert_eq!(body.size_hint().exact(), Some(9));
        assert!(
            body.frame().now_or_never().is_none(),
            "the writer is asked first"
        );
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "all of it");
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn of_a_stream_only_the_end_waits() {
        let events = ["one", "two"].map(|text| Ok::<_, BodyError>(Frame::data(text.into())));
        let events = StreamBody::new(futures_util::stream::iter(events));
        let (response, ledger) = of(events.boxed_unsync());
        let mut body = acknowledged(response, ledger).await.into_body();
        for expected in ["one", "two"] {
            let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(body.frame().now_or_never().is_none());
        assert!(body.frame().await.is_none());
    }
}
