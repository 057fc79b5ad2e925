//! Three people and all of each other's data, on every route that the gateway describes and every page
//! that links to another.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::daemon::{ADA, BOB, EVE, KIM, Person, STRANGER};
use crate::policy::{MODELS, PAGES, Policy, ROUTES, SESSIONS};
use crate::world::{Answer, Gateway, until};
use support::provider::{answer, provider};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![nobody_reads_what_is_anothers_on_any_route,];

const SESSION: &str = "ada-session-of-thursday";
const CHAT: &str = "ada-chat-of-thursday";
/// What only Ada's things say, besides who she is.
const WORDS: [&str; 5] = [
    "ada-asked-this",
    "ada-was-told-this",
    "ada-called-it-with-this",
    "ada-keeps-this",
    "ada-keeps-this-title",
];
const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,
    "message":{"role":"assistant","content":"ada-was-told-this","tool_calls":[{"id":"t","type":"function",
    "function":{"name":"read","arguments":"{\"path\":\"ada-called-it-with-this\"}"}}]},
    "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

/// What stands in place of the ids in paths: Ada's, and what is there for admins.
struct Ids {
    request: String,
    version: String,
}

impl Ids {
    fn path(&self, path: &str) -> String {
        let id = match path {
            _ if path.contains("/history/") => &self.version,
            _ if path.contains("/chats/") => CHAT,
            _ if path.contains("/users/") => ADA.login,
            _ => &self.request,
        };
        let path = path.replace("{id}", id).replace("{model}", "m");
        path.replace('*', id)
    }
}

async fn gateway() -> Gateway {
    let (upstream, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", ANSWER).await }.boxed()
    })
    .await;
    // More than its channel holds; nothing reads them.
    drop(received);
    let grant = |src: &str, objects: Value| json!({ "src": [src], "app": { "tailscale.com/cap/aperture": objects } });
    let config = json!({
        "providers": {
            "p": { "baseurl": format!("http://{upstream}"), "models": ["m"],
                "compatibility": { "openai_chat": true, "gemini_generate_content": true } },
            "hidden": { "baseurl": format!("http://{upstream}"), "models": ["hidden-model"] },
        },
        "chat": { "history": "ledger" },
        "quotas": { "daily:<user>": { "capacity": "1000 requests", "rate": "1000 requests/day" } },
        "grants": [
            grant(ADA.login, json!([{ "role": "user" }, { "models": "p/**", "quotas": [{ "bucket": "daily:<user>" }] }])),
            grant(BOB.login, json!([{ "role": "user" }, { "models": "p/**", "quotas": [{ "bucket": "daily:<user>" }] }])),
            grant(KIM.login, json!([{ "role": "admin" }, { "read_captures": false }])),
        ],
    });
    Gateway::start(config, &[]).await
}

/// What Ada has: a request with what was said in it, a session, a conversation, a bucket.
async fn adas() -> Ids {
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"ada-asked-this"}]}"#;
    let named = [("x-session-id", SESSION)];
    let reply = ADA.ask("POST", "/v1/chat/completions", ask, &named).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let kept = json!({ "title": "ada-keeps-this-title", "body": { "messages": [{ "role": "user", "text": "ada-keeps-this" }] } });
    let chat = format!("/api/chats/{CHAT}");
    let kept = ADA.ask("PUT", &chat, &kept.to_string(), &[]).await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    let rows = async || ADA.get("/api/requests").await.json()["requests"].clone();
    until("Ada's record is not there", async || {
        rows().await[0].is_object()
    })
    .await;
    let versions = async || KIM.get("/api/config/history").await.json()["versions"].clone();
    until("no version is there", async || {
        versions().await[0].is_object()
    })
    .await;
    let id = |rows: Value| rows[0]["id"].as_str().unwrap().to_owned();
    Ids {
        request: id(rows().await),
        version: id(versions().await),
    }
}

