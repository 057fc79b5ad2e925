//! Who may do what, by grants of both sources.

use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;

use super::{Access, ModelPattern, NoRole, Permit, Role, Subject};
use crate::base::reasons::Reason;
use crate::config;
use crate::policy::identity::Caller;
use crate::policy::identity::tests_support::whois;

fn access(text: &str) -> Access {
    Access::compile(&config::parse(text, &|_| None).unwrap().file)
}

fn granting(grants: &[String]) -> Access {
    access(&format!(r#"{{"grants":[{}]}}"#, grants.join(",")))
}

fn named(name: &str) -> Caller {
    Caller::hypothetical(name, None)
}

#[track_caller]
fn permit(access: &Access, name: &str) -> Permit {
    access.permit(&named(name)).unwrap()
}

fn raw(object: &str) -> Box<RawValue> {
    RawValue::from_string(object.to_owned()).unwrap()
}

fn grant(src: &str, objects: &str) -> String {
    format!(r#"{{"src":[{src}],"app":{{"tailscale.com/cap/aperture":[{objects}]}}}}"#)
}

fn headers(permit: &Permit, provider: &str) -> Vec<String> {
    let headers = permit.headers(Subject::model(provider, "m"));
    headers
        .map(|header| format!("{}: {}", header.name, header.value))
        .collect()
}

#[test]
fn nothing_is_open_without_a_role() {
    let access = granting(&[
        grant(r#""a@x.org""#, r#"{"models":"**"}"#),
        grant(r#""b@x.org""#, r#"{"role":"user"}"#),
    ]);
    assert_eq!(access.permit(&named("a@x.org")).unwrap_err(), NoRole);
    assert_eq!(access.permit(&named("c@x.org")).unwrap_err(), NoRole);
    let b = permit(&access, "b@x.org");
    assert_eq!(b.role(), Role::User);
    assert!(!b.covers(Subject::model("p", "m")));
}

#[test]
fn a_person_whom_an_application_names_is_not_everyone() {
    let text = r#"{"groups":{"group:eng":["c@x.org"]},"grants":[
        {"src":["*"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},{"models":"**"}]}},
        {"src":["b@x.org"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},{"models":"p/**"}]}},
        {"src":["group:eng"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},{"models":"q/**"}]}}]}"#;
    let access = access(text);
    let covers = |login: &str| {
        let person = access.permit(&Caller::named(login));
        let person = person.ok()?;
        Some(["p", "q"].map(|provider| person.covers(Subject::model(provider, "m"))))
    };
    assert_eq!(covers("a@x.org"), None);
    assert_eq!(covers("b@x.org"), Some([true, false]));
    assert_eq!(covers("c@x.org"), Some([false, true]));
}

#[test]
fn who_speaks_for_a_person_may_do_what_both_may() {
    let access = granting(&[
        grant(
            r#""app@x.org""#,
            r#"{"role":"user"},{"models":"p/**","guards":["one"]},{"may_speak_for":["*@x.org"]}"#,
        ),
        grant(
            r#""a@x.org""#,
            r#"{"role":"admin"},{"models":"*/m","guards":["two"],"add_headers":["X-A: a"]}"#,
        ),
    ]);
    let (app, person) = (Arc::new(named("app@x.org")), access.unseen("a@x.org"));
    let both = access.cached_permit_for(&app, &person).unwrap();
    let covers = |permit: &Permit| {
        [("p", "m"), ("p", "n"), ("q", "m")]
            .map(|(provider, model)| permit.covers(Subject::model(provider, model)))
    };
    assert_eq!(covers(&access.permit(&app).unwrap()), [true, true, false]);
    assert_eq!(
        covers(&access.permit(&person).unwrap()),
        [true, false, true]
    );
    assert_eq!(covers(&both), [true, false, false]);
    assert!(both.why(Subject::model("p", "n")).is_none());
    assert_eq!(both.guards(Subject::model("p", "m")), ["one", "two"]);
    assert_eq!(headers(&both, "p"), ["X-A: a"]);
    // The same for the same two, and the role of the person is not the application's.
    let again = access.cached_permit_for(&app, &person).unwrap();
    assert!(Arc::ptr_eq(&both, &again));
    assert_eq!(both.role(), Role::User);
    let stranger = access.unseen("z@x.org");
    assert_eq!(
        access.cached_permit_for(&app, &stranger).unwrap_err(),
        NoRole
    );
}

