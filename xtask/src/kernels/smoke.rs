//! The checks in a guest: scripts, each with its expected output by kernel.
//!
//! busybox runs a script in an empty directory of the caller. `$S` is selfdock in its mode, `$ASK` makes a system
//! call, `$BOX` is a root filesystem, `$LAYER` is another one with only /l/two. guest.rs describes the files below
//! /opt/checks.

use Mode::{Root, SetUid, Unprivileged};

/// The caller of selfdock, and the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An ordinary user, the installed program.
    SetUid,
    /// An ordinary user, `--unprivileged`.
    Unprivileged,
    /// Uid 0, the installed program.
    Root,
}

/// Where a check runs: the kernel, and the caller.
pub struct Where {
    pub kernel: (u32, u32),
    pub mode: Mode,
}

/// The kinds of root that checks run on.
pub const ROOTS: [&str; 2] = ["initramfs", "mounted"];

pub struct Check {
    pub name: &'static str,
    pub modes: &'static [Mode],
    pub script: &'static str,
    /// The expected lines of the script, also on standard error. `*` stands for any text in a line. A status other
    /// than 0 is one more line: `status N`.
    pub expected: fn(&Where) -> &'static str,
}

impl Check {
    /// Whether one of these texts is in its name, or there is none.
    pub fn is_of(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|text| self.name.contains(text))
    }
}

const ALL: &[Mode] = &[SetUid, Unprivileged, Root];
pub const USER: &[Mode] = &[SetUid, Unprivileged];

pub const fn check(
    name: &'static str,
    modes: &'static [Mode],
    script: &'static str,
    expected: fn(&Where) -> &'static str,
) -> Check {
    Check { name, modes, script, expected }
}

/// The first kernel with Landlock's scopes, which keep signals to process groups and abstract sockets inside.
const SCOPES: (u32, u32) = (6, 12);

