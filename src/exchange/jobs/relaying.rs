//! A batch at its provider: its lines are sent, it is made, looked at until it has ended, and its results are fetched.
//! What was done is stored before the next step, so that another process goes on with it. A batch that may have been
//! made is looked for at the provider before it is made again: no line is paid for twice.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::asking::{Answer, LONGEST, PATIENCE};
use super::detail::Status;
use super::disk::DiskError;
use super::held::Stop;
use super::on_disk;
use super::patience::FailingFor;
use super::preparing::Held;
use super::relayed::{AskedFor, End, Relayed, RunBy, Stage};
use super::running::{Next, Running, UNKNOWN};
use super::seeking::{Found, SENDING};
use crate::base::clock::{self, backoff};
use crate::base::lock::lock;
use crate::base::memory::{self, Hold};
use crate::formats::remote_batches::{NewRemote, RemoteBatch, RemoteBatches};
use crate::net::client::Errand;
use crate::records::objects::State;
use crate::wire::Rejection;

/// Between two looks at a batch: at first, and at most.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_mins(1);
/// A provider that says for so long that it has no such batch is believed.
const GONE: Duration = Duration::from_mins(10);
/// A batch that has not ended so long after its time is cancelled at the provider. After as long again it is given up,
/// once it could not be gone on with for some hours.
const GRACE_MS: i64 = 60 * 60_000;
const STUCK: Duration = Duration::from_hours(2);

/// A request with lines, what counts it, and its turn to be sent.
struct Built<'r> {
    body: Vec<u8>,
    _room: Hold,
    _turn: Option<SemaphorePermit<'r>>,
}

impl Built<'_> {
    /// One without lines.
    fn short(body: Vec<u8>) -> Self {
        Self {
            body,
            _room: memory::all().hold(),
            _turn: None,
        }
    }
}

/// Why there is no request with lines.
enum Unbuilt {
    NotNow(String),
    Never(&'static str),
}

impl<'r> Running<'r> {
    /// Goes on with a batch that a provider runs.
    pub(super) async fn relay(&mut self, relayed: Relayed) -> Result<Next, Stop> {
        let Some(remote) = self.held.detail.family.remote() else {
            let why = "batches of its API aren't relayed";
            return self.run_here(relayed, why).await;
        };
        match &relayed.stage {
            Stage::Preparing => self.prepare(remote, relayed).await,
            Stage::Sending => self.send(remote, relayed).await,
            Stage::Making { file, asked } => {
                let (file, asked) = (file.clone(), *asked);
                self.make(remote, relayed, file, asked).await
            }
            Stage::Running {
                batch,
                file,
                is_cancelled,
            } => {
                let (ids, is_cancelled) = ((batch.clone(), file.clone()), *is_cancelled);
                self.known_as(&relayed, &ids.0);
                // What can't be held after a restart is charged all the same.
                self.hold(&relayed, relayed.sent).await?;
                self.look_at(remote, relayed, ids, is_cancelled).await
            }
            Stage::Fetching(end) => {
                let end = end.clone();
                self.hold(&relayed, relayed.sent).await?;
                self.fetch(relayed, end).await
            }
            Stage::Settling { end, read, missing } => {
                let (end, read, missing) = (end.clone(), *read, *missing);
                self.settle(remote, relayed, end, (read, missing)).await
            }
        }
    }

