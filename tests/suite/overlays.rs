//! overlays: Changes to a copy leave its directory unchanged, and a copy permits no more than its directory.

use crate::support::{Dock, args, fixture, host_mounts, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use tempfile::TempDir;

/// A tree with some files.
fn tree() -> TempDir {
    let dir = scratch();
    for (name, text) in [("kept", "1"), ("changed", "2"), ("gone", "3"), ("sub/deep", "4"), ("whole/x", "5")]
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn listing(dir: &TempDir) -> String {
    let script = "cd \"$0\"; find . -type f -exec head -v -n 9 {} + | sort; ls -lnAR .";
    Dock::program(args!["sh", "-c", script, dir.path()]).ok()
}

/// Changes, removes and adds in the current directory.
const CHANGE: &str = "echo new > changed; rm gone; mkdir more; echo x > more/y; echo z > sub/deeper; rm -r whole; \
                      cat kept; cat changed; ls gone whole 2>/dev/null; ls more sub; true";
const CHANGED: &str = "1new\nmore:\ny\n\nsub:\ndeep\ndeeper";

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::in_an_image(args!["--root", fixture("busybox")])]
fn changes_to_a_copy_are_discarded<const N: usize>(#[case] options: [OsString; N]) {
    let dir = tree();
    let (before, mounts) = (listing(&dir), host_mounts());
    let words = options.into_iter().chain(args!["-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run"]);
    let seen = Dock::new(words.chain(args!["sh", "-c", CHANGE])).ok();
    assert_eq!(seen, CHANGED);
    assert_eq!((listing(&dir), host_mounts()), (before, mounts));
}

#[test]
fn the_plan_lists_an_overlay() {
    let plan = Dock::new(args!["--explain", "-o", "/etc", "/mnt/w", "run", "true"]).ok();
    assert!(plan.contains("overlay\t'/etc'\t'/mnt/w'\trw,nosuid,nodev"), "{plan}");
}

#[test]
fn a_copy_can_be_on_the_path_of_its_directory() {
    let dir = tree();
    let before = listing(&dir);
    let words = args!["-o", ".", dir.path(), "-m", dir.path(), "/mnt/orig", "run", "sh", "-c"];
    let script = "pwd; echo new > changed; cat /mnt/orig/changed";
    let seen = Dock::new(words).arg(script).current_dir(dir.path()).ok();
    // Every path in it refers to the copy.
    assert_eq!(seen, format!("{}\nnew", dir.path().display()));
    assert_eq!(listing(&dir), before);
}

#[test]
fn changes_can_be_kept_and_listed() {
    let (dir, kept) = (tree(), scratch());
    let before = listing(&dir);
    let place = kept.path().join("changes");
    let run = |script: &str| {
        let words = args!["--changes", place, "-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run", "sh", "-c"];
        Dock::new(words).arg(script).ok()
    };
    assert_eq!(run(CHANGE), CHANGED);
    let told = Dock::new(args!["changes", place]).ok();
    assert_eq!(told, "M changed\nD gone\nA more\nA more/y\nA sub/deeper\nD whole");
    // Another run continues with these changes.
    assert_eq!(run("cat changed; rm more/y"), "new");
    assert!(Dock::new(args!["changes", place]).ok().contains("A more\nA sub/deeper"));
    assert_eq!(listing(&dir), before);
    let other = tree();
    let words = args!["--changes", place, "-o", other.path(), "/mnt/w", "run", "true"];
    Dock::new(words).refused("it has the changes of another directory");
}

#[test]
fn a_copy_shows_and_permits_no_more_than_its_directory() {
    let script = "id -u; /mnt/s/probe as-root id -u 2>/dev/null || echo inert; \
                  ls /mnt/e/ldconfig 2>/dev/null || echo closed; rm -r /mnt/e/ldconfig 2>/dev/null || echo kept; \
                  grep -c CapEff:.0000000000000000 /proc/self/status";
    let words =
        args!["-o", "/var/cache", "/mnt/e", "-o", fixture("setuid"), "/mnt/s", "run", "sh", "-c", script];
    let own = nix::unistd::getuid();
    assert_eq!(Dock::new(words).ok(), format!("{own}\ninert\nclosed\nkept\n1"));
}

/// What the mount covers would become visible.
#[test]
fn a_directory_with_a_mount_in_it_is_not_copied() {
    Dock::new(args!["-o", fixture(""), "/mnt/w", "run", "true"]).refused("something is mounted in it");
}

#[test]
fn overlays_work_nested() {
    let dir = tree();
    let before = listing(&dir);
    let inner = args![selfdock(), "-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run", "sh", "-c", CHANGE];
    assert_eq!(Dock::run(args!["-v", dir.path(), dir.path()].into_iter().chain(inner)).ok(), CHANGED);
    assert_eq!(listing(&dir), before);
}

#[rstest]
#[case::missing(args!["-o", "/no/such", "/mnt/w"], "copy '/no/such': no such file")]
#[case::a_file(args!["-o", "/etc/passwd", "/mnt/w"], "copy '/etc/passwd': not a directory")]
#[case::closed(args!["-o", fixture("p"), "/mnt/w"], "permission denied")]
#[case::two_to_keep(args!["-o", "/etc", "/mnt/a", "-o", "/usr", "/mnt/b", "--changes", "/tmp/x"], "of one --overlay")]
#[case::nothing_to_keep(args!["--changes", "/tmp/x"], "there is no --overlay; add --overlay SRC DST")]
#[case::no_changes(args!["changes", "/etc"], "read the changes in '/etc'")]
fn what_cannot_be_copied_is_refused<const N: usize>(#[case] words: [OsString; N], #[case] why: &str) {
    let is_run = words[0] != *"changes";
    let run = Dock::new(words);
    if is_run {
        run.arg("run").arg("true").refused(why)
    } else {
        run.refused(why)
    };
}
