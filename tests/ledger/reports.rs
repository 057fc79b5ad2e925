//! Reports against sums made by hand.

use iris::records::{Entry, Error, Group, Outcome, Query, Record, Report, Scope, Usage, marks};

use crate::store::{Place, all, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    a_report_equals_plain_sums,
    hours_are_read_from_the_entries,
    percentiles_keep_their_bound,
    questions_without_an_answer_are_refused,
];

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// Three hundred requests of three days, no two quite alike.
fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for n in 0..300_u32 {
        let pick = |every: u32, of: u32| (n / every % of) as usize;
        let login = ["ann@example.com", "bob@example.com", "eve@example.com"][pick(1, 3)];
        let started_at = 10 * DAY + i64::from(n) * DAY / 100;
        let mut one = entry(started_at, login, &format!("s{}", n % 7));
        one.provider = ["main", "spare"][pick(1, 2)].into();
        one.agent = ["codex", "claude-code"][pick(5, 2)].into();
        one.outcome = [Outcome::Complete, Outcome::Failed, Outcome::ClientClosed][pick(7, 3)];
        one.status = if one.outcome == Outcome::Failed {
            502
        } else {
            200
        };
        one.tokens.input = Some(u64::from(n) * 11);
        one.tokens.cached = n.is_multiple_of(4).then_some(5);
        one.cost = (!n.is_multiple_of(5)).then_some(i64::from(n) * 1_000);
        one.duration_ms = 20.0 * 1.03_f64.powf(f64::from(n));
        one.first_token_ms = n.is_multiple_of(2).then_some(one.duration_ms / 4.0);
        records.push(if n.is_multiple_of(6) {
            full(one, "x")
        } else {
            one.into()
        });
    }
    records
}

fn whole() -> Report {
    Report {
        from: 10 * DAY,
        to: 13 * DAY,
        ..Report::default()
    }
}

/// Sums of entries, the plain way: requests, errors, input tokens, cost, priced.
fn plain<'a>(entries: impl Iterator<Item = &'a Entry>) -> (u64, u64, u64, i64, u64) {
    entries.fold((0, 0, 0, 0, 0), |sum, entry| {
        (
            sum.0 + 1,
            sum.1 + u64::from(entry.outcome == Outcome::Failed),
            sum.2 + entry.tokens.input.unwrap_or(0),
            sum.3 + entry.cost.unwrap_or(0),
            sum.4 + u64::from(entry.cost.is_some()),
        )
    })
}

fn read(usage: &iris::records::Totals) -> (u64, u64, u64, i64, u64) {
    let counts = &usage.counts;
    (
        counts.requests,
        counts.errors,
        counts.input_tokens,
        counts.cost,
        counts.priced,
    )
}

fn name(group: Group, entry: &Entry) -> String {
    match group {
        Group::Hour | Group::Header | Group::Label | Group::Via => unreachable!(),
        Group::Day => format!("1970-01-{:02}", entry.started_at / DAY + 1),
        Group::Login => entry.login.to_string(),
        Group::Model => entry.model.to_string(),
        Group::Provider => entry.provider.to_string(),
        Group::Agent => entry.agent.to_string(),
        Group::Api => entry.api.to_string(),
        Group::Status => entry.status.to_string(),
        Group::Outcome => entry.outcome.as_str().into(),
    }
}

fn check(usage: &Usage, entries: &[Entry], groups: &[Group], what: &str) {
    let mut seen = 0;
    for group in &usage.groups {
        let same = entries.iter().filter(|entry| {
            let mut by = groups.iter();
            by.all(|by| group.key[by.as_str()] == name(*by, entry))
        });
        assert_eq!(read(&group.totals), plain(same), "{what} {:?}", group.key);
        seen += group.totals.counts.requests;
    }
    assert_eq!(seen, usage.totals.counts.requests, "{what}");
    assert_eq!(read(&usage.totals), plain(entries.iter()), "{what}");
}

async fn a_report_equals_plain_sums(place: &Place) {
    let ledger = place.open();
    write(&ledger, records()).await;
    let entries = all(&ledger).await;
    for groups in [
        &[][..],
        &[Group::Day],
        &[Group::Login],
        &[Group::Model, Group::Day],
        &[Group::Login, Group::Model],
        &[Group::Agent, Group::Provider],
        &[Group::Status, Group::Outcome],
        &[Group::Api],
    ] {
        let report = Report {
            groups: groups.to_vec(),
            ..whole()
        };
        let usage = ledger.usage(Scope::Everyone, report.clone()).await.unwrap();
        check(&usage, &entries, groups, &format!("{groups:?}"));
        // The same of some, by filters and by scope.
        let some: Vec<_> = entries
            .iter()
            .filter(|entry| entry.login.starts_with("ann") && entry.status == 200)
            .filter(|entry| entry.model != "model-4")
            .cloned()
            .collect();
        let models = some.iter().map(|entry| entry.model.to_string()).collect();
        let filtered = Report {
            statuses: vec![200, 404],
            models,
            ..report
        };
        let scope = Scope::Own(vec!["ann@example.com".into()]);
        let usage = ledger.usage(scope, filtered).await.unwrap();
        check(&usage, &some, groups, &format!("some {groups:?}"));
    }
    let by_header = Report {
        mark: Some("x-team".into()),
        groups: vec![Group::Header, Group::Login],
        ..whole()
    };
    let usage = ledger.usage(Scope::Everyone, by_header).await.unwrap();
    assert_eq!(usage.totals.counts.requests, 50);
    let blue = |login: &str| {
        let mut groups = usage.groups.iter();
        groups.any(|group| group.key["header"] == "blue" && group.key["login"] == login)
    };
    assert_eq!(usage.groups.len(), 1);
    assert!(blue("ann@example.com"));
    let by_label = |scope: Scope, values: &[&str]| {
        let report = Report {
            mark: Some(marks::label("project")),
            mark_values: values.iter().map(|value| (*value).to_owned()).collect(),
            groups: vec![Group::Label],
            ..whole()
        };
        ledger.usage(scope, report)
    };
    let ann = || Scope::Own(vec!["ann@example.com".into()]);
    for scope in [Scope::Everyone, ann()] {
        let usage = by_label(scope, &[]).await.unwrap();
        assert_eq!(usage.totals.counts.requests, 50);
        assert_eq!(usage.groups[0].key["label"], "web");
    }
    let usage = by_label(ann(), &["web"]).await.unwrap();
    assert_eq!(usage.totals.counts.requests, 50);
    let usage = by_label(Scope::Everyone, &["api"]).await.unwrap();
    assert_eq!(usage.totals.counts.requests, 0);
    let bob = Scope::Own(vec!["bob@example.com".into()]);
    let for_ann = Report {
        logins: vec!["ann@example.com".into()],
        ..whole()
    };
    let usage = ledger.usage(bob, for_ann).await.unwrap();
    assert_eq!(usage.totals.counts.requests, 0);
}

