#!/bin/bash
# machine.sh FILES UID GID DIR CHANGE WORD...: starts the words on a machine with these files, which the script CHANGE
# changes. support/machine.rs says more.
caller=$PATH; PATH=/usr/sbin:/usr/bin:/sbin:/bin
for f in passwd subuid subgid; do
    test -e /etc/$f || { echo "install 'uidmap': there is no /etc/$f"; exit 1; }
    mount --bind "$0/$f" /etc/$f || exit 1
done
# Where udev has not made it everyone's, as it does.
if test -c /dev/net/tun; then
    test -c "$0/tun" || mknod -m 666 "$0/tun" c 10 200
    mount --bind "$0/tun" /dev/net/tun
fi || exit 1
eval "$4" || exit 1
exec setpriv --reuid "$1" --regid "$2" --groups "$2" -- \
    env PATH="$caller" /bin/sh -c 'cd "$0" && exec "$@"' "$3" "${@:5}"
