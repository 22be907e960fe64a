#!/bin/sh
# Runs the suites as the machine's first process and says how they ended.
export PATH=/bin:/sbin HOME=/root TMPDIR=/tmp CI=true RUST_BACKTRACE=1 CORACLE_BIN=/bin/coracle CORACLE_TEST_SLOWNESS=6
export CORACLE_KEEPER_ALONE=/bin/keeper-alone
ulimit -n 65536
export CORACLE_DEMO_IMAGE=/root/demo/hello.tar CORACLE_SAMPLES=/root/demo/manifests
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /var/log /var/lib /var/tmp
mount -t devpts -o mode=600,ptmxmode=000 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
chmod 1777 /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids +io +cpuset' > /sys/fs/cgroup/cgroup.subtree_control
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
# by hand: of two that ask for a module at once, busybox lets the second go on before it is there
modprobe veth
hostname machine
cd /root
echo "machine: linux $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers)"
failed=0
for suite in @SUITES@; do
    echo "==> $suite"
    filter="@FILTER@"
    [ "$suite" = node-tests-it ] && filter="@NODE_FILTER@"
    # shellcheck disable=SC2086 # several filters
    "/tests/$suite" --test-threads=3 $filter || failed=1
done
echo "machine: ended with $failed after $(cut -d. -f1 /proc/uptime) s"
poweroff -f
