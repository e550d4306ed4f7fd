#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm
# What udev makes.
ln -s /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/${number%:*} /dev/${number#*:}; done
mount -t devpts -o ptmxmode=0666,gid=5,mode=620 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs security /sys/kernel/security
exec >/dev/console 2>&1 </dev/null
modprobe -a virtio_net fuse overlay loop btrfs squashfs tun
ip link set lo up
for name in /sys/class/net/*; do
    [ "$name" = /sys/class/net/lo ] || ip link set "${name##*/}" up
    [ "$name" = /sys/class/net/lo ] || ip addr add 10.0.2.15/24 dev "${name##*/}"
done
ip route add default via 10.0.2.2
hostname guest
echo "@@ kernel $(uname -r)"
cd @PROJECT@
# Through a pipe: on a terminal programs would print their progress among the results.
{
    CARGO_MANIFEST_DIR=@PROJECT@/xtask SELFDOCK_PATIENCE=@PATIENCE@ /usr/local/bin/xtask install-test \
        --as 61234:61234 --suite /usr/local/bin/suite --probe /usr/local/bin/probe \
        --torture /usr/local/bin/torture @FILTERS@
    echo "@@ status $?"
} 2>&1 | cat
sync
echo o >/proc/sysrq-trigger
sleep 60
