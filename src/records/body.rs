//! A body as it is kept: compressed. What is kept for months is mostly bodies.

use std::cell::RefCell;
use std::io;
use std::thread::LocalKey;

use bytes::Bytes;
use zstd::bulk::Compressor;

/// zstd's own default: higher levels cost several times the work for a tenth of the size.
const LEVEL: i32 = 3;

/// Bytes below which a body is kept as it is: making the tables of a frame costs more than what
/// is saved.
const SHORT: usize = 512;

/// A body, compressed once on its way to where it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::records) struct StoredBody {
    /// Its length as it was.
    pub(in crate::records) size: usize,
    /// Compressed; or as it was if that is shorter or equal, which the size tells.
    pub(in crate::records) bytes: Bytes,
}

impl StoredBody {
    /// Compresses a body.
    pub(in crate::records) fn of(body: &Bytes) -> io::Result<Self> {
        let mut bytes = body.clone();
        if body.len() >= SHORT {
            thread_local! { static COMPRESSOR: Kept = const { RefCell::new(None) }; }
            let compressed = compress(&COMPRESSOR, LEVEL, body)?;
            if compressed.len() < body.len() {
                bytes = compressed.into();
            }
        }
        let size = body.len();
        Ok(Self { size, bytes })
    }

    /// The body.
    pub(in crate::records) fn plain(self) -> io::Result<Bytes> {
        if self.bytes.len() == self.size {
            return Ok(self.bytes);
        }
        zstd::bulk::decompress(&self.bytes, self.size).map(Bytes::from)
    }
}

/// A thread's compressor: making one takes longer than most bodies do.
pub(in crate::records) type Kept = RefCell<Option<Compressor<'static>>>;

/// Compresses with the compressor that a thread keeps for this level.
pub(in crate::records) fn compress(
    kept: &'static LocalKey<Kept>,
    level: i32,
    plain: &[u8],
) -> io::Result<Vec<u8>> {
    kept.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(level)?),
        };
        compressor.compress(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_however_they_are_stored() {
        let noise: Vec<u8> = (0..4_096)
            .map(|_| getrandom::u32().unwrap().to_le_bytes()[0])
            .collect();
        for (written, is_shorter) in [
            (Vec::new(), false),
            (b"{}".to_vec(), false),
            (vec![b'x'; SHORT - 1], false),
            (vec![b'x'; SHORT], true),
            (b"says it again ".repeat(100), true),
            (noise, false),
        ] {
            let written = Bytes::from(written);
            let stored = StoredBody::of(&written).unwrap();
            assert_eq!(stored.size, written.len());
            assert_eq!(stored.bytes.len() < written.len(), is_shorter);
            assert_eq!(stored.plain().unwrap(), written);
        }
    }
}
