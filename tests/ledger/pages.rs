//! What pages show, against SQL over the same records.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use iris::app::{Options, Running, start};
use iris::base::clock::unix_ms;
use iris::records::{Outcome, Record};
use regex::Regex;
use serde_json::json;
use tokio::net::TcpStream;

use crate::store::{Place, entry, write};
use support::harness::Test;
use support::tests;

pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    figures_equal_sql,
    long_tables_are_turned,
];

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
/// Records, and days that they are of.
const RECORDS: i64 = 600;
const DAYS: i64 = 20;

/// Requests of the last days, in which no two things go together.
fn records(now: i64) -> Vec<Record> {
    let record = |nth: i64| {
        let pick = |every: i64, of: &[&'static str]| {
            let place = usize::try_from(nth / every).unwrap() % of.len();
            of[place]
        };
        let started_at = now - nth * DAYS * DAY / RECORDS - 1_000;
        let session = format!("s{}", nth % 40);
        let login = pick(1, &["ann@example.com", "bob@example.com", "tag:ci"]);
        let mut one = entry(started_at, login, &session);
        one.model = pick(2, &["small", "large", "a/b c", "<b>bold</b>"]).into();
        one.provider = pick(3, &["main", "spare"]).into();
        one.agent = pick(5, &["codex", "claude-code", ""]).into();
        one.api = pick(7, &["openai_chat", "anthropic_messages"]).into();
        one.outcome = [
            Outcome::Complete,
            Outcome::Failed,
            Outcome::ClientClosed,
            Outcome::Refused,
            Outcome::UpstreamError,
            Outcome::TimedOut,
        ][usize::try_from(nth / 11).unwrap() % 6];
        one.status = match one.outcome {
            Outcome::Failed => 502,
            Outcome::Refused => 429,
            Outcome::TimedOut => 504,
            _ => 200,
        };
        let count = nth.unsigned_abs();
        one.tokens.input = Some(count * 13);
        one.tokens.output = Some(count * 3 + 1);
        one.tokens.cached = (nth % 4 == 0).then_some(5);
        one.tokens.reasoning = (nth % 5 == 0).then_some(2);
        // Pages show dollars and cents of such sums.
        one.cost = (nth % 6 != 0).then_some(1_010_000_000 * (1 + nth % 9));
        let mut record = Record::from(one);
        if nth % 3 == 0 {
            let team = pick(9, &["blue", "red"]);
            record.headers = vec![("x-team".into(), team.into())];
        }
        record
    };
    (0..RECORDS).map(record).collect()
}

/// Filters of a page, and the same in SQL.
fn filters(now: i64) -> Vec<(String, String)> {
    let in_sql = [
        ("", "1 = 1"),
        ("login=bob%40example.com", "login = 'bob@example.com'"),
        ("model=large", "model = 'large'"),
        ("model=a%2Fb%20c", "model = 'a/b c'"),
        ("model=%3Cb%3Ebold%3C%2Fb%3E", "model = '<b>bold</b>'"),
        ("agent=codex", "agent = 'codex'"),
        ("provider=spare", "provider = 'spare'"),
        ("api=anthropic_messages", "api = 'anthropic_messages'"),
        ("status=502", "status = 502"),
        ("outcome=client_closed", "outcome = 'client_closed'"),
        (
            "header=x-team",
            "started_at IN (SELECT entry >> 20 FROM entry_headers WHERE name = 'x-team')",
        ),
        (
            "header=x-team%3Ared",
            "started_at IN (SELECT entry >> 20 FROM entry_headers WHERE name = 'x-team' AND value = 'red')",
        ),
        (
            "login=tag%3Aci&model=small&provider=main&status=200",
            "login = 'tag:ci' AND model = 'small' AND provider = 'main' AND status = 200",
        ),
        ("model=none-such", "1 = 0"),
    ];
    let mut all: Vec<(String, String)> = in_sql
        .into_iter()
        .map(|(page, sql)| (page.to_owned(), sql.to_owned()))
        .collect();
    let today = now.div_euclid(DAY);
    let date = |day: i64| {
        let time = jiff::Timestamp::from_millisecond(day * DAY).unwrap();
        time.to_string()[..10].to_owned()
    };
    for (first, last) in [(today - 5, today - 2), (today - 9, today - 9)] {
        all.push((
            format!("from={}&through={}&model=small", date(first), date(last)),
            format!(
                "model = 'small' AND started_at >= {} AND started_at < {}",
                first * DAY,
                (last + 1) * DAY
            ),
        ));
    }
    all.push((
        "days=7&provider=main".to_owned(),
        format!("provider = 'main' AND started_at >= {}", (today - 6) * DAY),
    ));
    let hour = now.div_euclid(HOUR);
    all.push((
        "days=1&login=ann%40example.com".to_owned(),
        format!(
            "login = 'ann@example.com' AND started_at >= {}",
            (hour - 23) * HOUR
        ),
    ));
    all
}

