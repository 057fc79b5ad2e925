//! Speaking for a person: an application that many people use is one caller, and names the person in a header.
//! It takes a grant, and the person's own grants and buckets count as well, so an application can do for a
//! person no more than both of them may.

use http::{HeaderName, StatusCode};

use super::{Capability, is_named};
use crate::policy::identity::is_reserved;
use crate::wire::Rejection;
use crate::wire::text::steers;

/// The header that names the person, unless a grant names another one.
pub static USER: HeaderName = HeaderName::from_static("x-iris-user");

/// Bytes of a login at most.
const LONGEST: usize = 316;

/// What one capability object allows.
#[derive(Clone, Debug)]
pub(super) struct Speaking {
    /// On logins.
    patterns: Vec<String>,
    header: HeaderName,
}

impl Speaking {
    /// That of an object that allows it.
    pub(super) fn of(object: &Capability) -> Option<Self> {
        (!object.may_speak_for.is_empty()).then(|| Self {
            patterns: object.may_speak_for.clone(),
            header: object.speaks_in.clone().unwrap_or_else(|| USER.clone()),
        })
    }

    pub(super) fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether it covers a person who is named in a header, or in any.
    pub(super) fn covers(&self, header: Option<&HeaderName>, login: &str) -> bool {
        header.is_none_or(|header| self.header == *header)
            && self.patterns.iter().any(|pattern| is_named(login, pattern))
    }
}

/// The login in a header, if a person of a tailnet can have it.
///
/// # Errors
/// 400 for anything else: a tag, a group, this machine, or bytes that aren't text.
pub fn login_in(header: &HeaderName, value: &[u8]) -> Result<String, Rejection> {
    let login = str::from_utf8(value).ok().map(str::trim);
    let is_login = |login: &&str| {
        (1..=LONGEST).contains(&login.len())
            && !is_reserved(login)
            && !login.contains(['*', ','])
            && !login.chars().any(steers)
    };
    login.filter(is_login).map(str::to_owned).ok_or_else(|| {
        let why = format!(
            "the header {header} names no person: expected a login such as alice@example.com"
        );
        Rejection::new(StatusCode::BAD_REQUEST, "invalid_user", why)
    })
}
