//! A tailnet of one machine: a network namespace whose loopback interface has all tailnet addresses, and a
//! stand-in for `tailscaled` that knows who has which. This way, many people call at once, each from
//! addresses of their own.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

/// The argument with which this program starts itself inside the namespace.
pub const INSIDE: &str = "--inside-namespace";
/// Where the gateway is.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
/// Devices of each person.
const DEVICES: u16 = 2;

/// Runs a test of this program in a namespace. `None` where there can be none.
pub fn in_a_namespace(test: &str) -> anyhow::Result<Option<bool>> {
    let mut command = support::namespace::unshare();
    let mut trial = Command::new(command.get_program());
    trial.args(command.get_args()).args(["ip", "link"]);
    if !trial.output().is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let status = command
        .arg(std::env::current_exe()?)
        .args([INSIDE, test])
        .status()
        .context("unshare does not start")?;
    Ok(Some(status.success()))
}

/// Gives the namespace its addresses.
pub fn network() -> anyhow::Result<()> {
    let all = format!("addr add {GATEWAY}/10 dev lo");
    for line in ["link set lo up", &all] {
        let status = Command::new("ip").args(line.split(' ')).status()?;
        ensure!(status.success(), "ip {line}");
    }
    Ok(())
}

/// The address of a device.
pub fn device(person: u16, nth: u16) -> SocketAddr {
    let [high, low] = (1 + person * DEVICES + nth % DEVICES).to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(100, 65, high, low).into(), 0)
}

pub fn login(person: u16) -> String {
    format!("person{person}@example.com")
}

/// Answers at `socket` as `tailscaled` would.
pub fn tailscaled(socket: &Path) -> anyhow::Result<()> {
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service =
                    service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(())
}

fn answer(request: &Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let path = request.uri().path().trim_start_matches("/localapi/v0/");
    let (status, value) = match path {
        "watch-ipn-bus" => {
            // Nothing ever changes.
            let silent = stream::pending::<Result<Frame<Bytes>, Infallible>>();
            return Response::new(StreamBody::new(silent).boxed_unsync());
        }
        "status" => (200, status()),
        "debug-packet-filter-rules" => (200, json!([])),
        "whois" => match who(request.uri().query().unwrap_or_default()) {
            Some(who) => (200, who),
            None => (404, Value::Null),
        },
        _ => (404, Value::Null),
    };
    let body = Full::new(Bytes::from(value.to_string()));
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response
}

fn status() -> Value {
    json!({
        "BackendState": "Running", "TailscaleIPs": [GATEWAY],
        "Self": { "DNSName": "ai.tail.test." }, "CurrentTailnet": { "Name": "tail.test" },
    })
}

fn who(query: &str) -> Option<Value> {
    let address: IpAddr = query.strip_prefix("addr=")?.parse().ok()?;
    let IpAddr::V4(v4) = address else { return None };
    let [100, 65, high, low] = v4.octets() else {
        return None;
    };
    let number = u16::from_be_bytes([high, low]).checked_sub(1)?;
    let person = number / DEVICES;
    Some(json!({
        "Node": {
            "StableID": format!("n{number}"), "Name": format!("laptop{number}.tail.test."),
            "Addresses": [format!("{address}/32")], "MachineAuthorized": true,
        },
        "UserProfile": { "ID": 1000 + u32::from(person), "LoginName": login(person) },
        "CapMap": {},
    }))
}
