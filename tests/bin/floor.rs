//! The floor under the spawn rate: the bare system calls of an instance, with nothing around them.
//!
//! `floor COUNT PROGRAM` starts PROGRAM COUNT times, each time in new mount, PID and IPC namespaces with a read-only
//! root, hidden directories, /proc, /dev and /tmp; it prints the microseconds that one took. It is set-uid root in the
//! throwaway prefix of the tests, for the tests only; PROGRAM runs as the caller.

use nix::libc::{self, c_long};
use std::ffi::{CStr, CString};
use std::io::Error;
use std::ptr::null;
use std::time::Instant;

const HIDDEN: [&CStr; 9] = [c"home", c"root", c"run", c"var/tmp", c"mnt", c"media", c"srv", c"sys", c"boot"];
const NODES: [&CStr; 6] = [c"null", c"zero", c"full", c"random", c"urandom", c"tty"];

const MOVE_FROM_FD: usize = 4;
const CREATE: usize = 6;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, count, program] = args.as_slice() else { panic!("usage: floor COUNT PROGRAM") };
    let count: u32 = count.parse().expect("COUNT is a number");
    let program = CString::new(program.as_str()).expect("PROGRAM is a path");
    let start = Instant::now();
    for _ in 0..count {
        instance(&program);
    }
    println!("{}", start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}

/// One instance, from birth to death.
fn instance(program: &CStr) {
    let flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::SIGCHLD;
    let child = call(libc::SYS_clone, [flags as usize, 0, 0, 0, 0]);
    if child == 0 {
        build();
        exec(program);
    }
    let mut status = 0_i32;
    call(libc::SYS_wait4, [child, &raw mut status as usize, 0, 0, 0]);
    assert_eq!(status, 0, "the program failed");
}

/// The root filesystem: recursive, read-only, with the private parts in place of the host's.
fn build() {
    let private = (libc::MS_REC | libc::MS_PRIVATE) as usize;
    call(libc::SYS_mount, [0, c"/".as_ptr() as usize, 0, private, 0]);
    let root = tree(libc::AT_FDCWD as usize, c"/");
    attribute(root, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
    attach(root, libc::AT_FDCWD as usize, c"/tmp");

    let empty = filesystem(c"tmpfs", libc::MOUNT_ATTR_RDONLY);
    for dir in HIDDEN.iter().filter(|dir| exists(dir)) {
        attach(tree(empty, c""), root, dir);
    }
    attach(filesystem(c"proc", 0), root, c"proc");
    let dev = filesystem(c"tmpfs", 0);
    for name in NODES {
        call(libc::SYS_mknodat, [dev, name.as_ptr() as usize, (libc::S_IFREG | 0o666) as usize, 0, 0]);
    }
    for name in [c"pts", c"shm"] {
        call(libc::SYS_mkdirat, [dev, name.as_ptr() as usize, 0o755, 0, 0]);
    }
    let host = call(
        libc::SYS_openat,
        [libc::AT_FDCWD as usize, c"/dev".as_ptr() as usize, libc::O_PATH as usize, 0, 0],
    );
    attach(dev, root, c"dev");
    for name in NODES {
        attach(tree(host, name), dev, name);
    }
    attach(filesystem(c"devpts", 0), dev, c"pts");
    attach(filesystem(c"tmpfs", 0), dev, c"shm");
    attach(filesystem(c"tmpfs", 0), root, c"tmp");

    call(libc::SYS_fchdir, [root, 0, 0, 0, 0]);
    let dot = c".".as_ptr() as usize;
    call(libc::SYS_pivot_root, [dot, dot, 0, 0, 0]);
    call(libc::SYS_umount2, [dot, libc::MNT_DETACH as usize, 0, 0, 0]);
}

/// Becomes the caller for good, and the program.
fn exec(program: &CStr) -> ! {
    let uid = nix::unistd::getuid().as_raw() as usize;
    call(libc::SYS_close_range, [3, usize::from(u16::MAX), 0, 0, 0]);
    call(libc::SYS_setresuid, [uid, uid, uid, 0, 0]);
    let argv = [program.as_ptr(), null()];
    let end = null::<u8>();
    call(
        libc::SYS_execve,
        [program.as_ptr() as usize, argv.as_ptr() as usize, &raw const end as usize, 0, 0],
    );
    unreachable!("execve returned");
}

fn exists(dir: &CStr) -> bool {
    std::path::Path::new("/").join(dir.to_str().expect("plain names")).is_dir()
}

/// A detached clone of a mounted tree.
fn tree(dir: usize, path: &CStr) -> usize {
    let flags = libc::OPEN_TREE_CLONE as usize | libc::OPEN_TREE_CLOEXEC as usize;
    let flags = flags | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as usize;
    call(libc::SYS_open_tree, [dir, path.as_ptr() as usize, flags, 0, 0])
}

/// A new filesystem, detached.
fn filesystem(kind: &CStr, attributes: u64) -> usize {
    let context = call(libc::SYS_fsopen, [kind.as_ptr() as usize, 1, 0, 0, 0]);
    call(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0]);
    call(libc::SYS_fsmount, [context, 1, attributes as usize, 0, 0])
}

fn attach(mount: usize, dir: usize, path: &CStr) {
    let (empty, path) = (c"".as_ptr() as usize, path.as_ptr() as usize);
    call(libc::SYS_move_mount, [mount, empty, dir, path, MOVE_FROM_FD]);
}

fn attribute(mount: usize, set: u64) {
    let attr = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as usize;
    call(
        libc::SYS_mount_setattr,
        [mount, c"".as_ptr() as usize, flags, &raw const attr as usize, size_of_val(&attr)],
    );
}

/// One system call; an error ends the program.
fn call(number: c_long, args: [usize; 5]) -> usize {
    let [a, b, c, d, e] = args;
    // SAFETY: every pointer above is to a value that outlives the call and has the type that the call reads or writes;
    // clone has no CLONE_VM, so the child has memory of its own.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    assert!(result >= 0, "system call {number}: {}", Error::last_os_error());
    result as usize
}
