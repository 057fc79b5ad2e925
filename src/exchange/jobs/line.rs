//! One line of a batch, asked as its owner through the whole pipeline.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::Gateway;
use super::family::{Family, LineId, Unasked};
use crate::exchange::Verified;
use crate::exchange::served::REQUEST_ID;
use crate::formats::Format;
use crate::wire::{Body, Rejection};

/// What records and providers are told that asks.
const AGENT: HeaderValue = HeaderValue::from_static("iris-batch");
/// The session of all lines of a batch.
const SESSION: HeaderName = HeaderName::from_static("x-session-id");

/// A line that is to be asked.
pub(super) struct ToAsk<'l> {
    pub(super) endpoint: &'l str,
    pub(super) batch: &'l str,
    pub(super) headers: &'l [(String, String)],
    pub(super) body: Bytes,
}

/// What a line was answered.
pub(super) struct Answer {
    status: StatusCode,
    request_id: String,
    body: Result<Value, String>,
    retry_after: Option<Duration>,
}

impl ToAsk<'_> {
    /// The request that it is.
    pub(super) fn request(self) -> Result<Request<Bytes>, Rejection> {
        let request = Request::post(self.endpoint)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, AGENT)
            .header(SESSION, self.batch);
        let headers = self.headers.iter();
        let request = headers.fold(request, |request, (name, value)| {
            request.header(name.as_str(), value.as_str())
        });
        request.body(self.body).map_err(|_| Rejection::panicked())
    }
}

async fn answer(response: Response<Body>, longest: usize) -> Answer {
    let (head, body) = response.into_parts();
    let text = |name: &HeaderName| {
        let value = head.headers.get(name)?;
        value.to_str().ok()
    };
    let retry_after = text(&header::RETRY_AFTER).and_then(|wait| wait.parse().ok());
    let body = whole(body, longest).await.map(|body| {
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into())
    });
    Answer {
        status: head.status,
        request_id: text(&REQUEST_ID).unwrap_or_default().to_owned(),
        body,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

/// All of a body of up to `longest` bytes.
async fn whole(mut body: Body, longest: usize) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > longest {
            return Err(format!("the response is longer than {longest} bytes"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

impl Answer {
    /// What a request is answered, of at most `longest` bytes. It leaves a record like any other.
    pub(super) async fn of(
        gateway: &Gateway,
        format: &'static Format,
        who: Verified,
        request: Request<Bytes>,
        longest: usize,
    ) -> Self {
        let response = gateway.handle(format, who, request.map(Full::new)).await;
        answer(response, longest).await
    }

    /// The answer to a line that the gateway itself refuses.
    pub(super) fn refused(format: &Format, rejection: &Rejection, request_id: String) -> Self {
        Self {
            status: rejection.status,
            request_id,
            body: Ok((format.refusals.body)(rejection)),
            retry_after: None,
        }
    }

    /// Whether it succeeded.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success() && self.body.is_ok()
    }

    /// How long to wait before another try, if it is worth one: `usual` where the answer doesn't say.
    pub(super) fn retry(&self, usual: Duration) -> Option<Duration> {
        let is_busy = matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        is_busy.then(|| self.retry_after.unwrap_or(usual))
    }

    /// As it stands in a file of results.
    pub(super) fn line(&self, family: Family, line: LineId<'_>) -> Value {
        match &self.body {
            Ok(body) => family.asked(line, self.status.as_u16(), &self.request_id, body),
            Err(why) => family.unasked(line, Unasked::Failed("response_broken"), why),
        }
    }
}
