//! Puts the credential on a request: the only place that sees one in clear.

pub(crate) mod aws;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::base::clock;
use crate::base::secret::Secret;
use crate::config::{AuthMode, Authorization};
use crate::policy::route::Provider;
use crate::wire::headers::CREDENTIALS;

/// Sets the credential that the provider's `auth_mode` asks for: of several keys the one of this
/// number, from 0. `headers` hold the caller's own credential only in `passthrough` mode.
///
/// # Errors
/// When the configured key cannot be a header's value.
pub fn authorize(
    headers: &mut HeaderMap,
    provider: &Provider,
    key: usize,
) -> Result<(), InvalidKey> {
    if !is_configured(headers, provider) {
        return Ok(());
    }
    let keys = &provider.apikeys;
    let key = keys.get(key).or(keys.first());
    key.map_or(Ok(()), |key| {
        credential(headers, provider.authorization, key)
    })
}

/// Sets a key in the header that carries it; an empty key sets nothing.
///
/// # Errors
/// When it cannot be a header's value.
pub(crate) fn credential(
    headers: &mut HeaderMap,
    way: Authorization,
    key: &Secret,
) -> Result<(), InvalidKey> {
    if key.is_empty() {
        return Ok(());
    }
    let key = key.expose();
    if key.starts_with("keyfile::") {
        // A key file that can't be read must not go out as it is.
        return Err(InvalidKey);
    }
    let (name, text) = match way {
        Authorization::Bearer => (header::AUTHORIZATION, format!("Bearer {key}")),
        Authorization::XApiKey => (HeaderName::from_static("x-api-key"), key.to_owned()),
        Authorization::XGoogApiKey => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
        Authorization::ApiKey => (HeaderName::from_static("api-key"), key.to_owned()),
        Authorization::Hec => (header::AUTHORIZATION, format!("Splunk {key}")),
        Authorization::CfAigAuthorization => (
            HeaderName::from_static("cf-aig-authorization"),
            format!("Bearer {key}"),
        ),
        // See `sign`.
        Authorization::AwsSigv4 => return Ok(()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| InvalidKey)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// The request with `body`: signed, where that is how the provider knows who asks. Nothing of it
/// may change afterwards.
///
/// # Errors
/// When the configuration lacks what a signature needs.
pub fn sign(
    mut request: Request<()>,
    body: Bytes,
    provider: &Provider,
) -> Result<Request<Bytes>, aws::SignatureError> {
    let signs = provider.authorization == Authorization::AwsSigv4;
    if signs && is_configured(request.headers(), provider) {
        aws::signed(&mut request, &body, provider, clock::now())?;
    }
    Ok(request.map(|()| body))
}

/// Whether a request gets the configured credential.
pub(crate) fn is_configured(headers: &HeaderMap, provider: &Provider) -> bool {
    let callers_own = || CREDENTIALS.iter().any(|name| headers.contains_key(*name));
    match provider.auth_mode {
        AuthMode::None => false,
        AuthMode::Passthrough => !callers_own(),
        AuthMode::Override => true,
    }
}

/// Sets a token.
///
/// # Errors
/// When it cannot be a header's value.
pub fn bearer(headers: &mut HeaderMap, token: &Secret) -> Result<(), InvalidKey> {
    let text = format!("Bearer {}", token.expose());
    let mut value = HeaderValue::from_str(&text).map_err(|_| InvalidKey)?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// The key has characters that no header can carry, or is a key file that can't be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its apikey cannot be used: the configuration's findings may say why")]
pub struct InvalidKey;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn sent(provider: &str, given: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"],{provider}}}}}}}"#
        );
        let file = config::parse(&text, &|_| None).unwrap().file;
        let provider = Provider::new("p", &file.providers["p"]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        authorize(&mut headers, &provider, 0).unwrap();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn each_way_of_authorization() {
        for (kind, name, value) in [
            ("bearer", "authorization", "Bearer k"),
            ("x-api-key", "x-api-key", "k"),
            ("x-goog-api-key", "x-goog-api-key", "k"),
            ("api-key", "api-key", "k"),
            ("hec", "authorization", "Splunk k"),
            ("cf-aig-authorization", "cf-aig-authorization", "Bearer k"),
        ] {
            let config = format!(r#""apikey":"k","authorization":"{kind}""#);
            assert_eq!(
                sent(&config, &[]),
                [(name.to_owned(), value.to_owned())],
                "{kind}"
            );
        }
        assert!(sent(r#""authorization":"bearer""#, &[]).is_empty());
    }

    #[test]
    fn passthrough_prefers_the_callers_own_and_none_sends_nothing() {
        let own = [("authorization", "Bearer own")];
        let config = r#""apikey":"k","auth_mode":"passthrough""#;
        assert_eq!(sent(config, &own)[0].1, "Bearer own");
        assert_eq!(sent(config, &[])[0].1, "Bearer k");
        assert!(sent(r#""apikey":"k","auth_mode":"none""#, &[]).is_empty());
    }
}
