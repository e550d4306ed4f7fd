//! `cargo xtask install`

use crate::cargo;
use crate::host::PROGRAM;
use crate::place::{self, PREFIX};
use crate::run::{Context, Result, again_as_root, can_become_root, is_root, no_more, run, wants_help};
use nix::unistd::{Gid, Group};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Build a release of selfdock and install it as PREFIX/bin/selfdock, root:root, mode 4755. The second program, which needs
no privilege, becomes PREFIX/lib/selfdock/selfdock-about, mode 755.

Usage: cargo xtask install [--prefix DIR] [--group NAME] [--no-build]

  --prefix DIR   where to install (default /usr/local)
  --group NAME   only members of this group can start selfdock: root:NAME, mode 4750
  --no-build     install what `cargo build --release` has built already

The build runs as you. Only the copying needs root, by sudo. Afterwards the result is checked: owner and
mode, a static program with nothing writable and executable, a mount that honours set-uid, and directories above it
that only root can write to.
";

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let prefix = prefix(&mut args)?;
    let group: Option<String> = args.opt_value_from_str("--group").context("--group")?;
    let built = args.contains("--no-build");
    no_more(args)?;
    let gid = group.as_deref().map(gid_of).transpose()?;

    can_become_root()?;
    if !built {
        cargo::build_release()?;
    }
    if !is_root() {
        let mut again = again_as_root()?;
        again.args(["install", "--no-build", "--prefix"]).arg(prefix);
        return run(again.args(group.iter().flat_map(|group| ["--group", group])));
    }
    place::place(&prefix, gid)?;
    println!("installed {}", prefix.join(PROGRAM).display());
    Ok(())
}

fn gid_of(name: &str) -> Result<Gid> {
    let group = Group::from_name(name).context(format_args!("--group '{name}'"))?;
    group.map(|group| group.gid).ok_or_else(|| format!("--group '{name}': no such group"))
}

/// `--prefix`, absolute: sudo need not keep the current directory.
pub fn prefix(args: &mut pico_args::Arguments) -> Result<PathBuf> {
    let given = args.opt_value_from_os_str("--prefix", |dir| Ok::<_, String>(PathBuf::from(dir)));
    let prefix = given.context("--prefix")?.unwrap_or_else(|| Path::new(PREFIX).into());
    std::path::absolute(&prefix).context(format_args!("--prefix '{}'", prefix.display()))
}
