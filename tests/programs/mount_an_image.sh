# Mounts an image on srv/fs: a squashfs, or a btrfs with $OPTION.
mkdir srv/disk srv/fs
mount -t tmpfs disk srv/disk
if [ "$OPTION" ]; then
    truncate -s 128M srv/disk/disk
    mkfs.btrfs -q srv/disk/disk >/dev/null 2>&1
    mount -o loop srv/disk/disk srv/fs
    btrfs -q subvolume create srv/fs/image
    cp -a "$BOX/." srv/fs/image
    mkdir -p srv/fs/image/mnt
    chown -R "$ME" srv/fs/image
    btrfs -q subvolume snapshot -r srv/fs/image srv/fs/snapshot
    umount srv/fs
    mount -o "loop,$OPTION" srv/disk/disk srv/fs
else
    mksquashfs "$BOX" srv/disk/disk -quiet -no-progress >/dev/null
    mount -o loop srv/disk/disk srv/fs
fi
