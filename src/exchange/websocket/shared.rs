//! What frames of requests and sessions have in common: how a WebSocket ends, what a caller's frame holds, and
//! what is done with each.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::pace::Paced;
use crate::base::memory::{Full, Hold, weighed};
use crate::exchange::verified::Unverified;
use crate::exchange::{Gateway, Verified};
use crate::policy::identity::Refused;
use crate::wire::{Mask, Rejection};

/// For a close frame to be taken.
pub(in crate::exchange) const FAREWELL: Duration = Duration::from_secs(5);

/// A caller's end.
pub(in crate::exchange) type Caller = WebSocketStream<Paced<TokioIo<Upgraded>>>;

/// What comes of one end.
pub(in crate::exchange) type Frame = Result<Message, Error>;

/// Why a WebSocket ends.
pub(in crate::exchange) enum End {
    /// The caller left, or closed it.
    Gone,
    /// The gateway closes it.
    Close(CloseCode, String),
}

impl End {
    pub(in crate::exchange) fn close(code: CloseCode, why: impl Display) -> Self {
        Self::Close(code, why.to_string())
    }
}

/// Sees that the caller still is who opened the WebSocket, which may be hours ago.
pub(in crate::exchange) async fn verify(who: &mut Verified) -> Result<(), Rejection> {
    let Err(refused) = who.verify().await else {
        return Ok(());
    };
    let Unverified::Unknown(why) = refused else {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "revoked",
            "this device may no longer call",
        ));
    };
    let code = match why {
        Refused::Stale(_) => "tailnet_stale",
        _ => "identity_unavailable",
    };
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Err(Rejection::new(status, code, why.to_string()))
}

/// The text of what a caller sends; `None` for what the library answers by itself.
pub(in crate::exchange) fn received(
    frame: Option<Frame>,
    takes_binary: bool,
) -> Result<Option<Utf8Bytes>, End> {
    match frame {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(bytes))) if takes_binary => Utf8Bytes::try_from(bytes)
            .map(Some)
            .map_err(|_| End::close(CloseCode::Invalid, "a message is not UTF-8")),
        Some(Ok(Message::Binary(_))) => {
            Err(End::close(CloseCode::Unsupported, "frames are text here"))
        }
        Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::TimedOut => {
            let why = "the rest of a message did not come in time";
            Err(End::close(CloseCode::Policy, why))
        }
        Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::OutOfMemory => {
            Err(End::close(CloseCode::Again, Full))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Err(Error::Capacity(_))) => {
            let why = "the frame is longer than a request may be";
            Err(End::close(CloseCode::Size, why))
        }
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
    }
}

/// Where responses are acknowledged, waits until all records so far are durable.
pub(in crate::exchange) async fn acknowledged(gateway: &Gateway) -> Option<End> {
    if !gateway.ledger.acknowledges() {
        return None;
    }
    let error = gateway.ledger.written_so_far().await.err()?;
    Some(End::close(CloseCode::Error, error))
}

/// What a future comes to; without one this waits without end.
pub(in crate::exchange) async fn if_any<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// A frame that counts as memory for as long as it is held.
pub(in crate::exchange) async fn counted(text: Utf8Bytes) -> Result<Utf8Bytes, Full> {
    let mut hold = Hold::default();
    hold.reserve(weighed(text.len())).await?;
    let kept = hold.keep(text.clone().into());
    Ok(Utf8Bytes::try_from(kept).unwrap_or(text))
}

/// A frame without the credentials that it quotes.
pub(in crate::exchange) fn masked(text: Utf8Bytes, mask: &Mask) -> Utf8Bytes {
    let shown = mask.whole(text.into());
    // Stars in place of a part of a letter make it none.
    Utf8Bytes::try_from(shown.clone()).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&shown);
        Utf8Bytes::from(text.as_ref())
    })
}

pub(in crate::exchange) fn broke_off() -> Rejection {
    Rejection::new(
        StatusCode::BAD_GATEWAY,
        "provider_broke_off",
        "the provider closed the connection before the end of its answer",
    )
}

pub(in crate::exchange) fn silent() -> Rejection {
    Rejection::new(
        StatusCode::GATEWAY_TIMEOUT,
        "provider_timeout",
        "nothing was said for longer than this gateway waits",
    )
}
