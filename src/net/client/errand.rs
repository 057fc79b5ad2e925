//! Requests of Iris's own: to hooks and exporters, and questions to providers about what they have.
//! A redirect is an answer like any other, and answers have a bound.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
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
pub struct Post {
    /// Where to.
    pub uri: Uri,
    /// Content type, and what else is to be said.
    pub headers: HeaderMap,
    /// What is said.
    pub body: Bytes,
    /// Longest time for all of it; zero waits without end.
    pub timeout: Duration,
    /// Longest answer in bytes.
    pub longest: usize,
    /// The certificates that the server is trusted by, where it isn't those of this machine's
    /// store. A provider has its own.
    pub ca: Option<Certificates>,
}

impl Post {
    /// A JSON document.
    #[must_use]
    pub fn json(uri: Uri, body: Bytes, timeout: Duration, longest: usize) -> Self {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        Self {
            uri,
            headers,
            body,
            timeout,
            longest,
            ca: None,
        }
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
}

impl Client {
    /// Sends it, over the tailnet where the address is one of its own. What the answer quotes of
    /// its credential is hidden.
    ///
    /// # Errors
    /// Why no answer came, in words that hold no secret.
    pub async fn post(&self, method: Method, post: Post) -> Result<(StatusCode, Bytes), String> {
        let (head, body) = self.posted(method, post).await?;
        Ok((head.status, body))
    }

    /// The same with the head of the answer.
    ///
    /// # Errors
    /// Likewise.
    pub async fn posted(&self, method: Method, post: Post) -> Result<(Parts, Bytes), String> {
        let (limit, longest) = (post.timeout, post.longest);
        let mut request = Request::new(Full::new(post.body));
        *request.method_mut() = method;
        *request.uri_mut() = post.uri;
        *request.headers_mut() = post.headers;
        // The path of a webhook can be its key.
        let pool = self.pools.own(Network::Auto, post.ca.as_ref());
        let mask = pool.mask(&request).and_parts_of(request.uri());
        let exchange = exchange(&pool, request, mask, longest);
        within(limit, exchange)
            .await
            .map_err(|_| format!("no answer within {limit:?}"))?
    }

    /// Asks a provider with the credential of its configuration, as a caller's request would be
    /// sent to it. What the answer quotes of that is hidden.
    ///
    /// # Errors
    /// Why no answer came, in words that hold no secret.
    pub async fn ask(
        &self,
        provider: &Provider,
        method: Method,
        post: Post,
    ) -> Result<(StatusCode, Bytes), String> {
        let (limit, longest) = (post.timeout, post.longest);
        let asked = async {
            let mut request = Request::new(());
            *request.method_mut() = method;
            *request.uri_mut() = post.uri;
            let mut headers = post.headers;
            self.introduce(provider, &mut headers).await?;
            *request.headers_mut() = headers;
            let request = auth::sign(request, post.body, provider);
            let request = request.map_err(|error| error.to_string())?;
            let pool = self.pool(provider);
            let mask = pool.mask(&request);
            let (head, body) = exchange(&pool, request, mask, longest).await?;
            Ok((head.status, body))
        };
        within(limit, asked)
            .await
            .map_err(|_| format!("no answer within {limit:?}"))?
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
