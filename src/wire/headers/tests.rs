//! What passes in each direction, and what is kept and shown of it.

use super::*;

const OWN: OwnHeaders = OwnHeaders {
    credentials: &["authorization", "x-api-key"],
    account: &["openai-organization"],
};
const KNOWN: &[&[&str]] = &[&["accept", "user-agent", "x-session-id", "x-stainless-*"]];

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    map
}

#[test]
fn identity_and_credentials_stay_here() {
    let given = map(&[
        ("tailscale-user-login", "root"),
        ("tailscale_user_login", "root"),
        ("x-forwarded-for", "100.64.0.9"),
        ("x-webauth-user", "root"),
        ("authorization", "Bearer mine"),
        ("x-api-key", "mine"),
        ("cookie", "a=b"),
        ("connection", "x-secret-hop, close"),
        ("x-secret-hop", "1"),
        ("openai-organization", "acme"),
        ("x-unknown", "1"),
        ("x-session-id", "s1"),
        ("x-stainless-os", "linux"),
        ("x-named", "1"),
        ("user-agent", "curl/8"),
    ]);
    let more = [HeaderName::from_static("x-named")];
    let out = forwarded(&given, KNOWN, &more, None).headers;
    let names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
    let expected = ["x-session-id", "x-stainless-os", "x-named", "user-agent"];
    assert_eq!(names, expected);
}

#[test]
fn an_account_goes_with_its_own_credential_alone() {
    let account = ("openai-organization", "acme");
    let own = map(&[("authorization", "Bearer mine"), account]);
    let out = forwarded(&own, KNOWN, &[], Some(&OWN)).headers;
    assert!(out.contains_key(account.0));
    let out = forwarded(&own, KNOWN, &[], None).headers;
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn responses_in_other_forms_are_not_asked_for() {
    for (accept, passes) in [
        ("application/json", true),
        ("application/json, text/event-stream;q=0.9, */*", true),
        ("audio/mpeg", true),
        ("application/x-protobuf", false),
        ("application/json, application/x-protobuf", false),
    ] {
        let out = forwarded(&map(&[("accept", accept)]), KNOWN, &[], None).headers;
        assert_eq!(out.contains_key("accept"), passes, "{accept}");
    }
    let given = "application/json;type=protobuf;q=0.5, Text/Event-Stream; fields=x";
    let out = forwarded(&map(&[("accept", given)]), KNOWN, &[], None).headers;
    assert_eq!(out["accept"], "application/json;q=0.5, text/event-stream");
}

#[test]
fn pages_of_a_provider_are_no_pages_of_the_gateway() {
    for (kind, is_page) in [
        ("text/html; charset=utf-8", true),
        ("image/svg+xml", true),
        ("application/xhtml+xml", true),
        ("text/plain", true),
        ("", true),
        ("application/json, text/html", true),
        ("application/json", false),
        ("text/event-stream; charset=utf-8", false),
        ("audio/mpeg", false),
        ("image/png", false),
    ] {
        let mut given = map(&[("content-type", kind), ("content-security-policy", "x")]);
        returned(&mut given, &[&["content-type"]], &[]);
        let policy = given.get("content-security-policy");
        assert_eq!(policy.is_some(), is_page, "{kind}");
        assert!(policy.is_none_or(|policy| policy.as_bytes().starts_with(b"sandbox")));
        assert_eq!(given.contains_key("x-content-type-options"), is_page);
    }
    let mut untyped = HeaderMap::new();
    returned(&mut untyped, &[], &[]);
    assert_eq!(untyped.len(), 2);
}

#[test]
fn limits_are_told_and_accounts_are_not() {
    let mut given = map(&[
        ("content-type", "application/json"),
        ("x-ratelimit-remaining-tokens", "1"),
        ("x-ratelimit-account", "acct_1"),
        ("x-codex-primary-used-percent", "1"),
        ("x-codex-credits-balance", "12.50"),
    ]);
    returned(
        &mut given,
        &[&["content-type", "x-ratelimit-*", "x-codex-*"]],
        &[],
    );
    let mut names: Vec<&str> = given.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-type",
            "x-codex-primary-used-percent",
            "x-ratelimit-remaining-tokens"
        ]
    );
}

