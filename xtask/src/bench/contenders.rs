//! The table of programs to compare.

use super::job::{BUBBLEWRAP, FLOOR, Job, PLAIN, SELFDOCK, find, words};
use super::site::Site;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// The name of the image for Docker.
pub const IMAGE: &str = "selfdock-bench";

/// A way to start a command.
pub struct Contender {
    pub name: &'static str,
    /// Its program, which must be installed; empty for the bench's own.
    pub program: &'static str,
    pub as_root: bool,
    /// Whether its root filesystem is an image with only the trivial command.
    pub own_image: bool,
    /// Makes the command line for a command.
    pub argv: fn(&Site, &[&str]) -> Vec<String>,
    /// The difference to an instance of selfdock.
    pub remark: &'static str,
}

pub const CONTENDERS: &[Contender] = &[
    Contender {
        name: PLAIN,
        program: "",
        as_root: false,
        own_image: false,
        argv: |_, command| words(command),
        remark: "no isolation at all",
    },
    Contender {
        name: FLOOR,
        program: "",
        as_root: false,
        own_image: false,
        argv: |site, command| words(&[&site.floor()[..], command].concat()),
        remark: "only unavoidable system calls: no check, no message, no signals passed on, no filter",
    },
    Contender {
        name: SELFDOCK,
        program: "",
        as_root: false,
        own_image: false,
        argv: |site, command| site.run(&[], command),
        remark: "",
    },
    Contender {
        name: BUBBLEWRAP,
        program: "bwrap",
        as_root: false,
        own_image: false,
        argv: |_, command| bubblewrap(&[], command),
        remark: "the whole host is visible; no filter; it outlives its parent",
    },
    Contender {
        name: "unshare",
        program: "unshare",
        as_root: true,
        own_image: false,
        argv: |_, command| {
            words(
                &[&["unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--"], command]
                    .concat(),
            )
        },
        remark: "as root; namespaces and /proc only, the file system is not restricted",
    },
    Contender {
        name: "nsjail",
        program: "nsjail",
        as_root: false,
        own_image: false,
        argv: |_, command| nsjail(command),
        remark: "the whole host is visible; with a user namespace",
    },
    Contender {
        name: "firejail",
        program: "firejail",
        as_root: false,
        own_image: false,
        argv: |_, command| firejail(command),
        remark: "the whole host is visible except /mnt and /media",
    },
    Contender {
        name: "crun",
        program: "crun",
        as_root: true,
        own_image: true,
        argv: |site, _| bundle(site, &["crun", "--cgroup-manager=disabled"]),
        remark: "as root",
    },
    Contender {
        name: "runc",
        program: "runc",
        as_root: true,
        own_image: true,
        argv: |site, _| bundle(site, &["runc"]),
        remark: "as root, and with a control group",
    },
    Contender {
        name: "podman",
        program: "podman",
        as_root: true,
        own_image: true,
        argv: |site, _| podman(site),
        remark: "as root",
    },
    Contender {
        name: "Docker",
        program: "dockerd",
        as_root: true,
        own_image: true,
        argv: |site, _| docker(site),
        remark: "as root, by its daemon, and with a control group",
    },
];

/// bubblewrap, with its lightest command line that gives a command its own processes, IPC, `/proc`, `/dev` and `/tmp`
/// on a read-only root. Other directories of the host that selfdock hides stay visible: hiding them costs more.
pub fn bubblewrap(options: &[&str], command: &[&str]) -> Vec<String> {
    let mut all = vec!["bwrap", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/"];
    all.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    words(&[&all[..], options, &["--"], command].concat())
}

fn nsjail(command: &[&str]) -> Vec<String> {
    let mut all = vec!["nsjail", "--mode", "o", "--really_quiet", "--disable_clone_newnet"];
    all.extend(["--disable_clone_newuts", "--disable_clone_newcgroup", "--disable_rlimits"]);
    all.extend(["--chroot", "/", "--tmpfsmount", "/tmp", "--tmpfsmount", "/dev/shm"]);
    words(&[&all[..], &["--"], command].concat())
}

fn firejail(command: &[&str]) -> Vec<String> {
    let all = ["firejail", "--quiet", "--noprofile", "--ipc-namespace", "--read-only=/"];
    let more = ["--private-dev", "--private-tmp", "--disable-mnt"];
    words(&[&all[..], &more, &["--"], command].concat())
}

fn bundle(site: &Site, program: &[&str]) -> Vec<String> {
    let state = site.scratch.join(program[0]).display().to_string();
    let bundle = site.scratch.join("bundle").display().to_string();
    words(&[program, &["--root", &state, "run", "--bundle", &bundle, "selfdock-bench"]].concat())
}

fn podman(site: &Site) -> Vec<String> {
    let place = |name: &str| site.scratch.join(name).display().to_string();
    let (root, state) = (place("podman"), place("podman-run"));
    let mut all = vec!["podman", "--root", &root, "--runroot", &state, "--storage-driver", "vfs"];
    all.extend(["--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "host", "--uts", "host"]);
    all.extend(["--cgroups", "disabled", "--log-driver", "none", "--security-opt", "seccomp=unconfined"]);
    // Its own limits need more than the right to make mounts.
    all.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
    all.extend(["--read-only", "--tmpfs", "/tmp", "--rootfs", &site.image, "/bin/nothing"]);
    words(&all)
}

fn docker(site: &Site) -> Vec<String> {
    let socket = format!("unix://{}", site.scratch.join("docker.sock").display());
    let mut all = vec!["docker", "--host", &socket, "run", "--rm", "--network", "host", "--uts", "host"];
    all.extend(["--log-driver", "none", "--security-opt", "seccomp=unconfined"]);
    all.extend(["--read-only", "--tmpfs", "/tmp", IMAGE, "/bin/nothing"]);
    words(&all)
}

impl Contender {
    pub fn named(name: &str) -> &'static Self {
        CONTENDERS.iter().find(|contender| contender.name == name).expect("a name of the table")
    }

    pub fn is_here(&self) -> bool {
        self.program.is_empty() || find(self.program).is_some()
    }

    pub fn job(&self, site: &Site, command: &[&str]) -> Job {
        self.job_of((self.argv)(site, command))
    }

    /// The job of a command line that begins with the program's name.
    pub fn job_of(&self, mut argv: Vec<String>) -> Job {
        if let Some(path) = find(&argv[0]) {
            argv[0] = path.display().to_string();
        }
        Job { who: self.name.to_owned(), as_root: self.as_root, argv }
    }

    /// The first line of its version text.
    fn version(&self) -> Option<String> {
        let said = Command::new(find(self.program)?).arg("--version").stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// Its name, its version and its options.
    pub fn describe(&self, site: &Site) -> (String, Value) {
        let here = self.is_here();
        let version = if here && !self.program.is_empty() { self.version() } else { None };
        let line = self.job(site, &["COMMAND"]).argv.join(" ").replace(&site.prefix, "PREFIX");
        let mut text = format!("{:<11}", self.name);
        if here {
            let remark = if self.remark.is_empty() { "" } else { "; " };
            text += &format!(" {}{remark}{}\n    {line}", version.as_deref().unwrap_or(""), self.remark);
        } else {
            text += " absent";
        }
        let value = json!({ "name": self.name, "present": here, "version": version, "command": line,
            "as_root": self.as_root, "remark": self.remark });
        (text, value)
    }
}
