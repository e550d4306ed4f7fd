//! The link flags of both programs. They do not apply to the unit tests of the library, which run with `std`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    // Cargo links in the top directory of the workspace. In a copy of a checkout, an absolute path would name the
    // original.
    println!("cargo:rustc-link-arg-bins=-Wl,-T,link.ld");
    for flag in [
        // No libc: start.rs defines `_start`, and no C start-up code may run before it.
        "-nostartfiles",
        "-nostdlib",
        // Nothing is loaded at run time: no interpreter, no library, no preload. The program is position independent,
        // so that the kernel loads it at a random address. It relocates itself at the start (a few entries, about 1 %
        // of a spawn).
        "-static-pie",
        // The stack is not executable.
        "-Wl,-z,noexecstack",
        // Relocated data becomes read-only before other code runs.
        "-Wl,-z,relro,-z,now",
        // Code, constants and data have separate pages: nothing is both writable and executable, and constants are
        // not executable.
        "-Wl,-z,separate-code",
        // Relocations in code are an error.
        "-Wl,-z,text",
        // No unwind tables, see link.ld.
        "-Wl,--no-eh-frame-hdr",
        // The same source must give the same bytes.
        "-Wl,--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={flag}");
    }
    // Packs the relocations into a bitmap, a thirtieth of the size. For aarch64 GNU ld can do this only since 2.43.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
