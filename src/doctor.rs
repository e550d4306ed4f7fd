//! `selfdock doctor`: what this machine allows. Looks, tries, and says so in a few lines; the
//! exit status is 0 only if `run` works.
#![forbid(unsafe_code)]

use crate::creds::{self, Caller, Need, Privilege};
use crate::error::{OrFail, Quoted, Result, say};
use crate::launch::own_program;
use crate::process;
use crate::supervise::End;
use crate::sys::{self, new};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use rustix::fs::StatVfsMountFlags;
use rustix::process::{Pid, WaitOptions};

/// The oldest kernel that has all that is needed: `mount_setattr(2)` came with it.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// Looks and tries. `try_run` runs an instance that does nothing and gives its end.
pub fn report(
    caller: Caller,
    privilege: Option<Privilege>,
    try_run: impl FnOnce(Option<Privilege>) -> Result<End>,
) -> Result<End> {
    let mut out = String::new();
    installation(&mut out, privilege.is_some());
    kernel(&mut out);
    user_namespaces(&mut out, caller);
    say(sys::standard(1), &out);

    let mode = if privilege.is_some() { "set-uid" } else { "unprivileged" };
    let mine = privilege.as_ref().map(Privilege::for_child);
    let levels = in_child(|| match mine.map(|privilege| privilege.raise(Need::default())) {
        Some(Err(_)) => 0,
        Some(Ok(_)) => levels(caller, true),
        None => levels(caller, false),
    })?;
    let works = in_child(|| match try_run(privilege) {
        Ok(End::Exit(status)) => status,
        Ok(End::Signal(_)) => crate::error::FAILED,
        Err(error) => error.report(),
    })?;
    let line = match (works, levels) {
        (0, levels) => format!("ok    run works, in {mode} mode; {levels} more levels can be nested\n"),
        _ => format!("FAIL  run does not work, in {mode} mode\n"),
    };
    say(sys::standard(1), &line);
    Ok(End::Exit(u8::from(works != 0)))
}

/// How the program is installed, and why that does not count where it does not.
fn installation(out: &mut String, privileged: bool) {
    let Ok(Some(program)) = own_program(None) else {
        out.push_str("note  selfdock's own file cannot be found: is /proc mounted?\n");
        return;
    };
    let path = Quoted(&program.path);
    if privileged {
        let _ = writeln!(out, "ok    {path} is installed set-uid root");
        return;
    }
    let why = why_not_privileged(&program.path).unwrap_or("this process may not gain privilege");
    let _ = writeln!(out, "note  {path} has no privilege: {why}");
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
    let mut numbers = release
        .split(|b| !b.is_ascii_digit())
        .map(|n| core::str::from_utf8(n).ok().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let verdict = if version >= OLDEST_KERNEL { "ok   " } else { "FAIL " };
    let _ = writeln!(out, "{verdict} kernel {}, 5.12 or later is needed", Quoted(release));
}

/// What stands in the way of user namespaces, and whether one can be had.
fn user_namespaces(out: &mut String, caller: Caller) {
    const SWITCHES: &[(&str, &[u8], &str)] = &[
        ("/proc/sys/user/max_user_namespaces", b"0", "user.max_user_namespaces is 0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", b"0", "kernel.unprivileged_userns_clone is 0"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            b"1",
            "AppArmor restricts them (kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
    ];
    let works = in_child(|| match sys::clone(new::USER) {
        Ok(None) => sys::exit(u8::from(creds::own_user_namespace(caller, Need::default()).is_err())),
        Ok(Some(pid)) => status_of(pid),
        Err(_) => 1,
    });
    if works.is_ok_and(|status| status == 0) {
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

/// How many PID namespaces can be nested from here, by trying.
fn levels(caller: Caller, privileged: bool) -> u8 {
    let flags = if privileged { new::PID } else { new::PID | new::USER };
    match sys::clone(flags) {
        Ok(None) if privileged => sys::exit(1 + levels(caller, true)),
        // Without a map a user namespace cannot have another in it.
        Ok(None) => match creds::own_user_namespace(caller, Need::default()) {
            Ok(_) => sys::exit(1 + levels(caller, false)),
            Err(_) => sys::exit(0),
        },
        Ok(Some(pid)) => status_of(pid),
        Err(_) => 0,
    }
}

/// Runs `f` in a process of its own and gives the status it ends with.
fn in_child(f: impl FnOnce() -> u8) -> Result<u8> {
    match sys::clone(0).or_fail("start a process")? {
        None => sys::exit(f()),
        Some(pid) => Ok(status_of(pid)),
    }
}

fn status_of(pid: Pid) -> u8 {
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    let code = status.ok().flatten().and_then(|(_, status)| status.exit_status());
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::error::FAILED)
}
