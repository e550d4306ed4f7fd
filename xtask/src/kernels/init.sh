#!/usr/bin/busybox sh
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/local/bin:/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
exec >/dev/console 2>&1 </dev/null
ip link set lo up
xzcat /opt/checks/overlay.ko >/tmp/module 2>/dev/null
[ -s /tmp/module ] || cp /opt/checks/overlay.ko /tmp/module
insmod /tmp/module
rm /tmp/module
hostname guest
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory +pids +cpu >/sys/fs/cgroup/cgroup.subtree_control
for name in tmp dev/shm home/user; do echo outer >/$name/outer; done
echo "@@ kernel $(uname -r)"
if [ @ROOT@ = initramfs ]; then
    sh /opt/checks/all
    poweroff -f
fi
mkdir -p /new
mount -t tmpfs -o mode=755 new /new
for name in /*; do
    case $name in /proc | /sys | /dev | /new) mkdir /new$name ;; *) cp -a $name /new ;; esac
done
for name in proc sys dev; do mount --move /$name /new/$name; done
# As switch_root does, but what is in the initramfs stays.
cd /new
mount --move . /
exec chroot . /opt/checks/second
