//! Control groups in `/proc/PID/cgroup`: a process joins a group only if all its other groups are the same.

use super::{Input, is_one_line};
use crate::enter::group_to_join;
use crate::text::join;
use alloc::vec::Vec;

/// The input has two lists.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let theirs = join(&[input.word()]);
    let ours = join(&[input.word()]);
    let split = |text: &'static [u8]| {
        let lines = text.split(|byte| *byte == b'\n');
        lines.partition::<Vec<_>, _>(|line| line.starts_with(b"0::"))
    };
    let ((own, others), (_, our_others)) = (split(theirs), split(ours));
    match group_to_join(theirs, ours) {
        Ok(None) => assert_eq!(theirs, ours),
        Ok(Some(group)) => {
            assert_eq!(others, our_others);
            assert_eq!(own[0], [b"0::", group].concat());
        }
        Err(error) => {
            assert!(theirs != ours && (own.is_empty() || others != our_others));
            is_one_line(&error);
        }
    }
}