#[test]
fn pass_headers_name_nothing_that_is_the_gateways() {
    for name in ["X-Team", "openai-organization", "helicone-target-url"] {
        assert!(is_passable(name), "{name}");
    }
    let own = "Authorization X-Api-Key x_api_key Cookie Set-Cookie Connection Transfer-Encoding Host \
        Content-Length Accept-Encoding X-Forwarded-User Tailscale-User-Login Private-Token \
        X-Iris-Request-Id Clear-Site-Data X-Goog-FieldMask";
    for name in own.split(' ') {
        assert!(!is_passable(name), "{name}");
    }
}

#[test]
fn the_first_subprotocol_that_is_no_key_is_taken() {
    let offered = |value: &str| subprotocol(&map(&[("sec-websocket-protocol", value)]));
    assert_eq!(offered("a.v1, b").unwrap(), "a.v1");
    assert_eq!(
        offered("openai-insecure-api-key.k,realtime").unwrap(),
        "realtime"
    );
    assert_eq!(offered("openai-insecure-api-key.k"), None);
    assert_eq!(
        offered("openai-organization.o, openai-project.p, b").unwrap(),
        "b"
    );
    assert_eq!(subprotocol(&HeaderMap::new()), None);
}

#[test]
fn passthrough_keeps_the_credential_of_the_format_only() {
    let given = map(&[
        ("authorization", "Bearer mine"),
        ("x-api-key", "-"),
        ("x_api_key", "mine"),
        ("x-goog-api-key", "mine"),
        ("x-goog-user-project", "mine"),
        ("cookie", "a=b"),
    ]);
    let out = forwarded(&given, KNOWN, &[], Some(&OWN)).headers;
    assert_eq!(out.len(), 1, "{out:?}");
    assert_eq!(out.get("authorization").unwrap(), "Bearer mine");
}

#[test]
fn a_placeholder_does_not_count_as_a_credential() {
    for (value, is_one) in [
        ("Bearer sk-ant-oat01-x", true),
        ("Basic dTpw", true),
        ("sk-x", true),
        ("Bearer -", false),
        ("bearer  not-needed", false),
        ("Bearer not-required", false),
        ("Bearer", false),
        ("Bearer ", false),
        ("-", false),
        (" ", false),
        ("", false),
    ] {
        for name in ["authorization", "x-api-key"] {
            let given = map(&[(name, value)]);
            assert_eq!(OWN.has_credential(&given), is_one, "{name}: {value:?}");
        }
        assert!(!OWN.has_credential(&map(&[("x-goog-api-key", value)])));
    }
}

#[test]
fn what_is_kept_shows_no_credential() {
    let shown = redacted(&map(&[
        ("authorization", "Bearer s3cret"),
        ("x-goog-api-key", "s3cret"),
        ("x-amz-security-token", "s3cret"),
        ("x-my-password", "s3cret"),
        ("x_api_key", "s3cret"),
        ("chatgpt-account-id", "s3cret"),
        ("user-agent", "curl"),
    ]));
    assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
    assert_eq!(shown.iter().last(), Some(("user-agent", "curl")));
}

#[test]
fn responses_set_no_state_and_reveal_no_key() {
    let mut given = map(&[
        ("set-cookie", "a=b"),
        ("location", "http://elsewhere/?key=k"),
        ("authorization", "Bearer k"),
        ("transfer-encoding", "chunked"),
        ("access-control-allow-origin", "*"),
        ("tailscale-user-login", "root"),
        ("clear-site-data", "\"storage\""),
        ("x-iris-request-id", "forged"),
        ("content-type", "application/json"),
        ("x-request-id", "r"),
    ]);
    returned(&mut given, &[&["content-type", "x-request-id"]], &[]);
    let mut names: Vec<&str> = given.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "x-request-id"]);
}
