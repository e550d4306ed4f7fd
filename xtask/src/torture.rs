//! `cargo xtask torture`: long-running searches for faults that no test covers.

mod fuzz;

pub use fuzz::briefly as fuzz_briefly;

use crate::run::{Result, help};

const HELP: &str = "\
Search for faults that no test covers, for minutes or hours.

Usage: cargo xtask torture KIND [OPTION...]

Kinds:
  fuzz           give random input to the parsers of command lines, files of /proc and the like

`cargo xtask torture KIND --help` says more.
";

/// The name of a kind, and its function.
type Kind = (&'static str, fn(pico_args::Arguments) -> Result);

const KINDS: &[Kind] = &[("fuzz", fuzz::main)];

pub fn main(mut args: pico_args::Arguments) -> Result {
    let Some(name) = args.subcommand().map_err(|error| error.to_string())? else { return help(HELP) };
    match KINDS.iter().find(|(kind, _)| *kind == name) {
        Some((_, main)) => main(args),
        None => Err(format!("unknown kind '{name}'; `cargo xtask torture` lists them all")),
    }
}
