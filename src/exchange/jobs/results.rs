//! What a provider's batch has made of its lines: each is charged, recorded and written to its owner's files, some at a
//! time. A line whose record is there was paid for, and isn't again after a restart.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;

use super::detail::Status;
use super::disk::DiskError;
use super::family::{LineId, Unasked};
use super::held::Stop;
use super::on_disk;
use super::relayed::{End, EndKind, Note, Relayed, Stage};
use super::running::{Next, PAUSE, Running};
use super::working::{Answered, Files, GROUP};
use crate::base::money::Mode;
use crate::exchange::ending::Ending;
use crate::exchange::facts::Kept;
use crate::exchange::followed::Followed;
use crate::formats;
use crate::formats::openai_batches::{Flaw, error_line};
use crate::formats::remote_batches::{RemoteBatches, RemoteResponse};
use crate::records::Scope;
use crate::wire::Rejection;

/// Lines that are written together.
#[derive(Default)]
struct Written {
    output: String,
    errors: String,
    completed: u64,
    failed: u64,
    given_up: u64,
}

/// How a line is recorded that has ended.
struct Ended<'e> {
    ending: Ending,
    status: u16,
    body: &'e Bytes,
}

impl Running<'_> {
    /// Records some results, or ends the batch behind the last one. `read` is where the next result begins; lines
    /// before `missing` have one.
    pub(super) async fn settle(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        end: End,
        (read, missing): (u64, u64),
    ) -> Result<Next, Stop> {
        let files = self.files(&relayed);
        let progress = self.progress.take();
        let found = on_disk(move || {
            let progress = match progress {
                Some(progress) => progress,
                None => files.progress(remote, read)?,
            };
            let (answered, at) = files.answered(remote, &progress, read)?;
            Ok::<_, io::Error>((progress, answered, at))
        });
        let found = found.await?;
        let (mut progress, answered, at) = match found {
            Ok(found) => found,
            Err(error) => return self.unread(error).await,
        };
        // After a restart. What can't be held is charged all the same.
        self.hold(&relayed, progress.left(missing)).await?;
        let mut written = Written::default();
        for Answered {
            nth,
            note,
            response,
        } in answered
        {
            // A provider that names a line twice is not paid twice.
            if std::mem::replace(&mut progress.has_result[nth], true) {
                continue;
            }
            if !self
                .answered(&relayed, &mut written, &note, &response)
                .await?
            {
                return self.pause().await;
            }
        }
        let (at, is_last) = at.map_or((relayed.results.bytes, true), |at| (at, false));
        let mut next = missing;
        let sent = progress.has_result.len() as u64;
        if is_last {
            let gaps = progress.has_result.iter().enumerate();
            let gaps = gaps.filter(|(nth, has_result)| *nth as u64 >= missing && !**has_result);
            let gaps: Vec<_> = gaps.map(|(nth, _)| nth).take(GROUP).collect();
            next = if gaps.len() < GROUP {
                sent
            } else {
                gaps.last().map_or(sent, |last| *last as u64 + 1)
            };
            let files = self.files(&relayed);
            let places = gaps.iter().map(|nth| progress.notes[*nth]).collect();
            let notes = match on_disk(move || files.notes(places)).await? {
                Ok(notes) => notes,
                Err(error) => return self.unread(error).await,
            };
            for note in notes {
                if !self.unanswered(&relayed, &end, &mut written, &note).await? {
                    return self.pause().await;
                }
            }
        }
        self.progress = Some(progress);
        self.gateway().recorded().await;
        self.write_results(written).await?;
        if is_last && next >= sent {
            return self.end_relayed(&relayed, end).await;
        }
        relayed.stage = Stage::Settling {
            end,
            read: at,
            missing: next,
        };
        self.keep(relayed).await
    }

    /// Ends the batch if what the disk had of it is gone. Else the disk may be read later.
    async fn unread(&mut self, error: io::Error) -> Result<Next, Stop> {
        if error.kind() == ErrorKind::NotFound {
            let why = "what the gateway has noted of the batch is no longer on its disk";
            return self.fail("batch_lost", why.to_owned()).await;
        }
        Err(Rejection::from(DiskError::from(error)).into())
    }

    /// Does the same group again after a while: records can't be written.
    async fn pause(&mut self) -> Result<Next, Stop> {
        self.gateway().recorded().await;
        Ok(Next::Wait(PAUSE))
    }

    fn files(&self, relayed: &Relayed) -> Files {
        Files {
            disk: Arc::clone(&self.gateway().jobs.disk),
            owner: self.held.object.owner.clone(),
            relayed: relayed.clone(),
            longest: self.longest(),
        }
    }

    /// Records a line that the provider names. Returns false if it can't be recorded now.
    async fn answered(
        &self,
        relayed: &Relayed,
        written: &mut Written,
        note: &Note,
        response: &RemoteResponse,
    ) -> Result<bool, Stop> {
        let family = self.held.detail.family;
        let line = LineId {
            id: &note.id,
            custom_id: &note.custom_id,
        };
        match response {
            RemoteResponse::Body(status, body) => {
                let bytes = Bytes::from(body.to_string());
                let is_success = (200..300).contains(status);
                let ending = if is_success {
                    Ending::Complete
                } else {
                    let words = formats::error_words(&bytes);
                    let words = words.unwrap_or_else(|| format!("the provider answered {status}"));
                    Ending::ProviderFailed(words)
                };
                let ended = Ended {
                    ending,
                    status: *status,
                    body: &bytes,
                };
                if !self.pay(relayed, note, ended).await? {
                    return Ok(false);
                }
                let id = note.running.entry.id.as_str();
                let text = family.asked(line, *status, id, body).to_string();
                written.add(&text, is_success);
            }
            RemoteResponse::Unasked { code, why } => {
                let unasked = match code.as_str() {
                    "batch_expired" => Unasked::Expired,
                    "batch_cancelled" => Unasked::Cancelled,
                    _ => Unasked::Failed("provider_failed"),
                };
                let why = format!("{code}: {why}");
                if let Unasked::Failed(_) = unasked {
                    let ended = Ended {
                        ending: Ending::ProviderFailed(why.clone()),
                        status: 0,
                        body: &Bytes::new(),
                    };
                    if !self.pay(relayed, note, ended).await? {
                        return Ok(false);
                    }
                } else {
                    written.given_up += 1;
                }
                let text = family.unasked(line, unasked, &why).to_string();
                written.add(&text, false);
            }
        }
        Ok(true)
    }

    /// Ends a line of which the provider says nothing. Returns false if it can't be recorded now.
    async fn unanswered(
        &self,
        relayed: &Relayed,
        end: &End,
        written: &mut Written,
        note: &Note,
    ) -> Result<bool, Stop> {
        let family = self.held.detail.family;
        let why = end.why.as_deref().unwrap_or("the provider gave no result");
        let unasked = match self.kind(end) {
            EndKind::Expired => Unasked::Expired,
            // As for lines that the gateway runs.
            EndKind::Cancelled if family.parts_errors() => return Ok(true),
            EndKind::Cancelled => Unasked::Cancelled,
            EndKind::Failed => Unasked::Failed("batch_failed"),
            EndKind::Lost | EndKind::Completed => Unasked::Failed("result_missing"),
        };
        let ending = match end.kind {
            EndKind::Expired | EndKind::Cancelled | EndKind::Failed => None,
            // It may have been run: what it asked is charged.
            EndKind::Lost => Some(Ending::TooLong(why.to_owned())),
            EndKind::Completed => Some(Ending::ProviderCut(why.to_owned())),
        };
        if let Some(ending) = ending {
            let ended = Ended {
                ending,
                status: 200,
                body: &Bytes::new(),
            };
            if !self.pay(relayed, note, ended).await? {
                return Ok(false);
            }
        } else if !matches!(unasked, Unasked::Failed(_)) {
            written.given_up += 1;
        }
        let line = LineId {
            id: &note.id,
            custom_id: &note.custom_id,
        };
        let text = family.unasked(line, unasked, why).to_string();
        written.add(&text, false);
        Ok(true)
    }

    /// Charges for a line and records it, unless that was done before a restart.
    async fn pay(&self, relayed: &Relayed, note: &Note, ended: Ended<'_>) -> Result<bool, Stop> {
        let id = note.running.entry.id.as_str();
        let ledger = &self.gateway().ledger;
        if ledger.request(Scope::Everyone, id).await?.is_some() {
            return Ok(true);
        }
        let followed = Followed {
            running: &note.running,
            provider: &relayed.provider,
            model: &note.model,
            format: self.format,
            path: Some(&self.held.detail.endpoint),
            mode: Mode::Batch,
            ending: ended.ending,
            status: ended.status,
            body: ended.body,
            kept: self.kept(relayed, note).await?,
        };
        Ok(self.gateway().pay_followed(followed, || ()).await)
    }

    /// What is kept of a line's request, as of any other: its body is the one that the provider got.
    async fn kept(&self, relayed: &Relayed, note: &Note) -> Result<Kept, Stop> {
        let captures = self.gateway().ledger.policy().captures;
        let remote = self.held.detail.family.remote().filter(|_| captures);
        let asked = match remote {
            Some(remote) => {
                let (files, at) = (self.files(relayed), note.at);
                on_disk(move || files.asked(remote, at)).await?
            }
            None => None,
        };
        let is_missing = captures && asked.is_none();
        let request = self.to_ask(asked.unwrap_or_default()).request()?;
        let (head, body) = request.into_parts();
        let rules = self.gateway().rules.borrow().clone();
        let mut kept = Kept::new(&rules, self.format, &head.headers, &body, captures);
        if let Some(capture) = &mut kept.capture {
            capture.truncated |= is_missing;
        }
        Ok(kept)
    }

    /// Writes results to their files. What has no room there is left out, and the batch fails in the end: it was
    /// paid for.
    async fn write_results(&mut self, written: Written) -> Result<(), Stop> {
        for (text, is_success) in [(written.output, true), (written.errors, false)] {
            if text.is_empty() {
                continue;
            }
            let Err(error) = self.append(text.into(), is_success).await? else {
                continue;
            };
            let flaw = Flaw::new(error.code(), None, error.to_string());
            let flaw = error_line(&flaw, 0);
            if !self.held.detail.flaws.contains(&flaw) {
                self.held.detail.flaws.push(flaw);
            }
        }
        let detail = &mut self.held.detail;
        detail.counts.completed += written.completed;
        detail.counts.failed += written.failed;
        detail.given_up += written.given_up;
        Ok(())
    }

    /// How the batch has ended for its owner.
    fn kind(&self, end: &End) -> EndKind {
        match end.kind {
            // The gateway has cancelled it, because it was late.
            EndKind::Cancelled if self.held.detail.status != Status::Cancelling => EndKind::Expired,
            kind => kind,
        }
    }

    async fn end_relayed(&mut self, relayed: &Relayed, end: End) -> Result<Next, Stop> {
        self.delete_leftovers(relayed, &end.leftovers).await?;
        // What its lines have cost is charged by now.
        self.holds = None;
        let why = || end.why.clone().unwrap_or_default();
        let ended = match self.kind(&end) {
            EndKind::Failed => self.fail("batch_failed", why()).await,
            EndKind::Lost => self.fail("batch_lost", why()).await,
            _ if !self.held.detail.flaws.is_empty() => self.end(Status::Failed).await,
            EndKind::Completed => self.end(Status::Completed).await,
            EndKind::Expired => self.end(Status::Expired).await,
            EndKind::Cancelled => self.end(Status::Cancelled).await,
        };
        if let Err(Stop::Over) = &ended {
            self.discard_files(relayed).await;
        }
        ended
    }
}

impl Written {
    fn add(&mut self, line: &str, is_success: bool) {
        let (text, count) = if is_success {
            (&mut self.output, &mut self.completed)
        } else {
            (&mut self.errors, &mut self.failed)
        };
        text.push_str(line);
        text.push('\n');
        *count += 1;
    }
}
