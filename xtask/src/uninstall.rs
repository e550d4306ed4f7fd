//! `cargo xtask uninstall`

use crate::host::LIB;
use crate::install;
use crate::place::items_of;
use crate::prepare;
use crate::replace::{Old, check_parents};
use crate::run::{Result, again_as_root, is_root, no_more, run, wants_help};
use std::io::ErrorKind;

const HELP: &str = "\
Remove all files that `cargo xtask install` has installed. Directories that other programs use stay.

Usage: cargo xtask uninstall [--prefix DIR]

  --prefix DIR   the prefix of the installation (default /usr/local)
";

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let prefix = install::prefix(&mut args)?;
    no_more(args)?;
    if !is_root() {
        return run(again_as_root()?.args(["uninstall", "--prefix"]).arg(prefix));
    }
    let Ok(prefix) = prefix.canonicalize() else {
        println!("absent {}", prefix.display());
        return Ok(());
    };
    for dir in ["bin", LIB].map(|dir| prefix.join(dir)).iter().filter(|dir| dir.exists()) {
        check_parents(dir)?;
    }
    for item in items_of(&prefix) {
        let dest = prefix.join(item.dest);
        let old = Old::find(&dest)?;
        match std::fs::remove_file(&dest) {
            Ok(()) => {
                old.map_or(Ok(()), |old| old.disarm())?;
                println!("removed {}", dest.display());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("absent {}", dest.display())
            }
            Err(error) => return Err(format!("remove '{}': {error}", dest.display())),
        }
    }
    prepare::remove(&prefix)?;
    // A directory with other files stays.
    for dir in [LIB, "share/selfdock/profiles", "share/selfdock"] {
        let _ = std::fs::remove_dir(prefix.join(dir));
    }
    Ok(())
}
