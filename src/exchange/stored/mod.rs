//! Responses that providers keep, and their items: whose each is, and which provider has it, so that its caller alone
//! can ask for it by its id. Those that are made in the background are followed until they end, so that they are paid
//! for.
//!
//! A response is noted when its exchange ends, which waits for no database: notes are written in groups, and found
//! before they are written. What a background response will cost must not be lost, so that one is written before
//! its caller hears of it.

mod detail;
mod named;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::lock::lock;
use crate::base::{clock, panics};
use crate::formats::NamedItem;
use crate::records::balances::Reservation;
use crate::records::objects::{Claimant, Kind, MOST_ID, Object, State};
use crate::records::{self, EntryId, Ledger, owner_key};

pub(super) use detail::{Bucket, Detail, Running};
pub(super) use named::Named;

/// For so long a response can be asked for: providers keep them for 30 days.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// Notes that wait to be written; beyond it, responses are not noted.
const MOST_NOTES: usize = 20_000;
/// Notes beyond which items of responses are not noted: they leave room for responses.
const MOST_NOTES_FOR_ITEMS: usize = MOST_NOTES / 2;
/// Notes of one transaction.
const GROUP: usize = 256;
/// Notes gather for so long.
const GATHER: Duration = Duration::from_millis(200);
/// Notes of a caller after which the oldest are deleted that are too many: to count them at each would take longer
/// than to write them.
const TRIM: usize = 500;
/// Callers of whom it is known how many notes were written since.
const MOST_COUNTED: usize = 10_000;
/// After a write that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// A caller and the id of a response.
pub(super) type Name = (String, String);

/// What is known of responses that providers keep, beside the database.
pub struct StoredResponses {
    notes: Mutex<HashMap<(Kind, Name), Object>>,
    noted: Notify,
    /// How many were written for each caller since the oldest were deleted.
    written: Mutex<HashMap<(Kind, String), usize>>,
    /// A response has begun to be made in the background.
    begun: Notify,
    /// What is held of budgets for those that this process has begun.
    holds: Mutex<HashMap<Name, Reservation>>,
    /// Those that this process follows.
    followed: Mutex<HashMap<Name, Object>>,
    /// Who follows.
    claimant: Claimant,
}

impl Default for StoredResponses {
    fn default() -> Self {
        // A process that follows claims each response again after a restart.
        let process = EntryId::new(clock::unix_ms()).as_str().to_owned();
        Self {
            notes: Mutex::default(),
            noted: Notify::new(),
            written: Mutex::default(),
            begun: Notify::new(),
            holds: Mutex::default(),
            followed: Mutex::default(),
            claimant: Claimant {
                node: String::new(),
                process,
            },
        }
    }
}

fn kept_ms() -> i64 {
    i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)
}

/// The name of an object.
pub(super) fn name(object: &Object) -> Name {
    (object.owner.clone(), object.id.clone())
}

/// A response of a caller that a provider keeps.
pub(super) struct Note<'a> {
    pub(super) owner: &'a str,
    pub(super) id: &'a str,
    pub(super) provider: &'a str,
    /// As its caller named it.
    pub(super) asked: &'a str,
    /// As the provider names it.
    pub(super) model: &'a str,
    /// The number of the provider's key that it was asked for with.
    pub(super) key: usize,
}

impl Note<'_> {
    pub(super) fn object(&self, state: State, detail: &Detail) -> Object {
        let made = clock::unix_ms();
        Object {
            kind: Kind::Response,
            id: self.id.to_owned(),
            owner: owner_key(self.owner).into_owned(),
            provider: self.provider.to_owned(),
            model: self.asked.to_owned(),
            node: String::new(),
            made,
            ends: Some(made.saturating_add(kept_ms())),
            state,
            detail: detail.written(),
        }
    }
}

impl StoredResponses {
    /// Notes a response.
    pub(super) fn note(&self, note: &Note<'_>) {
        if note.id.is_empty() || note.id.len() > MOST_ID {
            return;
        }
        self.add(note.object(State::Ended, &Detail::new(note.key, note.model)));
    }

