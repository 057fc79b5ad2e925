//! A batch at its provider: its lines are sent, it is made, looked at until it has ended, and its results are fetched.
//! What was done is stored before the next step, so that another process goes on with it. A batch that may have been
//! made is looked for at the provider before it is made again: no line is paid for twice.

use std::sync::Arc;
use std::time::Duration;

use http::header;

use super::asking::{Answer, LONGEST, PATIENCE};
use super::detail::Status;
use super::disk::DiskError;
use super::held::Stop;
use super::on_disk;
use super::relayed::{End, EndKind, Relayed, RunBy, Stage};
use super::running::{Next, Running};
use crate::base::clock::{self, backoff};
use crate::formats::remote_batches::{NewRemote, RemoteBatch, RemoteBatches, Sought};
use crate::net::client::Errand;
use crate::records::objects::State;
use crate::wire::Rejection;

/// Between two looks at a batch: at first, and at most.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_mins(1);
/// For lines to be sent.
const SENDING: Duration = Duration::from_mins(10);
/// How often a provider may say that it has no such batch before that is believed.
const MOST_GONE: u32 = 3;
/// A batch that has not ended so long after its time is cancelled at the provider, and after as long again given up.
const GRACE_MS: i64 = 60 * 60_000;

impl Running<'_> {
    /// Goes on with a batch that a provider runs.
    pub(super) async fn relay(&mut self, relayed: Relayed) -> Result<Next, Stop> {
        let remote = self.held.detail.family.remote();
        match &relayed.stage {
            Stage::Preparing => self.prepare(relayed).await,
            Stage::Sending => self.send(remote, relayed).await,
            Stage::Making { file, asked } => {
                let (file, asked) = (file.clone(), *asked);
                self.make(remote, relayed, file, asked).await
            }
            Stage::Running {
                batch,
                is_cancelled,
            } => {
                let (batch, is_cancelled) = (batch.clone(), *is_cancelled);
                // What can't be held after a restart is charged all the same.
                if self.holds.is_none() {
                    self.hold(&relayed).await?;
                    self.holds.get_or_insert_default();
                }
                self.look_at(remote, relayed, &batch, is_cancelled).await
            }
            Stage::Fetching(end) => {
                let end = end.clone();
                self.fetch(relayed, end).await
            }
            Stage::Settling { end, read, missing } => {
                let (end, read, missing) = (end.clone(), *read, *missing);
                self.settle(remote, relayed, end, (read, missing)).await
            }
        }
    }

    /// Stores how far it has come.
    pub(super) async fn keep(&mut self, relayed: Relayed) -> Result<Next, Stop> {
        self.held.detail.run_by = RunBy::Provider(Box::new(relayed));
        self.held.save(State::Open, None).await?;
        self.looks = 0;
        self.held.renew_if_due().await?;
        Ok(Next::Step)
    }

    fn is_cancelling(&self) -> bool {
        self.held.detail.status == Status::Cancelling
    }

    /// Whether it should have ended long ago, so many times an hour.
    fn is_late(&self, times: i64) -> bool {
        let most = GRACE_MS.saturating_mul(times);
        clock::unix_ms() >= self.held.detail.deadline.saturating_add(most)
    }

    /// Sends the lines.
    async fn send(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
    ) -> Result<Next, Stop> {
        self.held.look().await?;
        if self.is_cancelling() || self.is_late(0) {
            return self.run_here(relayed, "it ends before it is sent").await;
        }
        let Some(files) = remote.files else {
            relayed.stage = Stage::Making {
                file: String::new(),
                asked: None,
            };
            return self.keep(relayed).await;
        };
        let gateway = self.gateway();
        let sending = gateway.jobs.sending.acquire();
        let Ok(_turn) = self.held.during(sending).await? else {
            return Err(Rejection::panicked().into());
        };
        let lines = self.lines(&relayed).await?;
        let form = (files.form)(&relayed.tag, &lines);
        drop(lines);
        let answer = self.ask_provider(remote, &relayed, files.path, |uri| {
            Errand::json(uri, form, SENDING, LONGEST).says(header::CONTENT_TYPE, files.content_type)
        });
        match answer.await? {
            Answer::Done(body) => match (files.read)(&body) {
                Some(file) => {
                    relayed.stage = Stage::Making { file, asked: None };
                    self.keep(relayed).await
                }
                None => Ok(self.again("its answer is not a file")),
            },
            Answer::Failed(why) => Ok(self.again(&why)),
            Answer::Gone => self.run_here(relayed, "the provider takes no files").await,
            Answer::Refused(why) => self.run_here(relayed, &why).await,
        }
    }

    /// Makes the batch, unless the provider has made it by now.
    async fn make(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        file: String,
        asked: Option<i64>,
    ) -> Result<Next, Stop> {
        self.held.look().await?;
        if let Some(since) = asked {
            match self.made_before(remote, &relayed, since).await? {
                Ok(Some(batch)) => {
                    relayed.stage = running(batch.id);
                    return self.keep(relayed).await;
                }
                Ok(None) => {}
                Err(why) if self.is_late(1) => return self.lose(relayed, why).await,
                Err(why) => return Ok(self.again(&why)),
            }
        }
        if self.is_cancelling() || self.is_late(0) {
            self.delete_file(remote, &relayed, &file).await;
            return self.run_here(relayed, "it ends before it is made").await;
        }
        relayed.stage = Stage::Making {
            file: file.clone(),
            // The first time counts: the provider may have made it then.
            asked: asked.or(Some(clock::unix_ms() / 1_000)),
        };
        self.keep(relayed.clone()).await?;
        let lines = match remote.files {
            Some(_) => Vec::new(),
            None => self.lines(&relayed).await?,
        };
        let new = NewRemote {
            endpoint: &self.held.detail.endpoint,
            file: &file,
            lines: &lines,
            tag: &relayed.tag,
        };
        let create = (remote.create)(&new);
        drop(lines);
        let answer = self.ask_provider(remote, &relayed, remote.path, |uri| {
            Errand::json(uri, create, SENDING, LONGEST)
        });
        match answer.await? {
            Answer::Done(body) => match (remote.read)(&body) {
                Some(batch) => {
                    let (id, at) = (self.held.object.id.as_str(), batch.id.as_str());
                    let provider = relayed.provider.as_str();
                    tracing::info!(id, provider, at, "a batch is relayed");
                    relayed.stage = running(batch.id);
                    self.keep(relayed).await
                }
                None => Ok(self.again("its answer is not a batch")),
            },
            Answer::Failed(why) => Ok(self.again(&why)),
            refused => {
                let why = match refused {
                    Answer::Refused(why) => why,
                    _ => "the provider has no batches".to_owned(),
                };
                self.delete_file(remote, &relayed, &file).await;
                self.run_here(relayed, &why).await
            }
        }
    }

    /// The batch, if the provider has made it; or why that isn't known.
    async fn made_before(
        &mut self,
        remote: &'static RemoteBatches,
        relayed: &Relayed,
        since: i64,
    ) -> Result<Result<Option<RemoteBatch>, String>, Stop> {
        let answer = self.get(remote, relayed, remote.path).await?;
        Ok(match answer {
            Answer::Done(body) => match (remote.list)(&body) {
                Some(batches) => {
                    let sought = Sought {
                        tag: &relayed.tag,
                        since,
                        lines: relayed.sent,
                    };
                    let mut batches = batches.into_iter();
                    Ok(batches.find(|one| (remote.is_sought)(one, &sought)))
                }
                None => Err("its answer is not a list of batches".to_owned()),
            },
            Answer::Gone => Err("the provider does not list its batches".to_owned()),
            Answer::Refused(why) | Answer::Failed(why) => Err(why),
        })
    }

    /// Looks whether the provider's batch has ended.
    async fn look_at(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        batch: &str,
        is_cancelled: bool,
    ) -> Result<Next, Stop> {
        self.held.look().await?;
        if (self.is_cancelling() || self.is_late(1)) && !is_cancelled {
            let path = remote.cancel(batch);
            let cancel = self.ask_provider(remote, &relayed, &path, |uri| {
                Errand::json(uri, b"{}".to_vec(), PATIENCE, LONGEST)
            });
            if !matches!(cancel.await?, Answer::Failed(_)) {
                relayed.stage = Stage::Running {
                    batch: batch.to_owned(),
                    is_cancelled: true,
                };
                self.keep(relayed.clone()).await?;
            }
        }
        let answer = self.get(remote, &relayed, &remote.batch(batch)).await?;
        if let Answer::Done(_) = answer {
            self.gone = 0;
        }
        let why = match answer {
            Answer::Done(body) => match (remote.read)(&body) {
                Some(RemoteBatch { end: None, .. }) => "it runs".to_owned(),
                Some(RemoteBatch {
                    end: Some(end),
                    results,
                    leftovers,
                    why,
                    ..
                }) => {
                    relayed.stage = Stage::Fetching(End {
                        kind: end.into(),
                        results,
                        leftovers,
                        why,
                    });
                    return self.keep(relayed).await;
                }
                None => "its answer is not a batch".to_owned(),
            },
            // One of several servers may not know it yet.
            Answer::Gone => {
                self.gone += 1;
                if self.gone >= MOST_GONE {
                    let why = "the provider no longer has the batch".to_owned();
                    return self.lose(relayed, why).await;
                }
                "it is not there".to_owned()
            }
            Answer::Refused(why) | Answer::Failed(why) => why,
        };
        if self.is_late(2) {
            let why = format!("the provider's batch has not ended in time: {why}");
            return self.lose(relayed, why).await;
        }
        Ok(self.again(&why))
    }

    /// Ends it without results.
    async fn lose(&mut self, mut relayed: Relayed, why: String) -> Result<Next, Stop> {
        relayed.stage = Stage::Fetching(End {
            kind: EndKind::Lost,
            results: Vec::new(),
            leftovers: Vec::new(),
            why: Some(why),
        });
        self.keep(relayed).await
    }

    /// Fetches the results.
    async fn fetch(&mut self, mut relayed: Relayed, mut end: End) -> Result<Next, Stop> {
        relayed.results.bytes = 0;
        for path in end.results.clone() {
            let fetched = self.fetch_file(&mut relayed, &path).await?;
            let why = match fetched {
                Ok(None) => continue,
                Ok(Some(full)) => full,
                Err(why) if self.is_late(2) => why,
                Err(why) => return Ok(self.again(&why)),
            };
            tracing::warn!(
                id = self.held.object.id,
                why,
                "results of a batch are missing"
            );
            (end.kind, end.why) = (EndKind::Lost, Some(why));
            break;
        }
        relayed.stage = Stage::Settling {
            end,
            read: 0,
            missing: 0,
        };
        self.keep(relayed).await
    }

    async fn delete_file(&mut self, remote: &'static RemoteBatches, relayed: &Relayed, file: &str) {
        if let Some(files) = remote.files {
            let path = format!("{}/{file}", files.path);
            // It stays there.
            let _ = self.delete_leftovers(relayed, &[path]).await;
        }
    }

    /// The lines that the provider gets.
    async fn lines(&self, relayed: &Relayed) -> Result<Vec<u8>, Stop> {
        use std::io::Read;

        let disk = Arc::clone(&self.gateway().jobs.disk);
        let (owner, file) = (self.held.object.owner.clone(), relayed.lines.clone());
        let read = on_disk(move || {
            let mut lines = Vec::new();
            let opened = disk.read(&owner, &file.id)?;
            opened.take(file.bytes).read_to_end(&mut lines)?;
            Ok::<_, std::io::Error>(lines)
        });
        let read = read.await?;
        read.map_err(|error| Rejection::from(DiskError::from(error)).into())
    }

    /// Tries again after a while.
    fn again(&mut self, why: &str) -> Next {
        let id = self.held.object.id.as_str();
        tracing::debug!(id, why, "a batch waits for its provider");
        let wait = backoff(SOONEST, self.looks, LATEST);
        self.looks = self.looks.saturating_add(1);
        Next::Wait(wait)
    }
}

fn running(batch: String) -> Stage {
    Stage::Running {
        batch,
        is_cancelled: false,
    }
}
