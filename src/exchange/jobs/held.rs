//! A batch that this process holds, and how far it has come: what is stored is changed only from the state
//! that was read, so that what its owner changes meanwhile isn't lost.

use std::time::Duration;

use tokio::time::Instant;

use super::Gateway;
use super::detail::{BatchDetail, Status, read, stored};
use crate::records::objects::{Claimant, Kind, Object, State};
use crate::wire::Rejection;

/// How long a process holds a batch without renewing it. Then another process can take it over.
pub(super) const LEASE: Duration = Duration::from_mins(2);
/// After which a lease is renewed, and it is looked whether the batch was cancelled.
pub(super) const RENEW: Duration = Duration::from_secs(20);

/// A batch that this process holds.
pub(super) struct HeldBatch<'r> {
    pub(super) gateway: &'r Gateway,
    claimant: &'r Claimant,
    /// As it is stored.
    pub(super) object: Object,
    pub(super) detail: BatchDetail,
    /// When the lease was renewed.
    renewed: Instant,
}

/// Why a batch isn't run any further here.
pub(super) enum Stop {
    /// It has ended, is gone, or another process runs it.
    Over,
    /// It can't be run now; it is taken up again when the lease is over.
    Failed(Rejection),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Failed(rejection)
    }
}

impl From<crate::records::Error> for Stop {
    fn from(error: crate::records::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl<'r> HeldBatch<'r> {
    /// A batch as it is stored; `None` if that can't be read.
    pub(super) fn new(
        gateway: &'r Gateway,
        claimant: &'r Claimant,
        object: Object,
    ) -> Option<Self> {
        Some(Self {
            gateway,
            claimant,
            detail: read(&object).ok()?,
            object,
            renewed: Instant::now(),
        })
    }

    /// Holds it for longer, if it was last done a while ago.
    pub(super) async fn renew_if_due(&mut self) -> Result<(), Stop> {
        if self.renewed.elapsed() > RENEW {
            self.renew().await?;
        }
        Ok(())
    }

    /// Waits, and holds the batch meanwhile.
    pub(super) async fn wait(&mut self, wait: Duration) -> Result<(), Stop> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let due = RENEW.saturating_sub(self.renewed.elapsed());
            tokio::time::sleep(left.min(due)).await;
            if self.renewed.elapsed() >= RENEW {
                self.renew().await?;
                self.look().await?;
            }
            let is_cancelled = self.detail.status == Status::Cancelling;
            if is_cancelled || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Holds the batch for longer.
    pub(super) async fn renew(&mut self) -> Result<(), Stop> {
        let ledger = &self.gateway.ledger;
        let is_ours = ledger
            .renew_object(&self.object, self.claimant, LEASE)
            .await?;
        if is_ours {
            self.renewed = Instant::now();
            return Ok(());
        }
        // Another process may hold it, or its owner has deleted it.
        self.look().await?;
        Err(Stop::Over)
    }

    /// Does something that takes a while, and holds the batch meanwhile.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(RENEW) => match self.renew().await {
                    // What is asked is paid for, and the lease lasts longer than a database is busy.
                    Err(Stop::Failed(_)) if self.lasts() => {}
                    renewed => renewed?,
                },
            }
        }
    }

    /// Lets it be taken up again after a while.
    pub(super) async fn put_off(&self, wait: Duration) {
        let ledger = &self.gateway.ledger;
        let put_off = ledger.renew_object(&self.object, self.claimant, wait);
        if let Err(error) = put_off.await {
            tracing::debug!(%error, "a batch is taken up again once its lease is over");
        }
    }

    /// Whether the lease lasts until another try to renew it.
    pub(super) fn lasts(&self) -> bool {
        self.renewed.elapsed() + 2 * RENEW < LEASE
    }

    /// Looks what its owner has changed of the batch.
    pub(super) async fn look(&mut self) -> Result<(), Stop> {
        let Object { owner, id, .. } = &self.object;
        let stored = self
            .gateway
            .ledger
            .find_object(Kind::Batch, owner, id)
            .await?;
        if stored.is_none() {
            // Its owner has deleted it while a line ran, whose result was written all the same.
            self.gateway.discard_results(owner, &self.detail).await?;
        }
        let Some(stored) = stored.filter(|stored| stored.state == State::Open) else {
            return Err(Stop::Over);
        };
        let theirs: BatchDetail = read(&stored)?;
        if theirs.status == Status::Cancelling {
            self.detail.status = theirs.status;
            self.detail.times = theirs.times;
        }
        self.object = stored;
        Ok(())
    }

    /// Stores how far it has come, and when its row goes if that is known by now. What its owner has changed
    /// meanwhile stays.
    pub(super) async fn save(&mut self, state: State, ends: Option<i64>) -> Result<(), Stop> {
        loop {
            let after = Object {
                state,
                ends: ends.or(self.object.ends),
                detail: stored(&self.detail),
                ..self.object.clone()
            };
            let ledger = &self.gateway.ledger;
            if ledger
                .update_object(self.object.clone(), after.clone())
                .await?
            {
                self.object = after;
                return Ok(());
            }
            // It ends all the same if that was decided before it was cancelled.
            let ended =
                (state == State::Ended).then(|| (self.detail.status, self.detail.times.clone()));
            self.look().await?;
            if let Some((status, times)) = ended {
                self.detail.status = status;
                self.detail.times.extend(times);
            }
        }
    }
}
