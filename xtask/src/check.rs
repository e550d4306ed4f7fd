//! `cargo xtask check`

use crate::cargo::{TARGETS, build_release, cargo, release};
use crate::run::{Context, Result, no_more, output, root, run, wants_help};
use crate::source::files;
use crate::{audit, docs, elf, mutants, rules, torture};
use std::fs;
use std::process::{Command, Stdio};

const HELP: &str = "\
Check everything that needs no privilege. It takes some minutes, and names each check before it begins.

Usage: cargo xtask check

The code:
  - it is formatted, and has no warning of rustc and clippy
  - the unit tests pass, and each fuzzer runs for a moment
  - the release programs have the right headers, and the set-uid one has at most 128 KiB of code
  - the debug programs start, and the other architecture builds, if its tools are installed
  - the set-uid program links only known crates, whose licences are checked if cargo-deny is installed

The rules of the tree:
  - unsafe code stands where it may, below a comment that says why it is sound
  - imports run downward, and each property has tests
  - a document names only code and tests that exist, and its links lead somewhere
  - numbers and paths that stand in several files are the same in all
  - docs/mistakes.md lists exactly the tests whose comments name one of its mistakes
";

/// The name of a check, and its function.
type Check = (&'static str, fn() -> Result);

const CHECKS: &[Check] = &[
    ("formatting", formatting),
    ("rules of the tree", rules::check),
    ("shell programs", shell_programs),
    ("mutants that are listed", mutants::check_exceptions),
    ("lints", || {
        each("clippy", &["--quiet", "--locked", "--workspace", "--all-targets"], &["--", "-D", "warnings"])
    }),
    ("unit tests", unit_tests),
    ("fuzzing, for a moment", torture::fuzz_briefly),
    ("documentation", || each("doc", &["--quiet", "--locked", "--no-deps", "--document-private-items"], &[])),
    ("man page and completions", docs::check),
    ("trusted crates", trusted_crates),
    ("dependencies", dependencies),
    ("release binaries", release_binaries),
    ("figures of SECURITY.md", audit::check),
    ("debug binaries", debug_binaries),
    ("the other architecture", other_architecture),
];

/// The workspaces.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "xtask/Cargo.toml", "xtask/bare/Cargo.toml"];
/// A workspace that is built in another way, and has only the entry of each fuzzer.
const FUZZ: [&str; 1] = ["fuzz/Cargo.toml"];

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    no_more(args)?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("check: {name}");
        if let Err(message) = check() {
            eprintln!("check: {name} FAILED:\n  {message}");
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        println!("check: all well");
        return Ok(());
    }
    Err(format!("failed checks: {}", failed.join(", ")))
}

/// Runs a cargo command in all workspaces.
fn each(subcommand: &str, options: &[&str], last: &[&str]) -> Result {
    each_of(&MANIFESTS, subcommand, options, last)
}

fn each_of(manifests: &[&str], subcommand: &str, options: &[&str], last: &[&str]) -> Result {
    manifests.iter().try_for_each(|manifest| {
        let mut command = cargo(subcommand);
        command.args(["--manifest-path", manifest]).args(options).args(last);
        run(command.env("RUSTDOCFLAGS", "-D warnings"))
    })
}

fn formatting() -> Result {
    each("fmt", &["--check", "--all"], &[])?;
    each_of(&FUZZ, "fmt", &["--check"], &[])
}

/// Lets the shells read the programs for them, without running any.
fn shell_programs() -> Result {
    for file in files()?.iter().filter(|file| file.extension() == Some("sh".as_ref())) {
        let text = fs::read_to_string(file).context(file.display())?;
        run(Command::new(shell_of(&text)).arg("-n").arg(file))?;
    }
    Ok(())
}

/// The shell of a program: the one of its first line.
fn shell_of(text: &str) -> &'static str {
    if text.lines().next().is_some_and(|line| line.starts_with("#!") && line.contains("bash")) {
        "bash"
    } else {
        "sh"
    }
}

fn unit_tests() -> Result {
    run(cargo("test").args(["--quiet", "--locked", "--lib"]))?;
    run(cargo("test").args([
        "--quiet",
        "--locked",
        "--manifest-path",
        "xtask/Cargo.toml",
        "--package",
        "xtask",
    ]))
}

fn release_binaries() -> Result {
    build_release()?;
    elf::check(&release("selfdock"), elf::LARGEST)?;
    elf::check(&release("selfdock-about"), usize::MAX)
}

/// Builds the programs for the other processor, if its tools are installed.
fn other_architecture() -> Result {
    for target in TARGETS.into_iter().filter(|target| !target.is_here()) {
        if let Some(missing) = target.lacks() {
            println!("check: nothing can be built for {} here: {missing}", target.0);
            continue;
        }
        let dir = target.release()?;
        elf::check(&dir.join("selfdock"), elf::LARGEST)?;
        elf::check(&dir.join("selfdock-about"), usize::MAX)?;
        target.bare()?;
    }
    Ok(())
}

/// Checks that the result of plain `cargo build` starts: without a runtime, this can fail easily.
fn debug_binaries() -> Result {
    run(cargo("build").args(["--quiet", "--locked", "--bins", "--target-dir", "target"]))?;
    run(Command::new(root().join("target/debug/selfdock")).arg("--help").stdout(Stdio::null()))
}

fn trusted_crates() -> Result {
    let tree = output(cargo("tree").args(["--locked", "--edges", "normal,build", "--prefix", "none"]))?;
    for name in tree.lines().filter_map(|line| line.split_whitespace().next()) {
        if !audit::TRUSTED.contains(&name) {
            return Err(format!(
                "crate '{name}' is linked into the trusted binary, and not on the list of audit.rs"
            ));
        }
    }
    Ok(())
}

fn dependencies() -> Result {
    let version =
        Command::new("cargo-deny").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err() {
        println!(
            "check: cargo-deny is not installed, so licences and origins of dependencies stay unchecked"
        );
        return Ok(());
    }
    let what = ["check", "bans", "licenses", "sources"];
    each("deny", &["--workspace"], &what)?;
    each_of(&FUZZ, "deny", &["--workspace"], &what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_bash_says_so() {
        assert_eq!(shell_of("#!/bin/bash\n[[ a ]]"), "bash");
        assert_eq!(shell_of("#!/usr/bin/busybox sh\n"), "sh");
        assert_eq!(shell_of("# bash could do it, too\n"), "sh");
    }
}
