//! The document as an operator writes it, and what the check says of it.

use super::*;

fn findings(text: &str) -> Vec<String> {
    let all = match parse(text, &|_| None) {
        Ok(loaded) => loaded.findings,
        Err(findings) => findings,
    };
    all.iter().map(ToString::to_string).collect()
}

fn says(text: &str, wanted: &str) {
    let all = findings(text);
    assert!(
        all.iter().any(|finding| finding.contains(wanted)),
        "{wanted:?} is not in {all:#?}"
    );
}

#[test]
fn the_seven_lines_of_the_guide() {
    let text = r#"{
  "providers": {
    "private": {
      "baseurl": "http://100.64.0.1:8080/v1",
      "models": ["qwen3-coder-30b", "llama-3.1-70b"]
    }
  }
}"#;
    let loaded = parse(text, &|_| None).unwrap();
    let provider = &loaded.file.providers["private"];
    assert_eq!(provider.models, ["qwen3-coder-30b", "llama-3.1-70b"]);
    assert!(provider.compatibility.has("openai_chat"));
    assert_eq!(provider.authorization, Authorization::Bearer);
    says(
        text,
        "providers are configured but no grants or temp_grants defined",
    );
    says(text, "assigns role:admin");
}

#[test]
fn what_is_no_object_is_no_configuration() {
    for text in ["[]", "null", "7", "\"{}\""] {
        assert!(parse(text, &|_| None).is_err(), "{text}");
        says(text, "error: a configuration is an object, not");
    }
}

