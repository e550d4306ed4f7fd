//! Builds, by cargo.

use crate::run::{Result, output, root, run};
use std::path::PathBuf;
use std::process::Command;

/// Cargo as it was started, at the top of the project.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    command
}

/// Where `build_release` leaves a program.
pub fn release(program: &str) -> PathBuf {
    root().join("target/release").join(program)
}

/// Builds both programs as they are installed.
pub fn build_release() -> Result {
    run(cargo("build").args(["--release", "--locked", "--bins", "--target-dir", "target"]))
}

/// What the harness builds: the suite and the programs that tests need inside an instance.
pub struct Built {
    pub suite: PathBuf,
    pub probe: PathBuf,
}

/// Builds the tests, static: they must run in a root filesystem that has no libraries. Naming the target keeps the
/// flag away from procedural macros, which cannot be static.
pub fn build_tests() -> Result<Built> {
    build_bare()?;
    let mut command = cargo("test");
    command
        .args(["--no-run", "--locked", "--manifest-path", "tests/Cargo.toml", "--target", &host()?])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    let messages = output(&mut command)?;
    let find = |name: &str| {
        executables(&messages)
            .find(|(target, _)| target == name)
            .map(|(_, path)| path)
            .ok_or_else(|| format!("cargo built no '{name}'"))
    };
    Ok(Built { suite: find("suite")?, probe: find("probe")? })
}

/// Programs without a libc, that the bench measures with and against. The suite takes two of them.
pub struct Bare {
    pub floor: PathBuf,
    pub idle: PathBuf,
    pub nothing: PathBuf,
    pub pace: PathBuf,
}

impl Bare {
    /// Where `build_bare` leaves them.
    pub fn built() -> Self {
        let program = |name| root().join("xtask/bare/target/release").join(name);
        Self {
            floor: program("floor"),
            idle: program("idle"),
            nothing: program("nothing"),
            pace: program("pace"),
        }
    }
}

/// Builds the programs without a libc.
pub fn build_bare() -> Result {
    let args = ["--manifest-path", "xtask/bare/Cargo.toml", "--target-dir", "xtask/bare/target"];
    run(cargo("build").args(["--quiet", "--release", "--locked"]).args(args))
}

/// The pairs (target, executable) of cargo's messages.
fn executables(messages: &str) -> impl Iterator<Item = (String, PathBuf)> {
    messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    })
}

fn host() -> Result<String> {
    let about = output(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("cargo: rustc -vV names no host")?.to_owned())
}
