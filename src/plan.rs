//! Turns a request into a plan: which mounts, in which order. Pure: no system calls.

use crate::cli::{MountRequest, Request, scaled};
use crate::error::{Fault, Result, both, on};
use crate::sys::namespace;
use crate::text::{Bytes, bound, number};
use alloc::vec::Vec;

/// The plan of an instance.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The root filesystem.
    pub root: Root<'a>,
    /// `build`: whether the root filesystem is writable, with the caller's rights.
    pub writable: bool,
    /// Whether the instance has its own network.
    pub own_network: bool,
    /// The caller's mounts, parents first.
    pub mounts: Vec<Mount<'a>>,
    /// Devices beyond the usual ones: paths below `/dev`.
    pub devices: Vec<Bytes>,
    /// The tmpfs on `/dev/shm`.
    pub shm: Tmpfs,
}

impl Plan<'_> {
    /// The namespaces that the command makes for itself ([`namespace`]). Its PID namespace is the keeper's, with a user
    /// namespace if there is no privilege.
    pub fn namespaces(&self) -> u32 {
        let network = if self.own_network { namespace::NETWORK } else { 0 };
        namespace::MOUNT | namespace::IPC | namespace::UTS | namespace::CGROUP | network
    }

    /// Whether the second program is to be bound, too. In the host image it is visible if it `is_installed`.
    pub fn shows_second(&self, is_installed: bool) -> bool {
        !(is_installed && self.root == Root::Host)
    }
}

/// A step of building. Before the first one, all sources are open and no mount propagates any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The root directory, with the homes of the host image hidden.
    Root,
    /// A private `/tmp`.
    Tmp,
    /// Files for host names and user names.
    Names,
    /// The caller's mounts, in the order of the plan, but for those in `/dev/shm`.
    Mounts,
    /// `/dev` with the usual devices.
    Dev,
    /// A new devpts.
    Devpts,
    /// `/dev/shm`
    Shm,
    /// The caller's mounts in `/dev/shm`.
    InShm,
    /// The devices of `--dev`.
    Devices,
    /// selfdock's own file, and the second program if it is not visible by itself.
    Program,
    /// A new procfs.
    Proc,
}

/// The steps, in order. `sandbox` carries them out, and `--explain` prints them. The keeper is another process, and no
/// step. What is mounted in /dev and on /proc, and selfdock's own file, come after the caller's mounts, so that no link
/// in an image or a volume can make a mount of the caller cover them.
pub const STEPS: [Step; 11] = [
    Step::Root,
    Step::Tmp,
    Step::Names,
    Step::Mounts,
    Step::Dev,
    Step::Devpts,
    Step::Shm,
    Step::InShm,
    Step::Devices,
    Step::Program,
    Step::Proc,
];

/// The root filesystem of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// The host's own, restricted to [`crate::host::SHOWN`].
    Host,
    /// A directory with a root filesystem.
    Dir(&'a [u8]),
    /// Several layers. A later one lies over the earlier ones.
    Layers(Vec<&'a [u8]>),
}

/// A mount of the caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The mount point: absolute, without `.`, `..` or empty components.
    pub dst: Bytes,
    /// What is mounted there.
    pub source: Source<'a>,
}

/// The kind and source of a mount.
#[derive(Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A file or directory of the caller's.
    Bind {
        /// Its path for the caller.
        src: &'a [u8],
        /// Whether it is a volume; otherwise it is a map.
        writable: bool,
    },
    /// A private tmpfs.
    Tmpfs(Tmpfs),
    /// A mask, which hides the path.
    Mask {
        /// The path may be missing.
        optional: bool,
    },
}

/// The allowed options of a tmpfs. tmpfs(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Its size in bytes.
    pub size: u64,
    /// Number of files and directories.
    pub inodes: u64,
    /// Permissions of its root directory.
    pub mode: u16,
}

/// File systems in `/dev` that `--dev` cannot name: an instance has its own, never the host's.
const NOT_DEVICES: &[&str] = &["pts", "shm", "mqueue", "hugepages", "fd"];

bound! {
    /// The kernel allows about 100 000 mounts in a namespace. This limit bounds the time of a spawn.
    MOST_MOUNTS = 1024,
    TOO_MANY_MOUNTS = "at most ", " are possible; bind a directory that holds the files"
}

bound! {
    /// More layers than anyone needs. Each name is looked up in each layer.
    MOST_LAYERS = 64,
    TOO_MANY_LAYERS = "at most ", " are possible"
}

/// Why a place is refused that two options want.
pub const TWO_MOUNTS: &str = "two different mounts are requested there";

