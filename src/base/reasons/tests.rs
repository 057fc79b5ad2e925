//! Each reason as databases hold it, and as people read it.

use super::*;

/// Each reason as databases hold it, and as people read it.
const ALL: &[(&str, &str)] = &[
    (
        r#"{"caller":{"caller":"ann@x.org","node":"laptop","role":"user","grant":"grants[0], line 3"}}"#,
        "caller ann@x.org on node laptop, role user by grants[0], line 3",
    ),
    (
        r#"{"assumed_caller":{"caller":"ann@x.org","node":"laptop"}}"#,
        "the caller is ann@x.org on node laptop",
    ),
    (
        r#"{"role":{"role":"admin","grant":"grants[0], line 3"}}"#,
        "role admin by grants[0], line 3",
    ),
    (
        r#"{"speaks_for":{"login":"ann@x.org","grants":["grants[0], line 3","grants[2], line 9"]}}"#,
        "it speaks for ann@x.org (grants that match ann@x.org: grants[0], line 3; grants[2], line 9)",
    ),
    (
        r#""no_role""#,
        "no grant of the configuration gives this caller a role",
    ),
    (
        r#"{"grants":{"grants":["grants[0], line 3","grants[2], line 9"]}}"#,
        "grants that match this caller: grants[0], line 3; grants[2], line 9",
    ),
    (
        r#"{"policy_unknown":{"login":"ann@x.org"}}"#,
        "only the configuration was asked: what the tailnet policy grants ann@x.org is known \
         once they have called",
    ),
    (
        r#"{"alias":{"alias":"fast","provider":"p","model":"m/n","strategy":"first"}}"#,
        "alias \"fast\" stands for \"p/m/n\" (first)",
    ),
    (
        r#"{"latest_tag":{"name":"tiny","model":"tiny:latest"}}"#,
        "\"tiny\" stands for \"tiny:latest\"",
    ),
    (
        r#"{"granted":{"pattern":"p/**","grant":"grants[0], line 3"}}"#,
        "models pattern \"p/**\" of grants[0], line 3",
    ),
    (
        r#"{"direct":{"pattern":"/p/v1/**","grant":"grants[0], line 3"}}"#,
        "direct_paths pattern \"/p/v1/**\" of grants[0], line 3",
    ),
    (
        r#"{"not_direct":{"path":"/p/v1/files"}}"#,
        "no grant gives direct access to /p/v1/files",
    ),
    (
        r#"{"only_provider":{"provider":"p","model":"m"}}"#,
        "provider p is the only one with \"m\"",
    ),
    (
        r#"{"preferred_provider":{"provider":"p","preference":-1,"others":2,"model":"m"}}"#,
        "provider p (preference -1) before 2 other(s) with \"m\"",
    ),
    (
        r#"{"failing_last":{"providers":["p","q"]}}"#,
        "put off because they fail: p, q",
    ),
    (
        r#"{"limited_last":{"providers":[{"provider":"p","seconds":3},{"provider":"q","seconds":60}]}}"#,
        "put off because they are limited: p for 3 s, q for 60 s",
    ),
    (
        r#"{"only_holder":{"provider":"p"}}"#,
        "provider p holds what the request names, and no other does",
    ),
    (
        r#"{"holder":{"provider":"p"}}"#,
        "provider p made what the request names",
    ),
    (
        r#"{"alternative":{"provider":"p","model":"m"}}"#,
        "if that fails, provider p as \"m\"",
    ),
    (
        r#"{"not_served":{"model":"m"}}"#,
        "no provider serves \"m\"",
    ),
    (
        r#"{"not_listed":{"model":"m"}}"#,
        "no enabled provider lists \"m\"",
    ),
    (
        r#"{"not_granted":{"models":["p/m","q/m"]}}"#,
        "no grant covers any of p/m, q/m",
    ),
    (
        r#"{"not_granted_to_caller":{"models":["p/m","q/m"]}}"#,
        "no grant of this caller covers any of p/m, q/m",
    ),
    (
        r#"{"other_format":{"model":"m","through":["a","b"],"format":"c"}}"#,
        "model \"m\" is available through a, b, not c",
    ),
    (
        r#"{"speaks_other":{"through":["a","b"],"format":"c"}}"#,
        "the provider speaks a, b, not c: set its `compatibility`, or use another endpoint",
    ),
    (
        r#"{"translated":{"provider":"p","from":"chat","to":"messages","dropped":["seed","user"]}}"#,
        "translated for provider p: chat → messages; left out: seed, user",
    ),
    (
        r#"{"untranslatable":{"provider":"p","why":"`n` can't be translated"}}"#,
        "not translated for provider p: `n` can't be translated",
    ),
    (
        r#"{"own_credential":{"provider":"p"}}"#,
        "provider p gets the caller's own credential: the caller's account pays",
    ),
    (
        r#"{"no_credential":{"provider":"p"}}"#,
        "provider p is passed over: it takes the caller's own credential, and got none",
    ),
    (
        r#"{"other_server":{"provider":"p"}}"#,
        "provider p can't help out: it is another server than the one that gets the caller's own credential",
    ),
    (
        r#"{"held":{"buckets":["day","team"],"left":["tokens",120],"held":["money",30000000],"grants":"grants[0], line 3"}}"#,
        "bucket day, then team has 120 tokens; $0.03 held for this request (grants[0], line 3)",
    ),
    (
        r#"{"pays":{"buckets":["day (up to $5.00)","team (up to $9.00)"],"grants":"grants[0], line 3"}}"#,
        "bucket day (up to $5.00), then team (up to $9.00) pays (grants[0], line 3)",
    ),
    (
        r#"{"never_paid":{"why":"no such bucket"}}"#,
        "every request is refused with 429: no such bucket",
    ),
    (
        r#"{"unpaid":{"provider":"p"}}"#,
        "no budget pays for provider p; asking another",
    ),
    (
        r#"{"guard_reports":{"guard":"g","found":["1 × email","2 × phone"]}}"#,
        "guard g has found 1 × email; guard g has found 2 × phone",
    ),
    (
        r#"{"guard_removes":{"guard":"g","what":"1 × email"}}"#,
        "guard g has taken out 1 × email",
    ),
    (
        r#"{"guard_blocks":{"guard":"g","what":"1 × email"}}"#,
        "guard g blocks it for 1 × email",
    ),
    (
        r#"{"hook_allows":{"hook":"h","ms":7}}"#,
        "hook h allows it (7 ms)",
    ),
    (
        r#"{"hook_modifies":{"hook":"h","ms":7}}"#,
        "hook h changes the request (7 ms)",
    ),
    (
        r#"{"hook_blocks":{"hook":"h","message":"no","ms":7}}"#,
        "hook h blocks it: no (7 ms)",
    ),
    (
        r#"{"hook_failed_closed":{"hook":"h","why":"it answered 500","ms":7}}"#,
        "hook h failed, and nothing may pass then: it answered 500 (7 ms)",
    ),
    (
        r#"{"hook_failed_open":{"hook":"h","why":"it answered 500","ms":7}}"#,
        "hook h failed, and is passed over: it answered 500 (7 ms)",
    ),
    (
        r#"{"unchecked":{"provider":"p","guardrail":"g"}}"#,
        "provider p can't take over: g has not looked at the request",
    ),
    (
        r#"{"attempt_failed":{"attempt":1,"provider":"p","ms":12.345,"why":"it answered 503 Service Unavailable","next":"another"}}"#,
        "attempt 1 at provider p failed after 12 ms: it answered 503 Service Unavailable; asking \
         another",
    ),
    (
        r#"{"new_connection":{"provider":"p","ms":3.6,"why":"reset"}}"#,
        "attempt at provider p failed after 4 ms: reset; asking it again on a new connection",
    ),
    (
        r#"{"without_stream_options":{"provider":"p","ms":3.0,"status":"400 Bad Request"}}"#,
        "attempt at provider p failed after 3 ms: it answered 400 Bad Request to \
         `stream_options`; asking it again without them",
    ),
    (
        r#"{"spared":{"provider":"p","model":"m","buckets":["b: $1.00 left of $9.00","c: $0.00 left of $1.00"]}}"#,
        "put off because a budget runs low: \"p/m\" (b: $1.00 left of $9.00, c: $0.00 left of $1.00)",
    ),
    (
        r#"{"other_key":{"provider":"p","status":"429 Too Many Requests","key":1,"next":2}}"#,
        "provider p answered 429 Too Many Requests to key 1; asking it again with key 2",
    ),
    (
        r#"{"cached":{"provider":"p"}}"#,
        "the response of provider p to the same request was kept, and is given again",
    ),
    (
        r#"{"kept_connection_closed":{"provider":"p"}}"#,
        "provider p closed a kept connection before it answered; asking it again on a new one",
    ),
    (
        r#"{"estimated_count":{"provider":"p"}}"#,
        "provider p does not count tokens: the count is an estimate",
    ),
    (
        r#"{"nothing_to_load":{"provider":"p"}}"#,
        "provider p is not asked: it has no model to load or unload",
    ),
    (
        r#"{"dearer_model":{"provider":"p","model":"m"}}"#,
        "provider p says that it used model \"m\": its price is charged, which is higher",
    ),
    (
        r#"{"provider_batch":{"provider":"p"}}"#,
        "provider p runs it in a batch of its own, at the price of batches",
    ),
    (r#""route: \"fast\" is main""#, "route: \"fast\" is main"),
    (r#"{"later":{"a":1}}"#, r#"{"later":{"a":1}}"#),
];

#[test]
fn each_reason_keeps_its_code_and_its_sentence() {
    for (code, sentence) in ALL {
        let reason: Reason = serde_json::from_str(code).unwrap();
        assert_eq!(&reason.to_string(), sentence);
        assert_eq!(&serde_json::to_string(&reason).unwrap(), code);
        let is_known = !matches!(reason, Reason::Sentence(_) | Reason::Unknown(_));
        assert_eq!(
            is_known,
            !code.contains("route:") && !code.contains("later")
        );
    }
    let declared = include_str!("mod.rs").split("pub enum Tie").next().unwrap();
    assert_eq!(declared.matches("#[error(").count(), ALL.len());
}

#[test]
fn ties_and_next_steps_are_part_of_a_sentence() {
    for (tie, told) in [
        (Tie::Id, "the first by its id"),
        (Tie::Turn, "its turn"),
        (Tie::LeastBusy { open: 3 }, "3 open requests"),
        (Tie::Home, "where this conversation is at home"),
        (
            Tie::HomeBusy,
            "because this conversation's own server is busy",
        ),
    ] {
        let reason = Reason::PreferredProvider {
            provider: "p".into(),
            preference: 0,
            others: 1,
            model: "m".into(),
            tie: Some(tie),
        };
        let sentence = format!("provider p (preference 0) before 1 other(s) with \"m\", {told}");
        assert_eq!(reason.to_string(), sentence);
        let code = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&code).unwrap(), reason);
    }
    assert_eq!(Next::Same.to_string(), "the same again");
}
