//! Files of names, of users and of groups: the line of an id, and what of a group is shown to an instance.

use super::Input;
use crate::names::{line_of, own_part};
use crate::text::join;
use alloc::format;
use alloc::vec::Vec;

/// A text, and an id in digits.
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
    // Its members are not the instance's business.
    assert_eq!(group, [fields[..3].join(&b':'), b":".to_vec()].concat());
    assert_eq!(line_of(group, id.as_bytes()), Some(group));
}
