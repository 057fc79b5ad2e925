//! Against AWS's own examples, and signatures that botocore has made of the same requests.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::*;
use crate::base::secret::Secret;
use crate::config;

const SECRET: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn request(uri: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[test]
fn the_examples_of_aws() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    let with_token = format!("{SECRET}:{token}");
    // post-vanilla and post-sts-header-before.
    for (key, expected) in [
        (
            SECRET,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            &with_token,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
    ] {
        let key = Secret::new(key.to_owned());
        let key = AwsKey::of(&key).unwrap();
        let request = request(
            "https://example.amazonaws.com/",
            &[("user-agent", "changes")],
        );
        let (now, settings) = (at(1_440_938_160), SigningSettings::default());
        let headers =
            signature(&request, b"", &key, "us-east-1", "service", now, settings).unwrap();
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("authorization").as_deref(), Some(expected));
        assert_eq!(header("x-amz-date").as_deref(), Some("20150830T123600Z"));
        assert_eq!(header("x-amz-security-token").as_deref(), key.token);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
    }
}

fn provider(more: &str) -> Provider {
    let text =
        format!(r#"{{"providers":{{"p":{{"models":["m"],"authorization":"aws-sigv4",{more}}}}}}}"#);
    let file = config::parse(&text, &|_| None).unwrap().file;
    Provider::new("p", &file.providers["p"]).unwrap()
}

#[test]
fn the_signatures_of_botocore() {
    let base = r#""baseurl":"https://bedrock-runtime.eu-west-1.amazonaws.com""#;
    for (key, path, headers, body, signed_headers, expected) in [
        (
            SECRET.to_owned(),
            "/model/eu.anthropic.claude-haiku-4-5-20251001-v1%3A0/invoke",
            vec![
                ("x-amz-date", "20260101T000000Z"),
                ("authorization", "theirs"),
            ],
            r#"{"a":1}"#,
            "content-type;host;x-amz-date",
            "b32ed98e80ab72db518e663158ac69a105bd7e75e6955fa94dd8192e40766b8a",
        ),
        (
            format!("{SECRET}:token//=="),
            ":8443/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Fm/converse-stream?b=2&a=%2F1",
            vec![("x-amz-meta", "a  b"), ("x-amz-security-token", "theirs")],
            "{}",
            "content-type;host;x-amz-date;x-amz-meta;x-amz-security-token",
            "83e221dc7d46aa3deb911c05d7537b58b3f3078f055e9c275a81a2a712dce563",
        ),
    ] {
        let provider = provider(&format!(r#"{base},"apikey":"{key}""#));
        let uri = format!("https://bedrock-runtime.eu-west-1.amazonaws.com{path}");
        let mut request = request(&uri, &headers);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        signed(&mut request, body.as_bytes(), &provider, at(1_795_575_600)).unwrap();
        let scope = "AKIDEXAMPLE/20261125/eu-west-1/bedrock/aws4_request";
        assert_eq!(
            request.headers()["authorization"],
            format!(
                "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed_headers}, Signature={expected}"
            )
        );
        assert_eq!(request.headers()["x-amz-date"], "20261125T030000Z");
        assert_eq!(request.headers().get_all("authorization").iter().count(), 1);
    }
}

#[test]
fn nothing_goes_unsigned() {
    let runtime = r#""baseurl":"https://bedrock-runtime.eu-west-1.amazonaws.com""#;
    let elsewhere = r#""baseurl":"http://100.64.0.1:8080""#;
    let key = format!(r#""apikey":"{SECRET}""#);
    let sign = |more: String| {
        let request = request("http://100.64.0.1:8080/model/m/invoke", &[]);
        crate::net::client::auth::sign(request, Bytes::new(), &provider(&more))
    };
    assert!(matches!(
        sign(format!(r#"{runtime},"apikey":"no-key""#)),
        Err(SignatureError::Key)
    ));
    assert!(matches!(
        sign(format!("{elsewhere},{key}")),
        Err(SignatureError::Region)
    ));
    let told = sign(format!(r#"{elsewhere},{key},"region":"eu-west-3""#)).unwrap();
    let value = told.headers()["authorization"].to_str().unwrap();
    assert!(value.contains("/eu-west-3/bedrock/"), "{value}");
    let none = sign(format!(r#"{elsewhere},"auth_mode":"none""#)).unwrap();
    assert!(none.headers().is_empty());
}