/// Makes the plan. `cwd` is the caller's current directory.
pub fn make<'a, E: Fault>(request: &Request<'a>, cwd: Option<&'a [u8]>) -> Result<Plan<'a>, E> {
    let root = match request.roots.as_slice() {
        [] if request.build => {
            return Err(E::refused("build", "no root filesystem is named")
                .hint("name one with --root DIR; 'run -o / /' has a writable copy of the host's"));
        }
        [] => Root::Host,
        [dir] if is_host(dir) => Root::Host,
        [dir] => Root::Dir(dir),
        several if several.len() > MOST_LAYERS => {
            return Err(
                E::refused("lay root filesystems over each other", "too many layers").hint(TOO_MANY_LAYERS)
            );
        }
        several => Root::Layers(several.to_vec()),
    };
    let (writable, own_network) = (request.build, request.own_network);
    let mut plan =
        Plan { root, writable, own_network, mounts: Vec::new(), devices: Vec::new(), shm: Tmpfs::DEFAULT };
    let mut own_shm = false;
    if request.mounts.len() > MOST_MOUNTS {
        return Err(E::refused("plan mounts", "too many mounts").hint(TOO_MANY_MOUNTS));
    }
    for mount in &request.mounts {
        add(&mut plan, *mount, &mut own_shm)?;
    }
    if request.here {
        let dir = cwd.ok_or_else(|| E::refused("option --here", NO_PATH))?;
        add(&mut plan, MountRequest::Bind { src: dir, dst: dir, writable: true }, &mut own_shm)
            .map_err(|fault: E| fault.hint("--here binds the current directory: start in another one"))?;
    }
    Ok(plan)
}

/// Why nothing can be found by the path of the current directory. It can have been removed.
pub const NO_PATH: &str = "the current directory has no path here";

/// Whether a root filesystem that is named alone is the host image.
pub fn is_host(dir: &[u8]) -> bool {
    dir.starts_with(b"/") && components(dir).next().is_none()
}

/// Adds a mount. `own_shm`: `/dev/shm` has been requested before.
fn add<'a, E: Fault>(plan: &mut Plan<'a>, mount: MountRequest<'a>, own_shm: &mut bool) -> Result<(), E> {
    match mount {
        MountRequest::Bind { src, dst, writable } => {
            if src.is_empty() {
                return Err(E::refused(on("bind '' on {}", dst), "the source path is empty"));
            }
            insert(
                &mut plan.mounts,
                Mount { dst: destination(dst, "mount on")?, source: Source::Bind { src, writable } },
            )?;
        }
        MountRequest::Mask { path, optional } => {
            let dst = destination(path, "mask")?;
            insert(&mut plan.mounts, Mount { dst, source: Source::Mask { optional } })?;
        }
        MountRequest::Device { path } => plan.devices.push(device(path)?),
        MountRequest::Tmpfs { options, dst } => {
            let tmpfs = Tmpfs::parse(options)?;
            if components(dst).eq(components(b"/dev/shm")) && dst.starts_with(b"/") {
                if core::mem::replace(own_shm, true) && plan.shm != tmpfs {
                    return Err(E::refused("mount on '/dev/shm'", TWO_MOUNTS));
                }
                plan.shm = tmpfs;
            } else {
                let dst = destination(dst, "mount on")?;
                insert(&mut plan.mounts, Mount { dst, source: Source::Tmpfs(tmpfs) })?;
            }
        }
    }
    Ok(())
}

/// Inserts a mount, after the mounts that contain it.
fn insert<'a, E: Fault>(mounts: &mut Vec<Mount<'a>>, mount: Mount<'a>) -> Result<(), E> {
    let order = |other: &Mount<'_>| components(other.dst).cmp(components(mount.dst));
    match mounts.binary_search_by(order) {
        Ok(at) if mounts[at].source == mount.source => Ok(()),
        Ok(_) => {
            let what = match mount.source {
                Source::Mask { .. } => on("mask {}", mount.dst),
                _ => on("mount on {}", mount.dst),
            };
            Err(E::refused(what, TWO_MOUNTS))
        }
        Err(at) => {
            mounts.insert(at, mount);
            Ok(())
        }
    }
}

/// The components of a path, without empty ones and `.`.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// Whether a normalized path lies in `/dev/shm`.
pub fn is_in_shm(path: &[u8]) -> bool {
    path.starts_with(b"/dev/shm/")
}

/// The advice for a mount on the root directory.
const ROOT_IS_SHOWN: &str =
    "the host's root is shown read-only anyway, without homes; --root DIR shows another one";

/// The advice for a mount in `/dev`.
const OF_DEV: &str = "--dev PATH shows a device or a socket of /dev";

