//! HTTP/2 as no library writes it.

use std::net::SocketAddr;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a request for `path`, compressed by the fixed table alone.
pub fn head(method: u8, path: &str, host: SocketAddr) -> Vec<u8> {
    // `:method` and `:scheme` by their number, `:path` and `:authority` as texts.
    let mut block = vec![method, 0x86, 0x04];
    text(&mut block, path.as_bytes());
    block.push(0x01);
    text(&mut block, host.to_string().as_bytes());
    block
}

/// `:method: GET`, and `POST`.
pub const GET: u8 = 0x82;
pub const POST: u8 = 0x83;

/// A text with its length.
pub fn text(block: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length) if length < 127 => block.push(length),
        _ => {
            block.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend(text);
}

/// Kinds and payloads of the frames that are whole, and how many bytes they take.
pub fn frames(bytes: &[u8]) -> (Vec<(u8, &[u8])>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some(payload) = bytes.get(at + 9..at + 9 + length) else {
            break;
        };
        found.push((head[3], payload));
        at += 9 + length;
    }
    (found, at)
}
