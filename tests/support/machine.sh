#!/usr/bin/env bash
# A machine with systemd, as far as one fits into namespaces: what is written goes into a layer
# above the root that is gone with it. To be run as root in new pid, mount, cgroup, ipc and uts
# namespaces. $1 is a folder with the program `iris`, its configuration, an empty `root`, and `units`
# if there are more than $2, the unit. Without $2 nothing is installed: the program and what else is
# in `files` are in /srv. Ends with 77 where the kernel does not allow it.
set -euo pipefail
dir=$1 unit=${2:-} root=$1/root

{
    mount --make-rprivate /
    # A layer can't be on another one, which a machine's own folders may be.
    mount -t tmpfs tmpfs "$root"
    mkdir "$root"/{upper,work,machine}
    mount -t overlay overlay "$root/machine" \
        -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work"
    root=$root/machine
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    umount -l "$root/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
} || exit 77

# What an Iris of this machine's own has left in the layer below.
chroot "$root" userdel iris 2>/dev/null || true
rm -rf "$root"/etc/systemd/system/iris.{service,service.d,socket} "$root"/{etc,var/lib}/iris \
    "$root/usr/local/bin/iris"

if [ -z "$unit" ]; then
    install -D -m 755 "$dir/iris" "$root/srv/iris"
    cp -r "$dir/files/." "$root/srv"
else
    # By hand, as docs/SERVICE.md says.
    install -m 755 "$dir/iris" "$root/usr/local/bin/iris"
    chroot "$root" useradd --system --home-dir /var/lib/iris --shell /usr/sbin/nologin iris
    chroot "$root" install -d -o iris -g iris -m 700 /var/lib/iris
    install -m 600 "$dir/iris.hujson" "$root/var/lib/iris/iris.hujson"
    chroot "$root" chown iris:iris /var/lib/iris/iris.hujson
    install -m 644 "$unit" "$root/etc/systemd/system/iris.service"
    if [ -d "$dir/units" ]; then cp -r "$dir/units/." "$root/etc/systemd/system"; fi
fi

# No other service of the machine is to start.
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
if [ -n "$unit" ]; then
    ln -s /etc/systemd/system/iris.service "$root/etc/systemd/system/multi-user.target.wants/"
fi
if [ -e "$root/etc/systemd/system/iris.socket" ]; then
    mkdir "$root/etc/systemd/system/sockets.target.wants"
    ln -s /etc/systemd/system/iris.socket "$root/etc/systemd/system/sockets.target.wants/"
fi
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"

mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/mnt"
cd "$root"
pivot_root . mnt
# systemd mounts credentials in a namespace of its own and counts on their way back.
exec chroot . bash -c 'umount -l /mnt; mount --make-rshared /; exec env -i container=lxc \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=0'
