//! Errands: requests of Iris's own. To hooks and exporters, and questions to providers about what they
//! have. A redirect is a response like any other, and responses have a bound.
//!
//! What a caller asks goes another way, with checks of its own. So that it can't leave by this one, an
//! errand takes no headers and no body as they came: only bytes that Iris has written, and headers
//! that it names one by one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::response::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::BodyExt;

use super::pool::{Pool, Reuse};
use super::{Client, Received, RequestError, auth, innermost};
use crate::base::clock::within;
use crate::base::memory::{self, Memory};
use crate::base::secret::Secret;
use crate::config::{Authorization, Certificates, Network};
use crate::policy::route::Provider;
use crate::wire::Mask;

/// What is sent to whom.
#[derive(Clone, Debug)]
pub struct Errand<'p> {
    /// The provider that is asked, with the credential of its configuration.
    provider: Option<&'p Provider>,
    /// Which of its keys, by its number from 0.
    key: usize,
    network: Network,
    request: Request<()>,
    body: Bytes,
    /// Longest time for all of it; zero waits without end.
    timeout: Duration,
    /// Longest response in bytes.
    longest: usize,
    /// What counts the response, if it is counted.
    memory: Option<Memory>,
    /// The certificates that the server is trusted by, where it isn't those of this machine's
    /// store. A provider has its own.
    ca: Option<Certificates>,
    /// Whether it may be done twice, where a connection breaks before an answer.
    can_repeat: bool,
    /// It asks for a token. Callers see why that failed, so the reason names no address. Parts of the address
    /// aren't masked in the response, since a token may contain them.
    is_for_token: bool,
}

impl<'p> Errand<'p> {
    /// A question without a body.
    #[must_use]
    pub fn get(uri: Uri, timeout: Duration, longest: usize) -> Self {
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        Self {
            provider: None,
            key: 0,
            network: Network::Auto,
            request,
            body: Bytes::new(),
            timeout,
            longest,
            memory: None,
            ca: None,
            can_repeat: true,
            is_for_token: false,
        }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(uri: Uri, document: Vec<u8>, timeout: Duration, longest: usize) -> Self {
        Self::get(uri, timeout, longest)
            .with_body(Method::POST, document)
            .says(header::CONTENT_TYPE, "application/json")
    }

    /// A question for a token, as a form over the host's network.
    pub(super) fn token(uri: Uri, form: String, timeout: Duration, longest: usize) -> Self {
        let errand = Self {
            network: Network::Host,
            is_for_token: true,
            ..Self::get(uri, timeout, longest).with_body(Method::POST, form.into_bytes())
        };
        errand
            .says(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .says(header::ACCEPT, "application/json")
    }

    /// That something is deleted.
    #[must_use]
    pub fn delete(uri: Uri, timeout: Duration, longest: usize) -> Self {
        Self::get(uri, timeout, longest).with_body(Method::DELETE, Vec::new())
    }

    /// An object to be stored.
    #[must_use]
    pub fn put(uri: Uri, object: Vec<u8>, timeout: Duration, longest: usize) -> Self {
        Self::get(uri, timeout, longest).with_body(Method::PUT, object)
    }

    fn with_body(mut self, method: Method, body: Vec<u8>) -> Self {
        *self.request.method_mut() = method;
        self.body = body.into();
        self
    }

    /// To a provider, as a caller's request would be sent to it.
    #[must_use]
    pub fn to(self, provider: &'p Provider) -> Self {
        Self {
            provider: Some(provider),
            ..self
        }
    }

    /// With another of the provider's keys than the first, by its number from 0.
    #[must_use]
    pub fn with_key(self, key: usize) -> Self {
        Self { key, ..self }
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
        let value = HeaderValue::from_static(value);
        self.request.headers_mut().insert(name, value);
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

    /// With a response that `limits.memory` counts: while there is no room for it, it waits.
    #[must_use]
    pub fn counted(self) -> Self {
        self.counted_by(memory::all())
    }

    fn counted_by(self, memory: &Memory) -> Self {
        Self {
            memory: Some(memory.clone()),
            ..self
        }
    }

    /// Not to be done twice: it fails where its connection breaks before an answer.
    #[must_use]
    pub fn once(self) -> Self {
        Self {
            can_repeat: false,
            ..self
        }
    }

    /// What is sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Adds a header whose value may be a secret, unless it can't be one.
    pub fn secret(&mut self, name: &str, value: &Secret) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value.expose());
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            self.request.headers_mut().insert(name, value);
        }
    }

