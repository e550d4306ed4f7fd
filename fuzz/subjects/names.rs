//! Files of user and group names: the line of an id, and the part of a group's line that an instance gets.

use super::Input;
use crate::names::{line_of, own_part};
use crate::text::join;
use alloc::format;
use alloc::vec::Vec;

/// The input has an id in digits, and a text.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let id = format!("{}", input.byte());
    let text = join(&[input.rest()]);
    let of_id =
        |line: &&[u8]| line.split(|byte| *byte == b':').collect::<Vec<_>>().get(2) == Some(&id.as_bytes());
    let wanted = text.split(|byte| *byte == b'\n').find(of_id);
    assert_eq!(line_of(text, id.as_bytes()), wanted);
    let Some(line) = wanted else { return };
    assert_eq!(own_part(b"/etc/passwd", line), line);
    let group = own_part(b"/etc/group", line);
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    // The instance does not get the members.
    assert_eq!(group, [fields[..3].join(&b':'), b":".to_vec()].concat());
    assert_eq!(line_of(group, id.as_bytes()), Some(group));
}
