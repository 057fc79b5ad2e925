//! The read API against its own description: every route is called, and every response must match the
//! description's schema.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{COMPLETION, answer, provider};

/// A gateway with some records.
async fn with_records() -> Gateway {
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move { answer(&mut stream, "200 OK", "x-team: red\r\n", COMPLETION).await })
    })
    .await;
    let more = json!({
        "provider": { "compatibility": { "openai_chat": true, "gemini_generate_content": true } },
        "chat": { "history": "ledger" },
        "database": { "headers": { "filterable": [{ "name": "X-Team" }] } },
        "grants": [{
            "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" }, { "models": "**" }, { "filterable_headers": ["X-Team"] },
                { "read_metrics": true },
            ] },
        }],
    });
    let gateway = Gateway::start(address, more).await;
    for nth in 0..3 {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"call {nth}"}}]}}"#);
        assert_eq!(gateway.chat(&body).await.status, StatusCode::OK);
    }
    gateway.chat(r#"{"model":"unknown","messages":[]}"#).await;
    recorded(&gateway, 4).await;
    gateway
}

/// Waits until so many records can be read, which takes until they are durable.
async fn recorded(gateway: &Gateway, records: usize) {
    for _ in 0..500 {
        let page = get(gateway, "/api/requests").await.json();
        if page["requests"].as_array().map(Vec::len) == Some(records) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there are not {records} records");
}

async fn get(gateway: &Gateway, path: &str) -> Reply {
    let request = Request::get(path).body(Full::default()).unwrap();
    gateway.send(request).await
}

/// What in `value` doesn't match `schema`, for the part of JSON Schema that the description uses.
fn mismatch(value: &Value, schema: &Value, all: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        assert!(all[name].is_object(), "{name} is described nowhere");
        return mismatch(value, &all[name], all, at);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    };
    if !kinds.iter().any(is) {
        return Some(format!("{at} is {value}, not {kinds:?}"));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Some(format!("{at} is {value}, not one of {known:?}"));
    }
    if let Some(list) = value.as_array() {
        return list.iter().enumerate().find_map(|(nth, item)| {
            mismatch(item, &schema["items"], all, &format!("{at}[{nth}]"))
        });
    }
    let fields = value.as_object()?;
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        if !fields.contains_key(name) {
            return Some(format!("{at}.{name} is missing"));
        }
    }
    fields.iter().find_map(|(name, field)| {
        let described = &schema["properties"][name];
        if described.is_null() {
            return match &schema["additionalProperties"] {
                Value::Bool(false) => Some(format!("{at}.{name} is not described")),
                other => mismatch(field, other, all, &format!("{at}.{name}")),
            };
        }
        mismatch(field, described, all, &format!("{at}.{name}"))
    })
}

