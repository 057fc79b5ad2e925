//! The least that a reverse proxy over hyper costs: a request goes on with another address and no header that
//! belongs to one connection, and the response comes back as it is. No identity, no limits, no records.

use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, HeaderName, Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
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

/// Serves until the process ends, on the runtime that Iris uses too.
pub(crate) fn serve(port: u16, upstream: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let to = Authority::try_from(format!("127.0.0.1:{upstream}")).unwrap();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (client, to) = (client.clone(), to.clone());
            let service = service_fn(move |request| {
                let sent = client.request(outbound(request, &to));
                async move {
                    sent.await.map(|mut response| {
                        remove_hops(response.headers_mut());
                        response
                    })
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

fn outbound(mut request: Request<Incoming>, to: &Authority) -> Request<Incoming> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(to.clone());
    *request.uri_mut() = Uri::from_parts(parts).unwrap();
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
