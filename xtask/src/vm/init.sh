#!/bin/busybox sh
# First process of a test VM: mounts what a node has, loads the modules, runs /job and says how it ended.
# ttyS0 is the kernel's console (kept as a log), ttyS1 carries a line that says the VM is up, the job's output, and the
# last line with its exit code.

/bin/busybox --install -s
export PATH=/opt/tracer:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-linux} RUST_BACKTRACE=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for dir in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $dir; done
mkdir -p /run/netns
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname tracer-vm
ip link set lo up

for module in $(cat /modules/order); do
    insmod /modules/$module.ko || echo "init: cannot load $module" >/dev/kmsg
done

stty -F /dev/ttyS1 raw -echo
echo '@vm up' >/dev/ttyS1
if [ -e /shell ]; then
    stty -F /dev/ttyS1 sane
    setsid sh -c 'exec sh -l </dev/ttyS1 >/dev/ttyS1 2>&1'
    code=$?
else
    sh /job </dev/null >/dev/ttyS1 2>&1
    code=$?
fi
dmesg | tail -n 100 >/dev/ttyS0
printf '\n@vm exit %s\n' "$code" >/dev/ttyS1
poweroff -f
