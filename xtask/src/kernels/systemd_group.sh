mkdir -p /sys/fs/cgroup/user.slice; cd /sys/fs/cgroup/user.slice
mkdir -p user-1000.slice/session-1.scope user-1000.slice/user@1000.service/app.scope; cd user-1000.slice
for dir in .. . user@1000.service; do echo +memory +pids +cpu >$dir/cgroup.subtree_control; done
chown -R user user@1000.service cgroup.procs; mkdir -p /run/bin; echo 1G >user@1000.service/memory.max
printf '#!/bin/sh\ncd %s/user@1000.service; mkdir $9; echo 20 >$9/pids.max; echo ${18} >$9/cgroup.procs' \
    $PWD >/run/bin/busctl; chmod 755 /run/bin/busctl
ask() {
    echo $3 >$1/$2
    sh -c 'echo 0 >$0/cgroup.procs; PATH=$2:$PATH; exec su user -c "$1"' $1 \
        "selfdock --memory 32M --report 1 run cat /proc/self/cgroup" ${4:-/run/bin}
    echo max >$1/$2
}
ask session-1.scope pids.max max; ask session-1.scope pids.max 20; ask user@1000.service/app.scope pids.max 21
ask session-1.scope pids.max max /none; ask session-1.scope pids.max 19; ask session-1.scope memory.max 64M
ask user@1000.service/app.scope memory.high 64M
rm -r /run/bin; rmdir user@1000.service/selfdock-*/*/ user@1000.service/selfdock-*
