//! listing: `ps` lists the caller's instances, and no others.

use crate::support::{
    Cmd, args, command_of, fixture, instance, instance_of_root, nested, on_a_host, scratch, selfdock,
};
use rstest::rstest;
use std::path::Path;

#[test]
fn an_instance_is_listed_with_its_command_and_root() {
    let image = fixture("busybox");
    let instance = instance(args!["--root", &image]);
    let table = Cmd::new(args!["ps"]).ok();
    let row = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(&instance.pid().to_string()))
        .unwrap();
    let fields: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((fields[2], fields[4], fields[5]), ("1", image.to_str().unwrap(), "cat"));
    assert!(table.lines().next().unwrap().contains("COMMAND LINE"));
}

#[test]
fn a_relative_root_is_listed_with_its_absolute_path() {
    let image = fixture("busybox");
    let (parent, name) = (image.parent().unwrap(), image.file_name().unwrap());
    for how in [&[][..], &["--unprivileged"]] {
        let words = how.iter().map(Into::into).chain(args!["--root", name, "cat"]);
        let instance = Cmd::run(words).current_dir(parent).spawn().that_repeats();
        let table = Cmd::new(args!["ps"]).ok();
        let row =
            table.lines().find(|row| row.trim_start().starts_with(&format!("{} ", instance.pid()))).unwrap();
        assert_eq!(row.split_whitespace().nth(4), image.to_str(), "{table}");
    }
}

/// A layer named like `L` is not `/+L`.
#[test]
fn layers_are_listed_with_their_absolute_paths() {
    let dir = scratch();
    let places = ["one/opt/x", "t w o/opt/y"].map(|place| dir.path().join(place));
    places.iter().for_each(|place| std::fs::create_dir_all(place).unwrap());
    // With a copy, `/` is shown by another path.
    for how in [&[][..], &["--unprivileged"], &["-o", "one", "/opt/x"]] {
        let words =
            how.iter().map(Into::into).chain(args!["--root", "/", "--root", "one", "--root", "t w o", "cat"]);
        let instance = Cmd::run(words).current_dir(dir.path()).spawn().that_repeats();
        let (path, pid) = (dir.path().display(), instance.pid());
        let table = Cmd::new(args!["ps"]).ok();
        assert!(table.contains(&format!(" / + {path}/one + '{path}/t w o' cat")), "{table}");
        let json = Cmd::new(args!["ps", "--json"]).ok();
        let object = json.lines().find(|line| line.starts_with(&format!("{{\"pid\":{pid},"))).unwrap();
        assert!(object.contains(&format!("\"root\":\"/ + {path}/one + {path}/t w o\"")), "{json}");
    }
}

/// While an instance is built, its command has the command line of selfdock.
#[test]
fn the_command_is_shown_and_not_selfdocks_own_line() {
    for _ in 0..20 {
        let instance = Cmd::run(args!["-C", "/", "cat", "-"]).spawn();
        let pid = instance.pid().to_string();
        // However early ps runs.
        crate::support::wait_until("the instance is listed", || {
            let table = Cmd::new(args!["ps"]).ok();
            let row = table.lines().find(|row| row.split_whitespace().next() == Some(&pid));
            assert!(row.iter().all(|row| row.ends_with(" cat -")), "{table}");
            row.is_some()
        });
    }
}

#[test]
fn the_list_is_repeated_until_a_signal_ends_it() {
    let instance = instance([]);
    let mut watch = Cmd::new(args!["ps", "--watch"]).spawn();
    let pid = format!("{} ", instance.pid());
    let mut seen = 0;
    while seen < 2 {
        seen += usize::from(watch.line().trim_start().starts_with(&pid));
    }
    watch.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&watch.wait()), Some(15));
    // It also ends when the reader closes the pipe.
    let script = "$SELFDOCK ps --watch | head -1";
    assert!(Cmd::program(args!["sh", "-c", script]).env("SELFDOCK", selfdock()).ok().contains("PID"));
}

