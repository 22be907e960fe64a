#!/bin/busybox sh
# The kernel's first process. The suites need a root that is a mount of its own (pivot_root refuses the initramfs), so everything
# moves to a tmpfs first.
/bin/busybox mount -t tmpfs -o size=90% tmpfs /new
for dir in bin sbin lib lib64 usr etc root tests tmp run var; do
    [ -e "/$dir" ] && /bin/busybox cp -a "/$dir" /new/
done
/bin/busybox mkdir -p /new/proc /new/sys /new/dev
exec /bin/busybox switch_root /new /sbin/suite