/// Checks and normalizes the destination of an operation.
fn destination<E: Fault>(path: &[u8], operation: &str) -> Result<Bytes, E> {
    let refuse = |why| Err(E::refused(both("{=} {}", operation.as_bytes(), path), why));
    let tidy = absolute(path, operation)?;
    match components(path).next() {
        None => {
            refuse("the root directory cannot be a destination").map_err(|fault: E| fault.hint(ROOT_IS_SHOWN))
        }
        Some(b"dev") if is_in_shm(tidy) => Ok(tidy),
        Some(b"proc" | b"dev") => {
            refuse("/proc and /dev are the instance's own").map_err(|fault: E| fault.hint(OF_DEV))
        }
        Some(_) => Ok(tidy),
    }
}

fn absolute<E: Fault>(path: &[u8], operation: &str) -> Result<Bytes, E> {
    let refuse = |why| Err(E::refused(both("{=} {}", operation.as_bytes(), path), why));
    if !path.starts_with(b"/") {
        return refuse("not an absolute path");
    }
    if components(path).any(|c| c == b"..") {
        return refuse("contains '..'");
    }
    let mut tidy = Vec::with_capacity(path.len());
    for c in components(path) {
        tidy.push(b'/');
        tidy.extend_from_slice(c);
    }
    Ok(tidy.leak())
}

/// Checks the path of a device, and returns it relative to `/dev`.
fn device<E: Fault>(path: &[u8]) -> Result<Bytes, E> {
    let tidy = absolute(path, "device")?;
    let refuse = |why| Err(E::refused(on("device {}", path), why));
    let mut parts = components(tidy);
    if parts.next() != Some(b"dev") {
        return refuse("must be below /dev");
    }
    let Some(first) = parts.next() else {
        return refuse("an instance cannot have all of /dev");
    };
    if NOT_DEVICES.iter().any(|name| name.as_bytes() == first) {
        return refuse("every instance has its own");
    }
    Ok(&tidy[b"/dev/".len()..])
}

const TMPFS_OPTIONS: &str = "the options are size=, nr_inodes= and mode=; - stands for none";

impl Tmpfs {
    /// The default for `/tmp` and `/dev/shm`: enough for temporary files, and too little to hurt the host. Files of
    /// one page each reach both limits together.
    pub const DEFAULT: Tmpfs = Tmpfs { size: 64 << 20, inodes: 16384, mode: 0o1777 };

    /// Parses `size=1G,nr_inodes=10k,mode=1777`. `-` stands for no options.
    pub fn parse<E: Fault>(options: &[u8]) -> Result<Self, E> {
        let mut out = Tmpfs::DEFAULT;
        if options == b"-" {
            return Ok(out);
        }
        for option in options.split(|b| *b == b',') {
            let refuse = |why| E::refused(on("tmpfs option {}", option), why);
            let Some(at) = option.iter().position(|b| *b == b'=') else {
                return Err(refuse("not understood").hint(TMPFS_OPTIONS));
            };
            let value = &option[at + 1..];
            let (understood, like) = match &option[..at] {
                b"size" => (put(&mut out.size, amount(value)), "not a size such as 64M"),
                b"nr_inodes" => (put(&mut out.inodes, amount(value)), "not a number such as 10k"),
                b"mode" => (put(&mut out.mode, mode(value)), "not permissions such as 1777"),
                _ => return Err(refuse("not allowed").hint(TMPFS_OPTIONS)),
            };
            if !understood {
                return Err(refuse(like));
            }
        }
        Ok(out)
    }
}

/// Stores a value if there is one. Returns whether there is.
fn put<T>(slot: &mut T, value: Option<T>) -> bool {
    value.map(|value| *slot = value).is_some()
}

/// A positive number with an optional `k`, `M`, `G` or `T`. The kernel counts in a signed 64-bit integer.
fn amount(text: &[u8]) -> Option<u64> {
    scaled(text).filter(|n| *n > 0 && i64::try_from(*n).is_ok())
}

