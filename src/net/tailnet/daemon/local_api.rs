//! The LocalAPI of `tailscaled`, over its socket: what it is asked, and how its answers are read.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::base::clock;
use crate::base::secret::Secret;
use crate::net::tailnet::{Certificate, Error, State, Status, Trouble, TroubleKind};
use crate::policy::identity::WhoIs;

#[cfg(target_os = "macos")]
const SOCKET: &str = "/var/run/tailscaled.socket";
#[cfg(not(target_os = "macos"))]
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";

/// `tailscaled` looks at the client's host name, not its credentials, to tell a browser.
const LOCAL_API_HOST: &str = "local-tailscaled.sock";
/// Answers are small; the largest is a packet filter.
pub(super) const MAX_ANSWER: usize = 32 << 20;
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A certificate may have to be ordered first.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_mins(2);

/// The API at its socket.
#[derive(Clone)]
pub(super) struct Api {
    socket: Arc<Path>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    backend_state: State,
    #[serde(rename = "AuthURL")]
    auth_url: String,
    #[serde(rename = "TailscaleIPs")]
    addresses: Option<Vec<IpAddr>>,
    #[serde(rename = "Self")]
    own: Option<Own>,
    current_tailnet: Option<Tailnet>,
    cert_domains: Option<Vec<String>>,
    /// What is wrong, in `tailscaled`'s words.
    health: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Own {
    #[serde(rename = "DNSName")]
    dns_name: String,
    key_expiry: Option<String>,
    /// Whether `tailscaled` waits for its control server's next message.
    online: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tailnet {
    name: String,
}

/// Who this machine's `tailscaled` is signed in as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The login of its user; none for a tagged machine.
    pub login: Option<String>,
    /// Its control server.
    pub control_url: Option<String>,
}

/// Asks `tailscaled` who it is signed in as.
///
/// # Errors
/// When it doesn't answer, or isn't signed in.
pub async fn machine(socket: Option<PathBuf>) -> Result<Machine, Error> {
    #[derive(Deserialize)]
    struct Prefs {
        #[serde(rename = "ControlURL", default)]
        control_url: String,
    }
    let api = Api::at(socket);
    let status = api.status(1).await?;
    let Some(address) = status.addresses.first().copied() else {
        return Err(api.error("it is not signed in to a tailnet"));
    };
    let whois = api.whois(address).await?;
    let user = whois.filter(|whois| whois.tags.is_empty());
    // Without the right to read these, the rest can still be answered.
    let prefs = match api.get("prefs", ASK_TIMEOUT).await {
        Ok((StatusCode::OK, body)) => serde_json::from_slice::<Prefs>(&body).ok(),
        _ => None,
    };
    Ok(Machine {
        login: user.and_then(|whois| whois.user).map(|user| user.login),
        control_url: prefs
            .map(|prefs| prefs.control_url)
            .filter(|url| !url.is_empty()),
    })
}

impl Api {
    /// The API at `socket`, or where it usually is.
    pub(super) fn at(socket: Option<PathBuf>) -> Self {
        Self {
            socket: socket.unwrap_or_else(|| SOCKET.into()).into(),
        }
    }

    pub(super) async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        let path = match source {
            IpAddr::V4(v4) => format!("whois?addr={v4}"),
            IpAddr::V6(v6) => format!("whois?addr={}", v6.to_string().replace(':', "%3A")),
        };
        match self.get(&path, ASK_TIMEOUT).await? {
            (StatusCode::OK, body) => WhoIs::parse(&body).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    pub(super) async fn certificate(&self, domain: &str) -> Result<Certificate, Error> {
        let path = format!("cert/{domain}?type=pair");
        let (status, body) = self.get(&path, CERTIFICATE_TIMEOUT).await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        // The key comes first, then the chain.
        let text = String::from_utf8_lossy(&body);
        let at = text
            .find("-----BEGIN CERTIFICATE")
            .ok_or_else(|| Error::Node("tailscaled sent no certificate".to_owned()))?;
        Ok(Certificate {
            chain: text[at..].to_owned(),
            key: Secret::new(text[..at].to_owned()),
        })
    }

    fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::LocalApi {
            path: self.socket.display().to_string(),
            reason: reason.to_string(),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let text: String = String::from_utf8_lossy(body)
            .trim()
            .chars()
            .take(200)
            .collect();
        self.error(format!("{status}: {text}"))
    }

    pub(super) async fn open(&self, path: &str) -> Result<http::Response<Incoming>, Error> {
        let socket = UnixStream::connect(&*self.socket).await.map_err(|error| {
            self.error(format!(
                "{error}; is tailscaled running, and may this user use it?"
            ))
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| self.error(error))?;
        tokio::spawn(connection);
        let request = Request::get(format!("/localapi/v0/{path}"))
            .header("host", LOCAL_API_HOST)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.error(error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.error(error))
    }

    async fn get(&self, path: &str, within: Duration) -> Result<(StatusCode, Bytes), Error> {
        let asked = async {
            let response = self.open(path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            Ok((status, body.map_err(|error| self.error(error))?.to_bytes()))
        };
        tokio::time::timeout(within, asked)
            .await
            .unwrap_or_else(|_| Err(self.error(format!("no answer within {within:?}"))))
    }

    pub(super) async fn status(&self, epoch: u64) -> Result<Status, Error> {
        let (status, body) = self.get("status?peers=false", ASK_TIMEOUT).await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        let report: Report = serde_json::from_slice(&body)?;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        // An older one doesn't say, and then nothing is known against it.
        let in_poll = report.own.as_ref().and_then(|own| own.online) != Some(false);
        let is_well = in_poll && report.backend_state == State::Running;
        let health = report.health.unwrap_or_default().join(" ");
        let (dns_name, key_expiry) = report
            .own
            .map_or((None, None), |own| (some(own.dns_name), own.key_expiry));
        Ok(Status {
            in_poll,
            trouble: some(health).filter(|_| !is_well).map(|message| Trouble {
                kind: TroubleKind::Failed,
                message,
            }),
            heard_at: in_poll.then(clock::unix_ms),
            state: report.backend_state,
            auth_url: some(report.auth_url),
            dns_name: dns_name.map(|name| name.trim_end_matches('.').to_owned()),
            addresses: report.addresses.unwrap_or_default(),
            cert_domains: report.cert_domains.unwrap_or_default(),
            tailnet: report
                .current_tailnet
                .and_then(|tailnet| some(tailnet.name)),
            key_expiry,
            epoch,
            ..Status::default()
        })
    }

    /// A fingerprint of the packet filter; `None` where this user may not see it.
    pub(super) async fn filter(&self) -> Option<u64> {
        let (status, body) = self
            .get("debug-packet-filter-rules", ASK_TIMEOUT)
            .await
            .ok()?;
        (status == StatusCode::OK).then(|| {
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            hasher.finish()
        })
    }
}
