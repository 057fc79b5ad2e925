//! `iris demo`: everything that Iris does, on one machine and without an account.
//!
//! The demo proper is a whole tailnet inside this process: a control server, the gateway's node,
//! two people's devices and a model server at a 100.x address. They are the real parts, as on any
//! tailnet; only the control server is smaller (`tailnet::Control`). The plain demo leaves the
//! tailnet out.

mod door;
mod network;
pub mod plain;
mod policy;
mod provider;
mod tour;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::wire::{Body, body};

pub use network::{Network, Person};
pub use provider::{MODELS, Provider, TOOLS_MODEL};
pub use tour::{Tour, tour};

/// Runs something beside the rest until the guard is dropped.
fn until_dropped<F: Future<Output = ()> + Send + 'static>(work: F) -> DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(work));
    stop.drop_guard()
}

fn response(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
