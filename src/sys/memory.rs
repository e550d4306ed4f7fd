//! The allocator.

use super::{NULL, call, nr};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use rustix::io::Result;

/// A bump allocator: memory is never freed, since the process is short-lived and allocates kilobytes. The first pages
/// are part of the program (untouched ones cost nothing). The allocator's state is at their start, so both touch one
/// page. Larger amounts are mapped. If the kernel refuses, the allocation fails. Processes that share the memory
/// allocate at the same time.
#[repr(C, align(4096))]
pub struct Arena {
    /// The address of the current chunk.
    current: AtomicUsize,
    first: Chunk,
    room: UnsafeCell<[u8; FIRST]>,
}

/// The header of each chunk of memory.
#[repr(C)]
struct Chunk {
    next: AtomicUsize,
    end: AtomicUsize,
}

const FIRST: usize = 64 * 1024 - 3 * size_of::<usize>();
const CHUNK: usize = 1024 * 1024;

// SAFETY: everything but the room itself is atomic, and each part of that is handed out once.
unsafe impl Sync for Arena {}

#[cfg(not(any(test, fuzzing)))]
#[global_allocator]
static ARENA: Arena = Arena::new();

/// Must be called before the first allocation.
#[cfg(not(any(test, fuzzing)))]
pub(super) fn begin() {
    ARENA.begin();
}

impl Chunk {
    fn reset(&self, next: usize, end: usize) {
        self.next.store(next, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// Allocates from the chunk, if there is room.
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
    /// An empty arena.
    #[allow(clippy::large_stack_arrays)] // a static is made from it
    const fn new() -> Self {
        let first = Chunk { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };
        Arena { current: AtomicUsize::new(0), first, room: UnsafeCell::new([0; FIRST]) }
    }

    /// Must be called before the first allocation. It writes only: reading a page before writing it causes two page
    /// faults.
    pub fn begin(&self) {
        let room = self.room.get() as usize;
        self.first.reset(room, room + FIRST);
        self.current.store(ptr::from_ref(&self.first).expose_provenance(), Ordering::Release);
    }

    /// Allocates from the current chunk, or from a new one.
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
            // If another process was faster, its chunk is used, and this one is lost.
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
    unsafe { call(nr::MMAP, [NULL, size, PROT_READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) }
}

/// The value that was stored there for good, if any.
pub fn pointee<T: Copy + Sync + 'static>(place: &AtomicPtr<T>) -> Option<T> {
    // SAFETY: what is stored is null, or from a box that was leaked, and never changed after it was stored.
    unsafe { place.load(Ordering::Acquire).as_ref().copied() }
}

/// Makes a C string of bytes that end with their only NUL.
pub fn c_str(bytes: &[u8]) -> Option<&CStr> {
    let first = bytes.iter().position(|byte| *byte == 0)?;
    // SAFETY: there is one NUL, and it is the last byte.
    (first + 1 == bytes.len()).then(|| unsafe { CStr::from_bytes_with_nul_unchecked(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn allocations_are_aligned_or_refused() {
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

    #[test]
    fn parallel_allocations_do_not_overlap() {
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
}
