//! `selfdock doctor`: what this machine allows. Looks, tries, and says so in a few lines; the
//! exit status is 0 only if `run` works. It tries by starting selfdock, as anyone would.

use crate::containment::kernel_keeps_signals_inside;
use crate::creds::{self, Caller, Need};
use crate::descriptors::placeholder;
use crate::error::{FAILED, OrFail, Quoted, Result, say};
use crate::handover::{About, Mode};
use crate::host::{Entry, entries};
use crate::installation::Installation;
use crate::lifeline::expect_end;
use crate::sys::{self, Pointers, new};
use crate::{files, host_root, process};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

/// The oldest kernel that has all that is needed: `mount_setattr(2)` came with it.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// How deep the kernel lets PID namespaces be nested. `pid_namespaces(7)`.
const DEEPEST: usize = 32;

/// Looks and tries.
pub fn report(about: &About) -> Result<u8> {
    let mut out = String::new();
    installation(&mut out, about);
    host_image(&mut out, about);
    kernel(&mut out);
    containment(&mut out);
    user_namespaces(&mut out, about.caller);
    say(sys::standard(1), out.as_bytes());

    expect_end()?;
    let mode = about.mode.text();
    let status = try_run(about, 1, false)?;
    let line = if status == 0 {
        format!("ok    run works, in {mode} mode; {} more levels can be nested\n", levels(about)?)
    } else {
        format!("FAIL  run does not work, in {mode} mode\n")
    };
    say(sys::standard(1), line.as_bytes());
    Ok(u8::from(status != 0))
}

/// How many instances can be nested from here, where one works.
fn levels(about: &About) -> Result<usize> {
    let (mut works, mut fails) = (1, DEEPEST + 1);
    while works + 1 < fails {
        let middle = works.midpoint(fails);
        if try_run(about, middle, true)? == 0 {
            works = middle;
        } else {
            fails = middle;
        }
    }
    Ok(works)
}

/// Runs selfdock in as many instances and gives its exit status.
fn try_run(about: &About, depth: usize, silent: bool) -> Result<u8> {
    let mut words = Vec::new();
    for _ in 0..depth {
        words.extend([about.program, c"run", c"--chdir", c"/"]);
    }
    words.extend([about.program, c"--version"]);
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&about.environment));
    let nowhere = placeholder().or_fail("make a place for output")?;
    let child = sys::start_child(0, || {
        let quiet = sys::redirect(&nowhere, 1).is_ok() && (!silent || sys::redirect(&nowhere, 2).is_ok());
        if quiet {
            let _ = sys::execve(about.program, &argv, &envp);
        }
        FAILED
    });
    child.map(status_of).or_fail("start a process")
}

/// How the program is installed, and why that does not count where it does not.
fn installation(out: &mut String, about: &About) {
    let path = Quoted(about.program.to_bytes());
    if about.mode == Mode::SetUid {
        let _ = writeln!(out, "ok    {path} is installed set-uid root");
        return;
    }
    let why = why_not_privileged(path.0).unwrap_or("this process may not gain privilege");
    let _ = writeln!(out, "note  {path} has no privilege: {why}");
}

/// Whether instances of the host image show the host as it is.
fn host_image(out: &mut String, about: &About) {
    let again = "'cargo xtask install' prepares it anew";
    let Some(list) = Installation::around(about.program.to_bytes()).list() else {
        let _ = writeln!(out, "note  no root directory is prepared, so instances take longer; {again}");
        return;
    };
    let is_gone = |place: &[u8]| files::link_target(CWD, place) == Err(Errno::NOENT);
    let known: Vec<Entry<'_>> = entries(list).collect();
    let new = entries(host_root::look_up())
        .filter(|entry| !known.contains(entry))
        .map(|entry| (entry, "not shown"));
    let gone = entries(list).filter(|entry| matches!(entry, Entry::Place([place @ .., _]) if is_gone(place)));
    let changes: Vec<(Entry<'_>, &str)> = new.chain(gone.map(|entry| (entry, "gone"))).collect();
    if changes.is_empty() {
        out.push_str("ok    the prepared root directory is as the host is\n");
        return;
    }
    out.push_str("note  the host has changed since selfdock was installed:");
    for (entry, change) in changes {
        let (Entry::Place([path @ .., _]) | Entry::Link(path, _)) = entry else { continue };
        let _ = write!(out, " {} is {change};", Quoted(path));
    }
    let _ = writeln!(out, " {again}");
}

fn why_not_privileged(path: &[u8]) -> Option<&'static str> {
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return Some("no_new_privs is set, here or by the program that started this one");
    }
    let stat = rustix::fs::stat(path).ok()?;
    if stat.st_mode & 0o4000 == 0 {
        return Some("it is not set-uid; install it with: cargo xtask install");
    }
    if stat.st_uid != 0 {
        return Some("it is set-uid, but does not belong to root; install it with: cargo xtask install");
    }
    if rustix::fs::statvfs(path).ok()?.f_flag.contains(StatVfsMountFlags::NOSUID) {
        return Some(
            "it is set-uid, but on a file system mounted nosuid; install it elsewhere with --prefix",
        );
    }
    None
}

fn kernel(out: &mut String) {
    let name = rustix::system::uname();
    let release = name.release().to_bytes();
    let verdict = if process::kernel_version() >= OLDEST_KERNEL { "ok   " } else { "FAIL " };
    let _ = writeln!(out, "{verdict} kernel {}, 5.12 or later is needed", Quoted(release));
}

/// What the kernel has to keep things inside an instance that no namespace does.
fn containment(out: &mut String) {
    out.push_str(if kernel_keeps_signals_inside() {
        "ok    Landlock keeps signals and abstract sockets inside an instance\n"
    } else {
        "note  no Landlock of Linux 6.12 or later: with a terminal, a command can send signals to its \
         process group outside, and abstract sockets of the host's network can be reached\n"
    });
    let can_be = |action: &str| {
        process::read(b"/proc/sys/kernel/seccomp/actions_avail")
            .is_some_and(|all| process::words(all).any(|word| word == action.as_bytes()))
    };
    out.push_str(if can_be("errno") {
        "ok    system calls are filtered\n"
    } else {
        "FAIL  this kernel cannot filter system calls (CONFIG_SECCOMP_FILTER)\n"
    });
}

/// What stands in the way of user namespaces, and whether one can be had.
fn user_namespaces(out: &mut String, caller: Caller) {
    const SWITCHES: &[(&[u8], &[u8], &str)] = &[
        (b"/proc/sys/user/max_user_namespaces", b"0", "user.max_user_namespaces is 0"),
        (b"/proc/sys/kernel/unprivileged_userns_clone", b"0", "kernel.unprivileged_userns_clone is 0"),
        (
            b"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            b"1",
            "AppArmor restricts them (kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
    ];
    let works =
        sys::start_child(new::USER, || u8::from(creds::own_user_namespace(caller, Need::default()).is_err()));
    if works.map(status_of) == Ok(0) {
        out.push_str("ok    user namespaces: unprivileged mode can be used\n");
        return;
    }
    out.push_str("note  user namespaces: not to be had, so no unprivileged mode");
    for (path, value, why) in SWITCHES {
        if process::read(path).is_some_and(|text| text.trim_ascii() == *value) {
            out.push_str("; ");
            out.push_str(why);
        }
    }
    if caller.uid == 0 {
        out.push_str("; for uid 0 the kernel gives none without CAP_SETFCAP");
    }
    out.push('\n');
}

fn status_of(pid: Pid) -> u8 {
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    let code = status.ok().flatten().and_then(|(_, status)| status.exit_status());
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}
