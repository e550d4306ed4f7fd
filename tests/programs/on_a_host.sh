# A copy of the root filesystem, changed by $CHANGES, in which $SCRIPT runs. support/host.rs says more.
set -e
umask 022
mount --make-rprivate /
mount -t tmpfs host "$AT"
cd "$AT"
mkdir up work root
cd up
eval "$OVER"
cd ..
# A directory of the host is renamed then, and not copied while others change it.
mount -t overlay host -o "lowerdir=/,upperdir=$AT/up,workdir=$AT/work,redirect_dir=on" root
cd root
for dir in proc dev sys; do mount --rbind "/$dir" "$dir"; done
me() { setpriv --reuid="$ME" --regid="$MY_GROUP" --clear-groups -- "$@"; }
eval "$CHANGES"
pivot_root . .
umount -l .
cd /
set +e
eval "$SCRIPT"
