//! Builds with cargo.

use crate::run::{Context, Result, output, root, run};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Cargo, in the top directory of the project.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    command
}

/// The path of a program of `build_release`.
pub fn release(program: &str) -> PathBuf {
    root().join("target/release").join(program)
}

/// Builds both programs as they are installed.
pub fn build_release() -> Result {
    run(cargo("build").args(["--release", "--locked", "--bins", "--target-dir", "target"]))
}

/// A processor to build for, by Rust's name.
#[derive(Clone, Copy)]
pub struct Target(pub &'static str);

/// All processors that selfdock supports.
pub const TARGETS: [Target; 2] = [Target("x86_64"), Target("aarch64")];

impl Target {
    /// Whether it is this machine.
    pub fn is_here(self) -> bool {
        self.0 == std::env::consts::ARCH
    }

    fn triple(self) -> String {
        format!("{}-unknown-linux-gnu", self.0)
    }

    /// The command that installs missing tools to build for it, if any.
    pub fn lacks(self) -> Option<String> {
        let triple = self.triple();
        let dir = output(Command::new(rustc()).args(["--print", "target-libdir", "--target", &triple]));
        let files = dir.ok().and_then(|dir| std::fs::read_dir(dir.trim()).ok());
        let is_core = |name: std::ffi::OsString| name.to_string_lossy().starts_with("libcore-");
        if !files.is_some_and(|files| files.flatten().any(|file| is_core(file.file_name()))) {
            return Some(format!("'rustup target add {triple}' installs its core library"));
        }
        let linker = self.linker();
        let asked = Command::new(&linker).arg("--version").stdout(Stdio::null()).status();
        asked.is_err().then(|| {
            format!("'apt-get install gcc-{}-linux-gnu' installs {linker}", self.0.replace('_', "-"))
        })
    }

    fn linker(self) -> String {
        if self.is_here() { "cc".into() } else { format!("{}-linux-gnu-gcc", self.0) }
    }

    /// Builds all programs of a package for it, as they are installed, and returns their directory.
    fn build(self, manifest: &str, dir: &str) -> Result<PathBuf> {
        let triple = self.triple();
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
        let mut command = cargo("build");
        command.args(["--quiet", "--release", "--locked", "--bins", "--manifest-path", manifest]);
        command.args(["--target-dir", dir, "--target", &triple]).env(linker, self.linker());
        run(&mut command)?;
        Ok(root().join(dir).join(triple).join("release"))
    }

    /// Builds both programs.
    pub fn release(self) -> Result<PathBuf> {
        if self.is_here() {
            build_release()?;
            return Ok(root().join("target/release"));
        }
        self.build("Cargo.toml", "target")
    }

    /// Builds the programs without a libc.
    pub fn bare(self) -> Result<PathBuf> {
        if self.is_here() {
            build_bare()?;
            return Ok(root().join("xtask/bare/target/release"));
        }
        self.build("xtask/bare/Cargo.toml", "xtask/bare/target")
    }
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// The files that the harness builds: the suite, and the programs that tests need inside an instance.
pub struct Built {
    pub suite: PathBuf,
    pub probe: PathBuf,
    pub torture: PathBuf,
}

impl Built {
    /// As words of a command line, for who becomes root in between.
    pub fn words(&self) -> [OsString; 6] {
        let [suite, probe, torture] =
            [&self.suite, &self.probe, &self.torture].map(|path| path.as_os_str().into());
        ["--suite".into(), suite, "--probe".into(), probe, "--torture".into(), torture]
    }

    /// Takes these words.
    pub fn take(args: &mut pico_args::Arguments) -> Result<Self> {
        let path = |text: &OsStr| Ok::<_, String>(PathBuf::from(text));
        let mut built = |name| args.value_from_os_str(name, path).context(name);
        Ok(Built { suite: built("--suite")?, probe: built("--probe")?, torture: built("--torture")? })
    }
}

/// Builds the tests as static programs, since they must run in a root filesystem without libraries. With an explicit
/// target the flag does not affect procedural macros, which cannot be static.
pub fn build_tests() -> Result<Built> {
    build_bare()?;
    let mut command = cargo("test");
    command
        .args(["--no-run", "--locked", "--manifest-path", "tests/Cargo.toml", "--target", &host()?])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    let messages = output(&mut command)?;
    let find = |name: &str| {
        executables(&messages)
            .find(|(target, _)| target == name)
            .map(|(_, path)| path)
            .ok_or_else(|| format!("cargo built no '{name}'"))
    };
    Ok(Built { suite: find("suite")?, probe: find("probe")?, torture: find("torture")? })
}

/// Programs without a libc, for the bench. The suite uses two of them.
pub struct Bare {
    pub floor: PathBuf,
    pub idle: PathBuf,
    pub nothing: PathBuf,
    pub pace: PathBuf,
}

impl Bare {
    /// The paths of the programs of `build_bare`.
    pub fn built() -> Self {
        let program = |name| root().join("xtask/bare/target/release").join(name);
        Self {
            floor: program("floor"),
            idle: program("idle"),
            nothing: program("nothing"),
            pace: program("pace"),
        }
    }
}

/// Builds the programs without a libc.
pub fn build_bare() -> Result {
    let args = ["--manifest-path", "xtask/bare/Cargo.toml", "--target-dir", "xtask/bare/target"];
    run(cargo("build").args(["--quiet", "--release", "--locked"]).args(args))
}

/// The pairs (target, executable) of cargo's messages.
fn executables(messages: &str) -> impl Iterator<Item = (String, PathBuf)> {
    messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    })
}

/// rustc's name of this machine.
pub fn host() -> Result<String> {
    let about = output(Command::new(rustc()).arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("cargo: rustc -vV names no host")?.to_owned())
}
