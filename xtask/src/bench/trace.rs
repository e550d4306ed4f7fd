//! Counts system calls, process by process. ptrace(2).

use super::pace::Job;
use super::site::Site;
use crate::run::{Context, Result, line};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

/// The calls of one process: how often each.
pub type Calls = BTreeMap<String, usize>;

/// A process that is traced.
struct Traced {
    pid: Pid,
    /// In a system call, so that the next stop is its end.
    inside: bool,
    calls: Calls,
}

/// Runs a job once, and gives the calls of each of its processes in the order of their births.
pub fn calls(site: &Site, job: &Job, root: &Path) -> Result<Vec<Calls>> {
    let mut command = site.pace();
    command.arg("stop").arg(root).args(site.ids(job)).args(&job.argv);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The thread that starts it is the one that traces it.
    let child = command.spawn().context(line(&command))?;
    let first = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    waitpid(first, None).context("wait for pace")?;
    ptrace::setoptions(first, options).context("trace pace")?;
    ptrace::syscall(first, None).context("trace pace")?;
    let mut all = vec![Traced { pid: first, inside: false, calls: Calls::new() }];
    loop {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let status = waitpid(None, Some(flags)).context("wait for a traced process")?;
        let Some(pid) = status.pid() else { continue };
        let traced = find(&mut all, pid);
        let mut signal = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) if pid == first => {
                return if status == WaitStatus::Exited(first, 0) {
                    Ok(all.into_iter().map(|traced| traced.calls).collect())
                } else {
                    Err(format!("{}: it ended with {status:?}", job.who))
                };
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceSyscall(_) => traced.step()?,
            // What pace did before is not the program's.
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) if pid == first => traced.calls.clear(),
            // The stop in which a new process begins.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            WaitStatus::Stopped(_, other) => signal = Some(other),
            _ => {}
        }
        // It may have been killed meanwhile.
        let _ = ptrace::syscall(pid, signal);
    }
}

fn find(all: &mut Vec<Traced>, pid: Pid) -> &mut Traced {
    let at = all.iter().position(|traced| traced.pid == pid).unwrap_or(all.len());
    if at == all.len() {
        all.push(Traced { pid, inside: false, calls: Calls::new() });
    }
    &mut all[at]
}

impl Traced {
    /// A stop at the begin or the end of a system call.
    fn step(&mut self) -> Result {
        self.inside = !self.inside;
        if self.inside {
            let number = ptrace::getregs(self.pid).context("read registers")?.orig_rax;
            *self.calls.entry(name(number.cast_signed())).or_insert(0) += 1;
        }
        Ok(())
    }
}

macro_rules! names {
    ($number:expr; $($call:ident $name:literal)*) => {
        match $number {
            $(libc::$call => $name.to_owned(),)*
            // Newer than the table of the library.
            467 => "open_tree_attr".to_owned(),
            439 => "faccessat2".to_owned(),
            other => format!("call {other}"),
        }
    };
}

/// The name of a call that sandbox launchers make.
fn name(number: i64) -> String {
    names! { number;
    SYS_eventfd "eventfd" SYS_creat "creat" SYS_fchmodat "fchmodat" SYS_fchmod "fchmod"
    SYS_access "access" SYS_arch_prctl "arch_prctl" SYS_brk "brk" SYS_capget "capget"
    SYS_capset "capset" SYS_chdir "chdir" SYS_clock_gettime "clock_gettime" SYS_clone "clone"
    SYS_clone3 "clone3" SYS_close "close" SYS_close_range "close_range" SYS_dup "dup"
    SYS_dup2 "dup2" SYS_dup3 "dup3" SYS_epoll_create1 "epoll_create1" SYS_eventfd2 "eventfd2"
    SYS_execve "execve" SYS_exit "exit" SYS_exit_group "exit_group" SYS_faccessat "faccessat"
    SYS_fchdir "fchdir" SYS_fcntl "fcntl" SYS_fsconfig "fsconfig" SYS_fsmount "fsmount"
    SYS_fsopen "fsopen" SYS_fstat "fstat" SYS_fstatfs "fstatfs" SYS_getcwd "getcwd"
    SYS_getdents64 "getdents64" SYS_getegid "getegid" SYS_geteuid "geteuid" SYS_getgid "getgid"
    SYS_getgroups "getgroups" SYS_getpid "getpid" SYS_getppid "getppid" SYS_getresgid "getresgid"
    SYS_getresuid "getresuid" SYS_getrlimit "getrlimit" SYS_getuid "getuid" SYS_ioctl "ioctl"
    SYS_kill "kill" SYS_lstat "lstat" SYS_mkdir "mkdir" SYS_mkdirat "mkdirat" SYS_mmap "mmap"
    SYS_mount "mount" SYS_mount_setattr "mount_setattr" SYS_move_mount "move_mount"
    SYS_mprotect "mprotect" SYS_munmap "munmap" SYS_newfstatat "newfstatat" SYS_openat "openat"
    SYS_openat2 "openat2" SYS_open_tree "open_tree" SYS_pidfd_open "pidfd_open" SYS_pipe2 "pipe2"
    SYS_pivot_root "pivot_root" SYS_poll "poll" SYS_ppoll "ppoll" SYS_prctl "prctl"
    SYS_pread64 "pread64" SYS_prlimit64 "prlimit64" SYS_read "read" SYS_readlink "readlink"
    SYS_readlinkat "readlinkat" SYS_rt_sigaction "rt_sigaction" SYS_rt_sigprocmask "rt_sigprocmask"
    SYS_rt_sigtimedwait "rt_sigtimedwait" SYS_seccomp "seccomp" SYS_set_robust_list "set_robust_list"
    SYS_set_tid_address "set_tid_address" SYS_setfsgid "setfsgid" SYS_setfsuid "setfsuid"
    SYS_sethostname "sethostname" SYS_setresgid "setresgid" SYS_setresuid "setresuid"
    SYS_setsid "setsid" SYS_setuid "setuid" SYS_signalfd4 "signalfd4" SYS_socket "socket"
    SYS_stat "stat" SYS_statfs "statfs" SYS_statx "statx" SYS_symlink "symlink"
    SYS_symlinkat "symlinkat" SYS_umask "umask" SYS_umount2 "umount2" SYS_unshare "unshare"
    SYS_wait4 "wait4" SYS_waitid "waitid" SYS_write "write" SYS_open "open" SYS_rseq "rseq"
    SYS_getrandom "getrandom" SYS_sendto "sendto" SYS_recvfrom "recvfrom" SYS_bind "bind"
    SYS_chmod "chmod" }
}
