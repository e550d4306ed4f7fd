//! Raw system calls, the start of the process and its memory: with start.rs the only unsafe code.
//!
//! # Safety
//!
//! What the kernel reads or writes through a pointer here is a reference or a `CStr` of this
//! file's own functions, alive for the whole call; numbers out of range are the kernel's to
//! refuse. Processes that share this memory ([`start_beside`]) are to Rust what threads are:
//! what they share is atomic, or was moved to one of them; each has its own stack, and there is
//! no thread-local data. Calls that rustix types are made through rustix.

use crate::usage::Usage;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::{Errno, Result};
use rustix::process::Pid;

// ---- the one architecture-dependent part ---------------------------------------------------

/// System call numbers of x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`).
mod nr {
    pub const FCNTL: usize = 72;
    pub const GETCWD: usize = 79;
    pub const MMAP: usize = 9;
    pub const MPROTECT: usize = 10;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const DUP2: usize = 33;
    pub const SOCKET: usize = 41;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SETPGID: usize = 109;
    pub const GETRUSAGE: usize = 98;
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
    pub const PRLIMIT64: usize = 302;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const KEYCTL: usize = 250;
    pub const UNSHARE: usize = 272;
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

/// One system call.
///
/// # Safety
/// Each argument that the kernel takes for a pointer must be valid for what the call does
/// with it, and the call must not change memory that Rust believes to own otherwise.
unsafe fn call(n: usize, a: [usize; 6]) -> Result<usize> {
    let out: isize;
    // SAFETY: the `syscall` instruction clobbers rcx and r11 only; memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") n => out,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if out < 0 {
        // Errnos are 1 to 4095, so the negated value fits.
        Err(Errno::from_raw_os_error(i32::try_from(-out).unwrap_or(i32::MAX)))
    } else {
        Ok(out.unsigned_abs())
    }
}

const NONE: usize = 0;

/// An int as a register holds it, with its sign.
fn int(n: i32) -> usize {
    (n as isize).cast_unsigned()
}

fn fd_arg(fd: BorrowedFd<'_>) -> usize {
    int(fd.as_raw_fd())
}

// ---- the start -----------------------------------------------------------------------------

/// What the kernel passed: arguments and environment, for the life of the process.
#[derive(Clone, Copy)]
pub struct Start {
    argc: usize,
    argv: *const *const u8,
    envp: *const *const u8,
}

/// Relocates the program, makes the relocated data read-only and finds the arguments.
///
/// # Safety
/// To be called once, before anything else, with the stack as the kernel left it and the
/// addresses of this program's own dynamic section and ELF header.
pub unsafe fn start(stack: *const usize, dynamic: *const usize, header: *const u8) -> Start {
    // SAFETY: the pointers are as promised above. Until `relocate` is done, nothing here
    // reads data that holds an address.
    unsafe {
        relocate(dynamic, header as usize);
        protect_relocated(header);
        #[cfg(not(test))]
        ARENA.begin();
        let argc = *stack;
        let argv = stack.add(1).cast::<*const u8>();
        Start { argc, argv, envp: argv.add(argc + 1) }
    }
}

/// Adds the load address to each place that the linker listed. A static position-independent
/// program has only relative relocations, and `-z pack-relative-relocs` puts them in a
/// `DT_RELR` table, see [`unpack`]. Other tables end the process at once.
///
/// # Safety
/// As `start`.
unsafe fn relocate(mut dynamic: *const usize, base: usize) {
    const DT_NULL: usize = 0;
    const DT_RELASZ: usize = 8;
    const DT_RELRSZ: usize = 35;
    const DT_RELR: usize = 36;
    let mut table = 0;
    let mut bytes = 0;
    // SAFETY: the linker's dynamic section ends with DT_NULL, and its table holds `bytes`
    // bytes, which name words of this program's own writable data. Nothing has used these
    // words yet. They are read and written as volatile, by addresses of which the compiler
    // knows nothing: so it cannot take them for the constants that they were in its eyes.
    unsafe {
        while dynamic.read_volatile() != DT_NULL {
            let value = dynamic.add(1).read_volatile();
            match dynamic.read_volatile() {
                DT_RELR => table = base.wrapping_add(value),
                DT_RELRSZ => bytes = value,
                DT_RELASZ if value != 0 => asm!("ud2", options(noreturn)),
                _ => {}
            }
            dynamic = dynamic.add(2);
        }
        unpack(
            bytes / size_of::<usize>(),
            |i| ptr::with_exposed_provenance::<usize>(table).add(i).read_volatile(),
            |place| {
                let place = ptr::with_exposed_provenance_mut::<usize>(base.wrapping_add(place));
                place.write_volatile(place.read_volatile().wrapping_add(base));
            },
        );
    }
}

/// Gives each place of a packed table (`DT_RELR`): an even word is the next place; an odd one is a
/// bitmap of the 63 words after the last.
#[inline(always)]
fn unpack(words: usize, word: impl Fn(usize) -> usize, mut each: impl FnMut(usize)) {
    const WORD: usize = size_of::<usize>();
    let mut next = 0usize;
    let mut i = 0;
    while i < words {
        let entry = word(i);
        if entry & 1 == 0 {
            each(entry);
            next = entry.wrapping_add(WORD);
        } else {
            let (mut bits, mut place) = (entry >> 1, next);
            while bits != 0 {
                if bits & 1 == 1 {
                    each(place);
                }
                bits >>= 1;
                place = place.wrapping_add(WORD);
            }
            next = next.wrapping_add(63 * WORD);
        }
        i = i.wrapping_add(1);
    }
}

/// Takes the right to write from the segment that the linker marked `PT_GNU_RELRO`.
///
/// # Safety
/// As `start`.
#[allow(clippy::cast_ptr_alignment)] // the ELF header and its table are aligned as their fields are
unsafe fn protect_relocated(header: *const u8) {
    const PT_GNU_RELRO: u32 = 0x6474_e552;
    const PROT_READ: usize = 1;
    // SAFETY: Elf64_Ehdr holds e_phoff at 32, e_phentsize at 54, e_phnum at 56; Elf64_Phdr
    // p_type at 0, p_vaddr at 16, p_memsz at 40. The header and its table are mapped, since
    // they lie in the first loaded segment. mprotect on our own finished data breaks no
    // reference; on failure the data stays writable, which changes nothing that follows.
    unsafe {
        let table = header.add(*header.add(32).cast::<usize>());
        let size = usize::from(*header.add(54).cast::<u16>());
        for i in 0..usize::from(*header.add(56).cast::<u16>()) {
            let entry = table.add(i * size);
            if *entry.cast::<u32>() == PT_GNU_RELRO {
                let start = header as usize + *entry.add(16).cast::<usize>();
                let end = (start + *entry.add(40).cast::<usize>()) & !0xfff;
                let from = start & !0xfff;
                let _ = call(nr::MPROTECT, [from, end - from, PROT_READ, 0, 0, 0]);
            }
        }
    }
}