/// The query that an operation requires.
fn required(operation: &Value) -> String {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let names = all.filter(|one| one["in"] == "query" && one["required"] == true);
    let pairs: Vec<_> = names
        .map(|one| format!("{}=x", one["name"].as_str().unwrap()))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let gateway = with_records().await;
    let document = get(&gateway, "/api/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = &document["components"]["schemas"];
    let record = gateway.record().await;
    let page = get(&gateway, "/api/requests?model=m").await.json();
    let id = page["requests"][0]["id"].as_str().unwrap();
    assert_ne!(record["id"], id, "the newest record is the refused one");
    let keep = Request::put(format!("/api/chats/{id}"))
        .header("content-type", "application/json")
        .body(Full::from(r#"{"title":"t","body":{"messages":[]}}"#))
        .unwrap();
    assert_eq!(gateway.send(keep).await.status, StatusCode::OK);
    let mut answered = 0;
    let versions = get(&gateway, "/api/config/history").await.json();
    let version = versions["versions"][0]["id"].as_str().unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let content = &operations["get"]["responses"]["200"]["content"];
        // A stream has no end.
        if operations["get"].is_null() || content["text/event-stream"].is_object() {
            continue;
        }
        let id = if path.contains("history") {
            version
        } else {
            id
        };
        let query = required(&operations["get"]);
        let reply = get(
            &gateway,
            &(path.replace("{id}", id).replace("{model}", "m") + &query),
        )
        .await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        let schema = &content["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        answered += 1;
        let wrong = mismatch(&reply.json(), schema, schemas, path);
        assert_eq!(wrong, None);
    }
    assert!(answered > 10, "{answered} routes answer with JSON");
    for path in ["/api/requests/req_none", "/api/requests?nothing=1"] {
        let reply = get(&gateway, path).await;
        let wrong = mismatch(&reply.json(), &schemas["Error"], schemas, path);
        assert!(
            reply.status.is_client_error() && wrong.is_none(),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn every_parameter_is_taken() {
    let gateway = with_records().await;
    let document = get(&gateway, "/api/openapi.json").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for parameter in operations["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if parameter["in"] != "query" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap();
            let value = match name {
                "limit" => "5",
                "status" => "200",
                "outcome" => "complete",
                "from" | "to" => "2026-01-01",
                "format" => "csv",
                "by" => "day,login,model,provider,agent,api,status,outcome",
                "header" => "x-team:red",
                "labels" => "project%3Dweb",
                "api" if path == "/api/explain" => "openai_chat",
                _ => "x",
            };
            // A range that ends before it begins, or is too long to search, is refused on purpose.
            let more = match (name, path.as_str()) {
                ("to", "/api/usage" | "/api/tools") => "&from=2025-12-31",
                ("from", "/api/tools") => "&to=2026-01-05",
                _ => "",
            };
            let needed = required(&operations["get"]).replace('?', "&");
            let needed = if parameter["required"] == true {
                needed.replace(&format!("&{name}=x"), "")
            } else {
                needed
            };
            let reply = get(&gateway, &format!("{path}?{name}={value}{more}{needed}")).await;
            assert_eq!(
                reply.status,
                StatusCode::OK,
                "{path}?{name}: {}",
                reply.text()
            );
        }
    }
}

#[tokio::test]
async fn records_are_filtered_by_headers_that_a_grant_names() {
    let gateway = with_records().await;
    let page = get(&gateway, "/api/requests?header=X-Team:red")
        .await
        .json();
    // The refused request reached no provider, so it lacks the header of responses.
    assert_eq!(page["requests"].as_array().unwrap().len(), 3);
    let report = get(&gateway, "/api/usage?by=header&header=x-team")
        .await
        .json();
    assert_eq!(report["rows"][0]["header"], "red", "{report}");
    for path in [
        "/api/requests?header=x-other",
        "/api/usage?header=x-other:1",
    ] {
        assert_eq!(
            get(&gateway, path).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_follow_each_other_and_tables_have_the_same_rows() {
    let gateway = with_records().await;
    let (mut before, mut ids) = (String::new(), Vec::new());
    loop {
        let page = get(&gateway, &format!("/api/requests?limit=2{before}"))
            .await
            .json();
        for row in page["requests"].as_array().unwrap() {
            ids.push(row["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        before = format!("&before={next}");
    }
    assert_eq!(ids.len(), 4);
    let table = get(&gateway, "/api/requests?format=csv").await;
    assert!(
        table.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    let lines: Vec<String> = table.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 5);
    for (line, id) in lines[1..].iter().zip(&ids) {
        assert!(line.starts_with(id.as_str()), "{line}");
    }
}

#[tokio::test]
async fn a_capture_holds_what_was_said_and_no_credential() {
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move { answer(&mut stream, "200 OK", "", COMPLETION).await })
    })
    .await;
    let gateway = Gateway::start(address, json!({})).await;
    let mut request = post(
        support::http::CHAT,
        r#"{"model":"m","messages":[{"role":"user","content":"the question"}]}"#,
    );
    let key = "Bearer sk-caller-secret".parse().unwrap();
    request.headers_mut().insert("authorization", key);
    let reply = gateway.send(request).await;
    let id = reply.headers["x-iris-request-id"].to_str().unwrap();
    gateway.record().await;
    let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
    let text = capture.text();
    assert!(!text.contains("sk-caller-secret"), "{text}");
    let capture = capture.json();
    assert!(
        capture["request"]["body"]
            .as_str()
            .unwrap()
            .contains("the question")
    );
    assert_eq!(capture["response"]["body"], COMPLETION);
    assert_eq!(capture["truncated"], false);
}

#[tokio::test]
async fn a_request_is_charged_by_its_price_and_an_unknown_price_is_unknown() {
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move { answer(&mut stream, "200 OK", "", COMPLETION).await })
    })
    .await;
    let prices = json!({ "prices": { "p/m": { "input": "2", "output": "10.5" } } });
    let gateway = Gateway::start(address, prices).await;
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    let record = gateway.record().await;
    // 3 tokens of the prompt at $2 a million, 5 of the response at $10.50.
    assert_eq!(record["cost"], 3 * 2_000 + 5 * 10_500, "{record}");
    let report = get(&gateway, "/api/usage").await.json();
    assert_eq!(report["totals"]["cost"], 58_500);
    // Your own server is free, unless a price list is named.
    let gateway = Gateway::start(address, json!({})).await;
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["cost"], &record["cost_basis"]),
        (&json!(0), &json!("local"))
    );
    let listed = json!({ "provider": { "cost_basis": "openai" } });
    let gateway = Gateway::start(address, listed).await;
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    assert!(gateway.record().await["cost"].is_null());
    gateway.chat(r#"{"model":"none","messages":[]}"#).await;
    recorded(&gateway, 2).await;
    let report = get(&gateway, "/api/usage").await.json();
    let totals = &report["totals"];
    assert_eq!(
        (&totals["priced"], &totals["unpriced"]),
        (&json!(1), &json!(1)),
        "{totals}"
    );
}

#[tokio::test]
async fn with_zero_retention_nothing_of_a_prompt_is_ever_on_disk() {
    const PLANTED: &str = "the-planted-prompt-7f3a";
    const ANSWERED: &str = "the-planted-answer-91bc";
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move {
            let body = COMPLETION.replace("\"hi\"", &format!("\"{ANSWERED}\""));
            answer(&mut stream, "200 OK", "", &body).await;
        })
    })
    .await;
    for (duration, kept) in [("0", false), ("30d", true)] {
        let retention = json!({ "duration": duration, "purge": ["captures", "tools"] });
        let more = json!({ "database": { "retention": retention } });
        let mut gateway = Gateway::start(address, more).await;
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{PLANTED}"}}]}}"#);
        assert!(gateway.chat(&body).await.text().contains(ANSWERED));
        let record = gateway.record().await;
        assert_eq!(record["captured"], kept);
        gateway.stop().await;
        // Short bodies are on disk in plain text, long ones compressed: the test searches for their
        // frames. It tries several times, because the database moves its log into its file on close.
        let dir = gateway.config().parent().unwrap().join("state");
        let mut found = false;
        for _ in 0..20 {
            for file in std::fs::read_dir(&dir).unwrap() {
                let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
                let holds = |what: &[u8]| bytes.windows(what.len()).any(|at| at == what);
                found |= holds(PLANTED.as_bytes()) || holds(ANSWERED.as_bytes());
                found |= holds(&[0x28, 0xb5, 0x2f, 0xfd]);
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        assert_eq!(found, kept, "retention {duration}");
    }
}

#[tokio::test]
async fn it_tells_what_would_become_of_a_request() {
    let gateway = with_records().await;
    let ask = async |query: &str| get(&gateway, &format!("/api/explain?{query}")).await;
    let yes = ask("login=(loopback)&model=m").await.json();
    assert_eq!(yes["allowed"], true, "{yes}");
    assert!(yes["answer"].as_str().unwrap().contains("provider p"));
    let no = ask("login=nobody%40example.com&model=m").await.json();
    assert_eq!(no["allowed"], false);
    assert!(no["answer"].as_str().unwrap().contains("403"), "{no}");
    for query in ["login=a", "model=m", "login=a&model=m&api=morse"] {
        assert_eq!(ask(query).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn tools_are_counted_for_a_month_at_most() {
    let gateway = with_records().await;
    let all = get(&gateway, "/api/tools").await.json();
    assert!(all["tools"].is_array(), "{all}");
    let long = get(&gateway, "/api/tools?from=2026-01-01&to=2026-02-02").await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    assert!(long.text().contains("31 days"), "{}", long.text());
}

#[tokio::test]
async fn a_browser_is_led_to_the_pages_and_a_program_gets_what_it_got() {
    let gateway = with_records().await;
    let get = async |path: &str, accept: &str| {
        let request = Request::get(path).header("accept", accept);
        let request = request.body(Full::default()).unwrap();
        gateway.send(request).await
    };
    let led = get("/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert_eq!(led.headers["location"], "/ui/");
    assert!(get("/", "*/*").await.text().starts_with("Iris"));
    assert_eq!(get("/ui/", "*/*").await.status, StatusCode::OK);
    assert_eq!(get("/chat/", "*/*").await.headers["location"], "/ui/chat");
    let page = get("/ui/overview", "text/html").await;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.headers[name], value, "{name}");
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(
        get("/ui/nothing", "*/*").await.status,
        StatusCode::NOT_FOUND
    );
    let posted = gateway.send(post("/ui/", "{}")).await;
    assert_eq!(posted.status, StatusCode::NOT_FOUND);
}
