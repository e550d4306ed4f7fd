//! Processes: start, exec, end, and who waits for whom.

use super::time::Duration;
use super::{NULL, arch, as_register, call, errno, nr, signal};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::AtomicU32;
use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Flags of clone(2) and unshare(2) that make namespaces.
#[allow(missing_docs)]
pub mod namespace {
    pub const MOUNT: u32 = 0x0002_0000;
    pub const CGROUP: u32 = 0x0200_0000;
    pub const UTS: u32 = 0x0400_0000;
    pub const IPC: u32 = 0x0800_0000;
    pub const USER: u32 = 0x1000_0000;
    pub const PID: u32 = 0x2000_0000;
    pub const NETWORK: u32 = 0x4000_0000;
}

/// The first function of a child. It moves `act` out of the memory where `start_child` or `start_beside` put it.
extern "C" fn child<F: FnOnce() -> u8>(act: *const F) -> ! {
    // SAFETY: whoever started this child left `act` there, and does not look at it again.
    exit(unsafe { act.read() }())
}

/// Starts a process with a copy of this memory, in the new namespaces of `flags` ([`namespace`]). It runs `act`, and
/// exits with its status. Returns the PID. clone(2)
pub fn start_child<F: FnOnce() -> u8>(flags: u32, act: F) -> Result<Pid> {
    start_copy(flags | signal::CHLD.unsigned_abs(), act)
}

/// Starts a process in the same way, at whose end its parent has no signal. Only those wait for it who ask for such a
/// child. wait(2), `__WCLONE`
pub fn start_child_apart<F: FnOnce() -> u8>(act: F) -> Result<Pid> {
    start_copy(0, act)
}

fn start_copy<F: FnOnce() -> u8>(flags: u32, act: F) -> Result<Pid> {
    const VM_VFORK: u32 = 0x100 | 0x4000;
    let flags = flags & !VM_VFORK;
    let act = ManuallyDrop::new(act);
    // SAFETY: `child` does not return, and takes what `act` holds in a copy of this memory, in
    // which nobody else looks at it.
    let out =
        unsafe { arch::start_in_copy(flags as usize, child::<F> as *const (), ptr::from_ref(&act).cast()) };
    if out >= 0 {
        return i32::try_from(out).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
    }
    // There is no child, so `act` is dropped here.
    drop(ManuallyDrop::into_inner(act));
    Err(errno(out))
}

/// How far below the used part of this stack another process has its own stack.
///
/// Supervisor and keeper never need half of that: neither is recursive or has large frames. The command's stack is
/// the lowest, and the kernel lets it grow and keeps a distance to other mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stack {
    /// The keeper's.
    Keeper = 24 << 10,
    /// The command's, until it executes the command.
    Command = 40 << 10,
}

/// Starts a process that shares this memory and runs in parallel, until it executes another program or ends. It runs
/// `act`, and exits with its status. It gets the PID `pid` in its innermost namespace, or any PID. Returns its PID
/// here. clone(2), `CLONE_VM`, `set_tid`
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
    let top = (arch::stack_pointer() - stack as usize - size_of::<F>()) & !(align_of::<F>().max(16) - 1);
    // SAFETY: `act` is moved to the other stack before there is a process on it, and is of this
    // process no more. The place is this thread's own stack, so far below the frames in use that
    // none of them gets there; what `act` holds is 'static.
    unsafe { ptr::with_exposed_provenance_mut::<F>(top).write(act) };
    let arguments = Arguments {
        flags: CLONE_VM,
        exit_signal: as_register(signal::CHLD),
        stack: top - 4096,
        stack_size: 4096,
        set_tid: ptr::from_ref(&wanted) as usize,
        set_tid_size: 1,
        ..Arguments::default()
    };
    let clone3 = (nr::CLONE3, ptr::from_ref(&arguments) as usize, size_of::<Arguments>());
    let clone = (nr::CLONE, CLONE_VM | as_register(signal::CHLD), top);
    // SAFETY: `child` does not return, and takes what `act` holds from the top of its own stack,
    // where it was moved to. clone3 reads `arguments` and `wanted`, which are of this frame.
    let start = |clone| unsafe { arch::start_on_stack(clone, child::<F> as *const ()) };
    let mut out = if pid.is_some() { start(clone3) } else { start(clone) };
    if [Errno::NOSYS, Errno::PERM].iter().any(|refused| out == -refused.raw_os_error() as isize) {
        // A filter cannot read the arguments of clone3, and may refuse it. Then clone gives any PID.
        out = start(clone);
    }
    if out < 0 {
        return Err(errno(out));
    }
    i32::try_from(out).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// Makes new namespaces ([`namespace`]) for this process. A PID namespace is for its children. unshare(2)
