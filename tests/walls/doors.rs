//! The HTTPS door of the tailnet: what its gate accepts over HTTP/2.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tokio::net::TcpSocket;

use crate::daemon::{ADA, CERTIFICATE, GATEWAY, NAME};
use crate::world::{Gateway, PORT, until};
use support::malformed::http2;
use support::malformed::provider::Provider;

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    what_can_be_read_in_two_ways_is_refused_over_tls_too,
    a_silent_caller_is_closed_over_tls_too,
];

const HTTPS: u16 = 8443;

type Stream = StreamOwned<ClientConnection, std::net::TcpStream>;

fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    roots.add(own).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A connection of Ada's.
async fn connect(config: &Arc<ClientConfig>) -> std::io::Result<Stream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(ADA.address.parse().unwrap(), 0))?;
    let stream = socket
        .connect(SocketAddr::new(GATEWAY.parse().unwrap(), HTTPS))
        .await?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let name = NAME.try_into().unwrap();
    let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(tls, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    Ok(stream)
}

/// A gateway with the door open.
async fn open(provider: &Provider, config: &Arc<ClientConfig>) -> Gateway {
    let gateway = Gateway::start(
        json!({
            "listen": { "http": format!(":{PORT}"), "https": format!(":{HTTPS}"), "loopback": "127.0.0.1:8088" },
            "timeouts": { "head": "2s" },
            "providers": { "p": {
                "baseurl": format!("http://{}", provider.address), "apikey": "sk-provider", "models": ["m", "q:7b"],
                "compatibility": { "openai_chat": true, "gemini_generate_content": true, "bedrock_converse": true },
            } },
            "grants": [{ "src": [ADA.login], "app": { "tailscale.com/cap/aperture": [
                { "role": "user" }, { "models": "**" },
            ] } }],
        }),
        &[],
    )
    .await;
    until("there is no HTTPS door", async || {
        connect(config).await.is_ok()
    })
    .await;
    gateway
}

/// A caller who sends too little after the handshake to choose a version of HTTP is disconnected.
async fn a_silent_caller_is_closed_over_tls_too() {
    let config = client();
    let gateway = open(&Provider::start().await, &config).await;
    for said in ["", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n"] {
        let mut stream = connect(&config).await.unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // More than the time to read it would be an error of its own.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{said:?}: {error}");
        }
        assert!(answer.is_empty(), "{said:?}");
    }
    drop(gateway);
}

async fn what_can_be_read_in_two_ways_is_refused_over_tls_too() {
    let provider = Provider::start().await;
    let config = client();
    let gateway = open(&provider, &config).await;
    let runtime = tokio::runtime::Handle::current();
    let at = SocketAddr::new(GATEWAY.parse().unwrap(), HTTPS);
    let check = move || {
        let connect = || runtime.block_on(connect(&config)).unwrap();
        http2::wrong(at, "https", connect, &provider)
    };
    let wrong = tokio::task::spawn_blocking(check).await.unwrap();
    drop(gateway);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
