//! The base of the programs without a libc: the start, system calls, and numbers as text.
//!
//! # Safety
//!
//! `start!` enters with the stack described in the System V ABI and passes its address on. A pointer that is handed to
//! the kernel is a `CStr`'s, or that of a value of this process that outlives the call.
#![no_std]

mod arch;

pub use arch::{O_DIRECTORY, nr};
use core::ffi::CStr;

/// Flags of clone(2) and unshare(2).
#[allow(missing_docs)]
pub mod flags {
    pub const SIGCHLD: usize = 17;
    pub const CLONE_VM: usize = 0x100;
    pub const CLONE_VFORK: usize = 0x4000;
    pub const CLONE_NEWNS: usize = 0x0002_0000;
    pub const CLONE_NEWIPC: usize = 0x0800_0000;
    pub const CLONE_NEWPID: usize = 0x2000_0000;
}

/// Stands for the current directory in calls that take a directory descriptor.
pub const AT_FDCWD: usize = (-100_isize).cast_unsigned();

/// Makes a system call. A negative result is an errno.
///
/// # Safety
/// Each argument that the kernel takes for a pointer must be valid for what the call does with it.
pub unsafe fn call(number: usize, a: [usize; 5]) -> isize {
    // SAFETY: the caller's promise.
    unsafe { arch::call(number, a) }
}

/// Makes a system call that fails only if the bench is wrong.
///
/// # Safety
/// As [`call`].
pub unsafe fn must(number: usize, a: [usize; 5]) -> usize {
    // SAFETY: the caller's promise.
    let out = unsafe { call(number, a) };
    if out < 0 {
        let mut text = Text::new();
        text.string(b"system call ")
            .number(number)
            .string(b": errno ")
            .number(out.unsigned_abs())
            .string(b"\n");
        text.write(2);
        exit(125);
    }
    out.unsigned_abs()
}

/// The address of a string, for the kernel.
pub fn at(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// Ends the process.
pub fn exit(status: usize) -> ! {
    loop {
        // SAFETY: no pointers; the call does not return.
        unsafe { call(nr::EXIT_GROUP, [status, 0, 0, 0, 0]) };
    }
}

/// Stacks for children that share their parent's memory: the upper end is for one that stays, the rest for those that
/// are waited for. Both parts in use are in one page, so only one page is touched.
#[repr(align(4096))]
struct Stacks(core::cell::UnsafeCell<[u8; 8192]>);

// SAFETY: one child at a time uses each part.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(core::cell::UnsafeCell::new([0; 8192]));

/// The size of the stack of a child that stays.
const UPPER: usize = 512;

/// Starts a child that shares this memory, and waits until it executes another program or ends, like vfork(2). The
/// child has its own stack, so it overwrites nothing of the parent. Returns its PID, or a negative errno.
///
/// # Safety
/// `child` must not change what the parent relies on.
pub unsafe fn vfork(flags: usize, child: extern "C" fn(usize) -> !, argument: usize) -> isize {
    // SAFETY: the caller's promise; the one before has left the stack, since its parent waited.
    unsafe { share(flags | flags::CLONE_VFORK, size_of::<Stacks>() - UPPER, child, argument) }
}

/// Starts a child that shares this memory as long as it lives. Returns its PID, or a negative errno.
///
/// # Safety
/// `child` must not change what the parent relies on, and needs next to no stack. There is only one in a process.
pub unsafe fn beside(flags: usize, child: extern "C" fn(usize) -> !, argument: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { share(flags, size_of::<Stacks>(), child, argument) }
}

/// Starts a child on the stack that ends there.
///
/// # Safety
/// As [`beside`], and nobody else uses that stack.
unsafe fn share(flags: usize, end: usize, child: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let flags = flags | flags::CLONE_VM | flags::SIGCHLD;
    let top = STACKS.0.get() as usize + end;
    // SAFETY: `child` does not return, and the stack is empty and aligned.
    unsafe { arch::start_on_stack(flags, top, child, argument) }
}

/// Waits for a signal, for good.
pub fn pause() -> ! {
    loop {
        // SAFETY: no pointers: no descriptor, no time, no mask.
        unsafe { call(nr::PPOLL, [0; 5]) };
    }
}

/// Opens a file.
pub fn open(path: &CStr, flags: usize) -> usize {
    // SAFETY: a string.
    unsafe { must(nr::OPENAT, [AT_FDCWD, at(path), flags, 0, 0]) }
}

/// Arguments and environment: two lists that end with a null pointer.
#[derive(Clone, Copy)]
pub struct Start {
    /// The arguments, from the program's name on.
    pub argv: *mut *const u8,
    /// The environment.
    pub envp: *const *const u8,
    /// The number of arguments.
    pub argc: usize,
}

impl Start {
    /// Reads them from the stack at the start of the process.
    ///
    /// # Safety
    /// To be called with that stack, as `start!` does.
    pub unsafe fn new(stack: *mut usize) -> Self {
        // SAFETY: argc, argv, null, envp, null: the ABI.
        unsafe {
            let argc = *stack;
            let argv = stack.add(1).cast::<*const u8>();
            Start { argv, envp: argv.add(argc + 1), argc }
        }
    }

    /// An argument. The bench always passes enough.
    pub fn arg(&self, i: usize) -> &'static CStr {
        if i >= self.argc {
            exit(124);
        }
        // SAFETY: one of argc strings that the kernel put there for good.
        unsafe { CStr::from_ptr((*self.argv.add(i)).cast()) }
    }

    /// An argument that is a number.
    pub fn number(&self, i: usize) -> usize {
        let digits = self.arg(i).to_bytes().iter().filter(|b| b.is_ascii_digit());
        digits.fold(0, |n, b| n * 10 + usize::from(b - b'0'))
    }
}

