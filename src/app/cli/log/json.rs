//! Events as lines of JSON, as `tracing-subscriber` writes them with flattened fields, at a tenth of its
//! cost: each request writes one. What is rare (an event within a span, one of the crate `log`) is
//! left to `tracing-subscriber`.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The target of events that come from the crate `log`, whose own is among their fields.
const FROM_LOG: &str = "log";
/// Bytes of `2026-11-29T12:12:19`.
const TO_SECONDS: usize = 19;

/// Writes events.
pub(super) struct OneLine {
    usual: Format<Json>,
}

impl OneLine {
    /// What `usual` would write.
    pub(super) fn new(usual: Format<Json>) -> Self {
        Self { usual }
    }
}

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let has_span = event.parent().is_some() || context.lookup_current().is_some();
        if has_span || meta.target() == FROM_LOG {
            return self.usual.format_event(context, writer, event);
        }
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with(|line| {
            // A field whose text is made by code that logs itself has a line of its own.
            let Ok(mut out) = line.try_borrow_mut() else {
                return self.usual.format_event(context, writer, event);
            };
            out.clear();
            out.extend_from_slice(b"{\"timestamp\":\"");
            put_time(&mut out, Timestamp::now());
            out.extend_from_slice(b"\",\"level\":\"");
            out.extend_from_slice(meta.level().as_str().as_bytes());
            out.push(b'"');
            let mut fields = Fields {
                out: &mut out,
                is_whole: true,
            };
            event.record(&mut fields);
            fields.name("target");
            fields.text(meta.target());
            if !fields.is_whole {
                return Err(fmt::Error);
            }
            out.extend_from_slice(b"}\n");
            writer.write_str(str::from_utf8(&out).map_err(|_| fmt::Error)?)
        })
    }
}

/// The fields of an event, each behind a comma.
struct Fields<'o> {
    out: &'o mut Vec<u8>,
    /// All could be written so far.
    is_whole: bool,
}

impl Fields<'_> {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        self.json(value);
    }

    fn name(&mut self, name: &str) {
        self.out.push(b',');
        self.text(name);
        self.out.push(b':');
    }

    /// A text; most have nothing to escape.
    fn text(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // Without an early end, the compiler compares many bytes at once.
        if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        } else {
            self.json(text);
        }
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.is_whole &= serde_json::to_writer(&mut *self.out, value).is_ok();
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.entry(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.entry(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.entry(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.entry(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field.name());
        self.text(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.entry(field.name(), &format_args!("{value:?}"));
    }
}

/// Adds a time, to the microsecond. The date is spelt once a second.
fn put_time(out: &mut Vec<u8>, now: Timestamp) {
    thread_local! {
        static SPELT: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let (second, micros) = (now.as_second(), now.subsec_microsecond());
    SPELT.with_borrow_mut(|(of, text)| {
        if *of != second || micros < 0 {
            text.clear();
            // A text takes all that is written to it.
            let _ = write!(text, "{now:.6}");
            *of = second;
        }
        out.extend_from_slice(text.as_bytes().get(..TO_SECONDS).unwrap_or_default());
    });
    // A vector takes all that is written to it.
    let _ = write!(out, ".{:06}Z", micros.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::base::lock::lock;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn events() {
        let (text, none): (&str, Option<u64>) = ("a \"b\" \\ \u{7f} \u{1}\n größe", None);
        tracing::info!(
            id = text,
            duration_ms = 12.345,
            odd = f64::NAN,
            whole = 3.0,
            status = 200_u16,
            less = -7,
            big = u128::MAX,
            is = true,
            none,
            "request"
        );
        tracing::warn!(debug = ?text, display = %text, wait = ?std::time::Duration::from_millis(5), "with {}", text);
        tracing::error!(error = &io::Error::other("x") as &dyn std::error::Error);
        let _in_a_span = tracing::info_span!("span", of = 1).entered();
        tracing::info!("in a span");
    }

    /// The lines without their times, which are looked at for themselves.
    fn lines(kept: &Kept) -> Vec<String> {
        let text = String::from_utf8(lock(&kept.0).clone()).unwrap();
        let lines = text.lines().map(|line| {
            let rest = line.strip_prefix("{\"timestamp\":\"").unwrap();
            let (time, rest) = rest.split_once('"').unwrap();
            assert_eq!(time.len(), 27, "{time}");
            let age = Timestamp::now().duration_since(time.parse().unwrap());
            assert!((0..60).contains(&age.as_secs()), "{time}");
            rest.to_owned()
        });
        lines.collect()
    }

    #[test]
    fn lines_are_those_of_the_usual_format() {
        let (ours, theirs) = (Kept::default(), Kept::default());
        let builder = tracing_subscriber::fmt().with_writer(theirs.clone());
        let usual = builder.json().flatten_event(true).finish();
        tracing::subscriber::with_default(usual, events);
        let builder = tracing_subscriber::fmt().with_writer(ours.clone()).json();
        let own = builder.map_event_format(|usual| OneLine::new(usual.flatten_event(true)));
        tracing::subscriber::with_default(own.finish(), events);
        assert_eq!(lines(&ours), lines(&theirs));
        assert_eq!(lines(&ours).len(), 4);
    }

    #[test]
    fn times_are_spelt_to_the_microsecond() {
        for time in [
            "2026-11-29T12:12:19.000001Z",
            "2026-11-29T12:12:19.752516Z",
            "2026-11-29T12:12:20.000000Z",
            "2026-11-29T12:12:19.999999Z",
        ] {
            let mut out = Vec::new();
            put_time(&mut out, time.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), time);
        }
    }
}
