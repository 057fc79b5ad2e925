//! Responses that end only when their record is durable, for those who bill by records: the last bytes, or
//! the end of a response of unknown length, are held until then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::records::{Error, Ledger};
use crate::wire::body::BodyError;
use crate::wire::{Body, Revocation};

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
    hold(response, async move { ledger.written_so_far().await })
}

/// Holds the end of a response until `written` is done, which begins once the body has ended.
fn hold(
    response: Response<Body>,
    written: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Response<Body> {
    let revoked = response.extensions().get::<Revocation>().cloned();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| {
        // A body of HTTP/2 may not know that its last bytes are the last.
        let left = body.size_hint().exact().or(length);
        let held = Acknowledged {
            body,
            left,
            held: None,
            written: Box::pin(written),
            revoked,
            state: State::Passing,
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
    written: BoxFuture<'static, Result<(), Error>>,
    /// Of a stream: its caller may lose the right to it while it waits.
    revoked: Option<Revocation>,
    state: State,
}

enum State {
    Passing,
    /// The body has ended, and so its record is made.
    Ending,
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
            match this.state {
                State::Passing => {
                    match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            let is_last = this.is_last(&frame);
                            if !is_last && this.held.is_none() {
                                return Poll::Ready(Some(Ok(frame)));
                            }
                            // What comes after the last bytes, such as trailers, is the end.
                            if let Some(before) = this.held.replace(frame) {
                                return Poll::Ready(Some(Ok(before)));
                            }
                        }
                        None => this.state = State::Ending,
                        // A response that breaks off acknowledges nothing.
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    }
                }
                State::Ending => {
                    if let Some(revoked) = &mut this.revoked
                        && let Poll::Ready(rejection) = revoked.poll_unpin(cx)
                    {
                        (this.state, this.held) = (State::Ended, None);
                        return Poll::Ready(Some(Err(rejection.message.into())));
                    }
                    let written = ready!(this.written.as_mut().poll(cx));
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
    use futures_util::FutureExt;
    use http_body_util::{Full, StreamBody};
    use tokio::sync::oneshot;

    use super::*;

    fn body(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Body {
        let frames: Vec<_> = frames.into_iter().map(Ok::<_, BodyError>).collect();
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    }

    fn frames() -> [Frame<Bytes>; 2] {
        ["one", "two"].map(|text| Frame::data(text.into()))
    }

    /// A response whose end is held, and what lets it go.
    fn held(response: Response<Body>) -> (Body, oneshot::Sender<()>) {
        let (done, written) = oneshot::channel();
        let written = written.map(|written| {
            written.unwrap();
            Ok(())
        });
        (hold(response, written).into_body(), done)
    }

    fn passes(body: &mut Body, expected: &str) {
        let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
    }

    fn waits(body: &mut Body) {
        assert!(body.frame().now_or_never().is_none());
    }

    fn ends(body: &mut Body) {
        assert!(body.frame().now_or_never().unwrap().is_none());
    }

    #[test]
    fn the_last_bytes_wait_for_the_disk() {
        let full = Full::new(Bytes::from("all of it")).map_err(|never| match never {});
        let (mut body, done) = held(Response::new(full.boxed_unsync()));
        assert_eq!(body.size_hint().exact(), Some(9));
        waits(&mut body);
        done.send(()).unwrap();
        passes(&mut body, "all of it");
        assert!(body.is_end_stream());
    }

    #[test]
    fn of_a_stream_only_the_end_waits() {
        let (mut body, done) = held(Response::new(body(frames())));
        passes(&mut body, "one");
        passes(&mut body, "two");
        waits(&mut body);
        done.send(()).unwrap();
        ends(&mut body);
    }

    #[test]
    fn a_length_that_only_the_head_tells_holds_the_last_bytes() {
        let mut response = Response::new(body(frames()));
        response.headers_mut().insert(CONTENT_LENGTH, 6.into());
        let (mut body, done) = held(response);
        passes(&mut body, "one");
        waits(&mut body);
        done.send(()).unwrap();
        passes(&mut body, "two");
        ends(&mut body);
    }

    #[test]
    fn what_comes_after_the_last_bytes_is_the_end() {
        let trailers = Frame::trailers(http::HeaderMap::new());
        let mut response = Response::new(body(frames().into_iter().chain([trailers])));
        response.headers_mut().insert(CONTENT_LENGTH, 6.into());
        let (mut body, done) = held(response);
        passes(&mut body, "one");
        passes(&mut body, "two");
        waits(&mut body);
        done.send(()).unwrap();
        let last = body.frame().now_or_never().unwrap().unwrap().unwrap();
        assert!(last.is_trailers());
        ends(&mut body);
    }
}
