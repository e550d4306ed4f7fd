//! layers: Several root filesystems can be layers of one, and a later layer lies over the earlier ones.

use crate::support::{Cmd, args, fixture, scratch};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A directory with these files in it.
fn layer(files: &[(&str, &str)]) -> TempDir {
    let dir = scratch();
    for (path, text) in files {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

fn stacked(layers: &[&TempDir]) -> Vec<std::ffi::OsString> {
    let base = args!["--root", fixture("busybox")].to_vec();
    base.into_iter().chain(layers.iter().flat_map(|layer| args!["--root", layer.path()])).collect()
}

#[test]
fn a_later_layer_adds_and_replaces() {
    let one = layer(&[("etc/image", "one"), ("opt/tool/version", "1"), ("usr/share/a/b/one", "x")]);
    let two = layer(&[("etc/image", "two"), ("usr/share/a/b/two", "y"), ("bin/only-in-two", "z")]);
    let script =
        "cat /etc/image /opt/tool/version; echo; ls /usr/share/a/b; cat /bin/only-in-two; test -x /bin/ls";
    assert_eq!(Cmd::run(stacked(&[&one, &two])).sh(script).ok(), "two1\none\ntwo\nz");
}

#[test]
fn a_file_or_a_link_replaces_a_directory() {
    let one = layer(&[("srv/data/file", "below")]);
    let two = layer(&[("srv/other", "above")]);
    fs::remove_dir_all(two.path().join("srv")).unwrap();
    symlink("/etc", two.path().join("srv")).unwrap();
    assert_eq!(Cmd::run(stacked(&[&one, &two])).sh("cat /srv/image").ok(), "busybox");
}

#[test]
fn layers_are_read_only_and_stay_unchanged() {
    let one = layer(&[("opt/file", "x"), ("etc/extra", "y")]);
    let ran = Cmd::run(stacked(&[&one]))
        .sh("echo z > /opt/file; echo z > /etc/extra; touch /etc/new /new")
        .output();
    assert_eq!(ran.stderr.matches("Read-only").count(), 4, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(one.path().join("opt/file")).unwrap(), "x");
    assert_eq!(fs::read_dir(one.path()).unwrap().count(), 2);
}

#[test]
fn build_writes_into_the_last_layer() {
    let one = layer(&[("opt/base/file", "x")]);
    let two = layer(&[("opt/project/file", "y")]);
    let words = args!["build"].into_iter().chain(stacked(&[&one, &two]));
    let ran = Cmd::new(words).sh("echo new > /opt/project/made; echo new > /opt/base/made").output();
    assert!(ran.stderr.contains("Read-only"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(two.path().join("opt/project/made")).unwrap(), "new\n");
    assert!(!one.path().join("opt/base/made").exists());
}

#[test]
fn too_many_layers_are_refused() {
    let words = (0..65).flat_map(|_| args!["--root", fixture("busybox")]);
    Cmd::run(words.chain(args!["true"])).refused("at most 64");
}

/// The caller can nest directories as deep as it likes, and each level takes stack of a privileged process.
#[test]
fn shared_directories_that_are_nested_too_deep_are_refused() {
    let deep = "d/".repeat(1500) + "file";
    let (one, two) = (layer(&[(&deep, "x")]), layer(&[(&deep, "y")]));
    Cmd::run(stacked(&[&one, &two])).arg("true").refused("100 deep");
    let fine = "d/".repeat(90) + "file";
    let (one, two) = (layer(&[(&fine, "x")]), layer(&[(&fine, "y")]));
    assert_eq!(Cmd::run(stacked(&[&one, &two])).sh(format!("cat /{fine}")).ok(), "y");
}
