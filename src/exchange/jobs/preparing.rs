//! The lines of a batch that a provider is to run: each is cleared as its owner's, and written down as the provider
//! gets it. A batch that can't run there after all is run by the gateway, from its first line on.
//!
//! A line that is refused has its record before that is noted of its batch, and the gateway may be killed in between. So
//! a record's id follows from its line, and after a restart a line whose record says that it was refused isn't checked
//! again. Nothing is checked after a refused line before that is noted.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::detail::Status;
use super::disk::DiskError;
use super::family::{LineId, Unasked};
use super::held::Stop;
use super::line::Answer;
use super::owners::Whose;
use super::relayed::{Expected, Note, Relayed, RunBy, Stage};
use super::running::{Begun, LONGEST_PAUSE, MOST_REFUSALS, Next, PAUSE, Running, UNKNOWN};
use crate::base::clock::{self, backoff};
use crate::base::labels::Labels;
use crate::base::money::Money;
use crate::exchange::Verified;
use crate::exchange::batched::{BatchLine, Batched};
use crate::exchange::entry::Ticket;
use crate::formats::openai_batches::Flaw;
use crate::formats::remote_batches::RemoteBatches;
use crate::policy::budget::Amounts;
use crate::records::objects::State;
use crate::records::{Entry, EntryId, Outcome, Scope};
use crate::wire::Rejection;

/// Bytes of lines that are written together, and how many.
const GROUP: usize = 1 << 20;
const GROUP_LINES: u64 = 200;
/// Bytes of the lines that a provider gets: they are sent from memory.
const MOST_BYTES: u64 = 200 << 20;

/// Lines that are written together.
#[derive(Default)]
struct Group {
    lines: Vec<u8>,
    notes: Vec<u8>,
    /// Results of lines that are refused.
    refused: String,
    refused_count: u64,
    /// One of them has a record.
    has_record: bool,
    count: u64,
}

/// What comes after a group.
enum Then {
    /// Another one.
    Group,
    /// The same line after a while.
    Wait(Duration),
    /// The batch is sent: that was its last line.
    Send,
    /// The gateway runs the batch.
    Here(&'static str),
}

impl Running<'_> {
    /// Prepares some lines.
    pub(super) async fn prepare(
        &mut self,
        remote: &RemoteBatches,
        mut relayed: Relayed,
    ) -> Result<Next, Stop> {
        let is_late = clock::unix_ms() >= self.held.detail.deadline;
        if is_late || self.held.detail.status == Status::Cancelling {
            return self.run_here(relayed, "it ends before it is sent").await;
        }
        if relayed.since == 0 {
            return self.next_group(relayed, clock::unix_ms()).await;
        }
        let mut group = Group::default();
        let then = loop {
            let then = self.prepare_line(remote, &mut relayed, &mut group);
            let then = then.await?;
            let size = group.lines.len() + group.notes.len() + group.refused.len();
            let is_full = size >= GROUP || group.count + group.refused_count >= GROUP_LINES;
            match then {
                // A line with a record isn't checked again once that is written down.
                Then::Group if group.has_record => break then,
                Then::Group if !is_full => {}
                then => break then,
            }
        };
        if let Then::Here(why) = then {
            return self.run_here(relayed, why).await;
        }
        if group.count + group.refused_count > 0 {
            return self.write_group(relayed, group, then).await;
        }
        match then {
            Then::Wait(wait) => {
                self.next_group(relayed, 0).await?;
                Ok(Next::Wait(wait))
            }
            Then::Send if relayed.sent == 0 => {
                let ended = self.end(Status::Completed).await;
                self.discard_files(&relayed).await;
                ended
            }
            _ => match self.hold(&relayed, relayed.sent).await? {
                Held::Done => {
                    relayed.stage = Stage::Sending;
                    self.keep(relayed).await
                }
                Held::Wait => Ok(Next::Wait(UNKNOWN)),
                Held::Denied(why) => self.run_here(relayed, &why).await,
            },
        }
    }

    /// Goes on with lines that no process has begun.
    async fn next_group(&mut self, mut relayed: Relayed, since: i64) -> Result<Next, Stop> {
        relayed.since = since;
        let next = self.keep(relayed).await?;
        self.may_repeat = false;
        Ok(next)
    }

