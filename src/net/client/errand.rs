//! Errands: requests of Iris's own. To hooks and exporters, and questions to providers about what they
//! have. A redirect is an answer like any other, and answers have a bound.
//!
//! What a caller asks goes another way, with checks of its own. So that it can't leave by this one, an
//! errand takes no headers and no body as they came: only bytes that Iris has written, and headers
//! that it names one by one.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};

use super::pool::Pool;
use super::{Client, auth, innermost};
use crate::base::clock::within;
use crate::base::secret::Secret;
use crate::config::{Authorization, Certificates, Network};
use crate::policy::route::Provider;
use crate::wire::Mask;

/// What is sent to whom.
#[derive(Clone, Debug)]
pub struct Errand<'p> {
    /// The provider that is asked, with the credential of its configuration.
    provider: Option<&'p Provider>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// Longest time for all of it; zero waits without end.
    timeout: Duration,
    /// Longest answer in bytes.
    longest: usize,
    /// The certificates that the server is trusted by, where it isn't those of this machine's
    /// store. A provider has its own.
    ca: Option<Certificates>,
}

impl<'p> Errand<'p> {
    /// A question without a body.
    #[must_use]
    pub fn get(uri: Uri, timeout: Duration, longest: usize) -> Self {
        Self {
            provider: None,
            method: Method::GET,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout,
            longest,
            ca: None,
        }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(uri: Uri, document: Vec<u8>, timeout: Duration, longest: usize) -> Self {
        let errand = Self {
            method: Method::POST,
            body: document.into(),
            ..Self::get(uri, timeout, longest)
        };
        errand.says(header::CONTENT_TYPE, "application/json")
    }

    /// An object to be stored.
    #[must_use]
    pub fn put(uri: Uri, object: Vec<u8>, timeout: Duration, longest: usize) -> Self {
        Self {
            method: Method::PUT,
            body: object.into(),
            ..Self::get(uri, timeout, longest)
        }
    }

    /// To a provider, as a caller's request would be sent to it.
    #[must_use]
    pub fn to(self, provider: &'p Provider) -> Self {
        Self {
            provider: Some(provider),
            ..self
        }
    }

    /// To a server that these certificates make trusted, if there are any.
    #[must_use]
    pub fn trusting(self, ca: Option<&Certificates>) -> Self {
        Self {
            ca: ca.cloned(),
            ..self
        }
    }

    /// Says something more.
    #[must_use]
    pub fn says(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The same with its body in a coding.
    #[must_use]
    pub fn packed(&self, coding: &'static str, body: Vec<u8>) -> Self {
        let packed = Self {
            body: body.into(),
            ..self.clone()
        };
        packed.says(header::CONTENT_ENCODING, coding)
    }

    /// The same with another bound on its time.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// What is sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Adds a header whose value may be a secret, unless it is none.
    pub fn secret(&mut self, name: &str, value: &Secret) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value.expose());
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
    }

    /// Adds a credential; an empty key adds none.
    ///
    /// # Errors
    /// When the key cannot be a header's value.
    pub fn authorized(mut self, way: Authorization, key: &Secret) -> Result<Self, String> {
        let set = auth::credential(&mut self.headers, way, key);
        set.map_err(|error| error.to_string())?;
        Ok(self)
    }

    /// Signs it for a store that speaks S3, with the id of a key and its secret.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn signed_s3(mut self, id: &Secret, secret: &Secret, region: &str) -> Result<Self, String> {
        let what = (&self.method, &self.uri);
        auth::aws::sign_s3(&mut self.headers, what, &self.body, (id, secret), region)?;
        Ok(self)
    }
}

impl Client {
    /// Runs an errand, over the tailnet where the address is one of its own. What the answer quotes of
    /// its credential is hidden.
    ///
    /// # Errors
    /// Why no answer came, in words that hold no secret.
    pub async fn errand(&self, errand: Errand<'_>) -> Result<Response<Bytes>, String> {
        let limit = errand.timeout;
        // Boxed, so that who may run an errand takes no room for it before.
        let answered = async {
            let (head, body) = match errand.provider {
                Some(provider) => self.ask(provider, errand).await?,
                None => self.tell(errand).await?,
            };
            Ok(Response::from_parts(head, body))
        }
        .boxed();
        within(limit, answered)
            .await
            .map_err(|_| format!("no answer within {limit:?}"))?
    }

    async fn tell(&self, errand: Errand<'_>) -> Result<(Parts, Bytes), String> {
        let mut request = Request::new(Full::new(errand.body));
        *request.method_mut() = errand.method;
        *request.uri_mut() = errand.uri;
        *request.headers_mut() = errand.headers;
        // The path of a webhook can be its key.
        let pool = self.pools.own(Network::Auto, errand.ca.as_ref());
        let mask = pool.mask(&request).and_parts_of(request.uri());
        exchange(&pool, request, mask, errand.longest).await
    }

    async fn ask(&self, provider: &Provider, errand: Errand<'_>) -> Result<(Parts, Bytes), String> {
        let mut request = Request::new(());
        *request.method_mut() = errand.method;
        *request.uri_mut() = errand.uri;
        let mut headers = errand.headers;
        self.introduce(provider, &mut headers).await?;
        *request.headers_mut() = headers;
        let request = auth::sign(request, errand.body, provider);
        let request = request.map_err(|error| error.to_string())?;
        let pool = self.pool(provider);
        let mask = pool.mask(&request);
        exchange(&pool, request, mask, errand.longest).await
    }

    /// Sets the provider's credential, but for a signature, and its own headers.
    async fn introduce(&self, provider: &Provider, headers: &mut HeaderMap) -> Result<(), String> {
        match self.tokens_for(provider, headers) {
            Some(source) => {
                let token = source.token().await.map_err(|error| error.to_string())?;
                auth::bearer(headers, &token).map_err(|error| error.to_string())?;
            }
            None => auth::authorize(headers, provider).map_err(|error| error.to_string())?,
        }
        for (name, value) in &provider.add_headers {
            headers.insert(name, value.clone());
        }
        Ok(())
    }
}

/// Sends a request, and reads its answer without the credential that it may quote.
async fn exchange(
    pool: &Pool,
    mut request: Request<Full<Bytes>>,
    mut mask: Mask,
    longest: usize,
) -> Result<(Parts, Bytes), String> {
    let agent = concat!("iris/", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::from_static(agent);
    request.headers_mut().entry(USER_AGENT).or_insert(agent);
    let response = pool.request_again(request).await;
    let response = response.map_err(|error| innermost(&error))?;
    let (mut head, body) = response.into_parts();
    mask.headers(&mut head.headers);
    let body = Limited::new(body, longest);
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let body = [mask.pass(body.to_bytes()), mask.rest()].concat();
    Ok((head, body.into()))
}

const USER_AGENT: HeaderName = header::USER_AGENT;
