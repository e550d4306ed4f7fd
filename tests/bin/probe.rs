//! Asks the kernel what a test wants to know, from inside an instance. Static, so it runs in any root filesystem.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_open, mq_unlink};
use nix::sys::stat::Mode;
use std::ffi::{CStr, CString};
use std::fs;
use std::io::Read;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["status", fields @ ..] => status(fields),
        ["open", path] => open(path),
        ["fds"] => print!("{}", fds()),
        ["fds-to", file] => fds_to(file),
        ["pty"] => pty(),
        ["queue", "make", name] => queue(name, MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT),
        ["queue", "open", name] => queue(name, MQ_OFlag::O_RDONLY),
        ["queue", "remove", name] => mq_unlink(*name).expect("mq_unlink"),
        ["no-argv", program] => no_argv(program),
        ["as-root", program, args @ ..] => as_root(program, args),
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

/// `fds-to FILE`: the same, where there may be no stdout. Rust's start opens /dev/null for 0, 1 and 2 where they are
/// closed, which tells them from descriptors that were open: the tests leave none on /dev/null.
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
    let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(program).args(args));
    panic!("{program}: {error}");
}

/// `no-argv PROGRAM`: becomes PROGRAM with an empty argument vector.
fn no_argv(program: &str) {
    let program = CString::new(program).expect("a path");
    let nothing: [&CStr; 0] = [];
    let error = nix::unistd::execve(&program, &nothing, &nothing);
    panic!("execve: {error:?}");
}