pub fn unshare(flags: u32) -> Result<()> {
    // SAFETY: a number. Only namespaces are asked for, nothing that memory rests on.
    unsafe { call(nr::UNSHARE, [flags as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Registers a word that the kernel clears when this process ends, if others share its memory then, before anyone
/// else learns of the end. It also wakes one process that sleeps on the word. `set_tid_address(2)`; `mm_release()`,
/// `kernel/fork.c`
pub fn clear_at_end(word: &'static AtomicU32) -> Result<()> {
    // SAFETY: the kernel writes an int there at the end of this process. The word is there for
    // good, and atomic.
    unsafe { call(nr::SET_TID_ADDRESS, [word.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Sleeps while the word has this value, until it is woken, at most for `limit`. It may return early. futex(2),
/// `FUTEX_WAIT`
pub fn sleep_while(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    // Without `FUTEX_PRIVATE_FLAG`, since the kernel wakes without it when it clears a word.
    const WAIT: usize = 0;
    let limit = limit.as_ref().map_or(NULL, |t| ptr::from_ref(t) as usize);
    // SAFETY: the kernel reads the word and the timespec, both alive during the call.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as usize, WAIT, value as usize, limit, 0, 0]) };
}

/// Binds this process and another one to the CPU that this one runs on now. getcpu(2), `sched_setaffinity(2)`
pub fn stay_on_this_cpu(other: Pid) -> Result<()> {
    const CPUS: usize = 4096;
    let mut cpu = 0u32;
    // SAFETY: the kernel writes an int of this frame.
    unsafe { call(nr::GETCPU, [ptr::from_mut(&mut cpu) as usize, NULL, NULL, 0, 0, 0]) }?;
    let mut mask = [0u64; CPUS / 64];
    if let Some(word) = mask.get_mut(cpu as usize / 64) {
        *word = 1 << (cpu % 64);
    }
    for pid in [0, as_register(other.as_raw_nonzero().get())] {
        // SAFETY: the kernel reads the mask, which is of this frame.
        unsafe { call(nr::SCHED_SETAFFINITY, [pid, size_of_val(&mask), mask.as_ptr() as usize, 0, 0, 0]) }?;
    }
    Ok(())
}

/// Wakes all that sleep on a word. futex(2), `FUTEX_WAKE`
pub fn wake(word: &AtomicU32) {
    const WAKE: usize = 1;
    // SAFETY: the address is a name here; nothing is read or written.
    let _ = unsafe { call(nr::FUTEX, [word.as_ptr() as usize, WAKE, i32::MAX as usize, 0, 0, 0]) };
}

/// Executes another program. execve(2). Returns only on failure.
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
    // SAFETY: a number.
    let _ = unsafe { call(nr::EXIT_GROUP, [usize::from(status), 0, 0, 0, 0, 0]) };
    // The call does not return, and the compiler must know that.
    arch::trap()
}

/// The process group of a process, or of this one; 0 if its leader is outside our PID namespace. getpgid(2)
pub fn group_of(pid: Option<Pid>) -> Result<usize> {
    // SAFETY: a number.
    unsafe {
        call(nr::GETPGID, [pid.map_or(0, |pid| as_register(pid.as_raw_nonzero().get())), 0, 0, 0, 0, 0])
    }
}

/// The session of a process, or of this one; 0 if its leader is outside. getsid(2)
pub fn session_of(pid: Option<Pid>) -> Result<usize> {
    // SAFETY: a number.
    unsafe { call(nr::GETSID, [pid.map_or(0, |pid| as_register(pid.as_raw_nonzero().get())), 0, 0, 0, 0, 0]) }
}

/// A limit of setrlimit(2): soft and hard. Unlimited is the largest number, `RLIM_INFINITY`.
pub type Limit = [u64; 2];

/// Reads a limit of a process of the caller, or of this one, by its number. This works until a process has been
/// waited for. Sets the limit if there is a new one. prlimit(2)
pub fn limit(pid: Option<Pid>, number: usize, new: Option<&Limit>) -> Result<Limit> {
    let mut old = [0; 2];
    let pid = pid.map_or(0, |pid| as_register(pid.as_raw_nonzero().get()));
    let new = new.map_or(0, |new| new.as_ptr() as usize);
    // SAFETY: reads and writes a struct rlimit64, which is two numbers, each of a frame that is alive.
    unsafe { call(nr::PRLIMIT64, [pid, number, new, old.as_mut_ptr() as usize, 0, 0]) }?;
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::super::wait;
    use super::*;
    use core::sync::atomic::Ordering;

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
    fn a_closure_is_dropped_if_no_child_starts() {
        // A process with a new mount namespace cannot share its root directory.
        const CLONE_FS: u32 = 0x200;
        struct Noisy<'a>(&'a core::cell::Cell<u32>);
        impl Drop for Noisy<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = core::cell::Cell::new(0);
        let noisy = Noisy(&dropped);
        let failed = start_child(namespace::MOUNT | CLONE_FS, move || {
            drop(noisy);
            0
        });
        assert_eq!((failed, dropped.get()), (Err(Errno::INVAL), 1));
    }
}
