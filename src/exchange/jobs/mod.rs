//! Files and batches: what callers have this gateway do for them beyond a request, in the APIs of OpenAI,
//! Anthropic and Gemini (`family`).
//!
//! ```text
//! file     a caller's, on the disk of this node (`disk`), with an object that says whose it is
//! batch    an object; its lines stand in a file
//!            `new`     checks the lines when it is made (`input`)
//!            `batches`, `messages` and `operations` are the three APIs
//!            `runner`  takes open batches, a few at a time, one process each
//!            `running` runs a batch line by line (`held`), and survives a restart
//!            `line`    asks one line as its owner (`owners`), through the whole pipeline
//!          or, where its provider has batches itself (`relayed`):
//!            `preparing` takes each line through the pipeline up to its provider
//!            `relaying`  makes the provider's batch, and follows it (`asking`), however long that takes (`patience`)
//!            `fetching`  gets its results
//!            `results`   charges and records each line, by what the disk has of the batch (`working`)
//! ```
//!
//! A line is a request like any other: grants, guardrails, hooks, budgets and records are those of the
//! moment in which it runs, so that a batch outlives neither its owner's access nor their budget.

mod asking;
mod attached;
mod batches;
mod detail;
mod disk;
mod download;
mod family;
mod fetching;
mod files;
mod google;
mod held;
mod input;
mod job;
mod line;
mod messages;
mod new;
mod operations;
mod owners;
mod page;
mod patience;
mod preparing;
mod relayed;
mod relaying;
mod results;
mod runner;
mod running;
mod seeking;
mod working;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use super::context::{Context, Surface};
use super::ending::{Ended, Ending, Stage};
use super::entry::Ticket;
use super::refusal::Refused;
use super::served::served;
use super::{Gateway, Verified, route};
use crate::base::lock::lock;
use crate::formats::{Format, anthropic_batches, gemini_batches, gemini_files, openai_batches};
use crate::records::owner_key;
use crate::wire::{Body, Rejection, body};
use detail::FileApi;
use job::Job;
use operations::HasResults;

pub use disk::Disk;
pub use owners::Owners;
pub use runner::Runner;

/// How long files are kept at most, and batches after their end.
const KEPT_MS: i64 = 30 * 86_400_000;

/// How often room is made for an owner, and for how many.
const ROOM: Duration = Duration::from_mins(1);
const MOST_ROOMS: usize = 100;

/// What this node has for files and batches.
pub struct Jobs {
    disk: Arc<Disk>,
    /// A batch was made.
    made: Notify,
    /// Lines are sent to providers one batch at a time: they are whole in memory.
    sending: Semaphore,
    /// When room was last made for an owner.
    room_made: Mutex<HashMap<String, Instant>>,
}

impl Jobs {
    /// Files in a folder.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self {
            disk: Arc::new(disk),
            made: Notify::new(),
            sending: Semaphore::new(1),
            room_made: Mutex::default(),
        }
    }

    /// Whether room may be made for an owner: that looks at all that they have.
    fn may_make_room(&self, owner: &str) -> bool {
        let mut made = lock(&self.room_made);
        made.retain(|_, at| at.elapsed() < ROOM);
        let may = made.len() < MOST_ROOMS && !made.contains_key(owner);
        if may {
            made.insert(owner.to_owned(), Instant::now());
        }
        may
    }
}

/// The format of a request for a file or a batch; `None` if it is for something else.
#[must_use]
pub fn format_of(method: &Method, path: &str, headers: &HeaderMap) -> Option<&'static Format> {
    Job::of(method, path, headers).map(Job::format)
}

/// A request for a file or a batch.
struct Asked<'a> {
    context: &'a Context,
    head: &'a Parts,
    body: &'a [u8],
    /// Whose files and batches it is about, as their rows have it.
    owner: Cow<'a, str>,
}

impl Asked<'_> {
    fn owner(&self) -> &str {
        &self.owner
    }

    /// The gateway as the caller knows it.
    fn origin(&self) -> String {
        self.context.who.url.origin(self.head)
    }
}

impl Gateway {
    /// Handles a request for a file or a batch. Refusals are responses in the format's own shape.
    pub async fn handle_job<B>(
        &self,
        format: &'static Format,
        who: Verified,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let job = Job::of(request.method(), request.uri().path(), request.headers());
        let is_recorded = job.is_some_and(Job::is_recorded);
        let is_named = |status: StatusCode| is_recorded || !status.is_success();
        served(format, is_named, |ticket| {
            self.serve_job(ticket, format, who, request)
        })
        .await
    }