    /// Adds a credential; an empty key adds none.
    ///
    /// # Errors
    /// When the key cannot be a header's value.
    pub fn authorized(mut self, way: Authorization, key: &Secret) -> Result<Self, String> {
        let set = auth::credential(self.request.headers_mut(), way, key);
        set.map_err(|error| error.to_string())?;
        Ok(self)
    }

    /// Signs it for a store that speaks S3, with the id of a key and its secret.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn signed_s3(mut self, id: &Secret, secret: &Secret, region: &str) -> Result<Self, String> {
        auth::aws::sign_s3(&mut self.request, &self.body, id, secret, region)?;
        Ok(self)
    }
}

impl Client {
    /// Runs an errand, over the tailnet where the address is one of its own. What the response quotes of
    /// its credential is hidden.
    ///
    /// # Errors
    /// Why no response came, in words that hold no secret.
    // Boxed, so that a future that may run an errand has no room for it before, and because asking a
    // provider can take an errand for a token.
    pub fn errand<'c>(
        &'c self,
        errand: Errand<'c>,
    ) -> BoxFuture<'c, Result<Response<Bytes>, String>> {
        async move {
            let limit = errand.timeout;
            within(limit, self.run(errand))
                .await
                .map_err(|_| format!("no answer within {limit:?}"))?
        }
        .boxed()
    }

    /// Asks a provider for something long, which is read piece by piece. The errand's bounds are those of the
    /// response's head.
    ///
    /// # Errors
    /// Why no response came, in words that hold no secret.
    pub async fn download(
        &self,
        errand: Errand<'_>,
        provider: &Provider,
    ) -> Result<(StatusCode, Download), String> {
        let Errand {
            key, request, body, ..
        } = errand;
        let begin = async {
            let (pool, request) = self.for_provider(provider, key, request, body).await?;
            let mask = pool.mask(&request);
            send(&pool, request, mask, true, |error| innermost(error)).await
        };
        let begun = within(errand.timeout, begin).await;
        let (head, body, mask) = begun.map_err(|_| "no answer in time".to_owned())??;
        Ok((head.status, Download { body, mask }))
    }

    async fn run(&self, errand: Errand<'_>) -> Result<Response<Bytes>, String> {
        let request = errand.request;
        let Some(provider) = errand.provider else {
            let pool = self.pools.own(errand.network, errand.ca.as_ref());
            let mut mask = pool.mask(&request);
            let mut why: fn(&RequestError) -> String = |error| innermost(error);
            if errand.is_for_token {
                why = ToString::to_string;
            } else {
                // The path of a webhook can be its key.
                mask = mask.and_parts_of(request.uri());
            }
            let request = request.map(|()| errand.body);
            let how = (errand.longest, errand.memory, errand.can_repeat);
            return exchange(&pool, request, mask, how, why).await;
        };
        let Errand {
            key,
            body,
            longest,
            memory,
            can_repeat,
            ..
        } = errand;
        let (pool, request) = self.for_provider(provider, key, request, body).await?;
        let mask = pool.mask(&request);
        let how = (longest, memory, can_repeat);
        exchange(&pool, request, mask, how, |error| innermost(error)).await
    }

    /// A request with a provider's credential, and the connections that it goes over.
    async fn for_provider(
        &self,
        provider: &Provider,
        key: usize,
        mut request: Request<()>,
        body: Bytes,
    ) -> Result<(Pool, Request<Bytes>), String> {
        self.introduce(provider, key, request.headers_mut()).await?;
        let request = auth::sign(request, body, provider);
        let request = request.map_err(|error| error.to_string())?;
        Ok((self.pool(provider), request))
    }

    /// Sets the provider's credential, but for a signature, and its own headers.
    async fn introduce(
        &self,
        provider: &Provider,
        key: usize,
        headers: &mut HeaderMap,
    ) -> Result<(), String> {
        match self.tokens_for(provider, headers) {
            Some(source) => {
                let token = source.token().await.map_err(|error| error.to_string())?;
                auth::bearer(headers, &token).map_err(|error| error.to_string())?;
            }
            None => auth::authorize(headers, provider, key).map_err(|error| error.to_string())?,
        }
        for (name, value) in &provider.add_headers {
            headers.insert(name, value.clone());
        }
        Ok(())
    }
}