    /// Stores how far it has come.
    pub(super) async fn keep(&mut self, mut relayed: Relayed) -> Result<Next, Stop> {
        let stage = std::mem::discriminant(&relayed.stage);
        let is_same = match &self.held.detail.run_by {
            RunBy::Provider(before) => std::mem::discriminant(&before.stage) == stage,
            RunBy::Gateway => false,
        };
        if !is_same {
            self.looks = 0;
            (relayed.stuck, relayed.gone) = (FailingFor::default(), FailingFor::default());
        }
        self.held.detail.run_by = RunBy::Provider(Box::new(relayed));
        self.held.save(State::Open, None).await?;
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

    /// Whether it should have ended long ago, so many times an hour, and could not be gone on with for a while since.
    pub(super) fn gives_up(&self, relayed: &mut Relayed, times: i64) -> bool {
        self.is_late(times) && relayed.stuck.tried(STUCK)
    }

    /// Notes that a batch at the provider is this one, so that it is not taken for another.
    fn known_as(&self, relayed: &Relayed, batch: &str) {
        let theirs = (relayed.provider.clone(), batch.to_owned());
        lock(self.known).insert(self.held.object.id.clone(), theirs);
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
        match self.hold(&relayed, relayed.sent).await? {
            Held::Done => {}
            Held::Wait => return Ok(Next::Wait(UNKNOWN)),
            Held::Denied(why) => return self.run_here(relayed, &why).await,
        }
        let Some(files) = remote.files else {
            relayed.stage = Stage::Making {
                file: String::new(),
                asked: None,
            };
            return self.keep(relayed).await;
        };
        let tag = relayed.tag.clone();
        let form = match self
            .built(&relayed, move |lines| (files.form)(&tag, lines))
            .await?
        {
            Ok(form) => form,
            Err(Unbuilt::NotNow(why)) => return Ok(self.again(&why)),
            Err(Unbuilt::Never(why)) => return self.run_here(relayed, why).await,
        };
        let answer = self.ask_provider(remote, &relayed, files.path, |uri| {
            Errand::json(uri, form.body, SENDING, LONGEST)
                .says(header::CONTENT_TYPE, files.content_type)
        });
        match answer.await? {
            Answer::Done(body) => match (files.read)(&body) {
                Some(file) => {
                    relayed.stage = Stage::Making { file, asked: None };
                    self.keep(relayed).await
                }
                None => Ok(self.again("its answer is not a file")),
            },
            Answer::NotNow(why) | Answer::Failed(why) => Ok(self.again(&why)),
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
        asked: Option<AskedFor>,
    ) -> Result<Next, Stop> {
        self.held.look().await?;
        if let Some(asked) = asked {
            match self.seek(remote, &relayed, asked).await? {
                Found::Made(batch) => {
                    relayed.stage = running(batch.id, file);
                    return self.keep(relayed).await;
                }
                Found::Unknown(why) if self.gives_up(&mut relayed, 1) => {
                    return self.lose(remote, relayed, &file, why).await;
                }
                Found::Unknown(why) => return self.still_failing(relayed, &why).await,
                Found::Nowhere => {}
            }
        }
        if self.is_cancelling() || self.is_late(0) {
            self.delete_file(remote, &relayed, &file).await;
            return self.run_here(relayed, "it ends before it is made").await;
        }
        match self.hold(&relayed, relayed.sent).await? {
            Held::Done => self.create(remote, relayed, file, asked).await,
            Held::Wait => Ok(Next::Wait(UNKNOWN)),
            Held::Denied(why) => {
                self.delete_file(remote, &relayed, &file).await;
                self.run_here(relayed, &why).await
            }
        }
    }

    /// Asks the provider to make the batch; it has not made it by now.
    async fn create(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        file: String,
        before: Option<AskedFor>,
    ) -> Result<Next, Stop> {
        let endpoint = self.held.detail.endpoint.clone();
        let (tag, input) = (relayed.tag.clone(), file.clone());
        let create = move |lines: &[u8]| {
            (remote.create)(&NewRemote {
                endpoint: &endpoint,
                file: &input,
                lines,
                tag: &tag,
            })
        };
        let built = match remote.files {
            Some(_) => Ok(Built::short(create(b""))),
            None => self.built(&relayed, create).await?,
        };
        let create = match built {
            Ok(create) => create,
            Err(Unbuilt::NotNow(why)) => return Ok(self.again(&why)),
            Err(Unbuilt::Never(why)) => {
                self.delete_file(remote, &relayed, &file).await;
                return self.run_here(relayed, why).await;
            }
        };
        let last = clock::unix_ms() / 1_000;
        // The first time counts as well: the provider may have made it then.
        let first = before.map_or(last, |before| before.first);
        relayed.stage = Stage::Making {
            file: file.clone(),
            asked: Some(AskedFor { first, last }),
        };
        self.keep(relayed.clone()).await?;
        let answer = self.ask_provider(remote, &relayed, remote.path, |uri| {
            Errand::json(uri, create.body, SENDING, LONGEST).once()
        });
        let why = match answer.await? {
            Answer::Done(body) => match (remote.read)(&body) {
                Some(batch) => {
                    let (id, at) = (self.held.object.id.as_str(), batch.id.as_str());
                    let provider = relayed.provider.as_str();
                    tracing::info!(id, provider, at, "a batch is relayed");
                    relayed.stage = running(batch.id, file);
                    return self.keep(relayed).await;
                }
                None => "its answer is not a batch".to_owned(),
            },
            Answer::NotNow(why) => {
                relayed.stage = Stage::Making {
                    file,
                    asked: before,
                };
                self.keep(relayed).await?;
                return Ok(self.again(&why));
            }
            Answer::Failed(why) => why,
            Answer::Refused(why) => {
                self.delete_file(remote, &relayed, &file).await;
                return self.run_here(relayed, &why).await;
            }
            Answer::Gone => {
                self.delete_file(remote, &relayed, &file).await;
                return self.run_here(relayed, "the provider has no batches").await;
            }
        };
        self.unsure = Some(Instant::now());
        Ok(self.again(&why))
    }

    /// Looks whether the provider's batch has ended.
    async fn look_at(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        (batch, file): (String, String),
        is_cancelled: bool,
    ) -> Result<Next, Stop> {
        self.held.look().await?;
        if (self.is_cancelling() || self.is_late(1)) && !is_cancelled {
            let path = remote.cancel(&batch);
            let cancel = self.ask_provider(remote, &relayed, &path, |uri| {
                Errand::json(uri, b"{}".to_vec(), PATIENCE, LONGEST)
            });
            if !matches!(cancel.await?, Answer::Failed(_) | Answer::NotNow(_)) {
                relayed.stage = Stage::Running {
                    batch: batch.clone(),
                    file: file.clone(),
                    is_cancelled: true,
                };
                self.keep(relayed.clone()).await?;
            }
        }
        let answer = self.get(remote, &relayed, &remote.batch(&batch)).await?;
        if !matches!(answer, Answer::Gone) {
            relayed.gone = FailingFor::default();
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
                    let end = End {
                        kind: end.into(),
                        results,
                        leftovers,
                        why,
                    };
                    return self.fetch_next(relayed, end).await;
                }
                None => "its answer is not a batch".to_owned(),
            },
            // One of several servers may not know it for a while.
            Answer::Gone => {
                if relayed.gone.tried(GONE) {
                    let why = "the provider no longer has the batch".to_owned();
                    return self.lose(remote, relayed, &file, why).await;
                }
                "it is not there".to_owned()
            }
            Answer::Refused(why) | Answer::NotNow(why) | Answer::Failed(why) => why,
        };
        if self.gives_up(&mut relayed, 2) {
            let why = format!("the provider's batch has not ended in time: {why}");
            return self.lose(remote, relayed, &file, why).await;
        }
        self.still_failing(relayed, &why).await
    }

