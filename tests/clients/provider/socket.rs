//! WebSockets, and responses over one: each text of the client is a request, each text of the server
//! an event.

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::turn::Turn;
use super::usage::Usage;
use super::{Body, Served, Shared, full, realtime, responses, sha1};

pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;
/// No client under test sends a longer message.
const LONGEST: u64 = 16 << 20;

pub(super) type Stream = TokioIo<Upgraded>;

/// Shakes hands and serves the socket in the background.
pub fn upgrade(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        let mut response = Response::new(full("a WebSocket, please".into()));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return response;
    };
    let upgrading = hyper::upgrade::on(&mut request);
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrading.await?);
        if path == "/v1/responses" {
            serve(&shared, &headers, stream).await
        } else {
            realtime::serve(&shared, &path, &headers, stream).await
        }
    });
    let salted = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", sha1::base64(sha1::digest(&salted)))
        .body(full(String::new()))
        .expect("a response")
}

/// Answers requests until the client goes.
async fn serve(shared: &Shared, headers: &HeaderMap, mut stream: Stream) -> anyhow::Result<()> {
    // A request continues those before it: what it leaves out, they have said.
    let (mut said, mut tools) = (String::new(), Value::Null);
    while let Some((kind, message)) = read(&mut stream).await? {
        match kind {
            PING => write(&mut stream, PONG, &message).await?,
            CLOSE => {
                write(&mut stream, CLOSE, &message).await?;
                break;
            }
            TEXT => {}
            _ => continue,
        }
        let Ok(body) = serde_json::from_slice::<Value>(&message) else {
            continue;
        };
        said.push_str(&String::from_utf8_lossy(&message));
        if body["tools"].is_array() {
            tools = body["tools"].clone();
        }
        let (nth, idle) = (shared.nth(), body["generate"] == false);
        let model = body["model"].as_str().unwrap_or_default();
        let turn = (!idle).then(|| Turn::next(model, &said, &tools, &shared.note));
        let usage = if idle {
            Usage::default()
        } else {
            Usage::nth(nth)
        };
        shared.served().push(Served {
            format: "openai_responses",
            path: "/v1/responses".into(),
            model: model.into(),
            stream: true,
            usage,
            idle,
            headers: headers.clone(),
            body: body.clone(),
        });
        for event in responses::events(&body, &format!("resp_{nth}"), turn.as_ref(), &usage) {
            write(&mut stream, TEXT, event.to_string().as_bytes()).await?;
        }
    }
    Ok(())
}

/// One message, put together from its frames; nothing at the end.
pub(super) async fn read(stream: &mut Stream) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
    let (mut kind, mut message) = (0, Vec::new());
    loop {
        let mut head = [0; 2];
        if stream.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let length = match head[1] & 127 {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        anyhow::ensure!(head[1] & 128 != 0, "a client's frame without a mask");
        anyhow::ensure!(length < LONGEST, "a frame of {length} bytes");
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; usize::try_from(length)?];
        stream.read_exact(&mut payload).await?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        let part = head[0] & 15;
        if part >= CLOSE {
            // Control frames may stand between those of a message; none of ours has those.
            return Ok(Some((part, payload)));
        }
        if part != 0 {
            kind = part;
        }
        message.extend(payload);
        if head[0] & 128 != 0 {
            return Ok(Some((kind, message)));
        }
    }
}

/// One frame, whole.
pub(super) async fn write(stream: &mut Stream, kind: u8, payload: &[u8]) -> anyhow::Result<()> {
    let mut frame = vec![128 | kind];
    match payload.len() {
        short @ 0..126 => frame.push(u8::try_from(short)?),
        middle @ 126..65536 => {
            frame.push(126);
            frame.extend(u16::try_from(middle)?.to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}