impl Start {
    /// The arguments, with the program's own name first.
    pub fn args(&self) -> Vec<&'static CStr> {
        // SAFETY: the kernel put argc pointers to NUL-terminated strings there, for good.
        (0..self.argc).map(|i| unsafe { CStr::from_ptr((*self.argv.add(i)).cast()) }).collect()
    }

    /// How many bytes of the stack are in use, arguments and environment included, from an address
    /// on it.
    pub fn stack_in_use(&self, here: usize) -> usize {
        // The kernel puts the texts in this order, one after the other: the last one ends it.
        let mut last = None;
        // SAFETY: argc pointers to strings, and a list of them that a null pointer closes.
        unsafe {
            if self.argc > 0 {
                last = Some(*self.argv.add(self.argc - 1));
            }
            let mut next = self.envp;
            while !(*next).is_null() {
                last = Some(*next);
                next = next.add(1);
            }
            let end = last.map_or(here, |text| text as usize + CStr::from_ptr(text.cast()).count_bytes());
            end.saturating_sub(here)
        }
    }

    /// By which path the program was started, as the caller gave it to the kernel. `AT_EXECFN`, getauxval(3)
    pub fn file_name(&self) -> Option<&'static CStr> {
        const AT_NULL: usize = 0;
        const AT_EXECFN: usize = 31;
        // SAFETY: the environment is a list of pointers that a null pointer closes; pairs of words follow, up to
        // `AT_NULL`. The word of this pair points to a string, for good.
        unsafe {
            let mut next = self.envp;
            while !(*next).is_null() {
                next = next.add(1);
            }
            let mut pair = next.add(1).cast::<usize>();
            while *pair != AT_NULL {
                if *pair == AT_EXECFN {
                    return Some(CStr::from_ptr((*pair.add(1).cast::<*const u8>()).cast()));
                }
                pair = pair.add(2);
            }
        }
        None
    }

    /// The environment, `NAME=VALUE` each, as the kernel passed it.
    pub fn environment(&self) -> Vec<&'static CStr> {
        let mut all = Vec::new();
        // SAFETY: a list of pointers to NUL-terminated strings, closed by a null pointer.
        unsafe {
            let mut next = self.envp;
            while !(*next).is_null() {
                all.push(CStr::from_ptr((*next).cast()));
                next = next.add(1);
            }
        }
        all
    }
}

/// Where the prefix is that the program is installed below: `cargo xtask install` writes it into the file that it
/// installs, up to a NUL. With a name it is relocated, and so lies in a page of the file that has room.
#[repr(C)]
struct Prefix {
    mark: [u8; 32],
    room: [u8; 128],
    _name: &'static str,
}

static PREFIX: Prefix = Prefix { mark: *b"selfdock's prefix of installing:", room: [0; 128], _name: "/" };

/// The directory that this program was installed below; empty if it was not installed.
pub fn prefix() -> &'static [u8] {
    let mut prefix = Vec::with_capacity(32);
    for byte in &PREFIX.room {
        // SAFETY: a byte of the array. It is read as volatile, so that the compiler does not take it for what it was
        // at its time.
        match unsafe { ptr::from_ref(byte).read_volatile() } {
            0 => break,
            byte => prefix.push(byte),
        }
    }
    prefix.leak()
}

/// What was stored there for good, if anything was.
pub fn pointee<T: Copy + Sync + 'static>(place: &core::sync::atomic::AtomicPtr<T>) -> Option<T> {
    // SAFETY: what is stored is null, or from a box that was leaked, and never changed after it was stored.
    unsafe { place.load(Ordering::Acquire).as_ref().copied() }
}

// ---- memory --------------------------------------------------------------------------------

/// A bump allocator: memory is taken and never given back, since the process is short-lived
/// and allocates kilobytes. The first pages are part of the program (untouched ones cost
/// nothing), with what is known of them at their start, so that both are one page to touch.
/// Larger needs map more, and a refusal by the kernel is an allocation failure. Processes that
/// share the memory take from it at the same time.
#[repr(C, align(4096))]
pub struct Arena {
    /// The address of the chunk that is being taken from.
    current: AtomicUsize,
    first: Chunk,
    room: UnsafeCell<[u8; FIRST]>,
}

/// What stands at the start of each piece of memory that is taken from.
#[repr(C)]
struct Chunk {
    next: AtomicUsize,
    end: AtomicUsize,
}

const FIRST: usize = 64 * 1024 - 3 * size_of::<usize>();
const CHUNK: usize = 1024 * 1024;

// SAFETY: everything but the room itself is atomic, and each part of that is handed out once.
unsafe impl Sync for Arena {}

#[cfg(not(test))]
#[global_allocator]
static ARENA: Arena = Arena::new();

impl Chunk {
    fn reset(&self, next: usize, end: usize) {
        self.next.store(next, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// Room of this size and alignment, if there is as much left.
    fn take(&self, layout: Layout) -> Option<usize> {
        let end = self.end.load(Ordering::Relaxed);
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let start = next.checked_next_multiple_of(layout.align())?;
            let stop = start.checked_add(layout.size()).filter(|stop| *stop <= end)?;
            match self.next.compare_exchange_weak(next, stop, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start),
                Err(other) => next = other,
            }
        }
    }
}

impl Arena {
    /// One with nothing to take yet.
    #[allow(clippy::large_stack_arrays)] // a static is made from it
    const fn new() -> Self {
        let first = Chunk { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };
        Arena { current: AtomicUsize::new(0), first, room: UnsafeCell::new([0; FIRST]) }
    }

    /// Before anything is taken. Writes and does not read: a page that is read before it is
    /// written is two page faults.
    pub fn begin(&self) {
        let room = self.room.get() as usize;
        self.first.reset(room, room + FIRST);
        self.current.store(ptr::from_ref(&self.first).expose_provenance(), Ordering::Release);
    }

    /// Room of this size and alignment, from what is left or from new pages.
    fn take(&self, layout: Layout) -> Option<usize> {
        loop {
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: the address of `first`, or of one that was written below before it was
            // published. Both stay for good.
            let chunk = unsafe { &*ptr::with_exposed_provenance::<Chunk>(current) };
            if let Some(room) = chunk.take(layout) {
                return Some(room);
            }
            let head = size_of::<Chunk>();
            let size = layout.size().checked_add(layout.align())?.checked_add(head)?;
            let size = size.checked_next_multiple_of(CHUNK)?;
            let pages = map_pages(size).ok()?;
            // SAFETY: new pages, aligned, all zero, which nobody else knows of yet.
            unsafe { &*ptr::with_exposed_provenance::<Chunk>(pages) }.reset(pages + head, pages + size);
            // Where another process was quicker, its chunk is taken from, and this one is lost.
            let _ = self.current.compare_exchange(current, pages, Ordering::Release, Ordering::Relaxed);
        }
    }
}

