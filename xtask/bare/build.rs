//! Link flags of the programs without a libc.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Their own `_start`; loaded at a fixed address, so that nothing has to be relocated; constants beside the code,
    // which saves the first touch of another page.
    for flag in
        ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"]
    {
        println!("cargo:rustc-link-arg-bins={flag}");
    }
}
