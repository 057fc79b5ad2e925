//! The buckets of a node that has its database to itself.

use std::collections::{BTreeMap, HashMap};

use crate::bucket::{Account, Chain, Level, Link, Terms, admit_all, spend};
use crate::ledger::{Held, Stored};

/// Buckets kept before those are looked for that nobody would miss.
const SWEEP: usize = 16_384;

/// Balances and holds by bucket. One that is not here is full.
pub(super) struct Local {
    books: HashMap<String, Book>,
    sweep_at: usize,
}

struct Book {
    template: String,
    /// Known once it was used under them.
    terms: Option<Terms>,
    account: Account,
}

impl Local {
    pub(super) fn new(stored: Vec<Stored>) -> Self {
        let books = stored.into_iter().map(|one| {
            let book = Book {
                template: one.template,
                terms: None,
                account: Account {
                    level: one.level,
                    held: 0,
                },
            };
            (one.bucket, book)
        });
        Self {
            books: books.collect(),
            sweep_at: SWEEP,
        }
    }

    fn book(&mut self, link: &Link, now: i64) -> &mut Book {
        let book = self
            .books
            .entry(link.bucket.clone())
            .or_insert_with(|| Book {
                template: link.template.clone(),
                terms: None,
                account: Account {
                    level: link.terms.full(now),
                    held: 0,
                },
            });
        book.terms = Some(link.terms);
        book.account.level = link.terms.at(book.account.level, now);
        book
    }

    /// Holds the estimates of `chains`; all or none.
    pub(super) fn hold(&mut self, chains: &[Chain], now: i64) -> Held {
        self.sweep(now);
        let links = chains.iter().flat_map(|chain| &chain.links);
        let accounts: BTreeMap<String, Account> = links
            .map(|link| (link.bucket.clone(), self.book(link, now).account))
            .collect();
        let outcome = admit_all(chains, &mut accounts.clone());
        for (bucket, part) in outcome.iter().flatten() {
            if let Some(book) = self.books.get_mut(bucket) {
                book.account.held = book.account.held.saturating_add(*part);
            }
        }
        Held { accounts, outcome }
    }

    /// Gives back what was held.
    pub(super) fn release(&mut self, parts: &BTreeMap<String, i64>) {
        for (bucket, part) in parts {
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
    /// that comes back begins anew.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.books.retain(|_, book| keep(&book.template));
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        let stored = self.books.iter().map(|(bucket, book)| Stored {
            bucket: bucket.clone(),
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
