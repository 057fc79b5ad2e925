//! A batch that its provider may have made although no answer said so. It is looked for in the provider's list before it
//! is made again, so that no line is paid for twice.
//!
//! A provider's account has batches of others too. One counts as the batch that is looked for only if it proves it: by
//! its tag, or where the API has no tags by the names of the lines in its results. Until then it is neither cancelled nor
//! deleted.

use std::time::Duration;

use tokio::time::Instant;

use super::asking::Answer;
use super::held::Stop;
use super::relayed::{AskedFor, Relayed};
use super::running::Running;
use crate::base::lock::lock;
use crate::formats::remote_batches::{Likeness, RemoteBatch, RemoteBatches, Sought};

/// For lines to be sent.
pub(super) const SENDING: Duration = Duration::from_mins(10);
/// A batch is in the provider's list after so long.
const LISTED: Duration = Duration::from_mins(1);
/// Pages of the list that are read.
const MOST_PAGES: usize = 100;
/// Seconds by which the provider's clock may be wrong.
const SKEW: i64 = 120;

/// What is known of a batch that the provider may have made.
pub(super) enum Found {
    Made(RemoteBatch),
    /// It was not made.
    Nowhere,
    /// That isn't known yet, and why.
    Unknown(String),
}

impl Running<'_> {
    /// Looks in the provider's list for the batch.
    pub(super) async fn seek(
        &mut self,
        remote: &'static RemoteBatches,
        relayed: &Relayed,
        asked: AskedFor,
    ) -> Result<Found, Stop> {
        let unsure = *self.unsure.get_or_insert_with(Instant::now);
        let sending = i64::try_from(SENDING.as_secs()).unwrap_or(i64::MAX);
        let sought = Sought {
            tag: &relayed.tag,
            since: asked.first,
            until: asked.last.saturating_add(sending),
            lines: relayed.sent,
        };
        let mut after: Option<String> = None;
        let mut waits: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let path = remote.page(after.as_deref());
            let page = match self.get(remote, relayed, &path).await? {
                Answer::Done(body) => {
                    (remote.list)(&body).ok_or("its answer is not a list of batches".to_owned())
                }
                Answer::Gone => Err("the provider does not list its batches".to_owned()),
                Answer::Refused(why) | Answer::NotNow(why) | Answer::Failed(why) => Err(why),
            };
            let page = match page {
                Ok(page) => page,
                Err(why) => return Ok(Found::Unknown(why)),
            };
            let older =
                |batch: &RemoteBatch| batch.made.is_some_and(|made| made + SKEW < asked.first);
            let is_old = !page.batches.is_empty() && page.batches.iter().all(older);
            for batch in page.batches {
                match (remote.likeness)(&batch, &sought) {
                    Likeness::Same => return Ok(Found::Made(batch)),
                    Likeness::Other => {}
                    Likeness::Perhaps => match self.is_ours(remote, relayed, &batch).await? {
                        Ok(true) => return Ok(Found::Made(batch)),
                        Ok(false) => {}
                        Err(why) => waits = Some(why),
                    },
                }
            }
            if is_old || page.next.is_none() || page.next == after {
                return Ok(match waits {
                    Some(why) => Found::Unknown(why),
                    None if unsure.elapsed() < LISTED => {
                        Found::Unknown("the provider may not list it yet".to_owned())
                    }
                    None => Found::Nowhere,
                });
            }
            after = page.next;
        }
        let why = format!("the provider lists more than {MOST_PAGES} pages of batches");
        Ok(Found::Unknown(why))
    }

    /// Whether the lines of a provider's batch have the names of this batch's; or why that isn't known yet.
    async fn is_ours(
        &mut self,
        remote: &'static RemoteBatches,
        relayed: &Relayed,
        batch: &RemoteBatch,
    ) -> Result<Result<bool, String>, Stop> {
        let is_it =
            |(provider, id): &(String, String)| *provider == relayed.provider && *id == batch.id;
        if self.others.contains(&batch.id) || lock(self.known).values().any(is_it) {
            return Ok(Ok(false));
        }
        let (Some(_), Some(path)) = (batch.end, batch.results.first()) else {
            return Ok(Err(format!(
                "{} may be it, and has no results yet",
                batch.id
            )));
        };
        let first = match self.first_line(relayed, path).await? {
            Ok(first) => first,
            Err(why) => return Ok(Err(format!("{} may be it: {why}", batch.id))),
        };
        let Some(result) = (remote.result)(&first) else {
            return Ok(Err(format!(
                "{} may be it: its results can't be read",
                batch.id
            )));
        };
        let is_ours = relayed.nth(&result.id).is_some();
        if !is_ours {
            self.others.insert(batch.id.clone());
        }
        Ok(Ok(is_ours))
    }
}
