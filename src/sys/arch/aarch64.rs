//! aarch64.

use core::arch::asm;

/// System call numbers, those of all newer architectures. `include/uapi/asm-generic/unistd.h`
#[allow(missing_docs)]
pub mod nr {
    pub const GETCWD: usize = 17;
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const EXIT_GROUP: usize = 94;
    pub const SET_TID_ADDRESS: usize = 96;
    pub const UNSHARE: usize = 97;
    pub const FUTEX: usize = 98;
    pub const SETITIMER: usize = 103;
    pub const CLOCK_GETTIME: usize = 113;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGPENDING: usize = 136;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const RT_SIGQUEUEINFO: usize = 138;
    pub const GETRESUID: usize = 148;
    pub const GETRESGID: usize = 150;
    pub const SETFSUID: usize = 151;
    pub const SETFSGID: usize = 152;
    pub const SETPGID: usize = 154;
    pub const GETPGID: usize = 155;
    pub const GETSID: usize = 156;
    pub const SETHOSTNAME: usize = 161;
    pub const GETRUSAGE: usize = 165;
    pub const PRCTL: usize = 167;
    pub const GETCPU: usize = 168;
    pub const SOCKET: usize = 198;
    pub const KEYCTL: usize = 219;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const MPROTECT: usize = 226;
    pub const WAIT4: usize = 260;
    pub const PRLIMIT64: usize = 261;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const MOUNT_SETATTR: usize = 442;
    pub const LANDLOCK_CREATE_RULESET: usize = 444;
    pub const LANDLOCK_RESTRICT_SELF: usize = 446;
    pub const STATMOUNT: usize = 457;
    pub const LISTMOUNT: usize = 458;
    pub const OPEN_TREE_ATTR: usize = 467;
}

/// The smallest page size of a kernel. Each further size is four times the one before.
pub const SMALLEST_PAGE: usize = 4096;
/// The largest page size of a kernel.
pub const LARGEST_PAGE: usize = 65536;

/// Whether every linker can pack relocations, as build.rs demands.
pub const PACKS_RELOCATIONS: bool = false;

/// The kind of relocation that adds the load address.
pub const RELATIVE: usize = 1027; // R_AARCH64_RELATIVE

/// Defines `_start`, where the kernel enters the program. It calls a function with the C calling convention. The
/// arguments are the stack as the kernel left it, and the addresses of the program's own dynamic section and ELF
/// header.
///
/// The frame pointer is cleared to end backtraces. `_DYNAMIC` and `__ehdr_start` are symbols of the linker. Their
/// addresses are taken relative to the instruction, since nothing is relocated yet.
#[macro_export]
macro_rules! enter_at {
    ($entry:path) => {
        core::arch::global_asm!(
            ".globl _start",
            ".hidden _DYNAMIC",
            ".hidden __ehdr_start",
            "_start:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "adrp x1, _DYNAMIC",
            "add x1, x1, :lo12:_DYNAMIC",
            "adrp x2, __ehdr_start",
            "add x2, x2, :lo12:__ehdr_start",
            "bl {entry}",
            "brk #1",
            entry = sym $entry,
        );
    };
}

/// Makes a system call. A negative result is an errno.
///
/// # Safety
/// As `sys::call`.
#[inline]
pub unsafe fn call(n: usize, a: [usize; 6]) -> isize {
    let out: isize;
    // SAFETY: the kernel gives all registers back but x0; memory is the caller's promise.
    unsafe {
        asm!("svc #0", in("x8") n, inlateout("x0") a[0] => out,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    out
}

/// Ends the process by a signal.
#[inline]
pub fn trap() -> ! {
    // SAFETY: an instruction that does nothing but that.
    unsafe { asm!("brk #1", options(noreturn, nomem, nostack)) }
}

/// The stack pointer.
#[inline]
pub fn stack_pointer() -> usize {
    let here: usize;
    // SAFETY: gives a number.
    unsafe { asm!("mov {}, sp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    here
}

/// Starts a process with a copy of this memory, which calls `child` with `argument`. clone(2)
///
/// # Safety
/// `child` is a function with the C calling convention and one argument. It does not return, and may be called with
/// `argument` in a copy of this memory.
#[inline]
pub unsafe fn start_in_copy(flags: usize, child: *const (), argument: *const ()) -> isize {
    let out: isize;
    // SAFETY: the child leaves this code at once for a function that does not return. It uses
    // the stack below this frame, where nothing is, of a copy of this memory; the stack pointer
    // is always aligned. In the parent this is one system call.
    unsafe {
        asm!("svc #0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "mov x0, x9", "blr x10", "brk #1", "2:",
            in("x9") argument, in("x10") child, in("x8") nr::CLONE,
            inlateout("x0") flags => out, in("x1") 0, in("x2") 0, in("x3") 0, in("x4") 0, out("x30") _);
    }
    out
}

/// Starts a process on its own stack, which calls `child` with the top of that stack. The system call has two
/// arguments: clone(2) or clone3(2).
///
/// # Safety
/// `child` as above. The stack is aligned to 16 bytes, and nobody else uses it. What the call reads is there.
#[inline]
pub unsafe fn start_on_stack((n, first, second): (usize, usize, usize), child: *const ()) -> isize {
    let out: isize;
    // SAFETY: the child leaves this code at once, on its own stack, for a function that does
    // not return; its data lies above. In the parent this is one system call.
    unsafe {
        asm!("svc #0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "mov x0, sp", "blr x10", "brk #1", "2:",
            in("x10") child, in("x8") n, inlateout("x0") first => out, in("x1") second,
            in("x2") 0, in("x3") 0, in("x4") 0, out("x30") _);
    }
    out
}

/// The flags and the `restorer` of a signal handler. There is none: when the handler returns, the kernel leads the
/// process to code of its own. sigaction(2), vdso(7)
pub fn after_handler() -> [usize; 2] {
    [0, 0]
}

// These loops copy single bytes, since little is copied. The accesses are volatile, so that the compiler does not
// turn a loop into a call of the same function.

/// Copies bytes, the first one first.
///
/// # Safety
/// Both ranges are valid for `n` bytes; a byte that is read is not one that was written before.
#[inline]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, n: usize) {
    for i in 0..n {
        // SAFETY: i < n.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

/// Copies bytes, the last one first.
///
/// # Safety
/// As `copy_up`.
#[inline]
pub unsafe fn copy_down(to: *mut u8, from: *const u8, n: usize) {
    for i in (0..n).rev() {
        // SAFETY: i < n.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}

/// Fills with a byte.
///
/// # Safety
/// The range is valid for `n` bytes.
#[inline]
pub unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    for i in 0..n {
        // SAFETY: i < n.
        unsafe { to.add(i).write_volatile(byte) };
    }
}
