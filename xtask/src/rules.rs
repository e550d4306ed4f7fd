//! Rules of the tree that no other tool checks.

use crate::properties::PROPERTIES;
use crate::run::{Result, root};
use crate::source::{Line, files, lines, tests_in};
use crate::{documents, facts, imports};
use std::fs;

/// Files of the trusted package that may hold unsafe code, and the directory of others.
const UNSAFE: [&str; 2] = ["src/sys/", "src/start.rs"];
/// The roots of crates, which deny unsafe code in all other modules.
const ROOTS: [&str; 3] = ["src/lib.rs", "src/main.rs", "src/about_main.rs"];
/// Programs of the bench, with no library between them and the kernel.
const UNSAFE_HELPERS: &str = "xtask/bare/src/";
/// Words that mark unfinished work. They are split, so that this file does not contain them.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];
/// A path of the build machine: in a copy of a checkout with built files it leads to the original.
const BUILT_IN_PATH: &str = concat!("env!(\"CARGO_", "MANIFEST_DIR\")");
const WIDEST: usize = 120;
/// A table with one entry on each line, where possible.
const TABLE: &str = "src/options.rs";

/// Finds all violations.
pub fn check() -> Result {
    let mut faults = Vec::new();
    for file in files()? {
        let name = file.strip_prefix(root()).unwrap_or(&file).to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        text_rules(&name, &text, &mut faults);
        if name.ends_with(".rs") {
            rust_rules(&name, &lines(&text), &mut faults);
        }
    }
    imports::check(&mut faults)?;
    facts::check(&mut faults)?;
    property_rules(&mut faults);
    documents::check(&mut faults)?;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n  ")) }
}

fn text_rules(name: &str, text: &str, faults: &mut Vec<String>) {
    let narrow = [".rs", ".sh", ".toml", ".yml", ".md"].iter().any(|end| name.ends_with(end));
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        for word in UNFINISHED.iter().filter(|word| line.contains(*word)) {
            faults.push(format!("{at}: unfinished work ({word})"));
        }
        if line.contains(BUILT_IN_PATH) {
            faults.push(format!("{at}: a path of the build machine; get it from cargo at run time"));
        }
        // A line of a Markdown table cannot be broken.
        if narrow && name != TABLE && !line.starts_with('|') && line.chars().count() > WIDEST {
            faults.push(format!("{at}: wider than {WIDEST} characters"));
        }
    }
}

fn rust_rules(name: &str, lines: &[Line], faults: &mut Vec<String>) {
    let is_system = UNSAFE.iter().any(|place| name.starts_with(place));
    let allowed = is_system || name.starts_with(UNSAFE_HELPERS);
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| line.has_word("unsafe")) {
        let at = format!("{name}:{}", index + 1);
        if !allowed {
            faults.push(format!("{at}: unsafe code belongs in {}", UNSAFE.join(" and ")));
        } else if !is_said_above(lines, index, &["SAFETY:", "# Safety"]) {
            faults.push(format!("{at}: unsafe without a `SAFETY:` comment above it"));
        }
    }
    let is_out_of_line = |line: &Line| line.code.contains("#[inline(never)]");
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| is_out_of_line(line)) {
        if name.starts_with("src/") && !is_said_above(lines, index, &[" bytes"]) {
            faults.push(format!("{name}:{}: out of line without a measurement in bytes above it", index + 1));
        }
    }
    let denies = lines.iter().any(|line| line.code.contains("#![deny(unsafe_code)]"));
    if ROOTS.contains(&name) && !denies {
        faults.push(format!("{name}: lacks #![deny(unsafe_code)]"));
    }
}

/// Whether the comment in the line itself, or above its statement, has one of these words.
fn is_said_above(lines: &[Line], index: usize, words: &[&str]) -> bool {
    let says = |line: &Line| words.iter().any(|word| line.comment.contains(word));
    let above = lines[..index].iter().rev();
    let mut own = above.take_while(|line| !line.comment.is_empty() || continues(&line.code));
    says(&lines[index]) || own.any(says)
}

/// Whether code continues in the next line: an attribute, or the beginning of a statement.
fn continues(code: &str) -> bool {
    let code = code.trim_end();
    code.trim_start().starts_with("#[") || code.ends_with(['=', '(', ','])
}

/// Checks that every property is a module with tests, which begins with its promise.
fn property_rules(faults: &mut Vec<String>) {
    for property in PROPERTIES {
        let file = format!("tests/suite/{}.rs", property.name.replace('-', "_"));
        let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
        if tests_in(&text).is_empty() {
            faults.push(format!("{file}: property '{}' has no test", property.name));
        }
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        if head.join(" ") != format!("{}: {}", property.name, property.promise) {
            faults.push(format!("{file}: does not begin with '//! {}: ' and its promise", property.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, text: &str) -> usize {
        let mut faults = Vec::new();
        rust_rules(name, &lines(text), &mut faults);
        faults.len()
    }

    #[test]
    fn unsafe_code_has_its_place_and_its_reason() {
        assert_eq!(faults("src/sys/time.rs", "// SAFETY: because.\nlet x =\n    unsafe { y() };"), 0);
        assert_eq!(faults("src/sys/time.rs", "/// # Safety\n/// Never.\n#[inline]\npub unsafe fn f() {}"), 0);
        assert_eq!(faults("src/sys/time.rs", "// SAFETY: because.\na();\nunsafe { y() };"), 1);
        assert_eq!(faults("src/plan.rs", "// SAFETY: because.\nunsafe { y() };"), 1);
        assert_eq!(faults("src/lib.rs", "mod plan;"), 1);
    }

    #[test]
    fn what_is_kept_out_of_line_was_measured() {
        assert_eq!(faults("src/plan.rs", "/// Plans.\n// 12 bytes less.\n#[inline(never)]\nfn f() {}"), 0);
        assert_eq!(
            faults("src/plan.rs", "// 12 bytes.\nfn f() {}\n/// Plans.\n#[inline(never)]\nfn g() {}"),
            1
        );
        assert_eq!(faults("xtask/src/run.rs", "#[inline(never)]\nfn f() {}"), 0);
    }

    #[test]
    fn a_copy_of_a_checkout_is_not_led_back_to_the_original() {
        let mut faults = Vec::new();
        text_rules("xtask/src/run.rs", &format!("Path::new({BUILT_IN_PATH})"), &mut faults);
        text_rules("xtask/src/run.rs", "std::env::var_os(PACKAGE)", &mut faults);
        assert_eq!(faults.len(), 1);
    }
}
