//! The start of both programs and their panic handler. The root of each has a `program` that
//! goes on from here.
//!
//! # Safety
//!
//! The kernel enters at `_start` with the stack described in the System V ABI: argc, argv,
//! envp, auxv. Nothing has run before, and no memory but that stack is in use. The three
//! instructions of `_start` pass its address on; `sys::start` relocates the program and
//! makes the table of arguments from it.

use core::arch::global_asm;

// The frame pointer is cleared to end backtraces, the stack aligned as the ABI demands of a
// call. `_DYNAMIC` and `__ehdr_start` are the linker's; their addresses are taken relative
// to the instruction, since nothing is relocated yet.
global_asm!(
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
    entry = sym entry,
);

extern "C" fn entry(stack: *const usize, dynamic: *const usize, header: *const u8) -> ! {
    // SAFETY: called once, by `_start` above, with what the kernel and the linker gave.
    let start = unsafe { selfdock::sys::start(stack, dynamic, header) };
    crate::program(&start)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    selfdock::panicked(info)
}

/// What the compiler's own libraries name for a panic that unwinds. In a build with debug
/// assertions the linker does not see that none does (`panic = "abort"`).
#[cfg(debug_assertions)]
mod unwinding {
    // SAFETY: the only definition of this name, as there is no other runtime. Nobody calls it.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        selfdock::sys::exit(selfdock::FAILED)
    }
}
