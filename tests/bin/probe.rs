//! Reads data of the kernel for the tests, inside an instance. It is static, so it runs in any root filesystem.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_open, mq_unlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigEvent, SigSet, SigevNotify, Signal, raise};
use nix::sys::stat::Mode;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::ClockId;
use nix::unistd::{AccessFlags, Pid, access, getpgrp, getppid, getsid, tcsetpgrp};
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["status", fields @ ..] => status(fields),
        ["portrait", outside @ ..] => portrait(outside),
        ["open", path] => open(path),
        ["fds"] => print!("{}", fds()),
        ["fds-to", file] => fds_to(file),
        ["pty"] => pty(),
        ["look"] => look(),
        ["hold"] => hold(),
        ["queue", "make", name] => queue(name, MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT),
        ["queue", "open", name] => queue(name, MQ_OFlag::O_RDONLY),
        ["queue", "remove", name] => mq_unlink(*name).expect("mq_unlink"),
        ["no-argv", program] => no_argv(program),
        ["as-root", program, args @ ..] => as_root(program, args),
        ["job", program, args @ ..] => job(program, args),
        ["front", program, args @ ..] => front(program, args),
        ["blocked", signal] => blocked(signal),
        ["outlive"] => outlive(),
        ["abort"] => std::process::abort(),
        ["alarm"] => alarm(),
        ["raise", signal] => raise(numbered(signal)).expect("raise"),
        ["write-too-much"] => write_too_much(),
        ["write-to-pipes"] => write_to_pipes(),
        _ => panic!("probe: what is {args:?}?"),
    }
}

/// `status FIELD...`: those lines of /proc/self/status.
fn status(fields: &[&str]) {
    let text = fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let wanted = |line: &&str| line.split_once(':').is_some_and(|(name, _)| fields.contains(&name));
    for line in text.lines().filter(wanted) {
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// `portrait NAMESPACE...`: all about this process that is the same in every run. The words are the namespaces
/// outside, as the links in /proc name them.
fn portrait(outside: &[&str]) {
    status(&[
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
    ]);
    for kind in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).expect("read a link");
        let is_own = !outside.iter().any(|known| link.as_os_str() == *known);
        println!("{kind} {}", if is_own { "own" } else { "shared" });
    }
    // Root, mount point, flags, propagation and type of each mount. The other fields have varying numbers.
    for line in fs::read_to_string("/proc/self/mountinfo").expect("read the mounts").lines() {
        let (mount, kind) = line.split_once(" - ").expect("a line of mountinfo");
        let mount: Vec<&str> = mount.split(' ').skip(3).collect();
        println!("{} {}", mount.join(" "), kind.split(' ').next().unwrap_or_default());
    }
    // Without the numbers of pipes.
    fds().lines().for_each(|line| println!("{}", line.split(':').next().unwrap_or_default()));
    for dir in ["/", "/dev", "/dev/shm", "/tmp"] {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        println!("{dir} {names:?}");
    }
    print!("{}", fs::read_to_string("/proc/self/limits").expect("read the limits"));
    println!("in {}", std::env::current_dir().expect("a directory").display());
    let (own, session, group) = (Pid::this(), getsid(None).expect("getsid"), getpgrp());
    println!("leads a session: {}, a group: {}", own == session, own == group);
    println!("parent outside: {}", getppid() == Pid::from_raw(0));
    // An old root directory that is still there lies over the new one, and `..` leads to it.
    println!("nothing above the root: {}", mount_of("/..") == mount_of("/"));
    if let Ok(name) = std::env::var("SELFDOCK_OUTSIDE") {
        let address = SocketAddr::from_abstract_name(name).expect("an abstract socket");
        println!("reaches an abstract socket outside: {}", UnixStream::connect_addr(&address).is_ok());
    }
}

/// The number of the mount that a directory is on.
fn mount_of(dir: &str) -> String {
    let dir = fs::File::open(dir).expect(dir);
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).expect("read fdinfo");
    let line = told.lines().find(|line| line.starts_with("mnt_id:"));
    line.expect("a line with the mount's number").to_owned()
}