/// What a response reveals of Ada that its request did not contain.
fn told(answer: &Answer, ids: &Ids, sent: &str) -> Vec<String> {
    let answer = answer.whole();
    let row = [ADA.login, ADA.node, SESSION, CHAT, &ids.request];
    let marks = row.into_iter().chain(WORDS);
    let unsaid = marks.filter(|mark| !sent.contains(mark));
    unsaid
        .filter(|mark| answer.contains(mark))
        .map(str::to_owned)
        .collect()
}

fn said(answer: &Answer) -> Vec<&'static str> {
    let answer = answer.whole();
    WORDS
        .into_iter()
        .filter(|word| answer.contains(word))
        .collect()
}

/// The routes of the gateway's own description, with the parameters of each.
async fn described() -> Vec<(String, String, Vec<String>)> {
    let mut routes = Vec::new();
    for description in ["/api/openapi.json", "/aperture/openapi.json"] {
        let described = KIM.get(description).await.json();
        let base = described["servers"][0]["url"].as_str().unwrap_or_default();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for (method, about) in methods.as_object().unwrap() {
                let names = about["parameters"].as_array().into_iter().flatten();
                let names = names
                    .filter(|one| one["in"] == "query")
                    .map(|one| one["name"].as_str().unwrap().to_owned());
                routes.push((
                    method.to_uppercase(),
                    format!("{base}{path}"),
                    names.collect(),
                ));
            }
        }
    }
    routes
}

/// The paths to ask a route at, with all that it lets one ask for of Ada's.
fn asked(path: &str, parameters: &[String], ids: &Ids) -> Vec<String> {
    let path = ids.path(path);
    let known = [
        ("login", ADA.login),
        ("session", SESSION),
        ("node", "n-ada-laptop"),
        ("tool", "read"),
        ("actor", ADA.login),
    ];
    let asked = known
        .iter()
        .filter(|(name, _)| parameters.iter().any(|known| known == name));
    let mut paths: Vec<String> = asked
        .map(|(name, value)| format!("{path}?{name}={value}"))
        .collect();
    paths.push(path);
    paths
}

/// A body that is good enough to be judged by who sends it.
fn body(method: &str, path: &str) -> &'static str {
    match (method, path) {
        ("PUT", _) if path.starts_with("/api/chats/") => {
            r#"{"title":"bobs","body":{"messages":[]}}"#
        }
        ("POST", "/api/show") => r#"{"model":"m"}"#,
        ("GET" | "DELETE", _) => "",
        _ => r#"{"config":"{}","bucket":"daily:ada@example.com","amount":"1 requests"}"#,
    }
}

fn check(who: Person, policy: Policy, answer: &Answer, what: &str) {
    let status = answer.status.as_u16();
    let is_admin = who.login == KIM.login;
    let fits = match policy {
        _ if who.login.is_empty() => status == 403,
        Policy::Everyone => status == 200,
        _ if who.login == EVE.login => status == 403,
        Policy::Own => status == 200,
        Policy::Usable => status == if is_admin { 404 } else { 200 },
        Policy::One => status == if is_admin { 200 } else { 404 },
        Policy::OnlyOwners => status == 404,
        Policy::Said => status == if is_admin { 403 } else { 404 },
        Policy::Admin => (status == 403) != is_admin,
        Policy::Granted => status == 403,
    };
    assert!(
        fits,
        "{} gets {status} at {what}: {policy:?}: {}",
        who.login, answer.text
    );
}

async fn nobody_reads_what_is_anothers_on_any_route() {
    let mut gateway = gateway().await;
    let ids = adas().await;
    let ratio = nothing_told(&ids).await;
    let asks = api(&ids).await;
    let looks = pages(&ids).await;
    models().await;
    events().await;
    owner(&ids).await;
    gateway.stop().await;
    println!(
        "  {} routes, {} pages, {} questions; another's thing takes {ratio:.2} times as long as one that is none",
        ROUTES.len(),
        PAGES.len(),
        asks + looks
    );
}

