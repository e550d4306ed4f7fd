//! Files of `/proc` about a process: its status, the fields after its name, its arguments.

use super::Input;
use crate::process::{Process, after_name, field, split};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rustix::process::Pid;

/// The first byte chooses the file.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let pid = Pid::from_raw(7).expect("a PID");
    match input.below(3) {
        0 => {
            let text = input.rest();
            // Of several fields with one name the first counts, since the kernel writes its own first.
            if let Some(process) = Process::parse(pid, text) {
                assert!(field(text, "NSpid:").is_some() && process.depth > 0 && process.pid == pid);
            }
        }
        1 => as_it_was_meant(&mut input, pid),
        _ => {
            // A name can have any bytes. The kernel's names are short; these can be longer.
            let name = input.rest();
            let stat = [b"12 (", name, b") S 1 2 3"].concat();
            assert_eq!(after_name(&stat), Some(&b" S 1 2 3"[..]));
            let words: Vec<&[u8]> = name.split(|byte| *byte == 0).collect();
            let line: Vec<u8> = words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect();
            assert_eq!(split(line.leak()), words);
        }
    }
}

fn as_it_was_meant(input: &mut Input<'_>, pid: Pid) {
    let number = |input: &mut Input<'_>| {
        let byte = u32::from(input.byte());
        if byte & 1 == 0 { byte >> 1 } else { u32::MAX - (byte >> 1) }
    };
    let uids: [u32; 4] = core::array::from_fn(|_| number(input) & 0xffff_ff81);
    let gids: [u32; 4] = core::array::from_fn(|_| number(input) & 0xffff_ff81);
    let pids: Vec<u32> = (0..=input.below(4)).map(|_| u32::from(input.byte())).collect();
    let (state, parent, memory) = (input.one_of(b"RSDZXTI"), input.byte(), number(input));
    // The kernel escapes what could break the line.
    let name = input.rest().escape_ascii();
    let list = |numbers: &[u32]| numbers.iter().fold(String::new(), |text, one| format!("{text}\t{one}"));
    let text = format!(
        "Name:\t{name}\nState:\t{} (x)\nPPid:\t{parent}\nUid:{}\nGid:{}\nNSpid:{}\nVmRSS:\t {memory:>7} kB\n",
        char::from(state),
        list(&uids),
        list(&gids),
        list(&pids)
    );
    let process = Process::parse(pid, text.as_bytes()).expect("a whole status");
    let same = |ids: [u32; 4]| ids.iter().all(|id| *id == ids[0]).then_some(ids[0]);
    assert_eq!(process.ids, same(uids).zip(same(gids)));
    assert_eq!((process.depth, Some(&process.inner)), (pids.len(), pids.last()));
    assert_eq!(process.ended, matches!(state, b'Z' | b'X'));
    assert_eq!(process.parent.map_or(0, |pid| pid.as_raw_nonzero().get()), i32::from(parent));
    assert_eq!(process.memory, u64::from(memory));
}
