//! The least that a gateway with durable records costs: the bare proxy, and in the plainest way what a record takes. It
//! reads the model of a request and the usage of its response with `serde_json`, looks up whether the model is granted,
//! holds and settles a budget, passes on only known headers, logs a line of JSON, and writes each record with `SQLite`. Records of
//! 8 ms share a transaction, which is durable when it ends, and their sums.
//!
//! It has no identity, limits, failover, strict parsing or captures, and a stream has no record. What it takes of a request
//! is the floor for a gateway that has.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::bare::{self, Client};

const FROM_CALLER: [HeaderName; 3] = [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT];
const FROM_PROVIDER: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_LENGTH];

/// Nanodollars that are held for a request, and that a token costs.
const HELD: i64 = 1_000_000;
const PRICE: i64 = 100;

/// For how long records are gathered, as Iris does.
const GATHERED: Duration = Duration::from_millis(8);

type Body = Either<Full<Bytes>, Incoming>;

struct Gateway {
    client: Client<Full<Bytes>>,
    to: Authority,
    granted: HashSet<(String, String)>,
    balance: AtomicI64,
    records: Sender<Record>,
}

#[derive(Deserialize)]
struct Asked<'b> {
    #[serde(borrow)]
    model: Cow<'b, str>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Answered {
    usage: Usage,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Usage {
    prompt_tokens: i64,
    completion_tokens: i64,
}

/// What is kept of a request.
struct Record {
    id: String,
    started_at: i64,
    caller: String,
    model: String,
    status: u16,
    usage: Usage,
    cost: i64,
    rest: Rest,
}

/// The part that is only read with its record.
#[derive(Serialize)]
struct Rest {
    method: String,
    path: String,
    user_agent: String,
    request_bytes: usize,
    response_bytes: usize,
    first_byte_ms: f64,
    duration_ms: f64,
}

/// Serves until the process ends, on the runtime that Iris uses too, with its database in `dir`.
pub(crate) fn serve(port: u16, upstream: u16, dir: &Path) {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .init();
    let (records, written) = channel();
    let database = open(&dir.join("plain.db"));
    std::thread::spawn(move || write(database, &written));
    let granted = ["small", "large", "slow"].map(|model| (caller(), model.to_owned()));
    let gateway = Arc::new(Gateway {
        client: bare::client(),
        to: bare::authority(upstream),
        granted: granted.into_iter().collect(),
        balance: AtomicI64::new(i64::MAX / 2),
        records,
    });
    bare::listen(port, move |request| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.answer(request).await }
    });
}

fn caller() -> String {
    "user:1".to_owned()
}

impl Gateway {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, bare::Failed> {
        let began = Instant::now();
        let started_at = iris::base::clock::unix_ms();
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let Ok(asked) = serde_json::from_slice::<Asked<'_>>(&body) else {
            return Ok(refused(StatusCode::BAD_REQUEST));
        };
        let subject = (caller(), asked.model.into_owned());
        if !self.granted.contains(&subject) {
            return Ok(refused(StatusCode::FORBIDDEN));
        }
        if self.balance.fetch_sub(HELD, Ordering::Relaxed) < HELD {
            return Ok(refused(StatusCode::TOO_MANY_REQUESTS));
        }
        let sent = self.client.request(self.outbound(&head, body.clone()));
        let (provider, answer) = sent.await?.into_parts();
        let first_byte_ms = ms(began);
        let mut response = Response::new(());
        *response.status_mut() = provider.status;
        *response.headers_mut() = known(&FROM_PROVIDER, &provider.headers);
        if asked.stream {
            return Ok(response.map(|()| Either::Right(answer)));
        }
        let answer = answer.collect().await?.to_bytes();
        let usage = serde_json::from_slice::<Answered>(&answer).map(|answered| answered.usage);
        let usage = usage.unwrap_or_default();
        let cost = PRICE * (usage.prompt_tokens + usage.completion_tokens);
        self.balance.fetch_add(HELD - cost, Ordering::Relaxed);
        let (caller, model) = subject;
        let agent = head.headers.get(header::USER_AGENT);
        let record = Record {
            id: format!("req_{:016x}", getrandom::u64().unwrap()),
            started_at,
            caller,
            model,
            status: provider.status.as_u16(),
            usage,
            cost,
            rest: Rest {
                method: head.method.as_str().to_owned(),
                path: head.uri.path().to_owned(),
                user_agent: agent
                    .and_then(|agent| agent.to_str().ok())
                    .unwrap_or_default()
                    .to_owned(),
                request_bytes: body.len(),
                response_bytes: answer.len(),
                first_byte_ms,
                duration_ms: ms(began),
            },
        };
        tracing::info!(
            id = record.id,
            caller = record.caller,
            model = record.model,
            status = record.status,
            duration_ms = record.rest.duration_ms,
            "request"
        );
        self.records.send(record).unwrap();
        Ok(response.map(|()| Either::Left(Full::new(answer))))
    }

    fn outbound(&self, head: &Parts, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = bare::at(&self.to, head.uri.clone());
        *request.headers_mut() = known(&FROM_CALLER, &head.headers);
        request
    }
}

