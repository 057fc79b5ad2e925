//! A caller, and whether they still are who they were.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use tokio::sync::watch;

use crate::net::tailnet::{Resolver, Status};
use crate::policy::identity::{Caller, Refused};

/// A caller with the means to see whether they still are who they were.
#[derive(Clone)]
pub struct Verified {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// Asks again; `None` for loopback, which cannot change.
    pub resolver: Option<(Arc<Resolver>, IpAddr)>,
    /// The network map's epoch for which `caller` was true.
    pub epoch: u64,
    /// Tells that the tailnet has changed.
    pub changes: Option<watch::Receiver<Status>>,
    /// Where the request was sent.
    pub url: AskedUrl,
}

/// The URL that a request was sent to, as far as its head doesn't have it. It is put together where
/// it is read, which few requests need.
#[derive(Clone)]
pub struct AskedUrl {
    /// It came over HTTPS.
    pub is_secure: bool,
    /// The path as it was sent, if it is served as another.
    pub path: Option<Arc<str>>,
}

impl AskedUrl {
    /// Scheme and host.
    pub fn origin(&self, head: &Parts) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", asked_host(&head.uri, &head.headers))
    }

    /// All of it but the query, in which a key may stand.
    pub(super) fn whole(&self, head: &Parts) -> String {
        let path = self.path.as_deref().unwrap_or(head.uri.path());
        let mut url = self.origin(head);
        url.push_str(path);
        url
    }
}

/// The host that a request names, with its port.
pub fn asked_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(Authority::as_str));
    host.unwrap_or_default()
}

/// Why nobody knows whether a caller still is the same device.
pub(super) enum Unverified {
    /// It is not.
    Gone,
    /// The tailnet could not be asked, or was not heard for too long.
    Unknown(Refused),
}

impl Verified {
    /// Sees that the caller still is the same device with the same owner, if the tailnet has changed
    /// since that was last known. Answers whether it has.
    pub(super) async fn verify(&mut self) -> Result<bool, Unverified> {
        let Some((resolver, source)) = &self.resolver else {
            return Ok(false);
        };
        let epoch = resolver.epoch();
        if epoch == self.epoch {
            return Ok(false);
        }
        match resolver.caller(*source).await {
            Ok(again) if again.is_same(&self.caller) => {
                self.caller = again;
                self.epoch = epoch;
                Ok(true)
            }
            Err(why @ (Refused::Unavailable(_) | Refused::Stale(_))) => {
                Err(Unverified::Unknown(why))
            }
            _ => Err(Unverified::Gone),
        }
    }
}
