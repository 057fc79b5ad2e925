//! Queries of the records.

use iris::records::{Entry, Outcome, Query, Record, Scope, Session, Tokens, ToolCall, marks};

use crate::store::{Place, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    requests_round_trip_filter_and_page,
    each_filter_finds_its_own,
    nobody_sees_what_is_not_theirs,
    sessions_of_different_logins_stay_apart,
    sessions_are_found_by_a_tool_however_common,
    calls_of_tools_are_counted_by_day,
];

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

fn own(login: &str) -> Scope {
    Scope::Own(vec![login.into()])
}

async fn requests_round_trip_filter_and_page(place: &Place) {
    let ledger = place.open();
    let mut entries: Vec<_> = (0..5).map(|n| entry(n, ANN, "s1")).collect();
    entries.push(entry(9, BOB, "s2"));
    entries[3].tokens = Tokens {
        cached: Some(1),
        cache_write: Some(2),
        cache_write_5m: Some(3),
        cache_write_1h: Some(4),
        reasoning: Some(5),
        image_input: Some(6),
        image_output: Some(7),
        web_searches: Some(8),
        estimated: true,
        ..Tokens::default()
    };
    entries[3].cost = None;
    entries[3].error = Some("gone".into());
    write(&ledger, entries.iter().cloned().map(Record::from)).await;
    let ann = Query {
        login: Some(ANN.into()),
        limit: 2,
        ..Query::default()
    };
    let read = |query: Query| ledger.requests(Scope::Everyone, query);
    let first = read(ann.clone()).await.unwrap();
    assert_eq!(first, [entries[4].clone(), entries[3].clone()]);
    let before = Some(first[1].id.to_string());
    let next = Query {
        before,
        limit: 9,
        ..ann
    };
    let second = read(next).await.unwrap();
    let older = [entries[2].clone(), entries[1].clone(), entries[0].clone()];
    assert_eq!(second, older);
    let forward = Query {
        after: Some(entries[3].id.to_string()),
        oldest_first: true,
        ..Query::default()
    };
    assert_eq!(read(forward).await.unwrap(), entries[4..]);
}

async fn each_filter_finds_its_own(place: &Place) {
    let ledger = place.open();
    let base = entry(1_000, ANN, "s1");
    let mut other = full(entry(2_000, BOB, "s2"), "x");
    other.entry = Entry {
        node_id: "n2".into(),
        model: "other".into(),
        provider: "second".into(),
        agent: "codex".into(),
        api: "anthropic".into(),
        status: 502,
        outcome: Outcome::Failed,
        ..other.entry
    };
    let wanted = other.entry.id.clone();
    write(&ledger, [base.into(), other]).await;
    let ask = |change: fn(&mut Query)| {
        let mut query = Query::default();
        change(&mut query);
        query
    };
    for change in FINDING {
        let query = ask(*change);
        let found = ledger.requests(Scope::Everyone, query.clone()).await;
        let ids: Vec<_> = found.unwrap().into_iter().map(|entry| entry.id).collect();
        assert!(ids.len() == 1 && ids[0] == wanted, "{query:?}");
        let sessions = ledger.sessions(Scope::Everyone, query.clone()).await;
        let ids: Vec<_> = sessions.unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["s2"], "{query:?}");
    }
    for change in MISSING {
        let query = ask(*change);
        let found = ledger.requests(Scope::Everyone, query.clone()).await;
        assert!(found.unwrap().is_empty(), "{query:?}");
    }
}

fn header(name: &str, value: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), value.map(str::to_owned))
}

fn label(key: &str, value: Option<&str>) -> (String, Option<String>) {
    (marks::label(key), value.map(str::to_owned))
}

/// Queries that find the second of two records.
const FINDING: &[fn(&mut Query)] = &[
    |query| query.login = Some(BOB.into()),
    |query| query.node = Some("n2".into()),
    |query| query.session = Some("s2".into()),
    |query| (query.session, query.login) = (Some("s2".into()), Some(BOB.into())),
    |query| (query.session, query.tool) = (Some("s2".into()), Some("read".into())),
    |query| query.model = Some("other".into()),
    |query| query.provider = Some("second".into()),
    |query| query.agent = Some("codex".into()),
    |query| query.api = Some("anthropic".into()),
    |query| query.status = Some(502),
    |query| query.outcome = Some(Outcome::Failed),
    |query| query.tool = Some("read".into()),
    |query| query.marks = vec![header("x-team", None)],
    |query| query.marks = vec![header("x-team", Some("blue"))],
    |query| query.marks = vec![header("x-trace", Some(""))],
    |query| query.marks = vec![header(marks::VIA, Some("tag:app"))],
    |query| query.marks = vec![label("project", None)],
    |query| query.marks = vec![label("project", Some("web"))],
    |query| query.marks = vec![label("run", Some("7")), label("project", Some("web"))],
    |query| query.marks = vec![header("x-team", None), label("run", None)],
    |query| (query.marks, query.login) = (vec![label("run", None)], Some(BOB.into())),
    |query| query.from = Some(2_000),
    |query| (query.from, query.to) = (Some(1_001), Some(2_001)),
    |query| (query.tool, query.marks) = (Some("read".into()), vec![header("x-team", None)]),
    |query| (query.tool, query.login) = (Some("read".into()), Some(BOB.into())),
    |query| (query.tool, query.before) = (Some("read".into()), Some("req_z".into())),
    |query| (query.marks, query.to) = (vec![header("x-team", None)], Some(2_001)),
];

