//! The start of a program: relocation, arguments and environment.

use super::{arch, call, nr};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr;

/// The arguments and the environment from the kernel, which live as long as the process.
#[derive(Clone, Copy)]
pub struct Start {
    argc: usize,
    argv: *const *const u8,
    envp: *const *const u8,
}

/// Relocates the program, makes the relocated data read-only and finds the arguments.
///
/// # Safety
/// Must be called once, before anything else, with the stack as the kernel left it, and the addresses of this
/// program's own dynamic section and ELF header.
pub unsafe fn start(stack: *const usize, dynamic: *const usize, header: *const u8) -> Start {
    // SAFETY: the pointers are as promised above. Until `relocate` is done, nothing here
    // reads data that holds an address.
    unsafe {
        relocate(dynamic, header as usize);
        protect_relocated(header);
        #[cfg(not(any(test, fuzzing)))]
        super::memory::begin();
        let argc = *stack;
        let argv = stack.add(1).cast::<*const u8>();
        Start { argc, argv, envp: argv.add(argc + 1) }
    }
}

/// Adds the load address to each word that the linker listed. A static position-independent program has only relative
/// relocations. `-z pack-relative-relocs` puts them into a `DT_RELR` table, see [`unpack`]. Other linkers put them
/// into a `DT_RELA` table. Any other relocation ends the process at once.
///
/// # Safety
/// As `start`.
unsafe fn relocate(mut dynamic: *const usize, base: usize) {
    const DT_NULL: usize = 0;
    const DT_RELA: usize = 7;
    const DT_RELASZ: usize = 8;
    const DT_RELRSZ: usize = 35;
    const DT_RELR: usize = 36;
    let (mut table, mut bytes) = (0, 0);
    let (mut long_table, mut long_bytes) = (0, 0);
    // SAFETY: the linker's dynamic section ends with DT_NULL, and its tables hold as many
    // bytes as it says, which name words of this program's own writable data. Nothing has used these
    // words yet. They are read and written as volatile, by addresses of which the compiler
    // knows nothing: so it cannot take them for the constants that they were in its eyes.
    unsafe {
        while dynamic.read_volatile() != DT_NULL {
            let value = dynamic.add(1).read_volatile();
            match dynamic.read_volatile() {
                DT_RELR => table = base.wrapping_add(value),
                DT_RELRSZ => bytes = value,
                DT_RELA if !arch::PACKS_RELOCATIONS => long_table = base.wrapping_add(value),
                DT_RELASZ if !arch::PACKS_RELOCATIONS => long_bytes = value,
                DT_RELASZ if value != 0 => arch::trap(),
                _ => {}
            }
            dynamic = dynamic.add(2);
        }
        if !arch::PACKS_RELOCATIONS {
            relocate_each(long_table, long_bytes, base);
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

/// Applies a table that is not packed. An entry has the address, the kind, and the number to add to the load address.
/// The kernel's `Elf64_Rela`
///
/// # Safety
/// As `start`, and with such a table of the linker's.
unsafe fn relocate_each(table: usize, bytes: usize, base: usize) {
    let mut entry = ptr::with_exposed_provenance::<[usize; 3]>(table);
    for _ in 0..bytes / size_of::<[usize; 3]>() {
        // SAFETY: as in `relocate`.
        unsafe {
            let [place, kind, addend] = entry.read_volatile();
            if kind != arch::RELATIVE {
                arch::trap();
            }
            let place = ptr::with_exposed_provenance_mut::<usize>(base.wrapping_add(place));
            place.write_volatile(base.wrapping_add(addend));
            entry = entry.add(1);
        }
    }
}

/// Calls `each` with every address of a packed table (`DT_RELR`). An even word is the next address. An odd word is a
/// bitmap of the 63 words after the last one.
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

/// Makes the segment read-only that the linker marked `PT_GNU_RELRO`.
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
                let end = start + *entry.add(40).cast::<usize>();
                // If the kernel has larger pages, it may refuse this alignment. The linker aligned the end for the
                // largest page.
                let mut page = arch::SMALLEST_PAGE;
                loop {
                    let (from, end) = (start & !(page - 1), end & !(page - 1));
                    let done = call(nr::MPROTECT, [from, end - from, PROT_READ, 0, 0, 0]).is_ok();
                    if done || page == arch::LARGEST_PAGE {
                        break;
                    }
                    page *= 4;
                }
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

    /// The number of bytes of the stack in use, from the address `here`, including arguments and environment.
    pub fn stack_in_use(&self, here: usize) -> usize {
        // The kernel stores the strings in this order, so the last one is at the end of the stack.
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

    /// The path by which the caller executed the program. `AT_EXECFN`, getauxval(3)
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

    /// The environment, as the kernel passed it.
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

/// The prefix of the installation. `cargo xtask install` writes it into the program's file, with a NUL at the end.
/// `_name` is relocated, so the value lies in a page of the file that has room.
#[repr(C)]
struct Prefix {
    mark: [u8; 32],
    room: [u8; 128],
    _name: &'static str,
}

static PREFIX: Prefix = Prefix { mark: *b"selfdock's prefix of installing:", room: [0; 128], _name: "/" };

/// The prefix of the installation; empty if the program is not installed.
pub fn prefix() -> &'static [u8] {
    let mut prefix = Vec::with_capacity(32);
    for byte in &PREFIX.room {
        // SAFETY: a byte of the array. It is read as volatile, so that the compiler does not use the value of compile
        // time.
        match unsafe { ptr::from_ref(byte).read_volatile() } {
            0 => break,
            byte => prefix.push(byte),
        }
    }
    prefix.leak()
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
        // The bitmap names the first and the third word after the address, and the last one it can.
        assert_eq!(places(&[0x100, 1 | 0b101 << 1, 0x400]), [0x100, 0x108, 0x118, 0x400]);
        assert_eq!(places(&[0x100, 1 | 1 << 63]), [0x100, 0x100 + 63 * 8]);
        // A second bitmap continues after the first.
        assert_eq!(places(&[0x100, 1, 1 | 1 << 1]), [0x100, 0x100 + 64 * 8]);
    }
}
