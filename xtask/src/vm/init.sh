#!/bin/busybox sh
# The kernel's first process. The suites need a root that is a mount of its own (pivot_root refuses the initramfs): the initramfs, which
# is a tmpfs, is mounted once more over itself. Nothing is copied.
/bin/busybox mount --bind / /new
cd /new
/bin/busybox mount --move . /
exec /bin/busybox chroot . /sbin/suite
