# Functions for scripts on a host. support/host.rs says more.
fuse() {
    python3 -c "$MOUNT_FUSE" "$@" & servers="$servers $!"
}
filesystems() {
    mkdir -p $1/foreign $1/hung $1/dead $1/fine; touch $1/fine/f
    fuse $1/dead ""; dead=$!; fuse $1/foreign ""; fuse $1/hung ,allow_other
    until [ $(grep -c " $1/.* fuse " /proc/self/mountinfo) = 3 ]; do sleep 0.05; done; kill $dead
}
