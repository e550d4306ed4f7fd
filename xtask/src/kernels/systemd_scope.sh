# A run in a group of systemd: its limits, its processes, and what is left of it. S is selfdock.
cat /proc/self/cgroup >before; mkfifo up end
$S --memory 32M --pids 16 --cpus 1 --report report -v $PWD /mnt \
    run sh -c 'cat /proc/self/cgroup; echo >/mnt/up; read x </mnt/end' & read x <up
group=$(cut -d : -f 3 /proc/$!/cgroup); echo $group; cd /sys/fs/cgroup$group/..
systemctl --user show -p ActiveState -p Delegate selfdock-$!.scope | sort; cat memory.max pids.max cpu.max
for pid in $(cat in/cgroup.procs); do cat /proc/$pid/comm; done | sort
cd /home/work; echo >end; wait $!; echo $?; cmp before /proc/self/cgroup; grep -o '"status":"OK"' report
while systemctl --user --quiet is-active selfdock-$!.scope; do sleep 0.1; done
find /sys/fs/cgroup -name 'selfdock*'
