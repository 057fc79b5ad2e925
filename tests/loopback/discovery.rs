//! Model servers nearby are found when an admin asks, and become providers with one request that
//! leaves the rest of the configuration as it is.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{COMPLETION, Gateway, Reply, answer, provider, read_request};

const LIST: &str = r#"{"object":"list","data":[{"id":"llama3.2:3b","object":"model","owned_by":"library"},{"id":"qwen3:8b","object":"model","owned_by":"library"}]}"#;

/// A server such as Ollama at its usual port, on a loopback address that nobody else uses.
async fn ollama() -> String {
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    let host = format!("127.{}.{}.9", 16 + random[0] % 200, random[1]);
    let listener = TcpListener::bind((host.as_str(), 11434)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    let is_list = request.head.starts_with("GET /v1/models ");
                    let body = if is_list { LIST } else { COMPLETION };
                    answer(&mut stream, "200 OK", "", body).await;
                }
            });
        }
    });
    host
}

async fn get(gateway: &Gateway, path: &str) -> Reply {
    let request = Request::get(path).body(Full::default()).unwrap();
    gateway.send(request).await
}

async fn add(gateway: &Gateway, baseurl: &str, tag: Option<&str>) -> Reply {
    let mut request = Request::post("/api/discover").header("content-type", "application/json");
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    let body = json!({ "baseurl": baseurl }).to_string();
    gateway
        .send(request.body(Full::new(Bytes::from(body))).unwrap())
        .await
}

/// Puts a text in force that a person could have written.
async fn written(
    gateway: &Gateway,
    address: std::net::SocketAddr,
    host: &str,
    role: &str,
) -> String {
    let text = format!(
        r#"// The lab's gateway.
{{
  "tailnet": {{ "mode": "off" }},
  "listen": {{ "loopback": "127.0.0.1:0" }},
  "providers": {{
    // The old box.
    "p": {{ "baseurl": "http://{address}", "models": ["m"], "apikey": "sk-very-secret" }}, // slow
  }},
  "discover": {{ "hosts": ["{host}"] }}, /* the new box */
  "grants": [{{ "src": ["(loopback)"], "app": {{ "tailscale.com/cap/aperture": [{{ "role": "{role}" }}, {{ "models": "**" }}] }} }}],
}}
"#
    );
    let generation = async || get(gateway, "/api/status").await.json()["configuration"].clone();
    let before = generation().await;
    std::fs::write(gateway.config(), &text).unwrap();
    for _ in 0..500 {
        if generation().await != before {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the configuration is not in force");
}

/// A gateway whose configuration names a host with such a server.
struct Lab {
    gateway: Gateway,
    address: std::net::SocketAddr,
    host: String,
    url: String,
    text: String,
}

impl Lab {
    async fn start() -> Self {
        let (address, _received) = provider(|mut stream| {
            async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
        })
        .await;
        let host = ollama().await;
        let gateway = Gateway::start(address, json!({})).await;
        let text = written(&gateway, address, &host, "admin").await;
        Self {
            gateway,
            address,
            url: format!("http://{host}:11434"),
            host,
            text,
        }
    }

    async fn tag(&self) -> String {
        let config = get(&self.gateway, "/aperture/config").await;
        config.headers["etag"].to_str().unwrap().to_owned()
    }

    /// The server, as it was found.
    async fn found(&self) -> Option<Value> {
        let found = get(&self.gateway, "/api/discover").await.json();
        assert_eq!(found["hosts"], json!(["127.0.0.1", self.host]));
        let mut servers = found["servers"].as_array().unwrap().iter();
        servers
            .find(|server| server["baseurl"] == *self.url)
            .cloned()
    }
}

#[tokio::test]
async fn nobody_is_asked_but_whom_the_configuration_names_and_only_for_admins() {
    let lab = Lab::start().await;
    let (gateway, url) = (&lab.gateway, &lab.url);
    let page = get(gateway, "/ui/providers/discover").await.text();
    assert!(
        page.contains(&lab.host) && !page.contains(url),
        "nothing is asked yet"
    );
    let page = get(gateway, "/ui/providers/discover?look=now").await.text();
    assert!(
        page.contains(&format!("data-add-provider=\"{url}\"")),
        "{page}"
    );
    let tag = lab.tag().await;
    let without = add(gateway, url, None).await;
    assert_eq!(without.status, StatusCode::PRECONDITION_REQUIRED);
    let stale = add(gateway, url, Some("\"0\"")).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    // A provider at another port is no place to look either.
    let others = [
        format!("http://{}", lab.address),
        format!("{url}/"),
        "http://169.254.169.254:8080".to_owned(),
    ];
    for other in others {
        let refused = add(gateway, &other, Some(&tag)).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{other}");
    }
    assert_eq!(std::fs::read_to_string(gateway.config()).unwrap(), lab.text);

    written(gateway, lab.address, &lab.host, "user").await;
    let paths = [
        "/api/discover",
        "/ui/providers/discover",
        "/ui/providers/discover?look=now",
    ];
    for path in paths {
        assert_eq!(
            get(gateway, path).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let refused = add(gateway, url, Some(&tag)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_server_that_is_found_becomes_a_provider() {
    let lab = Lab::start().await;
    let (gateway, url) = (&lab.gateway, &lab.url);
    let models = json!(["llama3.2:3b", "qwen3:8b"]);
    assert_eq!(
        lab.found().await,
        Some(
            json!({ "kind": "ollama", "name": "Ollama", "baseurl": url, "models": models, "provider": null })
        )
    );
    let added = add(gateway, url, Some(&lab.tag().await)).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.text());
    assert_eq!(added.json()["provider"], "ollama");
    let now = std::fs::read_to_string(gateway.config()).unwrap();
    let from = now.find("\n    \"ollama\": {").unwrap();
    let to = from + now[from..].find("},").unwrap() + 2;
    let rest = format!("{}{}", &now[..from], &now[to..]);
    assert_eq!(rest, lab.text, "all the rest is as it was");
    let reply = gateway
        .chat(r#"{"model":"ollama/qwen3:8b","messages":[]}"#)
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(lab.found().await.unwrap()["provider"], "ollama");
    let tag = added.json()["hash"].as_str().unwrap().to_owned();
    let again = add(gateway, url, Some(&tag)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let audit = get(gateway, "/api/audit?kind=config_saved").await.json();
    assert_eq!(audit["audit"][0]["detail"]["after"], *tag);
    let versions = get(gateway, "/api/config/history").await.json();
    assert_eq!(versions["versions"][0]["how"], "saved");
}