/// A response that is read piece by piece.
pub struct Download {
    body: Received,
    mask: Mask,
}

impl Download {
    /// The next piece, without the credential that it may quote; `None` at the end.
    ///
    /// # Errors
    /// Why no more of it comes.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(frame) = self.body.frame().await else {
                let rest = self.mask.rest();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let frame = frame.map_err(|error| error.to_string())?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(self.mask.pass(piece)));
            }
        }
    }
}

/// Sends a request, and reads its response without the credential that it may quote.
async fn exchange(
    pool: &Pool,
    request: Request<Bytes>,
    mask: Mask,
    (longest, memory, can_repeat): (usize, Option<Memory>, bool),
    why: fn(&RequestError) -> String,
) -> Result<Response<Bytes>, String> {
    let (head, body, mut mask) = send(pool, request, mask, can_repeat, why).await?;
    let body = read(body, longest, memory, &mut mask).await?;
    Ok(Response::from_parts(head, body))
}

/// Sends a request. Returns the response's head, and its body with what hides the credential in it.
async fn send(
    pool: &Pool,
    mut request: Request<Bytes>,
    mask: Mask,
    can_repeat: bool,
    why: fn(&RequestError) -> String,
) -> Result<(Parts, Received, Mask), String> {
    let agent = HeaderValue::from_static(concat!("iris/", env!("CARGO_PKG_VERSION")));
    let headers = request.headers_mut();
    headers.entry(header::USER_AGENT).or_insert(agent);
    let response = if can_repeat {
        pool.request_again(&request).await
    } else {
        let once = pool.request(&request, Reuse::Never).await;
        once.map_err(|unanswered| unanswered.error)
    };
    let response = response.map_err(|error| why(&error))?;
    let (mut head, body) = response.into_parts();
    mask.headers(&mut head.headers);
    Ok((head, body, mask))
}

/// Reads a body of up to `longest` bytes, which `memory` counts for as long as they are there.
async fn read(
    mut body: Received,
    longest: usize,
    memory: Option<Memory>,
    mask: &mut Mask,
) -> Result<Bytes, String> {
    let mut hold = memory.map(|memory| memory.hold());
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        // Trailers say nothing here.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let length = whole.len() + piece.len();
        if length > longest {
            return Err(format!("its response is longer than {longest} bytes"));
        }
        if let Some(hold) = &mut hold {
            hold.reserve(length)
                .await
                .map_err(|full| full.to_string())?;
        }
        whole.extend_from_slice(&mask.pass(piece));
    }
    whole.extend_from_slice(&mask.rest());
    let whole = whole.freeze();
    Ok(match hold {
        Some(hold) => hold.keep(whole),
        None => whole,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::client::Timeouts;

    #[tokio::test]
    async fn a_counted_response_waits_for_room_and_is_counted_while_it_is_there() {
        const LENGTH: usize = 2 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; LENGTH]).await.unwrap();
        });
        let memory = Memory::new(memory::LEAST);
        let mut others = memory.hold();
        assert!(others.try_reserve(memory.most() - LENGTH / 2));
        let client = Client::new(None, Timeouts::all(Duration::from_secs(5)));
        let errand = Errand::get(uri.parse().unwrap(), Duration::from_secs(10), LENGTH);
        let mut asked = client.errand(errand.counted_by(&memory));
        let early = within(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "there is no room");
        drop(others);
        let response = asked.await.unwrap();
        assert_eq!(response.body().len(), LENGTH);
        assert_eq!(memory.usage().held, LENGTH);
        drop(response);
        assert_eq!(memory.usage().held, 0);
    }
}
