//! One reading of HTTP/1 and no other (RFC 9112). What two servers could take for two different
//! requests is found here, while the bytes still stand as they came: the parser behind it drops
//! a second length or a length beside a coding without a word, and ends lines where others don't.
//!
//! The reader keeps no bytes. It follows the framing, so that it knows where a head begins.

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a request line ends with, but for the last digit.
const VERSION: &[u8] = b"HTTP/1.";
/// Digits of a length or of a chunk's size: what they name fits into 64 bits.
const DIGITS: usize = 15;
/// More of a name or of a value is not looked at.
const KEPT: usize = 32;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub &'static str);

/// Reads along with a connection.
#[derive(Debug, Default)]
pub struct Reader {
    at: At,
    head: Head,
}

/// Where in a message the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In what may become the preface of HTTP/2, after so many of its bytes.
    Preface(usize),
    /// Before a request; one empty line may stand there.
    Start {
        line: bool,
    },
    /// Between the two bytes of that line's end.
    StartLf,
    Method,
    Target,
    /// In the target's query.
    Query,
    Version(usize),
    /// A line has ended, but for its line feed.
    LineLf,
    /// At the first byte of a field, or of the empty line.
    Field,
    Name,
    Value,
    /// The empty line has begun.
    EndLf,
    Body(u64),
    /// In a chunk's size, after so many digits.
    Size {
        digits: usize,
        size: u64,
    },
    Extension(u64),
    SizeLf(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// Nothing may follow any more.
    Closed,
    /// What follows is not HTTP/1.
    Open,
}

impl Default for At {
    fn default() -> Self {
        Self::Preface(0)
    }
}

/// What is kept of a head.
#[derive(Clone, Debug, Default)]
struct Head {
    method: Short,
    /// The target's first bytes.
    target: Short,
    older: bool,
    name: Short,
    value: Short,
    length: Option<u64>,
    chunked: bool,
    /// What is read are the fields behind the last chunk.
    trailer: bool,
}

/// The beginning of a text, and how long it is.
#[derive(Clone, Debug, Default)]
struct Short {
    bytes: [u8; KEPT],
    length: usize,
}

impl Short {
    fn clear(&mut self) {
        self.length = 0;
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..) {
            let kept = bytes.len().min(room.len());
            room[..kept].copy_from_slice(&bytes[..kept]);
        }
        self.length += bytes.len();
    }

    fn is(&self, word: &[u8]) -> bool {
        self.whole()
            .is_some_and(|text| text.eq_ignore_ascii_case(word))
    }

    /// All of it; `None` if it is longer than what is kept.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }

    /// All of it without the white space around it.
    fn trimmed(&self) -> Option<&[u8]> {
        self.whole().map(<[u8]>::trim_ascii)
    }
}

impl Reader {
    /// What follows is not HTTP/1: the connection has become a WebSocket.
    pub fn open(&mut self) {
        self.at = At::Open;
    }

