//! The buckets of a node that has its database to itself.

use indexmap::IndexMap;

use super::{Admission, StoredBucket};
use crate::base::bucket::{Account, ByKey, Chain, Level, Link, Terms, admit_all, spend};
use crate::base::quick_hash::QuickHash;
use crate::base::text::Text;

/// Buckets kept before those are looked for that nobody would miss.
const SWEEP: usize = 16_384;

/// Balances and holds by bucket. One that is not here is full.
pub(super) struct Local {
    // Callers can't choose the keys: they come from the configuration and from who callers are.
    books: IndexMap<Text, Book, QuickHash>,
    sweep_at: usize,
}

struct Book {
    bucket: Text,
    template: String,
    /// It is kept under the name that it had before buckets had keys.
    is_earlier: bool,
    /// Known once it was used under them.
    terms: Option<Terms>,
    account: Account,
}

impl Local {
    pub(super) fn new(stored: Vec<StoredBucket>) -> Self {
        let books = stored.into_iter().map(|one| {
            let book = Book {
                bucket: one.bucket.into(),
                template: one.template,
                is_earlier: one.is_earlier,
                terms: None,
                account: one.level.into(),
            };
            (Text::from(one.key), book)
        });
        Self {
            books: books.collect(),
            sweep_at: SWEEP,
        }
    }

    fn book(&mut self, link: &Link, now: i64) -> &mut Book {
        let at = self.books.get_index_of(&link.key);
        let at = at.unwrap_or_else(|| self.begin(link, now));
        let book = &mut self.books[at];
        book.terms = Some(link.terms);
        if book.bucket != link.bucket {
            book.bucket.clone_from(&link.bucket);
        }
        book.account.level = link.terms.at(book.account.level, now);
        book
    }

    /// Begins the book of a bucket, which may be kept under the name that it had before buckets had keys.
    /// Returns its place.
    fn begin(&mut self, link: &Link, now: i64) -> usize {
        let is_it = |book: &&Book| book.is_earlier && book.template == link.template;
        let before = link.before.as_ref().filter(|before| {
            let book = self.books.get(*before);
            book.as_ref().is_some_and(is_it)
        });
        let before = before.and_then(|before| self.books.swap_remove(before));
        let account = before.map_or_else(|| link.terms.full(now).into(), |book| book.account);
        let book = Book {
            bucket: link.bucket.clone(),
            is_earlier: false,
            template: link.template.clone(),
            terms: None,
            account,
        };
        self.books.insert_full(link.key.clone(), book).0
    }

    /// Whether the estimates of `chains` could be held.
    pub(super) fn look(&mut self, chains: &[Chain], now: i64) -> Admission {
        self.sweep(now);
        let links = chains.iter().flat_map(|chain| chain.links.iter());
        let accounts: ByKey<Account> = links
            .map(|link| (link.key.clone(), self.book(link, now).account))
            .collect();
        let outcome = admit_all(chains, &accounts);
        Admission { accounts, outcome }
    }

    /// Holds the estimates of `chains`; all or none.
    pub(super) fn hold(&mut self, chains: &[Chain], now: i64) -> Admission {
        let held = self.look(chains, now);
        for (bucket, part) in held.outcome.iter().flat_map(ByKey::iter) {
            if let Some(book) = self.books.get_mut(bucket) {
                book.account.held = book.account.held.saturating_add(*part);
            }
        }
        held
    }

    /// Gives back what was held.
    pub(super) fn release(&mut self, parts: &ByKey<i64>) {
        for (bucket, part) in parts.iter() {
            if let Some(book) = self.books.get_mut(bucket) {
                book.account.held = book.account.held.saturating_sub(*part);
            }
        }
    }

    /// Takes what `chains` pay.
    pub(super) fn spend(&mut self, chains: &[Chain], now: i64) {
        for chain in chains {
            let before: Vec<Level> = chain
                .links
                .iter()
                .map(|link| self.book(link, now).account.level)
                .collect();
            for (link, after) in chain.links.iter().zip(spend(chain, &before)) {
                self.book(link, now).account.level = after;
            }
        }
    }

    pub(super) fn refill(&mut self, link: &Link, amount: i64, now: i64) -> Account {
        let account = &mut self.book(link, now).account;
        let balance = account.level.balance.saturating_add(amount);
        account.level.balance = balance.min(link.terms.capacity);
        *account
    }

