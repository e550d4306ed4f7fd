//! What is started: a command line, and who it is.

use std::path::{Path, PathBuf};

pub const SELFDOCK: &str = "selfdock";
pub const FLOOR: &str = "floor";
pub const PLAIN: &str = "fork+exec";
pub const BUBBLEWRAP: &str = "bubblewrap";

/// A program to start, as whom.
#[derive(Clone, Debug)]
pub struct Job {
    pub who: String,
    pub as_root: bool,
    pub argv: Vec<String>,
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    dirs.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists())
}
