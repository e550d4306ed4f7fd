//! A small root filesystem, for contenders that need one.

use crate::run::{Context, Result};
use std::fs;
use std::path::Path;

/// A root filesystem with two programs in it.
pub fn make(image: &Path, nothing: &Path, idle: &Path) -> Result {
    for dir in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var/tmp"] {
        fs::create_dir_all(image.join(dir)).context(dir)?;
    }
    for (from, name) in [(nothing, "nothing"), (idle, "idle")] {
        fs::copy(from, image.join("bin").join(name)).context(name)?;
    }
    Ok(())
}
