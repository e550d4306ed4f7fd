//! `cargo xtask torture`: what takes minutes or hours, and looks for what no test has thought of.

mod fuzz;

pub use fuzz::briefly as fuzz_briefly;

use crate::run::{Result, help};

const HELP: &str = "\
Look for what no test has thought of, for minutes or hours.

Usage: cargo xtask torture KIND [OPTION...]

Kinds:
  fuzz           feed what reads command lines, files of /proc and the like with anything

`cargo xtask torture KIND --help` says more.
";

/// Name of a kind, and what does it.
type Kind = (&'static str, fn(pico_args::Arguments) -> Result);

const KINDS: &[Kind] = &[("fuzz", fuzz::main)];

pub fn main(mut args: pico_args::Arguments) -> Result {
    let Some(name) = args.subcommand().map_err(|error| error.to_string())? else { return help(HELP) };
    match KINDS.iter().find(|(kind, _)| *kind == name) {
        Some((_, main)) => main(args),
        None => Err(format!("unknown kind '{name}'; `cargo xtask torture` lists them all")),
    }
}
