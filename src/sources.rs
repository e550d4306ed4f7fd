//! Opens what the caller named: once, with the caller's rights, before the instance covers anything. Later steps use
//! these descriptors only.

use crate::creds::Privileged;
use crate::dev::{self, Dev, Device, other_device, own_terminal};
use crate::error::{OrFail, Result, both, on};
use crate::files::{self, Identity, Kind};
use crate::host_root::HostRoot;
use crate::installation::{OpenProgram, Preparations, Programs, open_second};
use crate::layers::Layer;
use crate::mount::{Detached, find, make_private, of_files};
use crate::names::{self, Names};
use crate::plan::{Mount, Plan, Root, Source, Tmpfs};
use crate::procfs::Hidden;
use crate::sys::Attributes;
use crate::text::Bytes;
use alloc::vec::Vec;
use rustix::fs::OFlags;

/// The root filesystem, opened.
pub enum Image {
    /// The allowed part of the host's root filesystem.
    Host(HostRoot),
    /// A copy of a directory tree.
    Tree(Detached),
    /// Directories that are layers of one root filesystem.
    Layers(Vec<Layer>),
}

/// A mount of the plan, with its source opened.
pub struct Opened {
    /// Its mount point.
    pub dst: Bytes,
    /// What is mounted there.
    pub source: OpenSource,
}

/// A source of the plan, opened.
pub enum OpenSource {
    /// A file or directory of the caller's.
    Bind {
        /// Its path for the caller.
        src: Bytes,
        /// A copy of its mount.
        tree: Detached,
        /// A file, or a directory.
        kind: Kind,
    },
    /// A private tmpfs.
    Tmpfs(Tmpfs),
    /// A mask, which hides the path.
    Mask {
        /// The path may be missing.
        optional: bool,
    },
}

impl Default for Image {
    /// Nothing.
    fn default() -> Self {
        Image::Layers(Vec::new())
    }
}

/// Everything that an instance takes from the host, opened.
pub struct Sources {
    /// The root filesystem.
    pub image: Image,
    /// The caller's current directory.
    pub here: Option<Identity>,
    /// A procfs of the instance's PID namespace, for the cases in which it must be made early. In another root
    /// filesystem the caller may have no access to `/proc`. In unprivileged mode the kernel allows a new procfs only
    /// while another one is visible. The instance may also run in a user namespace of the caller's.
    /// `mount_too_revealing()`, fs/namespace.c.
    pub proc: Option<Detached>,
    /// What the caller's `/proc` hides.
    pub hidden: Hidden,
    /// The mounts of the plan.
    pub mounts: Vec<Opened>,
    /// The usual devices.
    pub dev: Dev,
    /// The devices that the caller asked for.
    pub devices: Vec<Device>,
    /// The programs of selfdock.
    pub programs: Programs,
    /// Files for host names and user names.
    pub names: Names,
}

impl Sources {
    /// Opens the image and all sources. `own` is selfdock's own file, to be bound inside.
    pub fn open(
        plan: &Plan<'static>,
        preparations: Preparations,
        own: Option<OpenProgram>,
        has_terminal: bool,
        privileged: &Privileged,
    ) -> Result<Self> {
        let here = files::identity_of(b".").ok();
        if !plan.mounts.is_empty() || !plan.devices.is_empty() || plan.root != Root::Host {
            // A copy of a tree leaves out unbindable mounts, and so uncovers what these cover. Private mounts are not
            // left out.
            make_private(Attributes::NONE)?;
        }
        let mut mounts = Vec::with_capacity(plan.mounts.len());
        for mount in &plan.mounts {
            mounts.push(open_mount(mount, privileged)?);
        }
        let mut devices = Vec::new();
        if has_terminal {
            devices.extend(own_terminal(privileged));
        }
        for path in &plan.devices {
            devices.push(other_device(path, privileged)?);
        }
        let program = own.as_ref().map(|own| own.path);
        let image = open_image(plan, preparations, program, privileged)?;
        let dev = match &image {
            Image::Host(root) if root.is_prepared() => Dev::InRoot,
            _ => dev::open(preparations.installation, privileged)?,
        };
        let is_visible = !plan.shows_second(preparations.installation.is_some());
        let second = if is_visible { None } else { program.and_then(|path| open_second(path, privileged)) };
        let names = names::open(plan, privileged)?;
        let early =
            privileged.in_own_namespace || !matches!(&image, Image::Host(root) if root.keeps_the_old());
        let hidden = Hidden::read(privileged)?;
        let proc = if early { Some(hidden.fresh(privileged)?) } else { None };
        let programs = Programs { own, second };
        Ok(Sources { image, here, proc, hidden, mounts, dev, devices, programs, names })
    }
}

// Out of line: 45 bytes less.
#[inline(never)]
fn open_mount(mount: &Mount<'static>, privileged: &Privileged) -> Result<Opened> {
    let source = match mount.source {
        Source::Bind { src, writable } => {
            let failed = both("bind {} on {}", src, mount.dst);
            let to_open = both("open {} to bind it on {}", src, mount.dst);
            let fd = find(src, OFlags::empty()).or_fail(to_open)?;
            let kind = Kind::of(&fd).or_fail(failed)?;
            let tree = Detached::copy(privileged, &fd, b"", of_files(writable)).or_fail(failed)?;
            OpenSource::Bind { src, tree, kind }
        }
        Source::Tmpfs(options) => OpenSource::Tmpfs(options),
        Source::Mask { optional } => OpenSource::Mask { optional },
    };
    Ok(Opened { dst: mount.dst, source })
}

fn open_image(
    plan: &Plan<'_>,
    preparations: Preparations,
    program: Option<&[u8]>,
    privileged: &Privileged,
) -> Result<Image> {
    let open = |dir: &[u8]| find(dir, OFlags::DIRECTORY).or_fail(on("use the root filesystem {}", dir));
    match &plan.root {
        Root::Host => HostRoot::open(privileged, preparations, &plan.mounts, program).map(Image::Host),
        Root::Dir(dir) => {
            let failed = on("use the root filesystem {}", dir);
            let tree = Detached::copy(privileged, open(dir)?, b"", of_files(plan.writable));
            Ok(Image::Tree(tree.or_fail(failed)?))
        }
        Root::Layers(dirs) => {
            let mut layers = Vec::with_capacity(dirs.len());
            for (i, dir) in dirs.iter().enumerate() {
                let writable = plan.writable && i + 1 == dirs.len();
                layers.push(Layer { dir: open(dir)?, attributes: of_files(writable) });
            }
            Ok(Image::Layers(layers))
        }
    }
}
