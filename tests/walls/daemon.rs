//! A stand-in for `tailscaled`: the questions of its LocalAPI that the gateway asks.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

/// The gateway's own address.
pub const GATEWAY: &str = "100.64.0.1";

/// A device that the daemon knows.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub address: &'static str,
    pub login: &'static str,
    pub node: &'static str,
}

pub const ADA: Person = person("100.64.0.2", "ada@example.com", "ada-laptop");
pub const BOB: Person = person("100.64.0.3", "bob@example.com", "bob-desktop");
pub const KIM: Person = person("100.64.0.4", "kim@example.com", "kim-admin");
pub const EVE: Person = person("100.64.0.5", "eve@example.com", "eve-phone");
/// An address that is no device's.
pub const STRANGER: Person = person("100.64.0.99", "", "");

const fn person(address: &'static str, login: &'static str, node: &'static str) -> Person {
    Person {
        address,
        login,
        node,
    }
}

fn whois(address: &str) -> Option<Value> {
    let known = [ADA, BOB, KIM, EVE];
    let who = known.into_iter().find(|who| who.address == address)?;
    Some(json!({
        "Node": {
            "StableID": format!("n-{}", who.node), "Name": format!("{}.tail.test.", who.node),
            "MachineAuthorized": true, "Addresses": [format!("{address}/32")],
        },
        "UserProfile": { "ID": 1, "LoginName": who.login, "DisplayName": who.login },
        "CapMap": {},
    }))
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn answer(request: &Request<hyper::body::Incoming>) -> Answer {
    let (mut status, path) = (StatusCode::OK, request.uri().path());
    let body = match path.strip_prefix("/localapi/v0/").unwrap_or_default() {
        "status" => json!({
            "BackendState": "Running", "TailscaleIPs": [GATEWAY], "CertDomains": [],
            "Self": { "DNSName": "ai.tail.test." }, "CurrentTailnet": { "Name": "tail.test" },
        }),
        "whois" => {
            let asked = request.uri().query().unwrap_or_default();
            whois(asked.trim_start_matches("addr=")).unwrap_or_else(|| {
                status = StatusCode::NOT_FOUND;
                Value::Null
            })
        }
        // Nothing ever changes.
        "watch-ipn-bus" => {
            let silence = StreamBody::new(futures_util::stream::pending());
            return Response::new(BodyExt::boxed(silence));
        }
        "debug-packet-filter-rules" => json!([]),
        _ => {
            status = StatusCode::NOT_FOUND;
            Value::Null
        }
    };
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Starts it, with its socket in a folder.
pub fn start(dir: &Path) -> PathBuf {
    let socket = dir.join("tailscaled.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    socket
}
