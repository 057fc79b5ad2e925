//! Connecting to a name with several addresses: "happy eyeballs" (RFC 8305). Where the first
//! address swallows packets, as broken IPv6 does, the next one is tried after a moment instead of
//! after the whole time limit. Names are resolved for each connection, so one that moves is found.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Alive, of};

/// How long an attempt has for itself before the next one begins ("Connection Attempt Delay").
const DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of the addresses that answers, with room for `receive` bytes. The
/// connection fails once its peer has acknowledged nothing for about `silence`.
///
/// # Errors
/// Why each address failed.
pub async fn connect(
    addresses: Vec<SocketAddr>,
    receive: u32,
    silence: Duration,
) -> io::Result<Alive<TcpStream>> {
    let addresses = alternating(addresses.into_iter());
    let stream = race(addresses, move |address| async move {
        let socket = of(address)?;
        if let Err(error) = socket.set_recv_buffer_size(receive) {
            tracing::debug!(%error, "a connection has the system's own room for answers");
        }
        socket.connect(address).await
    })
    .await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection waits to fill its packets");
    }
    Ok(Alive::new(stream, silence))
}

/// The addresses with both families in turn, beginning with the family of the first.
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut rest: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !rest.contains(&address) {
            rest.push(address);
        }
    }
    let first_is_v6 = rest.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// The first success of attempts that begin one after the other: the next when one fails, or when
/// the last one has had its time. Those that come too late are dropped.
async fn race<T, F>(
    mut addresses: VecDeque<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut failed: Vec<(SocketAddr, io::Error)> = Vec::new();
    while let Some(address) = addresses.pop_front() {
        let one = attempt(address);
        running.spawn(async move { (address, one.await) });
        let late = tokio::time::sleep(DELAY);
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                Some(ended) = running.join_next() => match ended.map_err(io::Error::other)? {
                    (_, Ok(connected)) => return Ok(connected),
                    (address, Err(error)) => {
                        failed.push((address, error));
                        // The others go on beside the next.
                        if running.is_empty() || !addresses.is_empty() {
                            break;
                        }
                    }
                },
                () = &mut late, if !addresses.is_empty() => break,
                else => break,
            }
        }
    }
    Err(all_failed(failed))
}

/// One error for all addresses, of the kind of the first.
fn all_failed(mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match failed.len() {
        0 => io::Error::new(io::ErrorKind::InvalidInput, "the name has no address"),
        1 => failed.remove(0).1,
        _ => {
            let each: Vec<String> = failed
                .iter()
                .map(|(address, error)| format!("{address}: {error}"))
                .collect();
            io::Error::new(failed[0].1.kind(), each.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> VecDeque<SocketAddr> {
        text.split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect()
    }

    #[test]
    fn families_take_turns() {
        for (given, expected) in [
            (
                "[::1]:1 [::2]:1 1.1.1.1:1 1.1.1.2:1",
                "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1",
            ),
            (
                "1.1.1.1:1 1.1.1.2:1 1.1.1.3:1 [::1]:1",
                "1.1.1.1:1 [::1]:1 1.1.1.2:1 1.1.1.3:1",
            ),
            ("1.1.1.1:1 1.1.1.1:1", "1.1.1.1:1"),
            ("", ""),
        ] {
            let ordered = alternating(addresses(given).into_iter());
            assert_eq!(ordered, addresses(expected), "{given}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_when_one_is_silent_or_fails() {
        // By its last octet: 1 is silent, 2 fails at once, 3 answers after a second.
        let attempt = |address: SocketAddr| async move {
            match address.to_string().as_str() {
                "10.0.0.1:1" => std::future::pending().await,
                "10.0.0.2:1" => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                _ => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(address)
                }
            }
        };
        for (given, milliseconds) in [
            ("10.0.0.3:1", 1_000),
            ("10.0.0.1:1 10.0.0.3:1", 1_250),
            ("10.0.0.2:1 10.0.0.3:1", 1_000),
            ("10.0.0.1:1 10.0.0.2:1 10.0.0.3:1", 1_250),
            ("10.0.0.3:1 10.0.0.2:1 10.0.0.2:1", 1_000),
        ] {
            let began = tokio::time::Instant::now();
            let connected = race(addresses(given), attempt).await.unwrap();
            assert_eq!(connected.to_string(), "10.0.0.3:1", "{given}");
            let took = began.elapsed().as_millis();
            assert!(
                (milliseconds..milliseconds + 20).contains(&took),
                "{given}: {took}"
            );
        }
    }

    #[tokio::test]
    async fn an_error_names_each_address() {
        let refused = |_| async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
        let error = race(addresses("10.0.0.2:1 [::2]:1"), refused).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            error.to_string(),
            "10.0.0.2:1: connection refused; [::2]:1: connection refused"
        );
        let none = race(VecDeque::new(), refused).await.unwrap_err();
        assert_eq!(none.to_string(), "the name has no address");
    }
}
