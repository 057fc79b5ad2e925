//! Compressed responses, opened for the meter alone: the caller gets them as they came.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use zstd::stream::write::Decoder as Zstd;

use super::unpack::{ZSTD_WINDOW, is_zlib, names};

/// What one slice may grow to; a bomb is given up. A fuzzer finds bombs all the time, and nothing
/// more behind the first 64 KiB of one.
const MAX_GROWN: usize = if cfg!(fuzzing) { 64 << 10 } else { 8 << 20 };
/// Bytes that are opened at once, so that of a large body only a part is in memory.
const SLICE: usize = 128;
/// What a body may grow to whatever its size: pictures and embeddings of test servers are one byte
/// many times over.
const MAX_FREE: usize = 8 * MAX_GROWN;
/// How many times its size a larger body may be.
const MAX_RATIO: usize = 128;

/// Opens one compressed body, piece by piece.
pub struct Decoding {
    coder: Coder,
    /// Bytes that were fed, and that came of them.
    fed: usize,
    grown: usize,
}

enum Coder {
    Gzip(MultiGzDecoder<Grown>),
    Deflate(ZlibDecoder<Grown>),
    /// Without zlib's header.
    RawDeflate(DeflateDecoder<Grown>),
    Brotli(Box<DecompressorWriter<Grown>>),
    Zstd(Box<Zstd<'static, Grown>>),
    /// Of a kind that can't be opened here, or broken.
    Closed,
}

/// What came out of one piece.
#[derive(Default)]
struct Grown(Vec<u8>);

impl Write for Grown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_GROWN {
            return Err(io::Error::other("the body grows too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoding {
    /// For a body with these headers; `None` if it is not compressed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = names(headers);
        // What servers write that means none.
        codings.retain(|name| !matches!(name.as_str(), "none" | "utf-8" | "utf8"));
        let coder = match codings.first()?.as_str() {
            _ if codings.len() > 1 => Coder::Closed,
            "gzip" | "x-gzip" => Coder::Gzip(MultiGzDecoder::new(Grown::default())),
            "deflate" => Coder::Deflate(ZlibDecoder::new(Grown::default())),
            "br" => Coder::Brotli(Box::new(DecompressorWriter::new(Grown::default(), 4096))),
            "zstd" => zstd().map_or(Coder::Closed, |coder| Coder::Zstd(Box::new(coder))),
            _ => Coder::Closed,
        };
        Some(Self {
            coder,
            fed: 0,
            grown: 0,
        })
    }

    /// Whether nothing more comes of it: it is of a kind that can't be opened, or broken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.coder, Coder::Closed)
    }

    /// What the next piece holds, up to a bound. Nothing, from the first fault on.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        self.open(piece, |part| {
            if whole.len() + part.len() <= MAX_GROWN {
                whole.extend_from_slice(&part);
            }
        });
        whole
    }

    /// Hands over what the next piece holds, part by part. Nothing, from the first fault on.
    pub fn open(&mut self, piece: &[u8], mut each: impl FnMut(Vec<u8>)) {
        if self.fed == 0 && matches!(self.coder, Coder::Deflate(_)) && !is_zlib(piece) {
            self.coder = Coder::RawDeflate(DeflateDecoder::new(Grown::default()));
        }
        let mut slices = piece.chunks(SLICE).peekable();
        while let Some(slice) = slices.next() {
            // An event is of use before the next piece comes.
            let flush = slices.peek().is_none();
            let (written, grown) = match &mut self.coder {
                Coder::Gzip(coder) => (through(coder, slice, flush), coder.get_mut()),
                Coder::Deflate(coder) => (through(coder, slice, flush), coder.get_mut()),
                Coder::RawDeflate(coder) => (through(coder, slice, flush), coder.get_mut()),
                Coder::Brotli(coder) => (through(&mut **coder, slice, flush), coder.get_mut()),
                Coder::Zstd(coder) => (through(&mut **coder, slice, flush), coder.get_mut()),
                Coder::Closed => return,
            };
            let grown = std::mem::take(&mut grown.0);
            self.fed = self.fed.saturating_add(slice.len());
            self.grown = self.grown.saturating_add(grown.len());
            let most = MAX_FREE.max(self.fed.saturating_mul(MAX_RATIO));
            if written.is_err() || self.grown > most {
                self.coder = Coder::Closed;
            }
            if !grown.is_empty() {
                each(grown);
            }
        }
    }
}

