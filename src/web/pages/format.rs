//! Numbers, amounts and times as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits and a letter, such as `1.23M`.
pub(super) fn compact(number: u64) -> String {
    const STEPS: [(u64, &str); 4] = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "B"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    for (step, letter) in STEPS {
        if number >= step {
            let (whole, hundredths) = (number / step, number % step * 100 / step);
            return match whole {
                0..10 => format!("{whole}.{hundredths:02}{letter}"),
                10..100 => format!("{whole}.{}{letter}", hundredths / 10),
                _ => format!("{whole}{letter}"),
            };
        }
    }
    number.to_string()
}

/// Nanodollars in dollars: cents from a dollar on, and as many digits below as say something.
pub(super) fn dollars(nano: i64) -> String {
    let sign = if nano < 0 { "−" } else { "" };
    let nano = nano.unsigned_abs();
    let whole = nano / 1_000_000_000;
    match nano {
        0 => "$0".to_owned(),
        1..1_000 => format!("{sign}<$0.000001"),
        1_000..10_000_000 => format!("{sign}$0.{:06}", nano / 1_000),
        10_000_000..1_000_000_000 => format!("{sign}$0.{:04}", nano / 100_000),
        _ => format!(
            "{sign}${}.{:02}",
            grouped(whole),
            nano % 1_000_000_000 / 10_000_000
        ),
    }
}

/// Nanodollars in a table, where every amount has the same digits.
pub(super) fn dollars_in_column(nano: i64) -> String {
    let sign = if nano < 0 { "−" } else { "" };
    match nano.unsigned_abs() {
        0 => "$0.0000".to_owned(),
        1..100_000 => format!("{sign}<$0.0001"),
        nano => format!(
            "{sign}${}.{:04}",
            grouped(nano / 1_000_000_000),
            nano % 1_000_000_000 / 100_000
        ),
    }
}

/// A price in dollars: cents, and as many digits more as the price has, up to a millionth.
pub(super) fn price(dollars: f64) -> String {
    let text = format!("{dollars:.6}");
    if dollars > 0.0 && text == "0.000000" {
        return "<$0.000001".to_owned();
    }
    let (whole, digits) = text.split_once('.').unwrap_or((&text, ""));
    let digits = digits.trim_end_matches('0');
    format!("${whole}.{digits:0<2}")
}

/// A time span in milliseconds.
pub(super) fn span(ms: f64) -> String {
    if ms < 0.95 {
        format!("{ms:.2} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 59_995.0 {
        format!("{:.2} s", ms / 1_000.0)
    } else {
        let whole = Duration::try_from_secs_f64((ms / 1_000.0).round()).unwrap_or_default();
        seconds(i64::try_from(whole.as_secs()).unwrap_or(i64::MAX))
    }
}

/// A time span in seconds, in its two greatest units.
pub(super) fn seconds(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A number of bytes.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{}.{} KiB", count >> 10, ((count & 1_023) * 10) >> 10),
        _ => format!(
            "{}.{} MiB",
            count >> 20,
            (((count >> 10) & 1_023) * 10) >> 10
        ),
    }
}

/// Unix milliseconds as a UTC date and time, to the second.
pub(super) fn time(unix_ms: i64) -> String {
    let text = rfc3339(unix_ms);
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// Unix milliseconds as a UTC date.
pub(super) fn date(unix_ms: i64) -> String {
    rfc3339(unix_ms).chars().take(10).collect()
}

/// Unix milliseconds for programs.
pub(super) fn rfc3339(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .unwrap_or_default()
        .to_string()
}

/// How long ago something was.
pub(super) fn ago(now_ms: i64, then_ms: i64) -> String {
    let passed = (now_ms - then_ms).max(0) / 1_000;
    match passed {
        0..5 => "just now".to_owned(),
        5..60 => format!("{passed} s ago"),
        60..3_600 => format!("{} min ago", passed / 60),
        3_600..86_400 => format!("{} h ago", passed / 3_600),
        _ => format!("{} d ago", passed / 86_400),
    }
}

/// One thing or several.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { many }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_cut() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        for (number, text) in [
            (999, "999"),
            (1_000, "1.00k"),
            (12_345, "12.3k"),
            (999_999, "999k"),
            (1_234_567, "1.23M"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(compact(number), text);
        }
    }

    #[test]
    fn amounts_keep_the_digits_that_say_something() {
        for (nano, text) in [
            (0, "$0"),
            (999, "<$0.000001"),
            (1_000, "$0.000001"),
            (9_999_999, "$0.009999"),
            (12_300_000, "$0.0123"),
            (1_000_000_000, "$1.00"),
            (-1_234_567_000_000_000, "−$1,234,567.00"),
        ] {
            assert_eq!(dollars(nano), text);
        }
    }

    #[test]
    fn amounts_of_a_column_have_the_same_digits() {
        for (nano, text) in [
            (0, "$0.0000"),
            (99_999, "<$0.0001"),
            (12_345_678, "$0.0123"),
            (-1_234_500_000_000, "−$1,234.5000"),
        ] {
            assert_eq!(dollars_in_column(nano), text);
        }
    }

    #[test]
    fn prices_keep_their_digits() {
        for (dollars, text) in [
            (0.0, "$0.00"),
            (15.0, "$15.00"),
            (18.75, "$18.75"),
            (0.3, "$0.30"),
            (0.075, "$0.075"),
            (0.000_000_028 * 1e6, "$0.028"),
            (0.003_125, "$0.003125"),
            (0.000_000_1, "<$0.000001"),
            (150.5, "$150.50"),
        ] {
            assert_eq!(price(dollars), text);
        }
    }

    #[test]
    fn spans_and_times() {
        assert_eq!(span(0.4), "0.40 ms");
        assert_eq!(span(999.4), "999 ms");
        assert_eq!(span(1_500.0), "1.50 s");
        assert_eq!(span(125_000.0), "2 min 5 s");
        assert_eq!(seconds(90_000), "1 d 1 h");
        assert_eq!(time(1_000), "1970-01-01 00:00:01");
        assert_eq!(date(86_400_000), "1970-01-02");
        assert_eq!(ago(100_000, 1_000), "1 min ago");
        assert_eq!(bytes(1_536), "1.5 KiB");
    }
}