/// Queries that find neither.
const MISSING: &[fn(&mut Query)] = &[
    |query| query.node = Some("n2' OR 1=1".into()),
    |query| query.marks = vec![header("x-team", Some("red"))],
    |query| query.marks = vec![header(marks::VIA, Some("tag:other"))],
    |query| query.marks = vec![header("project", None)],
    |query| query.marks = vec![label("project", Some("api"))],
    |query| query.marks = vec![label("project", Some("web")), label("run", Some("8"))],
    |query| query.tool = Some("write".into()),
    |query| (query.tool, query.login) = (Some("read".into()), Some(ANN.into())),
    |query| (query.tool, query.to) = (Some("read".into()), Some(2_000)),
    |query| query.to = Some(1_000),
    |query| query.model = Some("a\0b".into()),
    |query| (query.session, query.login) = (Some("s2".into()), Some(ANN.into())),
    |query| (query.session, query.to) = (Some("s2".into()), Some(2_000)),
];

async fn nobody_sees_what_is_not_theirs(place: &Place) {
    let ledger = place.open();
    let database = iris::config::Database {
        save_raws: true,
        ..iris::config::Database::default()
    };
    ledger.set_retention(&database, &[]);
    let record = full(entry(1_000, ANN, "s"), "secret");
    let id = record.entry.id.to_string();
    write(&ledger, [record.clone(), entry(2_000, BOB, "s").into()]).await;
    for (scope, sees) in [(Scope::Everyone, true), (own(ANN), true), (own(BOB), false)] {
        let found = ledger.request(scope.clone(), &id).await.unwrap();
        assert_eq!(found.map(|entry| entry.captured), sees.then_some(true));
        let tools = ledger.tools(scope.clone(), &id).await.unwrap();
        assert_eq!(tools == record.tools, sees);
        let capture = ledger.capture(scope.clone(), &id).await.unwrap();
        assert_eq!(capture, record.capture.clone().filter(|_| sees));
        let headers = ledger.headers(scope.clone(), &id).await.unwrap();
        assert_eq!(headers == record.headers, sees);
        let asks_for_ann = Query {
            login: Some(ANN.into()),
            ..Query::default()
        };
        let found = ledger.requests(scope.clone(), asks_for_ann.clone()).await;
        assert_eq!(found.unwrap().len(), usize::from(sees));
        let found = ledger.sessions(scope.clone(), asks_for_ann).await.unwrap();
        assert_eq!(found.len(), usize::from(sees));
        // Both have a session of this name.
        let of_session = |login: Option<&str>| {
            let query = Query {
                session: Some("s".into()),
                login: login.map(str::to_owned),
                ..Query::default()
            };
            ledger.requests(scope.clone(), query)
        };
        let sees_bob = usize::from(scope != own(ANN));
        let found = of_session(None).await.unwrap();
        assert_eq!(found.len(), usize::from(sees) + sees_bob);
        let found = of_session(Some(ANN)).await.unwrap();
        assert_eq!(found.len(), usize::from(sees));
    }
    let found = ledger.requests(own(BOB), Query::default()).await.unwrap();
    assert!(found.iter().all(|entry| entry.login == BOB) && found.len() == 1);
}

