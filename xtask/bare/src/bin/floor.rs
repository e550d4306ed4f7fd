//! The floor under the cost of an instance: only the system calls that cannot be avoided.
//!
//! `floor ROOT LIST [-v SRC DST]... PROGRAM [ARG...]` runs PROGRAM in an instance like selfdock's, without checks and
//! without error messages. It is installed set-uid root in a throwaway prefix, for the user of the tests and the
//! bench only. ROOT and LIST are the prepared root directory and the list of an installation.
//!
//! It has the same processes. The supervisor makes the PID namespace and starts the two others. The keeper is PID 1,
//! gets the orphans, and dies with the supervisor; then the kernel ends all that is left. The program runs in the
//! other namespaces. When the program ends, the supervisor ends the keeper and waits for it, so nothing of the
//! instance is left.
//!
//! It saves what selfdock needs to know and to verify. Paths are used as they are. One call drops the privilege, and
//! the keeper keeps its own. Both children share their parent's memory. One mount_setattr call sets propagation and
//! flags. With `open_tree_attr` (Linux 6.15) a copy and its flags are also one call.
#![no_std]
#![no_main]

use bare::{AT_FDCWD, O_DIRECTORY, Start, at, beside, call, exit, flags, must, nr, open, pause, vfork};
use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, Ordering};

bare::start!(main);

/// The most volumes that the bench uses.
const MOST: usize = 128;

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const BIND: usize = 4096;
const RECURSIVE: usize = 16384;

const SIGKILL: usize = 9;

const AT_RECURSIVE: usize = 0x8000;
const OPEN_TREE_CLONE: usize = 1;
const OPEN_TREE_CLOEXEC: usize = 0x8_0000;
const MOVE_FROM_FD: usize = 4;

/// `struct mount_attr`
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const fn private(set: u64) -> Attributes {
    const MS_PRIVATE: u64 = 1 << 18;
    Attributes { set, clear: 0, propagation: MS_PRIVATE, user_namespace: 0 }
}

fn main(start: &Start) -> ! {
    let mut status = 0_u32;
    let alive = AtomicI32::new(1);
    // SAFETY: this frame stays as long as the process, at whose end the kernel clears the word in it. The keeper reads
    // that word, and the program's process what `start` refers to. The status is written while this function waits.
    unsafe {
        must(nr::UNSHARE, [flags::CLONE_NEWPID, 0, 0, 0, 0]);
        must(nr::SET_TID_ADDRESS, [alive.as_ptr() as usize, 0, 0, 0, 0]);
        let keeper = beside(0, keep, alive.as_ptr() as usize);
        let program =
            vfork(flags::CLONE_NEWNS | flags::CLONE_NEWIPC, instance, core::ptr::from_ref(start) as usize);
        if keeper < 0 || program < 0 {
            exit(125);
        }
        drop_privilege();
        must(nr::WAIT4, [program.unsigned_abs(), &raw mut status as usize, 0, 0, 0]);
        // The end of the keeper ends all that is left in the instance.
        must(nr::KILL, [keeper.unsigned_abs(), SIGKILL, 0, 0, 0]);
        must(nr::WAIT4, [keeper.unsigned_abs(), 0, 0, 0, 0]);
    }
    exit(if status & 0x7f == 0 { (status >> 8) as usize } else { 128 + (status & 0x7f) as usize })
}

