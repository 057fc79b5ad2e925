//! The process itself: what waits for a restart, its memory, its log, and the database.

use super::{Warning, counted, warning};
use crate::base::memory::Usage;
use crate::base::output::Loss;
use crate::records::{Backlog, FoldingProblems};

pub(super) fn restart(waiting: &[String]) -> Option<Warning> {
    // A node that has joined its tailnet doesn't need its key again: one that is rotated is no
    // reason to restart.
    let keys: Vec<_> = waiting
        .iter()
        .filter(|key| *key != "tailnet.auth_key")
        .map(String::as_str)
        .collect();
    let (first, has) = match keys.as_slice() {
        [] => return None,
        [_] => ("a change", "takes"),
        _ => ("changes", "take"),
    };
    let message = format!(
        "{first} of {} in the configuration {has} effect at the next restart",
        keys.join(", ")
    );
    Some(warning(
        "restart_needed",
        message,
        "restart Iris when it suits you; the previous values are in use until then",
    ))
}

pub(super) fn misplaced(why: &str) -> Warning {
    let message = format!("requests are refused, because their records would be lost: {why}");
    let hint = "put the file back, or restart Iris to go on with what is there now";
    warning("ledger_file_gone", message, hint).critical()
}

pub(super) fn backlog(healthy: bool, backlog: Backlog) -> Option<Warning> {
    let waiting = u64::try_from(backlog.promised).unwrap_or(u64::MAX);
    let waiting = format!("{} waiting", counted(waiting, "record"));
    if !healthy {
        let message = format!("requests are refused, because they can't be recorded; {waiting}");
        let hint = "the log says why a write failed; usually it is the disk or the database server";
        return Some(warning("ledger_failing", message, hint).critical());
    }
    let message = format!("records are written more slowly than they arrive; {waiting}");
    let hint = "the disk or the database is too slow; once the queue is full, requests are refused";
    let is_long = backlog.is_long();
    is_long.then(|| warning("ledger_backlog", message, hint))
}

pub(super) fn folding(problems: &FoldingProblems) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(why) = &problems.failing {
        let message = format!(
            "new records are kept, but can't be added to the tables of the database: {why}"
        );
        let hint =
            "requests go on, and pages that need the new records fail; Iris tries again by itself";
        found.push(warning("journal_stuck", message, hint).critical());
    }
    let unreadable = problems.unreadable_rows as u64;
    if unreadable > 0 {
        let message = format!(
            "{} of the journal can't be read",
            counted(unreadable, "row")
        );
        let hint = "they stay in the table \"journal\"; the log has their ids, and a newer Iris may read them";
        found.push(warning("journal_unreadable", message, hint));
    }
    let given_up = problems.given_up_records as u64;
    if given_up > 0 {
        let what = counted(given_up, "record");
        let message = format!("adding {what} to the tables of the database failed for good");
        let hint =
            "the log has them: search it for \"the writer panics at a record\", and report it";
        found.push(warning("records_given_up", message, hint));
    }
    found
}

pub(super) fn memory_full(usage: Usage) -> Option<Warning> {
    let bound = usage.bound >> 20;
    let message = format!(
        "requests are refused, because the bodies of others hold as much memory as they may: \
         {bound} MiB"
    );
    let hint = "give the gateway more memory, or raise limits.memory if there is more";
    let is_short = usage.is_short;
    is_short.then(|| warning("memory_full", message, hint))
}

pub(super) fn lost_log(loss: &Loss) -> Option<Warning> {
    let (why, lost) = (loss.why.as_deref()?, counted(loss.dropped, "line"));
    let message =
        format!("the log can't be written to standard error: {why}; {lost} lost since the start");
    let hint = "check the log driver, the pipe or the terminal that reads standard error; requests \
        go on without it";
    Some(warning("log_blocked", message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_reported_while_requests_are_refused() {
        let usage = Usage {
            bound: 512 << 20,
            refused: 3,
            ..Usage::default()
        };
        assert_eq!(memory_full(usage), None);
        let usage = Usage {
            is_short: true,
            ..usage
        };
        let found = memory_full(usage).unwrap();
        assert!(
            found.message.ends_with("as they may: 512 MiB"),
            "{}",
            found.message
        );
    }

    #[test]
    fn records_that_can_not_be_read_are_reported() {
        assert_eq!(folding(&FoldingProblems::default()), []);
        let found = folding(&FoldingProblems {
            failing: Some("disk I/O error".to_owned()),
            unreadable_rows: 1,
            given_up_records: 2,
        });
        let messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "new records are kept, but can't be added to the tables of the database: disk I/O error",
                "1 row of the journal can't be read",
                "adding 2 records to the tables of the database failed for good",
            ]
        );
    }

    #[test]
    fn a_log_that_nobody_reads_is_reported_while_it_lasts() {
        let loss = |dropped, why: Option<&str>| Loss {
            dropped,
            why: why.map(str::to_owned),
        };
        assert_eq!(lost_log(&loss(7, None)), None);
        let found = lost_log(&loss(1, Some("broken pipe"))).unwrap();
        assert_eq!(found.kind, "log_blocked");
        assert!(
            found.message.contains("broken pipe; 1 line lost"),
            "{}",
            found.message
        );
    }

    #[test]
    fn a_change_that_waits_for_a_restart_is_named() {
        let message = |waiting: &[&str]| {
            let waiting: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            restart(&waiting).map(|one| one.message)
        };
        assert_eq!(message(&[]), None);
        assert_eq!(message(&["tailnet.auth_key"]), None);
        assert_eq!(
            message(&["listen.loopback"]).unwrap(),
            "a change of listen.loopback in the configuration takes effect at the next restart"
        );
        assert_eq!(
            message(&["tailnet.auth_key", "tailnet.mode", "listen.http"]).unwrap(),
            "changes of tailnet.mode, listen.http in the configuration take effect at the next restart"
        );
    }
}
