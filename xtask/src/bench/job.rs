//! A program to measure: its command line and its name.

use std::path::{Path, PathBuf};

pub const SELFDOCK: &str = "selfdock";
pub const FLOOR: &str = "floor";
pub const PLAIN: &str = "fork+exec";
pub const BUBBLEWRAP: &str = "bubblewrap";

/// A program to start, and its user.
#[derive(Clone, Debug)]
pub struct Job {
    pub who: String,
    pub as_root: bool,
    pub argv: Vec<String>,
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The path of a program.
pub fn find(program: &str) -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    dirs.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists())
}
