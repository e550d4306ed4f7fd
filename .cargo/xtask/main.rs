//! Hands `cargo xtask` over to the harness, which has a workspace of its own so that the features of its many
//! dependencies never reach the trusted binary.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/Cargo.toml"))
        .arg("--")
        .args(std::env::args_os().skip(1))
        .exec();
    eprintln!("xtask: start cargo: {error}");
    std::process::exit(1);
}
