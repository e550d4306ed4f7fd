//! Copies of the trusted workspace, in which the mutants are made and built.

use super::points::{Mutant, hash};
use crate::cargo::{cargo, host};
use crate::elf;
use crate::run::{Context, Result, root};
use crate::stop::Stop;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

pub struct Tree {
    name: &'static str,
    dir: PathBuf,
}

/// A program that has been built.
pub struct Program {
    pub path: PathBuf,
    /// Of what is loaded of it.
    pub hash: u64,
}

/// What came of building a mutant.
pub struct Built {
    /// `None` if it does not compile.
    pub program: Option<Program>,
    pub seconds: f32,
}

/// The directory for mutants.
pub fn dir() -> PathBuf {
    root().join("target/mutants")
}

/// Builds these mutants in their order, and each while the one before it is tried.
pub fn build_ahead(tree: Tree, mutants: Vec<Mutant>, stop: Stop) -> Receiver<Result<Built>> {
    let (send, built) = sync_channel(0);
    std::thread::spawn(move || {
        for (count, mutant) in mutants.iter().enumerate() {
            let start = Instant::now();
            // The one before is being tried, and this one waits.
            let place = if count % 2 == 0 { "even" } else { "odd" };
            let program = tree.with(mutant, |tree| tree.build(place));
            let built = program.map(|program| Built { program, seconds: start.elapsed().as_secs_f32() });
            if stop.requested() || send.send(built).is_err() {
                break;
            }
        }
    });
    built
}

impl Tree {
    pub fn copy(name: &'static str) -> Result<Self> {
        let tree = Tree { name, dir: dir().join(name) };
        let _ = fs::remove_dir_all(&tree.dir);
        // rustc gets the flags of the checkout that contains the copy.
        for name in ["Cargo.toml", "Cargo.lock", "build.rs", "link.ld", "src", ".cargo/xtask"] {
            copy_all(&root().join(name), &tree.dir.join(name))?;
        }
        Ok(tree)
    }

    fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo(subcommand);
        command.current_dir(&self.dir).args(["--quiet", "--locked", "--target-dir"]);
        command.arg(dir().join("built").join(self.name));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Builds the set-uid program, and keeps it by this name; `None` if it does not compile. It is built to be built
    /// again soon: only what has changed, and not all of it at once at the end. This takes a twelfth of the time.
    pub fn build(&self, place: &str) -> Result<Option<Program>> {
        // Without the last step nobody relocates calls before the program does it itself, so none may need it. And what
        // `alloc` has for unwinding is still there, unused.
        let flags =
            ["-Cllvm-args=-inline-threshold=0", "-Zplt=yes", "-Clink-arg=-Wl,--defsym=rust_eh_personality=0"];
        let mut command = self.cargo("build");
        command.args(["--release", "--bin", "selfdock", "--target", &host()?]);
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        // For `-Z`.
        command.env("RUSTC_BOOTSTRAP", "1");
        for (name, value) in
            [("LTO", "off"), ("OPT_LEVEL", "1"), ("CODEGEN_UNITS", "64"), ("INCREMENTAL", "true")]
        {
            command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        if !command.status().context("cargo build")?.success() {
            return Ok(None);
        }
        let built = dir().join("built").join(self.name).join(host()?).join("release/selfdock");
        let (made, path) = (built, dir().join(place));
        let _ = fs::remove_file(&path);
        fs::copy(&made, &path).context(made.display())?;
        let mut bytes = fs::read(&path).context(path.display())?;
        elf::keep_what_is_loaded(&mut bytes).ok_or("the program is no ELF file")?;
        Ok(Some(Program { path, hash: hash(&bytes) }))
    }

    /// Runs the unit tests of a file. Returns a name if one fails.
    pub fn unit_tests(&self, file: &str) -> Result<Option<String>> {
        let text = fs::read_to_string(self.dir.join(file)).context(file)?;
        if !text.contains("#[cfg(test)]") {
            return Ok(None);
        }
        let module = file.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
        let done = self.cargo("test").args(["--lib", "--", &format!("{module}::")]).status();
        Ok((!done.context("cargo test")?.success()).then(|| format!("the unit tests of {module}")))
    }

    /// Runs a function while a mutant replaces its file. The checkout may change meanwhile, the copy does not.
    pub fn with<T>(&self, mutant: &Mutant, act: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let path = self.dir.join(&mutant.file);
        let text = fs::read_to_string(&path).context(path.display())?;
        fs::write(&path, mutant.apply(&text)).context(path.display())?;
        let done = act(self);
        fs::write(&path, text).context(path.display())?;
        done
    }
}

fn copy_all(from: &Path, to: &Path) -> Result {
    if from.is_dir() {
        fs::create_dir_all(to).context(to.display())?;
        for entry in fs::read_dir(from).context(from.display())? {
            let entry = entry.context(from.display())?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let dir = to.parent().expect("a file has a directory");
    fs::create_dir_all(dir).context(dir.display())?;
    fs::copy(from, to).context(from.display()).map(drop)
}
