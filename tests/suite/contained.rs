use crate::support::{
    Dock, Terminal, args, command_of, fixture, is_alive, keeper_of, nested, scratch, selfdock, wait_until,
};
use crate::terminal::shell;
use nix::sys::signal::Signal;
use rstest::rstest;
use std::fs;

/// Calls by number, of x86-64, with what came of them: 0, or the name of an errno.
const CALLS: &str = "import ctypes, errno, os, struct, sys\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    def call(n, *a):\n\
    \x20 a = [x if isinstance(x, bytes) else ctypes.c_long(x) for x in a]\n\
    \x20 r = libc.syscall(ctypes.c_long(n), *a)\n\
    \x20 return errno.errorcode[ctypes.get_errno()] if r < 0 else '0'\n";

/// `python3 -c` with [`CALLS`] and this.
fn python(options: &[&str], script: &str) -> Dock {
    let words = options.iter().map(std::ffi::OsString::from);
    Dock::new(words.chain(args!["run", "python3", "-c", format!("{CALLS}{script}")]))
}

#[rstest]
#[case::add_key("248, b'user', b'name', b'text', 4, -3", "ENOSYS")]
#[case::request_key("249, b'user', b'name', 0, -3", "ENOSYS")]
#[case::keyctl("250, 0, -3, 0", "ENOSYS")]
#[case::keyctl_to_parent("250, 18", "ENOSYS")]
#[case::userfaultfd("323, 1", "ENOSYS")]
#[case::io_uring_setup("425, 1, 0", "ENOSYS")]
#[case::io_uring_enter("426, -1, 0, 0, 0, 0, 0", "ENOSYS")]
#[case::io_uring_register("427, -1, 0, 0, 0", "ENOSYS")]
#[case::bpf("321, 0, 0, 0", "EPERM")]
#[case::perf_event_open("298, 0, 0, -1, -1, 0", "EPERM")]
#[case::vsock("41, 40, 1, 0", "EAFNOSUPPORT")]
#[case::vsock_by_its_low_half("41, 40 | 1 << 32, 1, 0", "EAFNOSUPPORT")]
#[case::add_key_of_x32("248 | 0x40000000, b'user', b'name', b'text', 4, -3", "ENOSYS")]
fn the_filter_refuses(
    #[case] call: &str,
    #[case] errno: &str,
    #[values(&[][..], &["--unprivileged"], &["--no-nest"], &["--net", "none"])] options: &[&str],
) {
    assert_eq!(python(options, &format!("print(call({call}))")).ok(), errno);
}

#[test]
fn the_filter_lets_the_rest_through() {
    let script =
        "import socket; socket.socket(socket.AF_INET); socket.socket(socket.AF_UNIX); print(call(39))";
    assert_eq!(python(&[], script).ok(), "0");
    Dock::run([]).sh("unshare -Ur true").ok();
}

#[test]
fn the_filter_can_be_left_out() {
    let seen = Dock::run(args!["--seccomp", "none", "grep", "Seccomp:", "/proc/self/status"]).ok();
    assert_eq!(seen, "Seccomp:\t0");
    let seen = Dock::run(args!["--seccomp", "default", "grep", "Seccomp:", "/proc/self/status"]).ok();
    assert_eq!(seen, "Seccomp:\t2");
}

/// `sethostname` is refused with EXDEV, all else is allowed.
fn program() -> Vec<u8> {
    let lines: [(u16, u8, u8, u32); 4] =
        [(0x20, 0, 0, 0), (0x15, 0, 1, 170), (6, 0, 0, 0x0005_0012), (6, 0, 0, 0x7fff_0000)];
    let bytes = |(code, yes, no, k): (u16, u8, u8, u32)| {
        [&code.to_ne_bytes()[..], &[yes, no], &k.to_ne_bytes()].concat()
    };
    lines.into_iter().flat_map(bytes).collect()
}

