//! Service-account keys of Google: `keyfile::`, and then the key's JSON file, as it is or in base64.
//! As it is, it can be named where it lies: `keyfile::${file:/etc/iris/vertex.json}`.

use std::fmt;

use ring::signature::RsaKeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::base::secret::Secret;

/// What a key begins with in the configuration.
pub(super) const PREFIX: &str = "keyfile::";

/// A service account's key.
pub struct ServiceAccount {
    /// The account.
    pub email: String,
    /// The project that it belongs to.
    pub project: String,
    /// Where tokens are had for it.
    pub token_uri: http::Uri,
    /// Which of the account's keys this is.
    pub key_id: String,
    /// Signs; what it holds can't be printed.
    pub key: RsaKeyPair,
    /// Tells two keys apart.
    pub fingerprint: [u8; 32],
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServiceAccount")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    private_key_id: String,
    private_key: Secret,
    client_email: String,
    token_uri: String,
}

impl ServiceAccount {
    /// Reads a key; `None` if `apikey` is not a key of a service account.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub(super) fn parse(apikey: &Secret) -> Option<Result<Self, &'static str>> {
        let encoded = apikey.expose().strip_prefix(PREFIX)?;
        Some(Self::decode(encoded))
    }

    fn decode(encoded: &str) -> Result<Self, &'static str> {
        let json = if encoded.trim_start().starts_with('{') {
            encoded.as_bytes().to_vec()
        } else {
            // Tools break base64 into lines.
            let encoded: String = encoded.split_ascii_whitespace().collect();
            aws_smithy_types::base64::decode(encoded)
                .map_err(|_| "what follows keyfile:: is neither JSON nor base64")?
        };
        // serde's messages quote what they find.
        let file: KeyFile =
            serde_json::from_slice(&json).map_err(|_| "it is not the JSON of a key file")?;
        if file.kind != "service_account" {
            return Err("its `type` is not service_account");
        }
        if file.client_email.is_empty() {
            return Err("it has no `client_email`");
        }
        let pem = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.expose().as_bytes())
            .map_err(|_| "its `private_key` is not a PKCS#8 key as PEM")?;
        let key = RsaKeyPair::from_pkcs8(pem.secret_pkcs8_der())
            .map_err(|_| "its `private_key` is not an RSA key of 2048 bits or more")?;
        Ok(Self {
            email: file.client_email,
            project: file.project_id,
            token_uri: token_uri(&file.token_uri)?,
            key_id: file.private_key_id,
            key,
            fingerprint: Sha256::digest(&json).into(),
        })
    }
}

/// The assertion that goes there can be traded for a token: it may not be seen on the way.
fn token_uri(text: &str) -> Result<http::Uri, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "its `token_uri` is not a URL")?;
    let host = uri.host().ok_or("its `token_uri` has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if local => Ok(uri),
        _ => Err("its `token_uri` is neither https nor on this machine"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = include_str!("../net/client/fixtures/throw-away-test-key.pem");

    fn parse(json: &serde_json::Value) -> Result<ServiceAccount, &'static str> {
        let encoded = aws_smithy_types::base64::encode(json.to_string());
        let apikey = Secret::new(format!("{PREFIX}{encoded}"));
        ServiceAccount::parse(&apikey).unwrap()
    }

    #[test]
    fn a_key_is_read_or_said_to_be_none() {
        let good = json!({
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "k",
            "private_key": KEY,
            "client_email": "a@p.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let read = parse(&good).unwrap();
        assert_eq!((read.project.as_str(), read.key_id.as_str()), ("p", "k"));
        assert!(!format!("{read:?}").contains("PRIVATE"));
        let plain = Secret::new(format!("{PREFIX}\n{good:#}\n"));
        let plain = ServiceAccount::parse(&plain).unwrap().unwrap();
        assert_eq!(plain.email, read.email);
        for (field, value, says) in [
            ("type", json!("authorized_user"), "`type`"),
            ("client_email", json!(""), "`client_email`"),
            ("private_key", json!("secret-words"), "as PEM"),
            ("private_key", json!(7), "not the JSON"),
            (
                "private_key",
                json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "not an RSA key",
            ),
            (
                "token_uri",
                json!("http://example.org/token"),
                "neither https",
            ),
            ("token_uri", json!(""), "`token_uri`"),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            let problem = parse(&bad).unwrap_err();
            assert!(problem.contains(says), "{field}: {problem}");
            assert!(!problem.contains("secret-words"));
        }
        let odd = Secret::new("keyfile::%%%".to_owned());
        assert!(
            ServiceAccount::parse(&odd)
                .unwrap()
                .unwrap_err()
                .contains("base64")
        );
        assert!(ServiceAccount::parse(&Secret::new("sk".to_owned())).is_none());
    }
}