fn known(names: &[HeaderName], from: &HeaderMap) -> HeaderMap {
    let known = names.iter();
    let known = known.filter_map(|name| Some((name.clone(), from.get(name)?.clone())));
    known.collect()
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE requests (id TEXT NOT NULL, at INTEGER NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL,
        status INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cost INTEGER NOT NULL,
        rest TEXT NOT NULL) STRICT;
    CREATE INDEX requests_caller ON requests (caller, at);
    CREATE TABLE sums (day INTEGER NOT NULL, caller TEXT NOT NULL, model TEXT NOT NULL, requests INTEGER NOT NULL,
        input INTEGER NOT NULL, output INTEGER NOT NULL, cost INTEGER NOT NULL, PRIMARY KEY (day, caller, model)) STRICT;";

const INSERT: &str = "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

const ADD: &str = "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, input = input + excluded.input, output = output + excluded.output,
    cost = cost + excluded.cost";

fn open(path: &Path) -> rusqlite::Connection {
    let _ = std::fs::remove_file(path);
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    database
}

/// Writes what comes, in groups.
#[expect(clippy::disallowed_methods, reason = "a thread of its own gathers")]
fn write(mut database: rusqlite::Connection, records: &Receiver<Record>) {
    while let Ok(first) = records.recv() {
        std::thread::sleep(GATHERED);
        let group: Vec<Record> = [first].into_iter().chain(records.try_iter()).collect();
        let transaction = database.transaction().unwrap();
        let mut sums: BTreeMap<(i64, &str, &str), [i64; 4]> = BTreeMap::new();
        let mut insert = transaction.prepare_cached(INSERT).unwrap();
        for one in &group {
            let Usage {
                prompt_tokens: input,
                completion_tokens: output,
            } = one.usage;
            let rest = serde_json::to_string(&one.rest).unwrap();
            let row = (
                &one.id,
                one.started_at,
                &one.caller,
                &one.model,
                one.status,
                input,
                output,
                one.cost,
                rest,
            );
            insert.execute(row).unwrap();
            let key = (
                one.started_at / 86_400_000,
                one.caller.as_str(),
                one.model.as_str(),
            );
            let added = sums.entry(key).or_default();
            for (sum, more) in added.iter_mut().zip([1, input, output, one.cost]) {
                *sum += more;
            }
        }
        let mut add = transaction.prepare_cached(ADD).unwrap();
        for ((day, caller, model), [requests, input, output, cost]) in sums {
            add.execute((day, caller, model, requests, input, output, cost))
                .unwrap();
        }
        drop((insert, add));
        transaction.commit().unwrap();
    }
}