pub const CHECKS: &[Check] = &[
    // ---- a command and its end
    check("version", ALL, "$S --version", |_| "selfdock *"),
    check("a command runs", ALL, "$S run echo here", |_| "here"),
    check("its exit status is selfdock's", ALL, "$S run sh -c 'exit 7'", |_| "status 7"),
    check("its signal is selfdock's", ALL, "$S run sh -c 'kill -TERM $$'; echo $?", |_| "Terminated\n143"),
    check("there is no such command", ALL, "$S run /nothing", |_| "selfdock: *'/nothing'*\nstatus 127"),
    check("a file is no command", ALL, "$S run /etc/passwd", |_| "selfdock: *'/etc/passwd'*\nstatus 126"),
    check("a time limit", ALL, "$S --timeout 0.2 run sleep 100", |_| "status 124"),
    check(
        "a report",
        ALL,
        "$S --report 1 run sh -c 'exit 4'",
        |_| {
            "{\"version\":1,\"started\":true,\"error\":null,\"exit\":4,\"signal\":null,\"ended_by\":\"command\",*}\n\
             status 4"
        },
    ),
    check("a limit of files", ALL, "$S --rlimit nofile=64 run sh -c 'ulimit -n'", |_| "64"),
    check("a batch", ALL, "printf 'one\\ntwo\\n' | $S each -j 1 echo", |_| "one\ntwo"),
    check("an explanation", ALL, "$S --explain run true | grep -c .", |_| "*"),
    // ---- who and where one is
    check(
        "ids and capabilities",
        ALL,
        "$S run grep -E '^(Uid|Gid|CapPrm|CapEff|Seccomp):' /proc/self/status | tr '\\t' ' '",
        |w| match w.mode {
            Root => "Uid: 0 0 0 0\nGid: 0 0 0 0\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nSeccomp: 2",
            _ => "Uid: 1000 1000 1000 1000\nGid: 1000 1000 1000 1000\nCapPrm: 0000000000000000\n\
                  CapEff: 0000000000000000\nSeccomp: 2",
        },
    ),
    check("groups", ALL, "$S run id -G", |w| match w.mode {
        SetUid => "1000 2000",
        Unprivileged => "1000 65534",
        Root => "0",
    }),
    check(
        "one PID inside and outside",
        ALL,
        "$S run sh -c 'echo $$' >inside & wait; echo $! | cmp - inside && echo same",
        |_| "same",
    ),
    check("only its own processes", ALL, "$S run sh -c 'set -- /proc/[0-9]*; echo $#'", |_| "2"),
    check(
        "the keeper is out of reach",
        ALL,
        "$S run sh -c 'cat /proc/1/comm; kill -KILL 1 2>/dev/null; echo $?; ls /proc/1/fd'",
        // Landlock refuses the signal; without Landlock it has no effect. Root may inspect processes with no more
        // capabilities than its own.
        |w| match (w.mode, w.kernel >= SCOPES) {
            (Root, true) => "keeper\n1",
            (Root, false) => "keeper\n0",
            (_, true) => "keeper\n1\nls: can't open '/proc/1/fd': Permission denied\nstatus 1",
            (_, false) => "keeper\n0\nls: can't open '/proc/1/fd': Permission denied\nstatus 1",
        },
    ),
    check("a host name", ALL, "$S --hostname other run hostname; hostname", |_| "other\nguest"),
    check("a start directory", ALL, "$S --chdir /usr run pwd", |_| "/usr"),
    check("an environment", ALL, "$S --clear-env -e A=b run env", |_| "A=b"),
    // ---- the host image
    check(
        "what is shown is read-only",
        ALL,
        "$S run sh -c 'for f in /etc/x /usr/x /opt/x /x; do (echo x >$f) 2>/dev/null || echo closed; done'",
        |_| "closed\nclosed\nclosed\nclosed",
    ),
    check("homes and /run are empty", ALL, "$S run ls -A /home /root /run /mnt /media /srv", |_| {
        "/home:\n\n/media:\n\n/mnt:\n\n/root:\n\n/run:\n\n/srv:"
    }),
    check("/ holds nothing more", ALL, "$S run ls -A / | xargs", |_| {
        "bin boot dev etc home media mnt opt proc root run sbin srv sys tmp usr var"
    }),
    check(
        "the machine is shown, and no other device",
        ALL,
        "$S run sh -c 'ls /sys /sys/devices; ls /sys/devices/system/cpu | grep -c \"cpu[0-9]\"'",
        |_| "/sys:\ndevices\n\n/sys/devices:\nsystem\n2",
    ),
    check("/tmp is private", ALL, "$S run sh -c 'ls -A /tmp; echo x >/tmp/x; cat /tmp/x'; ls /tmp", |_| "x\nouter"),
    check(
        "no set-uid bit counts",
        USER,
        "/opt/checks/set-uid/ask $GETEUID; $S run /opt/checks/set-uid/ask $GETEUID",
        |_| "0\n1000",
    ),
    check("a mask", ALL, "$S --mask /etc/passwd run sh -c 'cat /etc/passwd; echo $?'", |_| "0"),
    // ---- devices
    check(
        "devices work",
        ALL,
        "$S run sh -c 'echo x >/dev/null; head -c 3 /dev/zero | wc -c; ls /dev' | xargs",
        |_| "3 console fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
    ),
    check("a device in a map does not work", ALL, "$S -m /opt/checks/nodes /mnt run cat /mnt/null", |_| {
        "cat: can't open '/mnt/null': Permission denied\nstatus 1"
    }),
    check("another device of the host", ALL, "$S --dev /dev/kmsg run ls /dev/kmsg", |_| "/dev/kmsg"),
    // ---- volumes and mount points
    check(
        "a volume",
        ALL,
        "mkdir v; echo in >v/f; $S -v $PWD/v /mnt run sh -c 'cat /mnt/f; echo new >/mnt/new'; cat v/new",
        |_| "in\nnew",
    ),
    check(
        "a map",
        ALL,
        "echo in >f; $S -m $PWD /mnt run sh -c 'cat /mnt/f; echo new >/mnt/new'",
        |_| "in\nsh: *can't create /mnt/new: Read-only file system\nstatus 1",
    ),
    check("the current directory", ALL, "$S -H run sh -c 'pwd; echo x >f'; cat f", |_| "/home/work\nx"),
    check("a tmpfs", ALL, "$S -t size=1m,mode=700 /mnt run sh -c 'stat -f -c %b /mnt; stat -c %a /mnt'", |_| {
        "*\n700"
    }),
    check(
        "an overlay",
        ALL,
        "mkdir v; echo in >v/f; $S -o $PWD/v /mnt run sh -c 'cat /mnt/f; echo new >/mnt/f; cat /mnt/f'; cat v/f",
        |_| "in\nnew\nin",
    ),
    check(
        "what is written to an overlay is kept",
        USER,
        "mkdir v; echo in >v/f; $S -o $PWD/v /mnt --changes $PWD/c run sh -c 'echo new >/mnt/f'
        cat v/f; selfdock changes $PWD/c",
        |_| "in\nM f",
    ),
    check(
        "a program beside what is shown",
        ALL,
        "$S run /hidden/busybox true; $S -m /hidden /hidden run /hidden/busybox echo there",
        |_| {
            "selfdock: run '/hidden/busybox': *(ENOENT); /hidden/busybox exists only outside; \
             add it with -m /hidden /hidden\nthere"
        },
    ),
    check(
        "a copy of the image",
        USER,
        "$S -o / / run sh -c 'echo x >/etc/new; rm /etc/group; cat /etc/new; ls -d /etc/new /etc/group /new'
        ls -d /etc/group /etc/new",
        |_| {
            "x\nls: /etc/group: No such file or directory\nls: /new: No such file or directory\n/etc/new\n\
             ls: /etc/new: No such file or directory\n/etc/group\nstatus 1"
        },
    ),
    check(
        "a removed directory of a copy is made again",
        USER,
        "mkdir -p v/d; touch v/d/x; $S -o $PWD/v /mnt run sh -c 'rm -r /mnt/d; mkdir /mnt/d && ls -A /mnt /mnt/d'",
        // An overlay notes in an attribute that nothing below is meant, and a tmpfs had none for users before.
        |w| {
            if w.kernel >= (6, 6) {
                "/mnt:\nd\n\n/mnt/d:"
            } else {
                "rm: can't remove '/mnt/d': Input/output error\nmkdir: *: File exists\nstatus 1"
            }
        },
    ),
    check("a missing mount point in /", ALL, "echo in >f; $S -v $PWD /a/b run sh -c 'cat /a/b/f; ls -d /usr'", |_| {
        "in\n/usr"
    }),
    check(
        "a missing mount point in /etc",
        ALL,
        "echo in >f; $S -m $PWD/f /etc/new run sh -c 'cat /etc/new; ls -d /etc/group'",
        |_| "in\n/etc/group",
    ),
    check(
        "a missing mount point in another root",
        ALL,
        "echo in >f; $S --root $BOX -v $PWD /a/b run sh -c 'cat /a/b/f'; ls -d $BOX/a",
        |_| "in\nls: /opt/checks/box/a: No such file or directory\nstatus 1",
    ),
    check("a volume over a file", ALL, "$S -v $PWD /etc/passwd run true", |_| "selfdock: *\nstatus 125"),
    // ---- other root filesystems
    check("another root", ALL, "$S --root $BOX run sh -c 'ls / | tr \"\\n\" \" \"; id -un'", |w| match w.mode {
        Root => "bin dev etc proc tmp usr root",
        _ => "bin dev etc proc tmp usr user",
    }),
    check("another root is read-only", ALL, "$S --root $BOX run sh -c '(echo x >/x) 2>/dev/null || echo closed'", |_| {
        "closed"
    }),
    check("layers", ALL, "$S --root $BOX --root $LAYER run cat /l/two", |_| "two"),
    check(
        "a root is built",
        ALL,
        "mkdir -p b/bin; cp /bin/busybox b/bin
        $S --root b build /bin/busybox sh -c '/bin/busybox mkdir /etc; echo built >/etc/b'
        $S --root b run /bin/busybox cat /etc/b",
        |_| "built",
    ),
    check(
        "a layer is built",
        ALL,
        "mkdir -p mine/opt; $S --root $BOX --root mine build sh -c 'echo built >/opt/f'; cat mine/opt/f",
        |_| "built",
    ),
    // ---- nesting
    check("nesting", ALL, "$S run selfdock run selfdock run echo deep", |_| "deep"),
    check("nesting in another root", ALL, "$S --root $BOX run selfdock run echo deep", |_| "deep"),
    check("another root in an instance", ALL, "$S run selfdock --root $BOX run echo deep", |_| "deep"),
    check("nesting 20 deep", ALL, "$S $(for i in $(seq 19); do echo run selfdock; done) run echo deep", |_| "deep"),
    check("an unprivileged one in a privileged one", &[SetUid], "$S run selfdock --unprivileged run id -u", |_| "1000"),
    check("after no_new_privs", &[SetUid], "setpriv --nnp $S run id -u", |_| "1000"),
    check("none inside gains privilege", USER, "$S --no-nest run grep NoNewPrivs /proc/self/status", |_| {
        "NoNewPrivs:\t1"
    }),
    // ---- what is kept inside
    check(
        "the network of --net none",
        ALL,
        "$S --net none run sh -c 'sed -n \"3,\\$s/:.*//p\" /proc/net/dev; nc -w 1 127.0.0.1 1'",
        |_| "*lo\nnc: can't connect to remote host (127.0.0.1): Connection refused\nstatus 1",
    ),
    check("the host's network", ALL, "$S run cat /proc/net/dev | cmp - /proc/net/dev && echo same", |_| "same"),
    check(
        "system calls are refused",
        ALL,
        "ask() { $S run $ASK \"$@\"; }
        ask $ADD_KEY @user @x @y 1; ask $KEYCTL 0; ask $USERFAULTFD 1; ask $IO_URING_SETUP 1 @x
        ask $BPF 999; ask $PERF_EVENT_OPEN @x; ask $IOCTL 0 21522 @x; ask $SOCKET 40 1; ask $IOCTL 0 21505 @x",
        // The last call, TCGETS, is allowed, but the descriptor is not a terminal.
        |_| {
            "errno 38\nerrno 38\nerrno 38\nerrno 38\nerrno 1\nerrno 1\nerrno 1\nerrno 97\nerrno 25\nstatus 1"
        },
    ),
    check("no filter", ALL, "$S --seccomp none run $ASK $IOCTL 0 21522 @x", |_| "errno 25\nstatus 1"),
    check("a user namespace", USER, "$S run unshare -Ur id -u", |_| "0"),
    check("no user namespace", ALL, "$S --no-userns run unshare -U true", |_| {
        "unshare: unshare(0x10000000): Operation not permitted\nstatus 1"
    }),
    check("nothing can be mounted", ALL, "$S run mount -t tmpfs t /tmp; echo $?", |_| {
        "mount: permission denied (are you root?)\n1"
    }),
    check(
        "a mount cannot be lifted in a user namespace",
        USER,
        "$S run unshare -Urm sh -c 'umount /tmp; umount -l /proc; umount /'",
        |_| {
            "umount: can't unmount /tmp: Invalid argument\numount: can't unmount /proc: Invalid argument\n\
             umount: can't unmount /: Invalid argument\nstatus 1"
        },
    ),
    check(
        "a signal to the process group, on a terminal",
        ALL,
        "setsid -c sh -c 'trap \"echo reached\" USR1; '\"$S\"' run sh -c \"trap : USR1; kill -USR1 0; echo sent\"' \
         </dev/$CONSOLE",
        |w| if w.kernel >= SCOPES { "sent" } else { "sent\nreached" },
    ),
    check("shared memory is private", ALL, "$S run sh -c 'ls -A /dev/shm; echo x >/dev/shm/x'; ls /dev/shm", |_| {
        "outer"
    }),
    check("control groups are not told by path", ALL, "$S run cat /proc/self/cgroup", |_| "0::/"),
    // ---- limits of the whole instance
    check(
        "memory of one process",
        ALL,
        "$S --memory 32M --report 1 run dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?",
        |_| {
            "{*\"signal\":9,\"ended_by\":\"memory\",\"status\":\"MO\",*\"group_oom_kills\":1,*}\nKilled\n137"
        },
    ),
    check(
        "memory of several processes together",
        ALL,
        "$S --memory 32M --report 1 run sh -c 'for i in 1 2 3 4 5 6 7 8; do
            (dd if=/dev/zero bs=8M count=1 2>/dev/null | sleep 2) &
        done; wait; exit 3' 2>/dev/null | sed 's/group_oom_kills\":0/no/'; $S --memory 32M run echo again",
        |_| "{*\"exit\":3,*\"ended_by\":\"command\",\"status\":\"MO\",*\"group_oom_kills\":*}\nagain",
    ),
    check(
        "memory so scarce that selfdock itself has none",
        ALL,
        "$S --memory 64k --report report run true; echo $?
        until grep -o '\"status\":\"MO\"' report; do sleep 0.1; done",
        |_| "*\n137\n\"status\":\"MO\"",
    ),
    check(
        "processes",
        ALL,
        "$S --pids 8 --report 1 run sh -c 'for i in $(seq 20); do sleep 20 & done'",
        |_| {
            "sh: can't fork: Resource temporarily unavailable\n\
             {*\"status\":\"RE\",*\"group_forks_refused\":*}\nstatus 2"
        },
    ),
    check(
        "a fork bomb",
        ALL,
        "$S --pids 32 --timeout 2,0 --report 1 run sh -c 'f() { f | f & f; }; f' 2>/dev/null
        $S --pids 1 run echo well",
        |_| "{*\"status\":*\"group_forks_refused\":*}\nwell",
    ),
    check(
        "processors",
        ALL,
        "$S --cpus 0.2 --report 1 run sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done' |
            grep -c 'group_throttled_seconds\":0.000000'",
        |_| "0\nstatus 1",
    ),
    check(
        "a group is gone with its instance",
        USER,
        "$S --memory 32M --pids 9 --cpus 1 run sh -c 'sleep 50 & true'; ls -d $GROUP/selfdock.*; cat /proc/self/cgroup",
        |_| "*/selfdock.rest\n0::/*/selfdock.rest",
    ),
    check(
        "nobody else can lock the group of an instance",
        USER,
        "mkfifo up end; $S --memory 32M -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' & read x <up
        stat -c %a $GROUP/selfdock.[0-9]*; echo >end; wait",
        |_| "711",
    ),
    check(
        "a group is gone when the supervisor was killed",
        USER,
        "mkfifo up; $S --memory 32M --report report -v $PWD /mnt run sh -c 'echo >/mnt/up; sleep 50' & read x <up
        kill -KILL $!; { wait $!; echo $?; } 2>/dev/null
        while ls -d $GROUP/selfdock.[0-9]* >/dev/null 2>&1; do sleep 0.1; done
        until grep -o '\"signal\":null,\"ended_by\":null,\"status\":\"XX\"' report; do sleep 0.1; done",
        |_| "137\n\"signal\":null,\"ended_by\":null,\"status\":\"XX\"",
    ),
    check(
        "the group of a killed attendant is removed by the next run",
        USER,
        "mkfifo up end; $S --memory 32M -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' 2>/dev/null &
        read x <up; kill -KILL $(pidof attendant); echo >end; wait $!; ls -d $GROUP/selfdock.[0-9]* | grep -c .
        $S --memory 32M run true; ls -d $GROUP/selfdock.*",
        |_| "1\n*/selfdock.rest",
    ),
    check(
        "a killed command leaves neither group nor limit",
        USER,
        "$S --memory 32M --report report run sh -c 'sleep 50 & kill -KILL $$'; echo $?; grep -c SG report
        ls -d $GROUP/selfdock.[0-9]* 2>/dev/null; grep -h . $GROUP/memory.max $GROUP/selfdock.rest/memory.max",
        |_| "Killed\n137\n1\nmax\nmax",
    ),
    check(
        "nothing of a group is left for the next instance with its PID",
        USER,
        "$S --memory 32M --pids 9 run true; sleep 50 & there=$!
        sh -c 'cd $0; mkdir selfdock.$$; echo 16k >selfdock.$$/memory.max; mkdir selfdock.$$/in
            echo '$there' >selfdock.$$/in/cgroup.procs; cd /
            exec '\"$S\"' --pids 9 --report 1 run cat /proc/self/cgroup' $GROUP
        ls -d $GROUP/selfdock.[0-9]* | grep -c .; { kill $there; wait $there; } 2>/dev/null
        sh -c 'mkdir $0/selfdock.$$; exec '\"$S\"' --memory 32M run true' $GROUP; ls -d $GROUP/selfdock.*",
        |_| "0::/\n{*\"status\":\"OK\",*}\n1\n*/selfdock.rest",
    ),
    check(
        "no group is left where none fits below it",
        USER,
        "echo 1 >$GROUP/cgroup.max.depth; $S --memory 32M --report report run echo never; grep -c XX report
        ls -d $GROUP/selfdock.*; echo max >$GROUP/cgroup.max.depth; $S --memory 32M run echo again",
        |_| {
            "selfdock: make the control group 'selfdock.*': *(EAGAIN); a group above *\n1\n*/selfdock.rest\nagain"
        },
    ),
    check(
        "all names of an instance's group are taken",
        USER,
        "$S --pids 9 run true
        sh -c 'for n in $(seq 99); do mkdir -p $0/selfdock.$$/x $0/selfdock.$$-$n/x; done
            exec '\"$S\"' --pids 9 run echo never' $GROUP",
        |_| "selfdock: make the control group 'selfdock.*': *use its name\nstatus 125",
    ),
    check(
        "a killed attendant is told, and nobody waits for it",
        USER,
        "mkfifo up end; $S --memory 32M --report report -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' &
        read x <up; kill -KILL $(pidof attendant); echo >end; wait $!; echo $?; $S --memory 32M run echo again",
        |_| "selfdock: write the report: broken pipe (EPIPE)*\n0\nagain",
    ),
    check(
        "a limit cannot be lifted from inside",
        USER,
        "$S --memory 32M -v /sys/fs/cgroup /mnt run sh -c 'cat /proc/self/cgroup
        unshare -Urm mount -t cgroup2 c /tmp; echo max >/mnt/memory.max'",
        |_| "0::/\nmount: *\nsh: can't create /mnt/memory.max: Permission denied\nstatus 1",
    ),
    check("a batch in groups", ALL, "printf '1\\n2\\n3\\n' | $S each --memory 32M --pids 9 -j 2 echo | sort", |_| {
        "1\n2\n3"
    }),
    check(
        "an instance with limits is entered",
        USER,
        "mkfifo up end; $S --memory 32M -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' & read x <up
        selfdock enter $! sh -c 'cat /proc/$$/cgroup'; grep -h . $GROUP/selfdock.$!/in/cgroup.procs | grep -c .
        echo >end; wait $!",
        |_| "0::/\n3",
    ),
    check(
        "limits that cannot be set",
        ALL,
        "$S run selfdock --memory 32M run echo never",
        |_| "selfdock: option --memory: find its controller *\nstatus 125",
    ),
    check(
        "a group that systemd gives, in the place of which is a script",
        // As systemd, the script limits the tasks of all its scopes, and marks no scope as delegated. systemd.rs has
        // the real one.
        &[Root],
        include_str!("systemd_group.sh"),
        |_| {
            "0::/\n{*\"status\":\"OK\",*\"group_oom_kills\":0,*}\n\
             0::/\n{*\"status\":\"OK\",*\"group_oom_kills\":0,*}\n\
             0::/\n{*\"status\":\"OK\",*\"group_oom_kills\":0,*}\n\
             selfdock: *'/user.slice/user-1000.slice/session-1.scope': is not delegated to you; *\n\
             {*\"started\":false,*is not delegated to you; *\"exit\":125,*\"status\":\"XX\",*}\n\
             selfdock: ask systemd *session-1.scope': the new group would lack a limit that your own group has\n\
             {*\"started\":false,*that your own group has\",\"exit\":125,*\"status\":\"XX\",*}\n\
             selfdock: ask systemd *session-1.scope': the new group would lack a limit that your own group has\n\
             {*\"started\":false,*that your own group has\",\"exit\":125,*\"status\":\"XX\",*}\n\
             selfdock: ask systemd *app.scope': the new group would lack a limit that your own group has\n\
             {*\"started\":false,*that your own group has\",\"exit\":125,*\"status\":\"XX\",*}"
        },
    ),
    check(
        "systemd gives no group",
        &[Root],
        include_str!("no_systemd_group.sh"),
        |_| {
            "selfdock: ask systemd for a control group by '/run/none/busctl': no\n\
             selfdock: ask systemd for a control group: systemd made no group within 5 seconds\nstatus 125"
        },
    ),
    check(
        "what is printed",
        ALL,
        "$S --output-limit 10 --report report run yes 1234; echo $?; cat report",
        |_| "1234\n1234\nKilled\n137\n{*\"ended_by\":\"output\",\"status\":\"OL\",*}",
    ),
    // ---- /proc
    check(
        "/proc shows no more than the caller's",
        &[Root],
        "unshare -m sh -c 'mount -t proc -o hidepid=2 p /proc; mount --bind /dev/null /proc/version
        su user -c \"selfdock run sh -c \\\"cat /proc/version; grep -o hidepid=[a-z0-9]* /proc/self/mountinfo\\\"\"'",
        |_| "hidepid=*",
    ),
    check(
        "settings of the kernel are closed to root",
        &[Root],
        "$S run sh -c '(echo x >/proc/sys/kernel/hostname); cat /proc/kcore; echo b >/proc/sysrq-trigger'",
        |_| {
            "sh: *can't create /proc/sys/kernel/hostname: Read-only file system"
        },
    ),
    // ---- ps, enter and signals
    check(
        "an instance is listed",
        ALL,
        "mkfifo up end; $S -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' & read x <up
        selfdock ps --json | grep -c \"\\\"pid\\\":$!,\"; echo >end; wait $!; selfdock ps | wc -l",
        |_| "1\n1",
    ),
    check(
        "an instance is entered",
        ALL,
        "mkfifo up end; $S --hostname there --net none -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' &
        read x <up; selfdock enter $! sh -c 'hostname; sed -n \"3,\\$s/:.*//p\" /proc/net/dev; ls /mnt'
        echo >end; wait $!",
        |_| "there\n*lo\nend\nup",
    ),
    check(
        "an instance in another root is entered",
        ALL,
        "mkfifo up end; $S --root $BOX -v $PWD /mnt run sh -c 'echo >/mnt/up; read x </mnt/end' &
        read x <up; selfdock enter $! ls -d /bin/sh /etc/shadow; echo >end; wait $!",
        |_| "ls: /etc/shadow: No such file or directory\n/bin/sh",
    ),
    check("what is no instance is not entered", ALL, "selfdock enter 1 true", |_| "selfdock: *\nstatus 125"),
    check(
        "a signal is the command's",
        ALL,
        "mkfifo up; $S -v $PWD /mnt run sh -c 'trap \"echo got; exit 5\" USR1; echo >/mnt/up; sleep 50 & wait' &
        read x <up; kill -USR1 $!; wait $!",
        |_| "got\nstatus 5",
    ),
    check(
        "SIGKILL to selfdock ends all",
        ALL,
        // The end of file comes when nobody holds the FIFO open any more.
        "mkfifo up; $S -v $PWD /mnt run sh -c 'exec >/mnt/up; echo up; setsid sleep 50 & sleep 50' &
        (read x; echo $x; kill -KILL $!; cat) <up",
        |_| "up",
    ),
    // ---- what selfdock says of itself
    check(
        "doctor finds nothing that is wrong",
        &[SetUid, Root],
        // The guest has neither newuidmap nor pasta.
        "selfdock doctor >said; status=$?; grep -v -e ^ok -e '^note  --' said; exit $status",
        |w| if w.kernel >= SCOPES { "" } else { "note  Landlock of Linux 6.12 is missing*" },
    ),
    check(
        "what the start has relocated cannot be written any more",
        &[Root],
        // aarch64 has several page sizes. selfdock must be the only child: the end of another one would interrupt the
        // open of `up`.
        "mkfifo up end; echo x >list; $S each -v $PWD /mnt sh -c 'echo >/mnt/up; read x </mnt/end' <list &
        read x <up; grep -c 'rw-p.*selfdock-about' /proc/$(pidof selfdock-about)/maps; echo >end; wait",
        |_| "0",
    ),
    check(
        "nothing is left",
        &[Root],
        "ps | grep -v grep | grep -c selfdock; grep -c . /proc/self/mountinfo; ls -A /home /dev/shm /tmp",
        |_| "0\n7\n/dev/shm:\nouter\n\n/home:\nuser\nwork\n\n/tmp:\nouter",
    ),
];

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            SetUid => "user, set-uid",
            Unprivileged => "user, unprivileged",
            Root => "root",
        }
    }

    /// As the list in the guest has it.
    pub fn of(who: &str, option: &str) -> Self {
        match (who, option) {
            ("root", _) => Root,
            (_, "") => SetUid,
            _ => Unprivileged,
        }
    }
}

/// Whether the lines are as expected.
pub fn matches(expected: &str, printed: &str) -> bool {
    let (mut expected, mut printed) = (expected.lines(), printed.trim().lines());
    loop {
        match (expected.next(), printed.next()) {
            (None, None) => return true,
            (Some(pattern), Some(line)) if matches_line(pattern, line) => {}
            _ => return false,
        }
    }
}

fn matches_line(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = line.split_once(piece) else { return false };
        line = after;
    }
    line.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_in_its_line() {
        assert!(matches("one\ntwo", "one\ntwo\n\n"));
        assert!(!matches("one", "one\ntwo"));
        assert!(!matches("one\ntwo", "one"));
        assert!(matches("a *'x'*: z", "a b 'x' y: z"));
        assert!(!matches("a *'x'*: z", "a b 'y' y: z"));
        assert!(matches("", "\n"));
        assert!(!matches("lo*", "hello"));
    }
}
