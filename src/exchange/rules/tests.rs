//! Findings across the sections of a configuration.

use super::*;

fn findings(text: &str) -> Vec<Finding> {
    match config::parse(text, &|_| None) {
        Ok(loaded) => Rules::compile(loaded, 1).findings,
        Err(findings) => findings,
    }
}

fn has(text: &str, part: &str) -> bool {
    findings(text).iter().any(|one| one.message.contains(part))
}

const OK: &str = r#""providers":{"p":{"baseurl":"http://p","models":["m"]}}"#;

/// Each document causes a warning that contains the text. Aperture's catalogue has the same texts.
#[track_caller]
fn warns(cases: &[(String, &str)]) {
    for (document, message) in cases {
        let findings = findings(document);
        let found = findings.iter().find(|one| one.message.contains(message));
        let severity = found.map(|found| found.severity);
        assert_eq!(
            severity,
            Some(Severity::Warning),
            "{document}: {findings:?}"
        );
        assert!(config::parse(document, &|_| None).is_ok(), "{document}");
    }
}

#[test]
fn findings_of_a_document_word_by_word() {
    let provider = |more: &str| format!(r#"{{"providers":{{"p":{{"models":["m"]{more}}}}}}}"#);
    warns(&[
        (
            "{}".to_owned(),
            "no providers or mcp servers defined; users will not be able to access any models",
        ),
        (provider(""), "provider p has no baseurl configured"),
        (
            provider(r#","baseurl":"http://p","authorization":"basic""#),
            "provider p has invalid authorization type: basic",
        ),
        (
            r#"{"quotas":{"q":{"capacity":"5"}}}"#.to_owned(),
            "quota q: capacity \"5\" is not of the form",
        ),
        (
            r#"{"grants":[],"grants":[]}"#.to_owned(),
            "duplicate config key \"grants\"",
        ),
        (r#"{"grant":[]}"#.to_owned(), "unknown config key \"grant\""),
        (
            provider(r#","baseurl":5"#),
            "cannot unmarshal number into providers.p.baseurl of type string",
        ),
        (
            provider(r#","baseurl":"http://p","add_headers":["X-A value"]"#),
            "provider p: add_headers entry \"X-A…\" must be in \"Header-Name: value\" format",
        ),
        (
            r#"{"quotas":{"q:<x>":{"capacity":"$5"}}}"#.to_owned(),
            "quota \"q:<x>\": quota name \"q:<x>\" has unsupported template \"<x>\" after colon",
        ),
        (
            r#"{"hooks":{"h":{}}}"#.to_owned(),
            "hook h has no url configured",
        ),
        (
            r#"{"hooks":{"h":{"url":"ftp://x"}}}"#.to_owned(),
            "hook h has invalid URL scheme (must be http:// or https://): ftp://x",
        ),
        (
            r#"{"hooks":{"h":{"url":"http://x","authorization":"z"}}}"#.to_owned(),
            "hook h has invalid authorization type: z",
        ),
        (
            r#"{"exporters":{"s3":{"bucket_name":"b","prefix":"a/"}}}"#.to_owned(),
            "exporters.s3.prefix must not end with a slash",
        ),
        (
            format!("{{{OK}}}"),
            "no grant in grants or temp_grants assigns role:admin; nobody will be able to manage this instance",
        ),
        (
            format!("{{{OK}}}"),
            "providers are configured but no grants or temp_grants defined; all access will be denied",
        ),
    ]);
    // A document that can't be used has errors.
    let unset = findings(r#"{"a":"${GONE}"}"#);
    assert!(unset.iter().any(|one| one.severity == Severity::Error
        && one.message.contains("unsubstituted macros: [GONE]")));
    for document in [r#"{"a":"${GONE}"}"#, "{"] {
        assert!(config::parse(document, &|_| None).is_err(), "{document}");
    }
}

#[test]
fn findings_of_grants_word_by_word() {
    let grant = |object: &str| {
        let admin = r#"{"role":"admin"}"#;
        format!(
            r#"{{{OK},"grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[{admin},{object}]}}}}]}}"#
        )
    };
    warns(&[
        (
            grant(r#"{"modles":"**"}"#),
            "json: unknown field \"modles\"",
        ),
        (
            grant(r#"{"models":"q/**"}"#),
            "models pattern \"q/**\" references provider \"q\" which does not match any declared provider",
        ),
        (
            grant(r#"{"mcp_tools":"s/*"}"#),
            "mcp_tools pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
        ),
        (
            grant(r#"{"mcp_resources":"s/*"}"#),
            "mcp_resources pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
        ),
        (
            grant(r#"{"mcp_templates":"s/*"}"#),
            "mcp_templates pattern \"s/*\" references server \"s\" which does not match any declared MCP server",
        ),
        (
            grant(r#"{"send_hooks":[{"name":"h"}]}"#),
            "send_hooks references undefined hook \"h\"",
        ),
        (
            grant(r#"{"quotas":[{"bucket":"q"}]}"#),
            "quotas references undefined quota \"q\"",
        ),
        (
            grant(r#"{"quotas":[{"bucket":"q:<x>"}]}"#),
            "grants[0] grant 1 quotas[0]: bucket ref \"q:<x>\" has unsupported template \"<x>\"",
        ),
        (
            grant(r#"{"add_headers":["X-A value"]}"#),
            "add_headers entry \"X-A…\" must be in \"Header-Name: value\" format",
        ),
    ]);
}

#[test]
fn references_that_lead_nowhere_are_found() {
    let grant = |models: &str| {
        format!(
            r#"{{"providers":{{"lab-1":{{"baseurl":"http://p","models":["m"]}}}},"grants":[{{"src":["*"],
            "app":{{"tailscale.com/cap/aperture":[{{"role":"admin"}},{{"models":"{models}"}}]}}}}]}}"#
        )
    };
    for fine in ["**", "*/m", "lab-*/**", "lab-1/m"] {
        assert!(findings(&grant(fine)).is_empty(), "{fine}");
    }
    assert!(has(&grant("labs/**"), "references provider \"labs\""));
    let unlisted = r#"{"model_aliases":{"models":{"a":{"dst":["p/m"]}}}}"#;
    assert!(has(unlisted, "no provider lists"));
    let alias = |dst: &str| {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m:latest"]}}}},
            "model_aliases":{{"models":{{"a":{{"dst":["{dst}"]}}}}}}}}"#
        );
        has(&text, "no provider lists")
    };
    assert!(!alias("p/m") && !alias("p/m:latest") && alias("p/m:7b"));
    let shadows = |name: &str, dst: &str| {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m","other/x","tiny:latest"]}},"q":{{"baseurl":"http://q","models":["n"]}}}},
            "model_aliases":{{"models":{{"{name}":{{"dst":["{dst}"]}}}}}}}}"#
        );
        has(&text, "has the name of the model")
    };
    for name in ["m", "other/x", "p/m", "p/other/x", "tiny"] {
        assert!(shadows(name, "q/n"), "{name}");
    }
    for (name, dst) in [
        ("a", "p/m"),
        ("m", "p/m"),
        ("x", "q/n"),
        ("q/m", "q/n"),
        ("other/x", "p/other/x"),
    ] {
        assert!(!shadows(name, dst), "{name}");
    }
    let no_url = r#"{"providers":{"p":{"baseurl":"localhost:1","models":["m"]}}}"#;
    assert!(has(no_url, "baseurl of provider p"));
}

#[test]
fn direct_access_to_a_provider_that_can_not_be_asked_is_found() {
    let found = |provider: &str, path: &str| {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"]{provider}}}}},"grants":[{{"src":["*"],
            "app":{{"tailscale.com/cap/aperture":[{{"role":"admin"}},{{"direct_paths":["{path}"]}}]}}}}]}}"#
        );
        let found = findings(&text).into_iter();
        let found: Vec<_> = found
            .filter(|one| one.message.contains("opens nothing"))
            .collect();
        assert!(
            found
                .iter()
                .all(|one| one.path == "grants[0]" && one.hint.is_some())
        );
        found.into_iter().next().map(|one| one.message)
    };
    let own = r#","auth_mode":"passthrough""#;
    let expected = "direct_paths pattern \"/p/v1/**\" opens nothing: provider p takes only callers' own credentials, \
                    which direct access doesn't pass on";
    assert_eq!(found(own, "/p/v1/**").as_deref(), Some(expected));
    let disabled = found(r#","disabled":true"#, "/p/**").unwrap();
    assert!(disabled.ends_with("provider p is disabled"), "{disabled}");
    for fine in ["", r#","auth_mode":"passthrough","apikey":"k""#] {
        assert_eq!(found(fine, "/p/v1/**"), None, "{fine}");
    }
    assert_eq!(found(own, "/**"), None);
}
