//! Which gateways a request has passed. Each adds a token of its own to `Via` (RFC 9110, section
//! 7.6.3): a request that comes back to a gateway, by whatever name or address, or that has passed
//! too many of them, is refused instead of going round for ever.
//!
//! A caller may write tokens too. That can only get its own request refused.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Rejection;

/// How the tokens of gateways begin.
const PREFIX: &str = "iris-";
/// Gateways that a request may have passed before this one.
const MOST: usize = 8;

/// This gateway's token: a pseudonym that no other process has, and that names no machine.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        // Two gateways must not share it; one without randomness is alone with its process.
        random = (u64::from(std::process::id()) << 32).to_ne_bytes();
    }
    format!("{PREFIX}{:016x}", u64::from_ne_bytes(random))
});

/// The tokens of gateways, in their order.
fn passed(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        // The protocol, the token, and what may follow.
        .filter_map(|entry| entry.split_ascii_whitespace().nth(1))
        .filter(|token| {
            token
                .split_at_checked(PREFIX.len())
                .is_some_and(|(prefix, digits)| {
                    prefix.eq_ignore_ascii_case(PREFIX)
                        && digits.len() == 16
                        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                })
        })
}

/// Refuses a request that has passed this gateway before, or too many others.
///
/// # Errors
/// The refusal, with status 508.
pub fn check(headers: &HeaderMap) -> Result<(), Rejection> {
    check_as(&OWN, headers)
}

fn check_as(own: &str, headers: &HeaderMap) -> Result<(), Rejection> {
    let refuse = |message: String| {
        Err(Rejection::new(
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            message,
        ))
    };
    let mut before = 0;
    for token in passed(headers) {
        before += 1;
        if token.eq_ignore_ascii_case(own) {
            return refuse(
                "this request has come back to a gateway that it passed before: the baseurl of a provider \
                 leads to this gateway, directly or through another gateway"
                    .to_owned(),
            );
        }
    }
    if before > MOST {
        return refuse(format!(
            "this request has passed {before} gateways, and at most {MOST} are allowed: \
             look for gateways that are each other's providers"
        ));
    }
    Ok(())
}

/// The header of a request that has passed no other.
static ALONE: LazyLock<HeaderValue> = LazyLock::new(|| {
    let alone = HeaderValue::from_maybe_shared(Bytes::from(format!("1.1 {}", *OWN)));
    alone.unwrap_or_else(|_| HeaderValue::from_static("1.1 iris"))
});

/// Whether a request comes from a gateway.
#[must_use]
pub fn is_onward(headers: &HeaderMap) -> bool {
    passed(headers).next().is_some()
}

/// The header's value for a request of this gateway's own.
#[must_use]
pub fn own() -> &'static str {
    ALONE.to_str().unwrap_or_default()
}

/// The header for a provider: the gateways that the caller's request has passed, and this one.
#[must_use]
pub fn onward(headers: &HeaderMap) -> Option<HeaderValue> {
    if !headers.contains_key(header::VIA) {
        return Some(ALONE.clone());
    }
    let before = passed(headers).take(MOST + 1);
    let entries: Vec<String> = before
        .chain([OWN.as_str()])
        .map(|token| format!("1.1 {token}"))
        .collect();
    HeaderValue::from_str(&entries.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::VIA, value.parse().unwrap());
        }
        headers
    }

    fn others(count: usize) -> String {
        let entries: Vec<String> = (0..count)
            .map(|nth| format!("1.1 iris-{nth:016x}"))
            .collect();
        entries.join(", ")
    }

    #[test]
    fn only_its_own_token_and_too_many_gateways_are_refused() {
        let own = "iris-00000000deadbeef";
        for (values, refused) in [
            (&[] as &[&str], false),
            (
                &["1.1 proxy.example", "HTTP/2.0 cdn (comment, 1.1 x)"],
                false,
            ),
            (&["1.1 iris", "1.1 iris-", "1.1 iris-0123"], false),
            (&["1.1 iris-0000000000000001"], false),
            (&["2 fred, 1.1 IRIS-00000000DEADBEEF (x)"], true),
            (&["1.0 fred", "1.1 iris-00000000deadbeef"], true),
            (&[&others(MOST)], false),
            (&[&others(MOST + 1)], true),
            (&[&others(5), &others(5)], true),
        ] {
            let checked = check_as(own, &via(values));
            assert_eq!(checked.is_err(), refused, "{values:?}");
        }
    }

    #[test]
    fn what_goes_on_names_the_gateways_alone() {
        let first = onward(&via(&["1.1 proxy.example, 1.0 nginx"])).unwrap();
        assert_eq!(first, format!("1.1 {}", *OWN));
        assert!(check(&via(&[first.to_str().unwrap()])).is_err());
        let second = onward(&via(&["1.1 iris-0000000000000001 (x)"])).unwrap();
        assert_eq!(second, format!("1.1 iris-0000000000000001, 1.1 {}", *OWN));
        let long = onward(&via(&[&others(1_000)])).unwrap();
        assert_eq!(long.to_str().unwrap().split(',').count(), MOST + 2);
        assert!(check_as("iris-x", &via(&[long.to_str().unwrap()])).is_err());
    }
}
