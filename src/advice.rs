//! What an errno means when selfdock makes namespaces or processes.

use crate::error::Error;
use crate::process;
use rustix::io::Errno;

/// For ENOSPC of unshare(2).
pub const TOO_MANY: &str =
    "a limit of namespaces (user.max_*_namespaces) is reached: 'selfdock doctor' says which";

/// For EAGAIN of clone(2).
pub const CROWDED: &str = "the limit of processes (ulimit -u) or of memory is reached";

/// For ENOENT of the start directory.
pub const NOT_SHOWN: &str = "the instance has no such directory; -b shows one of the host";

/// For EINVAL of `move_mount(2)`.
pub const DIRECTORY_ON_FILE: &str = "a directory cannot be bound on a file";
pub const FILE_ON_DIRECTORY: &str = "a file cannot be bound on a directory";

/// Adds advice to an error of unshare(2) or clone(2).
pub fn of_start(error: Error, unprivileged: bool) -> Error {
    let error = error.hint_if(Errno::AGAIN, CROWDED).hint_if(
        Errno::PERM,
        "selfdock has no privilege, and no user namespace can be made here: 'selfdock doctor' says why",
    );
    if unprivileged && user_namespaces_are_off() {
        return error.hint("user namespaces are disabled (user.max_user_namespaces is 0)");
    }
    let too_deep = "32 instances are nested (a #! line with selfdock must name an interpreter), or \
                    user.max_pid_namespaces is reached";
    error.hint_if(Errno::NOSPC, too_deep).hint_if(Errno::USERS, too_deep)
}

fn user_namespaces_are_off() -> bool {
    process::read(b"/proc/sys/user/max_user_namespaces").is_some_and(|text| text.trim_ascii() == b"0")
}
