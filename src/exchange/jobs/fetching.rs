//! The results of a provider's batch that has ended: they are written to this node's disk before the first of them is
//! recorded. A batch that the provider has lost has none.

use super::held::Stop;
use super::relayed::{End, EndKind, Relayed, Stage};
use super::running::{Next, Running};
use crate::formats::remote_batches::RemoteBatches;

impl Running<'_> {
    /// Goes on with the results of a batch that has ended, if its provider has run any of it.
    pub(super) async fn fetch_next(
        &mut self,
        mut relayed: Relayed,
        end: End,
    ) -> Result<Next, Stop> {
        if end.kind == EndKind::Failed && end.results.is_empty() {
            // Such as one that is too much for what the account may queue.
            let why = end
                .why
                .unwrap_or_else(|| "the provider failed it".to_owned());
            self.delete_leftovers(&relayed, &end.leftovers).await?;
            return self.run_here(relayed, &why).await;
        }
        relayed.stage = Stage::Fetching(end);
        self.keep(relayed).await
    }

    /// Ends it without results.
    pub(super) async fn lose(
        &mut self,
        remote: &'static RemoteBatches,
        mut relayed: Relayed,
        file: &str,
        why: String,
    ) -> Result<Next, Stop> {
        let leftovers = remote.files.map(|files| format!("{}/{file}", files.path));
        relayed.stage = Stage::Fetching(End {
            kind: EndKind::Lost,
            results: Vec::new(),
            leftovers: leftovers.into_iter().collect(),
            why: Some(why),
        });
        self.keep(relayed).await
    }

    /// Fetches the results.
    pub(super) async fn fetch(&mut self, mut relayed: Relayed, mut end: End) -> Result<Next, Stop> {
        relayed.results.bytes = 0;
        for (nth, path) in end.results.clone().into_iter().enumerate() {
            let fetched = self.fetch_file(&mut relayed, &path).await?;
            let why = match fetched {
                Ok(None) => continue,
                Ok(Some(full)) => full,
                Err(why) if self.gives_up(&mut relayed, 2) => why,
                Err(why) => return self.still_failing(relayed, &why).await,
            };
            let unread = end.results.split_off(nth);
            tracing::warn!(
                id = self.held.object.id,
                why,
                ?unread,
                "results of a batch are missing, and stay at the provider"
            );
            end.leftovers.retain(|left| {
                let mut unread = unread
                    .iter()
                    .filter_map(|path| path.strip_prefix(left.as_str()));
                !unread.any(|rest| rest.starts_with('/'))
            });
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
}