#[rstest]
fn a_filter_of_the_callers_is_in_force_beside_ours(#[values("run", "--unprivileged")] mode: &str) {
    let dir = scratch();
    let file = dir.path().join("filter");
    fs::write(&file, program()).unwrap();
    let script = "print(call(170, b'x', 1), call(250, 0, -3, 0))\n\
                  print(open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0])";
    let options: &[&str] = if mode == "run" { &[] } else { &[mode] };
    let options = [options, &["--seccomp", file.to_str().unwrap()]].concat();
    assert_eq!(python(&options, script).ok(), "EXDEV ENOSYS\n1");
}

#[rstest]
#[case::none(&[])]
#[case::half_an_instruction(&[0; 12])]
#[case::a_code_that_there_is_not(&[0xff; 8])]
#[case::no_end(&[0x20, 0, 0, 0, 0, 0, 0, 0])]
#[case::too_long(&[6; 8 * 4097])]
fn what_is_no_filter_is_refused(#[case] bytes: &[u8]) {
    let dir = scratch();
    let file = dir.path().join("filter");
    fs::write(&file, bytes).unwrap();
    Dock::run(args!["--seccomp", &file, "true"]).refused("filter");
    Dock::run(args!["--seccomp", dir.path().join("nothing"), "true"]).refused("ENOENT");
}

/// Says of a script what its process group, its priorities and its session keyring are.
const CALLER: &str = "trap 'echo caught' HUP INT QUIT TERM USR1; ";

/// S1. The caller is a script, and so in the process group that the command would be in.
#[rstest]
fn no_signal_to_a_process_group_reaches_the_caller(
    #[values("KILL", "STOP", "TERM", "HUP", "USR1")] signal: &str,
    #[values("run", "--unprivileged run", "run $SD run")] words: &str,
) {
    let attack = format!("kill -{signal} 0; kill -{signal} -1; kill -{signal} $PPID; exit 0");
    let script = format!("{CALLER} $SD --timeout 1 {words} sh -c '{attack}' 2>/dev/null; echo alive");
    let seen = Dock::program(args!["sh", "-c", script]).env("SD", selfdock()).ok();
    assert_eq!(seen, "alive");
}

/// S1. The same on a terminal, where the command stays in the group that the terminal controls.
#[rstest]
fn nor_on_a_terminal(#[values("run", "--unprivileged run", "run $SELFDOCK run")] words: &str) {
    let mut terminal = shell("bash");
    let script = format!("$SELFDOCK {words} sh -c \"kill -KILL 0\"; echo scri''pt-$?");
    terminal.send(&format!("sh -c '{script}'; echo she''ll-$?\n"));
    terminal.expect("script-137");
    terminal.expect("shell-0");
}

/// S1.
#[rstest]
fn priorities_of_the_callers_group_stay(#[values("run", "--unprivileged run", "run $SD run")] words: &str) {
    let attack = format!("{CALLS}call(141, 1, 0, 19); call(251, 2, 0, 3 << 13)");
    let script = format!(
        "before=$(nice; ionice -p $$); $SD {words} python3 -c \"$1\"; \
                          test \"$before\" = \"$(nice; ionice -p $$)\" && echo same"
    );
    let seen = Dock::program(args!["sh", "-c", script, "sh", attack]).env("SD", selfdock()).ok();
    assert_eq!(seen, "same");
}

/// S2.
#[rstest]
fn a_command_that_wishes_to_outlive_its_supervisor_does_not(
    #[values(0, 1, 3)] depth: usize,
    #[values(&[][..], &["--unprivileged"])] options: &[&str],
) {
    let script = format!("{CALLS}call(157, 1, 0); print('up', flush=True); import time; time.sleep(1000)");
    let words = options.iter().map(std::ffi::OsString::from).chain(args!["run"]);
    let command = nested(depth, args!["python3", "-c", script]);
    let mut instance = Dock::new(words.chain(command)).spawn();
    assert_eq!(instance.line(), "up");
    let mut all = vec![keeper_of(instance.pid())];
    let mut at = instance.pid();
    for _ in 0..=depth {
        at = command_of(at);
        all.push(at);
    }
    instance.signal(Signal::SIGKILL);
    instance.wait();
    wait_until("nothing is left", || !all.iter().any(|pid| is_alive(*pid)));
}