/// Text that is built without allocation.
pub struct Text {
    bytes: [u8; 512],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Text {
    /// No text yet.
    pub const fn new() -> Self {
        Text { bytes: [0; 512], length: 0 }
    }

    /// Appends bytes. What does not fit is dropped.
    pub fn string(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            if self.length < self.bytes.len() {
                self.bytes[self.length] = *byte;
                self.length += 1;
            }
        }
        self
    }

    /// Adds a number.
    pub fn number(&mut self, mut n: usize) -> &mut Self {
        let mut digits = [0; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (n % 10).to_le_bytes()[0];
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.string(&digits[from..])
    }

    /// Writes it to a descriptor and forgets it.
    pub fn write(&mut self, fd: usize) {
        // SAFETY: `length` bytes are there.
        unsafe { call(nr::WRITE, [fd, self.bytes.as_ptr() as usize, self.length, 0, 0]) };
        self.length = 0;
    }
}

/// Makes `fn main(&Start) -> !` the program.
#[macro_export]
macro_rules! start {
    ($main:path) => {
        $crate::enter_at!(entry);

        extern "C" fn entry(stack: *mut usize) -> ! {
            // SAFETY: called once, by `_start`, with the stack as the kernel left it.
            let start = unsafe { $crate::Start::new(stack) };
            $main(&start)
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::exit(123)
        }
    };
}

/// The memory functions that the compiler calls by name.
mod by_name {
    use crate::arch;

    /// # Safety
    /// As memcpy(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { arch::copy(to, from, n) };
        to
    }

    /// # Safety
    /// As memset(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        // SAFETY: the caller's promise. The low byte counts, as C has it.
        unsafe { arch::fill(to, byte.to_ne_bytes()[0], n) };
        to
    }

    /// # Safety
    /// As strlen(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(s: *const u8) -> usize {
        let mut n = 0;
        // SAFETY: no byte past the NUL is read. Volatile, so that the loop is not made a call of itself.
        while unsafe { s.add(n).read_volatile() } != 0 {
            n += 1;
        }
        n
    }

    /// # Safety
    /// As memcmp(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        for i in 0..n {
            // SAFETY: i < n. Volatile for the same reason as above.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    /// # Safety
    /// As memcmp(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: the same promise.
        unsafe { memcmp(a, b, n) }
    }
}