/// A gateway over what was written.
struct Pages {
    gateway: Running,
    address: String,
}

impl Pages {
    async fn over(place: &Place) -> Self {
        let config = place.file().join("iris.hujson");
        let text = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": "127.0.0.1:0" },
            "database": { "url": place.url },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [
                    { "role": "admin" },
                    { "filterable_headers": ["*"] },
                ] },
            }],
        });
        std::fs::write(&config, text.to_string()).unwrap();
        let options = Options {
            config: Some(config),
            state_dir: place.file().to_owned(),
        };
        let gateway = start(&options).await.unwrap();
        let address = gateway.loopback().unwrap().to_string();
        Self { gateway, address }
    }

    async fn get(&self, path: &str) -> String {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let stream = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", &self.address)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

/// A table of a page.
type Rows = Vec<Vec<String>>;

/// The rows of the table whose caption begins so, the head first; none if there is no such table.
fn table(page: &str, caption: &str) -> Option<Rows> {
    let from = page.find(&format!("<caption>{caption}"))?;
    let table = page[from..].split("</table>").next().unwrap();
    let row = Regex::new(r"(?s)<tr>(.*?)</tr>").unwrap();
    let cell = Regex::new(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>").unwrap();
    let rows = row.captures_iter(table).map(|row| {
        let cells = cell.captures_iter(row.get(1).unwrap().as_str());
        cells.map(|cell| text(&cell[1])).collect()
    });
    Some(rows.collect())
}

/// What markup shows.
fn text(markup: &str) -> String {
    static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)<[^>]*>").unwrap());
    let shown = TAG.replace_all(markup, "");
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(shown.into_owned(), |text, (entity, char)| {
            text.replace(entity, char)
        })
}

/// A shown number; an amount counts cents, and what has no price nothing.
fn number(shown: &str) -> i64 {
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A name as SQL has it.
fn name(shown: &str) -> String {
    match shown {
        "unknown" => String::new(),
        name => name.to_owned(),
    }
}

fn integers(row: &[String]) -> Vec<i64> {
    row.iter().map(|cell| cell.parse().unwrap()).collect()
}

async fn figures_equal_sql(place: &Place) {
    let now = unix_ms();
    let ledger = place.open();
    write(&ledger, records(now)).await;
    ledger.close().await.unwrap();
    drop(ledger);
    let pages = Pages::over(place).await;
    for (query, sql) in filters(now) {
        breakdowns(place, &pages, &query, &sql).await;
        charts(place, &pages, &query, &sql).await;
        lists(place, &pages, &query, &sql).await;
    }
    pages.gateway.stop().await.unwrap();
}

async fn long_tables_are_turned(place: &Place) {
    let now = unix_ms();
    let ledger = place.open();
    let people: Vec<String> = (0..120).map(|nth| format!("user{nth:03}")).collect();
    let records = people
        .iter()
        .map(|login| entry(now - 1_000, login, "s").into());
    write(&ledger, records).await;
    ledger.close().await.unwrap();
    drop(ledger);
    let pages = Pages::over(place).await;
    let mut shown = Vec::new();
    let mut path = "/ui/users?days=7&sort=requests".to_owned();
    let next = Regex::new(r#"rel="next" href="([^"]*)""#).unwrap();
    loop {
        let page = pages.get(&path).await;
        let rows = table(&page, "Usage by user").unwrap();
        assert!(rows.len() <= 51, "{} rows", rows.len());
        shown.extend(rows.into_iter().skip(1).map(|row| row[0].clone()));
        let Some(found) = next.captures(&page) else {
            break;
        };
        path = text(&found[1]);
    }
    assert_eq!(shown, people);
    // A page beyond the last one is the last one.
    let page = pages.get("/ui/users?page=99").await;
    assert_eq!(table(&page, "Usage by user").unwrap().len(), 21);
    pages.gateway.stop().await.unwrap();
}

/// The table of the overview, told apart by each thing, its totals, and its download.
async fn breakdowns(place: &Place, pages: &Pages, query: &str, sql: &str) {
    const SUMS: &str = "CAST(COUNT(*) AS TEXT), CAST(COALESCE(SUM(input_tokens), 0) AS TEXT), \
        CAST(COALESCE(SUM(cached_tokens), 0) AS TEXT), CAST(COALESCE(SUM(output_tokens), 0) AS TEXT), \
        CAST(COALESCE(SUM(reasoning_tokens), 0) AS TEXT), \
        CAST(COALESCE(SUM(input_tokens), 0) + COALESCE(SUM(output_tokens), 0) AS TEXT), \
        CAST(CAST(COALESCE(SUM(cost), 0) AS BIGINT) / 100000 AS TEXT), \
        CAST(COALESCE(SUM(CASE WHEN outcome IN ('complete', 'client_closed') THEN 0 ELSE 1 END), 0) AS TEXT)";
    let download = Regex::new(r#"href="(/api/usage[^"]*)""#).unwrap();
    let card = Regex::new(r#"<dt>Requests</dt><dd><span class="figure">([^<]*)"#).unwrap();
    for (dimension, caption) in [
        ("login", "user"),
        ("model", "model"),
        ("agent", "agent"),
        ("provider", "provider"),
        ("status", "HTTP status"),
        ("outcome", "outcome"),
    ] {
        let path = format!("/ui/overview?{query}&by={dimension}");
        let page = pages.get(&path).await;
        let mut rows = table(&page, &format!("Usage by {caption}"))
            .unwrap_or_default()
            .into_iter();
        let head = rows.next().unwrap_or_default();
        let columns = [
            "Requests",
            "Input",
            "Cached",
            "Output",
            "Reasoning",
            "Tokens",
            "Cost",
            "Errors",
        ]
        .map(|column| head.iter().position(|name| name == column));
        let shown: BTreeMap<String, Vec<i64>> = rows
            .map(|row| {
                let figures = columns.map(|column| number(&row[column.unwrap()]));
                (name(&row[0]), figures.to_vec())
            })
            .collect();
        let counted = place
            .texts(&format!(
                "SELECT CAST({dimension} AS TEXT), {SUMS} FROM entries WHERE {sql} GROUP BY {dimension}"
            ))
            .await;
        let counted: BTreeMap<String, Vec<i64>> = counted
            .into_iter()
            .map(|row| (row[0].clone(), integers(&row[1..])))
            .collect();
        assert_eq!(shown, counted, "{path}");
        if let Some(csv) = download.captures(&page) {
            let rows = pages.get(&text(&csv[1])).await;
            assert_eq!(rows.lines().count() - 1, counted.len(), "{rows}");
        }
        let requests: i64 = counted.values().map(|figures| figures[0]).sum();
        assert_eq!(
            number(&card.captures(&page).unwrap()[1]),
            requests,
            "{path}"
        );
    }
}

/// The chart of the overview, by day or hour, of each thing that it can count.
async fn charts(place: &Place, pages: &Pages, query: &str, sql: &str) {
    let (step, length) = if query.contains("days=1&") {
        ("hour", HOUR)
    } else {
        ("day", DAY)
    };
    for (metric, title, sum) in [
        ("tokens", "Tokens", "SUM(input_tokens) + SUM(output_tokens)"),
        (
            "cost",
            "Cost",
            "CAST(COALESCE(SUM(cost), 0) AS BIGINT) / 10000000",
        ),
        ("requests", "Requests", "COUNT(*)"),
    ] {
        for (by, split, title_of) in [("login", "model", "model"), ("agent", "agent", "agent")] {
            let path = format!("/ui/overview?{query}&by={by}&metric={metric}");
            let page = pages.get(&path).await;
            let rows = table(&page, &format!("{title} by {step} and {title_of}"));
            let mut shown = BTreeMap::new();
            let mut rows = rows.unwrap_or_default().into_iter();
            let head = rows.next().unwrap_or_default();
            for row in rows {
                for (column, cell) in head.iter().zip(&row).skip(1) {
                    if number(cell) > 0 {
                        shown.insert((row[0].clone(), name(column)), number(cell));
                    }
                }
            }
            let counted = place
                .texts(&format!(
                    "SELECT CAST(started_at / {length} AS TEXT), {split}, CAST({sum} AS TEXT) \
                     FROM entries WHERE {sql} GROUP BY started_at / {length}, {split}"
                ))
                .await;
            let counted: BTreeMap<(String, String), i64> = counted
                .into_iter()
                .map(|row| {
                    let at: i64 = row[0].parse().unwrap();
                    let time = jiff::Timestamp::from_millisecond(at * length).unwrap();
                    let time = time.to_string();
                    let slot = match step {
                        "day" => time[..10].to_owned(),
                        _ => time[5..16].replace('T', " "),
                    };
                    ((slot, row[1].clone()), row[2].parse().unwrap())
                })
                .filter(|(_, value)| *value > 0)
                .collect();
            assert_eq!(shown, counted, "{path}");
        }
    }
}

/// The newest requests and sessions that a filter leaves.
async fn lists(place: &Place, pages: &Pages, query: &str, sql: &str) {
    let page = pages.get(&format!("/ui/requests?{query}")).await;
    let link = Regex::new(r#"<th scope="row"><a href="/ui/requests/([^"]*)""#).unwrap();
    let shown: Vec<String> = link
        .captures_iter(&page)
        .map(|found| found[1].to_owned())
        .collect();
    let found = place
        .texts(&format!(
            "SELECT id FROM entries WHERE {sql} ORDER BY id DESC LIMIT 50"
        ))
        .await;
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert_eq!(shown, found, "/ui/requests?{query}");
    // Sessions have neither headers nor one time.
    if ["header=", "days=", "from="]
        .iter()
        .any(|name| query.contains(name))
    {
        return;
    }
    let page = pages.get(&format!("/ui/sessions?{query}")).await;
    let link = r#"<th scope="row"><a href="/ui/sessions/one\?login=([^&]*)&amp;session=([^"]*)""#;
    let link = Regex::new(link).unwrap();
    let shown: Vec<Vec<String>> = link
        .captures_iter(&page)
        .map(|found| {
            let login = found[1].replace("%40", "@").replace("%3A", ":");
            vec![login, found[2].to_owned()]
        })
        .collect();
    let found = place
        .texts(&format!(
            "SELECT login, session FROM sessions WHERE EXISTS (SELECT 1 FROM entries \
             WHERE entries.login = sessions.login AND entries.session = sessions.session AND {sql}) \
             ORDER BY last_request DESC LIMIT 50"
        ))
        .await;
    assert_eq!(shown, found, "/ui/sessions?{query}");
}