/// S3.
#[rstest]
#[case::itself("kill -STOP $$")]
#[case::its_group("kill -STOP 0; sleep 1000")]
#[case::all("kill -STOP -1; sleep 1000")]
#[case::by_the_terminals_signal("kill -TSTP $$; sleep 1000")]
#[case::deaf("trap '' TERM; kill -STOP $$; sleep 1000")]
fn a_stopped_command_is_ended_in_time(
    #[case] script: &str,
    #[values("run", "--unprivileged run")] words: &str,
) {
    let run = format!("$SD --timeout 0.3 {words} sh -c '{script}'; echo status-$?");
    let seen = Dock::program(args!["sh", "-c", run]).env("SD", selfdock()).output();
    assert!(["status-124\n", "status-137\n"].contains(&seen.stdout.as_str()), "{}", seen.stdout);
}

/// S4. As pam_keyinit does, the caller has a session keyring, with a key in it.
#[rstest]
fn keys_of_the_session_stay_outside_and_those_of_an_instance_inside(
    #[values(&[][..], &["--unprivileged"], &["--net", "none", "--no-nest"], &["--seccomp", "none"])]
    options: &[&str],
) {
    let inside = "import ctypes, sys\nlibc = ctypes.CDLL(None)\n\
                  key = libc.syscall(249, b'user', b'ticket', None, ctypes.c_long(-3))\n\
                  libc.syscall(248, b'user', b'behind', b'x', 1, ctypes.c_long(-3))\n\
                  print('found' if key > 0 else 'out of reach', flush=True)";
    let script = format!(
        "import ctypes, subprocess, sys\nlibc = ctypes.CDLL(None)\n\
         libc.syscall(250, 1, 0)\n\
         if libc.syscall(248, b'user', b'ticket', b'secret', 6, ctypes.c_long(-3)) < 0: sys.exit('no key')\n\
         inside = '''{inside}'''\n\
         subprocess.run(['python3', '-c', inside.replace('behind', 'other')])\n\
         subprocess.run([*sys.argv[1:], 'run', 'python3', '-c', inside])\n\
         print('behind' if libc.syscall(249, b'user', b'behind', None, ctypes.c_long(-3)) > 0 else 'nothing')"
    );
    let words = args!["python3", "-c", script, selfdock()];
    let seen = Dock::program(words.into_iter().chain(options.iter().map(std::ffi::OsString::from))).ok();
    assert_eq!(seen, "found\nout of reach\nnothing");
}

/// S5. The limit is of the processes of a user, so this is a user of its own.
#[test]
fn the_process_limit_holds_for_what_nests() {
    let script = "import os, sys, time\n\
        sd, most = sys.argv[1], 0\n\
        def there():\n\
        \x20 for d in filter(str.isdigit, os.listdir('/proc')):\n\
        \x20   try: yield open(f'/proc/{d}/stat').read().rsplit(')')[1].split()[0]\n\
        \x20   except OSError: pass\n\
        def start():\n\
        \x20 if not os.fork(): os.execv(sd, [sd, 'run', sd, 'run', sd, 'run', '/bin/sleep', '1000'])\n\
        def watch(enough, seconds):\n\
        \x20 global most\n\
        \x20 end = time.time() + seconds\n\
        \x20 while time.time() < end and most < enough: most = max(most, sum(s not in 'ZX' for s in there()))\n\
        start(); watch(9, 10)\n\
        for i in range(3):\n\
        \x20 try: start()\n\
        \x20 except OSError: pass\n\
        \x20 watch(99, 0.3)\n\
        print(most, flush=True)\n\
        os.kill(-1, 9)";
    let user = args![
        fixture("setuid/probe"),
        "as-root",
        "setpriv",
        "--reuid=61238",
        "--regid=61238",
        "--clear-groups"
    ];
    let limited = args![selfdock(), "--rlimit", "nproc=12", "run", "python3", "-c", script, selfdock()];
    let ran = Dock::program(user.into_iter().chain(limited)).output();
    // And the outermost supervisor, which is not seen inside.
    let most = 1 + ran.stdout.trim().parse::<u32>().expect("a number");
    assert!((10..=12).contains(&most), "{most} processes");
}