    /// Notes items of a caller's response, so that they can name them later at the provider that made it.
    pub(super) fn note_items(&self, owner: &str, provider: &str, items: Vec<String>) {
        if items.is_empty() {
            return;
        }
        if lock(&self.notes).len() >= MOST_NOTES_FOR_ITEMS {
            tracing::warn!(
                "too much waits to be noted: the items of this response can't be named by their ids"
            );
            return;
        }
        let made = clock::unix_ms();
        for id in items {
            if id.is_empty() || id.len() > MOST_ID {
                continue;
            }
            self.add(Object {
                kind: Kind::Item,
                id,
                owner: owner_key(owner).into_owned(),
                provider: provider.to_owned(),
                model: String::new(),
                node: String::new(),
                made,
                ends: Some(made.saturating_add(kept_ms())),
                state: State::Ended,
                detail: Vec::new(),
            });
        }
    }

    fn add(&self, object: Object) {
        let mut notes = lock(&self.notes);
        if notes.len() >= MOST_NOTES {
            tracing::warn!(
                "too many responses wait to be noted: this one can't be asked for by its id"
            );
            return;
        }
        notes.insert((object.kind, name(&object)), object);
        drop(notes);
        self.noted.notify_one();
    }

    /// Writes notes as they come; never returns.
    pub async fn write(&self, ledger: &Ledger) {
        loop {
            self.noted.notified().await;
            tokio::time::sleep(GATHER).await;
            panics::point("notes");
            while let Err(error) = self.flush(ledger).await {
                tracing::warn!(%error, "responses that providers keep could not be noted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Writes the notes that there are.
    ///
    /// # Errors
    /// When they can't be written.
    pub async fn flush(&self, ledger: &Ledger) -> Result<(), records::Error> {
        loop {
            let group: Vec<Object> = lock(&self.notes).values().take(GROUP).cloned().collect();
            if group.is_empty() {
                return Ok(());
            }
            ledger.insert_objects(group.clone()).await?;
            for (kind, owner) in self.with_many(&group) {
                ledger.trim_objects(kind, &owner).await?;
            }
            let mut notes = lock(&self.notes);
            for object in group {
                let name = (object.kind, name(&object));
                // What was noted again meanwhile stays.
                if notes.get(&name) == Some(&object) {
                    notes.remove(&name);
                }
            }
        }
    }

    /// Counts notes that were written. Returns the callers whose oldest are to be deleted: also those of whom it isn't
    /// known how many they have.
    fn with_many(&self, group: &[Object]) -> Vec<(Kind, String)> {
        let mut written = lock(&self.written);
        if written.len() > MOST_COUNTED {
            written.clear();
        }
        let mut many = Vec::new();
        for object in group {
            let key = (object.kind, object.owner.clone());
            let count = written.entry(key.clone()).or_insert(TRIM - 1);
            *count += 1;
            if *count >= TRIM {
                *count = 0;
                many.push(key);
            }
        }
        many
    }

    /// Takes up a response that has begun to be made in the background, with what is held for it.
    pub(super) fn begin(&self, object: &Object, hold: Option<Reservation>) {
        if let Some(hold) = hold {
            lock(&self.holds).insert(name(object), hold);
        }
        self.begun.notify_one();
    }

    /// Waits until one is taken up.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Who follows responses in this process.
    pub(super) fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// Notes that this process follows a response.
    pub(super) fn follow(&self, object: &Object) {
        lock(&self.followed).insert(name(object), object.clone());
    }

    /// Whether this process follows a response.
    pub(super) fn follows(&self, object: &Object) -> bool {
        lock(&self.followed).contains_key(&name(object))
    }

    /// Notes that it doesn't any more: nothing is held for it then.
    pub(super) fn leave(&self, object: &Object) {
        let name = name(object);
        lock(&self.followed).remove(&name);
        self.give_back(&name);
    }

    /// Gives back what is held for a response.
    pub(super) fn give_back(&self, name: &Name) {
        let hold = lock(&self.holds).remove(name);
        drop(hold);
    }

    /// The responses for which something is held, and that this process doesn't follow.
    pub(super) fn held_elsewhere(&self) -> Vec<Name> {
        let held: Vec<Name> = lock(&self.holds).keys().cloned().collect();
        let followed = lock(&self.followed);
        let elsewhere = held.into_iter();
        elsewhere
            .filter(|name| !followed.contains_key(name))
            .collect()
    }

    /// Lets other processes follow at once what this one does: it stops.
    pub async fn release(&self, ledger: &Ledger) {
        let followed = std::mem::take(&mut *lock(&self.followed));
        for object in followed.values() {
            let released = ledger.renew_object(object, &self.claimant, Duration::ZERO);
            if let Err(error) = released.await {
                tracing::warn!(%error, "responses in the background are followed again after a while");
                return;
            }
        }
    }

    /// A caller's response.
    async fn find(
        &self,
        ledger: &Ledger,
        owner: &str,
        id: &str,
    ) -> Result<Option<Object>, records::Error> {
        let owner = owner_key(owner);
        let name = (Kind::Response, (owner.into_owned(), id.to_owned()));
        let noted = lock(&self.notes).get(&name).cloned();
        match noted {
            Some(object) => Ok(Some(object)),
            None => ledger.find_object(Kind::Response, &name.1.0, id).await,
        }
    }

    /// The first of these items that a caller may not name at one of these providers: one of another caller's, or that no
    /// caller is known to have and of which nothing was sent.
    async fn first_foreign<'i>(
        &self,
        ledger: &Ledger,
        owner: &str,
        items: &'i [NamedItem],
        providers: &[&str],
    ) -> Result<Option<&'i NamedItem>, records::Error> {
        let owner = owner_key(owner);
        let named: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        // By item and provider: whether it is the caller's there.
        let mut owns: HashMap<(String, String), bool> = HashMap::new();
        // First: a note leaves the list once it is written.
        for ((kind, (one, id)), object) in &*lock(&self.notes) {
            if *kind == Kind::Item && named.contains(id.as_str()) {
                let at = (id.clone(), object.provider.clone());
                *owns.entry(at).or_default() |= *one == owner;
            }
        }
        let ids = named.into_iter().filter(|id| id.len() <= MOST_ID);
        let ids = ids.map(str::to_owned).collect();
        for known in ledger.known_objects(Kind::Item, &owner, ids).await? {
            let at = (known.id, known.provider);
            *owns.entry(at).or_default() |= known.is_own;
        }
        let is_foreign = |item: &&NamedItem| {
            let at = |provider: &&str| owns.get(&(item.id.clone(), (*provider).to_owned()));
            let mut known = providers.iter().filter_map(at);
            let is_known = known.clone().next().is_some();
            known.any(|is_own| !is_own) || (item.is_bare && !is_known)
        };
        Ok(items.iter().find(is_foreign))
    }

    /// Whether a response is known to be another caller's.
    async fn is_anothers(
        &self,
        ledger: &Ledger,
        owner: &str,
        id: &str,
    ) -> Result<bool, records::Error> {
        // Local servers give the same ids to several callers.
        if self.find(ledger, owner, id).await?.is_some() {
            return Ok(false);
        }
        let is_it = |(kind, (_, one)): &(Kind, Name)| *kind == Kind::Response && one == id;
        if lock(&self.notes).keys().any(is_it) {
            return Ok(true);
        }
        let owner = owner_key(owner);
        ledger.is_anothers(Kind::Response, &owner, id).await
    }

    /// Forgets a caller's response, which its provider has deleted.
    async fn forget(&self, ledger: &Ledger, owner: &str, id: &str) {
        let written = self.flush(ledger).await;
        let removed = match written {
            Ok(()) => {
                let owner = owner_key(owner);
                ledger.remove_object(Kind::Response, &owner, id).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "a response that was deleted is still noted");
        }
    }
}