/// `open PATH`: the first byte could be read, or the name of the error.
fn open(path: &str) {
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut [0]));
    match read {
        Ok(_) => println!("opened"),
        Err(error) => println!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

/// `fds`: number and target of every open descriptor.
fn fds() -> String {
    let listing = fs::read_dir("/proc/self/fd").expect("read /proc/self/fd").flatten();
    let all = listing.filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)));
    // One of them is the listing itself.
    let own = format!("/proc/{}/fd", std::process::id());
    let open = all.filter(|(_, target)| target.to_str() != Some(own.as_str()));
    open.map(|(number, target)| format!("{} {}\n", number.display(), target.display())).collect()
}

/// `fds-to FILE`: the same, for runs without stdout. Rust's start-up code opens /dev/null for closed standard
/// descriptors. These are left out: the tests never leave an open one on /dev/null.
fn fds_to(file: &str) {
    let open: String =
        fds().lines().filter(|line| !line.ends_with(" /dev/null")).map(|line| format!("{line}\n")).collect();
    fs::write(file, open).expect("write the list");
}

/// `pty`: the name of a new pseudo-terminal.
fn pty() {
    let pty = nix::pty::openpty(None, None).expect("openpty");
    println!("{}", nix::unistd::ttyname(&pty.slave).expect("ttyname").display());
}

/// `look`: prints for each path on stdin what is there and what this process may do with it. For `part of PATH` it
/// prints only whether a file can be read, and not its text.
fn look() {
    for line in std::io::stdin().lines() {
        let line = line.expect("read a line");
        let part = line.strip_prefix("part of ");
        let path = part.unwrap_or(&line);
        println!("{path} {}", sight(path.as_ref(), part.is_some()));
    }
}

fn sight(path: &std::path::Path, is_part: bool) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let kind = match fs::symlink_metadata(path) {
        Ok(about) => about.file_type(),
        Err(error) => return format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    };
    if kind.is_symlink() {
        return format!("link {}", fs::read_link(path).expect("read a link").display());
    }
    let told = |text: Option<String>| match text {
        Some(text) if !is_part => format!("{text:?}"),
        text => yes(text.is_some()).to_owned(),
    };
    if std::os::unix::fs::FileTypeExt::is_char_device(&kind) {
        return "device".into();
    }
    if !kind.is_dir() {
        let read = told(fs::read_to_string(path).ok());
        let write = yes(fs::OpenOptions::new().write(true).open(path).is_ok());
        let execute = yes(access(path, AccessFlags::X_OK).is_ok());
        return format!("file read={read} write={write} execute={execute}");
    }
    let read = told(fs::read_dir(path).ok().map(|entries| {
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    }));
    let new = path.join(".new");
    let write = fs::File::create_new(&new).and_then(|_| fs::remove_file(&new)).is_ok();
    format!("dir read={read} write={}", yes(write))
}

/// `hold`: stays until stdin ends.
fn hold() {
    say("up");
    read_line();
}

/// `queue make|open NAME`: a POSIX message queue.
fn queue(name: &str, flags: MQ_OFlag) {
    // With no attributes nix passes no mode either.
    let attributes = MqAttr::new(0, 4, 64, 0);
    match mq_open(name, flags, Mode::from_bits_truncate(0o666), Some(&attributes)) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error:?}"),
    }
}

/// `as-root PROGRAM ARG...`: the set-uid copy becomes root with root's groups, and then PROGRAM.
fn as_root(program: &str, args: &[&str]) {
    let (uid, gid) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    nix::unistd::setgroups(&[gid]).expect("setgroups");
    nix::unistd::setresgid(gid, gid, gid).expect("setresgid");
    nix::unistd::setresuid(uid, uid, uid).expect("setresuid");
    let error = Command::new(program).args(args).exec();
    panic!("{program}: {error}");
}

/// `no-argv PROGRAM`: becomes PROGRAM with an empty argument vector.
fn no_argv(program: &str) {
    let program = CString::new(program).expect("a path");
    let nothing: [&CStr; 0] = [];
    let error = nix::unistd::execve(&program, &nothing, &nothing);
    panic!("execve: {error:?}");
}

fn numbered(signal: &str) -> Signal {
    signal.parse().ok().and_then(|number: i32| Signal::try_from(number).ok()).expect("a signal")
}

