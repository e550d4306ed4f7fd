//! Changes to an environment: a name has the value that was set last, and a removed name is missing.

use super::{Input, is_one_line};
use crate::cli::EnvChange;
use crate::command::{change, variable};
use crate::error::Error;
use crate::text::c_string;
use alloc::vec::Vec;

const NAMES: [&[u8]; 5] = [b"A", b"AB", b"B", b"A_B", b"HOME"];

/// The input has entries of the caller's environment, then changes.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (mut caller, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..input.below(6) {
        let (name, value) = (input.one_of(&NAMES), input.word());
        caller.push(c_string(&[name, b"=", value].concat()).expect("no NUL"));
        plain.push((name, value.to_vec()));
    }
    let mut changes = Vec::new();
    let mut is_whole = true;
    while !input.is_over() && changes.len() < 30 {
        let (kind, name) = (input.below(8), input.one_of(&NAMES));
        match kind {
            0 => {
                changes.push(EnvChange::Clear);
                plain.clear();
                continue;
            }
            1 | 2 => changes.push(EnvChange::Unset(name)),
            _ => {}
        }
        plain.retain(|(other, _)| *other != name);
        if kind > 2 {
            let value = input.word();
            // Only a NUL byte makes a value invalid.
            let value = if kind == 3 && value.len() > 3 { b"\0" } else { value };
            is_whole &= !value.contains(&0);
            changes.push(EnvChange::Set(name, value));
            plain.push((name, value.to_vec()));
        }
    }
    match change::<Error>(&caller, &changes) {
        Ok(changed) => {
            let entries: Vec<Vec<u8>> = changed.iter().map(|entry| entry.to_bytes().to_vec()).collect();
            let wanted: Vec<Vec<u8>> =
                plain.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
            assert!(is_whole && entries == wanted, "{changes:?}");
            for name in NAMES {
                let first = plain.iter().find(|(other, _)| *other == name).map(|(_, value)| &value[..]);
                assert_eq!(variable(&changed, name), first, "{changes:?}");
            }
        }
        Err(error) => {
            assert!(!is_whole, "{changes:?}");
            is_one_line(&error);
        }
    }
}
