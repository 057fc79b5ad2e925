//! Compressed request bodies, opened before anything else looks at them: what is evaluated, guarded
//! and recorded is what the provider gets, and it gets it plain. What a body may grow to is bounded
//! three ways: by the limit for any body, by its own length, and by what all bodies may hold at once.
//! As many are opened at the same time as there are processors, since each takes a window too.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, oneshot};

use super::Rejection;
use crate::base::lock::lock;
use crate::base::memory::{Hold, weighed};

/// The codings that are opened, the best first.
pub const ACCEPTED: &str = "zstd, gzip, br, deflate";
/// The code of a refusal for another coding.
pub const UNSUPPORTED: &str = "unsupported_coding";

/// What a body may ask a decoder to remember, as a power of two: 8 MiB, which is what a body sent
/// over HTTP may ask for (RFC 9659, section 3).
pub(super) const ZSTD_WINDOW: u32 = 23;
/// Up to here a body is not asked how long it was before: a conversation in which a file is read
/// ten times over shrinks to almost nothing.
const FREE: usize = 8 << 20;
/// Beyond that, how many times its length a body may grow to.
const RATIO: usize = 100;
/// Bytes that are opened at a time.
const STEP: usize = 64 << 10;

/// Opens bodies, as many at the same time as there are processors, on threads of its own: each keeps the
/// memory of a decoder, and the runtime starts another thread while one is still about to be idle.
static OPENERS: LazyLock<Openers> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(2, usize::from);
    let (jobs, queue) = std::sync::mpsc::channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..processors {
        let queue = Arc::clone(&queue);
        let next = move || lock(&queue).recv();
        let work = move || {
            while let Ok(job) = next() {
                // The request that waits for the result learns of a panic: its channel closes.
                let _panicked = catch_unwind(AssertUnwindSafe(job));
            }
        };
        let _started = thread::Builder::new().name("opener".into()).spawn(work);
    }
    Openers {
        turns: Semaphore::new(processors),
        jobs,
    }
});

type Job = Box<dyn FnOnce() + Send>;

struct Openers {
    turns: Semaphore,
    jobs: Sender<Job>,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `zstd`.
    Zstd,
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `deflate`, which is the format of zlib, or what that has inside.
    Deflate,
}

/// How a request's body is compressed; `None` if it isn't.
///
/// # Errors
/// A 415 for a coding that isn't known, or for several: what one of two readers would take for
/// another body is not evaluated.
pub fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Rejection> {
    let codings = names(headers);
    let name = match &codings[..] {
        [] => return Ok(None),
        [name] => name.as_str(),
        _ => return Err(unsupported("a body with several codings")),
    };
    Ok(match name {
        "zstd" => Some(Coding::Zstd),
        "gzip" | "x-gzip" => Some(Coding::Gzip),
        "br" => Some(Coding::Brotli),
        "deflate" => Some(Coding::Deflate),
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(unsupported(&format!("Content-Encoding {shown:?}")));
        }
    })
}

/// The codings that a message names, without those that stand for none.
pub(super) fn names(headers: &HeaderMap) -> Vec<String> {
    let given = headers.get_all(header::CONTENT_ENCODING).iter();
    let given = given.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut names = Vec::new();
    for value in given {
        let each = value
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase());
        names.extend(each.filter(|name| !matches!(name.as_str(), "" | "identity")));
    }
    names
}

/// Whether a body begins as zlib's format does (RFC 1950, section 2.2). Some clients send `deflate`
/// without its header.
pub(super) fn is_zlib(packed: &[u8]) -> bool {
    match packed {
        [first, second, ..] => {
            first & 0x8f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31)
        }
        [first] => first & 0x8f == 8,
        [] => true,
    }
}

fn unsupported(what: &str) -> Rejection {
    Rejection::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        UNSUPPORTED,
        format!("{what} is not accepted: send one of {ACCEPTED}, or no Content-Encoding"),
    )
}

/// Opens a body, which may be `limit` bytes long then. `hold` counts it until it is opened, and then
/// what it opens to.
///
/// # Errors
/// A 400 for what is not of this coding or ends too early, a 413 for what grows too much, and a
/// 503 where others hold the memory for it.
pub async fn open(
    coding: Coding,
    packed: Bytes,
    mut hold: Hold,
    limit: usize,
) -> Result<Bytes, Rejection> {
    let (longest, most) = hold.bounds();
    let limit = limit.min(longest);
    let refused = |fault: Fault| fault.rejection(coding, limit);
    let body = packed.clone();
    let first = beside(move || {
        // Read twice: how long it gets is known before any room is made for it.
        let length = measured(coding, &body, limit)?;
        let wanted = (weighed(length) + body.len()).min(most);
        let fits = hold.try_reserve(wanted);
        let opened = fits.then(|| opened(coding, &body, length)).transpose()?;
        Ok((opened, length, wanted, hold))
    });
    let (opened_at_once, length, wanted, mut hold) = first.await?.map_err(refused)?;
    let bytes = if let Some(bytes) = opened_at_once {
        bytes
    } else {
        hold.reserve(wanted).await?;
        let bytes = beside(move || opened(coding, &packed, length)).await?;
        bytes.map_err(refused)?
    };
    hold.shrink(weighed(bytes.len()));
    Ok(hold.keep(bytes.into()))
}

