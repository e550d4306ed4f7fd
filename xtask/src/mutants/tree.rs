//! Copies of the trusted workspace, in which the mutants are made and built.

use super::points::{self, Mutant, hash};
use crate::cargo::{cargo, host};
use crate::elf;
use crate::run::{Context, Result, root};
use crate::stop::Stop;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

pub struct Tree {
    name: &'static str,
    dir: PathBuf,
}

/// Programs that have been built.
pub struct Programs {
    /// It contains `selfdock` and `selfdock-about`.
    pub dir: PathBuf,
    /// Of what is loaded of both.
    pub hash: u64,
}

/// What came of building a mutant.
pub struct Built {
    /// `None` if it does not compile.
    pub programs: Option<Programs>,
    pub seconds: f32,
}

/// Seconds, as words of timeout(1).
const LONGEST_UNIT_TEST: &str = "60";

/// The directory for mutants.
pub fn dir() -> PathBuf {
    root().join("target/mutants")
}

/// Waits for nobody: two runs in one checkout would build in the same directories.
pub fn alone() -> Result<Flock<fs::File>> {
    fs::create_dir_all(dir()).context(dir().display())?;
    let path = dir().join("lock");
    let file = fs::File::create(&path).context(path.display())?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    lock.map_err(|_| {
        "mutants are being tried in this checkout already; try others in a copy of it".to_owned()
    })
}

/// Builds these mutants in their order, and each while the one before it is tried.
pub fn build_ahead(tree: Tree, mutants: Vec<Mutant>, stop: Stop) -> Receiver<Result<Built>> {
    let (send, built) = sync_channel(0);
    std::thread::spawn(move || {
        for (count, mutant) in mutants.iter().enumerate() {
            let start = Instant::now();
            // The one before is being tried, and this one waits.
            let place = if count % 2 == 0 { "even" } else { "odd" };
            let programs = tree.with(&[mutant], |tree| tree.build(place));
            let built = programs.map(|programs| Built { programs, seconds: start.elapsed().as_secs_f32() });
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
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "build.rs",
            "link.ld",
            "src",
            "fuzz/subjects",
            "fuzz/seeds",
            ".cargo/xtask",
        ] {
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

    /// Builds both programs in this directory; `None` if they do not compile. They are built to be built again soon:
    /// only what has changed, and not all of it at once at the end. This takes a twelfth of the time.
    pub fn build(&self, place: &str) -> Result<Option<Programs>> {
        let place = dir().join(place);
        // It was a file once.
        let _ = fs::remove_file(&place);
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).context(place.display())?;
        // Without the last step nobody relocates calls before the program does it itself, so none may need it. And what
        // `alloc` has for unwinding is still there, unused.
        let flags = [
            "-Cllvm-args=-inline-threshold=0",
            "-Zplt=yes",
            "-Clink-arg=-Wl,--defsym=rust_eh_personality=0,--defsym=_Unwind_Resume=0",
        ];
        let mut command = self.cargo("build");
        command.args(["--release", "--bins", "--target", &host()?]);
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
        let made = dir().join("built").join(self.name).join(host()?).join("release");
        let mut hashes = String::new();
        for name in ["selfdock", "selfdock-about"] {
            fs::copy(made.join(name), place.join(name)).context(made.join(name).display())?;
            let mut bytes = fs::read(place.join(name)).context(name)?;
            elf::keep_what_is_loaded(&mut bytes).ok_or("the program is no ELF file")?;
            write!(hashes, "{} ", hash(&bytes)).context(name)?;
        }
        Ok(Some(Programs { dir: place, hash: hash(hashes.as_bytes()) }))
    }

    /// Runs the unit tests of a file. Returns a name if one fails.
    pub fn unit_tests(&self, file: &str) -> Result<Option<String>> {
        let text = fs::read_to_string(self.dir.join(file)).context(file)?;
        if !text.contains("#[cfg(test)]") {
            return Ok(None);
        }
        let module = file.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
        // As it is built fastest again.
        let quick = [("CODEGEN_UNITS", "64"), ("INCREMENTAL", "true"), ("DEBUG", "0")]
            .map(|(name, value)| (format!("CARGO_PROFILE_TEST_{name}"), value));
        let mut build = self.cargo("test");
        let is_built =
            build.args(["--lib", "--no-run"]).envs(quick.clone()).status().context("cargo test")?.success();
        // A mutant may hang.
        let (of, mut run) = (self.cargo("test"), Command::new("timeout"));
        run.arg(LONGEST_UNIT_TEST).arg(of.get_program()).args(of.get_args()).args(["--lib", "--"]);
        run.arg(format!("{module}::")).current_dir(&self.dir).envs(quick);
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let passes = is_built && run.status().context("cargo test")?.success();
        Ok((!passes).then(|| format!("the unit tests of {module}")))
    }

    /// Runs a function while mutants replace their files. The checkout may change meanwhile, the copy does not. Of
    /// mutants of one place the first is taken.
    pub fn with<T>(&self, mutants: &[&Mutant], act: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
        let mut originals = Vec::new();
        for file in files {
            let path = self.dir.join(file);
            let text = fs::read_to_string(&path).context(path.display())?;
            let of_file: Vec<&Mutant> =
                mutants.iter().copied().filter(|mutant| mutant.file == file).collect();
            fs::write(&path, points::apply(&of_file, &text)).context(path.display())?;
            originals.push((path, text));
        }
        let done = act(self);
        for (path, text) in originals {
            fs::write(&path, text).context(path.display())?;
        }
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
