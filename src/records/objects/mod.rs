//! Objects: what a provider, or the gateway, keeps for a caller beyond a request: files, batches, and
//! responses that can be asked for again. A row says whose an object is and which provider has it, because
//! a provider knows only the gateway's credential: it would show one caller what another has.
//!
//! An open object is followed or run until it ends. The node that works on it holds a lease, which also
//! says when it is due again: no two nodes work on one object, and a node that dies leaves it to the next.

use std::time::Duration;

use super::{Error, Failure, Ledger, millis};
use crate::base::clock;

/// Objects of one kind that a caller can have. Of responses, as many that have ended, and as many that are open.
pub const MOST_OBJECTS: u64 = 10_000;

/// Bytes of [`Object::detail`].
pub const MOST_DETAIL: usize = 64 << 10;

/// Bytes of an id. Providers' are far shorter.
pub const MOST_ID: usize = 256;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    File,
    Batch,
    Response,
    /// An item of a response.
    Item,
}

impl Kind {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Batch => "batch",
            Self::Response => "response",
            Self::Item => "item",
        }
    }
}

/// Whether something is still to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is followed, or run, until it ends.
    Open,
    Ended,
}

impl State {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ended => "ended",
        }
    }
}

/// What is kept for a caller beyond a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub kind: Kind,
    /// As the caller sees it, of at most [`MOST_ID`] bytes.
    pub id: String,
    /// Whose it is: [`owner_key`](super::owner_key) of the caller.
    pub owner: String,
    /// Its name in the configuration; empty for what the gateway itself has.
    pub provider: String,
    /// As it was asked for, or empty.
    pub model: String,
    /// The one node that can work on it, where only its state directory has what that takes. Empty if any
    /// node can.
    pub node: String,
    /// When it was made, in Unix milliseconds.
    pub made: i64,
    /// When it expires, in Unix milliseconds; its row is purged then.
    pub ends: Option<i64>,
    pub state: State,
    /// JSON of at most [`MOST_DETAIL`] bytes; what it says depends on the kind.
    pub detail: Vec<u8>,
}

/// What became of an object that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// Its owner has [`MOST_OBJECTS`] of the kind, or of open responses.
    Full,
}

/// An object that a caller has, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: String,
    pub provider: String,
    /// Whether the caller who was asked about has it.
    pub is_own: bool,
}

/// A page of objects, newest first.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub kind: Kind,
    /// What their ids begin with.
    pub prefix: &'static str,
    /// The id of the one behind which it begins.
    pub after: Option<String>,
    pub limit: usize,
}

/// Where objects are kept. Times are by the clock that all nodes share.
pub(super) trait Objects {
    /// Adds an object, in place of one of the same owner, kind and id.
    fn insert_object(&mut self, object: &Object) -> Result<Inserted, Failure>;
    /// Adds several in one transaction, however many there are.
    fn insert_objects(&mut self, objects: &[Object]) -> Result<(), Failure>;
    /// Deletes the oldest ended ones of a caller, as many as there are too many.
    fn trim_objects(&mut self, kind: Kind, owner: &str) -> Result<(), Failure>;
    fn find_object(&mut self, kind: Kind, owner: &str, id: &str)
    -> Result<Option<Object>, Failure>;
    /// Those of these ids by which any caller has an object.
    fn known_objects(
        &mut self,
        kind: Kind,
        owner: &str,
        ids: &[String],
    ) -> Result<Vec<Known>, Failure>;
    /// Whether other callers have an object, and this one has none by that id.
    fn is_anothers(&mut self, kind: Kind, owner: &str, id: &str) -> Result<bool, Failure>;
    /// A page of a caller's objects that have not expired.
    fn list_objects(
        &mut self,
        owner: &str,
        wanted: &Wanted,
        now: i64,
    ) -> Result<Vec<Object>, Failure>;
    /// Replaces state, detail and end, if the stored object is still `before`. Returns whether it was.
    fn update_object(&mut self, before: &Object, after: &Object) -> Result<bool, Failure>;
    /// Deletes an object. Returns whether it was there.
    fn remove_object(&mut self, kind: Kind, owner: &str, id: &str) -> Result<bool, Failure>;
    /// The owners of open objects that are due.
    fn due_owners(
        &mut self,
        kind: Kind,
        claimant: &Claimant,
        most: usize,
    ) -> Result<Vec<String>, Failure>;
    /// Takes open objects that are due, for `lease` milliseconds: of all owners, or of one.
    fn claim_objects(
        &mut self,
        kind: Kind,
        owner: Option<&str>,
        claimant: &Claimant,
        lease: i64,
        most: usize,
    ) -> Result<Vec<Object>, Failure>;
    /// Holds an object for `lease` milliseconds more. False where another has taken it meanwhile.
    fn renew_object(
        &mut self,
        object: &Object,
        claimant: &Claimant,
        lease: i64,
    ) -> Result<bool, Failure>;
    /// Deletes a batch of objects that have expired. Returns how many, and whether there may be more.
    fn purge_objects(&mut self, now: i64) -> Result<(u64, bool), Failure>;
}

/// Who works on objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The node; the same after a restart.
    pub node: String,
    /// The process. What only this node can work on, it takes over at once: there is one process of a node at
    /// a time. For the rest it waits until the lease of the one before is over.
    pub process: String,
}

