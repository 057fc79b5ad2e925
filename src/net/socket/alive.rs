//! Connections whose peer may vanish without a word: its machine loses power, or a firewall forgets
//! the connection. A peer that is at work and a peer that is gone are equally silent, but only the
//! first one's kernel acknowledges what it is sent.
//!
//! Two things tell them apart. Keepalive probes do while everything that was sent is acknowledged.
//! While something isn't, the kernel would go on for a quarter of an hour, so the connection is
//! looked up in its table. `TCP_USER_TIMEOUT` would end connections too whose peer acknowledges
//! everything and only has no room, such as a model server that reads a long request after those
//! before it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::net::pass_writes::pass_writes;

/// Looks at a silent connection in this part of the time that it has.
const PART: u32 = 8;
/// The kernel's own timers count seconds.
const SHORTEST: Duration = Duration::from_secs(4);
/// Half of it is the longest time that the kernel takes for its probes.
const LONGEST: Duration = Duration::from_secs(2 * 32_767);

/// Soon enough after a look that could not tell yet.
const SOON: Duration = Duration::from_millis(100);

/// Whether something isn't acknowledged, if that is known yet.
type Look = fn([SocketAddr; 2]) -> Option<bool>;

/// A connection that fails once its peer is gone.
pub struct Alive<S> {
    inner: S,
    ends: Option<[SocketAddr; 2]>,
    silence: Duration,
    /// Something was sent since something was last received.
    is_waiting: bool,
    next_look: Pin<Box<Sleep>>,
    /// No look is due before.
    look_from: Instant,
    /// Since when each look has found that something isn't acknowledged.
    unacknowledged: Option<Instant>,
    look: Look,
}

impl Alive<TcpStream> {
    /// Has the kernel probe the peer, and watches `stream`. A connection works without the options
    /// too: not every system has them all.
    pub fn new(stream: TcpStream, silence: Duration) -> Self {
        let silence = silence.clamp(SHORTEST, LONGEST);
        if let Err(error) = probed(&stream, silence) {
            tracing::debug!(%error, "a connection is not kept alive");
        }
        let ends = match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => Some([local, peer]),
            // It is closed already, which the first read will tell.
            _ => None,
        };
        Self::watched(stream, ends, silence, table::is_unacknowledged)
    }
}

fn probed(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    let whole = |time: Duration| Duration::from_secs(time.as_secs().max(1));
    // The times come first: without them, probes would begin after hours.
    sockopt::set_tcp_keepidle(stream, whole(silence / 2))?;
    sockopt::set_tcp_keepintvl(stream, whole(silence / PART))?;
    sockopt::set_tcp_keepcnt(stream, PART / 2)?;
    Ok(sockopt::set_socket_keepalive(stream, true)?)
}

impl<S> Alive<S> {
    fn watched(inner: S, ends: Option<[SocketAddr; 2]>, silence: Duration, look: Look) -> Self {
        Self {
            inner,
            ends,
            silence,
            is_waiting: false,
            next_look: Box::pin(tokio::time::sleep(silence / PART)),
            look_from: Instant::now(),
            unacknowledged: None,
            look,
        }
    }

    /// Fails if the peer is gone; else wakes the task for the next look.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(ends) = self.ends.filter(|_| self.is_waiting) else {
            return Poll::Pending;
        };
        while self.next_look.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now < self.look_from {
                self.next_look.as_mut().reset(self.look_from);
                continue;
            }
            let mut next = self.silence / PART;
            match (self.look)(ends) {
                Some(true) => {
                    let since = *self.unacknowledged.get_or_insert(now);
                    if now.duration_since(since) >= self.silence * (PART - 2) / PART {
                        return Poll::Ready(gone(self.silence));
                    }
                }
                Some(false) => self.unacknowledged = None,
                None => next = SOON,
            }
            self.next_look.as_mut().reset(now + next);
        }
        Poll::Pending
    }

    /// Writes, and starts the checks if none were due. The task has often asked for what there
    /// is to read just before, and would not ask again of its own accord. The timer is set when it
    /// fires, and not for each request.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.unacknowledged = None;
            self.look_from = Instant::now() + self.silence / PART;
            if self.next_look.as_mut().poll(cx).is_ready() {
                self.next_look.as_mut().reset(self.look_from);
                let _ = self.next_look.as_mut().poll(cx);
            }
        }
        write(&mut self.inner, cx)
    }
}

