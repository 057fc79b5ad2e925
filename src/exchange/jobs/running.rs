//! A batch that is run: one line after the other, while its provider has little else to do. Each result is
//! on the disk before the next line is begun, and so is that a line was begun: after a restart the batch goes
//! on, and a line that was running is asked once more at most.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::detail::{FileDetail, RESULTS, Status};
use super::disk::{Disk, DiskError};
use super::family::{LineId, Unasked};
use super::held::{HeldBatch, Stop};
use super::input::{Input, NextLine, line_format, understood};
use super::line::{Answer, ToAsk};
use super::new::route;
use super::owners::{Owners, Whose};
use super::relayed::{Known, Progress, Relayed, RunBy};
use super::{Gateway, KEPT_MS, on_disk};
use crate::base::clock::{self, backoff};
use crate::exchange::Verified;
use crate::formats::openai_batches::{Flaw, error_line};
use crate::formats::{Call, Format};
use crate::records::balances::Reservation;
use crate::records::objects::State;
use crate::wire::Rejection;

/// How often a line is begun.
const MOST_TRIES: u32 = 2;
/// How often a line is asked whose provider or budget refuses it for the moment, and the pauses between.
pub(super) const MOST_REFUSALS: u32 = 5;
pub(super) const PAUSE: Duration = Duration::from_secs(10);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Between two looks whether the provider has little else to do.
const BUSY: Duration = Duration::from_millis(500);
/// Between two looks while the tailnet can't be asked.
pub(super) const UNKNOWN: Duration = Duration::from_secs(30);
/// Bytes of lines that are given up together.
const GIVEN_UP: usize = 256 << 10;

/// A batch that this process runs.
pub(super) struct Running<'r> {
    pub(super) owners: &'r Owners<'r>,
    pub(super) held: HeldBatch<'r>,
    pub(super) format: &'static Format,
    /// How often the next line was refused for the moment.
    pub(super) refusals: u32,
    /// The line that waits for its provider.
    waiting: Option<Waiting>,
    /// How often the provider was looked at in this stage.
    pub(super) looks: u32,
    /// Whether the lines that are checked next may have been checked before a restart.
    pub(super) may_repeat: bool,
    /// Since when it isn't known whether the provider has made it.
    pub(super) unsure: Option<Instant>,
    /// Batches of the provider that proved to be others.
    pub(super) others: HashSet<String>,
    pub(super) known: &'r Known,
    /// What is held of budgets while a provider runs it; `None` until that was tried.
    pub(super) holds: Option<Vec<Reservation>>,
    /// Which of its lines are recorded, once that was found out.
    pub(super) progress: Option<Progress>,
}

/// A line that waits: it is read again once its provider has room.
struct Waiting {
    /// Where it begins.
    at: u64,
    model: String,
}

/// What follows a step.
pub(super) enum Next {
    /// The next one.
    Step,
    /// The same after a while.
    Wait(Duration),
}

/// The line that is to be run next.
pub(super) struct Begun {
    pub(super) custom_id: String,
    /// What it asks, or what is wrong with it by now.
    pub(super) call: Result<Call, Flaw>,
    /// Where the next one begins.
    pub(super) end: u64,
}

impl<'r> Running<'r> {
    /// A batch that is held; `None` if no format has its endpoint any more.
    pub(super) fn new(
        owners: &'r Owners<'r>,
        known: &'r Known,
        held: HeldBatch<'r>,
    ) -> Option<Self> {
        Some(Self {
            owners,
            format: line_format(&held.detail.endpoint)?,
            held,
            refusals: 0,
            looks: 0,
            may_repeat: true,
            unsure: None,
            others: HashSet::new(),
            known,
            holds: None,
            progress: None,
            waiting: None,
        })
    }

