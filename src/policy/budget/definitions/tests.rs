//! What buckets are made of.

use super::*;
use crate::policy::access::Access;

/// Definitions, and what a caller's grants say of the buckets that pay.
fn compiled(quotas: &str, grants: &[&str], login: &str) -> (Definitions, Permit, Caller) {
    let grants: Vec<String> = grants
        .iter()
        .map(|references| {
            format!(
                r#"{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
                {{"role":"user","models":"p/**","quotas":[{references}]}}]}}}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"quotas":{{{quotas}}},"grants":[{}]}}"#,
        grants.join(",")
    );
    let file = config::parse(&text, &|_| None).unwrap().file;
    let caller = Caller::hypothetical(login, Some("laptop"));
    let permit = Access::compile(&file).permit(&caller).unwrap();
    (Definitions::compile(&file), permit, caller)
}

const QUOTAS: &str = r#""daily:<user>":{"capacity":"$5.00","rate":"$5.00/day"},
    "each:<node>":{"capacity":"9 requests"},"team":{"capacity":"$20.00"},
    "spare":{"capacity":"$7.00"},"tokens":{"capacity":"100 tokens"},
    "odd":{"capacity":"lots"},"daily":{"capacity":"$1.00"}"#;

fn planned(grants: &[&str]) -> Result<Vec<String>, Denied> {
    let (definitions, permit, caller) = compiled(QUOTAS, grants, "ann@x.org");
    let plan = definitions.plan(
        &permit,
        &caller,
        &Labels::default(),
        Subject::model("p", "m"),
    )?;
    assert_eq!(plan.is_empty(), plan.describe().is_empty());
    let line = regex::Regex::new(r", line \d+").unwrap();
    let told = plan.describe().into_iter();
    Ok(told
        .map(|told| line.replace_all(&told.to_string(), "").into_owned())
        .collect())
}

#[test]
fn a_bucket_that_several_grants_name_pays_once_with_the_helpers_of_all() {
    let one = r#"{"bucket":"daily:<user>","overdraft":["team","daily:<user>"]}"#;
    let two = r#"{"bucket":"daily:<user>","overdraft":["spare","team"]},{"bucket":"team"}"#;
    let daily = "bucket daily:ann@x.org (up to $5.00, refilled by $5.00/day)";
    let rest = "then team (up to $20.00), then spare (up to $7.00) pays";
    assert_eq!(
        planned(&[one, two]).unwrap(),
        [format!("{daily}, {rest} (grants[0], grants[1])")]
    );
    // What helps out elsewhere pays by itself if it has helpers of its own.
    let lends = r#"{"bucket":"daily:<user>","overdraft":["team"]},
        {"bucket":"team","overdraft":["spare"]}"#;
    assert_eq!(planned(&[lends]).unwrap().len(), 2);
    let twice = r#"{"bucket":"team"},{"bucket":"team"},{"bucket":"each:<node>"}"#;
    let (definitions, permit, caller) = compiled(QUOTAS, &[twice], "ann@x.org");
    let each = format!("each:{}", caller.node_id());
    let names: Vec<String> = definitions
        .of(&permit, &caller)
        .map(|one| one.bucket.to_string())
        .collect();
    assert_eq!(names, ["team", "team", &each]);
    let team = "bucket team (up to $20.00) pays (grants[0])".to_owned();
    let each = format!("bucket {each} (up to 9 requests) pays (grants[0])");
    assert_eq!(planned(&[twice]).unwrap(), [team, each]);
    let other = definitions
        .plan(
            &permit,
            &caller,
            &Labels::default(),
            Subject::model("q", "m"),
        )
        .unwrap();
    assert!(other.is_empty() && planned(&[""]).unwrap().is_empty());
}