    async fn delete_file(&mut self, remote: &'static RemoteBatches, relayed: &Relayed, file: &str) {
        if let Some(files) = remote.files {
            let path = format!("{}/{file}", files.path);
            // It stays there.
            let _ = self.delete_leftovers(relayed, &[path]).await;
        }
    }

    /// A request with the lines that the provider gets, built apart from the threads that serve requests. One is built
    /// and sent at a time, within `limits.memory`.
    async fn built(
        &mut self,
        relayed: &Relayed,
        build: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Result<Result<Built<'r>, Unbuilt>, Stop> {
        use std::io::Read;

        let gateway = self.gateway();
        let sending = gateway.jobs.sending.acquire();
        let Ok(turn) = self.held.during(sending).await? else {
            return Err(Rejection::panicked().into());
        };
        let mut room = memory::all().hold();
        // The lines, and the request with them.
        let bytes = usize::try_from(relayed.lines.bytes).unwrap_or(usize::MAX);
        let bytes = bytes.saturating_mul(2);
        if bytes > room.bounds().1 {
            let why = "its lines are longer than limits.memory allows";
            return Ok(Err(Unbuilt::Never(why)));
        }
        if let Err(full) = self.held.during(room.reserve(bytes)).await? {
            return Ok(Err(Unbuilt::NotNow(full.to_string())));
        }
        let disk = Arc::clone(&gateway.jobs.disk);
        let (owner, file) = (self.held.object.owner.clone(), relayed.lines.clone());
        let built = on_disk(move || {
            let mut lines = Vec::new();
            let opened = disk.read(&owner, &file.id)?;
            opened.take(file.bytes).read_to_end(&mut lines)?;
            if (lines.len() as u64) < file.bytes {
                return Err(ErrorKind::NotFound.into());
            }
            Ok::<_, std::io::Error>(build(&lines))
        });
        match built.await? {
            Ok(body) => Ok(Ok(Built {
                body,
                _room: room,
                _turn: Some(turn),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Err(Unbuilt::Never("its lines are no longer on the disk")))
            }
            Err(error) => Err(Rejection::from(DiskError::from(error)).into()),
        }
    }

    /// Tries again after a while.
    pub(super) fn again(&mut self, why: &str) -> Next {
        let id = self.held.object.id.as_str();
        tracing::debug!(id, why, "a batch waits for its provider");
        let wait = backoff(SOONEST, self.looks, LATEST);
        self.looks = self.looks.saturating_add(1);
        Next::Wait(wait)
    }

    /// The same, and stores for how long it has failed.
    pub(super) async fn still_failing(
        &mut self,
        relayed: Relayed,
        why: &str,
    ) -> Result<Next, Stop> {
        if let RunBy::Provider(before) = &self.held.detail.run_by
            && (before.stuck, before.gone) != (relayed.stuck, relayed.gone)
        {
            self.keep(relayed).await?;
        }
        Ok(self.again(why))
    }
}

fn running(batch: String, file: String) -> Stage {
    Stage::Running {
        batch,
        file,
        is_cancelled: false,
    }
}