#[test]
fn mistyped_keys_are_told_with_what_was_meant() {
    let grant = |object: &str| {
        format!(
            r#"{{"grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[{object}]}}}}]}}"#
        )
    };
    for (text, meant) in [
        (r#"{"grnats":[]}"#.to_owned(), "grants"),
        (r#"{"provdiers":{}}"#.to_owned(), "providers"),
        (
            r#"{"providers":{"p":{"modles":["m"]}}}"#.to_owned(),
            "models",
        ),
        (
            r#"{"providers":{"p":{"compatibility":{"openai_chta":true}}}}"#.to_owned(),
            "openai_chat",
        ),
        (
            r#"{"database":{"retention":{"duraton":"1h"}}}"#.to_owned(),
            "duration",
        ),
        (
            r#"{"exporters":{"otlp":{"endpiont":"http://o"}}}"#.to_owned(),
            "endpoint",
        ),
        (r#"{"grants":[{"scr":["*"],"app":{}}]}"#.to_owned(), "src"),
        (grant(r#"{"modles":"**"}"#), "models"),
        (grant(r#"{"quotas":[{"bukcet":"q"}]}"#), "bucket"),
        (
            r#"{"grants":[{"src":["*"],"app":{"tailscale.com/cap/apreture":[]}}]}"#.to_owned(),
            "tailscale.com/cap/aperture",
        ),
    ] {
        let all = parse(&text, &|_| None).map_or_else(|all| all, |loaded| loaded.findings);
        let hint = format!("did you mean {meant:?}?");
        let found = all
            .iter()
            .find(|one| one.hint.as_ref().is_some_and(|it| it.contains(&hint)));
        let found = found.unwrap_or_else(|| panic!("{text}: {all:#?}"));
        assert_eq!(found.severity, Severity::Warning);
        assert_eq!(found.subject, Some(Subject::Typo));
    }
    let none = findings(r#"{"x-comment":"mine"}"#);
    assert!(
        !none.iter().any(|one| one.contains("did you mean")),
        "{none:#?}"
    );
}

#[test]
fn an_admin_that_is_a_placeholder_is_reported() {
    let grant = |src: &str| {
        format!(
            r#"{{"grants":[{{"src":["{src}"],"app":{{"tailscale.com/cap/aperture":[{{"role":"admin"}}]}}}}]}}"#
        )
    };
    for name in ["me", "ME", "you", "admin", "everyone"] {
        says(
            &grant(name),
            "is a placeholder and matches nobody [grants[0].src[0]]",
        );
    }
    says(
        &grant("you@example.com"),
        "note: \"you@example.com\" is the example",
    );
    says(
        r#"{"temp_grants":[{"src":["me"],"grants":[{"role":"admin"}]}]}"#,
        "\"me\" is a placeholder",
    );
    for name in [
        "*",
        "(loopback)",
        "alice@example.com",
        "me@home.test",
        "tag:me",
    ] {
        let found = findings(&grant(name));
        assert!(
            !found.iter().any(|one| one.contains("src[0]")),
            "{found:#?}"
        );
    }
}

#[test]
fn the_catalogue_of_messages() {
    let provider = |fields: &str| {
        format!(r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"],{fields}}}}}}}"#)
    };
    says("{}", "no providers or mcp servers defined");
    says(
        r#"{"providers":{"p":{"models":["m"]}}}"#,
        "provider p has no baseurl configured",
    );
    says(
        &provider(r#""authorization":"basic""#),
        "provider p has invalid authorization type: basic",
    );
    says(
        r#"{"a":"${X}","b":["${Y}"]}"#,
        "error: unsubstituted macros: [X Y]",
    );
    says(
        r#"{"quotas":{"d":{"capacity":"5","rate":"$1/day"}}}"#,
        "warning: quota d: capacity",
    );
    says(
        r#"{"quotas":{"d":{"capacity":"$5","rate":"$1/year"}}}"#,
        "quota d: rate",
    );
    says(
        r#"{"quotas":{"d:<x>":{"capacity":"$5","rate":"$1/day"}}}"#,
        "unsupported template \"<x>\"",
    );
    says(
        r#"{"grants":[],"grants":[]}"#,
        "1:14: warning: duplicate config key \"grants\"",
    );
    says(r#"{"Grants":[]}"#, "unknown config key \"Grants\"");
    says(r#"{"Grants":[]}"#, "told apart by case: \"grants\"");
    says(
        &provider(r#""preference":"1""#),
        "cannot unmarshal string into providers.p.preference",
    );
    says(
        &provider(r#""add_headers":["X-A value"]"#),
        "provider p: add_headers entry \"X-A…\" must be in \"Header-Name: value\" format",
    );
    says(r#"{"hooks":{"h":{}}}"#, "hook h has no url configured");
    says(
        r#"{"hooks":{"h":{"url":"ftp://x"}}}"#,
        "hook h has invalid URL scheme",
    );
    says(
        r#"{"hooks":{"h":{"url":"http://x","authorization":"z"}}}"#,
        "invalid authorization type: z",
    );
    says(
        r#"{"exporters":{"s3":{"prefix":"a/"}}}"#,
        "exporters.s3.prefix must not end with a slash",
    );
    let grant = |fields: &str| format!(r#"{{"grants":[{{"src":["*"],{fields}}}]}}"#);
    says(
        &grant(r#""dst":["tag:ai"],"app":{}"#),
        "error: a grant of this file has no dst",
    );
    let object = |object: &str| {
        grant(&format!(
            r#""app":{{"tailscale.com/cap/aperture":[{object}]}}"#
        ))
    };
    says(
        &object(r#"{"modles":"**"}"#),
        "json: unknown field \"modles\"",
    );
    says(
        &object(r#"{"role":"root"}"#),
        "\"root\" is not one of user, admin",
    );
    says(
        &object(r#"{"quotas":[{"bucket":"d:<team>"}]}"#),
        "grants[0] grant 0 quotas[0]: bucket ref \"d:<team>\" has unsupported template",
    );
}

#[test]
fn findings_stand_where_the_mistake_does() {
    let text = "{\n  // a comment\n  \"providers\": {\n    \"p\": { \"baseurl\": 5 },\n  },\n}";
    let loaded = parse(text, &|_| None).unwrap();
    let wrong = loaded
        .findings
        .iter()
        .find(|one| one.message.contains("unmarshal"))
        .unwrap();
    assert_eq!((wrong.at.line, wrong.at.column), (4, 23));
    assert_eq!(wrong.path, "providers.p.baseurl");
}

#[test]
fn mistakes_in_our_own_sections_are_errors() {
    for text in [
        r#"{"tailnet":{"mode":"on"}}"#,
        r#"{"tailnet":{"hostname":"a b"}}"#,
        r#"{"tailnet":{"auth_key":"tskey-client-x"}}"#,
        r#"{"listen":{"loopback":"0.0.0.0:80"}}"#,
        r#"{"listen":{"http":"80"}}"#,
        r#"{"groups":{"eng":[]}}"#,
        r#"{"limits":{"request_body":0}}"#,
        r#"{"limits":{"request_head":100}}"#,
        r#"{"limits":{"connections":9000000000000000000}}"#,
        r#"{"limits":{"memory":1000}}"#,
        r#"{"listen":{"names":["ai.example.com:443"]}}"#,
        r#"{"listen":{"names":["https://ai.example.com/v1"]}}"#,
        r#"{"listen":{"names":["https://user@ai.example.com"]}}"#,
        r#"{"listen":{"names":["ftp://ai.example.com"]}}"#,
        r#"{"listen":{"names":["ai example"]}}"#,
        r#"{"listen":{"names":[""]}}"#,
        r#"{"timeouts":{"total":"9000000h"}}"#,
        r#"{"timeouts":{"idle":"soon"}}"#,
        r#"{"providers":{"a/b":{}}}"#,
        r#"{"prices":{"m":{"input":"$1"}}}"#,
        r#"{"prices":{"m":{"input":-1}}}"#,
        r#"{"prices":{"m":{"output":true}}}"#,
        r#"{"prices":{"m":{"input":"1","context_window_tokens":-5}}}"#,
    ] {
        assert!(parse(text, &|_| None).is_err(), "{text}");
    }
}

#[test]
fn names_are_hosts_and_urls_of_proxies() {
    let text = r#"{"limits":{"memory":536870912},"listen":{"names":["ai", " ai.example.com ",
        "https://ai.example.com", "http://ai.lan:8000/"]}}"#;
    let file = parse(text, &|_| None).unwrap().file;
    assert_eq!(file.limits.memory, Some(512 << 20));
    assert_eq!(parse("{}", &|_| None).unwrap().file.limits.memory, None);
    let hosts: Vec<&str> = file.listen.names.iter().map(|name| host_of(name)).collect();
    let expected = ["ai", "ai.example.com", "ai.example.com", "ai.lan"];
    assert_eq!(hosts, expected);
}

#[test]
fn compatibility_that_names_another_format_clears_chat() {
    let flags = |flags: &str| {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"],"compatibility":{flags}}}}}}}"#
        );
        parse(&text, &|_| None).unwrap().file.providers["p"]
            .compatibility
            .clone()
    };
    assert!(flags("{}").has("openai_chat"));
    assert!(!flags(r#"{"anthropic_messages":true}"#).has("openai_chat"));
    assert!(flags(r#"{"anthropic_messages":true,"openai_chat":true}"#).has("openai_chat"));
    assert!(!flags(r#"{"openai_chat":false}"#).has("openai_chat"));
}

#[test]
fn legacy_grants_mean_the_same() {
    let text = r#"{"temp_grants":[{"src":["*"],"grants":[
        {"role":"admin"},{"providers":[{"provider":"*","model":"*"}]}]}]}"#;
    let file = parse(text, &|_| None).unwrap().file;
    let objects: Vec<_> = file.grants[0].app[CAPABILITY]
        .iter()
        .map(|raw| raw.get())
        .collect();
    assert_eq!(objects, [r#"{"role":"admin"}"#, r#"{"models":"*/**"}"#]);
}

#[test]
fn secrets_come_from_elsewhere_and_are_never_shown() {
    let lookup = |name: &str| (name == "KEY").then(|| "sk-very-secret".to_owned());
    let text = r#"{"providers":{"p":{"baseurl":"http://p","models":["m"],"apikey":"${KEY}"}}}"#;
    let loaded = parse(text, &lookup).unwrap();
    assert_eq!(loaded.file.providers["p"].apikey.expose(), "sk-very-secret");
    assert!(!format!("{loaded:?}").contains("very-secret"));
}

#[test]
fn what_signatures_of_aws_need_is_found_missing() {
    let found = |provider: &str| -> Vec<String> {
        let text = format!(
            r#"{{"providers":{{"aws":{{"models":["m"],"authorization":"aws-sigv4",{provider}}}}}}}"#
        );
        let mut all = findings(&text);
        all.retain(|finding| finding.contains("provider aws"));
        all
    };
    let runtime = r#""baseurl":"https://bedrock-runtime.eu-west-1.amazonaws.com""#;
    let none: [String; 0] = [];
    assert_eq!(found(&format!(r#"{runtime},"apikey":"A:s""#)), none);
    assert_eq!(found(&format!(r#"{runtime},"apikey":"A:s:t""#)), none);
    let here = r#""baseurl":"http://100.64.0.1","apikey":"A:s""#;
    assert_eq!(found(&format!(r#"{here},"region":"eu-west-1""#)), none);
    let missing = found(here);
    assert!(missing[0].contains("needs a region"), "{missing:?}");
    let wrong = found(&format!(r#"{runtime},"apikey":"hidden""#));
    assert!(wrong[0].contains("ACCESS_KEY_ID:SECRET"), "{wrong:?}");
    assert!(!wrong[0].contains("hidden"), "{wrong:?}");
}

#[test]
fn prices_are_read_as_written() {
    use crate::base::money::{Field, Mode};
    let text = r#"{"prices":{"lab/m":{"input":0.1,"output":"2.50","input_above_200k":1e-3,
        "modes":{"batch":{"input":"0.05"}},"context_window_tokens":1000}}}"#;
    let price = parse(text, &|_| None).unwrap().file.prices["lab/m"].clone();
    let rate = |mode, prompt| {
        let rates = price.rates(mode, prompt);
        rates.get(Field::Input).unwrap().dollars(Field::Input)
    };
    assert_eq!(rate(Mode::Standard, 1), "0.1");
    assert_eq!(rate(Mode::Standard, 200_001), "0.001");
    assert_eq!(rate(Mode::Batch, 1), "0.05");
    assert_eq!(price.context_window, Some(1_000));
}

#[test]
fn prices_that_are_none() {
    let provider = |fields: &str| {
        format!(r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"],{fields}}}}}}}"#)
    };
    says(
        &provider(r#""cost_basis":"acme""#),
        "provider p has invalid cost_basis: acme",
    );
    says(
        &provider(r#""model_cost_map":[{"match":"*","as":"m","adjustment":-1}]"#),
        "adjustment is a number",
    );
    says(
        r#"{"prices":{"m":{"input":"1","inptu":"2"}}}"#,
        "1:37: warning: unknown config key \"inptu\"",
    );
    says(r#"{"prices":{"m":{}}}"#, "prices nothing");
}
