//! The key that signs requests to AWS.

use crate::base::secret::Secret;

/// Access key and secret key, and the token that temporary keys come with.
pub struct AwsKey<'k> {
    /// The access key's id.
    pub id: &'k str,
    /// The secret access key.
    pub secret: &'k str,
    /// The session's token.
    pub token: Option<&'k str>,
}

impl<'k> AwsKey<'k> {
    /// Reads `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`; none of them holds a colon.
    #[must_use]
    pub fn of(apikey: &'k Secret) -> Option<Self> {
        let mut parts = apikey.expose().split(':');
        let key = Self {
            id: parts.next()?,
            secret: parts.next()?,
            token: parts.next(),
        };
        let plain = [Some(key.id), Some(key.secret), key.token]
            .into_iter()
            .flatten()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()));
        (plain && parts.next().is_none()).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_two_parts_or_three() {
        let read = |text: &str| {
            let secret = Secret::new(text.to_owned());
            AwsKey::of(&secret).map(|key| (key.id.to_owned(), key.token.map(str::to_owned)))
        };
        assert_eq!(read("AKIA:s/+="), Some(("AKIA".into(), None)));
        assert_eq!(
            read("ASIA:s:t=="),
            Some(("ASIA".into(), Some("t==".into())))
        );
        for wrong in [
            "", "AKIA", ":s", "AKIA:", "A:s:", "A:s:t:u", "A:s t", "A:s\n",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
