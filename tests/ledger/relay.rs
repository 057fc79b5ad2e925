//! A relay between the ledger and its server: it counts round trips, and does what networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use support::postgres::Server;

#[derive(Clone)]
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// The port that new connections lead to.
    to: AtomicU16,
    /// How often a client has said something after the server had.
    turns: AtomicUsize,
    opened: AtomicUsize,
    /// The next connection on which a commit succeeds breaks before its client hears of it.
    loses_commit: AtomicBool,
    /// Ends the connections that there are.
    cut: Mutex<CancellationToken>,
    /// Those that there are, and whether nothing passes any more.
    silent: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Relay {
    pub(crate) async fn start(server: &Server) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay {
            address: listener.local_addr().unwrap(),
            state: Arc::new(State {
                to: AtomicU16::new(server.port),
                turns: AtomicUsize::new(0),
                opened: AtomicUsize::new(0),
                loses_commit: AtomicBool::new(false),
                cut: Mutex::default(),
                silent: Mutex::default(),
            }),
        };
        let state = Arc::clone(&relay.state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&state).pass(client));
            }
        });
        relay
    }

    /// The URL of a server, by way of the relay.
    pub(crate) fn url(&self, database: &str) -> String {
        let user = support::postgres::USER;
        format!("postgres://{user}@{}/{database}", self.address)
    }

    /// Leads new connections to another server.
    pub(crate) fn lead_to(&self, server: &Server) {
        self.state.to.store(server.port, Ordering::Relaxed);
    }

    /// Closes the connections that there are.
    pub(crate) fn cut(&self) {
        let mut cut = self.state.cut.lock().unwrap();
        std::mem::take(&mut *cut).cancel();
    }

    /// Lets nothing through any more on the connections that there are, and closes none.
    pub(crate) fn forget(&self) {
        for silent in self.state.silent.lock().unwrap().iter() {
            silent.store(true, Ordering::Relaxed);
        }
    }

    /// Breaks the next connection on which a commit succeeds, before its client hears of it.
    pub(crate) fn lose_commit(&self) {
        self.state.loses_commit.store(true, Ordering::Relaxed);
    }

    /// Whether that has not happened yet.
    pub(crate) fn loses_commit(&self) -> bool {
        self.state.loses_commit.load(Ordering::Relaxed)
    }

    /// Round trips until now.
    pub(crate) fn turns(&self) -> usize {
        self.state.turns.load(Ordering::Relaxed)
    }

    /// Connections until now.
    pub(crate) fn opened(&self) -> usize {
        self.state.opened.load(Ordering::Relaxed)
    }
}

impl State {
    async fn pass(self: Arc<Self>, client: TcpStream) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let to = self.to.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
            return;
        };
        let silent = Arc::new(AtomicBool::new(false));
        self.silent.lock().unwrap().push(Arc::clone(&silent));
        let cut = self.cut.lock().unwrap().clone();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let asks = AtomicBool::new(false);
        let up = async {
            copy(&mut from_client, &mut to_server, &silent, |_| {
                if !asks.swap(true, Ordering::Relaxed) {
                    self.turns.fetch_add(1, Ordering::Relaxed);
                }
                true
            })
            .await;
        };
        let down = copy(&mut from_server, &mut to_client, &silent, |said| {
            asks.store(false, Ordering::Relaxed);
            let is_commit = said.windows(7).any(|tag| tag == b"COMMIT\0");
            !(is_commit && self.loses_commit.swap(false, Ordering::Relaxed))
        });
        tokio::select! {
            () = cut.cancelled() => {}
            () = up => {}
            () = down => {}
        }
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    silent: &AtomicBool,
    mut passes: impl FnMut(&[u8]) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        if silent.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let has_passed = passes(&bytes[..count]);
        if count == 0 || !has_passed || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
