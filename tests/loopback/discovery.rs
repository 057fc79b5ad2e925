//! Model servers nearby are found when an admin asks, and become providers with one request that
//! leaves the rest of the configuration as it is.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{COMPLETION, Log, Received, answer, provider, server};

const LIST: &str = r#"{"object":"list","data":[{"id":"llama3.2:3b","object":"model","owned_by":"library"},{"id":"tiny:latest","object":"model","owned_by":"library"},{"id":"bad\u001b[2J","object":"model","owned_by":"library"}]}"#;
const MESSAGE: &str = r#"{"id":"x","type":"message","role":"assistant","model":"tiny:latest","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":5}}"#;

/// A loopback address that no other program uses.
fn host() -> String {
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    format!("127.{}.{}.9", 16 + random[0] % 200, random[1])
}

/// A usual port of model servers, other than `but`, that no program on this machine has on all
/// addresses.
fn usual_port(host: &str, but: u16) -> u16 {
    let is_free = |port: &u16| *port != but && std::net::TcpListener::bind((host, *port)).is_ok();
    let mut usual = [11434, 8000, 8080, 1234].into_iter();
    usual.find(is_free).expect("a usual port that is free")
}

/// Answers as Ollama does: an empty request lacks something, and other routes don't exist.
fn as_ollama(request: &Received) -> (&'static str, String) {
    const MISSING: &str = r#"{"error":{"message":"model is required"}}"#;
    let answer = match request.target().as_str() {
        "GET /v1/models" => return ("200 OK", LIST.to_owned()),
        "POST /v1/chat/completions" | "POST /v1/embeddings" | "POST /v1/responses" => COMPLETION,
        "POST /v1/messages" => MESSAGE,
        "POST /api/show" => "{}",
        _ => return ("404 Not Found", "404 page not found".to_owned()),
    };
    if request.body == b"{}" {
        return ("400 Bad Request", MISSING.to_owned());
    }
    ("200 OK", answer.to_owned())
}

/// A server such as Ollama at a port of a host of its own.
async fn ollama() -> (String, Log) {
    let host = host();
    let (_, log) = server((host.as_str(), 11434), as_ollama).await;
    (host, log)
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

/// Applies a text that a person could have written.
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
    /// The requests that the server got.
    log: Log,
}