// SAFETY: every block is fresh, aligned, inside pages that stay mapped for good, and handed
// out once; a null pointer is the answer when there is no room.
unsafe impl GlobalAlloc for Arena {
    // SAFETY: as above; whatever the layout, what does not fit is refused.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
    }

    // SAFETY: nothing is done.
    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

fn map_pages(size: usize) -> Result<usize> {
    const PROT_READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    // SAFETY: an anonymous mapping where the kernel finds room; it touches nothing we have.
    unsafe { call(nr::MMAP, [NONE, size, PROT_READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) }
}

/// The memory functions that the compiler calls by name and that a libc would bring. The
/// string instructions start slowly on long-past processors only, and are one line each.
#[cfg(not(test))]
mod by_name {
    use core::arch::asm;

    /// # Safety
    /// As memcpy(3): both ranges valid for `n` bytes, not overlapping.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the caller's promise; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    /// As memmove(3): both ranges valid for `n` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= n {
            // SAFETY: going up, a byte is read before it can be overwritten.
            return unsafe { memcpy(to, from, n) };
        }
        // SAFETY: going down from the last byte, likewise; the flag is cleared again.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") n => _,
                inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _, options(nostack));
        }
        to
    }

    /// # Safety
    /// As memset(3): the range valid for `n` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        // SAFETY: the caller's promise; `al` is the low byte, as C has it.
        unsafe {
            asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte.to_ne_bytes()[0],
                options(nostack, preserves_flags));
        }
        to
    }

    /// # Safety
    /// As memcmp(3): both ranges valid for `n` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        for i in 0..n {
            // SAFETY: i < n. Volatile, so that the loop is not made a call of itself.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    /// # Safety
    /// As memcmp(3): both ranges valid for `n` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: the same promise.
        unsafe { memcmp(a, b, n) }
    }

    /// # Safety
    /// As strlen(3): a string that ends with NUL.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(s: *const u8) -> usize {
        let mut n = 0;
        // SAFETY: no byte past the NUL is read. Volatile for the same reason as above.
        while unsafe { s.add(n).read_volatile() } != 0 {
            n += 1;
        }
        n
    }
}

// ---- processes -----------------------------------------------------------------------------

/// Flags of clone(2) and unshare(2) that make namespaces.
#[allow(missing_docs)]
pub mod new {
    pub const MOUNT: u32 = 0x0002_0000;
    pub const CGROUP: u32 = 0x0200_0000;
    pub const UTS: u32 = 0x0400_0000;
    pub const IPC: u32 = 0x0800_0000;
    pub const USER: u32 = 0x1000_0000;
    pub const PID: u32 = 0x2000_0000;
    pub const NETWORK: u32 = 0x4000_0000;
}

/// What a child starts with: `act` is moved out of where `start_child` or `start_beside` put it.
extern "C" fn child<F: FnOnce() -> u8>(act: *const F) -> ! {
    // SAFETY: whoever started this child left `act` there, and does not look at it again.
    exit(unsafe { act.read() }())
}

/// Starts a process with a copy of this one's memory, in the new namespaces of `flags` ([`new`]),
/// which does `act` and ends with its status, and gives its PID. clone(2)
pub fn start_child<F: FnOnce() -> u8>(flags: u32, act: F) -> Result<Pid> {
    const VM_VFORK: u32 = 0x100 | 0x4000;
    let flags = (flags & !VM_VFORK) | signal::CHLD.unsigned_abs();
    let act = ManuallyDrop::new(act);
    let out: isize;
    // SAFETY: the child leaves this code at once for a function that does not return. It uses
    // the stack below this frame, where nothing is (no `nostack`, so no red zone either), of a
    // copy of this memory. In the parent this is one system call.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f",
            "mov rdi, r9", "xor ebp, ebp", "and rsp, -16", "call r12", "ud2", "2:",
            in("r9") ptr::from_ref(&act), in("r12") child::<F> as *const (),
            inlateout("rax") nr::CLONE => out, in("rdi") flags as usize, in("rsi") NONE, in("rdx") NONE,
            in("r10") NONE, in("r8") NONE, out("rcx") _, out("r11") _);
    }
    if out >= 0 {
        return i32::try_from(out).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
    }
    // As in `call`. No child has taken what `act` holds.
    drop(ManuallyDrop::into_inner(act));
    Err(Errno::from_raw_os_error(i32::try_from(-out).unwrap_or(i32::MAX)))
}

/// Where on this process's stack another one has its own: so far below what is in use.
///
/// The supervisor and the keeper never need half of that: neither calls itself, nor has large
/// frames. The command's is the lowest, below which the kernel lets the stack grow, and keeps a
/// distance from all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stack {
    /// The keeper's.
    Keeper = 24 << 10,
    /// That of the command, until it is another program.
    Command = 40 << 10,
}

/// Starts a process that shares this one's memory, at the same time, until it becomes another
/// program or ends. It does `act` and ends with its status. It gets this PID in its innermost
/// namespace, or any; gives the PID that it has here. clone(2), `CLONE_VM`, `set_tid`
pub fn start_beside<F: FnOnce() -> u8 + Send + 'static>(
    stack: Stack,
    pid: Option<Pid>,
    act: F,
) -> Result<Pid> {
    const CLONE_VM: usize = 0x100;
    /// The kernel's `struct clone_args`.
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: usize,
        pidfd: usize,
        child_tid: usize,
        parent_tid: usize,
        exit_signal: usize,
        stack: usize,
        stack_size: usize,
        tls: usize,
        set_tid: usize,
        set_tid_size: usize,
    }
    let wanted = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let here: usize;
    // SAFETY: gives a number.
    unsafe { asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    let top = (here - stack as usize - size_of::<F>()) & !(align_of::<F>().max(16) - 1);
    // SAFETY: `act` is moved to the other stack before there is a process on it, and is of this
    // process no more. The place is this thread's own stack, so far below the frames in use that
    // none of them gets there; what `act` holds is 'static.
    unsafe { ptr::with_exposed_provenance_mut::<F>(top).write(act) };
    let arguments = Arguments {
        flags: CLONE_VM,
        exit_signal: int(signal::CHLD),
        stack: top - 4096,
        stack_size: 4096,
        set_tid: ptr::from_ref(&wanted) as usize,
        set_tid_size: 1,
        ..Arguments::default()
    };
    let clone3 = (nr::CLONE3, ptr::from_ref(&arguments) as usize, size_of::<Arguments>());
    let clone = (nr::CLONE, CLONE_VM | int(signal::CHLD), top);
    let start = |(call, first, second): (usize, usize, usize)| {
        let out: isize;
        // SAFETY: the child leaves this code at once, on its own stack, for a function that does
        // not return; what it acts by lies above. In the parent this is one system call, which
        // reads `arguments` and `wanted` if it is clone3.
        unsafe {
            asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, rsp", "call r12", "ud2", "2:",
                in("r12") child::<F> as *const (), inlateout("rax") call => out,
                in("rdi") first, in("rsi") second, in("rdx") NONE, in("r10") NONE, in("r8") NONE,
                out("rcx") _, out("r11") _);
        }
        out
    };
    let mut out = if pid.is_some() { start(clone3) } else { start(clone) };
    if out == -Errno::NOSYS.raw_os_error() as isize {
        // A filter that cannot look into the arguments of clone3 refuses it: then it is any PID.
        out = start(clone);
    }
    if out < 0 {
        return Err(Errno::from_raw_os_error(i32::try_from(-out).unwrap_or(i32::MAX)));
    }
    i32::try_from(out).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// Makes new namespaces ([`new`]) for this process; one of processes is for its children. unshare(2)