    /// Whether nothing is looked at any more.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.at == At::Open
    }

    /// Reads on.
    ///
    /// # Errors
    /// Where the first byte stands that could be read in two ways, and why.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() {
            let left = bytes.len() - at;
            match self.at {
                At::Open => return Ok(()),
                At::Body(length) => {
                    let taken = least(length, left);
                    at += taken;
                    self.at = match length - taken as u64 {
                        0 => At::Start { line: true },
                        more => At::Body(more),
                    };
                }
                At::Chunk(size) => {
                    let taken = least(size, left);
                    at += taken;
                    self.at = match size - taken as u64 {
                        0 => At::ChunkCr,
                        more => At::Chunk(more),
                    };
                }
                _ => {
                    at += self.run(&bytes[at..]);
                    let Some(byte) = bytes.get(at) else { break };
                    self.at = self.step(*byte).map_err(|fault| (at, fault))?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes bytes that only go on with the text they stand in, and returns how many there are.
    fn run(&mut self, bytes: &[u8]) -> usize {
        let (kind, text) = match self.at {
            At::Method => (TOKEN, &mut self.head.method),
            At::Target => (PATH, &mut self.head.target),
            At::Query => (QUERY, &mut self.head.target),
            At::Name => (TOKEN, &mut self.head.name),
            At::Value => (TEXT, &mut self.head.value),
            _ => return 0,
        };
        let end = bytes.iter().position(|byte| !is_of(kind, *byte));
        let run = &bytes[..end.unwrap_or(bytes.len())];
        text.push(run);
        run.len()
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        match self.at {
            At::Preface(matched) => self.preface(matched, byte),
            At::Start { line } => match byte {
                b'\r' if line => Ok(At::StartLf),
                _ => {
                    self.head = Head::default();
                    self.method(byte)
                }
            },
            At::StartLf => line_feed(byte, At::Start { line: false }),
            At::Method => self.method(byte),
            At::Target | At::Query => self.target(byte),
            At::Version(matched) => self.version(matched, byte),
            At::LineLf => line_feed(byte, At::Field),
            At::Field => self.field(byte),
            At::Name => self.name(byte),
            At::Value => self.value(byte),
            At::EndLf => line_feed(byte, At::Field).and_then(|_| self.framed()),
            At::Size { digits, size } => chunk_size(digits, size, byte),
            At::Extension(size) => match byte {
                b'\r' => Ok(At::SizeLf(size)),
                _ if is_of(TEXT, byte) => Ok(At::Extension(size)),
                _ => Err(Fault("a chunk's extension holds a control character")),
            },
            At::SizeLf(size) => line_feed(byte, At::Chunk(size)).map(|next| match size {
                0 => {
                    self.head.trailer = true;
                    At::Field
                }
                _ => next,
            }),
            At::ChunkCr if byte == b'\r' => Ok(At::ChunkLf),
            At::ChunkCr => Err(Fault("a chunk is longer than its size")),
            At::ChunkLf => line_feed(byte, At::Size { digits: 0, size: 0 }),
            At::Closed => Err(Fault("something follows a request to connect")),
            At::Body(_) | At::Chunk(_) | At::Open => Ok(self.at),
        }
    }

    /// The bytes that agree with HTTP/2's preface may be a request of HTTP/1 all the same.
    fn preface(&mut self, matched: usize, byte: u8) -> Result<At, Fault> {
        if PREFACE.get(matched) == Some(&byte) {
            return Ok(match matched + 1 {
                whole if whole == PREFACE.len() => At::Open,
                more => At::Preface(more),
            });
        }
        self.at = At::Start { line: true };
        for byte in PREFACE[..matched].iter().copied().chain([byte]) {
            self.at = self.step(byte)?;
        }
        Ok(self.at)
    }

    fn method(&mut self, byte: u8) -> Result<At, Fault> {
        match byte {
            b' ' if self.head.method.length > 0 => Ok(At::Target),
            _ if is_of(TOKEN, byte) => {
                self.head.method.push(&[byte]);
                Ok(At::Method)
            }
            _ => Err(Fault("the method is no token")),
        }
    }

    fn target(&mut self, byte: u8) -> Result<At, Fault> {
        let head = &mut self.head;
        match byte {
            b' ' => {
                head.target_form()?;
                return Ok(At::Version(0));
            }
            // The parser would cut it off.
            b'#' => return Err(Fault("the target has a fragment")),
            // Some read it as a slash.
            b'\\' if self.at == At::Target => return Err(Fault("the path holds a backslash")),
            0x21..=0x7e => {}
            _ => return Err(Fault("the target holds a character that no URL has")),
        }
        head.target.push(&[byte]);
        Ok(if byte == b'?' { At::Query } else { self.at })
    }

    fn version(&mut self, matched: usize, byte: u8) -> Result<At, Fault> {
        let odd = Fault("the version is not HTTP/1.1");
        match VERSION.get(matched) {
            Some(wanted) if *wanted == byte => {}
            None if matched == VERSION.len() && matches!(byte, b'0' | b'1') => {
                self.head.older = byte == b'0';
            }
            None if matched > VERSION.len() && byte == b'\r' => return Ok(At::LineLf),
            _ => return Err(odd),
        }
        Ok(At::Version(matched + 1))
    }

    fn field(&mut self, byte: u8) -> Result<At, Fault> {
        match byte {
            b'\r' => Ok(At::EndLf),
            b' ' | b'\t' => Err(Fault("a header is folded over two lines")),
            _ => {
                self.head.name.clear();
                self.name(byte)
            }
        }
    }

    fn name(&mut self, byte: u8) -> Result<At, Fault> {
        match byte {
            b':' if self.head.name.length > 0 => {
                self.head.value.clear();
                Ok(At::Value)
            }
            _ if is_of(TOKEN, byte) => {
                self.head.name.push(&[byte]);
                Ok(At::Name)
            }
            _ => Err(Fault("a header's name is no token")),
        }
    }

    fn value(&mut self, byte: u8) -> Result<At, Fault> {
        match byte {
            b'\r' => {
                self.head.take_field()?;
                Ok(At::LineLf)
            }
            _ if is_of(TEXT, byte) => {
                self.head.value.push(&[byte]);
                Ok(At::Value)
            }
            _ => Err(Fault("a header's value holds a control character")),
        }
    }

    /// What follows a head, or the fields behind the last chunk.
    fn framed(&mut self) -> Result<At, Fault> {
        let head = &self.head;
        if head.trailer {
            return Ok(At::Start { line: true });
        }
        if head.chunked && head.length.is_some() {
            return Err(Fault("a length and a coding"));
        }
        if head.chunked && head.older {
            return Err(Fault("HTTP/1.0 has no codings"));
        }
        let has_body = head.chunked || head.length.is_some_and(|length| length > 0);
        let takes_none = [&b"get"[..], b"head", b"trace", b"connect"];
        if has_body && takes_none.into_iter().any(|method| head.method.is(method)) {
            return Err(Fault("a body that the method does not have"));
        }
        if head.method.is(b"connect") {
            return Ok(At::Closed);
        }
        Ok(match head.length {
            _ if head.chunked => At::Size { digits: 0, size: 0 },
            None | Some(0) => At::Start { line: true },
            Some(length) => At::Body(length),
        })
    }
}

impl Head {
    /// The four forms of a target (RFC 9112, section 3.2).
    fn target_form(&self) -> Result<(), Fault> {
        let kept = &self.target.bytes[..self.target.length.min(KEPT)];
        let connects = self.method.is(b"connect");
        let starts = |with: &[u8]| {
            let start = kept.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        let fits = match kept {
            b"*" => self.method.is(b"options"),
            [b'/', ..] => !connects,
            _ if connects => !kept.is_empty(),
            _ => starts(b"http://") || starts(b"https://"),
        };
        if fits {
            Ok(())
        } else {
            Err(Fault("the target is of no form that the method has"))
        }
    }

    /// Takes a field that is whole.
    fn take_field(&mut self) -> Result<(), Fault> {
        // Of the names that matter, these are the lengths.
        if !matches!(self.name.length, 4 | 14 | 17) {
            return Ok(());
        }
        let mut name = self.name.bytes;
        name.make_ascii_lowercase();
        match &name[..self.name.length] {
            b"content-length" | b"transfer-encoding" | b"host" if self.trailer => {
                Err(Fault("a trailer that belongs into the head"))
            }
            b"content_length" | b"transfer_encoding" => Err(Fault("a header's name in disguise")),
            b"content-length" => {
                let length = self.value.trimmed().and_then(length);
                let length = length.ok_or(Fault("the length is no number"))?;
                match self.length.replace(length) {
                    Some(_) => Err(Fault("two lengths")),
                    None => Ok(()),
                }
            }
            b"transfer-encoding" => {
                let coding = self.value.trimmed();
                if !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
                    return Err(Fault("a coding other than chunked"));
                }
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(Fault("two codings"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Digits alone, without a leading zero, which some take for the sign of another base.
fn length(text: &[u8]) -> Option<u64> {
    let plain = text.iter().all(u8::is_ascii_digit) && !matches!(text, [] | [b'0', _, ..]);
    if !plain || text.len() > DIGITS {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn chunk_size(digits: usize, size: u64, byte: u8) -> Result<At, Fault> {
    let odd = Fault("the size of a chunk is no number");
    match byte {
        b'\r' if digits > 0 => Ok(At::SizeLf(size)),
        b';' if digits > 0 => Ok(At::Extension(size)),
        _ if digits < DIGITS => {
            let digit = char::from(byte).to_digit(16).ok_or(odd)?;
            Ok(At::Size {
                digits: digits + 1,
                size: size * 16 + u64::from(digit),
            })
        }
        _ => Err(odd),
    }
}

fn line_feed(byte: u8, next: At) -> Result<At, Fault> {
    if byte == b'\n' {
        Ok(next)
    } else {
        Err(Fault("a carriage return that ends no line"))
    }
}

/// Bytes of names and methods (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// Bytes of values (RFC 9110, section 5.5), those from before UTF-8 included.
const TEXT: u8 = 2;
/// Bytes that a path goes on with.
const PATH: u8 = 4;
/// The same for a query.
const QUERY: u8 = 8;

/// Which kinds of text each byte can stand in: a table, because every byte of every head is looked up.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut kind = 0;
        if byte.is_ascii_alphanumeric() {
            kind |= TOKEN;
        }
        if !matches!(byte, 0..=8 | 10..=31 | 127) {
            kind |= TEXT;
        }
        if matches!(byte, 0x21..=0x7e) && byte != b'#' {
            kind |= QUERY;
            if byte != b'?' && byte != b'\\' {
                kind |= PATH;
            }
        }
        kinds[byte as usize] = kind;
        if byte == 255 {
            break;
        }
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        kinds[others[at] as usize] |= TOKEN;
        at += 1;
    }
    kinds
};

fn is_of(kind: u8, byte: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

fn least(length: u64, left: usize) -> usize {
    usize::try_from(length).map_or(left, |length| length.min(left))
}

#[cfg(test)]
mod tests;
