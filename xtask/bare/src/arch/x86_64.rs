//! x86-64.

use core::arch::asm;

/// System call numbers.
#[allow(missing_docs)]
pub mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const RT_SIGACTION: usize = 13;
    pub const SETITIMER: usize = 38;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const CHDIR: usize = 80;
    pub const FCHDIR: usize = 81;
    pub const PTRACE: usize = 101;
    pub const GETUID: usize = 102;
    pub const SETPGID: usize = 109;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const CHROOT: usize = 161;
    pub const MOUNT: usize = 165;
    pub const UMOUNT2: usize = 166;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SET_TID_ADDRESS: usize = 218;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const PPOLL: usize = 271;
    pub const UNSHARE: usize = 272;
    pub const DUP3: usize = 292;
    pub const PIPE2: usize = 293;
    pub const PRLIMIT64: usize = 302;
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const MOUNT_SETATTR: usize = 442;
    pub const OPEN_TREE_ATTR: usize = 467;
}

/// A flag of open(2).
pub const O_DIRECTORY: usize = 0o200_000;

/// Makes `_start`, where the kernel enters: it calls a function of C's convention with the stack as it is.
#[macro_export]
macro_rules! enter_at {
    ($entry:path) => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {entry}",
            "ud2",
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
    // SAFETY: the instruction clobbers rcx and r11 only; memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number => out,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            lateout("rcx") _, lateout("r11") _, options(nostack));
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
    // the parent this is one system call, which clobbers rcx and r11.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
            inlateout("rax") nr::CLONE => out, in("rdi") flags, in("rsi") top, in("rdx") 0, in("r10") 0,
            in("r8") 0, in("r12") argument, in("r13") child as usize, lateout("rcx") _, lateout("r11") _);
    }
    out
}

/// Copies bytes.
///
/// # Safety
/// As memcpy(3).
pub unsafe fn copy(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Fills with a byte.
///
/// # Safety
/// As memset(3).
pub unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