/// Works beside the threads that serve others: it takes milliseconds for a MiB. It keeps its turn if
/// the caller leaves meanwhile.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Rejection> {
    let turn = OPENERS.turns.acquire().await;
    let (done, result) = oneshot::channel();
    let job = move || drop(done.send((work(), turn)));
    let is_queued = OPENERS.jobs.send(Box::new(job));
    is_queued.map_err(|_| Rejection::panicked())?;
    let (result, _turn) = result.await.map_err(|_| Rejection::panicked())?;
    Ok(result)
}

fn opened(coding: Coding, packed: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(length);
    each(coding, packed, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// How long a body gets, if that is within its bounds.
fn measured(coding: Coding, packed: &[u8], limit: usize) -> Result<usize, Fault> {
    let bound = FREE.max(packed.len().saturating_mul(RATIO));
    let mut length = 0;
    each(coding, packed, |piece| {
        length += piece.len();
        match length {
            _ if length > limit => Err(Fault::TooLong),
            _ if length > bound => Err(Fault::Bomb),
            _ => Ok(()),
        }
    })?;
    Ok(length)
}

/// Opens a body piece by piece, to its end.
fn each(
    coding: Coding,
    packed: &[u8],
    take: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut rest = packed;
    match coding {
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut rest)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            pieces(&mut decoder, take)?;
        }
        Coding::Gzip => pieces(&mut MultiGzDecoder::new(&mut rest), take)?,
        Coding::Deflate if is_zlib(packed) => pieces(&mut ZlibDecoder::new(&mut rest), take)?,
        Coding::Deflate => pieces(&mut DeflateDecoder::new(&mut rest), take)?,
        Coding::Brotli => pieces(&mut Decompressor::new(&mut rest, 4096), take)?,
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Fault::Broken("something follows its end".to_owned()))
    }
}

fn pieces(
    from: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut piece = vec![0; STEP];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&piece[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Deflate => "deflate",
        }
    }
}

