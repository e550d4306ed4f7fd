//! Boots a guest and reads its console.

use super::Arch;
use super::fetch::Fetched;
use super::smoke::{Mode, Where};
use crate::run::{Context, Result, line};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The time limit for a silent guest. A check has 30 s by the guest's own clock.
const SILENCE: Duration = Duration::from_secs(300);

/// The output of a guest.
pub struct Said {
    /// The version from uname(2).
    pub release: String,
    pub outcomes: Vec<Outcome>,
}

/// The output of a check.
pub struct Outcome {
    pub number: usize,
    pub at: Where,
    pub printed: String,
}

/// Fails if the emulator is missing.
pub fn find(arch: &Arch) -> Result {
    let asked = Command::new(arch.qemu).arg("--version").stdout(Stdio::null()).status();
    asked.map(drop).map_err(|error| format!("{}: {error}; install {}", arch.qemu, arch.package))
}

/// Runs the checks of an initramfs.
pub fn boot(arch: &Arch, fetched: &Fetched, archive: &[u8], dir: &Path) -> Result<Said> {
    let machine = ["-m", "1024", "-net", "none"].map(str::to_owned);
    understand(&run(arch, fetched, archive, dir, &machine, SILENCE)?, &dir.join("console"))
}

/// Boots a kernel with an initramfs, and with the options `machine` beside the usual ones. Returns its output.
pub fn run(
    arch: &Arch,
    fetched: &Fetched,
    archive: &[u8],
    dir: &Path,
    machine: &[String],
    silence: Duration,
) -> Result<Vec<String>> {
    let initramfs = dir.join("initramfs");
    fs::write(&initramfs, archive).context(initramfs.display())?;
    // The emulator ends with this program, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", arch.qemu]);
    command.args(arch.machine).args(["-accel", "tcg,thread=multi", "-smp", "2"]).args(machine);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-serial", "stdio", "-kernel"]).arg(&fetched.kernel).arg("-initrd").arg(initramfs);
    // A panic ends the guest at once. Mitigations, which would slow down the emulator, are off.
    let words = format!("console={} quiet loglevel=3 panic=-1 mitigations=off", arch.console);
    command.arg("-append").arg(words).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context(line(&command))?;
    let lines = read(&mut child, &dir.join("console"), silence);
    let _ = child.kill();
    child.wait().context("wait for qemu")?;
    lines
}

/// The lines of the console up to the guest's end. They also go to a file, each with its time in seconds.
fn read(child: &mut Child, console: &Path, silence: Duration) -> Result<Vec<String>> {
    let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut file = fs::File::create(console).context(console.display())?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in output.split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_err() {
                break;
            }
        }
    });
    let mut lines = Vec::new();
    let start = Instant::now();
    loop {
        match receiver.recv_timeout(silence) {
            Ok(line) => {
                writeln!(file, "{:6.1} {line}", start.elapsed().as_secs_f32()).context(console.display())?;
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(lines),
            Err(RecvTimeoutError::Timeout) => {
                let last =
                    lines.iter().rev().find(|line| line.starts_with("@@")).cloned().unwrap_or_default();
                return Err(format!("the guest is silent after '{last}'; see {}", console.display()));
            }
        }
    }
}

/// Marks are `@@ kernel RELEASE`, `@@ check NUMBER WHO OPTION` and `@@ status N`.
pub fn understand(lines: &[String], console: &Path) -> Result<Said> {
    let mut said = Said { release: String::new(), outcomes: Vec::new() };
    let mut check: Option<Outcome> = None;
    let mut kernel = (0, 0);
    for line in lines {
        // The kernel or firmware can have printed something on the same line.
        let mark = line.find("@@ ").map(|at| line[at + 3..].split(' ').collect::<Vec<_>>());
        match mark.as_deref() {
            Some(["kernel", release]) => {
                let mut numbers = release.split(['.', '-', '+']).map(|n| n.parse().unwrap_or(0));
                kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                said.release = (*release).to_owned();
            }
            Some(["check", number, who, option]) => {
                let at = Where { kernel, mode: Mode::of(who, option) };
                check = number.parse().ok().map(|number| Outcome { number, at, printed: String::new() });
            }
            Some(["status", status]) => {
                if let Some(mut done) = check.take() {
                    done.printed.truncate(done.printed.trim_end().len());
                    if *status != "0" {
                        done.printed.push_str(&format!("\nstatus {status}"));
                    }
                    said.outcomes.push(done);
                }
            }
            _ => {
                if let Some(check) = &mut check {
                    check.printed.push_str(line);
                    check.printed.push('\n');
                }
            }
        }
    }
    if said.release.is_empty() {
        return Err(format!("the kernel did not come up; see {}", console.display()));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_read_whatever_stands_before_a_mark() {
        let text = "firmware\x1b[c@@ kernel 6.12.1+x\n@@ check 3 user \none\n\n@@ status 0\n@@ check 4 root \n\n\
                    @@ status 7\n@@ check 3 user --unprivileged\n[1.0] noise\n@@ status 0\n";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let said = understand(&lines, Path::new("console")).unwrap();
        let all: Vec<_> =
            said.outcomes.iter().map(|done| (done.number, done.at.mode, &*done.printed)).collect();
        let expected =
            [(3, Mode::SetUid, "one"), (4, Mode::Root, "\nstatus 7"), (3, Mode::Unprivileged, "[1.0] noise")];
        assert_eq!(all, expected);
        assert_eq!(said.outcomes[0].at.kernel, (6, 12));
        assert!(understand(&[], Path::new("console")).is_err_and(|error| error.contains("come up")));
    }
}
