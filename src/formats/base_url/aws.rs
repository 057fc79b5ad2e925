//! The region that the URL of an AWS endpoint names.

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
}
