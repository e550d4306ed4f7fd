//! aarch64.

use core::arch::asm;

/// System call numbers.
#[allow(missing_docs)]
pub mod nr {
    pub const DUP3: usize = 24;
    pub const MKDIRAT: usize = 34;
    pub const UMOUNT2: usize = 39;
    pub const MOUNT: usize = 40;
    pub const PIVOT_ROOT: usize = 41;
    pub const CHDIR: usize = 49;
    pub const FCHDIR: usize = 50;
    pub const CHROOT: usize = 51;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const PIPE2: usize = 59;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const EXIT_GROUP: usize = 94;
    pub const SET_TID_ADDRESS: usize = 96;
    pub const UNSHARE: usize = 97;
    pub const SETITIMER: usize = 103;
    pub const CLOCK_GETTIME: usize = 113;
    pub const PTRACE: usize = 117;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const SETPGID: usize = 154;
    pub const SETGROUPS: usize = 159;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const GETUID: usize = 174;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
    pub const PRLIMIT64: usize = 261;
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const MOUNT_SETATTR: usize = 442;
    pub const OPEN_TREE_ATTR: usize = 467;
}

/// A flag of open(2).
pub const O_DIRECTORY: usize = 0o40_000;

/// Makes `_start`, where the kernel enters: it calls a function of C's convention with the stack as it is.
#[macro_export]
macro_rules! enter_at {
    ($entry:path) => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "bl {entry}",
            "brk #1",
            entry = sym $entry,
        );
    };
}

/// Makes one system call. Returns the kernel's result: a negative errno on failure.
///
/// # Safety
/// Each argument that the kernel takes for a pointer must be valid for what the call does with it.
pub unsafe fn call(number: usize, a: [usize; 5]) -> isize {
    let out: isize;
    // SAFETY: the kernel gives all registers back but x0; memory is the caller's promise.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a[0] => out,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], options(nostack));
    }
    out
}

/// Starts a child in this very memory, on the stack that ends at `top`, which calls `child`. clone(2)
///
/// # Safety
/// `child` does not return; nobody else uses that stack, and it is aligned to 16 bytes.
pub unsafe fn start_on_stack(
    flags: usize,
    top: usize,
    child: extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let out: isize;
    // SAFETY: the child leaves this code at once, for a function that does not return, on an empty aligned stack. In
    // the parent this is one system call.
    unsafe {
        asm!("svc #0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "mov x0, x9", "blr x10", "brk #1", "2:",
            in("x8") nr::CLONE, inlateout("x0") flags => out, in("x1") top, in("x2") 0, in("x3") 0, in("x4") 0,
            in("x9") argument, in("x10") child as usize, out("x30") _);
    }
    out
}

/// Copies bytes.
///
/// # Safety
/// As memcpy(3).
pub unsafe fn copy(to: *mut u8, from: *const u8, n: usize) {
    for i in 0..n {
        // SAFETY: i < n. Volatile, so that the loop is not made a call of the function that it is the body of.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

/// Fills with a byte.
///
/// # Safety
/// As memset(3).
pub unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    for i in 0..n {
        // SAFETY: i < n. Volatile, so that the loop is not made a call of the function that it is the body of.
        unsafe { to.add(i).write_volatile(byte) };
    }
}
