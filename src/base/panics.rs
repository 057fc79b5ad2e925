//! Panics: what one may end, and places where a test has the program panic.
//!
//! A panic is a fault of the program. It ends the request in which it happens, and nothing else:
//! background loops are restarted.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

/// Before a loop is restarted, so that one that panics at once does not keep a core busy.
const PAUSE: Duration = Duration::from_secs(1);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Waits for `work`; `None` if it panics. No `async fn`, which would have room for it twice.
pub fn caught<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    let report = move |panic: Box<dyn Any + Send>| tell(what, panic.as_ref());
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(move |done| done.map_err(report).ok())
}

/// The same for what waits for nothing.
pub fn caught_now<T>(what: &str, work: impl FnOnce() -> T) -> Option<T> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            tell(what, panic.as_ref());
            None
        }
    }
}

/// Runs a loop to its end, and restarts it whenever it panics.
pub async fn kept<F: Future<Output = ()>>(what: &str, mut work: impl FnMut() -> F) {
    while let Err(panic) = AssertUnwindSafe(work()).catch_unwind().await {
        tell(what, panic.as_ref());
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many there were since the start, of those that are survived.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn tell(what: &str, panic: &(dyn Any + Send)) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    tracing::error!(panic = message(panic), "{what} has panicked");
}

/// What a panic says.
#[must_use]
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

/// A place at which a test can have the program panic: `IRIS_PANIC=place:nth` does so at its nth
/// pass, and `place:nth:hang` has the thread wait for ever; several have commas between them.
/// Debug builds have such places, which is what tests run; in a release they are nothing.
#[cfg(debug_assertions)]
pub fn point(place: &'static str) {
    static PLANNED: std::sync::LazyLock<Vec<planned::Place>> =
        std::sync::LazyLock::new(planned::read);
    for planned in PLANNED.iter().filter(|planned| planned.name == place) {
        planned.pass();
    }
}

/// Nothing: there are no such places in a release.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn point(_: &'static str) {}

#[cfg(debug_assertions)]
mod planned {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A place, and how many passes are left until it panics.
    pub(super) struct Place {
        pub(super) name: String,
        left: AtomicU64,
        hangs: bool,
    }

    pub(super) fn read() -> Vec<Place> {
        let text = std::env::var("IRIS_PANIC").unwrap_or_default();
        let places = text.split(',').filter_map(|place| place.split_once(':'));
        places
            .filter_map(|(name, nth)| {
                let (nth, what) = nth.split_once(':').unwrap_or((nth, ""));
                Some(Place {
                    name: name.to_owned(),
                    left: AtomicU64::new(nth.parse().ok()?),
                    hangs: what == "hang",
                })
            })
            .collect()
    }

    impl Place {
        #[expect(clippy::panic, reason = "that is what it is for")]
        pub(super) fn pass(&self) {
            let less = |left: u64| left.checked_sub(1);
            let before = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            if before == Ok(1) {
                if self.hangs {
                    loop {
                        std::thread::park();
                    }
                }
                panic!("planned at {}", self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_begins_anew() {
        let mut times = 0;
        kept("a loop", || {
            times += 1;
            let is_first = times == 1;
            async move { assert!(!is_first, "the first time") }
        })
        .await;
        assert_eq!(times, 2);
        assert_eq!(caught("this", async { 1 }).await, Some(1));
        let broken = caught("this", async { assert_eq!(1, 2, "no") });
        assert_eq!(broken.await, None);
    }
}