/// The error of a connection whose peer is gone.
fn gone(silence: Duration) -> io::Error {
    let seconds = silence.as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the connection is dead: nothing was acknowledged for {seconds} s"),
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Alive<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            self.is_waiting = false;
            return Poll::Ready(read);
        }
        self.poll_gone(cx).map(Err)
    }
}

pass_writes!(Alive, write);

/// The kernel's table of connections.
mod table {
    use std::collections::HashSet;
    use std::fmt::Write;
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::net::{IpAddr, SocketAddr};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{PoisonError, RwLock};
    use std::time::{Duration, Instant};

    /// For how long what was read is used: all silent connections share it.
    const FRESH: Duration = Duration::from_millis(400);

    /// What a table says of connections on which the kernel repeats itself: nearly always there are
    /// none, while the table can have many thousands of lines.
    struct Table {
        path: &'static str,
        repeated: RwLock<Option<(Instant, HashSet<String>)>>,
        is_being_read: AtomicBool,
    }

    impl Table {
        const fn new(path: &'static str) -> Self {
            Self {
                path,
                repeated: RwLock::new(None),
                is_being_read: AtomicBool::new(false),
            }
        }
    }

    /// The tables of IPv4 and IPv6.
    static TABLES: [Table; 2] = [
        Table::new("/proc/self/net/tcp"),
        Table::new("/proc/self/net/tcp6"),
    ];

    /// Whether the kernel has sent something again because the peer did not acknowledge it; `None`
    /// while the table is being read, which a thread does. Where there is no such table, this is
    /// never so.
    pub(super) fn is_unacknowledged([local, peer]: [SocketAddr; 2]) -> Option<bool> {
        let table = &TABLES[usize::from(local.is_ipv6())];
        {
            let repeated = table
                .repeated
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some((at, ends)) = &*repeated
                && at.elapsed() <= FRESH
            {
                return Some(!ends.is_empty() && ends.contains(&key(local, peer)));
            }
        }
        if !table.is_being_read.swap(true, Ordering::AcqRel) {
            let reader = std::thread::Builder::new().name("connections".to_owned());
            if let Err(error) = reader.spawn(|| refresh(table)) {
                tracing::debug!(%error, "connections are not looked at");
                table.is_being_read.store(false, Ordering::Release);
            }
        }
        None
    }

    fn refresh(table: &Table) {
        let file = File::open(table.path).map(|file| BufReader::with_capacity(64 << 10, file));
        let ends = file.map_or_else(|_| HashSet::new(), repeated);
        let now = Instant::now();
        *table
            .repeated
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some((now, ends));
        table.is_being_read.store(false, Ordering::Release);
    }

    /// The ends of connections on which the kernel repeats itself.
    pub(super) fn repeated(text: impl BufRead) -> HashSet<String> {
        let lines = text.lines().map_while(Result::ok);
        lines
            .filter_map(|line| {
                let (local, peer, attempts) = attempts(&line)?;
                (attempts > 0).then(|| format!("{local} {peer}"))
            })
            .collect()
    }