fn mode(text: &[u8]) -> Option<u16> {
    let mode = number(text, 8).filter(|mode| text.len() <= 4 && *mode <= 0o1777);
    mode.and_then(|mode| u16::try_from(mode).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};
    use crate::error::Error;
    use alloc::string::String;

    fn with_plan(args: &[&str], check: impl FnOnce(Result<Plan<'_>>)) {
        let mut bytes: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        bytes.push(b"run");
        let Ok(Command::Run(request)) = parse(&bytes) else { panic!("not parsed: {args:?}") };
        check(make(&request, Some(b"/w")));
    }

    fn refusal(args: &[&str]) -> String {
        let mut text = String::new();
        with_plan(args, |plan| text = format!("{}", plan.expect_err("accepted")));
        text
    }

    #[test]
    fn parents_come_first_whatever_their_order() {
        with_plan(
            &["-v", "/x", "/a/b/c", "-m", "/y", "/a/b", "-t", "-", "/a", "-v", "/z", "/a/b-c"],
            |plan| {
                let order: Vec<_> = plan.unwrap().mounts.into_iter().map(|m| m.dst).collect();
                assert_eq!(order, [&b"/a"[..], b"/a/b", b"/a/b/c", b"/a/b-c"]);
            },
        );
    }

    /// P7: prefix compare.
    #[test]
    fn destinations_are_compared_by_component() {
        with_plan(&["-v", "/x", "/scratch", "-v", "/y", "/scratch2"], |plan| {
            assert_eq!(plan.unwrap().mounts.len(), 2);
        });
        assert!(refusal(&["-v", "/x", "/a/b", "-t", "-", "//a/./b/"]).contains("two different mounts"));
        with_plan(&["-v", "/x", "/processes", "-v", "/x", "/device"], |plan| assert!(plan.is_ok()));
    }

    #[test]
    fn root_proc_and_dev_are_no_destinations() {
        for dst in ["/", "//", "/.", "/proc", "/proc/sys", "/./proc/", "/dev", "/dev/null", "/dev/shm"] {
            let why = refusal(&["-v", "/x", dst]);
            assert!(why.contains("own") || why.contains("root"), "{dst}: {why}");
        }
        with_plan(&["-v", "/x", "/dev/shm/y", "-v", "/x", "/dev//shm/z/"], |plan| assert!(plan.is_ok()));
        assert!(refusal(&["-v", "/x", "/dev/shmem/y"]).contains("own"));
        assert!(refusal(&["-v", "/x", "a"]).contains("absolute"));
        assert!(refusal(&["-v", "/x", "/a/../b"]).contains(".."));
        assert!(refusal(&["-v", "", "/b"]).contains("is empty"));
        assert!(refusal(&["--mask", "/proc/cpuinfo"]).contains("own"));
    }

    #[test]
    fn a_mask_is_refused_as_a_mask() {
        for words in [&["--mask", "/proc/x"][..], &["--mask", "x"], &["-t", "-", "/a", "--mask", "/a"]] {
            assert!(refusal(words).starts_with("mask '"), "{words:?}");
        }
        assert!(refusal(&["--mask", "/a", "-t", "-", "/a"]).starts_with("mount on '/a'"));
    }

    /// M8: tmpfs options.
    #[test]
    fn only_harmless_tmpfs_options_are_taken() {
        for bad in [
            "uid=0",
            "mpol=bind",
            "size=18446744073709551616",
            "size=16777216T",
            "size=\n1",
            "",
            "size=",
            "size=0",
            "size=-1",
            "size=+1",
            "mode=99",
            "mode=17777",
            "mode=4777",
            "size=1M,",
            "huge=always",
            "size=1,gid=0",
            "size=k",
        ] {
            assert!(refusal(&["-t", bad, "/x"]).contains("tmpfs option"), "{bad}");
        }
        let wanted = Tmpfs { size: 1 << 30, inodes: 2048, mode: 0o1777 };
        assert_eq!(Tmpfs::parse::<Error>(b"size=1G,nr_inodes=2k,mode=1777").unwrap(), wanted);
    }

    #[test]
    fn shm_can_have_a_size() {
        with_plan(&["-t", "size=1G", "/dev/shm"], |plan| {
            assert_eq!(plan.unwrap().shm.size, 1 << 30);
        });
        assert!(
            refusal(&["-t", "-", "/dev/shm", "-t", "size=1M", "/dev/shm/"]).contains("two different mounts")
        );
    }

    #[test]
    fn devices_lie_below_dev() {
        with_plan(&["--dev", "/dev//snd/"], |plan| assert_eq!(plan.unwrap().devices, [b"snd"]));
        for bad in ["/dev", "/etc/x", "null", "/dev/pts/3", "/dev/shm", "/dev/../etc"] {
            assert!(refusal(&["--dev", bad]).contains("device"), "{bad}");
        }
    }

    #[test]
    fn here_is_a_volume_on_itself() {
        with_plan(&["-H"], |plan| {
            assert_eq!(
                plan.unwrap().mounts,
                [Mount { dst: b"/w", source: Source::Bind { src: b"/w", writable: true } }]
            );
        });
    }

    /// F2: tables.
    #[test]
    fn the_number_of_mounts_is_bounded() {
        let args: Vec<&str> = ["-v", "/x", "/y"].into_iter().cycle().take(3 * (MOST_MOUNTS + 1)).collect();
        assert!(refusal(&args).contains("too many"));
    }
}