pub fn unshare(flags: u32) -> Result<()> {
    // SAFETY: a number. Only namespaces are asked for, nothing that memory rests on.
    unsafe { call(nr::UNSHARE, [flags as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// A word that the kernel clears when this process is gone, if others share its memory then, and
/// before they are told in any other way. It wakes one that sleeps by it. `set_tid_address(2)`;
/// `mm_release()`, `kernel/fork.c`
pub fn clear_at_end(word: &'static AtomicU32) -> Result<()> {
    // SAFETY: the kernel writes an int there at the end of this process. The word is there for
    // good, and atomic.
    unsafe { call(nr::SET_TID_ADDRESS, [word.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Sleeps while the word has this value, until it is woken; at most for a time. Returns early now
/// and then. futex(2), `FUTEX_WAIT`
pub fn sleep_while(word: &AtomicU32, value: u32, limit: Option<Moment>) {
    // Not `FUTEX_PRIVATE_FLAG`: where the kernel clears a word it wakes without.
    const WAIT: usize = 0;
    let limit = limit.as_ref().map_or(NONE, |t| ptr::from_ref(t) as usize);
    // SAFETY: the kernel reads the word and the timespec, both alive during the call.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as usize, WAIT, value as usize, limit, 0, 0]) };
}

/// Keeps this process and another one on the CPU that this one runs on now. getcpu(2),
/// `sched_setaffinity(2)`
pub fn stay_on_this_cpu(other: Pid) -> Result<()> {
    const CPUS: usize = 4096;
    let mut cpu = 0u32;
    // SAFETY: the kernel writes an int of this frame.
    unsafe { call(nr::GETCPU, [ptr::from_mut(&mut cpu) as usize, NONE, NONE, 0, 0, 0]) }?;
    let mut mask = [0u64; CPUS / 64];
    if let Some(word) = mask.get_mut(cpu as usize / 64) {
        *word = 1 << (cpu % 64);
    }
    for pid in [0, int(other.as_raw_nonzero().get())] {
        // SAFETY: the kernel reads the mask, which is of this frame.
        unsafe { call(nr::SCHED_SETAFFINITY, [pid, size_of_val(&mask), mask.as_ptr() as usize, 0, 0, 0]) }?;
    }
    Ok(())
}

/// Wakes whoever sleeps by a word. futex(2), `FUTEX_WAKE`
pub fn wake(word: &AtomicU32) {
    const WAKE: usize = 1;
    // SAFETY: the address is a name here; nothing is read or written.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as usize, WAKE, i32::MAX as usize, 0, 0, 0]) };
}

/// Becomes another program. execve(2). Returns only on failure.
pub fn execve(path: &CStr, argv: &Pointers, envp: &Pointers) -> Errno {
    // SAFETY: both lists are null-terminated and borrow strings that end with NUL.
    let done = unsafe {
        call(
            nr::EXECVE,
            [path.as_ptr() as usize, argv.list.as_ptr() as usize, envp.list.as_ptr() as usize, 0, 0, 0],
        )
    };
    done.err().unwrap_or(Errno::NOEXEC)
}

/// A null-terminated list of pointers to strings, as execve wants it.
pub struct Pointers<'a> {
    list: Vec<*const u8>,
    strings: core::marker::PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    /// The list of these strings.
    pub fn new(strings: &[&'a CStr]) -> Self {
        let mut list = Vec::with_capacity(strings.len() + 1);
        for string in strings {
            list.push(string.as_ptr().cast());
        }
        list.push(ptr::null());
        Pointers { list, strings: core::marker::PhantomData }
    }
}

/// Ends the process. `exit_group(2)`.
pub fn exit(status: u8) -> ! {
    // SAFETY: the call does not return; `ud2` says so to the compiler.
    unsafe {
        let _ = call(nr::EXIT_GROUP, [usize::from(status), 0, 0, 0, 0, 0]);
        asm!("ud2", options(noreturn));
    }
}

/// Closes every descriptor from `first` to `last`. `close_range(2)`.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: descriptors are numbers to the kernel. No owned descriptor is used again: the
    // callers are about to exec or keep none.
    unsafe { call(nr::CLOSE_RANGE, [first as usize, last as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a descriptor is open. fcntl(2), `F_GETFD`.
pub fn is_open(fd: u32) -> Result<()> {
    const F_GETFD: usize = 1;
    // SAFETY: a number, and nothing is written.
    unsafe { call(nr::FCNTL, [fd as usize, F_GETFD, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a descriptor is a terminal. `ioctl_tty(2)`, `TCGETS`.
pub fn is_terminal(fd: u32) -> bool {
    const TCGETS: usize = 0x5401;
    // struct termios of the kernel is 36 bytes.
    let mut state = [0u8; 64];
    // SAFETY: the kernel writes at most the 36 bytes to this frame.
    unsafe { call(nr::IOCTL, [fd as usize, TCGETS, state.as_mut_ptr() as usize, 0, 0, 0]) }.is_ok()
}

/// Another descriptor for what `fd` is, above the standard ones and closed at exec. fcntl(2),
/// `F_DUPFD_CLOEXEC`.
pub fn duplicate(fd: u32) -> Result<OwnedFd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: two numbers; the new descriptor belongs to nobody else yet.
    unsafe {
        let new = call(nr::FCNTL, [fd as usize, F_DUPFD_CLOEXEC, 3, 0, 0, 0])?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(new).map_err(|_| Errno::BADF)?))
    }
}

/// Makes one of the standard descriptors another name for `from`. dup2(2).
pub fn redirect(from: impl AsFd, standard: u32) -> Result<()> {
    // SAFETY: two numbers. Nothing owns the standard descriptors.
    unsafe { call(nr::DUP2, [fd_arg(from.as_fd()), standard.min(2) as usize, 0, 0, 0, 0]) }.map(drop)
}

/// The path of the current directory. getcwd(2).
pub fn getcwd() -> Result<Vec<u8>> {
    // A short one first, as most are: the longest would be a page more to touch.
    let mut path = alloc::vec![0; 256];
    loop {
        // SAFETY: the kernel writes at most that many bytes, and says how many, NUL included.
        match unsafe { call(nr::GETCWD, [path.as_mut_ptr() as usize, path.len(), 0, 0, 0, 0]) } {
            Ok(n) => {
                path.truncate(n.saturating_sub(1));
                return Ok(path);
            }
            Err(Errno::RANGE) if path.len() < 65536 => path.resize(65536, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// One of the standard descriptors, 0 to 2.
pub fn standard(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: the start filled 0 to 2 where they were closed, and nothing closes them.
    unsafe { BorrowedFd::borrow_raw(fd.clamp(0, 2)) }
}

// ---- ids -----------------------------------------------------------------------------------

/// Real, effective, saved and filesystem uid (`gid` for groups), as the kernel has them now.
/// getresuid(2), getresgid(2); setfsuid(2) with an impossible id only reads.
pub fn all_ids() -> Result<([u32; 4], [u32; 4])> {
    let read = |get: usize, fs: usize| {
        let mut ids = [u32::MAX; 4];
        let [r, e, s, _] = &mut ids;
        // SAFETY: three pointers to integers of this frame, written by the kernel.
        unsafe {
            call(
                get,
                [ptr::from_mut(r) as usize, ptr::from_mut(e) as usize, ptr::from_mut(s) as usize, 0, 0, 0],
            )
        }?;
        // SAFETY: no pointer involved. The id -1 is never valid, so nothing is set.
        let current = unsafe { call(fs, [u32::MAX as usize, 0, 0, 0, 0, 0]) }?;
        ids[3] = u32::try_from(current).unwrap_or(u32::MAX);
        Ok(ids)
    };
    Ok((read(nr::GETRESUID, nr::SETFSUID)?, read(nr::GETRESGID, nr::SETFSGID)?))
}

// ---- signals -------------------------------------------------------------------------------

/// A set of signals: bit N-1 is signal N. The kernel's `sigset_t`.
pub type SignalSet = u64;

/// Every signal there is.
pub const ALL_SIGNALS: SignalSet = !0;

/// The set of this signal alone.
pub const fn set_of(signal: i32) -> SignalSet {
    1 << (signal - 1)
}

/// The signals that selfdock knows by name. signal(7)
#[allow(missing_docs)]
pub mod signal {
    pub const HUP: i32 = 1;
    pub const INT: i32 = 2;
    pub const QUIT: i32 = 3;
    pub const KILL: i32 = 9;
    pub const SEGV: i32 = 11;
    pub const PIPE: i32 = 13;
    pub const TERM: i32 = 15;
    pub const XCPU: i32 = 24;
    pub const XFSZ: i32 = 25;
    pub const CHLD: i32 = 17;
    pub const CONT: i32 = 18;
    pub const STOP: i32 = 19;
    pub const TSTP: i32 = 20;
    pub const TTOU: i32 = 22;
    pub const URG: i32 = 23;
    pub const WINCH: i32 = 28;
    /// `SIGRTMAX`, the last to be taken.
    pub const LAST: i32 = 64;
}

/// Sets the mask of blocked signals. sigprocmask(2).
pub fn block_only(set: SignalSet) -> Result<()> {
    exchange_mask(set).map(drop)
}

/// The same, and gives the mask before.
pub fn exchange_mask(set: SignalSet) -> Result<SignalSet> {
    const SIG_SETMASK: usize = 2;
    let mut before: SignalSet = 0;
    let (new, old) = (ptr::from_ref(&set) as usize, ptr::from_mut(&mut before) as usize);
    // SAFETY: reads eight bytes of this frame, and writes eight others.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, new, old, 8, 0, 0]) }?;
    Ok(before)
}

/// What a signal does. There are no handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Disposition {
    /// `SIG_DFL`
    Default = 0,
    /// `SIG_IGN`
    Ignored = 1,
}

/// Gives a signal this disposition. sigaction(2).
pub fn dispose(signal: i32, disposition: Disposition) -> Result<()> {
    // struct sigaction of the kernel: handler, flags, restorer, mask.
    let action = [disposition as usize, 0, 0, 0];
    // SAFETY: reads the 32 bytes of this frame; neither disposition is code.
    unsafe { call(nr::RT_SIGACTION, [int(signal), action.as_ptr() as usize, NONE, 8, 0, 0]) }.map(drop)
}

/// A signal that was taken from the queue.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Its number.
    pub signal: i32,
    /// `si_code`: positive from the kernel, 0 by kill(2), [`QUEUED`] by [`queue`]. sigaction(2)
    pub code: i32,
}

/// `SI_QUEUE`
pub const QUEUED: i32 = -1;

/// Waits for one of the signals of `set`, which must be blocked. `rt_sigtimedwait(2)`.
pub fn wait_signal(set: SignalSet, timeout: Option<Moment>) -> Result<Taken> {
    // siginfo_t is 128 bytes: si_signo, si_errno, si_code.
    let mut info = [0i32; 32];
    let limit = timeout.as_ref().map_or(NONE, |t| ptr::from_ref(t) as usize);
    // SAFETY: reads eight bytes of the set and the timespec, and writes at most 128 bytes to
    // `info`; all are of this frame.
    unsafe {
        call(nr::RT_SIGTIMEDWAIT, [ptr::from_ref(&set) as usize, info.as_mut_ptr() as usize, limit, 8, 0, 0])
    }?;
    Ok(Taken { signal: info[0], code: info[2] })
}

/// The signals that wait to be taken by this process. sigpending(2)
pub fn pending() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: writes eight bytes of this frame.
    unsafe { call(nr::RT_SIGPENDING, [ptr::from_mut(&mut set) as usize, 8, 0, 0, 0, 0]) }?;
    Ok(set)
}

/// Sends a signal that can be told from one of kill(2). `rt_sigqueueinfo(2)`
pub fn queue(pid: Pid, signal: i32) -> Result<()> {
    // siginfo_t: si_signo, si_errno, si_code; what follows says nothing.
    let mut info = [0i32; 32];
    info[0] = signal;
    info[2] = QUEUED;
    let pid = int(pid.as_raw_nonzero().get());
    // SAFETY: reads the 128 bytes of this frame.
    unsafe { call(nr::RT_SIGQUEUEINFO, [pid, int(signal), info.as_ptr() as usize, 0, 0, 0]) }.map(drop)
}

/// Sends any signal, real-time ones too. kill(2).
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: two numbers. What the signal does to us is what it would do from anyone.
    unsafe { call(nr::KILL, [int(pid.as_raw_nonzero().get()), int(signal), 0, 0, 0, 0]) }.map(drop)
}

/// Sends SIGKILL to every process in this PID namespace but its first and this one; an error where
/// there is none. kill(2), with -1. None that is just being made is left out: a fork looks for
/// signals under the lock that is held meanwhile (`copy_process()`).
pub fn kill_all_others() -> Result<()> {
    // SAFETY: two numbers.
    unsafe { call(nr::KILL, [usize::MAX, int(signal::KILL), 0, 0, 0, 0]) }.map(drop)
}

/// Waits until no signal is on its way to a process group: each member has it, or none.
/// `kill_something_info()` sends with `tasklist_lock` held, and setpgid(2) takes it for writing,
/// here for a process that there is not.
pub fn let_groups_be_served() {
    const NOBODY: i32 = i32::MAX;
    // SAFETY: two numbers. No PID is as large, so nothing is changed.
    let _ = unsafe { call(nr::SETPGID, [int(NOBODY), 1, 0, 0, 0, 0]) };
}

/// The process group of a process, or of this one; 0 where its leader is outside of our PID
/// namespace. getpgid(2)
pub fn group_of(pid: Option<Pid>) -> Result<usize> {
    // SAFETY: a number.
    unsafe { call(nr::GETPGID, [pid.map_or(0, |pid| int(pid.as_raw_nonzero().get())), 0, 0, 0, 0, 0]) }
}

/// The session of a process, or of this one; 0 where its leader is outside. getsid(2)
pub fn session_of(pid: Option<Pid>) -> Result<usize> {
    // SAFETY: a number.
    unsafe { call(nr::GETSID, [pid.map_or(0, |pid| int(pid.as_raw_nonzero().get())), 0, 0, 0, 0, 0]) }
}

/// The kernel's `struct rusage`. getrusage(2)
#[repr(C)]
#[derive(Default)]
struct RawUsage {
    /// Seconds and microseconds.
    user: [i64; 2],
    system: [i64; 2],
    peak: i64,
    _not_kept_1: [i64; 3],
    minor_faults: i64,
    major_faults: i64,
    _not_kept_2: [i64; 6],
    voluntary_switches: i64,
    involuntary_switches: i64,
}

impl RawUsage {
    #[inline(never)]
    fn told(&self) -> Usage {
        let microseconds = |[whole, parts]: [i64; 2]| whole.saturating_mul(1_000_000).saturating_add(parts);
        Usage::new([
            microseconds(self.user),
            microseconds(self.system),
            self.minor_faults,
            self.major_faults,
            self.voluntary_switches,
            self.involuntary_switches,
            self.peak,
        ])
    }
}

/// Whose usage.
#[derive(Clone, Copy)]
pub enum Whose {
    /// `RUSAGE_SELF`
    Own,
    /// `RUSAGE_CHILDREN`: of those that were waited for, and of what they waited for.
    Children,
}

/// A limit of setrlimit(2), soft and hard. What is unlimited is the largest number, `RLIM_INFINITY`.
pub type Limit = [u64; 2];

/// A limit of a process of the caller's, or of this one, by its number; also of one that has ended, until it is
/// waited for. Sets it, if there is a new one. prlimit(2)
pub fn limit(pid: Option<Pid>, number: usize, new: Option<&Limit>) -> Result<Limit> {
    let mut old = [0; 2];
    let pid = pid.map_or(0, |pid| int(pid.as_raw_nonzero().get()));
    let new = new.map_or(0, |new| new.as_ptr() as usize);
    // SAFETY: reads and writes a struct rlimit64, which is two numbers, each of a frame that is alive.
    unsafe { call(nr::PRLIMIT64, [pid, number, new, old.as_mut_ptr() as usize, 0, 0]) }?;
    Ok(old)
}

/// Bytes that end in the only NUL among them.
pub fn c_str(bytes: &[u8]) -> Option<&CStr> {
    let first = bytes.iter().position(|byte| *byte == 0)?;
    // SAFETY: there is one NUL, and it is the last byte.
    (first + 1 == bytes.len()).then(|| unsafe { CStr::from_bytes_with_nul_unchecked(bytes) })
}

/// What was used so far. getrusage(2)
pub fn usage(whose: Whose) -> Result<Usage> {
    let who = match whose {
        Whose::Own => 0,
        Whose::Children => usize::MAX,
    };
    let mut usage = RawUsage::default();
    // SAFETY: writes a struct rusage of 144 bytes, of this frame.
    unsafe { call(nr::GETRUSAGE, [who, ptr::from_mut(&mut usage) as usize, 0, 0, 0, 0]) }?;
    Ok(usage.told())
}

/// Takes one child that ended or stopped, without waiting: this one, or any. Gives its PID,
/// its status as `waitpid(2)` has it, and what it used, with what it waited for. wait4(2).
pub fn wait(pid: Option<Pid>) -> Result<Option<(Pid, i32, Usage)>> {
    const WNOHANG_UNTRACED: usize = 1 | 2;
    let mut status = 0i32;
    let mut usage = RawUsage::default();
    let whom = pid.map_or(usize::MAX, |pid| int(pid.as_raw_nonzero().get()));
    // SAFETY: writes an int and a struct rusage of 144 bytes, both of this frame.
    let found = unsafe {
        call(
            nr::WAIT4,
            [
                whom,
                ptr::from_mut(&mut status) as usize,
                WNOHANG_UNTRACED,
                ptr::from_mut(&mut usage) as usize,
                0,
                0,
            ],
        )
    }?;
    Ok(i32::try_from(found).ok().and_then(Pid::from_raw).map(|pid| (pid, status, usage.told())))
}

/// A point in time, or a span of it. The kernel's `timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Whole seconds.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: i64,
}

impl Moment {
    const SECOND: i64 = 1_000_000_000;

    /// The sum; far enough in the future all are the same.
    #[must_use]
    pub fn plus(self, other: Moment) -> Moment {
        let sum = self.nanoseconds + other.nanoseconds;
        let carry = i64::from(sum >= Self::SECOND);
        let seconds = self.seconds.saturating_add(other.seconds).saturating_add(carry);
        Moment { seconds, nanoseconds: sum - carry * Self::SECOND }
    }

    /// The difference, 0 at the least.
    #[must_use]
    pub fn minus(self, other: Moment) -> Moment {
        let difference = self.nanoseconds - other.nanoseconds;
        let borrow = i64::from(difference < 0);
        let seconds = self.seconds.saturating_sub(other.seconds).saturating_sub(borrow);
        if seconds < 0 {
            return Moment::default();
        }
        Moment { seconds, nanoseconds: difference + borrow * Self::SECOND }
    }
}

/// Time since the machine started. `clock_gettime(2)`, `CLOCK_MONOTONIC`.
pub fn now() -> Result<Moment> {
    const CLOCK_MONOTONIC: usize = 1;
    let mut now = Moment::default();
    // SAFETY: writes a timespec of this frame.
    unsafe { call(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, ptr::from_mut(&mut now) as usize, 0, 0, 0, 0]) }?;
    Ok(now)
}

// ---- mounts and the rest -------------------------------------------------------------------

/// Attributes to add to a mount; there is no field to clear any. `mount_setattr(2)`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Tighten {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    cleared: u64,
    /// `MS_PRIVATE` or 0.
    pub propagation: u64,
    userns: u64,
}

impl Tighten {
    /// Read-only.
    pub const RDONLY: u64 = 1;
    /// Set-uid bits and file capabilities have no effect.
    pub const NOSUID: u64 = 2;
    /// Device files cannot be opened.
    pub const NODEV: u64 = 4;
    /// No file can be executed.
    pub const NOEXEC: u64 = 8;

    /// Sets these attributes.
    pub const fn set(set: u64) -> Self {
        Tighten { set, cleared: 0, propagation: 0, userns: 0 }
    }

    /// The same, and no mount or unmount passes in or out (`MS_PRIVATE`).
    #[must_use]
    pub const fn and_private(self) -> Self {
        const MS_PRIVATE: u64 = 1 << 18;
        Tighten { propagation: MS_PRIVATE, ..self }
    }
}

/// Whether a change reaches the mounts below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount alone.
    One,
    /// The mount and all below it.
    Tree,
}

/// Adds attributes to the mount whose root `fd` is. `mount_setattr(2)`.
pub fn tighten(fd: impl AsFd, attributes: Tighten, reach: Reach) -> Result<()> {
    const AT_EMPTY_PATH: usize = 0x1000;
    const AT_RECURSIVE: usize = 0x8000;
    let flags = AT_EMPTY_PATH | if reach == Reach::Tree { AT_RECURSIVE } else { 0 };
    let size = size_of::<Tighten>();
    // SAFETY: an empty path and a struct of `size` bytes, both read only.
    unsafe {
        call(
            nr::MOUNT_SETATTR,
            [fd_arg(fd.as_fd()), c"".as_ptr() as usize, flags, ptr::from_ref(&attributes) as usize, size, 0],
        )
    }
    .map(drop)
}

/// `open_tree(2)` and `mount_setattr(2)` in one, from Linux 6.15 on. The flags are those of the first.
pub fn open_tree_attr(dir: BorrowedFd<'_>, path: &CStr, flags: u32, attributes: Tighten) -> Result<OwnedFd> {
    let (place, size) = (ptr::from_ref(&attributes) as usize, size_of::<Tighten>());
    // SAFETY: a string and a struct of `size` bytes, both read only; the new descriptor
    // belongs to nobody else yet.
    unsafe {
        let a = [fd_arg(dir), path.as_ptr() as usize, flags as usize, place, size, 0];
        let tree = call(nr::OPEN_TREE_ATTR, a)?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(tree).map_err(|_| Errno::BADF)?))
    }
}

/// Where a descriptor leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the mount, if the kernel tells.
    pub mount: Option<u64>,
    /// The number of the inode.
    pub inode: u64,
    /// It is the root of the mount.
    pub is_root: bool,
}

/// Which number of a mount.
#[derive(Clone, Copy)]
pub enum Number {
    /// That no other mount has now: as in `/proc/PID/mountinfo`.
    Current = 0x1000,
    /// That no other has ever had: `STATX_MNT_ID_UNIQUE`, Linux 6.8.
    Unique = 0x4000,
}

/// Where a descriptor leads. statx(2)
pub fn place_of(fd: impl AsFd, number: Number) -> Result<Place> {
    let wanted = StatxFlags::from_bits_retain(number as u32);
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted | StatxFlags::INO)?;
    let mount = Some(stat.stx_mnt_id).filter(|_| stat.stx_mask & wanted.bits() != 0);
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok(Place { mount, inode: stat.stx_ino, is_root })
}

/// `struct mnt_id_req`
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    parameter: u64,
}

/// The numbers of the mounts below one, as many as there is room for. listmount(2)
pub fn mounts_below(mount: u64, room: &mut [u64]) -> Result<usize> {
    let request = MountRequest { size: 24, spare: 0, mount, parameter: 0 };
    // SAFETY: a request of the size that it says, and room for so many numbers, both for the call only.
    unsafe {
        call(nr::LISTMOUNT, [(&raw const request) as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0])
    }
}

/// What the kernel tells of a mount.
pub struct Told {
    /// The type of its file system.
    pub kind: Option<Vec<u8>>,
    /// Where it is, from the root of this process.
    pub point: Option<Vec<u8>>,
    /// The options of its file system; from Linux 6.11 on, and if it has any.
    pub options: Option<Vec<u8>>,
}

/// Asks for the type, the place and the options of a mount. statmount(2), `struct statmount` of linux/mount.h
pub fn told_of(mount: u64) -> Result<Told> {
    const POINT: u64 = 0x10;
    const KIND: u64 = 0x20;
    const OPTIONS: u64 = 0x80;
    // The texts follow 512 bytes of numbers, some of which say where they begin.
    let mut answer = [0u8; 1024];
    let request = MountRequest { size: 24, spare: 0, mount, parameter: POINT | KIND | OPTIONS };
    // SAFETY: as above, and room for an answer of the size that is given.
    unsafe {
        let room = answer.as_mut_ptr() as usize;
        call(nr::STATMOUNT, [(&raw const request) as usize, room, answer.len(), 0, 0, 0])?;
    }
    let number =
        |at: usize| answer[at..at + 4].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte));
    let mask = number(8) as u64;
    let text = |bit: u64, at: usize| {
        let text = answer.get(512 + number(at)..).filter(|_| mask & bit != 0)?;
        text.iter().position(|byte| *byte == 0).map(|end| text[..end].to_vec())
    };
    Ok(Told { kind: text(KIND, 36), point: text(POINT, 108), options: text(OPTIONS, 4) })
}

/// An instruction of a classic BPF program. The kernel's `sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a test holds.
    pub yes: u8,
    /// And if it does not.
    pub no: u8,
    /// The constant that is loaded from, compared with, or returned.
    pub k: u32,
}

