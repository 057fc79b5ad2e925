//! What of AWS a provider's configuration tells: the key that signs its requests, and the
//! region, which the URL of an endpoint names.

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

/// The region that the host of an AWS endpoint names, behind the name of the service:
/// `bedrock-runtime.REGION.amazonaws.com`, its FIPS and dual-stack variants, and those in a VPC
/// (<https://docs.aws.amazon.com/general/latest/gr/bedrock.html>).
#[must_use]
pub fn aws_region(host: &str) -> Option<&str> {
    let below = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
        .into_iter()
        .find_map(|domain| host.strip_suffix(domain))?;
    let mut labels = below.split('.');
    labels.find(|label| label.starts_with("bedrock"))?;
    let region = labels.next()?;
    let plain = region
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && region.contains('-')).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_names_the_region() {
        for (host, region) in [
            ("bedrock-runtime.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            ("bedrock-runtime.us-east-1.api.aws", Some("us-east-1")),
            (
                "vpce-0a-1b.bedrock-runtime.us-east-2.vpce.amazonaws.com",
                Some("us-east-2"),
            ),
            (
                "bedrock-runtime.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            ("bedrock-runtime.amazonaws.com", None),
            ("bedrock-runtime.eu-west-1.example.com", None),
            ("s3.eu-west-1.amazonaws.com", None),
            ("localhost", None),
        ] {
            assert_eq!(aws_region(host), region, "{host}");
        }
    }

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
