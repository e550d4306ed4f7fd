//! `cargo xtask install`

use crate::run::{Context, Result, again_as_root, is_root, no_more, run, wants_help};
use crate::{cargo, place};
use std::path::{Path, PathBuf};

pub const PREFIX: &str = "/usr/local";

const HELP: &str = "\
Build a release of selfdock and install it as PREFIX/bin/selfdock, root:root, mode 4755. What needs no privilege is a
program of its own, PREFIX/lib/selfdock/selfdock-about, mode 755.

Usage: cargo xtask install [--prefix DIR] [--no-build]

  --prefix DIR   where to install (default /usr/local)
  --no-build     install what `cargo build --release` has built already

The build runs as you; only the copy takes root and asks sudo for it. Afterwards the result is looked at: owner and
mode, a static program with nothing writable and executable, a mount that honours set-uid, and directories above it
that only root can write to.
";

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let prefix = prefix(&mut args)?;
    let built = args.contains("--no-build");
    no_more(args)?;

    if !built {
        cargo::build_release()?;
    }
    if !is_root() {
        return run(again_as_root()?.args(["install", "--no-build", "--prefix"]).arg(prefix));
    }
    place::place(&prefix)?;
    println!("installed {}", prefix.join("bin/selfdock").display());
    Ok(())
}

/// `--prefix`, absolute: sudo need not keep the current directory.
pub fn prefix(args: &mut pico_args::Arguments) -> Result<PathBuf> {
    let given = args.opt_value_from_os_str("--prefix", |dir| Ok::<_, String>(PathBuf::from(dir)));
    let prefix = given.context("--prefix")?.unwrap_or_else(|| Path::new(PREFIX).into());
    std::path::absolute(&prefix).context(format_args!("--prefix '{}'", prefix.display()))
}
