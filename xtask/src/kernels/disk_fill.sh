mkdir -p "$ROOT/$PROJECT" "$ROOT/usr/lib/modules" "$ROOT/$TOOLCHAIN"
chmod 1777 "$ROOT/tmp"
git -C "$PROJECT" ls-files -z | tar -C "$PROJECT" --null -T - -c | tar -xC "$ROOT/$PROJECT"
for dir in target/release xtask/bare/target/release; do
    mkdir -p "$ROOT/$PROJECT/$dir"
    find "$PROJECT/$dir" -maxdepth 1 -type f -exec cp -t "$ROOT/$PROJECT/$dir" {} +
done
cp "$XTASK" "$ROOT/usr/local/bin/xtask"
cp "$SUITE" "$ROOT/usr/local/bin/suite"
cp "$PROBE" "$ROOT/usr/local/bin/probe"
cp "$TORTURE" "$ROOT/usr/local/bin/torture"
strip "$ROOT/usr/local/bin/xtask" "$ROOT/usr/local/bin/suite"
tar -C "$TOOLCHAIN" --exclude=./share -c . | tar -xC "$ROOT/$TOOLCHAIN"
rm -rf "$ROOT/usr/lib/modules"
cp -a "$MODULES" "$ROOT/usr/lib/modules"
for dir in "$ROOT"/usr/lib/modules/*; do chroot "$ROOT" depmod "${dir##*/}"; done
printf '127.0.0.1 localhost guest\n' > "$ROOT/etc/hosts"
printf 'nameserver 10.0.2.3\n' > "$ROOT/etc/resolv.conf"
chmod 755 "$ROOT/sbin/guest"
rm -f "$DISK"
truncate -s 8G "$DISK"
mke2fs -q -t ext4 -d "$ROOT" "$DISK"
