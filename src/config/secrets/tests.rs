//! What is hidden, what comes back, and what may not.

use super::*;

const DOCUMENT: &str = r#"// keys
{
  "tailnet": { "auth_key": "CANARY-1", "tags": ["tag:ai"] }, /* "apikey": "no secret" */
  "providers": {
    "a": { "baseurl": "http://a", "apikey": "CANARY\u002d2", "models": ["m"],
      "add_headers": ["X-Team: red", "Authorization: Bearer CANARY-3", "X-Api-Key:CANARY-4",], },
    "b": { "baseurl": "http://b:1/v1?key=CANARY-7", "apikey": "${KEY}" },
    "c": { "apikey": "" },
    "d": { "apikey": 12345678, "description": "[redacted]" },
  },
  "grants": [
    { "src": ["a@x.org"], "app": { "cap": [{ "add_headers": ["X-Token: CANARY-8"] }] } },
    { "src": ["b@x.org"], "app": { "cap": [{ "add_headers": ["X-Token: CANARY-9"] }] } },
  ],
  "database": { "url": "postgres://iris:CANARY-5@db/iris?sslmode=require" },
  "exporters": { "otlp": { "endpoint": "http://o", "headers": { "authorization": "CANARY-6", "x-dataset": "iris" } } },
}
"#;

fn back(text: &str) -> Result<String, Vec<Finding>> {
    restored(text, DOCUMENT, &|_| false)
}

