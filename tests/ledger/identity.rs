//! Whose records are whose: by the key of a caller, and never by a name that others may have too. Also
//! records from before there were keys.

use std::fmt::Write as _;

use iris::base::bucket::{Link, Terms, Unit};
use iris::records::balances::Quotas;
use iris::records::{Entry, EntryId, Expected, Group, Ledger, Query, Record, Report, Scope};

use crate::budgets::{amounts, rules};
use crate::store::{Place, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    one_login_of_several_callers_shares_nothing,
    what_agrees_in_its_beginning_stays_apart,
    a_bucket_is_shown_under_the_name_that_its_owner_has_now,
];
pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    records_from_before_go_to_who_made_them,
];

const DAY: i64 = 86_400_000;

fn of(caller: &str, login: &str, at: i64) -> Record {
    let entry = Entry {
        caller: caller.into(),
        ..entry(at, login, "one-conversation")
    };
    full(entry, &format!("what {caller} said"))
}

fn report(groups: Vec<Group>) -> Report {
    Report {
        from: 0,
        to: DAY,
        groups,
        ..Report::default()
    }
}

async fn one_login_of_several_callers_shares_nothing(place: &Place) {
    const LOGIN: &str = "amelie@passkey";
    let ledger = place.open();
    let callers = ["user:10", "external:elsewhere.net:10", "user:4242"];
    let records = callers
        .iter()
        .zip(1_000..)
        .map(|(caller, at)| of(caller, LOGIN, at));
    let records: Vec<Record> = records.collect();
    let mut heard = ledger.written();
    write(&ledger, records.clone()).await;
    for caller in callers {
        let kept = ledger.keep_chat(caller, "c1", caller, caller.into(), Expected::Anything);
        kept.await.unwrap();
    }
    for (caller, own) in callers.iter().zip(&records) {
        let scope = || Scope::Own(ledger.keys_of(caller));
        let requests = ledger.requests(scope(), Query::default()).await.unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(
            (&requests[0].caller, requests[0].login.as_str()),
            (&own.entry.caller, LOGIN)
        );
        let sessions = ledger.sessions(scope(), Query::default()).await.unwrap();
        let seen: Vec<_> = sessions
            .iter()
            .map(|one| (one.caller.as_str(), one.counts.requests))
            .collect();
        assert_eq!(seen, [(own.entry.caller.as_str(), 1)]);
        assert_eq!(sessions[0].models, [own.entry.model.as_str()]);
        let counted = ledger.session_count(scope(), Some(LOGIN), 0..DAY);
        assert_eq!(counted.await.unwrap(), 1);
        for by in [vec![], vec![Group::Login], vec![Group::Hour]] {
            let usage = ledger.usage(scope(), report(by)).await.unwrap();
            assert_eq!(usage.totals.counts.requests, 1);
        }
        let used = ledger.tool_use(scope(), Query::default()).await.unwrap();
        assert_eq!(used[0].requests, 1);
        for other in &records {
            let id = other.entry.id.as_str();
            let is_own = other.entry.caller == *caller;
            assert_eq!(ledger.request(scope(), id).await.unwrap().is_some(), is_own);
            assert_eq!(ledger.capture(scope(), id).await.unwrap().is_some(), is_own);
            assert_eq!(!ledger.tools(scope(), id).await.unwrap().is_empty(), is_own);
        }
        let chats = ledger.chats(caller).await.unwrap();
        let titles: Vec<_> = chats.iter().map(|chat| chat.title.as_str()).collect();
        assert_eq!(titles, [*caller]);
    }
    assert!(!heard.meanwhile(&Scope::Own(vec!["user:7".to_owned()])));
    // Who is renamed goes on with what they had, under the name that they have now.
    write(&ledger, [of("user:10", "amelie@new.org", 5_000)]).await;
    let own = || Scope::Own(ledger.keys_of("user:10"));
    assert_eq!(
        ledger
            .requests(own(), Query::default())
            .await
            .unwrap()
            .len(),
        2
    );
    let sessions = ledger.sessions(own(), Query::default()).await.unwrap();
    assert_eq!(
        (sessions.len(), sessions[0].login.as_str()),
        (1, "amelie@new.org")
    );
}

/// A record in which everything has one name.
fn named(name: &str, at: i64) -> Record {
    let mut record = of(&format!("tags:{name}"), name, at);
    for field in [
        &mut record.entry.session,
        &mut record.entry.model,
        &mut record.entry.provider,
        &mut record.entry.node_id,
        &mut record.entry.agent,
    ] {
        *field = name.into();
    }
    name.clone_into(&mut record.tools[0].name);
    record.headers = vec![("x-team".into(), name.to_owned())];
    record
}