/// Filters the system calls of this process and all that come from it, for good. seccomp(2),
/// `PR_SET_SECCOMP`; the kernel checks the program.
pub fn filter(program: &[Instruction]) -> Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    const PR_SET_SECCOMP: usize = 22;
    const SECCOMP_MODE_FILTER: usize = 2;
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the kernel reads `length` instructions of the slice. What it forbids later are
    // system calls; those return an error.
    unsafe {
        call(nr::PRCTL, [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ptr::from_ref(&program) as usize, 0, 0, 0])
    }
    .map(drop)
}

/// What a Landlock domain keeps inside. landlock(7), "Scope flags"
pub mod scope {
    /// Connections to abstract sockets.
    pub const ABSTRACT_SOCKETS: u64 = 1;
    /// Signals.
    pub const SIGNALS: u64 = 2;
}

/// Moves this process into a new Landlock domain, nested in its present one, which keeps these
/// things inside ([`scope`]). Needs `CAP_SYS_ADMIN` in the user namespace of the process, or
/// `no_new_privs`. `landlock_create_ruleset(2)`, `landlock_restrict_self(2)`
pub fn enter_domain(scoped: u64) -> Result<()> {
    // struct landlock_ruleset_attr: handled accesses to files and to the network, scopes.
    let ruleset = [0, 0, scoped];
    let size = size_of_val(&ruleset);
    // SAFETY: the first call reads the 24 bytes of this frame; the others take a descriptor,
    // which is nobody else's.
    unsafe {
        let ruleset = call(nr::LANDLOCK_CREATE_RULESET, [ruleset.as_ptr() as usize, size, 0, 0, 0, 0])?;
        let done = call(nr::LANDLOCK_RESTRICT_SELF, [ruleset, 0, 0, 0, 0, 0]);
        let ruleset = u32::try_from(ruleset).unwrap_or(u32::MAX);
        close_range(ruleset, ruleset)?;
        done.map(drop)
    }
}

