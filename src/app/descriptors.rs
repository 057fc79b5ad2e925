//! How many connections the operating system lets this process have. A connection that is
//! accepted beyond that has no descriptor left for its provider, and neither has the ledger.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{File, Mode};

/// Kept for the ledger, the listeners, the node, and health checks.
const RESERVED: u64 = 64;

/// At most this many are asked for; some systems refuse more.
const ENOUGH: u64 = 1 << 20;

/// Raises the soft limit as far as it goes, and answers with how many connections there is room
/// for, of those that the configuration wants.
pub(super) fn room(file: &File) -> usize {
    let wanted = file.limits.connections;
    let each = match file.tailnet.mode {
        // The node has the other end of a caller's socket.
        Mode::Embedded => 3,
        Mode::Host | Mode::Off => 2,
    };
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let mut now = limit.current.unwrap_or(ENOUGH);
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    if now < most && setrlimit(Resource::Nofile, raised).is_ok() {
        now = most;
    }
    let room = within(now, each).min(wanted);
    if room < wanted {
        tracing::info!(
            "room for {room} connections of the {wanted} in limits.connections: the limit on open \
             files is {now}"
        );
    }
    room
}

/// How many connections so many descriptors allow; at least one.
fn within(descriptors: u64, each: u64) -> usize {
    let left = descriptors.saturating_sub(RESERVED) / each;
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_one_to_its_provider_as_well() {
        assert_eq!(within(192, 2), 64);
        assert_eq!(within(1_024, 3), 320);
        assert_eq!(within(10, 2), 1);
    }
}
