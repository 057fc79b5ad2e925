//! What the process says of itself: for eyes on a terminal, as JSON everywhere else.

mod json;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::base::output::{self, Output};
use crate::base::panics;
use crate::wire::text::{counted, harmless_json, steers};

/// For lines that are still to be written when the process ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says why the program ends: in the log, where there is one.
pub(super) fn end_with(error: &str) {
    let line = format!("error: {error}\n");
    match output::log() {
        Some(log) => log.put(line.into_bytes()),
        // Nobody may be there to read it.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Waits for lines that are still to be written, for a short time.
pub(super) fn finish() {
    output::finish(PATIENCE);
}

/// A line of the log that no filter leaves out.
fn line(level: &str, message: &str, more: &[(&str, String)]) -> Vec<u8> {
    let now = jiff::Timestamp::now();
    let line = if io::stderr().is_terminal() {
        let more = more.iter().map(|(name, value)| format!(" {name}={value}"));
        let more: String = more.collect();
        format!("{now:.6} {level:>5} {message}{more}\n")
    } else {
        let mut line = json!({
            "timestamp": format!("{now:.6}"),
            "level": level,
            "message": message,
            "target": "iris",
        });
        for (name, value) in more {
            line[*name] = value.as_str().into();
        }
        format!("{line}\n")
    };
    one_line(line.as_bytes())
}

fn recovered(lost: u64) -> Vec<u8> {
    let (lines, was) = (
        counted(lost, "line"),
        if lost == 1 { "was" } else { "were" },
    );
    let message =
        format!("{lines} of the log {was} lost, because standard error could not be written to");
    line("WARN", &message, &[])
}

/// Logs a panic. The usual hook would write to standard error itself, and could wait for its reader.
fn panicked(panic: &PanicHookInfo<'_>) {
    let Some(log) = output::log() else { return };
    let at = panic
        .location()
        .map_or("an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let mut more = vec![("thread", thread.name().unwrap_or("unnamed").to_owned())];
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        more.push(("backtrace", backtrace.to_string()));
    }
    let message = format!("panicked at {at}: {}", panics::message(panic.payload()));
    log.put(line("ERROR", &message, &more));
}

/// Queues events without what steers a terminal: they name models, logins and what servers answered.
/// Each event is written at once, and ends with its only end of a line.
struct Harmless(&'static Output);

impl Write for Harmless {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.put(one_line(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as one line. In JSON, what is replaced stands in strings.
fn one_line(event: &[u8]) -> Vec<u8> {
    let line = event.strip_suffix(b"\n").unwrap_or(event);
    // Nearly all are plain, and each request writes one. Without an early end, the compiler compares
    // many bytes at once.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    if line.iter().fold(true, |all, byte| all & is_plain(byte)) {
        return event.to_vec();
    }
    let text = String::from_utf8_lossy(event);
    let (line, end) = match text.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (&*text, ""),
    };
    let mut out = String::with_capacity(text.len());
    for (at, char) in line.char_indices() {
        if !steers(char) || is_color(&line[at..]) {
            out.push(char);
        } else if char == '\n' {
            out.push_str("\\n");
        } else {
            out.push_str(&harmless_json(char.encode_utf8(&mut [0; 4])));
        }
    }
    out.push_str(end);
    out.into_bytes()
}

/// Whether a text begins with a color, which the formatter sets; it escapes those of others.
fn is_color(text: &str) -> bool {
    let digits = text
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.split_once('m'));
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b';';
    digits.is_some_and(|(digits, _)| digits.bytes().all(is_part))
}

/// Starts logging to standard error. `IRIS_LOG` filters, as in `IRIS_LOG=iris=debug`; without it
/// everything from `info` on is logged, or what `on_terminal` says where people read it.
pub(super) fn start(on_terminal: &str) -> anyhow::Result<()> {
    let log = output::start_log(recovered).context("the log can't be written")?;
    std::panic::set_hook(Box::new(panicked));
    let usual = if io::stderr().is_terminal() {
        on_terminal
    } else {
        "info"
    };
    let filter = EnvFilter::try_from_env("IRIS_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would write to standard error itself.
        .log_internal_errors(false)
        .with_writer(move || Harmless(log));
    if io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder
            .json()
            .map_event_format(|usual| json::OneLine::new(usual.flatten_event(true)))
            .init();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_what_steers() {
        for (event, line) in [
            (
                "a model \u{202e}m\u{9b}2J\nsecond\n",
                "a model \\u202em\\u009b2J\\nsecond\n",
            ),
            ("{\"model\":\"m\u{85}\"}\n", "{\"model\":\"m\\u0085\"}\n"),
            (
                "\u{1b}[32m INFO\u{1b}[0m größe 模型\n",
                "\u{1b}[32m INFO\u{1b}[0m größe 模型\n",
            ),
            ("\u{1b}]0;title\u{7}\n", "\\u001b]0;title\\u0007\n"),
        ] {
            let one = String::from_utf8(one_line(event.as_bytes())).unwrap();
            assert_eq!(one, line);
        }
    }

    #[test]
    fn lines_of_its_own_are_lines_of_the_log() {
        for (lost, says) in [
            (1, "1 line of the log was lost"),
            (7, "7 lines of the log were lost"),
        ] {
            let line = String::from_utf8(recovered(lost)).unwrap();
            assert!(line.contains(says) && line.ends_with('\n'), "{line}");
        }
        let line = line("ERROR", "a\nb", &[("backtrace", "1\n2\u{9b}".to_owned())]);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains('\u{9b}'), "{line}");
    }
}
