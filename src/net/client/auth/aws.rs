//! Signatures for AWS, version 4: over method, URL, body, and those headers that AWS reads
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>). A request is signed
//! when all of it is there, and not changed any more.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, HeaderValue, Request, header};

use crate::base::clock;
use crate::base::secret::Secret;
use crate::config::AwsKey;
use crate::policy::route::Provider;

/// The name under which Bedrock's endpoints are signed for.
const SERVICE: &str = "bedrock";
/// Parts of a caller's own signature, which must not stand beside this one.
const REPLACED: [&str; 4] = [
    "authorization",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// Why a request has no signature.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key has another form.
    #[error("its apikey must be ACCESS_KEY_ID:SECRET_ACCESS_KEY, for signatures of AWS")]
    Key,
    /// Neither URL nor configuration names a region.
    #[error("neither its baseurl nor its region tells the region that signatures of AWS are for")]
    Region,
    /// The request can't be signed.
    #[error("its requests cannot be signed")]
    Request,
}

/// Signs a request with `body` for the provider, at the time `now`.
///
/// # Errors
/// [`SignatureError`] when the configuration lacks what a signature needs.
pub(crate) fn signed<B>(
    request: &mut Request<B>,
    body: &[u8],
    provider: &Provider,
    now: SystemTime,
) -> Result<(), SignatureError> {
    let key = provider
        .apikeys
        .first()
        .and_then(AwsKey::of)
        .ok_or(SignatureError::Key)?;
    let region = provider.region.as_deref().ok_or(SignatureError::Region)?;
    for name in REPLACED {
        request.headers_mut().remove(name);
    }
    let settings = SigningSettings::default();
    let signed = signature(request, body, &key, region, SERVICE, now, settings);
    let signed = signed.ok_or(SignatureError::Request)?;
    request.headers_mut().extend(signed);
    Ok(())
}

/// Signs a request to S3, whose paths are signed as they are, and whose body is named by its hash.
///
/// # Errors
/// When it can't be signed.
pub(in crate::net::client) fn sign_s3(
    request: &mut Request<()>,
    body: &[u8],
    id: &Secret,
    secret: &Secret,
    region: &str,
) -> Result<(), String> {
    let key = AwsKey {
        id: id.expose(),
        secret: secret.expose(),
        token: None,
    };
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let signed = signature(request, body, &key, region, "s3", clock::now(), settings);
    let signed = signed.ok_or("it cannot be signed")?;
    request.headers_mut().extend(signed);
    Ok(())
}

/// The headers of a signature for a region and a service.
fn signature<B>(
    request: &Request<B>,
    body: &[u8],
    key: &AwsKey<'_>,
    region: &str,
    service: &str,
    now: SystemTime,
    settings: SigningSettings,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let token = key.token.map(str::to_owned);
    let identity = Credentials::new(key.id, key.secret, token, None, "configuration").into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .ok()?
        .into();
    // Proxies change others. The host is that of the URL.
    let headers = request.headers().iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let is_read = name == header::CONTENT_TYPE.as_str() || name.starts_with("x-amz-");
        is_read.then(|| value.to_str().ok().map(|value| (name, value)))?
    });
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers,
        SignableBody::Bytes(body),
    )
    .ok()?;
    let (instructions, _) = sign(signable, &params).ok()?.into_parts();
    instructions
        .headers()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests;
