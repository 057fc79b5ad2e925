//! The least that a reverse proxy over hyper costs: a request goes on with another address and no header that
//! belongs to one connection, and the response comes back as it is. No identity, no limits, no records.

use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, HeaderName, Request, Response, header};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Headers that a proxy must not pass on (RFC 9110, section 7.6.1).
const HOPS: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

pub(crate) type Client<B> = legacy::Client<HttpConnector, B>;
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the process ends.
pub(crate) fn serve(port: u16, upstream: u16) {
    let (client, to) = (client(), authority(upstream));
    listen(port, move |request| {
        let sent = client.request(outbound(request, &to));
        async move {
            let mut response = sent.await?;
            remove_hops(response.headers_mut());
            Ok(response)
        }
    });
}

/// Answers all requests that come to a port, on the runtime that Iris uses too.
pub(crate) fn listen<A, F, B>(port: u16, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Failed>> + Send,
    B: Body<Data: Send, Error: Into<Failed>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            let service = service_fn(answer.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

pub(crate) fn client<B>() -> Client<B>
where
    B: Body<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

pub(crate) fn authority(upstream: u16) -> Authority {
    Authority::try_from(format!("127.0.0.1:{upstream}")).unwrap()
}

/// The same path at another address.
pub(crate) fn at(to: &Authority, uri: Uri) -> Uri {
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(to.clone());
    Uri::from_parts(parts).unwrap()
}

fn outbound(mut request: Request<Incoming>, to: &Authority) -> Request<Incoming> {
    *request.uri_mut() = at(to, std::mem::take(request.uri_mut()));
    let headers = request.headers_mut();
    headers.remove(header::HOST);
    remove_hops(headers);
    request
}

fn remove_hops(headers: &mut HeaderMap) {
    for hop in HOPS {
        headers.remove(hop);
    }
}
