cd /sys/fs/cgroup; scope=$PWD/user.slice/user-1000.slice/session-2.scope; mkdir -p $scope /run/none
for dir in user.slice user.slice/user-1000.slice; do echo +memory >$dir/cgroup.subtree_control; done
ask() {
    printf '#!/bin/sh\n%s\n' "$1" >/run/none/busctl; chmod 755 /run/none/busctl
    sh -c 'echo 0 >$0/cgroup.procs; PATH=/run/none:$PATH; exec su user -c "$1"' $scope \
        'selfdock --memory 32M run echo never'
}
cd /; ask 'echo no >&2; exit 1'; ask true