#[rstest]
fn abstract_sockets_of_the_host_are_reached_only_if_asked_for(
    #[values("run", "--unprivileged run")] words: &str,
) {
    let inside = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\n\
                  print(__import__('os').strerror(s.connect_ex(chr(0) + sys.argv[1])), flush=True)";
    let script = "import os, socket, subprocess, sys\n\
        name = f'selfdock-test-{os.getpid()}'\n\
        server = socket.socket(socket.AF_UNIX); server.bind(chr(0) + name); server.listen()\n\
        for extra in [], ['--abstract'], ['--net', 'none', '--abstract']:\n\
        \x20 subprocess.run([sys.argv[1], *extra, *sys.argv[2].split(), 'python3', '-c', sys.argv[3], name])";
    let seen = Dock::program(args!["python3", "-c", script, selfdock(), words, inside]).ok();
    assert_eq!(seen, "Operation not permitted\nSuccess\nConnection refused");
}

#[test]
fn no_user_namespace_is_made_where_none_is_wished() {
    for words in ["unshare -Ur true", "unshare -r -U true", "$SD --unprivileged run true"] {
        Dock::run([]).env("SD", selfdock()).sh(words).ok();
        let ran = Dock::run(args!["--no-userns"]).env("SD", selfdock()).sh(words).output();
        assert!(!ran.status.success() && ran.stderr.contains("ermitted"), "{}", ran.stderr);
    }
    // clone3(2), of which no filter sees the flags.
    let clone3 =
        "args = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\nprint(call(435, args, 88))";
    assert_eq!(python(&["--no-userns"], clone3).ok(), "ENOSYS");
    assert_eq!(Dock::run(args!["--no-userns", selfdock(), "run", "echo", "nested"]).ok(), "nested");
}

#[test]
fn host_name_and_control_groups_are_namespaces_of_its_own() {
    let namespaces = "readlink /proc/self/ns/uts /proc/self/ns/cgroup";
    let (outside, inside) =
        (Dock::program(args!["sh", "-c", namespaces]).ok(), Dock::run([]).sh(namespaces).ok());
    for (outside, inside) in outside.lines().zip(inside.lines()) {
        assert_ne!(outside, inside);
    }
    let groups = Dock::run(args!["cat", "/proc/self/cgroup"]).ok();
    assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}");
}

/// C3.
#[rstest]
fn nobody_inside_looks_into_the_keeper(
    #[values(&[][..], &["--unprivileged"], &["--seccomp", "none"])] options: &[&str],
) {
    let script = "for name in 'mem', 'maps', 'environ', 'auxv', 'fd', 'exe', 'cwd', 'root', 'stack', 'syscall', 'io':\n\
        \x20 path = f'/proc/1/{name}'\n\
        \x20 try: what = os.readlink(path) if name in ('exe', 'cwd', 'root') else \
               os.listdir(path) if name == 'fd' else open(path, 'rb').read(64)\n\
        \x20 except OSError: continue\n\
        \x20 print(name, what)\n\
        for name in 'mounts', 'mountinfo': print(name, len(open(f'/proc/1/{name}').read()))\n\
        print(call(101, 16, 1, 0, 0), call(101, 0x4206, 1, 0, 0), call(308, os.pidfd_open(1), 0x20000))\n\
        iov = struct.pack('QQ', ctypes.addressof(ctypes.create_string_buffer(8)), 8)\n\
        print(call(310, 1, iov, 1, iov, 1, 0), call(438, os.pidfd_open(1), 0, 0))\n\
        for signal in 9, 19, 15, 64: call(62, 1, signal)\n\
        print(open('/proc/1/stat').read().split()[2])";
    let seen = python(options, script).ok();
    let wanted = "mounts 0\nmountinfo 0\nEPERM EPERM EPERM\nEPERM EPERM\nS";
    assert_eq!(seen, wanted);
}

#[test]
fn a_session_of_its_own_can_be_had_on_a_terminal() {
    let mut terminal = shell("bash");
    let script = "test $(ps -o sid= -p $$) = $$ && echo ow''n || echo sha''red";
    for (option, answer) in [("--new-session", "own"), ("", "shared")] {
        terminal.send(&format!("$SELFDOCK {option} run sh -c '{script}'\n"));
        terminal.expect(answer);
        terminal.expect("ready> ");
    }
}