/// Which edition of Landlock the kernel has; 0 for none. `landlock_create_ruleset(2)`
pub fn landlock_abi() -> usize {
    const VERSION: usize = 1;
    // SAFETY: no pointer; a flag asks for a number.
    unsafe { call(nr::LANDLOCK_CREATE_RULESET, [NONE, 0, VERSION, 0, 0, 0]) }.unwrap_or(0)
}

/// Gives this process a new session keyring, empty and its own. `keyctl_join_session_keyring(3)`
pub fn new_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: no name, so no pointer.
    unsafe { call(nr::KEYCTL, [JOIN_SESSION_KEYRING, NONE, 0, 0, 0, 0]) }.map(drop)
}

/// Sets the host name of the UTS namespace. sethostname(2).
pub fn sethostname(name: &[u8]) -> Result<()> {
    // SAFETY: reads `len` bytes of the slice.
    unsafe { call(nr::SETHOSTNAME, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0]) }.map(drop)
}

/// Brings the loopback device of the network namespace up. netdevice(7).
pub fn loopback_up() -> Result<()> {
    const AF_INET: usize = 2;
    const DGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP_RUNNING: u8 = 0x41;
    // struct ifreq: a name of 16 bytes, then a union of which the flags are the first two bytes.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP_RUNNING;
    // SAFETY: no pointer in the first call; the second reads the 40 bytes of this frame.
    unsafe {
        let socket = call(nr::SOCKET, [AF_INET, DGRAM_CLOEXEC, 0, 0, 0, 0])?;
        call(nr::IOCTL, [socket, SIOCSIFFLAGS, request.as_ptr() as usize, 0, 0, 0])?;
        let socket = u32::try_from(socket).unwrap_or(u32::MAX);
        close_range(socket, socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_table_names_each_place_once() {
        let places = |table: &[usize]| {
            let mut places = Vec::new();
            unpack(table.len(), |i| table[i], |place| places.push(place));
            places
        };
        assert_eq!(places(&[]), []);
        assert_eq!(places(&[0x100, 0x200]), [0x100, 0x200]);
        // The first and the third word after the place, and the last that a bitmap can name.
        assert_eq!(places(&[0x100, 1 | 0b101 << 1, 0x400]), [0x100, 0x108, 0x118, 0x400]);
        assert_eq!(places(&[0x100, 1 | 1 << 63]), [0x100, 0x100 + 63 * 8]);
        // A second bitmap goes on where the first could have ended.
        assert_eq!(places(&[0x100, 1, 1 | 1 << 1]), [0x100, 0x100 + 64 * 8]);
    }

    #[test]
    fn what_is_asked_of_the_allocator_is_aligned_or_refused() {
        static ARENA: Arena = Arena::new();
        ARENA.begin();
        for align in [1, 2, 64, 4096, 1 << 20] {
            let room = ARENA.take(Layout::from_size_align(3, align).unwrap()).unwrap();
            assert_eq!(room % align, 0);
        }
        let large = ARENA.take(Layout::from_size_align(3 * CHUNK, 8).unwrap()).unwrap();
        let small = ARENA.take(Layout::from_size_align(8, 8).unwrap()).unwrap();
        assert!(!(large..large + 3 * CHUNK).contains(&small));
        assert_eq!(ARENA.take(Layout::from_size_align(isize::MAX as usize - 7, 8).unwrap()), None);
    }

    fn status_of(child: Pid) -> i32 {
        loop {
            if let Some((_, status, _)) = wait(Some(child)).unwrap() {
                return status;
            }
        }
    }

    #[test]
    fn a_child_works_in_a_copy_of_the_memory() {
        let mut numbers = [1, 2, 3];
        let first = &mut numbers[0];
        let child = start_child(0, || {
            *first = 7;
            42
        });
        assert_eq!((status_of(child.unwrap()), numbers), (42 << 8, [1, 2, 3]));
    }

    #[test]
    fn a_process_beside_this_one_works_in_the_same_memory_at_the_same_time() {
        static HERE: AtomicU32 = AtomicU32::new(0);
        static THERE: AtomicU32 = AtomicU32::new(0);
        let child = start_beside(Stack::Command, None, || {
            THERE.store(1, Ordering::SeqCst);
            while HERE.load(Ordering::SeqCst) == 0 {
                sleep_while(&HERE, 0, None);
            }
            THERE.store(2, Ordering::SeqCst);
            42
        });
        while THERE.load(Ordering::SeqCst) == 0 {
            core::hint::spin_loop();
        }
        HERE.store(1, Ordering::SeqCst);
        wake(&HERE);
        assert_eq!((status_of(child.unwrap()), THERE.load(Ordering::SeqCst)), (42 << 8, 2));
    }

    #[test]
    fn what_is_taken_at_the_same_time_does_not_overlap() {
        static ARENA: Arena = Arena::new();
        ARENA.begin();
        let layout = Layout::from_size_align(4000, 8).unwrap();
        let taken = || (0..500).map(|_| ARENA.take(layout).unwrap()).collect::<Vec<_>>();
        let mut all: Vec<usize> = std::thread::scope(|scope| {
            let others: Vec<_> = (0..3).map(|_| scope.spawn(taken)).collect();
            others.into_iter().flat_map(|other| other.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] + 4000 <= pair[1]));
    }

    #[test]
    fn what_a_child_would_have_taken_is_dropped_where_there_is_none() {
        // With a mount namespace of its own it cannot share its root directory.
        const CLONE_FS: u32 = 0x200;
        struct Noisy<'a>(&'a core::cell::Cell<u32>);
        impl Drop for Noisy<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = core::cell::Cell::new(0);
        let noisy = Noisy(&dropped);
        let failed = start_child(new::MOUNT | CLONE_FS, move || {
            drop(noisy);
            0
        });
        assert_eq!((failed, dropped.get()), (Err(Errno::INVAL), 1));
    }
}
