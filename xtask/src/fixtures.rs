//! Fixtures that only root can make: files that the tests must not reach, and programs that must have no effect.

use crate::cargo::{Bare, Built};
use crate::host::ABOUT;
use crate::place::place;
use crate::properties::CANARY;
use crate::run::{Context, Result, output, root, run};
use crate::suite::User;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Fixtures {
    pub dir: PathBuf,
    pub scratch: PathBuf,
    pub suite: PathBuf,
}

/// Prepares everything below `prefix`.
pub fn prepare(prefix: &Path, built: &Built, user: User) -> Result<Fixtures> {
    let dir = prefix.join("fixtures");
    // With this umask all modes below are exact.
    umask(Mode::empty());
    make_dir(&dir, 0o755)?;
    for (name, mode, group) in [("p", 0o700, 0), ("p710", 0o710, 0), ("p705", 0o705, User::EXTRA_GROUP)] {
        forbidden(&dir.join(name), mode, group)?;
    }
    programs(&dir, built, user)?;
    make_dir(&dir.join("host"), 0o755)?;
    make_dir(&dir.join("devices"), 0o755)?;
    mknod(&dir.join("devices/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))
        .context("make a device node")?;
    busybox(&dir.join("busybox"))?;
    debian(&dir.join("debian"))?;
    musl(&dir.join("musl"), &dir.join("bin/nothing"))?;
    oci(&dir)?;
    mounts(&dir)?;
    names(&dir, user)?;
    toolchain(&dir.join("rust"))?;
    replaced(&dir.join("replaced"))?;
    privileged(&built.probe, &dir.join("busybox/bin/setuid-probe"), 0o4750, user)?;

    let scratch = prefix.join("scratch");
    make_dir(&scratch, 0o700)?;
    chown(&scratch, Some(user.uid), Some(user.gid)).context("chown the scratch directory")?;
    let suite = prefix.join("suite");
    copy(&built.suite, &suite, 0o755)?;
    Ok(Fixtures { dir, scratch, suite })
}

/// An installation whose second program prints how it was started.
fn replaced(prefix: &Path) -> Result {
    make_dir(prefix, 0o755)?;
    let before = umask(Mode::from_bits_truncate(0o022));
    place(prefix, None)?;
    umask(before);
    write(&prefix.join(ABOUT), include_str!("../../tests/programs/tell_start.py"), 0o755)
}

/// A directory that the tests may not search, with files in it that everyone could read.
fn forbidden(dir: &Path, mode: u32, group: u32) -> Result {
    make_dir(dir, 0o755)?;
    make_dir(&dir.join("pub"), 0o755)?;
    // With these the directory could be a root filesystem.
    for name in ["proc", "dev", "tmp"] {
        make_dir(&dir.join("pub").join(name), 0o755)?;
    }
    write(&dir.join("pub/canary"), CANARY, 0o644)?;
    chown(dir, Some(0), Some(group)).context(dir.display())?;
    set_mode(dir, mode)
}

/// Static programs, which run in any root filesystem.
fn programs(dir: &Path, built: &Built, user: User) -> Result {
    make_dir(&dir.join("bin"), 0o755)?;
    copy(&built.probe, &dir.join("bin/probe"), 0o755)?;
    copy(&built.torture, &dir.join("bin/torture"), 0o755)?;
    let bare = Bare::built();
    privileged(&bare.floor, &dir.join("bin/floor"), 0o4750, user)?;
    copy(&bare.nothing, &dir.join("bin/nothing"), 0o755)?;
    copy(&bare.idle, &dir.join("bin/idle"), 0o755)?;
    for name in ["crash", "compat"] {
        let mut compile = Command::new("cc");
        compile.args(["-static", "-nostdlib", "-no-pie", "-o"]).arg(dir.join("bin").join(name));
        run(compile.arg(root().join(format!("tests/bin/{name}.S"))))?;
    }
    make_dir(&dir.join("setuid"), 0o755)?;
    copy(Path::new("/usr/bin/id"), &dir.join("setuid/id"), 0o4755)?;
    privileged(&built.probe, &dir.join("setuid/probe"), 0o4750, user)?;
    make_dir(&dir.join("filecap"), 0o755)?;
    let capable = |from: &Path, name: &str, capabilities: &str| {
        let to = dir.join("filecap").join(name);
        privileged(from, &to, 0o750, user)?;
        run(Command::new("setcap").arg(capabilities).arg(to))
    };
    capable(&built.probe, "probe", "cap_net_raw,cap_dac_override+ep")?;
    // For callers with unusual capabilities and securebits.
    capable(Path::new("/usr/bin/setpriv"), "setpriv", "cap_net_raw,cap_setpcap+ep")
}

/// A Debian root filesystem of the host's release. It is only unpacked, which suffices to run from it.
fn debian(image: &Path) -> Result {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name =
        name.ok_or("the tests need a Debian or a system like it: no VERSION_CODENAME in /etc/os-release")?;
    let mut make = Command::new("mmdebstrap");
    make.args([
        "--quiet",
        "--mode=root",
        "--variant=extract",
        "--include=dash,coreutils,bash,base-files,libc-bin",
    ]);
    // Its output does not matter if it works.
    output(make.arg(name).arg(image).stderr(std::process::Stdio::null())).map(drop).map_err(|error| {
        format!("{error}: the tests need the package mmdebstrap, and a mirror that apt can reach")
    })
}

/// A root filesystem without glibc, like Alpine's: musl's loader, and a program that needs it.
fn musl(image: &Path, fallback: &Path) -> Result {
    make_dir(image, 0o755)?;
    for name in ["bin", "dev", "etc", "lib", "proc", "tmp", "usr"] {
        make_dir(&image.join(name), 0o755)?;
    }
    let loader =
        ["/lib/ld-musl-x86_64.so.1", "/usr/lib/x86_64-linux-musl/libc.so"].into_iter().map(Path::new);
    let loader = loader.map(fs::canonicalize).find_map(std::result::Result::ok);
    let loader = loader.ok_or("no musl: the tests need the package musl-tools")?;
    copy(&loader, &image.join("lib/ld-musl-x86_64.so.1"), 0o755)?;
    let source = image.join("etc/hello.c");
    write(&source, "#include <stdio.h>\nint main(void) { return puts(\"from musl\") < 0; }\n", 0o644)?;
    run(Command::new("musl-gcc").arg("-o").arg(image.join("bin/hello")).arg(source))?;
    copy(fallback, &image.join("bin/nothing"), 0o755)
}

/// An unpacked OCI image.
fn oci(dir: &Path) -> Result {
    let layout = dir.join("oci");
    let image = format!("{}:test", layout.display());
    let umoci = |args: &[&str]| run(Command::new("umoci").args(args));
    umoci(&["init", "--layout", &layout.display().to_string()])?;
    umoci(&["new", "--image", &image])?;
    umoci(&["insert", "--image", &image, &dir.join("busybox").display().to_string(), "/"])?;
    let bundle = dir.join("bundle");
    umoci(&["unpack", "--image", &image, &bundle.display().to_string()])?;
    set_mode(&bundle, 0o755)
}

/// Names for the user of the tests, who has no name on the host.
fn names(dir: &Path, user: User) -> Result {
    let (uid, gid, extra) = (user.uid, user.gid, User::EXTRA_GROUP);
    for (file, lines) in [
        ("passwd", format!("tester:x:{uid}:{gid}:Tester:/nowhere:/bin/sh\n")),
        ("group", format!("testers:x:{gid}:\nextra:x:{extra}:tester,somebody\n")),
    ] {
        let host = Path::new("/etc").join(file);
        let text = fs::read_to_string(&host).context(host.display())?;
        write(&dir.join(file), &(text + &lines), 0o644)?;
        mount(Some(&dir.join(file)), &host, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context(host.display())?;
    }
    Ok(())
}

/// The Rust toolchain of this build, even if the tests may not search its directory.
fn toolchain(place: &Path) -> Result {
    let toolchain = Path::new(env!("CARGO")).ancestors().nth(2).ok_or("cargo is in no directory")?;
    make_dir(place, 0o755)?;
    mount(Some(toolchain), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context(format_args!("bind '{}'", toolchain.display()))
}

/// The mount points, inner ones first.
pub const MOUNTS: [&str; 7] =
    ["flags/sub", "flags", "busybox/mnt", "covered", "rust", "/etc/passwd", "/etc/group"];

/// Mounts that cover something, and mounts with flags. They exist only in the mount namespace of this run.
fn mounts(dir: &Path) -> Result {
    let covered = [dir.join("covered"), dir.join("busybox/mnt")];
    make_dir(&covered[0], 0o755)?;
    for place in &covered {
        write(&place.join("secret"), CANARY, 0o644)?;
        tmpfs(place, "mode=755", MsFlags::empty())?;
    }
    let flags = dir.join("flags");
    make_dir(&flags, 0o755)?;
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    tmpfs(&flags, "mode=1777", strict)?;
    make_dir(&flags.join("sub"), 0o755)?;
    tmpfs(&flags.join("sub"), "mode=1777", strict)?;
    write(&flags.join("sub/marker"), "submount", 0o644)
}

fn tmpfs(place: &Path, options: &str, flags: MsFlags) -> Result {
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(options))
        .context(format_args!("mount a tmpfs on '{}'", place.display()))
}

/// A program with more rights than its caller, so only the tests may start it.
fn privileged(from: &Path, to: &Path, mode: u32, user: User) -> Result {
    copy(from, to, 0o700)?;
    chown(to, Some(0), Some(user.gid)).context(to.display())?;
    set_mode(to, mode)
}

/// A foreign root filesystem.
fn busybox(image: &Path) -> Result {
    make_dir(image, 0o755)?;
    for name in ["bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"]
    {
        make_dir(&image.join(name), 0o755)?;
    }
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    let program = program.ok_or("no busybox: the tests need the package busybox-static")?;
    copy(program, &image.join("bin/busybox"), 0o755)?;
    for applet in output(Command::new(program).arg("--list"))?.lines().filter(|name| *name != "busybox") {
        symlink("busybox", image.join("bin").join(applet)).context(applet)?;
    }
    mknod(&image.join("etc/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))
        .context("make a device node")?;
    write(&image.join("etc/image"), "busybox\n", 0o644)
}

fn make_dir(dir: &Path, mode: u32) -> Result {
    fs::create_dir(dir).context(format_args!("make directory '{}'", dir.display()))?;
    set_mode(dir, mode)
}

fn write(path: &Path, text: &str, mode: u32) -> Result {
    fs::write(path, text).context(format_args!("write '{}'", path.display()))?;
    set_mode(path, mode)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result {
    fs::copy(from, to).context(format_args!("copy '{}' to '{}'", from.display(), to.display()))?;
    set_mode(to, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .context(format_args!("chmod '{}'", path.display()))
}
