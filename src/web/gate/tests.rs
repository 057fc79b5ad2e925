//! Hosts, origins, links and framings, as browsers and attackers send them.

use super::*;
use crate::config;
use crate::policy::access::Access;
use crate::policy::identity::Caller;

fn check(headers: &[(&str, &str)]) -> Result<(), u16> {
    check_for(Method::GET, Target::Other, headers)
}

fn check_for(method: Method, target: Target, headers: &[(&str, &str)]) -> Result<(), u16> {
    let foreign = checked(method, target, headers)?;
    assert!(foreign.is_none(), "{foreign:?}");
    Ok(())
}

fn checked(
    method: Method,
    target: Target,
    headers: &[(&str, &str)],
) -> Result<Option<ForeignPage>, u16> {
    let gate = Gate {
        names: vec!["ai".into(), "ai.tail.test".into()],
        addresses: vec![
            "100.64.0.7".parse().unwrap(),
            "fd7a:115c:a1e0::7".parse().unwrap(),
        ],
        port: 80,
        ..Gate::default()
    };
    let mut request = Request::builder().method(method).uri("/v1/models");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gate.check(&request.body(()).unwrap(), false, target)
        .map_err(|error| error.status.as_u16())
}

#[test]
fn own_names_and_addresses_only() {
    for host in [
        "ai",
        "AI",
        "ai:80",
        "ai.tail.test",
        "100.64.0.7",
        "[fd7a:115c:a1e0::7]",
    ] {
        assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
    }
    for host in [
        "attacker.example",
        "ai.",
        "ai:81",
        "100.64.0.8",
        "ai.attacker.example",
        "[100.64.0.7]",
        "ai:0",
        "ai:+80",
        "ai:080",
    ] {
        assert_eq!(check(&[("host", host)]), Err(421), "{host}");
    }
    for host in ["", "ai/..", "ai?x", "a b"] {
        assert_eq!(check(&[("host", host)]), Err(400), "{host}");
    }
    assert_eq!(check(&[("host", "u@ai")]), Err(421));
    assert_eq!(check(&[]), Err(400));
    assert_eq!(check(&[("host", "ai"), ("host", "ai")]), Err(400));
}

#[test]
fn a_wrong_port_is_named() {
    let gate = Gate::new(vec!["ai".into()], Vec::new(), 8_088, &[]);
    let refused = |host: &str| {
        let request = Request::get("/").header("host", host).body(()).unwrap();
        gate.check(&request, false, Target::Other).unwrap_err()
    };
    for host in ["ai", "ai:80", "ai:8089"] {
        let refused = refused(host);
        assert_eq!(refused.status, 421);
        let both = [format!("by port 8088, and the request is for {host};")];
        assert!(refused.message.contains(&both[0]), "{}", refused.message);
    }
    assert!(refused("bi").message.contains("this gateway is not bi;"));
}

#[test]
fn a_proxy_in_front_passes_its_own_name_on() {
    let more = ["https://ai.example.com", "http://ai.lan:8000/", "plain"].map(str::to_owned);
    let gate = Gate::new(vec!["localhost".into()], Vec::new(), 8_088, &more);
    let check = |host: &str, origin: Option<&str>| {
        let mut request = Request::post("/v1/models").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let checked = gate.check(&request.body(()).unwrap(), false, Target::Other);
        checked
            .map(|foreign| assert!(foreign.is_none()))
            .map_err(|error| error.status.as_u16())
    };
    for (host, origin, expected) in [
        ("ai.example.com", None, Ok(())),
        ("AI.example.com:443", Some("https://ai.example.com"), Ok(())),
        ("ai.lan:8000", Some("http://ai.lan:8000"), Ok(())),
        ("localhost:8088", Some("https://ai.example.com"), Ok(())),
        ("plain:8088", Some("http://plain:8088"), Ok(())),
        ("ai.example.com:80", None, Err(421)),
        ("ai.example.com:8088", None, Err(421)),
        ("u@ai.example.com", None, Err(421)),
        ("ai.lan", None, Err(421)),
        ("plain", None, Err(421)),
        ("ai.example.com", Some("http://ai.example.com"), Err(403)),
        ("ai.example.com", Some("https://u@ai.example.com"), Err(403)),
        ("ai.example.com", Some("https://bi.example.com"), Err(403)),
        ("ai.example.com", Some("https://plain"), Err(403)),
        ("ai.example.com", Some("null"), Err(403)),
    ] {
        assert_eq!(check(host, origin), expected, "{host} {origin:?}");
    }
    assert!(gate.is_secured_by_proxy("ai.example.com"));
    assert!(!gate.is_secured_by_proxy("ai.lan:8000"));
    assert!(!gate.is_secured_by_proxy("localhost:8088"));
}

#[test]
fn pages_of_other_sites_are_refused() {
    let ai = ("host", "ai");
    assert_eq!(check(&[ai, ("origin", "http://ai")]), Ok(()));
    for origin in [
        "null",
        "http://evil.example",
        "https://ai",
        "http://ai:8080",
        "",
    ] {
        assert_eq!(check(&[ai, ("origin", origin)]), Err(403), "{origin}");
    }
    assert_eq!(check(&[ai, ("sec-fetch-site", "none")]), Ok(()));
    for site in ["same-site", "cross-site"] {
        assert_eq!(check(&[ai, ("sec-fetch-site", site)]), Err(403), "{site}");
    }
}