fn zstd() -> io::Result<Zstd<'static, Grown>> {
    let mut coder = Zstd::new(Grown::default())?;
    coder.window_log_max(ZSTD_WINDOW)?;
    Ok(coder)
}

fn through(coder: &mut impl Write, slice: &[u8], flush: bool) -> io::Result<()> {
    coder.write_all(slice)?;
    if flush { coder.flush() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn open(coding: &str, pieces: &[&[u8]]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        let mut decoding = Decoding::of(&headers).unwrap();
        pieces
            .iter()
            .flat_map(|piece| decoding.feed(piece))
            .collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(text).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn each_coding_is_opened_at_every_split() {
        let text = b"data: {\"a\":1}\n\ndata: [DONE]\n\n";
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(text).unwrap();
        // The crate only opens: this is what Google's own encoder makes of the text.
        let brotli = [&[0x0b, 0x0e, 0x80][..], &text[..], &[0x03]].concat();
        let zlib = zlib.finish().unwrap();
        let raw = zlib[2..zlib.len() - 4].to_vec();
        for (coding, packed) in [
            ("br", brotli),
            ("gzip", gzip(text)),
            ("identity, gzip", gzip(text)),
            ("deflate", zlib),
            ("deflate", raw),
            ("zstd", zstd::encode_all(&text[..], 3).unwrap()),
        ] {
            for at in 0..packed.len() {
                let opened = open(coding, &[&packed[..at], &packed[at..]]);
                assert_eq!(opened, text, "{coding} split at {at}");
            }
        }
    }

    #[test]
    fn what_wants_too_much_memory_is_not_opened() {
        for (window, expected) in [(ZSTD_WINDOW, &b"text"[..]), (ZSTD_WINDOW + 1, b"")] {
            let mut coder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            coder.window_log(window).unwrap();
            coder.write_all(b"text").unwrap();
            assert_eq!(
                open("zstd", &[&coder.finish().unwrap()]),
                expected,
                "{window}"
            );
        }
    }

    #[test]
    fn a_large_body_is_opened_part_by_part() {
        let text = [vec![b'A'; 18 << 20], b"end".to_vec()].concat();
        for (coding, packed) in [
            ("gzip", gzip(&text)),
            ("zstd", zstd::encode_all(&text[..], 3).unwrap()),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
            let mut decoding = Decoding::of(&headers).unwrap();
            let mut opened = Vec::new();
            decoding.open(&packed, |part| opened.extend_from_slice(&part));
            assert!(opened == text, "{coding}: {} bytes", opened.len());
        }
    }

    #[test]
    fn a_bomb_is_given_up_and_rubbish_is_nothing() {
        let bomb = gzip(&vec![0; 128 << 20]);
        assert!(open("gzip", &[&bomb]).len() <= MAX_GROWN);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let (mut grown, mut largest) = (0, 0);
        let mut decoding = Decoding::of(&headers).unwrap();
        decoding.open(&bomb, |part| {
            grown += part.len();
            largest = largest.max(part.len());
        });
        assert!(grown <= MAX_FREE + MAX_GROWN && largest <= MAX_GROWN);
        for coding in ["gzip", "br", "zstd", "deflate", "compress"] {
            assert!(open(coding, &[b"not packed at all"]).len() < 64, "{coding}");
        }
        assert!(Decoding::of(&HeaderMap::new()).is_none());
    }
}
