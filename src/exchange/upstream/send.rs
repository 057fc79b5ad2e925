//! One request to one provider.

use std::fmt::Display;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::base::clock::within;
use crate::base::secret::Secret;
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::lists;
use crate::formats::known;
use crate::net::client::google::TokenSource;
use crate::net::client::{
    Client, ConnectError, Fate, Received, RequestError, Reuse, Timeouts, auth, innermost,
};
use crate::wire::Mask;

/// The only way to a provider for what a caller asks.
pub struct Upstream {
    /// Connections and credentials.
    pub client: Client,
}

impl Upstream {
    /// The bounds in force.
    pub fn timeouts(&self) -> Timeouts {
        self.client.timeouts()
    }

    /// Sends a request that is paid for, and waits for the head of the response. Dropping the future,
    /// or the response's body, cancels the request at the provider. With it comes what hides the
    /// request's credentials; the head doesn't quote them any more. A response of any status is one.
    pub async fn send(
        &self,
        funded: &Funded<'_>,
        reuse: Reuse,
    ) -> Result<(Response<Received>, Mask), Failure> {
        let outbound = funded.outbound();
        let (format, _) = funded.served();
        let provider = &funded.route().provider;
        let own = funded.attempt.own_credential;
        let mut from = lists::headers(format, provider, &funded.head.headers, own);
        let query = funded.head.uri.query();
        let uri = match (&funded.attempt.translation, funded.direct_path()) {
            (None, Some(path)) => provider.root_url(path, known::direct_query(query).as_deref()),
            (Some(translation), _) => {
                translation.add_headers(&mut from.headers);
                let terms = &funded.attempt.terms;
                terms.url(&outbound.path, translation.query)
            }
            (None, None) => {
                let query = known::passed_query(format.known, &provider.pass_query, query);
                let terms = &funded.attempt.terms;
                terms.url(&outbound.path, query.as_deref())
            }
        };
        let mut request = Request::new(());
        *request.method_mut() = match funded.place() {
            Some(_) => funded.head.method.clone(),
            None => Method::POST,
        };
        *request.uri_mut() = uri.map_err(misconfigured)?;
        let (head, credential) = self.dressed(funded, from.headers).await?;
        *request.headers_mut() = head;
        let request = auth::sign(request, outbound.body.clone(), provider);
        let mut request = request.map_err(misconfigured)?;
        // Not signed, as proxies may add to it.
        if let Some(via) = from.via {
            request.headers_mut().insert(header::VIA, via);
        }
        let pool = self.client.pool(provider);
        let mask = pool.mask(&request);
        let limit = self.timeouts().first_byte;
        let response = within(limit, pool.request(&request, reuse)).await;
        let response = response.map_err(|_| Failure::TimedOut(limit))?;
        let mut response =
            response.map_err(
                |unanswered| match (failure(&unanswered.error), unanswered.fate) {
                    (Failure::Unreachable { why, .. }, Fate::Closed) => Failure::Closed(why),
                    (Failure::Unreachable { why, .. }, Fate::Lost) => Failure::Lost(why),
                    (failure, _) => failure,
                },
            )?;
        mask.headers(response.headers_mut());
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some((source, token)) = credential
        {
            source.reject(&token).await;
        }
        Ok((response, mask))
    }

    /// The headers of a request: the caller's that pass (`out`), the credential, and those of
    /// the provider and of the grants. With them the token of a service account, if it has one.
    pub(super) async fn dressed<'u>(
        &'u self,
        funded: &'u Funded<'_>,
        mut out: HeaderMap,
    ) -> Result<(HeaderMap, Option<(TokenSource<'u>, Secret)>), Failure> {
        let route = funded.route();
        let provider = &route.provider;
        // Iris meters what passes: it asks for plain bytes.
        let identity = HeaderValue::from_static("identity");
        out.insert(header::ACCEPT_ENCODING, identity);
        let mut credential = None;
        if let Some(source) = self.client.tokens_for(provider, &out) {
            let token = source.token().await;
            let token = token.map_err(|error| Failure::Credential(error.to_string()))?;
            auth::bearer(&mut out, &token).map_err(misconfigured)?;
            credential = Some((source, token));
        } else {
            auth::authorize(&mut out, provider, funded.attempt.key).map_err(misconfigured)?;
        }
        for (name, value) in &provider.add_headers {
            out.insert(name, value.clone());
        }
        for (name, value) in &funded.attempt.terms.headers {
            out.insert(name, value.clone());
        }
        Ok((out, credential))
    }
}

/// The configuration leads to an invalid request.
pub(super) fn misconfigured(error: impl Display) -> Failure {
    Failure::Misconfigured(error.to_string())
}

/// Why a provider gave no response.
pub(super) fn failure(error: &RequestError) -> Failure {
    if let RequestError::Connect(cause) = error
        && let ConnectError::TimedOut(within) = **cause
    {
        return Failure::TimedOut(within);
    }
    Failure::Unreachable {
        why: innermost(error),
        sent: !error.is_connect(),
    }
}