#[test]
fn grants_decide_about_pages_of_other_sites_that_ask_for_models() {
    let text = r#"{"grants":[{"src":["(loopback)"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},
        {"set_cors":true,"cors_paths":["/v1/*"],"Access-Control-Allow-Origin":"https://chat.example.com"}]}}]}"#;
    let access = Access::compile(&config::parse(text, &|_| None).unwrap().file);
    let permit = access.permit(&Caller::loopback()).unwrap();
    let asks = |target, origin: &str, path: &str| {
        let headers = [
            ("host", "ai"),
            ("origin", origin),
            ("sec-fetch-site", "cross-site"),
        ];
        let foreign = checked(Method::POST, target, &headers)?.expect("it is foreign");
        let allowed = foreign.allowed(&permit, path);
        allowed.map(|_| ()).map_err(|error| error.status.as_u16())
    };
    let chat = "https://chat.example.com";
    assert_eq!(asks(Target::Models, chat, "/v1/messages"), Ok(()));
    assert_eq!(asks(Target::Models, chat, "/v1/chat/completions"), Err(403));
    for origin in [
        "https://evil.example",
        "http://chat.example.com",
        "null",
        "http://ai",
    ] {
        assert_eq!(
            asks(Target::Models, origin, "/v1/messages"),
            Err(403),
            "{origin}"
        );
    }
    for target in [Target::Page, Target::Other] {
        assert_eq!(asks(target, chat, "/v1/messages"), Err(403), "{target:?}");
    }
    // Without an origin, or with two, no page is known that a grant could name.
    let ai = ("host", "ai");
    let cross = ("sec-fetch-site", "cross-site");
    let twice = [ai, ("origin", chat), ("origin", chat)];
    for headers in [&[ai, cross][..], &twice] {
        assert_eq!(check_for(Method::POST, Target::Models, headers), Err(403));
    }
}

#[test]
fn a_link_on_another_site_leads_to_a_page_and_to_nothing_else() {
    let navigates = ("sec-fetch-mode", "navigate");
    let (window, frame) = (("sec-fetch-dest", "document"), ("sec-fetch-dest", "iframe"));
    for site in ["same-site", "cross-site"] {
        let from = [("host", "ai"), ("sec-fetch-site", site)];
        let with = |more: &[(&'static str, &'static str)]| [&from[..], more].concat();
        let link = with(&[navigates, window]);
        assert_eq!(check_for(Method::GET, Target::Page, &link), Ok(()));
        assert_eq!(check_for(Method::GET, Target::Other, &link), Err(403));
        assert_eq!(check_for(Method::POST, Target::Page, &link), Err(403));
        assert_eq!(check_for(Method::HEAD, Target::Page, &link), Err(403));
        for other in [
            with(&[]),
            with(&[window]),
            with(&[navigates]),
            with(&[navigates, frame]),
            with(&[("sec-fetch-mode", "no-cors"), window]),
            with(&[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]),
            with(&[navigates, window, frame]),
            with(&[navigates, window, ("origin", "null")]),
            with(&[navigates, window, ("origin", "http://evil.example")]),
        ] {
            assert_eq!(
                check_for(Method::GET, Target::Page, &other),
                Err(403),
                "{other:?}"
            );
        }
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    let ai = ("host", "ai");
    let long = ("content-length", "5");
    assert_eq!(check(&[ai, long]), Ok(()));
    assert_eq!(check(&[ai, long, long]), Err(400));
    assert_eq!(
        check(&[ai, long, ("transfer-encoding", "chunked")]),
        Err(400)
    );
    assert_eq!(check(&[ai, ("content_length", "5")]), Err(400));
    assert_eq!(check(&[ai, ("transfer_encoding", "chunked")]), Err(400));
    let coding = ("transfer-encoding", "chunked");
    assert_eq!(check(&[ai, coding]), Ok(()));
    assert_eq!(check(&[ai, coding, coding]), Err(400));
}

#[test]
fn a_target_names_the_same_host_and_the_scheme_of_its_connection() {
    let gate = Gate {
        names: vec!["ai".into()],
        port: 443,
        ..Gate::default()
    };
    let check = |version: Version, target: &str, host: Option<&str>, secure: bool| {
        let mut request = Request::builder().version(version).uri(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let checked = gate.check(&request.body(()).unwrap(), secure, Target::Other);
        checked
            .map(|foreign| assert!(foreign.is_none()))
            .map_err(|error| error.status.as_u16())
    };
    let (one, two, ai) = (Version::HTTP_11, Version::HTTP_2, Some("ai"));
    for (version, target, host, secure, expected) in [
        (one, "https://ai/", ai, true, Ok(())),
        (one, "https://other/", ai, true, Err(400)),
        (one, "https://ai/", None, true, Err(400)),
        (two, "https://ai/", None, true, Ok(())),
        (two, "https://ai/", ai, true, Ok(())),
        (two, "https://other/", ai, true, Err(400)),
        (two, "/", None, true, Err(400)),
        (one, "http://ai/", ai, true, Err(421)),
        (one, "https://ai:443/", Some("ai:443"), false, Err(421)),
        (one, "http://ai:443/", Some("ai:443"), false, Ok(())),
        // A proxy in between may have kept it as it was.
        (two, "http://ai/", None, true, Ok(())),
        (Version::HTTP_10, "http://ai/", ai, true, Err(421)),
    ] {
        let found = check(version, target, host, secure);
        assert_eq!(found, expected, "{version:?} {target} {host:?} {secure}");
    }
}