    async fn serve_job<B>(
        &self,
        ticket: Ticket,
        format: &'static Format,
        who: Verified,
        request: Request<B>,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (mut head, incoming) = request.into_parts();
        let identified = self.identify(&who, &head.headers).await?;
        let admitted = self
            .admit(ticket, who, identified, &head, Surface::Http, format)
            .await?;
        let path = head.uri.path().to_owned();
        let Some(job) = Job::of(&head.method, &path, &head.headers) else {
            return Err(Rejection::panicked());
        };
        let read = if job.has_body() {
            route::body(admitted.context(), &mut head, incoming).await
        } else {
            Ok(Bytes::new())
        };
        let (mut draft, context) = admitted.into_parts();
        let answered = match &read {
            Ok(body) => {
                draft.entry.request_bytes = body.len() as u64;
                let asked = Asked {
                    context: &context,
                    head: &head,
                    body,
                    owner: owner_key(context.asker.owner().key()),
                };
                self.act(job, &asked).await
            }
            Err(rejection) => Err(rejection.clone()),
        };
        let response = match answered {
            Ok(response) => response,
            Err(rejection) => return Err(Refused::new(draft, Stage::Route, rejection).record()),
        };
        if job.is_recorded() || response.extensions().get::<HasResults>().is_some() {
            draft.entry.status = response.status().as_u16();
            draft.end(Ended::new(Ending::Complete));
            if self.ledger.acknowledges() {
                self.ledger.written_so_far().await?;
            }
        } else {
            draft.withdraw();
        }
        Ok(response)
    }

    async fn act(&self, job: Job<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
        use anthropic_batches::Action as Anthropic;
        use gemini_batches::Action as Gemini;
        use gemini_files::Action as GeminiFile;
        use openai_batches::Action as OpenAi;

        if asked.context.named.is_some() {
            let why = "files and batches are a caller's own: they can't be had for another person";
            return Err(bad("unsupported", why));
        }
        let origin = asked.origin();
        let api = match job {
            Job::OpenAi(_) => FileApi::OpenAi,
            Job::AnthropicFile(_) | Job::Anthropic(_) => FileApi::Anthropic,
            Job::GeminiFile(_) | Job::Gemini(_) => FileApi::Gemini { origin: &origin },
        };
        let answer = match job {
            Job::OpenAi(action) | Job::AnthropicFile(action) => match action {
                OpenAi::Upload => self.upload(asked, api).await,
                OpenAi::ListFiles => self.list_files(asked, api).await,
                OpenAi::File(id) => self.file(asked, id, api).await,
                OpenAi::DeleteFile(id) => self.delete_file(asked, id, api).await,
                OpenAi::Content(id) => return self.content(asked, id).await,
                OpenAi::CreateBatch => self.create_batch(asked).await,
                OpenAi::ListBatches => self.list_batches(asked).await,
                OpenAi::Batch(id) => self.batch(asked, id).await,
                OpenAi::CancelBatch(id) => self.cancel_batch(asked, id).await,
            },
            Job::Anthropic(action) => match action {
                Anthropic::Create => self.create_messages(asked).await,
                Anthropic::List => self.list_messages(asked).await,
                Anthropic::Batch(id) => self.messages(asked, id).await,
                Anthropic::Results(id) => return self.results(asked, id).await,
                Anthropic::Cancel(id) => self.cancel_messages(asked, id).await,
                Anthropic::Delete(id) => self.delete_messages(asked, id).await,
            },
            Job::GeminiFile(action) => match action {
                GeminiFile::Upload => return self.upload_step(asked).await,
                GeminiFile::List => self.list_files(asked, api).await,
                GeminiFile::File(id) => self.file(asked, id, api).await,
                GeminiFile::Content(id) => return self.content(asked, id).await,
                GeminiFile::Delete(id) => self.delete_file(asked, id, api).await,
            },
            Job::Gemini(action) => match action {
                Gemini::Create(method) => self.create_operation(asked, method).await,
                Gemini::List => self.list_operations(asked).await,
                Gemini::Batch(id) => return self.operation(asked, id).await,
                Gemini::Cancel(id) => self.cancel_operation(asked, id).await,
                Gemini::Delete(id) => self.delete_operation(asked, id).await,
            },
        };
        answer.map(|answer| json(&answer))
    }
}

fn json(answer: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(answer.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn bad(code: &'static str, why: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, code, why)
}

/// The refusal of what the caller doesn't have: the same whether or not another caller has it.
fn not_found(what: &str, id: &str) -> Rejection {
    let shown: String = id.chars().take(120).collect();
    let why = format!("no {what} {shown:?}");
    Rejection::new(StatusCode::NOT_FOUND, "not_found", why)
}

/// The id of something new.
fn new_id(kind: &str) -> Result<String, Rejection> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the operating system gave no random bytes");
        Rejection::panicked()
    })?;
    Ok(format!("{kind}{:032x}", u128::from_be_bytes(random)))
}

/// Work on the disk, beside the threads that serve requests.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Rejection> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Rejection::panicked())
}
