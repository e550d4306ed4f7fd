//! Link flags of both programs. They apply to the programs only, not to the library's unit
//! tests, which run under plain `std`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    // Cargo links at the top of the workspace. An absolute path would be that of the original in a copy of a checkout.
    println!("cargo:rustc-link-arg-bins=-Wl,-T,link.ld");
    for flag in [
        // No libc: main.rs brings `_start`, and no C start-up code may run before it.
        "-nostartfiles",
        "-nostdlib",
        // Nothing is loaded at run time: no interpreter, no library, no preload. Position
        // independent, so that the kernel places the program at a random address; the
        // start relocates itself (a few entries, about 1 % of a spawn).
        "-static-pie",
        // A stack that cannot be executed, said in the header.
        "-Wl,-z,noexecstack",
        // What the start relocates is made read-only before anything else runs.
        "-Wl,-z,relro,-z,now",
        // Code, constants and data in pages of their own: nothing is both writable and
        // executable, and constants are not executable either.
        "-Wl,-z,separate-code",
        // A link that would want run-time text relocations fails.
        "-Wl,-z,text",
        // No unwind tables, see link.ld.
        "-Wl,--no-eh-frame-hdr",
        // The same source gives the same bytes.
        "-Wl,--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={flag}");
    }
    // The places to relocate as a bitmap: a thirtieth of the size. For aarch64 GNU's linker knows it since 2.43 only.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
