//! Names in messages. Whatever bytes a name has, it breaks no line and does not control the terminal. Two different
//! names look different.

use super::Input;
use crate::error::Quoted;
use alloc::string::ToString;

/// The input has two names.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (one, other) = (input.word(), input.rest());
    let [shown, of_other] = [one, other].map(|name| Quoted(name).to_string());
    for text in [&shown, &of_other] {
        assert!(text.starts_with('\'') && text.ends_with('\'') && text.len() > 1);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let is_odd = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!text.chars().any(is_odd), "{text:?}");
    }
    assert_eq!(shown == of_other, one == other);
}