/// Every route, asked by everybody else for what is Ada's.
async fn api(ids: &Ids) -> usize {
    let described = described().await;
    let here: BTreeSet<_> = described
        .iter()
        .map(|(method, path, _)| (method.as_str(), path.as_str()))
        .collect();
    let known: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, _)| (*method, *path))
        .collect();
    assert_eq!(
        here, known,
        "each route needs its line in tests/walls/policy.rs"
    );
    let mut asks = 0;
    for (method, route, parameters) in &described {
        let policy = ROUTES
            .iter()
            .find(|one| (one.0, one.1) == (method, route))
            .unwrap()
            .2;
        for path in asked(route, parameters, ids) {
            for who in [BOB, KIM, EVE, STRANGER] {
                let answer = who.ask(method, &path, body(method, &path), &[]).await;
                asks += 1;
                let what = format!("{method} {path}");
                // An admin may ask in a way that nothing comes of.
                if who.login != KIM.login || !path.contains('?') {
                    check(who, policy, &answer, &what);
                }
                assert!(
                    said(&answer).is_empty(),
                    "{} reads at {what}: {:?}",
                    who.login,
                    said(&answer)
                );
                if who.login != KIM.login {
                    let told = told(&answer, ids, &path);
                    assert!(told.is_empty(), "{} is told at {what}: {told:?}", who.login);
                }
            }
        }
    }
    asks
}

/// Whether a path is one that a pattern of `PAGES` stands for.
fn is_page(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if !part.is_empty() => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// The pages that a page links to.
fn links(page: &str) -> BTreeSet<String> {
    let links = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split(['"', '?', '#']).next());
    links
        .filter(|link| link.starts_with("/ui/") && !link.starts_with("/ui/assets/"))
        .map(str::to_owned)
        .collect()
}

/// Every page, looked at by everybody else, and the links on those of an admin.
async fn pages(ids: &Ids) -> usize {
    let mut looks = 0;
    let mut linked = BTreeSet::new();
    for (pattern, policy) in PAGES
        .iter()
        .filter(|(_, policy)| *policy != Policy::Everyone)
    {
        let path = ids.path(pattern);
        let (all, one) = (
            format!("{path}?login={}", ADA.login),
            format!(
                "{path}?login={}&session={SESSION}&view=conversation",
                ADA.login
            ),
        );
        for path in [&path, &all, &one] {
            for who in [BOB, KIM, EVE, STRANGER] {
                let page = who.page(path).await;
                looks += 1;
                // A session is named by two parameters, which a user's page doesn't take of others.
                if !path.contains('?') && *pattern != "/ui/sessions/one" {
                    check(who, *policy, &page, path);
                }
                assert!(
                    said(&page).is_empty(),
                    "{} reads at {path}: {:?}",
                    who.login,
                    said(&page)
                );
                if who.login == KIM.login {
                    linked.append(&mut links(&page.text));
                } else {
                    let told = told(&page, ids, path);
                    assert!(told.is_empty(), "{} is told at {path}: {told:?}", who.login);
                }
            }
        }
    }
    for link in &linked {
        let known = PAGES.iter().any(|(pattern, _)| is_page(pattern, link));
        assert!(known, "{link} needs its line in tests/walls/policy.rs");
    }
    assert!(linked.len() > 20, "{linked:?}");
    looks
}

/// What asks for a WebSocket.
const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Every format: who has no role gets nothing, who has one no model beyond their grants.
async fn models() {
    for api in iris::formats::ALL {
        let kind = api.name;
        if api.realtime.is_some() {
            let known = SESSIONS.iter().find(|(known, _)| *known == kind);
            let (_, path) =
                known.unwrap_or_else(|| panic!("{kind} needs its line in tests/walls/policy.rs"));
            for (who, expected) in [(EVE, 403), (STRANGER, 403), (BOB, 404)] {
                let answer = who.ask("GET", path, "", &HANDSHAKE).await;
                assert_eq!(
                    answer.status, expected,
                    "{kind}: {}: {}",
                    who.login, answer.text
                );
            }
            continue;
        }
        let known = MODELS.iter().find(|(known, _)| *known == kind);
        let (_, path) =
            known.unwrap_or_else(|| panic!("{kind} needs its line in tests/walls/policy.rs"));
        let body = r#"{"model":"hidden-model","messages":[],"input":"x","prompt":"x","contents":[],"documents":["x"],"query":"x","max_tokens":1}"#;
        for who in [EVE, STRANGER] {
            assert_eq!(who.ask("POST", path, body, &[]).await.status, 403, "{kind}");
        }
        let refused = BOB.ask("POST", path, body, &[]).await;
        let status = refused.status.as_u16();
        assert!(
            matches!(status, 400 | 404),
            "{kind}: {status}: {}",
            refused.text
        );
        assert!(
            !refused.text.contains("hidden/"),
            "{kind}: {}",
            refused.text
        );
    }
}

