#!/bin/bash
# recipes.sh ROOT DIR UID GID CHANGE WORD...: starts the words, as that user, on a machine of their own. Its root
# filesystem is a copy of ROOT in memory, mounted at DIR, which the script CHANGE changes. HOME and the installation of
# selfdock are those of the caller. There is no network but the loopback.
set -e
umask 022
caller=$PATH here=$PWD; PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1"/{upper,work,root}
mount -t overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"
for dir in /dev /sys "$HOME" "${SELFDOCK%/bin/*}"; do
    mkdir -p ".$dir"
    mount --rbind "$dir" ".$dir"
done
mount -t proc proc proc
pivot_root . mnt
cd /
umount -l mnt
echo "tester:x:$2:$3::/:/bin/sh" >> /etc/passwd
ip link set lo up
eval "$4"
exec setpriv --reuid "$2" --regid "$3" --clear-groups -- \
    env PATH="$caller" /bin/sh -c 'cd "$0" && exec "$@"' "$here" "${@:5}"