fn refused(text: &str) -> Finding {
    let mut findings = back(text).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn secrets_go_and_everything_else_stays() {
    let shown = redacted(DOCUMENT).unwrap();
    assert!(
        !shown.contains("CANARY") && !shown.contains("12345678"),
        "{shown}"
    );
    for kept in [
        "// keys\n",
        r#"/* "apikey": "no secret" */"#,
        r#""X-Team: red""#,
        r#""Authorization: [redacted]""#,
        r#""X-Api-Key:[redacted]",]"#,
        r#""${KEY}""#,
        r#""apikey": """#,
        r#""postgres://iris:[redacted]@db/iris?sslmode=require""#,
        r#""x-dataset": "iris""#,
    ] {
        assert!(shown.contains(kept), "{kept}: {shown}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_goes_too() {
    for misplaced in [
        r#"{"database":{"headers":{"authorization":"Bearer CANARY"}}}"#,
        r#"{"database":{"headers":["Authorization: Bearer CANARY"]}}"#,
        r#"{"exporters":{"authorization_token":"CANARY"}}"#,
        r#"{"headers":{"x-api-key":"CANARY"}}"#,
    ] {
        let shown = redacted(misplaced).unwrap();
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[test]
fn what_comes_back_is_what_was_there_byte_for_byte() {
    let shown = redacted(DOCUMENT).unwrap();
    assert_eq!(back(&shown).unwrap(), DOCUMENT);
    assert_eq!(redacted(&shown).unwrap(), shown);
    let marked = format!("\u{feff}{DOCUMENT}");
    let shown_marked = redacted(&marked).unwrap();
    assert_eq!(
        restored(&shown_marked, &marked, &|_| false).unwrap(),
        marked
    );
    // A secret that is written again is the new one; one that was taken away is gone.
    let changed = shown
        .replacen("\"[redacted]\"", "\"NEW\"", 1)
        .replace("\"X-Api-Key:[redacted]\",", "");
    let text = back(&changed).unwrap();
    assert!(text.contains("NEW") && !text.contains("CANARY-1") && !text.contains("CANARY-4"));
}

/// A small source of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'t>(&mut self, among: &[&'t str]) -> &'t str {
        among[self.below(among.len())]
    }

    fn literal(&mut self) -> String {
        let secret = format!("CANARY{:012x}", self.below(1 << 40));
        let value = match self.below(8) {
            0 => "${KEY}".to_owned(),
            1 => format!("https://u:{secret}@h/x?token={secret}&a=b"),
            2 => format!("Authorization: Bearer {secret}"),
            3 => format!("sk-{secret}"),
            4 => String::new(),
            5 => "plain \u{e9} \"text\"".to_owned(),
            6 => return self.below(1000).to_string(),
            _ => return "null".to_owned(),
        };
        quoted(&value).replace("CANARY", self.pick(&["CANARY", "C\\u0041NARY", "CANARY"]))
    }

    fn value(&mut self, depth: usize) -> String {
        let blank = self.pick(&["", " ", "\n  ", " // note\n", "/* x */"]);
        let inner = match self.below(if depth == 0 { 1 } else { 3 }) {
            0 => self.literal(),
            1 => {
                let count = self.below(4);
                let items: Vec<_> = (0..count).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let keys = ["apikey", "url", "add_headers", "headers", "a", "b", "token"];
                let count = self.below(5);
                let members: Vec<_> = (0..count)
                    .map(|_| format!("\"{}\":{}", self.pick(&keys), self.value(depth - 1)))
                    .collect();
                format!(
                    "{{{}{}}}",
                    members.join(","),
                    if members.is_empty() { "" } else { "," }
                )
            }
        };
        format!("{blank}{inner}{blank}")
    }
}

#[test]
fn to_hide_and_to_restore_changes_nothing_in_any_document() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut hidden = 0;
    for _ in 0..5_000 {
        let document = numbers.value(4);
        let shown = redacted(&document).unwrap();
        hidden += shown.matches(PLACEHOLDER).count();
        assert_eq!(redacted(&shown).unwrap(), shown, "{document}");
        let text = restored(&shown, &document, &|_| false);
        assert_eq!(text.as_deref(), Ok(&*document), "{shown}");
    }
    assert!(hidden > 5_000, "{hidden} secrets");
}

#[test]
fn a_placeholder_for_nothing_is_told_of() {
    let finding = refused(r#"{"providers":{"new":{"apikey":"[redacted]"}}}"#);
    assert_eq!(finding.path, "providers.new.apikey");
    // Where no secret can be, it stands for none.
    let finding = refused(r#"{"providers":{"b":{"name":"[redacted]"}}}"#);
    assert_eq!(finding.path, "providers.b.name");
    assert!(back("{").is_err() && redacted("{").is_err());
    // A file that cannot be read holds no secrets.
    assert!(restored(r#"{"apikey":"[redacted]"}"#, "{", &|_| false).is_err());
}

#[test]
fn a_secret_stays_with_the_server_that_it_was_for() {
    let shown = redacted(DOCUMENT).unwrap();
    for (from, to) in [
        ("\"http://a\"", "\"http://evil\""),
        ("\"http://a\"", "\"http://a:81\""),
        ("\"http://a\"", "\"https://a\""),
        ("\"http://a\"", "\"http://a@evil\""),
        ("\"http://a\"", "\"http://evil/x@a\""),
        ("\"http://a\"", "\"http://evil\\\\@a\""),
        ("\"http://a\"", "\"http://evil?@a\""),
        ("\"http://a\"", "\"http://a\", \"baseurl\": \"http://evil\""),
        ("\"http://a\"", "\"http://a\", \"network\": \"tailnet\""),
        ("\"http://a\"", "\"http://a\", \"tailnet\": true"),
        ("\"http://a\"", "\"http://a/tenants/evil\""),
        ("?sslmode=require", "?sslmode=require&host=evil"),
        ("\"http://a\"", "\"\""),
        ("\"http://o\"", "\"http://evil\""),
        ("@db/iris", "@evil/iris"),
        ("\"http://b:1/", "\"http://evil/"),
        (
            "\"auth_key\"",
            "\"control_url\": \"http://evil\", \"auth_key\"",
        ),
    ] {
        let changed = shown.replace(from, to);
        let findings = back(&changed).unwrap_err();
        let told = findings[0].message.as_str();
        assert!(
            told.contains("would now be sent elsewhere"),
            "{to}: {findings:#?}"
        );
        assert!(!format!("{findings:?}").contains("CANARY"));
    }
    // The reference is known here, and its value is as good a secret.
    let text = r#"{"providers":{"b":{"baseurl":"http://evil","apikey":"${KEY}"}}}"#;
    assert!(refused(text).message.contains("${KEY} was for http://b:1"));
    // Another path of the same server, and a new secret for another one.
    let changed = shown.replace("\"http://a\"", "\"http://A/v2\"");
    assert!(back(&changed).unwrap().contains("CANARY-3"));
    let changed = shown.replace("@db/iris", "@db/other");
    assert!(back(&changed).unwrap().contains("iris:CANARY-5@db/other"));
    let new = r#"{"providers":{"b":{"baseurl":"http://elsewhere","apikey":"mine"}}}"#;
    assert!(back(new).is_ok());
}

#[test]
fn each_way_to_another_recipient_is_seen() {
    let s3 = |more: &str| {
        format!(
            r#"{{"exporters":{{"s3":{{"access_key_id":"AKIA1","access_secret":"CANARY"{more}}}}}}}"#
        )
    };
    let provider = |section: &str, entry: &str| {
        format!(r#"{{{section}"providers":{{"p":{{"apikey":"CANARY",{entry}}}}}}}"#)
    };
    let hook = |url: &str| format!(r#"{{"hooks":{{"h":{{"url":"{url}","apikey":"CANARY"}}}}}}"#);
    let grant = |models: &str, url: &str| {
        format!(
            r#"{{"providers":{{"a":{{"baseurl":"http://a"}},"b":{{"baseurl":"{url}"}}}},
            "grants":[{{"src":["*"],"app":{{"c":[{{"models":"{models}","add_headers":["X-Token: CANARY"]}}]}}}}]}}"#
        )
    };
    let off = r#""tailnet":{"mode":"off"},"#;
    let evil = r#""tailnet":{"control_url":"https://evil.test"},"#;
    for (from, to, may) in [
        (
            s3(r#","bucket_name":"b""#),
            s3(r#","bucket_name":"evil""#),
            false,
        ),
        (
            s3(r#","bucket_name":"b""#),
            s3(r#","bucket_name":"b","region":"eu-west-1""#),
            false,
        ),
        (
            s3(r#","bucket_name":"b""#),
            s3(r#","bucket_name":"b","endpoint":"http://evil""#),
            false,
        ),
        (
            s3(r#","bucket_name":"b""#),
            s3(r#","bucket_name":"b","every":60"#),
            true,
        ),
        (
            provider("", r#""baseurl":"http://gpu""#),
            provider(off, r#""baseurl":"http://gpu""#),
            false,
        ),
        (
            provider("", r#""baseurl":"http://gpu""#),
            provider(evil, r#""baseurl":"http://gpu""#),
            false,
        ),
        (
            provider("", r#""baseurl":"http://100.64.0.9:80/v1""#),
            provider(evil, r#""baseurl":"http://100.64.0.9:80/v1""#),
            false,
        ),
        (
            provider("", r#""baseurl":"https://api.openai.com/v1""#),
            provider(off, r#""baseurl":"https://api.openai.com/v1""#),
            true,
        ),
        (
            provider("", r#""baseurl":"http://gpu""#),
            provider(
                "",
                r#""baseurl":"http://gpu","tailnet":false,"network":"auto""#,
            ),
            true,
        ),
        (
            hook("https://hooks.test/catch/1/"),
            hook("https://hooks.test/catch/2/"),
            false,
        ),
        (
            hook("https://hooks.test/v1/"),
            hook("https://hooks.test/"),
            true,
        ),
        (
            grant("b/**", "http://b"),
            grant("b/**", "http://evil"),
            false,
        ),
        (grant("**", "http://b"), grant("**", "http://evil"), false),
        (
            grant("a/**", "http://b"),
            grant("a/**", "http://evil"),
            true,
        ),
        (grant("a/**", "http://b"), grant("b/**", "http://b"), false),
    ] {
        let shown = redacted(&to).unwrap();
        assert!(!shown.contains("CANARY"), "{shown}");
        let back = restored(&shown, &from, &|_| false);
        assert_eq!(back.is_ok(), may, "{from} {to} {back:?}");
        if let Err(findings) = back {
            assert!(findings[0].message.contains("would now be sent elsewhere"));
        }
    }
}

#[test]
fn references_are_only_where_they_were_or_may_be() {
    let read = r#"{"providers":{"b":{"name":"${file:/etc/shadow}"}}}"#;
    assert!(refused(read).message.contains("does not stand here"));
    let allowed = |name: &str| name.starts_with("OPENAI_");
    let new = r#"{"providers":{"n":{"apikey":"${OPENAI_KEY}"}}}"#;
    assert!(back(new).is_err() && restored(new, DOCUMENT, &allowed).is_ok());
    let escaped = r#"{"providers":{"n":{"name":"$${OPENAI_KEY}"}}}"#;
    assert!(back(escaped).is_ok());
}

#[test]
fn items_of_lists_are_known_by_what_they_say() {
    let shown = redacted(DOCUMENT).unwrap();
    let (first, second) = (
        "    { \"src\": [\"a@x.org\"], \"app\": { \"cap\": [{ \"add_headers\": [\"X-Token: [redacted]\"] }] } },\n",
        "    { \"src\": [\"b@x.org\"], \"app\": { \"cap\": [{ \"add_headers\": [\"X-Token: [redacted]\"] }] } },\n",
    );
    // Two change places, and each keeps its own.
    let both = format!("{first}{second}");
    assert!(shown.contains(&both));
    let text = back(&shown.replace(&both, &format!("{second}{first}"))).unwrap();
    assert!(text.find("CANARY-9") < text.find("CANARY-8"), "{text}");
    // One goes.
    let text = back(&shown.replace(first, "")).unwrap();
    assert!(text.contains("CANARY-9") && !text.contains("CANARY-8"));
    // One says something else, in its place.
    let text = back(&shown.replace("\"b@x.org\"", "\"c@x.org\"")).unwrap();
    assert!(text.contains("CANARY-9"));
    // One of two that look alike goes: nobody knows which.
    let alike = r#"{"l":[{"token":"CANARY-1"},{"token":"CANARY-2"}]}"#;
    let findings = restored(r#"{"l":[{"token":"[redacted]"}]}"#, alike, &|_| false);
    assert_eq!(findings.unwrap_err()[0].path, "l[0].token");
}

#[test]
fn no_message_tells_a_secret() {
    let lookup = |name: &str| match name {
        "KEY" => Some("CANARY-env".to_owned()),
        "DB" => Some("mysql://u:CANARY-pw@h\n".to_owned()),
        _ => None,
    };
    for text in [
        r#"{"hooks":{"h":{"url":"ftp://u:CANARY-pw@h","apikey":"x"}}}"#,
        r#"{"database":{"url":"mysql://u:CANARY-pw@h"}}"#,
        r#"{"providers":{"p":{"apikey":"CANARY-key","authorization":"CANARY-key"}}}"#,
        r#"{"providers":{"p":{"apikey":"${KEY}","authorization":"CANARY-env"}}}"#,
        r#"{"providers":{"p":{"add_headers":["Authorization=CANARY-key"],"baseurl":"http://u:CANARY-pw@"}}}"#,
        r#"{"tailnet":{"hostname":"a CANARY-key","auth_key":"CANARY-key"}}"#,
        r#"{"providers":{"p":{"apikey":1CANARY}}}"#,
        r#"{"database":{"url":"mysql://u:${KEY}@h"}}"#,
        r#"{"database":{"url":"${DB}"}}"#,
        r#"{"database":{"url":"host=h password=${KEY}"}}"#,
        r#"{"hooks":{"h":{"url":"hooks.test/services/CANARY-0123456789"}}}"#,
        r#"{"hooks":{"h":{"url":"ftp://hooks.test/services/CANARY-0123456789"}}}"#,
        r#"{"hooks":{"h":{"url":"https://u:${KEY}@h"}}}"#,
        r#"{"exporters":{"otlp":{"endpoint":"https://CANARY-pw@h:x"}}}"#,
        r#"{"tailnet":{"control_url":"u:CANARY-pw@h"}}"#,
    ] {
        let findings = match crate::config::parse(text, &lookup) {
            Ok(loaded) => loaded.findings,
            Err(findings) => findings,
        };
        assert!(!findings.is_empty(), "{text}");
        assert!(!format!("{findings:?}").contains("CANARY"), "{findings:#?}");
    }
}

#[test]
fn to_hide_many_secrets_in_many_messages_takes_no_product_of_both() {
    let many = |count: usize| {
        let entries = (0..count).map(|nth| {
            format!(r#""p{nth}":{{"apikey":"sk-{nth:08}CANARY","authorization":"{nth:08} sk-{nth:08}CANARY"}}"#)
        });
        format!(
            r#"{{"providers":{{{}}}}}"#,
            entries.collect::<Vec<_>>().join(",")
        )
    };
    let work = |count: usize| {
        let root = parsed(&many(count)).unwrap();
        let hidden = Hidden::of(&root, &|_| None);
        let mut findings: Vec<Finding> = (0..count)
            .map(|nth| {
                let message = format!("invalid \"{nth:08} sk-{nth:08}CANARY\"");
                Finding::new(Severity::Warning, hujson::Position::default(), "", message)
            })
            .collect();
        let compared = hidden.hide(&mut findings);
        assert!(!format!("{findings:?}").contains("CANARY"));
        compared
    };
    let (few, many) = (work(100), work(1_000));
    assert!((1..=few * 10).contains(&many), "{few} {many}");
}