    /// Writes lines down, and goes on behind them.
    async fn write_group(
        &mut self,
        mut relayed: Relayed,
        group: Group,
        then: Then,
    ) -> Result<Next, Stop> {
        let mut error = None;
        let files = [
            (&mut relayed.lines, group.lines),
            (&mut relayed.notes, group.notes),
        ];
        for (file, text) in files.into_iter().filter(|(_, text)| !text.is_empty()) {
            let written = self.write(file.id.clone(), file.bytes, text.into());
            match written.await? {
                Ok(length) => file.bytes = length,
                Err(why) => error = Some(why.to_string()),
            }
        }
        if error.is_none() && relayed.lines.bytes > MOST_BYTES {
            error = Some("its lines are too long for one batch of a provider's".to_owned());
        }
        if let Some(why) = error {
            return self.run_here(relayed, &why).await;
        }
        if group.refused_count > 0 {
            match self.append(group.refused.into(), false).await? {
                Ok(()) => {}
                Err(lost @ DiskError::Lost) => {
                    return self.run_here(relayed, &lost.to_string()).await;
                }
                Err(full) => return self.fail(full.code(), full.to_string()).await,
            }
        }
        self.held.detail.counts.failed += group.refused_count;
        relayed.since = match then {
            Then::Wait(_) => 0,
            _ => clock::unix_ms(),
        };
        if group.has_record {
            self.gateway().recorded().await;
        }
        self.held.detail.run_by = RunBy::Provider(Box::new(relayed));
        self.go_on(self.held.detail.next).await?;
        self.may_repeat = false;
        match then {
            Then::Wait(wait) => {
                self.refusals = 1;
                Ok(Next::Wait(wait))
            }
            _ => Ok(Next::Step),
        }
    }

    /// Prepares the next line.
    async fn prepare_line(
        &mut self,
        remote: &RemoteBatches,
        relayed: &mut Relayed,
        group: &mut Group,
    ) -> Result<Then, Stop> {
        let Some(begun) = self.next_line().await? else {
            return Ok(Then::Send);
        };
        let Begun {
            custom_id,
            call,
            end,
        } = begun;
        let call = match call {
            Ok(call) => call,
            Err(flaw) => {
                let Flaw { code, message, .. } = flaw;
                let line = self.unasked(&custom_id, Unasked::Failed(code), &message);
                return Ok(self.note_refused(group, &line.to_string(), end));
            }
        };
        let mut id = EntryId::of(relayed.since, &self.line_id());
        if self.may_repeat
            && let Some(entry) = self.recorded_as(&id).await?
        {
            if let Some(rejection) = refused(&entry) {
                group.has_record = true;
                let answer = Answer::refused(self.format, &rejection, id.to_string());
                return Ok(self.note_answer(group, &answer, &custom_id, end));
            }
            id = EntryId::new(clock::unix_ms());
        }
        let who = match self.whose().await {
            Whose::Owner(who) => who,
            Whose::Unknown => return Ok(Then::Wait(UNKNOWN)),
            Whose::Other => {
                let answer = Answer::refused(self.format, &no_owner(), String::new());
                return Ok(self.note_answer(group, &answer, &custom_id, end));
            }
        };
        match self.batched(who, call.body, relayed, id).await? {
            Batched::Elsewhere => Ok(Then::Here(
                "not all of its lines fit the provider's batches",
            )),
            Batched::Refused { rejection, .. }
                if is_for_now(rejection.status) && self.refusals < MOST_REFUSALS =>
            {
                let wait = backoff(PAUSE, self.refusals, LONGEST_PAUSE);
                self.refusals += 1;
                Ok(Then::Wait(wait))
            }
            Batched::Refused { rejection, id } => {
                group.has_record = true;
                let answer = Answer::refused(self.format, &rejection, id);
                Ok(self.note_answer(group, &answer, &custom_id, end))
            }
            Batched::Line(line) => {
                self.note_line(remote, relayed, group, *line, custom_id);
                self.held.detail.next = end;
                Ok(Then::Group)
            }
        }
    }

    /// A line's record that was made before a restart.
    async fn recorded_as(&self, id: &EntryId) -> Result<Option<Entry>, Stop> {
        let ledger = &self.gateway().ledger;
        Ok(ledger.request(Scope::Everyone, id.as_str()).await?)
    }

    /// Takes a line up to where a provider would be asked it. Its record has this id.
    async fn batched(
        &mut self,
        who: Verified,
        body: Bytes,
        relayed: &Relayed,
        id: EntryId,
    ) -> Result<Batched, Stop> {
        let request = self.to_ask(body).request()?;
        let (format, ticket) = (self.format, Ticket { id });
        let gateway = self.gateway();
        let line = gateway.batched(format, who, request, &relayed.provider, ticket);
        self.held.during(line).await
    }

    fn note_line(
        &self,
        remote: &RemoteBatches,
        relayed: &mut Relayed,
        group: &mut Group,
        line: BatchLine,
        custom_id: String,
    ) {
        let name = relayed.name(relayed.sent);
        let Amounts { tokens, cost } = line.estimate;
        let before = relayed.expected.get(&line.model).copied();
        let before = before.unwrap_or(Expected {
            tokens: 0,
            cost: Some(0),
        });
        let expected = before.and(tokens, cost.map(Money::nanodollars));
        relayed.expected.insert(line.model.clone(), expected);
        let note = Note {
            custom_id,
            id: self.line_id(),
            model: line.model,
            at: relayed.lines.bytes + group.lines.len() as u64,
            running: line.running,
        };
        let text = (remote.line)(&name, &self.held.detail.endpoint, &line.body);
        group.lines.extend(text);
        group.lines.push(b'\n');
        // Texts and numbers always are JSON.
        group
            .notes
            .extend(serde_json::to_vec(&note).unwrap_or_default());
        group.notes.push(b'\n');
        group.count += 1;
        relayed.sent += 1;
    }