/// The keeper: leaves orphans to the kernel, and waits until it is killed.
extern "C" fn keep(supervisor: usize) -> ! {
    const PR_SET_PDEATHSIG: usize = 1;
    const SIGCHLD: usize = 17;
    /// `struct sigaction` of the kernel, which has `SIG_IGN` first.
    const IGNORE: [usize; 4] = [1, 0, 0, 0];
    // SAFETY: a word of the supervisor's frame, and a structure that outlives the call.
    unsafe {
        call(nr::PRCTL, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
        // If the supervisor ended before, no signal comes, but the kernel clears the word before it tells anybody.
        if AtomicI32::from_ptr(supervisor as *mut i32).load(Ordering::Relaxed) == 0 {
            exit(0);
        }
        call(nr::RT_SIGACTION, [SIGCHLD, IGNORE.as_ptr() as usize, 0, 8, 0]);
    }
    pause()
}

/// The process of the program, which begins with a copy of the host's mounts.
extern "C" fn instance(start: usize) -> ! {
    // SAFETY: `main` passed the address, and waits.
    let start = unsafe { &*(start as *const Start) };
    let (root, list) = (start.arg(1), start.arg(2));
    let mut trees = [0; MOST];
    let mut volumes = 0;
    while start.arg(3 + 3 * volumes) == c"-v" && volumes < MOST {
        trees[volumes] = tree(start.arg(4 + 3 * volumes), AT_RECURSIVE, NOSUID | NODEV);
        volumes += 1;
    }
    let program = 3 + 3 * volumes;
    let mut text = [0; 4096];
    let length = read(list, &mut text);
    let prepared = tree(root, 0, RDONLY | NOSUID | NOEXEC);
    let own = tree(start.arg(0), 0, RDONLY | NODEV);
    tighten_root();
    show(prepared, &text[..length]);
    mount(c"tmpfs", c"/tmp", NOSUID | NODEV, c"size=64m,nr_inodes=16384,mode=1777");
    for (i, tree) in trees.iter().take(volumes).enumerate() {
        let place = start.arg(5 + 3 * i);
        // SAFETY: a string. The place may be there already.
        unsafe { call(nr::MKDIRAT, [AT_FDCWD, at(place), 0o755, 0, 0]) };
        attach(*tree, place);
    }
    mount(c"devpts", c"/dev/pts", NOSUID | NOEXEC, c"ptmxmode=0666,mode=0620");
    mount(c"tmpfs", c"/dev/shm", NOSUID | NODEV, c"size=64m,nr_inodes=16384,mode=1777");
    mount(c"proc", c"/proc", NOSUID | NODEV | NOEXEC, c"");
    attach(own, start.arg(0));
    become_program(start, program)
}

fn become_program(start: &Start, program: usize) -> ! {
    // SAFETY: strings, and lists of them, that the kernel made.
    unsafe {
        must(nr::CHDIR, [at(c"/"), 0, 0, 0, 0]);
        drop_privilege();
        let path = at(start.arg(program));
        must(nr::EXECVE, [path, start.argv.add(program) as usize, start.envp as usize, 0, 0]);
    }
    exit(125)
}

/// Real, effective and saved uid become the caller's, which ends every capability.
fn drop_privilege() {
    // SAFETY: no pointers.
    unsafe {
        let uid = must(nr::GETUID, [0; 5]);
        must(nr::SETRESUID, [uid, uid, uid, 0, 0]);
    }
}

/// A copy of a mount, with these attributes added.
fn tree(path: &CStr, recursive: usize, set: u64) -> usize {
    const ENOSYS: isize = -38;
    const AT_EMPTY_PATH: usize = 0x1000;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive;
    let set = private(set);
    let (place, size) = (&raw const set as usize, size_of::<Attributes>());
    // SAFETY: strings, and attributes that outlive the calls.
    unsafe {
        let made = call(nr::OPEN_TREE_ATTR, [AT_FDCWD, at(path), flags, place, size]);
        if made != ENOSYS {
            return if made < 0 { exit(125) } else { made.unsigned_abs() };
        }
        let tree = must(nr::OPEN_TREE, [AT_FDCWD, at(path), flags, 0, 0]);
        must(nr::MOUNT_SETATTR, [tree, at(c""), AT_EMPTY_PATH | recursive, place, size]);
        tree
    }
}

/// Makes the whole tree of the host read-only, without set-uid bits and devices.
fn tighten_root() {
    let set = private(RDONLY | NOSUID | NODEV);
    let (place, size) = (&raw const set as usize, size_of::<Attributes>());
    // SAFETY: a string, and attributes that outlive the call.
    unsafe { must(nr::MOUNT_SETATTR, [AT_FDCWD, at(c"/"), AT_RECURSIVE, place, size]) };
}

fn read(path: &CStr, text: &mut [u8]) -> usize {
    let file = open(path, 0);
    // SAFETY: room for as many bytes.
    unsafe { must(nr::READ, [file, text.as_mut_ptr() as usize, text.len(), 0, 0]) }
}

/// Enters the prepared root directory, and binds the directories of the list: paths that each end with a NUL. Links
/// are two strings, of which the first begins with `>`; they exist already.
fn show(root: usize, list: &[u8]) {
    let old = open(c"/", O_DIRECTORY);
    // SAFETY: strings.
    unsafe {
        attach(root, c"/");
        must(nr::FCHDIR, [root, 0, 0, 0, 0]);
        must(nr::CHROOT, [at(c"."), 0, 0, 0, 0]);
        must(nr::FCHDIR, [old, 0, 0, 0, 0]);
        let mut words = list.split_inclusive(|byte| *byte == 0);
        while let Some(word) = words.next() {
            if word[0] == b'>' {
                words.next();
            } else {
                let place = word.as_ptr() as usize;
                call(nr::MOUNT, [place + 1, place, 0, BIND | RECURSIVE, 0]);
            }
        }
    }
}

/// Mounts a new file system with one call. The flags of mount(2) have the values of `mount_attr`.
fn mount(kind: &CStr, place: &CStr, set: u64, options: &CStr) {
    // SAFETY: strings.
    unsafe { must(nr::MOUNT, [at(kind), at(place), at(kind), set as usize, at(options)]) };
}

fn attach(tree: usize, place: &CStr) {
    // SAFETY: strings.
    unsafe { must(nr::MOVE_MOUNT, [tree, at(c""), AT_FDCWD, at(place), MOVE_FROM_FD]) };
}
