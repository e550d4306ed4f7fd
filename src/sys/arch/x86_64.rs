//! x86-64.

use core::arch::{asm, naked_asm};

/// System call numbers. `arch/x86/entry/syscalls/syscall_64.tbl`
#[allow(missing_docs)]
pub mod nr {
    pub const MMAP: usize = 9;
    pub const MPROTECT: usize = 10;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const RT_SIGRETURN: usize = 15;
    pub const IOCTL: usize = 16;
    pub const SETITIMER: usize = 38;
    pub const SOCKET: usize = 41;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const GETCWD: usize = 79;
    pub const GETRUSAGE: usize = 98;
    pub const SETPGID: usize = 109;
    pub const GETRESUID: usize = 118;
    pub const GETRESGID: usize = 120;
    pub const GETPGID: usize = 121;
    pub const SETFSUID: usize = 122;
    pub const SETFSGID: usize = 123;
    pub const GETSID: usize = 124;
    pub const RT_SIGPENDING: usize = 127;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const RT_SIGQUEUEINFO: usize = 129;
    pub const PRCTL: usize = 157;
    pub const SETHOSTNAME: usize = 170;
    pub const FUTEX: usize = 202;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SET_TID_ADDRESS: usize = 218;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const KEYCTL: usize = 250;
    pub const UNSHARE: usize = 272;
    pub const DUP3: usize = 292;
    pub const PRLIMIT64: usize = 302;
    pub const GETCPU: usize = 309;
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
pub const LARGEST_PAGE: usize = 4096;

/// Whether every linker can pack relocations, as build.rs demands.
pub const PACKS_RELOCATIONS: bool = true;

/// The kind of relocation that adds the load address.
pub const RELATIVE: usize = 8; // R_X86_64_RELATIVE

/// Defines `_start`, where the kernel enters the program. It calls a function with the C calling convention. The
/// arguments are the stack as the kernel left it, and the addresses of the program's own dynamic section and ELF
/// header.
///
/// The frame pointer is cleared to end backtraces, and the stack is aligned as the ABI requires for a call.
/// `_DYNAMIC` and `__ehdr_start` are symbols of the linker. Their addresses are taken relative to the instruction,
/// since nothing is relocated yet.
#[macro_export]
macro_rules! enter_at {
    ($entry:path) => {
        core::arch::global_asm!(
            ".globl _start",
            ".hidden _DYNAMIC",
            ".hidden __ehdr_start",
            "_start:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "lea rsi, [rip + _DYNAMIC]",
            "lea rdx, [rip + __ehdr_start]",
            "and rsp, -16",
            "call {entry}",
            "ud2",
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
    // SAFETY: the `syscall` instruction clobbers rcx and r11 only; memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") n => out,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    out
}

/// Ends the process by a signal.
#[inline]
pub fn trap() -> ! {
    // SAFETY: an instruction that does nothing but that.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// The stack pointer.
#[inline]
pub fn stack_pointer() -> usize {
    let here: usize;
    // SAFETY: gives a number.
    unsafe { asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags)) };
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
    // the stack below this frame, where nothing is (no `nostack`, so no red zone either), of a
    // copy of this memory. In the parent this is one system call.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f",
            "mov rdi, r9", "xor ebp, ebp", "and rsp, -16", "call r12", "ud2", "2:",
            in("r9") argument, in("r12") child,
            inlateout("rax") nr::CLONE => out, in("rdi") flags, in("rsi") 0, in("rdx") 0,
            in("r10") 0, in("r8") 0, out("rcx") _, out("r11") _);
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
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, rsp", "call r12", "ud2", "2:",
            in("r12") child, inlateout("rax") n => out,
            in("rdi") first, in("rsi") second, in("rdx") 0, in("r10") 0, in("r8") 0,
            out("rcx") _, out("r11") _);
    }
    out
}

/// The flags and the `restorer` of a signal handler: where the kernel leads a process when the handler returns.
/// sigaction(2), `SA_RESTORER`
pub fn after_handler() -> [usize; 2] {
    const SA_RESTORER: usize = 0x0400_0000;
    [SA_RESTORER, restore as *const () as usize]
}

/// Goes on where the signal came. sigreturn(2)
// SAFETY: this is the whole function: it has no frame, and does not return.
#[unsafe(naked)]
extern "C" fn restore() {
    naked_asm!("mov eax, {number}", "syscall", "ud2", number = const nr::RT_SIGRETURN)
}

// `rep movsb` is fast on every processor since Ivy Bridge (ERMS), and is one line.

/// Copies bytes, the first one first.
///
/// # Safety
/// Both ranges are valid for `n` bytes; a byte that is read is not one that was written before.
#[inline]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Copies bytes, the last one first.
///
/// # Safety
/// As `copy_up`.
#[inline]
pub unsafe fn copy_down(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is cleared again.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") n => _,
            inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _, options(nostack));
    }
}

/// Fills with a byte.
///
/// # Safety
/// The range is valid for `n` bytes.
#[inline]
pub unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
