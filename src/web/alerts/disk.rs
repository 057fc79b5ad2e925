//! Room on the disk that holds node keys and records.

use std::path::Path;

use super::{Severity, Warning};

const MIB: u64 = 1 << 20;

/// Room as a share of the whole, or in bytes: a tenth of a small disk is as little as two gibibytes of
/// a large one.
struct Room {
    share: u64,
    bytes: u64,
}

/// Below both of these, there is little.
const LITTLE: Room = Room {
    share: 10,
    bytes: 2_048 * MIB,
};
/// Below either of these, there is next to none.
const NONE: Room = Room {
    share: 50,
    bytes: 256 * MIB,
};

/// Looks at the disk of a folder. A disk that can't be looked at gives no alert: the ledger fails then.
pub(super) async fn warning(dir: &Path) -> Option<Warning> {
    let of = dir.to_owned();
    // A file system over the network can take its time.
    let stat = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&of));
    let stat = stat.await.ok()?.ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let whole = stat.f_blocks.saturating_mul(stat.f_frsize);
    let severity = severity(free, whole)?;
    let message = format!(
        "the disk of {} is nearly full: {} MiB of {} MiB are left",
        dir.display(),
        free / MIB,
        whole / MIB
    );
    let hint = "make room, or keep captures for a shorter time: database.retention";
    Some(super::warning("disk_full", message, hint).severity(severity))
}

fn severity(free: u64, whole: u64) -> Option<Severity> {
    let below = |room: Room| free < room.bytes.min(whole / room.share);
    if below(NONE) {
        Some(Severity::Critical)
    } else {
        below(LITTLE).then_some(Severity::Warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_little_depends_on_the_disk() {
        let gib = 1_024 * MIB;
        assert_eq!(severity(3 * gib, 1_000 * gib), None);
        assert_eq!(severity(gib, 1_000 * gib), Some(Severity::Warning));
        assert_eq!(severity(100 * MIB, 1_000 * gib), Some(Severity::Critical));
        assert_eq!(severity(600 * MIB, 5 * gib), None);
        assert_eq!(severity(400 * MIB, 5 * gib), Some(Severity::Warning));
        assert_eq!(severity(MIB, 100 * MIB), Some(Severity::Critical));
        // Some virtual file systems have no size.
        assert_eq!(severity(0, 0), None);
    }
}