#[test]
fn the_json_is_json() {
    let instance = instance(nested(1, []));
    let script = "import json, sys\nfor i in json.load(sys.stdin): \
                  print(i['pid'], i['level'], i['command'][0], i['command_pid'])";
    let text = Cmd::new(args!["ps", "--json"]).ok();
    let seen = Cmd::program(args!["python3", "-c", script]).stdin(&text).ok();
    let outer = format!("{} 1 ", instance.pid());
    assert!(seen.lines().any(|line| line.starts_with(&outer)), "{seen}");
    let inner = command_of(instance.pid());
    assert!(seen.lines().any(|line| line == format!("{inner} 2 cat {}", command_of(inner))), "{seen}");
}

#[test]
fn others_instances_are_not_listed() {
    let mut other = instance_of_root();
    let table = Cmd::new(args!["ps"]).ok();
    let pid = other.pid().to_string();
    assert!(!table.lines().any(|line| line.split_whitespace().next() == Some(pid.as_str())), "{table}");
    other.close();
    other.wait();
}

#[test]
fn inside_only_inner_instances_are_listed() {
    let _outside = instance([]);
    let table = Cmd::run(args![selfdock(), "ps"]).ok();
    assert_eq!(table.lines().count(), 1, "{table}");
}

/// An instance is listed even if its processes cannot be inspected: the program is not readable, or has made itself
/// undumpable.
#[rstest]
#[case::not_readable("/srv/closed 9", "/srv/closed 9", false)]
#[case::closed_by_itself("python3 -c \"$CLOSED\" undumpable", "undumpable", false)]
#[case::beside_one_that_can_be_read("sh -c '/srv/closed 9; :'", "/srv/closed 9; :", true)]
fn an_instance_that_cannot_be_read_is_listed(
    #[case] command: &str,
    #[case] shown: &str,
    #[case] can_be_entered: bool,
) {
    // It takes the name when it is closed.
    const CLOSED: &str = "import ctypes, time; libc = ctypes.CDLL(None); libc.prctl(4, 0, 0, 0, 0); \
                          libc.prctl(15, b'closed', 0, 0, 0); time.sleep(9)";
    let changes = "cp bin/sleep srv/closed; chmod 711 srv/closed";
    let script = format!(
        "setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups $SD -m /srv /srv run {command} & target=$!
         is_up() {{ for p in $target $(pgrep -P $target); do pgrep -xP $p closed && return; done; }} >&2
         until is_up; do sleep 0.02; done
         me $SD ps | grep \"^ *$target \" | grep -c -F '{shown}'; me $SD enter $target echo entered; kill $target; wait"
    );
    let ran = on_a_host(changes, &script).env("CLOSED", CLOSED).output();
    let (seen, said) = match can_be_entered {
        true => ("1\nentered\n", ""),
        false => ("1\n", "undumpable or not readable (sh -c 'CMD; :'"),
    };
    assert_eq!(ran.stdout, seen, "{}", ran.stderr);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

/// ps does not claim that there are no instances if it cannot see them.
#[rstest]
#[case::invisible("2")]
#[case::by_its_name("invisible")]
fn ps_says_if_proc_hides_processes(#[case] hidepid: &str) {
    let changes = format!("mount -t proc -o hidepid={hidepid} proc proc");
    let script = "user=\"setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups\"
        $user $SD run sleep 9 & target=$!; sleep 0.2
        command=$(pgrep -x -P $target sleep)
        $user $SD ps; $user $SD enter $target true; $user $SD enter $command true
        kill $target; $user $SD enter 4000000 true";
    let ran = on_a_host(&changes, script).output();
    let said: Vec<&str> = ran.stderr.lines().collect();
    let expected =
        ["(hidepid)", "or its supervisor (hidepid)", "or its supervisor (hidepid)", "no such process"];
    assert_eq!(said.len(), expected.len(), "{}", ran.stderr);
    assert!(said.iter().zip(expected).all(|(line, words)| line.contains(words)), "{}", ran.stderr);
    assert_eq!(on_a_host("", "me $SD ps").output().stderr, "");
}

/// It is not the place where the copy was made.
#[rstest]
fn the_root_of_a_copy_is_what_was_copied(
    #[values("run", "--unprivileged run")] words: &str,
    #[values("/", "IMAGE")] source: &str,
) {
    let words = words.split(' ').map(Into::into);
    let image = fixture("debian");
    let source = if source == "/" { Path::new("/") } else { &image };
    let instance = Cmd::new(args!["-o", source, "/"].into_iter().chain(words).chain(args!["cat"]));
    let instance = instance.spawn().that_repeats();
    let table = Cmd::new(args!["ps"]).ok();
    let row =
        table.lines().find(|row| row.trim_start().starts_with(&format!("{} ", instance.pid()))).unwrap();
    assert_eq!(row.split_whitespace().nth(4), source.to_str(), "{table}");
}

/// The values of --root are relative, with all that a path can have in it, and the image is mounted in parts.
#[rstest]
#[case::below("--root one", "AT/one")]
#[case::here("--root .", "AT")]
#[case::of_the_parent("--root ../NAME/one", "AT/one")]
#[case::the_parent("-C / --root ..", "BELOW")]
#[case::with_mounts("--root one -v two /new/x -v two /two/new -t - /opt", "AT/one")]
#[case::beside_a_copy("--root one -o two /mnt", "AT/one")]
#[case::in_a_copy("--root one -o . /mnt", "AT/one")]
#[case::beside_an_attendant("--root one --output-limit 1M", "AT/one")]
#[case::a_copy("--root one -o / /", "AT/one")]
#[case::a_copy_of_a_directory("-o one /", "AT/one")]
#[case::a_copy_of_layers("--root one --root two -o / /", "AT/one + AT/two")]
#[case::layers("--root one --root ./two/.", "AT/one + AT/two")]
#[case::the_host("--root /", "/")]
#[case::a_copy_of_the_host("-o / / -v two /usr/new/x -t - /usr/share/new", "/")]
#[case::kept_changes("-o one / --changes ../kept", "AT/one")]
#[case::kept_changes_of_the_host("-o / / --changes ../kept", "/")]
fn a_root_is_listed_as_it_is(
    #[case] options: &str,
    #[case] root: &str,
    #[values("", "--unprivileged")] mode: &str,
    #[values(false, true)] is_nested: bool,
) {
    // Changes cannot lie in what an overlay shows, and an image is not mounted on itself.
    let base = tempfile::tempdir_in(std::env::var_os("HOME").expect("a home")).unwrap();
    let (below, at) = (base.path().display().to_string(), base.path().join("at"));
    let prepare = "mkdir -p at/one at/two/opt/x; for dir in . at at/one; do cp -a $IMAGE/bin $dir; done";
    let prepare = Cmd::program(args!["sh", "-e", "-c", prepare]).env("IMAGE", fixture("busybox"));
    prepare.current_dir(base.path()).ok();
    let name = at.file_name().unwrap().to_string_lossy();
    let options = options.replace("NAME", &name);
    let words = [mode].into_iter().chain(options.split(' ')).filter(|word| !word.is_empty()).map(Into::into);
    let inner = [selfdock().into()].into_iter().chain(words).chain(args!["run", "cat"]);
    let outer = if is_nested { args![selfdock(), "-b", base.path(), "run"].to_vec() } else { Vec::new() };
    let instance = Cmd::program(outer.into_iter().chain(inner)).current_dir(&at).spawn().that_repeats();
    let pid = if is_nested { command_of(instance.pid()) } else { instance.pid() };
    let json = Cmd::new(args!["ps", "--json"]).ok();
    let object = json.lines().find(|line| line.starts_with(&format!("{{\"pid\":{pid},"))).unwrap();
    let root = root.replace("AT", &at.to_string_lossy()).replace("BELOW", &below);
    assert!(object.contains(&format!("\"root\":\"{root}\"")), "{root}: {object}");
}

/// The copy is then made in parts.
#[rstest]
fn a_copy_of_the_host_is_listed_as_such_whatever_is_mounted_in_it(
    #[values("", "--unprivileged")] mode: &str,
    #[values("/usr/local/share", "/usr/new", "/etc/new")] place: &str,
) {
    let options = mode.split_whitespace().map(Into::into);
    let inner = [selfdock().into()].into_iter().chain(options).chain(args!["-o", "/", "/", "run", "cat"]);
    let instance = Cmd::new(args!["-t", "-", place, "run"].into_iter().chain(inner)).spawn().that_repeats();
    let json = Cmd::new(args!["ps", "--json"]).ok();
    let inner = format!("{{\"pid\":{},", command_of(instance.pid()));
    let object = json.lines().find(|line| line.starts_with(&inner)).unwrap();
    assert!(object.contains("\"root\":\"/\""), "{object}");
}