    /// Forgets buckets by their template. What is held of them is forgotten as well: a bucket
    /// that comes back starts again.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.books.retain(|_, book| keep(&book.template));
    }

    pub(super) fn stored(&self) -> Vec<StoredBucket> {
        let stored = self.books.iter().map(|(key, book)| StoredBucket {
            key: key.to_string(),
            bucket: book.bucket.to_string(),
            is_earlier: book.is_earlier,
            template: book.template.clone(),
            level: book.account.level,
            held: book.account.held,
        });
        stored.collect()
    }

    /// Forgets full buckets once there are many: a bucket that is not here is full.
    fn sweep(&mut self, now: i64) {
        if self.books.len() < self.sweep_at {
            return;
        }
        self.books.retain(|_, book| {
            let is_full = book
                .terms
                .is_some_and(|terms| terms.at(book.account.level, now).balance >= terms.capacity);
            book.account.held != 0 || !is_full
        });
        self.sweep_at = SWEEP.max(self.books.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::bucket::Unit;

    fn chain(bucket: &str, amount: i64) -> Chain {
        let terms = Terms {
            unit: Unit::Tokens,
            capacity: 100,
            rate: 1,
            per: 1_000,
            warn_below: 0,
            refuses_unpriced: false,
        };
        let link = Link {
            key: bucket.into(),
            before: None,
            bucket: bucket.into(),
            template: "t".to_owned(),
            terms,
        };
        Chain {
            links: Arc::new([link]),
            amount,
        }
    }

    #[test]
    fn full_buckets_are_forgotten_once_there_are_many() {
        let used = |bucket: &str| StoredBucket {
            key: bucket.to_owned(),
            is_earlier: false,
            bucket: bucket.to_owned(),
            template: "t".to_owned(),
            level: Level { balance: 1, at: 0 },
            held: 9,
        };
        let mut local = Local::new(vec![used("stored")]);
        assert_eq!(local.stored()[0].held, 0, "whoever held is gone");
        assert!(local.hold(&[chain("held", 5)], 0).outcome.is_ok());
        local.spend(&[chain("spent", 5)], 0);
        local.spend(&[chain("refilled", 1)], 0);
        for nth in 4..SWEEP - 1 {
            local.spend(&[chain(&nth.to_string(), 0)], 0);
        }
        // Nobody is forgotten before.
        assert!(local.hold(&[chain("last", 5)], 1_000).outcome.is_ok());
        assert_eq!(local.books.len(), SWEEP);
        assert!(local.hold(&[chain("held", 5)], 1_000).outcome.is_ok());
        let mut left: Vec<&str> = local.books.keys().map(Text::as_str).collect();
        left.sort_unstable();
        // Of what was stored nobody knows the terms.
        assert_eq!(left, ["held", "last", "spent", "stored"]);
        assert_eq!(local.sweep_at, SWEEP);
    }

    #[test]
    fn a_bucket_from_before_is_taken_over_by_its_own_definition_once() {
        let earlier = |bucket: &str, template: &str| StoredBucket {
            key: bucket.to_owned(),
            bucket: bucket.to_owned(),
            template: template.to_owned(),
            level: Level { balance: 7, at: 0 },
            held: 0,
            is_earlier: true,
        };
        let mut local = Local::new(vec![earlier("q:x", "q:<user>")]);
        let terms = chain("any", 0).links[0].terms;
        let link = |template: &str, whose: &str| Link::new(template, whose, "q:x".into(), terms);
        let mut balance = |link: &Link| local.book(link, 0).account.level.balance;
        assert_eq!(
            balance(&link("q:<node>", "node:x")),
            100,
            "of another definition"
        );
        assert_eq!(balance(&link("q:<user>", "user:1")), 7);
        assert_eq!(balance(&link("q:<user>", "user:2")), 100, "it was taken");
        let stranger = Link {
            before: None,
            ..link("q:<user>", "external::3")
        };
        assert_eq!(balance(&stranger), 100);
        assert!(local.stored().iter().all(|one| !one.is_earlier));
    }

    #[test]
    fn what_is_held_and_taken_adds_up() {
        let mut local = Local::new(Vec::new());
        let held = local.hold(&[chain("b", 30)], 0).outcome.unwrap();
        let short = local.hold(&[chain("b", 71)], 0);
        assert!(short.outcome.is_err(), "nothing is held of what is refused");
        let account = |local: &mut Local| local.book(&chain("b", 0).links[0], 0).account;
        assert_eq!(account(&mut local).held, 30);
        local.release(&held);
        local.spend(&[chain("b", 40), chain("b", 80)], 0);
        let now = account(&mut local);
        assert_eq!((now.level.balance, now.held), (-20, 0));
        let link = &chain("b", 0).links[0];
        assert_eq!(local.refill(link, 50, 0).level.balance, 30);
        assert_eq!(local.refill(link, 500, 0).level.balance, 100);
        local.retain(|template| template != "t");
        assert!(local.stored().is_empty());
    }
}