/// Why a body can't be opened.
enum Fault {
    Broken(String),
    TooLong,
    Bomb,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl Fault {
    fn rejection(self, coding: Coding, limit: usize) -> Rejection {
        let too_large = |why| Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", why);
        match self {
            Self::Broken(why) => {
                let name = coding.name();
                let why = format!("the request body can't be decompressed as {name}: {why}");
                Rejection::new(StatusCode::BAD_REQUEST, "body_broken", why)
            }
            Self::TooLong => too_large(format!(
                "the request body is longer than {limit} bytes once it is decompressed"
            )),
            Self::Bomb => too_large(format!(
                "the request body grows to more than {RATIO} times its length when it is \
                 decompressed: send it without Content-Encoding"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;
    use crate::base::memory::Memory;

    fn coding_of(values: &[&str]) -> Result<Option<Coding>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        coding(&headers).map_err(|rejection| rejection.status.as_u16())
    }

    #[test]
    fn one_known_coding_is_accepted() {
        assert_eq!(coding_of(&[]), Ok(None));
        for (value, expected) in [
            ("", None),
            ("identity", None),
            ("zstd", Some(Coding::Zstd)),
            (" GZip ", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("br", Some(Coding::Brotli)),
            ("deflate", Some(Coding::Deflate)),
            ("identity, gzip", Some(Coding::Gzip)),
            ("gzip, Identity", Some(Coding::Gzip)),
            ("identity, identity", None),
            (", br,", Some(Coding::Brotli)),
        ] {
            assert_eq!(coding_of(&[value]), Ok(expected), "{value:?}");
        }
        assert_eq!(coding_of(&["identity", "gzip"]), Ok(Some(Coding::Gzip)));
        for values in [
            &["compress"][..],
            &["gzip, gzip"],
            &["gzip", "gzip"],
            &["identity", "gzip, br"],
            &["aws-chunked"],
        ] {
            assert_eq!(coding_of(values), Err(415), "{values:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "lzma".parse().unwrap());
        let message = coding(&headers).unwrap_err().message;
        assert!(
            message.contains("\"lzma\"") && message.contains(ACCEPTED),
            "{message}"
        );
    }

    /// Opens a body whose caller waits.
    fn opened(coding: Coding, packed: &[u8], limit: usize) -> Result<Vec<u8>, Rejection> {
        let length = measured(coding, packed, limit);
        let opened = length.and_then(|length| super::opened(coding, packed, length));
        opened.map_err(|fault| fault.rejection(coding, limit))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        coder.write_all(text).unwrap();
        coder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        coder.write_all(text).unwrap();
        coder.finish().unwrap()
    }

    /// Each coding with `text` in it. The crate for brotli only opens: this is what an encoder
    /// makes of a text that it stores.
    fn packed(text: &[u8; 29]) -> [(Coding, Vec<u8>); 4] {
        [
            (Coding::Gzip, gzip(text)),
            (Coding::Deflate, zlib(text)),
            (Coding::Zstd, zstd::encode_all(&text[..], 3).unwrap()),
            (
                Coding::Brotli,
                [&[0x0b, 0x0e, 0x80][..], &text[..], &[0x03]].concat(),
            ),
        ]
    }

    #[test]
    fn what_is_whole_is_opened_and_what_is_not_is_refused() {
        let text = br#"{"model":"m","messages":[],"}"#;
        for (coding, body) in packed(text) {
            let whole = opened(coding, &body, 100).unwrap();
            assert_eq!(whole, &text[..], "{coding:?}");
            for end in 1..body.len() {
                let cut = opened(coding, &body[..end], 100).unwrap_err();
                assert_eq!(cut.status, 400, "{coding:?} cut at {end}");
            }
            let longer = opened(coding, &body, 28).unwrap_err();
            assert_eq!(longer.status, 413, "{coding:?}");
            for junk in [&b"\0"[..], b"not packed at all", b"{}"] {
                // The decoder of brotli reads on, and what follows is dropped.
                if coding != Coding::Brotli {
                    let more = opened(coding, &[&body, junk].concat(), 100).unwrap_err();
                    assert_eq!(more.status, 400, "{coding:?} followed by {junk:?}");
                }
                let junk = opened(coding, junk, 100).unwrap_err();
                assert_eq!(junk.status, 400, "{coding:?}");
            }
        }
        let whole = zlib(text);
        let raw = &whole[2..whole.len() - 4];
        assert_eq!(opened(Coding::Deflate, raw, 100).unwrap(), &text[..]);
        for end in 1..raw.len() {
            let cut = opened(Coding::Deflate, &raw[..end], 100).unwrap_err();
            assert_eq!(cut.status, 400, "cut at {end}");
        }
        let more = opened(Coding::Deflate, &[raw, b"{}"].concat(), 100).unwrap_err();
        assert_eq!(more.status, 400);
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(opened(Coding::Gzip, &twice, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_bomb_is_given_up() {
        let zeros = vec![0; 64 << 20];
        for (coding, bomb) in [
            (Coding::Gzip, gzip(&zeros)),
            (Coding::Deflate, zlib(&zeros)),
            (Coding::Zstd, zstd::encode_all(&zeros[..], 3).unwrap()),
        ] {
            let refused = opened(coding, &bomb, usize::MAX).unwrap_err();
            assert_eq!(refused.status, 413, "{coding:?}");
        }
        // A body that shrinks well and stays short isn't a bomb.
        let short = opened(Coding::Gzip, &gzip(&zeros[..FREE]), usize::MAX).unwrap();
        assert_eq!(short.len(), FREE);
        let mut coder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        coder.window_log(ZSTD_WINDOW + 1).unwrap();
        coder.write_all(b"text").unwrap();
        let wide = opened(Coding::Zstd, &coder.finish().unwrap(), 100).unwrap_err();
        assert_eq!(wide.status, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn an_opened_body_counts_and_waits_for_room() {
        const MIB: usize = 1 << 20;
        let memory = Memory::new(64 * MIB);
        let opening = |length: usize| {
            let packed = Bytes::from(gzip(&vec![0; length]));
            let mut hold = memory.hold();
            assert!(hold.try_reserve(packed.len()));
            open(Coding::Gzip, packed, hold, usize::MAX)
        };
        let body = opening(4 * MIB).await.unwrap();
        let part = body.slice(..10);
        drop(body);
        assert_eq!((memory.usage().held, part[0]), (weighed(4 * MIB), 0));
        drop(part);
        assert_eq!(memory.usage().held, 0);
        let mut others = memory.hold();
        others.reserve(50 * MIB).await.unwrap();
        let refused = opening(4 * MIB).await.unwrap_err();
        assert_eq!(refused.status, 503);
        assert!(refused.retry_after.is_some());
        let mut waiting = Box::pin(opening(4 * MIB));
        let waits = tokio::time::timeout(Duration::from_secs(10), &mut waiting);
        assert!(waits.await.is_err());
        drop(others);
        assert_eq!(waiting.await.unwrap().len(), 4 * MIB);
        let refused = opening(20 * MIB).await;
        assert_eq!(refused.unwrap_err().status, 413);
    }
}