/// `job PROGRAM ARG...`: starts PROGRAM as a shell starts a job: in its own process group, and in the foreground if
/// there is a terminal. Prints on stderr all that wait(2) reports.
#[expect(clippy::zombie_processes, reason = "waitpid also tells of stops")]
fn job(program: &str, args: &[&str]) {
    let on_terminal = std::io::stdin().is_terminal();
    let mut command = Command::new(if on_terminal { "/proc/self/exe" } else { program });
    if on_terminal {
        command.arg("front").arg(program).stderr(Stdio::piped());
    } else {
        command.stderr(duplicate(std::io::stdout()));
    }
    let mut child = command.args(args).process_group(0).spawn().expect("start a job");
    if let Some(mut front) = child.stderr.take() {
        // The pipe closes when PROGRAM is executed.
        front.read_to_end(&mut Vec::new()).expect("wait for the job");
    }
    let pid = Pid::from_raw(child.id().cast_signed());
    eprintln!("pid {pid}");
    loop {
        match waitpid(pid, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED)).expect("wait for the job")
        {
            WaitStatus::Exited(_, status) => return eprintln!("exited {status}"),
            WaitStatus::Signaled(_, signal, _) => return eprintln!("signaled {}", signal as i32),
            WaitStatus::Stopped(_, signal) => eprintln!("stopped {}", signal as i32),
            WaitStatus::Continued(_) => eprintln!("continued"),
            other => eprintln!("{other:?}"),
        }
    }
}

/// `front PROGRAM ARG...`: puts its process group into the foreground of the terminal before it executes PROGRAM,
/// which may read from the terminal. It holds its old stderr until then, and PROGRAM gets its stdout instead.
fn front(program: &str, args: &[&str]) {
    let mut stops = SigSet::empty();
    stops.add(Signal::SIGTTOU);
    stops.thread_block().expect("block SIGTTOU");
    tcsetpgrp(std::io::stdin(), getpgrp()).expect("tcsetpgrp");
    stops.thread_unblock().expect("unblock SIGTTOU");
    let _held = duplicate(std::io::stderr());
    let error = Command::new(program).args(args).stderr(duplicate(std::io::stdout())).exec();
    panic!("{program}: {error}");
}

/// It is closed at exec.
fn duplicate(descriptor: impl AsFd) -> OwnedFd {
    descriptor.as_fd().try_clone_to_owned().expect("duplicate a descriptor")
}

/// `blocked N`: blocks a signal, reads a line, prints whether the signal is pending, and unblocks it.
fn blocked(signal: &str) {
    let mut set = SigSet::empty();
    set.add(numbered(signal));
    set.thread_block().expect("block a signal");
    say("up");
    read_line();
    status(&["SigPnd", "ShdPnd"]);
    std::io::stdout().flush().expect("flush");
    set.thread_unblock().expect("unblock a signal");
    say("alive");
}

/// `outlive`: clears its parent-death signal, and does not end by itself.
fn outlive() {
    set_pdeathsig(None).expect("PR_SET_PDEATHSIG");
    say("up");
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// `alarm`: a timer's SIGALRM, which nobody handles.
fn alarm() {
    let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).expect("timer_create");
    let soon = Expiration::OneShot(Duration::from_millis(1).into());
    timer.set(soon, TimerSetTimeFlags::empty()).expect("timer_settime");
    read_line();
}

/// `write-too-much`: writes more to a file than the limit allows.
fn write_too_much() {
    setrlimit(Resource::RLIMIT_FSIZE, 10, 10).expect("setrlimit");
    let file = memfd_create(c"file", MFdFlags::empty()).expect("memfd_create");
    let mut file = fs::File::from(file);
    while file.write(b"12345").is_ok() {}
}

/// `write-to-pipes`: looks for pipes of other processes that are not its own, writes to each, and counts them. It
/// begins at once, and goes on for a while.
fn write_to_pipes() {
    let link = |pid: &str, fd: u32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let own: Vec<_> = (0..3).filter_map(|fd| link("self", fd)).collect();
    let me = std::process::id();
    let mut count = 0;
    for _ in 0..200 {
        for (pid, fd) in (2..16).filter(|pid| *pid != me).flat_map(|pid| (0..16).map(move |fd| (pid, fd))) {
            let Some(target) = link(&pid.to_string(), fd) else { continue };
            let is_pipe = target.to_string_lossy().starts_with("pipe:[");
            if is_pipe
                && !own.contains(&target)
                && fs::write(format!("/proc/{pid}/fd/{fd}"), "forged").is_ok()
            {
                count += 1;
            }
        }
    }
    println!("{count}");
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().expect("flush");
}

fn read_line() {
    std::io::stdin().read_line(&mut String::new()).expect("read a line");
}
