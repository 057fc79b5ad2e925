//! How programs with a harness of their own say what came of their tests. `./test` adds up the last
//! line of each, along with those of Cargo's harness, so that it has one form everywhere.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many tests have said that they can't run here.
static SKIPS: AtomicUsize = AtomicUsize::new(0);

/// Says that the running test can't run here, and what it would need.
pub(crate) fn skip(why: &str) {
    SKIPS.fetch_add(1, Ordering::Relaxed);
    println!("  SKIPPED: {why}");
}

/// The tests that have ended.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Tally {
    /// Counts a test and prints its line; an error says why it failed. Gives how many failed so far.
    pub(crate) fn end(&mut self, name: &str, took: Duration, outcome: Result<(), String>) -> usize {
        let skips = SKIPS.swap(0, Ordering::Relaxed);
        let verdict = match &outcome {
            Err(_) => "FAILED",
            Ok(()) if skips > 0 => "skipped",
            Ok(()) => "ok",
        };
        println!("test {name} ... {verdict} ({took:.1?})");
        match outcome {
            Err(why) => {
                println!("{why}");
                self.failed.push(name.to_owned());
            }
            Ok(()) if skips > 0 => self.skipped += 1,
            Ok(()) => self.passed += 1,
        }
        self.failed.len()
    }

    /// Prints the totals, after which a program may print nothing.
    pub(crate) fn close(self) -> ExitCode {
        if !self.failed.is_empty() {
            println!("\nfailed: {}", self.failed.join(", "));
        }
        let (failed, skipped) = (self.failed.len(), self.skipped);
        println!(
            "\n{} passed, {failed} failed, {skipped} skipped",
            self.passed
        );
        ExitCode::from(u8::from(failed > 0))
    }
}