async fn sessions_of_different_logins_stay_apart(place: &Place) {
    let ledger = place.open();
    let entries = [entry(1, ANN, "s"), entry(2, BOB, "s"), entry(3, ANN, "s")];
    write(&ledger, entries.iter().cloned().map(Record::from)).await;
    // Written later and started earlier: the last request stays the last.
    let mut late = entry(0, ANN, "s");
    late.outcome = Outcome::TimedOut;
    write(&ledger, [late.into()]).await;
    let read = |before| {
        let query = Query {
            before,
            ..Query::default()
        };
        ledger.sessions(Scope::Everyone, query)
    };
    let sessions: Vec<Session> = read(None).await.unwrap();
    assert_eq!(sessions.len(), 2);
    let ann = &sessions[0];
    assert_eq!((ann.login.as_str(), ann.model.as_str()), (ANN, "model-3"));
    assert_eq!(ann.models, ["model-0", "model-1", "model-3"]);
    let counts = &ann.counts;
    assert_eq!((counts.requests, counts.errors), (3, 1));
    assert_eq!((counts.input_tokens, counts.output_tokens), (21, 9));
    assert_eq!((counts.cost, counts.priced, counts.unpriced), (4_500, 3, 0));
    assert_eq!((ann.started_at, ann.last_at), (0, 3));
    assert_eq!(ann.last_request, entries[2].id);
    let older = read(Some(ann.last_request.to_string())).await.unwrap();
    assert_eq!(older, sessions[1..]);
    for (login, time, count) in [
        (ANN, 0..4, 1),
        (ANN, 3..9, 1),
        (ANN, 4..9, 0),
        // It began before and ended after, and nothing was asked in between.
        (ANN, 2..3, 0),
        (ANN, 1..2, 1),
        (BOB, 0..2, 0),
        (BOB, 2..3, 1),
        ("eve@example.com", 0..9, 0),
    ] {
        let counted = ledger
            .session_count(Scope::Everyone, Some(login), time.clone())
            .await
            .unwrap();
        assert_eq!(counted, count, "{login} {time:?}");
    }
}

/// A tool that very many requests call is looked for in another way than a rare one.
async fn sessions_are_found_by_a_tool_however_common(place: &Place) {
    let ledger = place.open();
    let called = (0..2_100).map(|nth| {
        let session = if nth % 3 == 0 { "s1" } else { "s2" };
        full(entry(nth, ANN, session), "x")
    });
    write(&ledger, called.chain([entry(9_000, ANN, "s3").into()])).await;
    let found = |tool: &str, login: &str| {
        let query = Query {
            tool: Some(tool.to_owned()),
            login: Some(login.to_owned()),
            ..Query::default()
        };
        ledger.sessions(Scope::Everyone, query)
    };
    let sessions = found("read", ANN).await.unwrap();
    let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["s2", "s1"]);
    assert!(found("read", BOB).await.unwrap().is_empty());
    assert!(found("write", ANN).await.unwrap().is_empty());
}

async fn calls_of_tools_are_counted_by_day(place: &Place) {
    const DAY: i64 = 86_400_000;
    let ledger = place.open();
    let call = |name: &str| ToolCall {
        name: name.into(),
        params: "{}".into(),
    };
    let mut records = Vec::new();
    for (at, login, tools) in [
        (DAY, ANN, vec![call("Bash"), call("Bash"), call("Read")]),
        (DAY + 5, BOB, vec![call("Bash")]),
        (2 * DAY, ANN, vec![call("Read")]),
        (9 * DAY, ANN, vec![call("Read")]),
    ] {
        let mut record = Record::from(entry(at, login, "s"));
        record.tools = tools;
        records.push(record);
    }
    write(&ledger, records).await;
    let query = Query {
        from: Some(0),
        to: Some(9 * DAY),
        ..Query::default()
    };
    let read = async |scope: Scope, query: Query| {
        let rows = ledger.tool_use(scope, query).await.unwrap().into_iter();
        let rows = rows.map(|row| (row.day, row.name, row.calls, row.requests));
        rows.collect::<Vec<_>>()
    };
    let row = |day: &str, name: &str, calls, requests| (day.into(), name.into(), calls, requests);
    let (first, second) = ("1970-01-02", "1970-01-03");
    assert_eq!(
        read(Scope::Everyone, query.clone()).await,
        [
            row(first, "Bash", 3, 2),
            row(first, "Read", 1, 1),
            row(second, "Read", 1, 1),
        ]
    );
    assert_eq!(
        read(own(BOB), query.clone()).await,
        [row(first, "Bash", 1, 1)]
    );
    let session = Some("s".into());
    assert_eq!(
        read(
            own(BOB),
            Query {
                session,
                ..query.clone()
            }
        )
        .await,
        [row(first, "Bash", 1, 1)]
    );
    let tool = Some("Read".into());
    let session = Some("s".into());
    assert_eq!(
        read(
            Scope::Everyone,
            Query {
                tool: tool.clone(),
                session,
                ..query.clone()
            }
        )
        .await,
        [row(first, "Read", 1, 1), row(second, "Read", 1, 1)]
    );
    assert_eq!(
        read(Scope::Everyone, Query { tool, ..query }).await,
        [row(first, "Read", 1, 1), row(second, "Read", 1, 1)]
    );
}
