//! How much memory there is: the limits of the control groups that the process is in, of both
//! versions, and what the machine has.
//!
//! `/proc/meminfo` is hidden from a service with `ProcSubset=pid`, so the kernel is asked as well.

use std::path::{Path, PathBuf};

/// The tightest limit, in bytes; `None` where nothing is known.
pub(super) fn limit() -> Option<usize> {
    tightest(limit_below(Path::new("/")), total())
}

fn tightest(files: Option<usize>, kernel: Option<usize>) -> Option<usize> {
    files.into_iter().chain(kernel).min()
}

/// What the machine has, by the kernel's own answer.
#[cfg(target_os = "linux")]
fn total() -> Option<usize> {
    let info = rustix::system::sysinfo();
    let unit = usize::try_from(info.mem_unit).ok()?.max(1);
    let total = usize::try_from(info.totalram).ok()?.checked_mul(unit)?;
    (total > 0).then_some(total)
}

#[cfg(not(target_os = "linux"))]
fn total() -> Option<usize> {
    None
}

/// The same with the system's files below `root`.
fn limit_below(root: &Path) -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let folders = folders(&groups, &mounts);
    let of_groups = folders.iter().filter_map(|(folder, file)| {
        let folder = root.join(folder.strip_prefix("/").unwrap_or(folder));
        limit_in(&folder.join(file))
    });
    of_groups.chain(machine(&read("proc/meminfo"))).min()
}

/// No machine has so much: the first version of control groups writes "none" as a number.
const ABSURD: u64 = 1 << 50;

/// The limit in a file; `None` for `max`, and for more than any machine has.
fn limit_in(path: &Path) -> Option<usize> {
    let limit: u64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let limit = (limit > 0 && limit < ABSURD).then_some(limit)?;
    usize::try_from(limit).ok()
}

fn machine(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The folders of the process's control group and of those around it, with the file in which each
/// has its limit.
fn folders(groups: &str, mounts: &str) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for line in groups.lines() {
        // hierarchy:controllers:path
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let file = if controllers.is_empty() {
            "memory.max"
        } else if controllers.split(',').any(|one| one == "memory") {
            "memory.limit_in_bytes"
        } else {
            continue;
        };
        let Some((root, point)) = mounted(mounts, controllers.is_empty()) else {
            continue;
        };
        // In a container, the path can begin outside of what is mounted.
        let inside = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
        let folder = point.join(inside.strip_prefix("/").unwrap_or(inside));
        let around = folder.ancestors().take_while(|one| one.starts_with(&point));
        found.extend(around.map(|one| (one.to_owned(), file)));
    }
    found
}

/// What is mounted of the hierarchy that has limits of memory: its root there, and where.
fn mounted(mounts: &str, is_unified: bool) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        // id parent device root point options optional… - type source super-options
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
        let is_it = match kind {
            "cgroup2" => is_unified,
            "cgroup" => !is_unified && options.split(',').any(|one| one == "memory"),
            _ => false,
        };
        is_it.then(|| (root.into(), point.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(files: &[(&str, &str)]) -> Option<usize> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        limit_below(dir.path())
    }

    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    const OLD: &str = "25 23 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
        36 25 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        37 25 0:34 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
    );

    #[test]
    fn the_tightest_limit_counts() {
        let gib = 1 << 30;
        let group = ("proc/self/cgroup", "0::/system.slice/iris.service\n");
        let mounts = ("proc/self/mountinfo", UNIFIED);
        let own = "sys/fs/cgroup/system.slice/iris.service/memory.max";
        let around = "sys/fs/cgroup/system.slice/memory.max";
        for (files, limit) in [
            (vec![], 16_384_000 * 1_024),
            (vec![(own, "1073741824\n")], gib),
            (vec![(own, "max\n"), (around, "1073741824\n")], gib),
            (vec![(own, "2147483648\n"), (around, "1073741824\n")], gib),
            (vec![(own, "max\n"), (around, "max\n")], 16_384_000 * 1_024),
            (vec![(own, "9999999999999\n")], 16_384_000 * 1_024),
        ] {
            let all = [&[group, mounts, MACHINE][..], &files].concat();
            assert_eq!(world(&all), Some(limit), "{files:?}");
        }
    }

    #[test]
    fn containers_see_their_own_folder_as_the_root() {
        let limit = ("sys/fs/cgroup/memory.max", "536870912\n");
        // With a namespace of its own, and without one: what is mounted begins at its own group.
        for (group, mounts) in [
            ("0::/\n", UNIFIED),
            (
                "0::/docker/abc\n",
                "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
            ),
            (
                "0::/../outside\n",
                "30 23 0:26 /x /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
            ),
        ] {
            let files = [
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", mounts),
                limit,
                MACHINE,
            ];
            assert_eq!(world(&files), Some(512 << 20), "{group}");
        }
    }

    #[test]
    fn the_first_version_has_limits_too() {
        let groups = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n";
        let own = "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes";
        let none = "9223372036854771712\n";
        for (own_limit, top, limit) in [
            ("1073741824\n", none, 1 << 30),
            (none, "1073741824\n", 1 << 30),
            (none, none, 16_384_000 * 1_024),
        ] {
            let files = [
                ("proc/self/cgroup", groups),
                ("proc/self/mountinfo", OLD),
                (own, own_limit),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", top),
                MACHINE,
            ];
            assert_eq!(world(&files), Some(limit));
        }
        assert_eq!(world(&[]), None, "not on Linux");
    }

    #[test]
    fn services_that_do_not_see_the_machine_have_its_limit() {
        // `ProcSubset=pid` leaves of /proc only what belongs to processes.
        let none = "9223372036854771712\n";
        for (group, mounts, own, text) in [
            (
                "0::/system.slice/iris.service\n",
                UNIFIED,
                "sys/fs/cgroup/system.slice/iris.service/memory.max",
                "max\n",
            ),
            (
                "4:memory:/system.slice\n",
                OLD,
                "sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes",
                none,
            ),
        ] {
            let files = [
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", mounts),
                (own, text),
            ];
            assert_eq!(world(&files), None, "{group}");
            assert_eq!(tightest(world(&files), Some(1 << 30)), Some(1 << 30));
        }
        assert_eq!(tightest(Some(1 << 29), Some(1 << 30)), Some(1 << 29));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_and_its_file_agree() {
        let total = total().unwrap();
        assert!(total > 16 << 20 && (total as u64) < ABSURD, "{total}");
        let file = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        if let Some(said) = machine(&file) {
            // A container may be shown less than the machine has.
            assert!(said <= total + (1 << 20), "{said} {total}");
        }
    }
}
