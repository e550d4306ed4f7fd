//! Docker's daemon, with an image of our own and no network.

use super::contenders::IMAGE;
use super::job::find;
use super::site::Site;
use crate::run::{Context, Result, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon that runs until this is dropped.
pub struct Docker(Child);

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Starts the daemon and gives it the image.
pub fn start(site: &Site) -> Result<Docker> {
    let place = |name: &str| site.scratch.join(name).display().to_string();
    let socket = format!("unix://{}", place("docker.sock"));
    let mut command = Command::new(find("dockerd").ok_or("dockerd is absent")?);
    command.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs", "--host", &socket]);
    for name in ["data-root", "exec-root", "pidfile"] {
        command.arg(format!("--{name}")).arg(place(name));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let daemon = Docker(command.spawn().context("start dockerd")?);
    let client = find("docker").ok_or("docker is absent")?;
    let begin = Instant::now();
    loop {
        let mut ask = Command::new(&client);
        ask.args(["--host", &socket, "version"]).stdout(Stdio::null()).stderr(Stdio::null());
        if ask.status().context("docker")?.success() {
            break;
        }
        if begin.elapsed() > Duration::from_secs(15) || site.stop.requested() {
            return Err("dockerd did not answer within 15 seconds".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let tar = place("image.tar");
    run(Command::new("tar").args(["-C", &site.image, "-cf", &tar, "."]))?;
    let mut import = Command::new(client);
    run(import.args(["--host", &socket, "import", &tar, IMAGE]).stdout(Stdio::null()))?;
    Ok(daemon)
}
