//! Names of system calls.

use nix::libc;

macro_rules! names {
    ($number:expr; $($call:ident $name:literal)*) => {
        match $number {
            $(libc::$call => $name.to_owned(),)*
            // Newer than the table of the library.
            457 => "statmount".to_owned(),
            458 => "listmount".to_owned(),
            467 => "open_tree_attr".to_owned(),
            439 => "faccessat2".to_owned(),
            444 => "landlock_create_ruleset".to_owned(),
            446 => "landlock_restrict_self".to_owned(),
            other => format!("call {other}"),
        }
    };
}

/// The name of a call that sandbox launchers make.
pub fn name(number: i64) -> String {
    names! { number;
    SYS_uname "uname" SYS_rt_sigpending "rt_sigpending" SYS_getrusage "getrusage"
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
    SYS_chmod "chmod" SYS_chroot "chroot" SYS_futex "futex" SYS_getcpu "getcpu" SYS_keyctl "keyctl"
    SYS_pause "pause" SYS_sched_setaffinity "sched_setaffinity" SYS_getpgid "getpgid"
    SYS_getpgrp "getpgrp" SYS_getsid "getsid" SYS_setpgid "setpgid" SYS_pidfd_send_signal "pidfd_send_signal"
    SYS_tgkill "tgkill" SYS_rt_sigqueueinfo "rt_sigqueueinfo" }
}