impl Ledger {
    /// Adds an object, in place of one of the same owner, kind and id.
    ///
    /// # Errors
    /// When the database can't be written, or an id or a detail is too long.
    pub async fn insert_object(&self, object: Object) -> Result<Inserted, Error> {
        bounded(&object)?;
        self.write(move |connection| connection.insert_object(&object))
            .await
    }

    /// Adds several objects in one transaction, also where their owners have [`MOST_OBJECTS`] already.
    ///
    /// # Errors
    /// As for [`Ledger::insert_object`]; none is added then.
    pub async fn insert_objects(&self, objects: Vec<Object>) -> Result<(), Error> {
        objects.iter().try_for_each(bounded)?;
        self.write(move |connection| connection.insert_objects(&objects))
            .await
    }

    /// Deletes the oldest of a caller's objects that have ended, so that [`MOST_OBJECTS`] of them are left.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn trim_objects(&self, kind: Kind, owner: &str) -> Result<(), Error> {
        let owner = owner.to_owned();
        self.write(move |connection| connection.trim_objects(kind, &owner))
            .await
    }

    /// A caller's object; `None` also where it is another caller's, or has expired.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn find_object(
        &self,
        kind: Kind,
        owner: &str,
        id: &str,
    ) -> Result<Option<Object>, Error> {
        let [owner, id] = [owner, id].map(str::to_owned);
        let found = self.read(move |connection| connection.find_object(kind, &owner, &id));
        let now = clock::unix_ms();
        let lasts = |object: &Object| object.ends.is_none_or(|ends| ends > now);
        Ok(found.await?.filter(lasts))
    }

    /// Whether other callers have an object, and this one has none by that id.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn is_anothers(&self, kind: Kind, owner: &str, id: &str) -> Result<bool, Error> {
        let [owner, id] = [owner, id].map(str::to_owned);
        self.read(move |connection| connection.is_anothers(kind, &owner, &id))
            .await
    }

    /// Those of these ids by which any caller has an object, and whether this one has.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn known_objects(
        &self,
        kind: Kind,
        owner: &str,
        ids: Vec<String>,
    ) -> Result<Vec<Known>, Error> {
        let owner = owner.to_owned();
        self.read(move |connection| connection.known_objects(kind, &owner, &ids))
            .await
    }

    /// A page of a caller's objects, without those that have expired; empty if it is to begin behind one that isn't
    /// there.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn list_objects(&self, owner: &str, wanted: Wanted) -> Result<Vec<Object>, Error> {
        let owner = owner.to_owned();
        let now = clock::unix_ms();
        self.read(move |connection| connection.list_objects(&owner, &wanted, now))
            .await
    }

    /// Replaces state, detail and end of an object, if the stored one is still `before`. Returns whether it
    /// was: if not, read it again and decide again.
    ///
    /// # Errors
    /// When the database can't be written, or the detail is too long.
    pub async fn update_object(&self, before: Object, after: Object) -> Result<bool, Error> {
        bounded(&after)?;
        self.write(move |connection| connection.update_object(&before, &after))
            .await
    }

    /// Deletes a caller's object. Returns whether it was there.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn remove_object(&self, kind: Kind, owner: &str, id: &str) -> Result<bool, Error> {
        let [owner, id] = [owner, id].map(str::to_owned);
        self.write(move |connection| connection.remove_object(kind, &owner, &id))
            .await
    }

    /// The owners, `most` of them, of open objects that are due and that this node can work on.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn due_owners(
        &self,
        kind: Kind,
        claimant: &Claimant,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        let claimant = claimant.clone();
        self.read(move |connection| connection.due_owners(kind, &claimant, most))
            .await
    }

    /// Takes at most `most` open objects, of all owners or of one, that are due and that this node can work on,
    /// longest due first. No other process gets them within `lease`.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn claim_objects(
        &self,
        kind: Kind,
        owner: Option<&str>,
        claimant: &Claimant,
        lease: Duration,
        most: usize,
    ) -> Result<Vec<Object>, Error> {
        let (owner, claimant) = (owner.map(str::to_owned), claimant.clone());
        let lease = millis(lease);
        self.write(move |connection| {
            connection.claim_objects(kind, owner.as_deref(), &claimant, lease, most)
        })
        .await
    }

    /// Holds an object for `lease` from now on, and so puts off when it is due. False where it is gone, or
    /// another process has taken it.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn renew_object(
        &self,
        object: &Object,
        claimant: &Claimant,
        lease: Duration,
    ) -> Result<bool, Error> {
        let (object, claimant, lease) = (object.clone(), claimant.clone(), millis(lease));
        self.write(move |connection| connection.renew_object(&object, &claimant, lease))
            .await
    }
}

/// Refuses what has no room in a row.
fn bounded(object: &Object) -> Result<(), Error> {
    if object.id.is_empty() || object.id.len() > MOST_ID {
        return Err(Error::Object("an id must have between 1 and 256 bytes"));
    }
    if object.detail.len() > MOST_DETAIL {
        return Err(Error::Object("a detail may have at most 64 KiB"));
    }
    Ok(())
}