impl Lab {
    async fn start() -> Self {
        let (address, _received) = provider(|mut stream| {
            async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
        })
        .await;
        let (host, log) = ollama().await;
        let gateway = Gateway::start(address, json!({})).await;
        let text = written(&gateway, address, &host, "admin").await;
        Self {
            gateway,
            address,
            url: format!("http://{host}:11434"),
            host,
            text,
            log,
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
    // A provider at another port isn't searched either.
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
    let models = json!(["llama3.2:3b", "tiny:latest"]);
    let formats = json!(["chat", "responses", "messages", "embeddings", "ollama"]);
    assert_eq!(
        lab.found().await,
        Some(
            json!({ "kind": "ollama", "name": "Ollama", "baseurl": url, "models": models, "formats": formats, "provider": null })
        )
    );
    let page = get(gateway, "/ui/providers/discover?look=now").await.text();
    assert!(
        page.contains("chat, responses, messages, embeddings"),
        "{page}"
    );
    let added = add(gateway, url, Some(&lab.tag().await)).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.text());
    assert_eq!(added.json()["provider"], "ollama");
    let now = std::fs::read_to_string(gateway.config()).unwrap();
    let from = now.find("\n    \"ollama\": {").unwrap();
    let end = "\n    },";
    let to = from + now[from..].find(end).unwrap() + end.len();
    let rest = format!("{}{}", &now[..from], &now[to..]);
    assert_eq!(rest, lab.text, "all the rest is as it was");
    let reply = gateway
        .chat(r#"{"model":"ollama/llama3.2:3b","messages":[]}"#)
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    for (path, model) in [("/v1/messages", "tiny"), ("/v1/messages", "ollama/tiny")] {
        let body = json!({ "model": model, "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }] });
        let reply = gateway.send(post(path, &body.to_string())).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let record = gateway.record_of(path).await;
        // Known by the name that its provider lists, and free.
        assert_eq!(
            (&record["model"], &record["provider"], &record["cost"]),
            (&json!("tiny:latest"), &json!("ollama"), &json!(0)),
            "{record}"
        );
        let asked = lab.log.lock().unwrap();
        let sent: Value = serde_json::from_slice(&asked.last().unwrap().body).unwrap();
        assert_eq!(sent["model"], "tiny:latest");
    }
    assert_eq!(lab.found().await.unwrap()["provider"], "ollama");
    let tag = added.json()["hash"].as_str().unwrap().to_owned();
    let again = add(gateway, url, Some(&tag)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let audit = get(gateway, "/api/audit?kind=config_saved").await.json();
    assert_eq!(audit["audit"][0]["detail"]["after"], *tag);
    let versions = get(gateway, "/api/config/history").await.json();
    assert_eq!(versions["versions"][0]["how"], "saved");
}

/// Searches two hosts, and adds all servers that it finds.
async fn with_all_added(hosts: &[&str]) -> (Gateway, Vec<Value>) {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let more = json!({ "discover": { "hosts": hosts } });
    let gateway = Gateway::start(address, more).await;
    let found = get(&gateway, "/api/discover").await.json();
    let servers: Vec<Value> = found["servers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|server| {
            let url = server["baseurl"].as_str().unwrap();
            hosts.iter().any(|host| url.contains(host))
        })
        .cloned()
        .collect();
    for server in &servers {
        let tag = get(&gateway, "/aperture/config").await.headers["etag"].clone();
        let url = server["baseurl"].as_str().unwrap();
        let added = add(&gateway, url, Some(tag.to_str().unwrap())).await;
        assert_eq!(added.status, StatusCode::OK, "{}", added.text());
    }
    (gateway, servers)
}

#[tokio::test]
async fn two_servers_with_one_model_are_told_apart() {
    let host = host();
    let other = usual_port(&host, 11434);
    let (_, first) = server((host.as_str(), 11434), as_ollama).await;
    let (_, second) = server((host.as_str(), other), as_ollama).await;
    let (gateway, servers) = with_all_added(&[&host]).await;
    assert_eq!(servers.len(), 2);
    let list = get(&gateway, "/v1/models").await.json();
    let named: Vec<(&str, &str)> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["id"] == "tiny:latest")
        .map(|row| {
            let provider = &row["metadata"]["provider"];
            (
                provider["id"].as_str().unwrap(),
                provider["name"].as_str().unwrap(),
            )
        })
        .collect();
    let name = format!("Ollama on {host}");
    let (id, with_port) = (format!("ollama-{other}"), format!("{name}, port {other}"));
    let mut expected = [("ollama", name.as_str()), (id.as_str(), with_port.as_str())];
    let mut named = named;
    expected.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, expected);

    let ask = async |model: &str| {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
        let reply = gateway.chat(&body.to_string()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    };
    let chats = |log: &Log| {
        let log = log.lock().unwrap();
        let is_chat =
            |one: &&Received| one.target().ends_with("chat/completions") && one.body != b"{}";
        log.iter().filter(is_chat).count()
    };
    ask("ollama/tiny").await;
    ask(&format!("{id}/tiny:latest")).await;
    assert_eq!((chats(&first), chats(&second)), (1, 1));
    // A conversation by the bare name stays with one of them.
    for _ in 0..4 {
        ask("tiny").await;
    }
    assert_eq!(chats(&first).abs_diff(chats(&second)), 4);
}

#[tokio::test]
async fn what_a_server_says_of_formats_is_not_believed_blindly() {
    // It answers every request alike, which proves nothing.
    let anything = host();
    let alike = |request: &Received| match request.target().as_str() {
        "GET /v1/models" => ("200 OK", LIST.to_owned()),
        _ => ("400 Bad Request", "{}".to_owned()),
    };
    let (_, log) = server((anything.as_str(), usual_port(&anything, 0)), alike).await;
    // It answers the question for formats with a response that is too long, or never.
    let endless = host();
    let (_, _) = server(
        (endless.as_str(), usual_port(&endless, 0)),
        |request: &Received| match request.target().as_str() {
            "GET /v1/models" => ("200 OK", LIST.to_owned()),
            _ => ("400 Bad Request", "x".repeat(1 << 20)),
        },
    )
    .await;
    let silent = host();
    let listener = tokio::net::TcpListener::bind((silent.as_str(), usual_port(&silent, 0)))
        .await
        .unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let request = support::provider::read_request(&mut stream).await;
                if request.is_some_and(|request| request.target() == "GET /v1/models") {
                    answer(&mut stream, "200 OK", "connection: close\r\n", LIST).await;
                } else {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
            });
        }
    });
    let began = std::time::Instant::now();
    let (gateway, servers) = with_all_added(&[&anything, &endless, &silent]).await;
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(servers.len(), 3);
    for server in &servers {
        assert_eq!(server["formats"], json!(["chat"]), "{server}");
    }
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    assert!(!text.contains("anthropic_messages"), "{text}");

    // Only empty objects are sent, to one path that isn't a route and to those of the formats.
    let log = log.lock().unwrap();
    let mut targets: Vec<String> = log.iter().map(Received::target).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(
        targets,
        [
            "GET /v1/models",
            "POST /api/show",
            "POST /v1/chat/completions",
            "POST /v1/embeddings",
            "POST /v1/iris-asks-whether-unknown-routes-are-refused",
            "POST /v1/messages",
            "POST /v1/messages/count_tokens",
            "POST /v1/responses",
        ]
    );
    for request in log.iter() {
        assert!(request.body.is_empty() || request.body == b"{}");
        assert_eq!(request.header("authorization"), None);
    }
}
