//! Addresses of names. The system's resolver blocks a thread for as long as a silent server makes it
//! wait, and can't be interrupted; requests that have given up must not take all threads with it.
//! Those for the same name share a lookup, and only so many run at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

/// Lookups that run at once: each has a thread, of which blocking work has some hundreds.
const AT_ONCE: usize = 32;
/// A lookup that has taken longer may wait for a server that is gone: others begin one of their own.
const SHARED_FOR: Duration = Duration::from_secs(5);

type Resolver = fn(&str) -> io::Result<Vec<IpAddr>>;
/// Errors can't be copied, but what they say can.
type Outcome = Option<Result<Vec<IpAddr>, (io::ErrorKind, String)>>;

struct Names {
    turns: Arc<Semaphore>,
    running: Mutex<HashMap<String, (Instant, watch::Receiver<Outcome>)>>,
    resolver: Resolver,
}

static NAMES: std::sync::LazyLock<Arc<Names>> = std::sync::LazyLock::new(|| Names::new(system));

fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = (host, 0).to_socket_addrs()?;
    Ok(addresses.map(|address| address.ip()).collect())
}

/// The addresses of a host.
///
/// # Errors
/// The resolver's own.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => NAMES.find(host).await?,
    };
    let with_port = |address| SocketAddr::new(address, port);
    Ok(found.into_iter().map(with_port).collect())
}

impl Names {
    fn new(resolver: Resolver) -> Arc<Self> {
        Arc::new(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            running: Mutex::default(),
            resolver,
        })
    }

    async fn find(self: &Arc<Self>, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut lookup = self.lookup(host);
        let outcome = lookup.wait_for(Option::is_some).await;
        match outcome.ok().as_deref() {
            Some(Some(Ok(addresses))) => Ok(addresses.clone()),
            Some(Some(Err((kind, why)))) => Err(io::Error::new(*kind, why.clone())),
            _ => Err(io::Error::other("the lookup of the name failed")),
        }
    }

    /// The lookup of a name that runs, or a new one.
    fn lookup(self: &Arc<Self>, host: &str) -> watch::Receiver<Outcome> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, lookup)) = running.get(host)
            && began.elapsed() < SHARED_FOR
            && lookup.has_changed().is_ok()
        {
            return lookup.clone();
        }
        let (send, lookup) = watch::channel(None);
        running.insert(host.to_owned(), (Instant::now(), lookup.clone()));
        drop(running);
        let (names, host) = (Arc::clone(self), host.to_owned());
        tokio::spawn(async move {
            let found = names.look_up(&host).await;
            let found = found.map_err(|error| (error.kind(), error.to_string()));
            names.ended(&host, &send);
            send.send_replace(Some(found));
        });
        lookup
    }

    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let (resolver, host) = (self.resolver, host.to_owned());
        let looking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            resolver(&host)
        });
        looking.await.map_err(io::Error::other)?
    }

    fn ended(&self, host: &str, lookup: &watch::Sender<Outcome>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = lookup.subscribe();
        if running
            .get(host)
            .is_some_and(|(_, latest)| latest.same_channel(&ended))
        {
            running.remove(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn addresses_and_names_are_resolved() {
        let found = resolve("127.0.0.1", 80).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        let found = resolve("::1", 80).await.unwrap();
        assert_eq!(found, ["[::1]:80".parse().unwrap()]);
        let found = resolve("localhost", 81).await.unwrap();
        assert!(!found.is_empty());
        let is_right = |address: &SocketAddr| address.ip().is_loopback() && address.port() == 81;
        assert!(found.iter().all(is_right), "{found:?}");
    }

    #[tokio::test]
    async fn a_silent_resolver_takes_few_threads() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static IS_BACK: AtomicBool = AtomicBool::new(false);
        let names = Names::new(|host| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            let now = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(now, Ordering::SeqCst);
            while host == "one" && !IS_BACK.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            std::thread::park_timeout(Duration::from_millis(20));
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            if host == "none" {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
            }
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        });
        // A thousand requests for one name, most of which give up.
        let waits: Vec<_> = (0..1_000).map(|_| names.find("one")).collect();
        let all = futures_util::future::join_all(waits);
        let in_time = tokio::time::timeout(Duration::from_millis(1), all).await;
        assert!(in_time.is_err());
        let mut waits = Box::pin(names.find("one"));
        assert!(futures_util::poll!(&mut waits).is_pending());
        IS_BACK.store(true, Ordering::SeqCst);
        assert_eq!(waits.await.unwrap().len(), 1);
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
        let error = names.find("none").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "no such name");
        assert!(names.running.lock().unwrap().is_empty());
        // And for many names.
        let many: Vec<String> = (0..100).map(|at| format!("name-{at}")).collect();
        let waits = many.iter().map(|name| names.find(name));
        let found = futures_util::future::join_all(waits).await;
        assert!(found.iter().all(Result::is_ok));
        assert!(MOST.load(Ordering::SeqCst) <= AT_ONCE);
        // Nothing is remembered: a name that moves is found.
        names.find("one").await.unwrap();
        assert_eq!(CALLS.load(Ordering::SeqCst), 103);
    }
}
