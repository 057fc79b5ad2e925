//! What the process says of itself: for eyes on a terminal, as JSON everywhere else.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::wire::text::{harmless_json, steers};

/// Starts logging to standard error; `IRIS_LOG` filters, as in `IRIS_LOG=iris=debug`.
pub(super) fn start() {
    start_with("info");
}

/// The same beside [`super::progress`], which tells people of joining in its own way.
pub(super) fn start_beside_progress() {
    start_with(if std::io::stderr().is_terminal() {
        "info,iris::server::doors=error"
    } else {
        "info"
    });
}

/// The same beside the demo's tour, which a line for each request would bury.
pub(super) fn start_beside_tour() {
    start_with(if std::io::stderr().is_terminal() {
        "warn"
    } else {
        "info"
    });
}

/// Writes events without what steers a terminal: they name models, logins and what servers answered.
/// Each event is written at once, and ends with its only end of a line.
struct Harmless<W>(W);

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(one_line(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// An event as one line. In JSON, what is replaced stands in strings.
fn one_line(event: &[u8]) -> String {
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
    out + end
}

/// Whether a text begins with a color, which the formatter sets; it escapes those of others.
fn is_color(text: &str) -> bool {
    let digits = text
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.split_once('m'));
    digits.is_some_and(|(digits, _)| {
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b';')
    })
}

fn start_with(usual: &str) {
    let filter = EnvFilter::try_from_env("IRIS_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say on standard error that standard error is gone, and panic.
        .log_internal_errors(false)
        .with_writer(|| Harmless(std::io::stderr()));
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
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
            let mut out = Harmless(Vec::new());
            out.write_all(event.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(out.0).unwrap(), line);
        }
    }
}