async fn hours_are_read_from_the_entries(place: &Place) {
    let ledger = place.open();
    write(&ledger, records()).await;
    let report = Report {
        from: 11 * DAY + HOUR,
        to: 12 * DAY + 5 * HOUR,
        groups: vec![Group::Hour],
        ..Report::default()
    };
    let usage = ledger.usage(Scope::Everyone, report.clone()).await.unwrap();
    let in_time = Query {
        from: Some(report.from),
        to: Some(report.to),
        limit: 1000,
        ..Query::default()
    };
    let entries = ledger.requests(Scope::Everyone, in_time).await.unwrap();
    assert_eq!(read(&usage.totals), plain(entries.iter()));
    assert_eq!(usage.groups.len(), 28);
    assert_eq!(usage.groups[0].key["hour"], "1970-01-12T01:00Z");
    // A day read from the entries is the day read from the sums.
    let day = Report {
        from: 11 * DAY,
        to: 12 * DAY,
        groups: vec![Group::Login, Group::Outcome],
        ..Report::default()
    };
    let hourly = Report {
        to: 12 * DAY + 1,
        ..day.clone()
    };
    let sums = ledger.usage(Scope::Everyone, day).await.unwrap();
    let hourly = ledger.usage(Scope::Everyone, hourly).await.unwrap();
    let mut entry_at_midnight = hourly.totals.counts;
    entry_at_midnight.requests -= sums.totals.counts.requests;
    assert_eq!(entry_at_midnight.requests, 1);
    let headers = Report {
        mark: Some("x-team".into()),
        mark_values: vec!["blue".into()],
        groups: vec![Group::Header],
        from: 11 * DAY,
        to: 12 * DAY - 1,
        ..Report::default()
    };
    let usage = ledger.usage(Scope::Everyone, headers).await.unwrap();
    assert_eq!(usage.totals.counts.requests, 17);
}

async fn percentiles_keep_their_bound(place: &Place) {
    let ledger = place.open();
    write(&ledger, records()).await;
    let usage = ledger.usage(Scope::Everyone, whole()).await.unwrap();
    let entries = all(&ledger).await;
    let exact = |of: fn(&Entry) -> Option<f64>, percent: usize| {
        let mut sorted: Vec<f64> = entries.iter().filter_map(of).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() * percent).div_ceil(100) - 1]
    };
    let (duration, first) = (usage.totals.duration_ms, usage.totals.first_token_ms);
    for (percent, duration, first) in [
        (50, duration.p50, first.p50),
        (90, duration.p90, first.p90),
        (95, duration.p95, first.p95),
        (99, duration.p99, first.p99),
    ] {
        for (read, exact) in [
            (duration, exact(|entry| Some(entry.duration_ms), percent)),
            (first, exact(|entry| entry.first_token_ms, percent)),
        ] {
            let off = read.unwrap() / exact;
            let bound = std::f64::consts::SQRT_2 + 1e-9;
            assert!(
                off < bound && 1.0 / off < bound,
                "p{percent}: {read:?} for {exact}"
            );
        }
    }
}

async fn questions_without_an_answer_are_refused(place: &Place) {
    let ledger = place.open();
    let usage = ledger.usage(Scope::Everyone, whole()).await.unwrap();
    assert_eq!((usage.groups.len(), usage.totals.counts.requests), (1, 0));
    assert_eq!(usage.totals.duration_ms.p50, None);
    let two_days = Report {
        from: DAY,
        to: 3 * DAY,
        groups: vec![Group::Hour],
        ..whole()
    };
    ledger.usage(Scope::Everyone, two_days).await.unwrap();
    assert_eq!(Group::parse("model"), Some(Group::Model));
    assert_eq!(Group::parse("outcome"), Some(Group::Outcome));
    assert_eq!(Group::parse("colour"), None);
    for (report, why) in [
        (
            Report {
                groups: vec![Group::Hour],
                ..whole()
            },
            "48 hours",
        ),
        (
            Report {
                to: 13 * DAY + 1,
                ..whole()
            },
            "48 hours",
        ),
        (
            Report {
                groups: vec![Group::Header],
                ..whole()
            },
            "name the header",
        ),
    ] {
        let error = ledger.usage(Scope::Everyone, report).await.err().unwrap();
        assert!(
            matches!(error, Error::Report(text) if text.contains(why)),
            "{error}"
        );
    }
}
