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
    for how in [&[][..], &["--unprivileged"]] {
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
        false => ("1\n", "undumpable or not readable (started as sh -c 'CMD; :'"),
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
        command=$(pgrep -x -u $ME sleep -n)
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