    fn note_answer(
        &mut self,
        group: &mut Group,
        answer: &Answer,
        custom_id: &str,
        end: u64,
    ) -> Then {
        let id = self.line_id();
        let line = answer.line(self.held.detail.family, LineId { id: &id, custom_id });
        self.note_refused(group, &line.to_string(), end)
    }

    fn note_refused(&mut self, group: &mut Group, line: &str, end: u64) -> Then {
        group.refused.push_str(line);
        group.refused.push('\n');
        group.refused_count += 1;
        self.held.detail.next = end;
        Then::Group
    }

    /// Holds of budgets what so many of the lines may cost, if that is not held by now.
    pub(super) async fn hold(&mut self, relayed: &Relayed, lines: u64) -> Result<Held, Stop> {
        if self.holds.is_some() {
            return Ok(Held::Done);
        }
        let detail = &self.held.detail;
        let who = match self.whose().await {
            Whose::Owner(who) => who,
            Whose::Unknown => return Ok(Held::Wait),
            Whose::Other => return Ok(Held::Denied(no_owner().message.into_owned())),
        };
        let rules = self.gateway().rules.borrow().clone();
        let Ok(permit) = rules.access.cached_permit(&who.caller) else {
            return Ok(Held::Denied("its owner has no access".to_owned()));
        };
        let mut providers = rules.routes.providers().iter();
        let Some(provider) = providers.find(|one| one.id == relayed.provider.as_str()) else {
            return Ok(Held::Denied("its provider is not configured".to_owned()));
        };
        let headers = detail.headers.iter();
        let labels = headers.filter(|(name, _)| name == crate::base::labels::HEADER);
        let labels = Labels::parse(labels.map(|(_, value)| value.as_bytes())).unwrap_or_default();
        let mut holds = Vec::with_capacity(relayed.expected.len());
        for (nth, (model, expected)) in relayed.expected.iter().enumerate() {
            let subject = provider.subject(model);
            let plan = rules.quotas.plan(&permit, &who.caller, &labels, subject);
            let plan = match plan {
                Ok(plan) if plan.counts_requests() => {
                    return Ok(Held::Denied("a budget counts requests".to_owned()));
                }
                Ok(plan) => plan,
                Err(denied) => return Ok(Held::Denied(denied.to_string())),
            };
            let estimate = expected.share(lines, relayed.sent);
            let name = || format!("{}/{nth}", self.held.object.id);
            match self.gateway().quotas.reserve(&plan, estimate, name).await {
                Ok(hold) if hold.is_covered() => holds.push(hold),
                Ok(_) => {
                    let why = "no budget covers what its lines may cost together";
                    return Ok(Held::Denied(why.to_owned()));
                }
                Err(denied) => return Ok(Held::Denied(denied.to_string())),
            }
        }
        self.holds = Some(holds);
        Ok(Held::Done)
    }

    /// Has the gateway run the batch, from its first line on: the provider runs none of it.
    pub(super) async fn run_here(&mut self, relayed: Relayed, why: &str) -> Result<Next, Stop> {
        let id = self.held.object.id.as_str();
        let provider = relayed.provider.as_str();
        tracing::info!(id, provider, why, "the gateway runs a batch itself");
        let detail = &mut self.held.detail;
        detail.run_by = RunBy::Gateway;
        (detail.counts.completed, detail.counts.failed) = (0, 0);
        (detail.next, detail.tries) = (0, 0);
        (detail.output_bytes, detail.errors_bytes) = (0, 0);
        self.holds = None;
        self.held.save(State::Open, None).await?;
        self.discard_files(&relayed).await;
        let detail = &self.held.detail;
        if detail.status == Status::Cancelling || clock::unix_ms() >= detail.deadline {
            // It only ends, which needs no place among those that run.
            return Ok(Next::Step);
        }
        self.held.put_off(Duration::ZERO).await;
        self.gateway().jobs.made.notify_one();
        Err(Stop::Over)
    }

    /// Deletes what this node's disk has of a batch that a provider runs.
    pub(super) async fn discard_files(&self, relayed: &Relayed) {
        for file in relayed.files() {
            self.gateway().discard(&self.held.object.owner, file).await;
        }
    }
}

/// What came of a hold.
pub(super) enum Held {
    Done,
    /// The tailnet can't be asked.
    Wait,
    Denied(String),
}

/// Whether a line may be let through later.
fn is_for_now(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// How a line was refused for good, by its record; `None` if it is to be checked again.
fn refused(entry: &Entry) -> Option<Rejection> {
    let is_refused = matches!(entry.outcome, Outcome::Refused | Outcome::Failed);
    let status = StatusCode::from_u16(entry.status).ok();
    let status = status.filter(|status| is_refused && !is_for_now(*status))?;
    let why = entry.error.clone().unwrap_or_default();
    Some(Rejection::new(status, "refused", why))
}

/// The refusal of a line whose owner is gone.
fn no_owner() -> Rejection {
    let why = "the device that made this batch is gone, or is another caller's now";
    Rejection::new(StatusCode::FORBIDDEN, "no_identity", why)
}