/// What an answer says, besides when.
fn same(answer: &Answer, id: &str) -> String {
    let mut answer = answer.clone();
    answer.headers.remove("date");
    format!("{}\n{}", answer.status, answer.whole().replace(id, "(id)"))
}

/// An id of the same form that nothing has.
fn none(id: &str) -> String {
    let last = if id.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &id[..id.len() - 1])
}

/// Another user's thing gets the same response as a missing one, and as fast. Gives the ratio of the medians
/// that is farthest from one.
async fn nothing_told(ids: &Ids) -> f64 {
    const TIMES: usize = 150;
    let mut farthest = 1.0_f64;
    let objects = [Policy::One, Policy::OnlyOwners, Policy::Said];
    let routes = ROUTES
        .iter()
        .map(|(method, path, policy)| (*method, *path, *policy));
    let pages = PAGES.iter().map(|(path, policy)| ("GET", *path, *policy));
    let routes = routes
        .chain(pages)
        .filter(|(.., policy)| objects.contains(policy));
    for (method, route, _) in routes {
        let id = if route.contains("chats") {
            CHAT
        } else {
            &ids.request
        };
        let (theirs, nobodys) = (ids.path(route), ids.path(route).replace(id, &none(id)));
        let (mut took, mut took_none) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let begun = Instant::now();
            let answer = BOB.ask(method, &theirs, "", &[]).await;
            took.push(begun.elapsed());
            let begun = Instant::now();
            let of_none = BOB.ask(method, &nobodys, "", &[]).await;
            took_none.push(begun.elapsed());
            assert_eq!(answer.status, 404, "{method} {theirs}");
            assert_eq!(
                same(&answer, id),
                same(&of_none, &none(id)),
                "{method} {theirs}"
            );
        }
        took.sort();
        took_none.sort();
        let ratio = took[TIMES / 2].as_secs_f64() / took_none[TIMES / 2].as_secs_f64();
        assert!((0.5..2.0).contains(&ratio), "{method} {route}: {ratio}");
        if ratio.ln().abs() > farthest.ln().abs() {
            farthest = ratio;
        }
    }
    farthest
}

/// Each listener gets only their own new records.
async fn events() {
    let ask = r#"{"model":"m","messages":[]}"#;
    // What Bob has asked before may be written only now, and he hears of that.
    BOB.get("/api/events").await;
    let (bobs, adas) = tokio::join!(BOB.get("/api/events"), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        ADA.ask("POST", "/v1/chat/completions", ask, &[]).await
    });
    assert_eq!((bobs.status.as_u16(), adas.status.as_u16()), (200, 200));
    assert!(!bobs.text.contains("records"), "{}", bobs.text);
}

/// Ada herself has all of it, as she left it: else nothing of the above would prove a thing.
async fn owner(ids: &Ids) {
    let mut seen = BTreeSet::new();
    for (method, path, policy) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        let answer = ADA.ask(method, &ids.path(path), "", &[]).await;
        if matches!(policy, Policy::One | Policy::OnlyOwners | Policy::Said) {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        seen.extend(told(&answer, ids, ""));
    }
    assert_eq!(seen.len(), 5 + WORDS.len(), "{seen:?}");
    let gone = ADA
        .ask("DELETE", &format!("/api/chats/{CHAT}"), "", &[])
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    // The one of the same name that is Bob's stays.
    assert_eq!(BOB.get(&format!("/api/chats/{CHAT}")).await.status, 200);
}
