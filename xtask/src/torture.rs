//! `cargo xtask torture`: long-running searches for faults that no test covers.

mod fuzz;
mod installed;

pub use fuzz::briefly as fuzz_briefly;

use crate::run::Result;

const HELP: &str = "\
Search for faults that no test covers, for minutes or hours.

Usage: cargo xtask torture KIND [OPTION...]

Kinds:
";

/// A kind of search.
struct Kind {
    name: &'static str,
    about: &'static str,
    main: fn(pico_args::Arguments) -> Result,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "fuzz",
        about: "give random input to the parsers of command lines, files of /proc and the like",
        main: fuzz::main,
    },
    Kind {
        name: "faults",
        about: "make each system call fail, lie, wait or be the last of its process",
        main: installed::faults,
    },
    Kind {
        name: "races",
        about: "exchange, reuse and replace files and processes while selfdock uses them",
        main: installed::races,
    },
    Kind {
        name: "model",
        about: "compare random trees of instances with a plain model, path by path",
        main: installed::model,
    },
    Kind {
        name: "load",
        about: "start many instances, one after another and at once, and count what is left",
        main: installed::load,
    },
];

pub fn main(mut args: pico_args::Arguments) -> Result {
    let Some(name) = args.subcommand().map_err(|error| error.to_string())? else {
        print!("{HELP}");
        for kind in KINDS {
            println!("  {:<13}  {}", kind.name, kind.about);
        }
        println!("\n`cargo xtask torture KIND --help` says more.");
        return Ok(());
    };
    match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) => (kind.main)(args),
        None => Err(format!("unknown kind '{name}'; `cargo xtask torture` lists them all")),
    }
}