async fn what_agrees_in_its_beginning_stays_apart(place: &Place) {
    let ledger = place.open();
    let long = "x".repeat(600);
    let record = |end: &str, at| named(&format!("{long}{end}"), at);
    write(&ledger, [record("1", 1_000), record("2", 2_000)]).await;
    for end in ["1", "2"] {
        let name = format!("{long}{end}");
        let scope = Scope::Own(vec![format!("tags:{name}")]);
        let found = ledger.requests(scope, Query::default()).await.unwrap();
        assert_eq!(found.len(), 1);
        let stored = found[0].clone();
        // By the whole name, and by what is shown of it.
        for (model, session, agent) in [
            (name.clone(), name.clone(), name.clone()),
            (
                stored.model.to_string(),
                stored.session.to_string(),
                stored.agent.to_string(),
            ),
        ] {
            for query in [
                Query {
                    model: Some(model.clone()),
                    ..Query::default()
                },
                Query {
                    session: Some(session.clone()),
                    ..Query::default()
                },
                Query {
                    agent: Some(agent.clone()),
                    ..Query::default()
                },
                Query {
                    login: Some(name.clone()),
                    ..Query::default()
                },
                Query {
                    node: Some(name.clone()),
                    ..Query::default()
                },
                Query {
                    provider: Some(name.clone()),
                    ..Query::default()
                },
                Query {
                    tool: Some(name.clone()),
                    ..Query::default()
                },
                Query {
                    marks: vec![("x-team".into(), Some(name.clone()))],
                    ..Query::default()
                },
            ] {
                let found = ledger
                    .requests(Scope::Everyone, query.clone())
                    .await
                    .unwrap();
                assert_eq!(found.len(), 1, "{query:?}");
            }
        }
    }
    let sessions = ledger
        .sessions(Scope::Everyone, Query::default())
        .await
        .unwrap();
    assert_eq!(sessions.len(), 2);
    for by in [Group::Login, Group::Model, Group::Provider, Group::Agent] {
        let usage = ledger
            .usage(Scope::Everyone, report(vec![by]))
            .await
            .unwrap();
        assert_eq!(usage.groups.len(), 2, "{by:?}");
    }
}

/// Records of one session of each login, with their sums, a conversation and buckets.
fn earlier_rows() -> String {
    let mut rows = String::new();
    let cut = "ü".repeat(160);
    for (nth, (login, node)) in [
        ("amelie@passkey", "n1"),
        ("amelie@passkey", "n2"),
        ("bob@example.com", "n3"),
        ("(loopback)", "(loopback)"),
        ("tag:a,tag:b", "n4"),
        (cut.as_str(), "n5"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = 1_000 + i64::try_from(nth).unwrap();
        let id = EntryId::new(at);
        writeln!(rows,
            "INSERT INTO entries (id, session, started_at, login, node_id, node_name, tags, agent, api,
                model_requested, model, provider, method, path, status, outcome, stream,
                tokens_estimated, tool_calls, duration_ms, request_bytes, response_bytes, user_agent,
                reasons) VALUES ('{id}', 's{node}', {at}, '{login}', '{node}', 'laptop', '[]', '', 'a',
                'm', 'm', 'p', 'POST', '/', 200, 'complete', 0, 0, 0, 1.0, 0, 0, '', '[\"a\\u0000\\\\u0000\"]');"
        ).unwrap();
        let counts = "1, 0, 7, 3, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0";
        writeln!(rows,
            "INSERT INTO sessions VALUES ('{login}', 's{node}', {at}, {at}, '{id}', 'laptop', '', 'm', 'p',
                {counts});
             INSERT INTO session_models VALUES ('{login}', 's{node}', 'm');"
        ).unwrap();
    }
    let ends = ", 0".repeat(60);
    for (grain, login) in [(0, ""), (1, "amelie@passkey"), (1, "bob@example.com")] {
        writeln!(
            rows,
            "INSERT INTO usage_daily VALUES ({grain}, 0, '{login}', '', '', '', '', 0, '', '', '',
                2, 0, 14, 6, 0, 0, 0, 0, 0, 0, 0, 0, 10, 2, 0{ends});"
        )
        .unwrap();
    }
    for (name, template, balance) in [
        ("q:ann@example.com", "q:<user>", 7),
        ("q:n1", "q:<node>", 6),
        ("all", "all", 5),
    ] {
        writeln!(
            rows,
            "INSERT INTO buckets VALUES ('{name}', '{template}', {balance}, 1);"
        )
        .unwrap();
    }
    rows
}

impl Place {
    /// Makes the database as it was before callers had keys.
    async fn begin_earlier(&self) {
        let body = if self.url.starts_with("sqlite:") {
            "x'7b7d'"
        } else {
            "'\\x7b7d'"
        };
        let chat =
            format!("INSERT INTO chats VALUES ('amelie@passkey', 'c1', 1, 'earlier', {body});");
        let rows = earlier_rows() + &chat;
        self.begin_at(6, &rows).await;
    }
}

