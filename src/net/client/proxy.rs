//! Through an HTTP proxy: a tunnel (`CONNECT`, RFC 9110, section 9.3.6), in which the proxy sees only
//! where a connection leads.

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connect_error::ConnectError;
use crate::config::Proxy;

/// Bytes of a proxy's response that are read.
const LONGEST: usize = 16 << 10;

/// The value of `Proxy-Authorization`.
pub(super) fn credential(proxy: &Proxy) -> Option<HeaderValue> {
    let text = proxy.authorization.expose();
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    (!text.is_empty()).then_some(value)
}

/// Why a request is not forwarded: the proxy's response 407 is never the provider's.
pub(super) fn refused(proxy: &str) -> ConnectError {
    ConnectError::Proxy(format!(
        "the proxy {proxy} asks for another user and password than it was given (407)"
    ))
}

/// Has the proxy connect to a server.
pub(super) async fn tunnel(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    proxy: &Proxy,
    host: &str,
    port: u16,
    credential: Option<HeaderValue>,
) -> Result<(), ConnectError> {
    let broken = |why: String| ConnectError::Proxy(format!("the proxy {proxy} {why}"));
    let to = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    if let Some(credential) = credential {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(credential.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let lost = |error: std::io::Error| broken(format!("broke off: {error}"));
    io.write_all(&head).await.map_err(lost)?;
    io.flush().await.map_err(lost)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) if answer.len() < LONGEST => answer.push(byte),
            Ok(_) => return Err(broken("gave no answer that is one".to_owned())),
            Err(error) => return Err(lost(error)),
        }
    }
    let line = answer.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    match words.next().and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=299) if is_http => Ok(()),
        Some(407) if is_http => Err(broken(format!(
            "asks for another user and password than it was given (407) to reach {to}"
        ))),
        Some(status) if is_http => Err(broken(format!(
            "does not connect to {to}: it answered {status}"
        ))),
        _ => Err(broken(
            "is no HTTP proxy: it answered something else".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_yes_opens_the_tunnel() {
        let proxy = Proxy::parse("http://me:pw@proxy:3128").unwrap();
        for (answer, error) in [
            (
                "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nrest",
                None,
            ),
            ("HTTP/1.0 200 OK\r\n\r\nrest", None),
            ("HTTP/1.1 407 No\r\n\r\n", Some("user and password")),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Some("answered 403")),
            ("SSH-2.0-x 200 \r\n\r\n", Some("no HTTP proxy")),
            ("HTTP/1.1 200 OK\r\n", Some("broke off")),
        ] {
            let (mut near, mut far) = tokio::io::duplex(1 << 10);
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let opened = tunnel(&mut near, &proxy, "fd00::1", 443, credential(&proxy)).await;
            let mut asked = [0; 44];
            far.read_exact(&mut asked).await.unwrap();
            assert!(asked.starts_with(b"CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: "));
            match error {
                None => {
                    opened.unwrap();
                    let mut rest = String::new();
                    near.read_to_string(&mut rest).await.unwrap();
                    assert_eq!(rest, "rest");
                }
                Some(why) => {
                    let error = opened.unwrap_err().to_string();
                    assert!(error.contains(why), "{error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_for_ever() {
        let proxy = Proxy::parse("http://proxy:3128").unwrap();
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        far.write_all(&vec![b'x'; 32 << 10]).await.unwrap();
        let opened = tunnel(&mut near, &proxy, "h", 1, None).await;
        assert!(
            opened
                .unwrap_err()
                .to_string()
                .contains("no answer that is one")
        );
    }
}
