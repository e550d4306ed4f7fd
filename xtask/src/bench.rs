//! `cargo xtask bench`. A module imports only from those that are listed below it.

mod goals;
mod plot;
mod gate;
mod sections;
mod counts;
mod trace;
mod names;
mod memory;
mod pace;
mod docker;
mod oci;
mod contenders;
mod machine;
mod site;
mod image;
mod job;
mod table;
mod stats;

use crate::cargo::{self, Bare};
use crate::run::{Context, Result, again_as_root, is_root, no_more, run, wants_help};
use crate::stop::Stop;
use crate::suite::User;
use contenders::CONTENDERS;
use pace::Size;
use sections::SECTIONS;
use serde_json::{Value, json};
use site::Site;
use std::ffi::OsString;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Measure the cost of an instance, and compare it with the floor and with other installed programs.

Usage: cargo xtask bench [--section NAME]... [--quick] [--force] [--json FILE] [--plot DIR]
       cargo xtask bench --gate [--accept]

  --section NAME  only this section: spawn, host-mounts, volumes, depth, alive, parallel, options, enter, memory, counts
  --quick         a quick measurement of a minute and a half
  --force         measure on a busy machine, too
  --json FILE     write all figures as JSON, too
  --plot DIR      draw charts there, as SVG
  --gate          only what a change must not make worse: exact counts, and the rough ratio to the floor
  --accept        with --gate: write the present counts to ci/counts.json

A small program without a libc starts the contenders in turns, A B C A B C. The table shows medians, the percentiles p10
and p90, and each time as a multiple of selfdock's, pair by pair. Root installs selfdock into a throwaway prefix. The
contenders run without privilege, unless their list says otherwise. The floor is a program that makes only the system
calls that cannot be avoided.
";

struct Options {
    sections: Vec<String>,
    quick: bool,
    force: bool,
    gate: bool,
    accept: bool,
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
    /// The user who started the run, if root continues with the built programs.
    user: Option<User>,
}

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let given = args.clone().finish();
    let options = options(args)?;
    let stop = Stop::watch()?;
    if options.user.is_none() {
        cargo::build_release()?;
        cargo::build_bare()?;
        if !is_root() {
            return as_root(given);
        }
    }
    if !options.force && !options.gate {
        machine::must_be_quiet()?;
    }
    let site = Site::new(&Bare::built(), options.user.unwrap_or(User::NOBODY), stop)?;
    if options.gate { gate::gate(&site, options.accept) } else { measure(&site, &options) }
}

fn options(mut args: pico_args::Arguments) -> Result<Options> {
    let path = |text: &std::ffi::OsStr| Ok::<_, String>(PathBuf::from(text));
    let mut file = |name| -> Result<Option<PathBuf>> {
        let given = args.opt_value_from_os_str(name, path).context(name)?;
        given.map(std::path::absolute).transpose().context(name)
    };
    let (json, plot) = (file("--json")?, file("--plot")?);
    let options = Options {
        sections: args.values_from_str("--section").context("--section")?,
        quick: args.contains("--quick"),
        force: args.contains("--force"),
        gate: args.contains("--gate"),
        accept: args.contains("--accept"),
        json,
        plot,
        user: args.opt_value_from_fn("--as", User::parse).context("--as")?,
    };
    no_more(args)?;
    for name in &options.sections {
        if SECTIONS.iter().all(|(known, _)| known != name) {
            return Err(format!("no section '{name}': see --help"));
        }
    }
    Ok(options)
}

/// Gives the built programs to root, who measures as the caller.
fn as_root(given: Vec<OsString>) -> Result {
    let mut command = again_as_root()?;
    command.arg("bench").args(given);
    run(command.arg("--as").arg(format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())))
}

fn measure(site: &Site, options: &Options) -> Result {
    let size = if options.quick {
        Size { quick: true, milliseconds: 1000, rounds: 200 }
    } else {
        Size { quick: false, milliseconds: 5000, rounds: 800 }
    };
    let (machine, about) = machine::describe()?;
    println!("{machine}\n");
    oci::bundle(site)?;
    let wanted = |name: &str| options.sections.is_empty() || options.sections.iter().any(|n| n == name);
    let docker_is_here = contenders::Contender::named("Docker").is_here();
    let docker = if wanted("spawn") && docker_is_here { Some(docker::start(site)) } else { None };
    if let Some(Err(error)) = &docker {
        println!("note: no Docker: {error}");
    }
    let mut list = Vec::new();
    for contender in CONTENDERS {
        let (text, value) = contender.describe(site);
        println!("{text}");
        list.push(value);
    }
    let mut tables = Vec::new();
    for (name, section) in SECTIONS.iter().filter(|(name, _)| wanted(name)) {
        let table = section(site, &size).context(name)?;
        print!("{}", table.text());
        tables.push(table);
    }
    let goals = goals::goals(&tables);
    for (i, goal) in goals.iter().enumerate() {
        if i == 0 {
            println!("\nGoals");
        }
        println!("  {:6} {}", if goal.holds { "holds" } else { "missed" }, goal.text);
    }
    if let Some(file) = &options.json {
        let value = json!({ "machine": about, "quick": options.quick, "contenders": list,
            "sections": tables.iter().map(table::Table::json).collect::<Vec<_>>(),
            "goals": goals.iter().map(goals::Goal::json).collect::<Vec<Value>>() });
        std::fs::write(file, format!("{value:#}\n")).context(file.display())?;
        give(file, options)?;
    }
    if let Some(dir) = &options.plot {
        for name in plot::plot(dir, &tables, &machine)? {
            give(&dir.join(name), options)?;
        }
        give(dir, options)?;
    }
    Ok(())
}

/// Gives files that root has written to the user who started the run.
fn give(file: &Path, options: &Options) -> Result {
    let Some(user) = options.user else { return Ok(()) };
    chown(file, Some(user.uid), Some(user.gid)).context(file.display())
}
