//! `cargo xtask`: installs, checks and tests selfdock. One file a subcommand.
#![forbid(unsafe_code)]

extern crate alloc;

mod audit;
mod bench;
mod cargo;
mod check;
mod completions;
mod docs;
mod documents;
mod elf;
mod fixtures;
mod imports;
mod install;
mod install_test;
mod kernels;
mod man;
mod mutants;
mod place;
mod prefix;
mod prepare;
mod report;
mod rules;
mod run;
mod source;
mod stop;
mod suite;
mod torture;
mod uninstall;

/// The table that the trusted binary parses by.
#[path = "../../src/options.rs"]
#[allow(dead_code)]
mod options;

/// The tables that the trusted binary builds by.
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
  uninstall      remove what install put in place
  install-test   install into a throwaway prefix and run the whole suite against it
  kernels        boot other kernels in qemu, and check selfdock on each
  mutants        take protections away one at a time, and see that the suite notices
  torture        look for what no test has thought of, for minutes or hours
  audit          count what has to be trusted, and what stands for it
  bench          measure what an instance costs, against the floor under it and against others
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
