//! The start of both programs, and their panic handler. The root module of each has the functions `program` and
//! `panicked`, which are called from here.
//!
//! # Safety
//!
//! The kernel enters at `_start` with the stack described in the System V ABI: argc, argv,
//! envp, auxv. Nothing has run before, and no memory but that stack is in use. The few
//! instructions of `_start` pass its address on; `sys::start` relocates the program and
//! makes the table of arguments from it.

selfdock::enter_at!(entry);

extern "C" fn entry(stack: *const usize, dynamic: *const usize, header: *const u8) -> ! {
    // SAFETY: called once, by `_start`, with what the kernel and the linker gave.
    let start = unsafe { selfdock::start(stack, dynamic, header) };
    crate::program(&start)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::panicked(info)
}

/// Symbols that the compiler's libraries use for a panic that unwinds. In a build with debug assertions the linker
/// does not see that no panic unwinds (`panic = "abort"`).
#[cfg(debug_assertions)]
mod unwinding {
    // SAFETY: the only definition of this name, as there is no other runtime. Nobody calls it.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        selfdock::exit(selfdock::FAILED)
    }
}