#[test]
fn a_cached_permit_is_its_callers_own() {
    let access = granting(&[grant(
        r#""a@x.org""#,
        r#"{"role":"user"},{"models":"p/**"}"#,
    )]);
    let call = |name: &str| {
        let caller = Arc::new(named(name));
        let permit = access.cached_permit(&caller);
        permit.map(|permit| permit.covers(Subject::model("p", "m")))
    };
    for _ in 0..3 {
        // A caller who is gone leaves their place in memory to the next.
        assert_eq!(call("a@x.org"), Ok(true));
        assert_eq!(call("b@x.org"), Err(NoRole));
    }
    let same = Arc::new(named("a@x.org"));
    let (first, again) = (access.cached_permit(&same), access.cached_permit(&same));
    assert!(Arc::ptr_eq(&first.unwrap(), &again.unwrap()));
}

#[test]
fn grants_add_up_and_admin_wins() {
    let access = access(&format!(
        r#"{{"groups":{{"group:eng":["a@x.org","tag:ci"]}},"grants":[{},{},{},{}]}}"#,
        grant(r#""*""#, r#"{"role":"user"}"#),
        grant(r#""a@x.org""#, r#"{"role":"admin"}"#),
        grant(
            r#""group:eng""#,
            r#"{"models":"p/**","add_headers":["X-Team: eng"]}"#
        ),
        grant(r#""tag:b""#, r#"{"models":"q/m"}"#)
    ));
    let a = permit(&access, "a@x.org");
    assert_eq!(
        (a.role(), a.role_source()),
        (Role::Admin, "grants[1], line 1")
    );
    let pattern = "p/**".into();
    let grant = "grants[2], line 1".into();
    let why = a.why(Subject::model("p", "m"));
    assert_eq!(why, Some(Reason::Granted { pattern, grant }));
    assert_eq!(headers(&a, "p"), ["X-Team: eng"]);
    assert!(headers(&a, "q").is_empty());
    let ci = permit(&access, "tag:ci,tag:b");
    assert_eq!(ci.role(), Role::User);
    assert!(ci.covers(Subject::model("p", "m")) && ci.covers(Subject::model("q", "m")));
    let other = permit(&access, "z@x.org");
    assert!(!other.covers(Subject::model("p", "m")));
}

#[test]
fn the_content_of_others_is_for_admins_unless_a_grant_forbids_it() {
    let may = |section: &str, objects: &str| {
        let text = format!(
            r#"{{"access":{{{section}}},"grants":[{}]}}"#,
            grant(r#""a@x.org""#, objects)
        );
        let permit = access(&text).permit(&named("a@x.org"));
        permit.unwrap().may_read_captures()
    };
    let (default, strict) = ("", r#""admins_read_captures":false"#);
    let admin = r#"{"role":"admin"}"#;
    assert!(may(default, admin) && !may(strict, admin));
    assert!(may(strict, r#"{"role":"admin"},{"read_captures":true}"#));
    assert!(!may(default, r#"{"role":"admin"},{"read_captures":false}"#));
    let both = r#"{"role":"admin"},{"read_captures":true},{"read_captures":false}"#;
    assert!(may(strict, both));
    assert!(!may(default, r#"{"role":"user"},{"read_captures":true}"#));
}

#[test]
fn the_chat_is_available_unless_a_grant_takes_it_away_and_no_other_gives_it() {
    let access = granting(&[
        grant(r#""*""#, r#"{"role":"user"}"#),
        grant(r#""b@x.org","c@x.org""#, r#"{"enable_chat_ui":false}"#),
        grant(r#""c@x.org""#, r#"{"enable_chat_ui":true}"#),
    ]);
    let may_chat = |login| {
        let permit = access.permit(&named(login));
        permit.unwrap().may_chat()
    };
    assert!(may_chat("a@x.org") && !may_chat("b@x.org") && may_chat("c@x.org"));
}

#[test]
fn the_policy_counts_like_the_file_and_outsiders_are_not_everyone() {
    let access = access(&format!(
        r#"{{"tailnet":{{"capabilities":["x.org/cap/ai"]}},"grants":[{}]}}"#,
        r#"{"src":["*"],"app":{"x.org/cap/ai":[{"role":"user"}]}}"#
    ));
    let mut who = whois(Some("alice"), &[]);
    who.capabilities
        .insert("x.org/cap/ai".into(), vec![raw(r#"{"models":"p/**"}"#)]);
    who.capabilities
        .insert("y.org/cap/ai".into(), vec![raw(r#"{"models":"**"}"#)]);
    let permit = access
        .permit(&Caller::from_whois(who.clone()).unwrap())
        .unwrap();
    let why = permit.why(Subject::model("p", "m")).unwrap().to_string();
    assert!(why.contains("tailnet policy"), "{why}");
    assert!(
        !permit.covers(Subject::model("q", "m")),
        "another capability's name counts"
    );
    who.shared_in = true;
    assert!(access.permit(&Caller::from_whois(who).unwrap()).is_err());
}

#[test]
fn a_login_of_another_tailnet_gets_models_and_no_power() {
    let access = access(&format!(
        r#"{{"groups":{{"group:ops":["kim@x.org"]}},"grants":[{},{},{},{}]}}"#,
        grant(
            r#""kim@x.org""#,
            r#"{"role":"admin","read_metrics":true,"read_pricing":true,"read_captures":true,"filterable_headers":["*"]},{"models":"p/**"}"#
        ),
        grant(r#""group:ops""#, r#"{"role":"admin"},{"models":"q/**"}"#),
        grant(r#""external:sam@y.org""#, r#"{"role":"admin"}"#),
        grant(
            r#""tag:ci","autogroup:admin","user:7""#,
            r#"{"role":"admin"}"#
        ),
    ));
    let ask = |login: &str, shared_in: bool| {
        let mut who = whois(Some(login), &[]);
        who.shared_in = shared_in;
        access.permit(&Caller::from_whois(who).unwrap())
    };
    assert_eq!(ask("kim@x.org", false).unwrap().role(), Role::Admin);
    let namesake = ask("kim@x.org", true).unwrap();
    assert_eq!(namesake.role(), Role::User);
    assert!(namesake.covers(Subject::model("p", "m")) && namesake.covers(Subject::model("q", "m")));
    assert!(!namesake.may_read_metrics() && !namesake.may_read_pricing());
    assert!(!namesake.may_read_captures() && !namesake.may_filter_by("x-team"));
    assert_eq!(ask("sam@y.org", true).unwrap().role(), Role::Admin);
    assert_eq!(ask("sam@y.org", false).unwrap_err(), NoRole);
    // A name that only looks like a word of grants belongs to no caller.
    for name in ["autogroup:admin", "user:7", "group:ops"] {
        let asked = access.permit(&named(name));
        assert_eq!(asked.unwrap_err(), NoRole, "{name}");
    }
    let mut who = whois(Some("eve@x.org"), &[]);
    who.groups = ["kim@x.org", "tag:ci", "*", "(loopback)"]
        .map(str::to_owned)
        .into();
    assert_eq!(
        access
            .permit(&Caller::from_whois(who).unwrap())
            .unwrap_err(),
        NoRole
    );
}

#[test]
fn guardrails_of_an_object_that_grants_nothing_still_inspect() {
    let access = granting(&[
        grant(
            r#""*""#,
            r#"{"role":"user"},{"models":"**"},{"guards":"pii"}"#,
        ),
        grant(
            r#""*""#,
            r#"{"models":"p/**","guards":["secrets"],"send_hooks":[{"name":"h","events":["later"]}]}"#,
        ),
    ]);
    let permit = permit(&access, "a@x.org");
    assert_eq!(permit.guards(Subject::model("p", "m")), ["pii", "secrets"]);
    assert_eq!(permit.guards(Subject::model("q", "m")), ["pii"]);
    let mut who = whois(Some("alice"), &[]);
    let broken = raw(r#"{"guards":{"pii":true},"quotas":[]}"#);
    who.capabilities
        .insert(config::CAPABILITY.into(), vec![broken]);
    let permit = access.permit(&Caller::from_whois(who).unwrap()).unwrap();
    // There is no guardrail of that name, so nothing passes.
    assert!(permit.guards(Subject::model("q", "m")).contains(&""));
}

#[test]
fn what_is_granted_besides_models_is_shown_without_values() {
    let access = granting(&[
        grant(
            r#""a@x.org""#,
            r#"{"role":"admin","read_pricing":true,"read_metrics":true},
               {"models":"p/**","add_headers":["X-Key:  secret ","no header"],"filterable_headers":[{"name":"X-Team"},"*"],
                "quotas":[{"bucket":"b","overdraft":["c","d"]}],"guards":["pii"],
                "send_hooks":[{"name":"h","events":["entire_request"]},{"name":"i","models":"p/m"}]}"#,
        ),
        r#"{"src":["a@x.org"],"app":{"tailscale.com/cap/aperture":[{"models":"q/**"}],"x.org/cap/other":[{"a":1}]}}"#.to_owned(),
    ]);
    let permit = permit(&access, "a@x.org");
    let others: Vec<String> = permit.besides_models().into_iter().collect();
    let expected = [
        "add_headers: X-Key",
        "filterable_headers: *",
        "filterable_headers: x-team",
        "guards: pii",
        "quotas: b",
        "quotas: c",
        "quotas: d",
        "read_captures",
        "read_metrics",
        "read_pricing",
        "send_hooks: h",
        "send_hooks: i",
    ];
    assert_eq!(others, expected);
    let sources: Vec<&str> = permit.sources().collect();
    assert_eq!(sources, ["grants[0], line 1", "grants[1], line 4"]);
    assert_eq!(headers(&permit, "p"), ["X-Key: secret"]);
    let hooks = |provider, model| -> Vec<&str> {
        let hooks = permit.hooks(Subject::model(provider, model));
        hooks.map(|hook| hook.name.as_str()).collect()
    };
    assert_eq!(hooks("p", "m"), ["h", "i"]);
    assert_eq!((hooks("p", "n"), hooks("q", "m")), (vec!["h"], vec![]));
    let quotas: Vec<_> = permit.quotas(Subject::model("p", "m")).collect();
    assert_eq!((quotas.len(), quotas[0].1), (1, "grants[0], line 1"));
    assert_eq!(permit.quotas(Subject::model("q", "m")).count(), 0);
    assert_eq!(permit.all_quotas().count(), 1);
    let foreign: Vec<_> = permit
        .foreign()
        .iter()
        .map(|(name, raw)| (name.as_str(), raw.get()))
        .collect();
    assert_eq!(foreign, [("x.org/cap/other", r#"{"a":1}"#)]);
}

#[test]
fn other_capabilities_of_the_policy_are_passed_on() {
    let access = granting(&[grant(
        r#""*""#,
        r#"{"role":"user","filterable_headers":["X-Team"]}"#,
    )]);
    let mut who = whois(Some("alice"), &[]);
    let foreign = vec![raw(r#"{"b":2}"#)];
    who.capabilities.insert("y.org/cap".into(), foreign);
    let broken = r#"{"models":"p/**","role":"owner","guards":["pii"],"quotas":[{"bucket":"b"},{"no":"bucket"},7]}"#;
    who.capabilities
        .insert(config::CAPABILITY.into(), vec![raw(broken)]);
    let alice = access.permit(&Caller::from_whois(who).unwrap()).unwrap();
    assert_eq!(alice.foreign()[0].0, "y.org/cap");
    assert_eq!(alice.foreign().len(), 1);
    let paying: Vec<_> = alice.quotas(Subject::model("p", "m")).collect();
    let names: Vec<&str> = paying
        .iter()
        .map(|(bucket, _)| bucket.bucket.as_str())
        .collect();
    assert_eq!(names, ["b", "", ""]);
    assert!(paying[0].1.contains("the tailnet policy's"));
    assert_eq!(
        (
            alice.guards(Subject::model("p", "m")),
            alice.quotas(Subject::model("q", "m")).count()
        ),
        (vec!["pii"], 0)
    );
    assert!(alice.may_filter_by("x-team") && !alice.may_filter_by("x-other"));
    // Each once, however often it is named.
    let twice = r#"{"role":"user"},{"guards":["a","b"]},{"guards":["b","a","c"]}"#;
    let access = granting(&[grant(r#""*""#, twice)]);
    let permit = permit(&access, "a@x.org");
    assert_eq!(permit.guards(Subject::model("p", "m")), ["a", "b", "c"]);
}

#[test]
fn a_caller_without_a_role_learns_nothing_more() {
    let rejection = NoRole.rejection(&named("a@x.org"));
    assert_eq!(
        (rejection.status, rejection.code.0),
        (StatusCode::FORBIDDEN, "no_role")
    );
    assert_eq!(rejection.message, "access denied: no role granted");
    let pattern = ModelPattern::from("p/**".to_owned());
    assert_eq!(
        (
            pattern.to_string(),
            pattern.matches(Subject::model("p", "m"))
        ),
        ("p/**".to_owned(), true)
    );
}

#[test]
fn grants_for_models_give_nothing_else() {
    let all = r#"{"role":"user"},{"models":"**","guards":["pii"]},{"guards":["all"]}"#;
    let access = granting(&[grant(r#""*""#, all)]);
    let permit = permit(&access, "a@x.org");
    for (subject, name) in [
        (
            Subject::Tool {
                server: "s",
                tool: "t",
            },
            "s/t",
        ),
        (
            Subject::Resource {
                server: "s",
                uri: "file:///x",
            },
            "s/file:///x",
        ),
        (Subject::Connector { connector: "c" }, "c"),
        (
            Subject::Path {
                provider: "p",
                path: "/v1/x",
            },
            "p/v1/x",
        ),
    ] {
        assert_eq!(subject.to_string(), name);
        assert!(!permit.covers(subject), "{name}");
        assert_eq!(permit.guards(subject), ["all"], "{name}");
    }
}