async fn seen(ledger: &Ledger, key: &str) -> (usize, usize, u64, usize) {
    let scope = || Scope::Own(ledger.keys_of(key));
    let requests = ledger.requests(scope(), Query::default()).await.unwrap();
    let sessions = ledger.sessions(scope(), Query::default()).await.unwrap();
    let models = sessions.iter().all(|session| session.models == ["m"]);
    assert!(models, "{sessions:?}");
    let usage = ledger.usage(scope(), report(vec![])).await.unwrap();
    let chats = ledger.chats(key).await.unwrap();
    (
        requests.len(),
        sessions.len(),
        usage.totals.counts.requests,
        chats.len(),
    )
}

async fn records_from_before_go_to_who_made_them(place: &Place) {
    place.begin_earlier().await;
    let ledger = place.open();
    let everything = ledger
        .requests(Scope::Everyone, Query::default())
        .await
        .unwrap();
    assert_eq!(everything.len(), 6);
    let rows = place.texts("SELECT id, reasons FROM entries").await;
    assert!(rows.len() == 6 && rows.iter().all(|row| row[1].contains("\\\\u0000")));
    assert_eq!(seen(&ledger, "user:10").await, (0, 0, 0, 0));
    let take = async |key: &str, login: &str, node: &str| {
        ledger.take_earlier(key, login, node).await.unwrap();
    };
    // The login alone proves nothing: the devices of its present owner are not in the records.
    take("user:4242", "amelie@passkey", "n9").await;
    assert_eq!(seen(&ledger, "user:4242").await, (0, 0, 0, 0));
    take("user:10", "amelie@passkey", "n2").await;
    assert_eq!(seen(&ledger, "user:10").await, (2, 2, 2, 1));
    // What is taken is nobody else's, whatever their device is, and stays who has it.
    take("user:4242", "amelie@passkey", "n1").await;
    assert_eq!(seen(&ledger, "user:4242").await, (0, 0, 0, 0));
    take("user:10", "amelie@passkey", "n7").await;
    drop(ledger);
    let ledger = place.open();
    ledger
        .take_earlier("user:10", "amelie@new.org", "n7")
        .await
        .unwrap();
    assert_eq!(seen(&ledger, "user:10").await, (2, 2, 2, 1));
    // Machines and tags have no numbers.
    assert_eq!(seen(&ledger, "loopback").await.0, 1);
    assert_eq!(seen(&ledger, "tags:tag:a,tag:b").await.0, 1);
    let cut = "ü".repeat(160);
    ledger.take_earlier("user:5", &cut, "n5").await.unwrap();
    assert_eq!(
        seen(&ledger, "user:5").await.0,
        0,
        "a login that was cut may be several"
    );
    // Budgets go on.
    let rules = rules(
        r#""q:<user>":{"capacity":"10 requests"},"q:<node>":{"capacity":"10 requests"},"all":{"capacity":"10 requests"}"#,
        r#"{"bucket":"q:<user>"},{"bucket":"all"}"#,
    );
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let held = rules
        .hold(&quotas, amounts(1, 1), "one".to_owned())
        .await
        .unwrap();
    crate::budgets::settle(&ledger, held, (1, 1));
    ledger.flush().await.unwrap();
    let states = quotas.states(&rules.definitions, Vec::new()).await.unwrap();
    let states: Vec<_> = states
        .iter()
        .map(|state| (state.key.as_str(), state.current))
        .collect();
    let expected = [
        ("requests|all|", 4),
        ("requests|q:<user>|login:ann@example.com", 6),
        ("q:n1", 6),
    ];
    assert_eq!(states, expected);
}

async fn a_bucket_is_shown_under_the_name_that_its_owner_has_now(place: &Place) {
    let ledger = place.open();
    let terms = Terms {
        unit: Unit::Requests,
        capacity: 10,
        rate: 0,
        per: 1,
        warn_below: 0,
        refuses_unpriced: false,
    };
    let link = |name: &str| Link::new("q:<user>", "user:7", name.into(), terms);
    for (name, amount, left) in [("q:old@x.org", -4, 6), ("q:new@x.org", -1, 5)] {
        let level = ledger
            .refill(link(name), amount, |_, level| level)
            .await
            .unwrap();
        assert_eq!(level.balance, left);
        let (stored, _) = ledger.buckets().await.unwrap();
        let stored: Vec<_> = stored
            .iter()
            .map(|one| (one.bucket.as_str(), one.level.balance))
            .collect();
        assert_eq!(stored, [(name, left)]);
    }
}
