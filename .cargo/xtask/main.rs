//! Hands `cargo xtask` over to the harness. The harness has its own workspace, so that the features of its many
//! dependencies never reach the trusted binary.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Waits until the harness is built. After a second, a line on the terminal shows the progress.
fn wait(mut build: Child) {
    let (ended, end) = channel::<()>();
    let waiting = std::thread::spawn(move || {
        let _ = build.wait();
        drop(ended);
    });
    let (start, mut shown) = (Instant::now(), false);
    while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        if std::io::stderr().is_terminal() {
            let seconds = start.elapsed().as_secs();
            eprint!("\r\x1b[Kxtask: building the harness, {seconds} s; the first build takes a while");
            shown = true;
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    let _ = waiting.join();
}

fn main() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // In a copy of a checkout with built files, this program was built in another directory.
    let Some(here) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        eprintln!("xtask: start this program with `cargo xtask`");
        std::process::exit(1);
    };
    let manifest = Path::new(&here).join("../../xtask/Cargo.toml");
    let run = |subcommand: &str| {
        let mut command = Command::new(&cargo);
        command.args([subcommand, "--quiet", "--locked", "--manifest-path"]).arg(&manifest);
        command
    };
    // `cargo run` reports its errors.
    let _ = run("build").stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(wait);
    let error = run("run").arg("--").args(std::env::args_os().skip(1)).exec();
    eprintln!("xtask: start cargo: {error}");
    std::process::exit(1);
}