    pub(super) fn gateway(&self) -> &'r Gateway {
        self.held.gateway
    }

    /// Runs it until it ends, or can't be run here.
    pub(super) async fn run(&mut self) {
        loop {
            let stop = match self.step().await {
                Ok(Next::Step) => continue,
                Ok(Next::Wait(wait)) => match self.held.wait(wait).await {
                    Ok(()) => continue,
                    Err(stop) => stop,
                },
                Err(stop) => stop,
            };
            if let Stop::Failed(why) = stop {
                let id = self.held.object.id.as_str();
                tracing::warn!(id, why = %why.message, "a batch waits");
            }
            return;
        }
    }

    /// Goes on by a step, or ends the batch.
    async fn step(&mut self) -> Result<Next, Stop> {
        match &self.held.detail.run_by {
            RunBy::Gateway => self.run_line().await,
            RunBy::Provider(relayed) => {
                let relayed = Relayed::clone(relayed);
                Box::pin(self.relay(relayed)).await
            }
        }
    }

    /// Runs one line, or ends the batch.
    async fn run_line(&mut self) -> Result<Next, Stop> {
        if self.held.detail.status == Status::Cancelling {
            return self.give_up(Unasked::Cancelled, Status::Cancelled).await;
        }
        if clock::unix_ms() >= self.held.detail.deadline {
            return self.give_up(Unasked::Expired, Status::Expired).await;
        }
        if self.still_waits().await {
            return Ok(Next::Wait(BUSY));
        }
        let Some(begun) = self.next_line().await? else {
            return self.end(Status::Completed).await;
        };
        let call = match begun.call {
            Ok(call) => call,
            Err(flaw) => {
                let line =
                    self.unasked(&begun.custom_id, Unasked::Failed(flaw.code), &flaw.message);
                return self.note(begun.end, &line, false).await;
            }
        };
        let who = match self.whose().await {
            Whose::Owner(who) => Some(who),
            Whose::Other => None,
            Whose::Unknown => return Ok(Next::Wait(UNKNOWN)),
        };
        if let Some(who) = &who
            && self.is_busy(who, &call.model)
        {
            self.waiting = Some(Waiting {
                at: self.held.detail.next,
                model: call.model.to_string(),
            });
            return Ok(Next::Wait(BUSY));
        }
        if self.held.detail.tries >= MOST_TRIES {
            let why = "the gateway stopped twice while it asked this line";
            let line = self.unasked(&begun.custom_id, Unasked::Failed("interrupted"), why);
            return self.note(begun.end, &line, false).await;
        }
        let answer = if let Some(who) = who {
            self.held.detail.tries += 1;
            self.held.save(State::Open, None).await?;
            if self.held.detail.status == Status::Cancelling {
                return Ok(Next::Step);
            }
            self.ask(who, call).await?
        } else {
            let why = "the device that made this batch is gone, or is another caller's now";
            let rejection = Rejection::new(StatusCode::FORBIDDEN, "no_identity", why);
            Answer::refused(self.format, &rejection, String::new())
        };
        let pause = backoff(PAUSE, self.refusals, LONGEST_PAUSE);
        if let Some(wait) = answer.retry(pause)
            && self.refusals < MOST_REFUSALS
        {
            self.refusals += 1;
            // It has ended: a restart does not count against it.
            self.held.detail.tries = 0;
            self.held.save(State::Open, None).await?;
            return Ok(Next::Wait(wait.clamp(pause, LONGEST_PAUSE)));
        }
        let id = self.line_id();
        let line = LineId {
            id: &id,
            custom_id: &begun.custom_id,
        };
        let line = answer.line(self.held.detail.family, line);
        self.note(begun.end, &line, answer.is_success()).await
    }

    /// Whether the next line waited for its provider, and still has to.
    async fn still_waits(&mut self) -> bool {
        let at = self.held.detail.next;
        let Some(waiting) = self.waiting.take_if(|waiting| waiting.at == at) else {
            return false;
        };
        let waits = match self.whose().await {
            Whose::Owner(who) => self.is_busy(&who, &waiting.model),
            Whose::Other | Whose::Unknown => false,
        };
        self.waiting = waits.then_some(waiting);
        waits
    }

    /// Who the lines are asked as.
    pub(super) async fn whose(&self) -> Whose {
        let (object, detail) = (&self.held.object, &self.held.detail);
        self.owners.whose(&object.owner, &detail.device).await
    }

    /// The line that is to be run next; `None` behind the last one.
    pub(super) async fn next_line(&mut self) -> Result<Option<Begun>, Stop> {
        let (disk, at) = (Arc::clone(&self.gateway().jobs.disk), self.held.detail.next);
        let (owner, id) = (
            self.held.object.owner.clone(),
            self.held.detail.input.clone(),
        );
        let longest = self.longest();
        let (format, endpoint) = (self.format, self.held.detail.endpoint.clone());
        let family = self.held.detail.family;
        // Lines were read when the batch was made; the configuration may be another by now.
        let found = on_disk(move || {
            let mut input = Input::open(disk.read(&owner, &id)?, at, longest)?;
            let line = match input.line()? {
                NextLine::End => None,
                NextLine::TooLong => {
                    let why = "this line is longer than a request may be".to_owned();
                    Some((String::new(), Err(Flaw::new("line_too_long", None, why))))
                }
                NextLine::Line(line) => Some(understood(&line, family, format, &endpoint)),
            };
            Ok((line, input.at()))
        });
        let found: Result<_, std::io::Error> = found.await?;
        let (line, end) = match found {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let why = "the input file was deleted or has expired".to_owned();
                return self.fail("input_file_gone", why).await.map(|_| None);
            }
            Err(error) => return Err(Rejection::from(DiskError::from(error)).into()),
        };
        Ok(line.map(|(custom_id, call)| Begun {
            custom_id,
            call,
            end,
        }))
    }

    /// Bytes that a request and a response may have.
    pub(super) fn longest(&self) -> usize {
        self.gateway().rules.borrow().request_body
    }

    /// Whether the provider of a line has so much else to do that the line has to wait.
    fn is_busy(&self, who: &Verified, model: &str) -> bool {
        let gateway = self.gateway();
        let rules = gateway.rules.borrow().clone();
        // A caller without access is refused when the line is asked.
        let Ok(permit) = rules.access.cached_permit(&who.caller) else {
            return false;
        };
        let path = &self.held.detail.endpoint;
        let Some(route) = route(&rules, &permit, self.format, path, model) else {
            return false;
        };
        let half = (route.provider.slots / 2).max(1);
        gateway.traffic.open_at(&route.provider) >= half
    }

    /// Asks a line, and holds the batch meanwhile.
    async fn ask(&mut self, who: Verified, call: Call) -> Result<Answer, Stop> {
        let request = self.to_ask(call.body).request()?;
        let asking = Answer::of(self.gateway(), self.format, who, request, self.longest());
        self.held.during(asking).await
    }

    /// A line that is to be asked.
    pub(super) fn to_ask(&self, body: Bytes) -> ToAsk<'_> {
        let detail = &self.held.detail;
        ToAsk {
            endpoint: &detail.endpoint,
            batch: &self.held.object.id,
            headers: &detail.headers,
            body,
        }
    }

    /// Notes the result of the next line, and goes on behind it.
    async fn note(&mut self, end: u64, line: &Value, is_success: bool) -> Result<Next, Stop> {
        let text = format!("{line}\n");
        if let Err(error) = self.append(text.into(), is_success).await? {
            return self.fail(error.code(), error.to_string()).await;
        }
        let counts = &mut self.held.detail.counts;
        if is_success {
            counts.completed += 1;
        } else {
            counts.failed += 1;
        }
        self.go_on(end).await?;
        Ok(Next::Step)
    }

    pub(super) async fn go_on(&mut self, end: u64) -> Result<(), Stop> {
        self.held.detail.next = end;
        self.held.detail.tries = 0;
        self.refusals = 0;
        // Its result is on the disk: it is asked again if this is lost.
        loop {
            match self.held.save(State::Open, None).await {
                Err(Stop::Failed(_)) if self.held.lasts() => tokio::time::sleep(PAUSE).await,
                saved => break saved?,
            }
        }
        self.held.renew_if_due().await
    }

    /// Appends results to their file. The inner error says that `limits.files` is reached, or that the file is gone.
    pub(super) async fn append(
        &mut self,
        text: Bytes,
        is_success: bool,
    ) -> Result<Result<(), DiskError>, Stop> {
        let is_output = is_success || !self.held.detail.family.parts_errors();
        let detail = &self.held.detail;
        let (id, at) = if is_output {
            (detail.output.clone(), detail.output_bytes)
        } else {
            (detail.errors.clone(), detail.errors_bytes)
        };
        let written = self.write(id, at, text).await?;
        Ok(written.map(|length| {
            if is_output {
                self.held.detail.output_bytes = length;
            } else {
                self.held.detail.errors_bytes = length;
            }
        }))
    }

    /// Writes text behind the first `at` bytes of a file. Returns its new length. The inner error says that
    /// `limits.files` is reached, or that the file is gone.
    pub(super) async fn write(
        &self,
        id: String,
        at: u64,
        text: Bytes,
    ) -> Result<Result<u64, DiskError>, Stop> {
        let most = self.gateway().rules.borrow().file.limits.files;
        let owner = self.held.object.owner.clone();
        let append = move |disk: &Disk| disk.append(&owner, &id, at, &text, most);
        match self
            .gateway()
            .written(&self.held.object.owner, append)
            .await?
        {
            Err(error @ DiskError::Io(_)) => Err(Rejection::from(error).into()),
            written => Ok(written),
        }
    }

    /// Ends the batch without asking the lines that are left. Those of a cancelled batch of OpenAI's have no
    /// results.
    async fn give_up(&mut self, unasked: Unasked, status: Status) -> Result<Next, Stop> {
        let family = self.held.detail.family;
        if unasked == Unasked::Cancelled && family.parts_errors() {
            return self.end(status).await;
        }
        loop {
            let (mut text, mut count) = (String::new(), 0);
            let mut next = self.held.detail.next;
            while text.len() < GIVEN_UP {
                let Some(begun) = self.next_line().await? else {
                    break;
                };
                let why = "this line was not asked before the batch ended";
                let line = self.unasked(&begun.custom_id, unasked, why);
                text.push_str(&line.to_string());
                text.push('\n');
                count += 1;
                next = begun.end;
                self.held.detail.next = next;
            }
            if count == 0 {
                return self.end(status).await;
            }
            if let Err(error) = self.append(text.into(), false).await? {
                return self.fail(error.code(), error.to_string()).await;
            }
            self.held.detail.counts.failed += count;
            self.held.detail.given_up += count;
            self.go_on(next).await?;
        }
    }

    /// The result of the next line, which isn't asked.
    pub(super) fn unasked(&self, custom_id: &str, unasked: Unasked, why: &str) -> Value {
        let id = self.line_id();
        let line = LineId { id: &id, custom_id };
        self.held.detail.family.unasked(line, unasked, why)
    }

    /// The id of the next line: the same if it is asked again.
    pub(super) fn line_id(&self) -> String {
        let family = self.held.detail.family;
        let batch = self.held.object.id.trim_start_matches(family.prefix());
        format!("batch_req_{batch}_{}", self.held.detail.next)
    }

    /// Ends the batch, because it can't go on.
    pub(super) async fn fail(&mut self, code: &'static str, why: String) -> Result<Next, Stop> {
        let done = self.held.detail.counts.completed + self.held.detail.counts.failed;
        let flaw = Flaw::new(code, None, why);
        self.held.detail.flaws.push(error_line(&flaw, done + 1));
        self.end(Status::Failed).await
    }

    /// Ends the batch.
    pub(super) async fn end(&mut self, status: Status) -> Result<Next, Stop> {
        if self.held.detail.family.has_files() {
            // Files are made only of results of a batch that is still there.
            self.held.look().await?;
            self.keep_results().await?;
        }
        let now = clock::unix_ms();
        self.held.detail.come_to(status, now);
        let ends = now.saturating_add(KEPT_MS);
        self.held.save(State::Ended, Some(ends)).await?;
        if !self.held.detail.family.has_files() {
            // It came with the batch: its owner never had it as a file.
            let (owner, input) = (&self.held.object.owner, &self.held.detail.input);
            self.gateway().discard(owner, input).await;
        }
        let id = self.held.object.id.as_str();
        tracing::info!(id, ?status, "a batch has ended");
        Err(Stop::Over)
    }

    /// Makes files of its owner's of its results.
    async fn keep_results(&self) -> Result<(), Stop> {
        let detail = &self.held.detail;
        let files = [
            (&detail.output, detail.output_bytes, "output"),
            (&detail.errors, detail.errors_bytes, "errors"),
        ];
        let mut kept = Vec::new();
        for (id, bytes, what) in files {
            if bytes == 0 {
                continue;
            }
            let about = FileDetail {
                name: format!("{}_{what}.jsonl", self.held.object.id),
                purpose: RESULTS.to_owned(),
                kind: "application/jsonl".to_owned(),
                bytes,
            };
            let owner = &self.held.object.owner;
            kept.push(self.gateway().new_file(owner, id, &about, KEPT_MS));
        }
        // However many files there are: a batch has two at most, and batches are counted.
        Ok(self.gateway().ledger.insert_objects(kept).await?)
    }
}
