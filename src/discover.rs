//! Model servers on this machine's usual ports, for those who start without a configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

/// Provider id and port of each kind of server.
pub const USUAL: [(&str, u16); 4] = [
    ("llamacpp", 8080),
    ("vllm", 8000),
    ("ollama", 11434),
    ("lmstudio", 1234),
];

/// A server that listens answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_LIST: usize = 4 << 20;

/// A server that was found, with its models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Provider id.
    pub id: &'static str,
    /// Port on loopback.
    pub port: u16,
    /// Models that it lists.
    pub models: Vec<String>,
}

/// Asks each port for its models; those that do not answer are left out.
pub async fn servers(usual: &[(&'static str, u16)]) -> Vec<Server> {
    let asked = usual.iter().map(|(id, port)| async move {
        let models = tokio::time::timeout(PATIENCE, models(*port)).await.ok()??;
        (!models.is_empty()).then_some(Server {
            id,
            port: *port,
            models,
        })
    });
    futures_util::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// A configuration that offers the servers to local callers at `loopback`.
#[must_use]
pub fn configuration(servers: &[Server], loopback: SocketAddr) -> String {
    let providers: serde_json::Map<String, serde_json::Value> = servers
        .iter()
        .map(|server| {
            let baseurl = format!("http://127.0.0.1:{}", server.port);
            (
                server.id.to_owned(),
                json!({ "baseurl": baseurl, "models": server.models }),
            )
        })
        .collect();
    let objects = json!([{ "role": "admin" }, { "models": "**" }]);
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": loopback.to_string() },
        "providers": providers,
        "grants": [{ "src": ["(loopback)"], "app": { crate::config::CAPABILITY: objects } }],
    })
    .to_string()
}

#[derive(Deserialize)]
struct List {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
}

async fn models(port: u16) -> Option<Vec<String>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/v1/models")
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let listed = response.status().is_success();
    let body = Limited::new(response.into_body(), MAX_LIST)
        .collect()
        .await
        .ok()?
        .to_bytes();
    driver.abort();
    let list: List = listed.then(|| serde_json::from_slice(&body).ok())??;
    Some(list.data.into_iter().map(|row| row.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_answers_is_offered() {
        let demo = crate::demo::Provider::start().await.unwrap();
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = unused.local_addr().unwrap().port();
        drop(unused);
        let found = servers(&[("here", demo.address().port()), ("gone", silent)]).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id, found[0].models.as_slice()),
            ("here", &["demo".to_owned()][..])
        );
        let text = configuration(&found, "127.0.0.1:8088".parse().unwrap());
        let loaded = crate::config::parse(&text, &|_| None).unwrap();
        assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
        assert_eq!(loaded.file.providers["here"].models, ["demo"]);
    }
}