    /// The ends of a connection, and how often the kernel has repeated itself since the last
    /// acknowledgement: data (`retrnsmt`), or questions whether the peer has room again (`timeout`).
    pub(super) fn attempts(line: &str) -> Option<(&str, &str, u64)> {
        // sl, local, peer, st, tx:rx, tr:tm, retrnsmt, uid, timeout
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, peer) = (fields.next()?, fields.next()?);
        let repeated = u64::from_str_radix(fields.nth(3)?, 16).ok()?;
        let asked: u64 = fields.nth(1)?.parse().ok()?;
        Some((local, peer, repeated + asked))
    }

    /// The ends of a connection as the table has them.
    pub(super) fn key(local: SocketAddr, peer: SocketAddr) -> String {
        let mut text = String::with_capacity(75);
        write(&mut text, local);
        text.push(' ');
        write(&mut text, peer);
        text
    }

    /// An address as the table has it: words of the machine's own byte order, in hexadecimal.
    fn write(text: &mut String, address: SocketAddr) {
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        for word in octets.chunks_exact(4) {
            let word = <[u8; 4]>::try_from(word).unwrap_or_default();
            let _ = write!(text, "{:08X}", u32::from_ne_bytes(word));
        }
        let _ = write!(text, ":{:04X}", address.port());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ENDS: [&str; 2] = ["10.9.0.9:43210", "10.9.0.1:80"];

    fn ends() -> [SocketAddr; 2] {
        ENDS.map(|end| end.parse().unwrap())
    }

    #[test]
    fn the_table_is_read() {
        let [local, peer] = ends();
        let key = table::key(local, peer);
        for (tail, expected) in [
            (
                "00000000:00000000 00:00000000 00000000     0        0",
                false,
            ),
            (
                "000000A0:00000000 01:00000010 0000000A     0        0",
                true,
            ),
            (
                "000000A0:00000000 04:00000010 00000000     0        3",
                true,
            ),
            ("", false),
        ] {
            let text = format!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000009     0        9 1 1\n   1: {key} 01 {tail} 5 1 0\n"
            );
            let found = table::repeated(text.as_bytes());
            assert_eq!(found.contains(&key), expected, "{tail}");
            assert!(!found.contains(&table::key(peer, local)), "{tail}");
        }
    }

    #[tokio::test]
    async fn the_kernel_knows_the_connections_of_this_process() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(address).await else {
                continue;
            };
            let to = listener.local_addr().unwrap();
            let stream = TcpStream::connect(to).await.unwrap();
            let path = if to.is_ipv6() { "tcp6" } else { "tcp" };
            let Ok(text) = std::fs::read_to_string(format!("/proc/self/net/{path}")) else {
                continue;
            };
            let key = table::key(stream.local_addr().unwrap(), to);
            let line = text.lines().find(|line| line.contains(&key)).unwrap();
            assert_eq!(table::attempts(line).unwrap().2, 0, "{address}");
            let both = [stream.local_addr().unwrap(), to];
            // Read by a thread, and soon known.
            let mut found = table::is_unacknowledged(both);
            for _ in 0..1_000 {
                if found.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                found = table::is_unacknowledged(both);
            }
            assert_eq!(found, Some(false), "{address}");
            let mut alive = Alive::new(stream, Duration::from_secs(20));
            for (silence, expected) in [
                (Duration::from_secs(20), 10),
                (Duration::ZERO, 2),
                (Duration::from_hours(24), 32_767),
                (Duration::MAX, 32_767),
            ] {
                alive = Alive::new(alive.inner, silence);
                assert!(sockopt::socket_keepalive(&alive.inner).unwrap());
                let idle = sockopt::tcp_keepidle(&alive.inner).unwrap();
                assert_eq!(idle, Duration::from_secs(expected), "{silence:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_peer_that_acknowledges_nothing_is_gone() {
        let silence = Duration::from_secs(20);
        for (look, gone) in [
            ((|_| Some(true)) as Look, true),
            (|_| Some(false), false),
            (|_| None, false),
        ] {
            let (near, mut far) = tokio::io::duplex(64);
            let mut alive = Alive::watched(near, Some(ends()), silence, look);
            let mut piece = [0; 8];
            // Nothing was sent: a connection that is only kept is left to the kernel's probes.
            let idle = tokio::time::timeout(silence * 10, alive.read(&mut piece));
            assert!(idle.await.is_err());
            // As a client of HTTP does: the read is asked for before the write.
            let began = Instant::now();
            let (mut reader, mut writer) = tokio::io::split(&mut alive);
            let waited = tokio::time::timeout(silence * 10, async {
                tokio::join!(biased; reader.read(&mut piece), writer.write_all(b"ask")).0
            })
            .await;
            assert_eq!(waited.is_ok(), gone);
            if let Ok(read) = waited {
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
                assert!(began.elapsed() <= silence, "{:?}", began.elapsed());
            }
            far.write_all(b"answer").await.unwrap();
            assert_eq!(alive.read(&mut piece).await.unwrap(), 6);
        }
    }
}
