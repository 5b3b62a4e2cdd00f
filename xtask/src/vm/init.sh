#!/bin/busybox sh
# The first process of a machine: runs what /plan names, a line each, and tells how it ended.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /etc /applets
# Behind the real programs, which have more options.
/bin/busybox --install -s /applets
export PATH=/usr/bin:/bin:/applets HOME=/root
ln -s /usr/bin/dash /bin/sh
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
echo nobody:x:65534:65534:nobody:/:/bin/sh >>/etc/passwd
echo 'root:*:19000::::::' >/etc/shadow
ln -s busybox /bin/true
echo root:x:0: >/etc/group
echo nogroup:x:65534: >>/etc/group
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
stty -F /dev/ttyS1 raw -echo
exec >/dev/ttyS1 2>&1 </dev/null
echo "kernel $(uname -r)"
for module in $(cat /modules); do
    modprobe "$module" || echo "no module $module"
done
ip link set lo up
export TRAFFIC_MACHINE=1 TRAFFIC_BIN=/bin/traffic TRAFFIC_EBPF_OBJ=/traffic-bpf.o
while read -r line; do
    echo "run $line"
    # shellcheck disable=SC2086
    /tests/$line </dev/null
    echo "exit $?"
done </plan
echo done
poweroff -f
