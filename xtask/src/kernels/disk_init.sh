#!/usr/bin/busybox sh
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# The order is unknown: a module that needs another one is loaded in a later pass.
for pass in 1 2 3 4; do for module in /modules/*; do insmod $module 2>/dev/null; done; done
tries=0
until [ -b /dev/vda ] || [ $tries = 600 ]; do tries=$((tries + 1)); sleep 0.05; done
mount -t ext4 /dev/vda /new
@FILL@
for name in proc sys dev; do mount --move /$name /new/$name; done
exec switch_root /new @FIRST@