#[test]
fn a_bucket_is_its_owners_whatever_they_are_called() {
    use crate::policy::identity::WhoIs;
    use crate::policy::identity::tests_support::whois;
    let quotas = r#""q:<user>":{"capacity":"9 requests"},"q:<node>":{"capacity":"9 requests"}"#;
    let references = r#"{"bucket":"q:<user>"},{"bucket":"q:<node>"}"#;
    let (definitions, permit, _) = compiled(quotas, &[references], "any@x.org");
    let of = |id: i64, login: &str, node: &str, shared_in: bool| {
        let mut who = WhoIs {
            stable_id: node.to_owned(),
            shared_in,
            ..whois(Some(login), &[])
        };
        who.user.as_mut().unwrap().id = id;
        let caller = Caller::from_whois(who).unwrap();
        let links: Vec<Link> = definitions.of(&permit, &caller).collect();
        links
    };
    // A user and a device of one name.
    let both = of(7, "n1", "n1", false);
    assert_eq!(
        (both[0].bucket.as_str(), both[1].bucket.as_str()),
        ("q:n1", "q:n1")
    );
    assert_eq!(both[0].key, "requests|q:<user>|user:7");
    assert_eq!(both[1].key, "requests|q:<node>|node:n1");
    let renamed = of(7, "new@x.org", "n1", false);
    assert_eq!(renamed[0].key, both[0].key);
    assert_ne!(
        of(8, "n1", "n2", false)[0].key,
        both[0].key,
        "the next with the login"
    );
    assert_ne!(
        of(7, "n1", "n3", true)[0].key,
        both[0].key,
        "of another tailnet"
    );
}

#[test]
fn a_label_has_a_bucket_for_each_value_and_one_for_none() {
    let quotas = r#""p:<label.project>":{"capacity":"9 requests"},"all":{"capacity":"9 requests"}"#;
    let references = r#"{"bucket":"p:<label.project>","overdraft":["all"]}"#;
    let (definitions, permit, caller) = compiled(quotas, &[references], "ann@x.org");
    let subject = Subject::model("p", "m");
    let planned = |header: &str| {
        let labels = Labels::parse([header.as_bytes()]).unwrap();
        let plan = definitions
            .plan(&permit, &caller, &labels, subject)
            .unwrap();
        let first = &plan.chains[0].links[0];
        (first.bucket.to_string(), first.key.to_string())
    };
    let of = |bucket: &str, whose: &str| {
        let key = format!("requests|p:<label.project>|{whose}");
        (bucket.to_owned(), key)
    };
    assert_eq!(planned("project=web"), of("p:web", "label:web"));
    assert_eq!(planned("run=1,project=api"), of("p:api", "label:api"));
    assert_eq!(planned("run=1"), of("p:(none)", "label:(none)"));
    assert!(Definitions::depends_on_labels(&permit, subject));
    assert!(!Definitions::depends_on_labels(
        &permit,
        Subject::model("q", "m")
    ));
    let (_, other, _) = compiled(quotas, &[r#"{"bucket":"all"}"#], "ann@x.org");
    assert!(!Definitions::depends_on_labels(&other, subject));
    for (name, key) in [("p:web", "label:web"), ("p:(none)", "label:(none)")] {
        assert_eq!(definitions.named(name).unwrap().key, of("", key).1);
    }
}

#[test]
fn a_mistake_refuses() {
    for (references, quota, why) in [
        (r#"{"bucket":"gone"}"#, "gone", "it is not defined"),
        (r#"{"bucket":"odd"}"#, "odd", "capacity \"lots\""),
        (
            r#"{"bucket":"team","overdraft":["tokens"]}"#,
            "tokens",
            "it counts something else than \"team\"",
        ),
    ] {
        match planned(&[references]) {
            Err(Denied::Broken { quota: of, why: is }) => {
                assert!(of == quota && is.contains(why), "{of}: {is}");
            }
            other => panic!("{references}: {other:?}"),
        }
    }
}

#[test]
fn buckets_are_found_by_the_names_that_people_write() {
    let (definitions, ..) = compiled(QUOTAS, &[""], "ann@x.org");
    for (name, template) in [
        ("team", Some("team")),
        ("daily", Some("daily")),
        ("daily:bob@x.org", Some("daily:<user>")),
        ("each:n7", Some("each:<node>")),
        ("daily:<user>", None),
        ("daily:a<b", None),
        ("daily:", None),
        ("weekly:bob@x.org", None),
        ("gone", None),
        ("odd", None),
    ] {
        let link = definitions.named(name);
        assert!(link.as_ref().is_none_or(|link| link.bucket == name));
        let found = link.map(|link| link.template);
        assert_eq!(found.as_deref(), template, "{name}");
    }
    assert_eq!(definitions.names().count(), 7);
    assert!(definitions.names().any(|name| name == "odd"));
}
