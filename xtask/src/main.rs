//! `cargo xtask`: installs, checks and tests selfdock. Each subcommand has a file.
#![forbid(unsafe_code)]

extern crate alloc;

// The subcommands.
mod check;
mod audit;
mod docs;
mod uninstall;
mod install;
mod recipes;
mod kernels;
mod torture;
mod mutants;
mod bench;
mod install_test;

// The checks that are not cargo's.
mod rules;
mod imports;
mod facts;
mod documents;
mod source;

// Running the suite.
mod results;
mod prefix;
mod fixtures;
mod suite;
mod stop;

// Building and installing.
mod place;
mod prepare;
mod replace;
mod elf;
mod cargo;

// The man page and the completions.
mod man;
mod completions;

// Used by all of them.
mod run;

/// The table of options of the trusted binary.
#[path = "../../src/options.rs"]
#[allow(dead_code)]
mod options;

/// The tables of the host of the trusted binary.
#[path = "../../src/host.rs"]
#[allow(dead_code)]
mod host;

#[path = "../../tests/suite/properties.rs"]
mod properties;

use std::process::ExitCode;

const HELP: &str = "\
Install, check and test selfdock.

Usage: cargo xtask COMMAND [OPTION...]

Commands:
  install        build a release and install it set-uid root
  uninstall      remove all files that install has installed
  install-test   install into a throwaway prefix and run the whole suite against it
  kernels        boot other kernels in qemu, and check selfdock on each
  recipes        run the recipes of programs that are too large for CI
  mutants        remove protections one at a time, and check that the suite notices
  torture        search for unknown faults, for minutes or hours
  audit          count what must be trusted, and the tests that check it
  bench          measure the cost of an instance, and compare it with the floor and with others
  check          formatting, lints, unit tests, documentation, dependencies and the rules of the tree
  docs           write the man page and the completions, for packages

`cargo xtask COMMAND --help` says more.
";

fn main() -> ExitCode {
    let mut args = pico_args::Arguments::from_env();
    let result = match args.subcommand() {
        Ok(Some(name)) => match name.as_str() {
            "install" => install::main(args),
            "uninstall" => uninstall::main(args),
            "install-test" => install_test::main(args),
            "kernels" => kernels::main(args),
            "recipes" => recipes::main(args),
            "mutants" => mutants::main(args),
            "torture" => torture::main(args),
            "audit" => audit::main(args),
            "bench" => bench::main(args),
            "check" => check::main(args),
            "docs" => docs::main(args),
            "help" => run::help(HELP),
            _ => Err(format!("unknown command '{name}'; `cargo xtask --help` lists them all")),
        },
        Ok(None) => run::help(HELP),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
