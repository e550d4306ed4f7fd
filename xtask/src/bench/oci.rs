//! A small root filesystem and an OCI bundle of it, with isolation equal to selfdock's.

use super::site::Site;
use crate::run::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A root filesystem with two programs in it.
pub fn image(image: &Path, nothing: &Path, idle: &Path) -> Result {
    for dir in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var/tmp"] {
        fs::create_dir_all(image.join(dir)).context(dir)?;
    }
    for (from, name) in [(nothing, "nothing"), (idle, "idle")] {
        fs::copy(from, image.join("bin").join(name)).context(name)?;
    }
    Ok(())
}

/// A bundle that runs the trivial command.
pub fn bundle(site: &Site) -> Result {
    let dir = site.scratch.join("bundle");
    fs::create_dir_all(&dir).context(dir.display())?;
    fs::write(dir.join("config.json"), config(site).to_string()).context("config.json")
}

fn config(site: &Site) -> Value {
    let strict = ["nosuid", "noexec", "nodev"];
    let mount = |place: &str, kind: &str, options: &[&str]| {
        let (destination, source) = (place, kind);
        json!({ "destination": destination, "type": kind, "source": source, "options": options })
    };
    let user = json!({ "uid": site.user.uid, "gid": site.user.gid });
    json!({
        "ociVersion": "1.0.2",
        "process": { "terminal": false, "user": user, "args": ["/bin/nothing"], "cwd": "/",
            "env": ["PATH=/bin"] },
        "root": { "path": site.image, "readonly": true },
        "mounts": [
            mount("/proc", "proc", &strict),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]),
            mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]),
        ],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "mount" }] },
    })
}
