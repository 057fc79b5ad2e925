//! Where the body of a response ends, and which of its bytes are data (RFC 9112, section 6).

/// Most bytes of the extensions of all chunks, and of the fields behind the last one.
const EXTRAS: usize = 16 << 10;

/// The framing of a body, as far as it is read.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
    /// It goes on until the connection ends.
    UntilEnd,
}

/// A chunked body, as far as it is read.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes seen that are neither data nor sizes.
    extras: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a size, of which a digit has come or not.
    Size {
        size: u64,
        has_digit: bool,
    },
    /// In the white space behind a size.
    Space(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the first byte of a field behind the last chunk, or of the empty line.
    Field,
    InField,
    FieldLf,
    EndLf,
    End,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks {
            at: At::Size {
                size: 0,
                has_digit: false,
            },
            extras: 0,
        })
    }

    /// Whether all of it has come.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.at == At::End,
            Self::UntilEnd => false,
        }
    }

    /// How much is still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunks) => (chunks.at == At::End).then_some(0),
            Self::UntilEnd => None,
        }
    }

    /// Reads on. The data in `bytes` is moved to their beginning; returned are its length, and how many
    /// bytes belong to the body.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), &'static str> {
        match self {
            Self::Length(left) => {
                let taken = least(*left, bytes.len());
                *left -= taken as u64;
                Ok((taken, taken))
            }
            Self::Chunked(chunks) => chunks.read(bytes),
            Self::UntilEnd => Ok((bytes.len(), bytes.len())),
        }
    }
}

impl Chunks {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), &'static str> {
        let (mut data, mut at) = (0, 0);
        while at < bytes.len() && self.at != At::End {
            if let At::Data(left) = self.at {
                let taken = least(left, bytes.len() - at);
                bytes.copy_within(at..at + taken, data);
                data += taken;
                at += taken;
                self.at = match left - taken as u64 {
                    0 => At::DataCr,
                    left => At::Data(left),
                };
            } else {
                match self.step(bytes[at]) {
                    Ok(next) => (self.at, at) = (next, at + 1),
                    // The data before it is good. The next read begins with this byte.
                    Err(_) if data > 0 => return Ok((data, at)),
                    Err(why) => return Err(why),
                }
            }
        }
        Ok((data, at))
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        Ok(match (self.at, byte) {
            (At::Size { size, has_digit }, _) => match char::from(byte).to_digit(16) {
                Some(digit) => At::Size {
                    size: size
                        .checked_mul(16)
                        .and_then(|size| size.checked_add(u64::from(digit)))
                        .ok_or("invalid chunk size: overflow")?,
                    has_digit: true,
                },
                None if has_digit => behind_size(size, byte)?,
                None => return Err("invalid chunk size line: missing size digit"),
            },
            (At::Space(size), _) => behind_size(size, byte)?,
            (At::Extension(size), b'\r') => At::SizeLf(size),
            (At::Extension(_), b'\n') => return Err("invalid chunk extension contains newline"),
            (At::Extension(size), _) => {
                self.extra()?;
                At::Extension(size)
            }
            (At::SizeLf(0) | At::FieldLf, b'\n') => At::Field,
            (At::SizeLf(size), b'\n') => At::Data(size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size {
                size: 0,
                has_digit: false,
            },
            (At::Field, b'\r') => At::EndLf,
            (At::Field | At::InField, byte) => {
                self.extra()?;
                if byte == b'\r' {
                    At::FieldLf
                } else {
                    At::InField
                }
            }
            (At::EndLf, b'\n') => At::End,
            _ => return Err("invalid chunk: a line or its data doesn't end where it must"),
        })
    }

    fn extra(&mut self) -> Result<(), &'static str> {
        self.extras += 1;
        if self.extras > EXTRAS {
            return Err("chunk extensions or trailers over limit");
        }
        Ok(())
    }
}

fn behind_size(size: u64, byte: u8) -> Result<At, &'static str> {
    match byte {
        b'\t' | b' ' => Ok(At::Space(size)),
        b';' => Ok(At::Extension(size)),
        b'\r' => Ok(At::SizeLf(size)),
        _ => Err("invalid chunk size line: invalid size"),
    }
}

fn least(left: u64, here: usize) -> usize {
    usize::try_from(left).map_or(here, |left| left.min(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body that comes in pieces of `size` bytes, and what follows it.
    fn read(bytes: &[u8], size: usize) -> Result<(String, usize, bool), &'static str> {
        let (mut framing, mut all, mut used) = (Framing::chunked(), Vec::new(), 0);
        for mut piece in bytes.chunks(size) {
            // What is left of a piece is read again: an odd byte stays until nothing is before it.
            while !piece.is_empty() && !framing.is_ended() {
                let mut read = piece.to_vec();
                let (data, taken) = framing.read(&mut read)?;
                all.extend_from_slice(&read[..data]);
                used += taken;
                piece = &piece[taken..];
            }
        }
        Ok((String::from_utf8(all).unwrap(), used, framing.is_ended()))
    }

    #[test]
    fn chunks_are_read_wherever_they_are_cut() {
        let body = b"5\r\nhello\r\n1 ;a=b\r\n,\r\n0a\t\r\n0123456789\r\n0\r\nx: y\r\n\r\nrest";
        for size in 1..=body.len() {
            let expected = ("hello,0123456789".to_owned(), body.len() - 4, true);
            assert_eq!(read(body, size), Ok(expected), "pieces of {size}");
        }
    }

    #[test]
    fn odd_chunks_are_errors() {
        for body in [
            "\r\n",
            "g\r\n",
            "1x\r\n",
            "1\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1;\n",
            "-1\r\n",
            "0x1\r\n",
            "10000000000000000\r\n",
            "0\r\n\rx",
            "0\r\na\rb",
        ] {
            assert!(read(body.as_bytes(), 64).is_err(), "{body:?}");
        }
        let long = format!("1;{}\r\na\r\n", "x".repeat(EXTRAS + 1));
        assert!(read(long.as_bytes(), 1000).is_err());
        let long = format!("0\r\na: {}\r\n\r\n", "x".repeat(EXTRAS));
        assert!(read(long.as_bytes(), 1000).is_err());
    }

    #[test]
    fn a_length_is_not_exceeded() {
        let mut framing = Framing::Length(7);
        assert_eq!(framing.read(&mut [0; 5]), Ok((5, 5)));
        assert_eq!((framing.left(), framing.is_ended()), (Some(2), false));
        assert_eq!(framing.read(&mut [0; 5]), Ok((2, 2)));
        assert!(framing.is_ended());
    }
}
