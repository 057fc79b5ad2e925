//! The process itself: what waits for a restart, its memory, its log, and the database.

use super::{Severity, Warning, counted, warning};
use crate::base::memory::Usage;
use crate::base::output::Loss;
use crate::records::Backlog;

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
        Severity::Warning,
        "restart_needed",
        "",
        message,
        "restart Iris when it suits you; the previous values are in use until then",
    ))
}

pub(super) fn misplaced(why: &str) -> Warning {
    warning(
        Severity::Critical,
        "ledger_file_gone",
        "",
        format!("requests are refused, because their records would be lost: {why}"),
        "put the file back, or restart Iris to go on with what is there now",
    )
}

pub(super) fn backlog(healthy: bool, backlog: Backlog) -> Option<Warning> {
    let waiting = u64::try_from(backlog.promised).unwrap_or(u64::MAX);
    if !healthy {
        return Some(warning(
            Severity::Critical,
            "ledger_failing",
            "",
            format!(
                "requests are refused, because they can't be recorded; {} waiting",
                counted(waiting, "record")
            ),
            "the log says why a write failed; usually it is the disk or the database server",
        ));
    }
    backlog.is_long().then(|| {
        warning(
            Severity::Warning,
            "ledger_backlog",
            "",
            format!(
                "records are written more slowly than they arrive; {} waiting",
                counted(waiting, "record")
            ),
            "the disk or the database is too slow; once the queue is full, requests are refused",
        )
    })
}

pub(super) fn memory_full(usage: Usage) -> Option<Warning> {
    usage.is_short.then(|| {
        warning(
            Severity::Warning, "memory_full", "",
            format!(
                "requests are refused, because the bodies of others hold as much memory as they may: \
                 {} MiB",
                usage.bound >> 20
            ),
            "give the gateway more memory, or raise limits.memory if there is more",
        )
    })
}

pub(super) fn lost_log(loss: &Loss) -> Option<Warning> {
    let why = loss.why.as_deref()?;
    Some(warning(
        Severity::Warning,
        "log_blocked",
        "",
        format!(
            "the log can't be written to standard error: {why}; {} lost since the start",
            counted(loss.dropped, "line")
        ),
        "check the log driver, the pipe or the terminal that reads standard error; requests go on without it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_of_while_requests_are_refused() {
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
    fn a_log_that_nobody_reads_is_told_of_while_it_lasts() {
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
