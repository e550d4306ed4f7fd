//! An OCI bundle of the small root filesystem, with isolation equal to selfdock's.

use super::site::Site;
use crate::run::{Context, Result};
use serde_json::{Value, json};
use std::fs;

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
