//! Budgets of tokens and of requests as `docs/BUDGETS.md` has them, and every order in which requests
//! side by side can use them: what the tests of one node and of two have in common.

/// Tokens that a request is expected to take.
pub(crate) const ESTIMATE: i64 = 10;

/// What there is, and what running requests hold of it: tokens, and requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Books {
    pub(crate) balance: [i64; 2],
    pub(crate) held: [i64; 2],
}

impl Books {
    pub(crate) fn admits(&self) -> bool {
        [ESTIMATE, 1].iter().enumerate().all(|(nth, estimate)| {
            let free = self.balance[nth] - self.held[nth];
            free > 0 && (free >= *estimate || self.held[nth] == 0)
        })
    }

    pub(crate) fn hold(&mut self) {
        self.held = [self.held[0] + ESTIMATE, self.held[1] + 1];
    }

    /// A request ends that has taken so many tokens, or nothing at all.
    pub(crate) fn end(&mut self, tokens: Option<i64>) {
        self.held = [self.held[0] - ESTIMATE, self.held[1] - 1];
        if let Some(tokens) = tokens {
            self.balance = [self.balance[0] - tokens, self.balance[1] - 1];
        }
    }

    /// That no more is owed than the requests took beyond their estimates.
    pub(crate) fn owe_little(&self, tokens: impl Iterator<Item = Option<i64>>) -> bool {
        let beyond = tokens.map(|tokens| (tokens.unwrap_or(0) - ESTIMATE).max(0));
        // Those that ran side by side are over by their errors; the last alone by the rest.
        self.balance[0] >= -(beyond.sum::<i64>() + ESTIMATE - 1)
    }
}

/// Every order of steps, of which each comes as often as it says.
pub(crate) fn orders(often: &[usize]) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..often.iter().sum() {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let count = |nth: usize| order.iter().filter(|one| **one == nth).count();
            let open: Vec<usize> = (0..often.len())
                .filter(|nth| count(*nth) < often[*nth])
                .collect();
            open.into_iter()
                .map(|nth| [order.as_slice(), &[nth]].concat())
        });
        orders = longer.collect();
    }
    orders
}

/// Every way in which `count` requests can end.
pub(crate) fn endings<E: Copy>(count: usize, ends: &[E]) -> Vec<Vec<E>> {
    (0..count).fold(vec![Vec::new()], |some, _| {
        let longer = some
            .iter()
            .flat_map(|some| ends.iter().map(|end| [some.as_slice(), &[*end]].concat()));
        longer.collect()
    })
}
