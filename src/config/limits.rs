//! The sections `limits` and `timeouts`: bounds in bytes, connections and time.

use std::time::Duration;

use super::readers::{Count, Perhaps};
use super::section;

section! {
    /// Bounds in bytes and connections.
    #[derive(Clone, Copy, Debug)]
    pub struct Limits {
        /// Longest request body, in bytes.
        request_body: usize = 64 << 20 => Count(1, 1 << 32),
        /// Longest request head, in bytes.
        // hyper needs 8 KiB to work with.
        request_head: usize = 64 << 10 => Count(8 << 10, 16 << 20),
        /// Connections open at once, if the limit on open files suffices. A change takes a restart.
        #[key(start)]
        connections: usize = 16_384 => Count(1, 1 << 20),
        /// What is kept of each body, in bytes.
        capture: usize = 4 << 20 => Count(0, 64 << 20),
        /// What responses that are kept for the same request take on disk, in bytes; 0 keeps none. See [CACHE.md](CACHE.md).
        cache: u64 = 256 << 20 => Count(0, 1 << 40),
        /// What callers' files and the results of batches take on disk, in bytes; each caller may take a half of it. 0 keeps none. See [JOBS.md](JOBS.md).
        files: u64 = 1 << 30 => Count(0, 1 << 44),
        /// What all bodies hold at once, in bytes: a request counts as three times its length. Beyond it, requests wait. Without it, half of the memory that the container or the machine has; see [CONTAINERS.md](CONTAINERS.md#memory).
        #[key(example = "536870912")]
        memory: Option<usize> => Perhaps(Count(16 << 20, 1 << 40)),
    }
}

section! {
    /// Time limits; zero turns one off.
    #[derive(Clone, Copy, Debug)]
    pub struct Timeouts {
        /// For a connection to a provider. A connection on which a provider acknowledges nothing for about as long counts as dead.
        // The first contact of two tailnet nodes can take ten seconds.
        connect: Duration = Duration::from_secs(20),
        /// For a request's head, and for an idle connection of HTTP/2.
        head: Duration = Duration::from_mins(1),
        /// Between two pieces of a request's body, which has to come at 1 KiB a second at least.
        body: Duration = Duration::from_secs(30),
        /// From a request to the first byte of its answer.
        first_byte: Duration = Duration::from_mins(10),
        /// Between two pieces of an answer, and for its caller to take one.
        idle: Duration = Duration::from_mins(5),
        /// For a whole answer.
        total: Duration = Duration::from_hours(1),
        /// For running requests when the process stops.
        shutdown: Duration = Duration::from_secs(30),
    }
}
