//! Hands `cargo xtask` over to the harness, which has a workspace of its own so that the features of its many
//! dependencies never reach the trusted binary.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn main() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Where this was built is another directory, where a checkout was copied with what had been built in it.
    let Some(here) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        eprintln!("xtask: to be started by `cargo xtask`");
        std::process::exit(1);
    };
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(Path::new(&here).join("../../xtask/Cargo.toml"))
        .arg("--")
        .args(std::env::args_os().skip(1))
        .exec();
    eprintln!("xtask: start cargo: {error}");
    std::process::exit(1);
}
