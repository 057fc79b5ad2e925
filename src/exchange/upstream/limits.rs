//! How long a provider asks to be left alone, from the headers of its response.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

/// Vendors' headers for what is left of a limit. When it is full again stands in the one with `reset` in
/// place of `remaining`.
const REMAINING: [&str; 8] = [
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-output-tokens-remaining",
    "x-ratelimit-remaining",
    "ratelimit-remaining",
];

/// How long a response with status 429 or 503 asks to wait, if it says so.
pub(crate) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let ms = text("retry-after-ms").and_then(|text| seconds(text, 1_000.0));
    let after = || text("retry-after").and_then(|text| moment(text, now));
    let exhausted = || {
        let exhausted = REMAINING.iter().filter(|name| text(name) == Some("0"));
        let resets = exhausted.map(|name| name.replace("remaining", "reset"));
        resets.filter_map(|name| moment(text(&name)?, now)).max()
    };
    ms.or_else(after).or_else(exhausted)
}

/// Seconds, a duration such as `6m0.5s`, a date, or seconds or milliseconds since 1970.
fn moment(text: &str, now: Timestamp) -> Option<Duration> {
    const YEAR: f64 = 366.0 * 86_400.0;
    let until = |at: Timestamp| {
        let left = at.duration_since(now);
        Duration::try_from(left).unwrap_or_default()
    };
    if let Some(wait) = seconds(text, 1.0) {
        let seconds = wait.as_secs_f64();
        // A longer time than a year is one of day.
        return if seconds < YEAR {
            Some(wait)
        } else if seconds < 1e11 {
            let at = Timestamp::from_second(i64::try_from(wait.as_secs()).ok()?).ok()?;
            Some(until(at))
        } else {
            let at = Timestamp::from_millisecond(i64::try_from(wait.as_secs()).ok()?).ok()?;
            Some(until(at))
        };
    }
    if let Some(wait) = units(text) {
        return Some(wait);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(until(at));
    }
    if let Ok(date) = jiff::fmt::rfc2822::parse(text) {
        return Some(until(date.timestamp()));
    }
    older_date(text, now).map(until)
}

/// A date in one of the two older forms that servers may still send (RFC 9110, section 5.6.7):
/// `Saturday, 28-Nov-26 12:00:30 GMT` and `Sat Nov 28 12:00:30 2026`.
fn older_date(text: &str, now: Timestamp) -> Option<Timestamp> {
    /// From here on, a year of two digits that seems to be in the future is in the past.
    const FIFTY_YEARS: i16 = 50;
    let parsed = |form: &str, text: &str| jiff::civil::DateTime::strptime(form, text).ok();
    let words = text.split_ascii_whitespace().collect::<Vec<_>>();
    let utc = |date| jiff::tz::Offset::UTC.to_timestamp(date).ok();
    // The name of the day says nothing more.
    match &words[..] {
        [_, month, day, time, year] => {
            let date = parsed("%b %d %H:%M:%S %Y", &format!("{month} {day} {time} {year}"))?;
            utc(date)
        }
        [_, date, time, zone] if zone.eq_ignore_ascii_case("GMT") => {
            let mut parts = date.splitn(3, '-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            let year: i16 = year.parse().ok().filter(|_| year.len() == 2)?;
            let this = jiff::tz::Offset::UTC.to_datetime(now).year();
            let mut year = this - this % 100 + year;
            if year > this + FIFTY_YEARS {
                year -= 100;
            }
            utc(parsed(
                "%d %b %Y %H:%M:%S",
                &format!("{day} {month} {year} {time}"),
            )?)
        }
        _ => None,
    }
}

/// A number that is not negative, in units of which a second has `per`.
fn seconds(text: &str, per: f64) -> Option<Duration> {
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if text.is_empty() || !text.bytes().all(plain) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number / per).ok()
}

/// `1s`, `20ms`, `2m59.56s`, `1h30m`.
fn units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (value, after) = rest.split_at(number);
        let unit = after
            .find(|char: char| !char.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let per = match unit {
            "ms" => 1_000.0,
            "s" => 1.0,
            "m" => 1.0 / 60.0,
            "h" => 1.0 / 3_600.0,
            "d" => 1.0 / 86_400.0,
            _ => return None,
        };
        sum = sum.checked_add(seconds(value, per)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait that headers ask for, in milliseconds.
    fn wait_ms(headers: &[&str]) -> Option<u128> {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let mut map = HeaderMap::new();
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            let name = http::HeaderName::try_from(name).unwrap();
            map.insert(name, value.parse().unwrap());
        }
        asked_wait(&map, now).map(|wait| wait.as_millis())
    }

    #[test]
    fn each_way_to_say_it() {
        for (headers, expected) in [
            (&["retry-after: 60"][..], Some(60_000)),
            (&["retry-after: 0"], Some(0)),
            (&["retry-after: 1.5"], Some(1_500)),
            (&["retry-after-ms: 250", "retry-after: 1"], Some(250)),
            (&["retry-after: soon"], None),
            (&["retry-after: -5"], None),
            (&["retry-after: "], None),
            (&[], None),
        ] {
            assert_eq!(wait_ms(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_limit_of_a_vendor_counts_once_nothing_is_left_of_it() {
        for (name, left, reset, expected) in [
            ("x-ratelimit-@-requests", 0, "6m0s", Some(360_000)),
            ("x-ratelimit-@-requests", 7, "6m0s", None),
            ("x-ratelimit-@-tokens", 0, "20ms", Some(20)),
            (
                "anthropic-ratelimit-tokens-@",
                0,
                "2026-11-28T12:00:09Z",
                Some(9_000),
            ),
            ("x-ratelimit-@", 0, "1795867205000", Some(5_000)),
            ("x-ratelimit-@", 0, "1795867205", Some(5_000)),
        ] {
            let remaining = format!("{}: {left}", name.replace('@', "remaining"));
            let reset = format!("{}: {reset}", name.replace('@', "reset"));
            assert_eq!(wait_ms(&[&remaining, &reset]), expected, "{reset}");
        }
    }

    #[test]
    fn dates_in_each_form_that_http_has() {
        for (text, expected) in [
            ("Sat, 28 Nov 2026 12:00:30 GMT", Some(30)),
            ("Sat, 28 Nov 2026 11:00:00 GMT", Some(0)),
            ("Saturday, 28-Nov-26 12:00:30 GMT", Some(30)),
            ("Sat Nov 28 12:00:30 2026", Some(30)),
            ("Tue Dec  1 12:00:00 2026", Some(3 * 86_400)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("Sat Foo 28 12:00:30 2026", None),
            ("Saturday, 28-Nov-26 12:00:30 CET", None),
        ] {
            let wait = wait_ms(&[&format!("retry-after: {text}")]);
            assert_eq!(wait, expected.map(|wait| wait * 1_000), "{text}");
        }
    }
}
