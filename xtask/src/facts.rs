//! Facts that stand in several files. Each has one place in the code; messages, documents and tests that repeat it
//! must say the same.

use crate::run::{Context, Result, root};
use std::fs;

/// A fact: its file, the text before and after it there, and the texts that repeat it, each with its file. `{}` stands
/// for the fact.
struct Fact {
    file: &'static str,
    around: (&'static str, &'static str),
    repeated: &'static [(&'static str, &'static str)],
}

const fn fact(
    file: &'static str,
    around: (&'static str, &'static str),
    repeated: &'static [(&'static str, &'static str)],
) -> Fact {
    Fact { file, around, repeated }
}

const README: &str = "README.md";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const SECURITY: &str = "SECURITY.md";
const CONTRIBUTING: &str = "CONTRIBUTING.md";
const RECIPES: &str = "docs/recipes.md";
const MAN: &str = "xtask/src/man.rs";
const DETAILS: &str = "xtask/src/man/details.roff";

const FACTS: &[Fact] = &[
    fact("src/plan.rs", ("MOST_MOUNTS = ", ","), &[(README, " {} mounts"), (DETAILS, "{} mounts")]),
    fact("src/plan.rs", ("MOST_LAYERS = ", ","), &[(README, " {} layers"), (DETAILS, " {} layers")]),
    fact("src/layers.rs", ("MOST_BINDS = ", ","), &[(ARCHITECTURE, " {} binds"), (DETAILS, " {} entries")]),
    fact(
        "src/plan.rs",
        ("DEFAULT: Tmpfs = Tmpfs { size: ", " << 20"),
        &[
            (README, "its own, {} MiB"),
            (README, "private, {} MiB each"),
            (RECIPES, "/tmp has {} MiB"),
            (RECIPES, "with {} MiB each"),
            (SECURITY, " {} MiB each"),
            (MAN, "a tmpfs has {} MiB"),
            (DETAILS, " {} MiB and"),
        ],
    ),
    fact(
        "src/plan.rs",
        ("DEFAULT: Tmpfs = Tmpfs { size: 64 << 20, inodes: ", ","),
        &[(MAN, "{} files and mode"), (DETAILS, " {} files each")],
    ),
    fact("src/about/data.rs", ("MOST_MIB = ", ","), &[(RECIPES, "at most {} MiB"), (MAN, "{} MiB. So bash")]),
    fact(
        "src/about/overlay.rs",
        ("ROOM: Tmpfs = Tmpfs { size: ", " << 30"),
        &[
            ("src/about/presets.rs", "size={}G,"),
            (README, "more than {} GiB of changes"),
            (README, "home of {} GiB"),
            (MAN, "tmpfs of {} GiB"),
            (DETAILS, "up to {} GiB"),
        ],
    ),
    fact(
        "src/about/doctor.rs",
        ("DEEPEST: usize = ", ";"),
        &[
            ("src/advice.rs", "{} instances are nested"),
            (README, " {} levels deep"),
            (DETAILS, "nest {} levels deep"),
        ],
    ),
    fact(
        "src/cli.rs",
        ("None => (word, &b\"", "\"[..])"),
        &[(README, "after GRACE ({} seconds)"), (MAN, "(default: {} seconds)")],
    ),
    fact(
        "src/cli.rs",
        ("(1..=", ").contains(&name.len())"),
        &[("src/cli.rs", "\"1 to {} letters"), (MAN, "up to {} letters")],
    ),
    fact(
        "src/stage.rs",
        ("MOST_ENTRIES = ", ","),
        &[
            (ARCHITECTURE, "with more than {}"),
            (DETAILS, "more than {} entries"),
            ("tests/suite/mount_points.rs", "refused(\"{}\")"),
        ],
    ),
    fact(
        "xtask/src/elf.rs",
        ("LARGEST: usize = ", " << 10"),
        &[
            (ARCHITECTURE, "At most {} KiB"),
            (SECURITY, "at most {} KiB"),
            (CONTRIBUTING, "at most {} KiB"),
            ("docs/performance.md", "At most {} KiB"),
            ("docs/history.md", "at most {} KiB"),
            ("xtask/src/check.rs", "at most {} KiB"),
        ],
    ),
    fact(
        "Cargo.toml",
        ("rust-version = \"", "\""),
        &[
            (README, "Rust {} or later"),
            (CONTRIBUTING, "Rust {} or later"),
            ("docs/where-it-runs.md", "Rust {} or later"),
            ("fuzz/Cargo.toml", "rust-version = \"{}\""),
            ("tests/Cargo.toml", "rust-version = \"{}\""),
            ("xtask/Cargo.toml", "rust-version = \"{}\""),
            ("xtask/bare/Cargo.toml", "rust-version = \"{}\""),
        ],
    ),
    fact(
        "src/about/group.rs",
        ("PATIENCE: Duration = Duration { seconds: ", ","),
        &[("src/about/group.rs", " {} seconds\"")],
    ),
    fact(
        "src/about/front.rs",
        ("MOST_FILES: usize = ", ";"),
        &[("src/about/front.rs", "than {} files include")],
    ),
    fact(
        "src/about/proxy.rs",
        ("PORT: u16 = ", ";"),
        &[(DETAILS, "Port {} of"), ("tests/programs/exchange_data.py", "'127.0.0.1', {}")],
    ),
    fact(
        "src/host.rs",
        ("ABOUT: &str = \"", "\""),
        &[("tests/suite/support/place.rs", "\"{}\""), ("tests/bin/torture/faults.rs", "\"{}\"")],
    ),
    fact("src/host.rs", ("LIB: &str = \"", "\""), &[("tests/suite/support/place.rs", "\"{}\"")]),
];

/// Finds texts that do not say what the code has.
pub fn check(faults: &mut Vec<String>) -> Result {
    for Fact { file, around: (before, after), repeated } in FACTS {
        let read = |name: &str| fs::read_to_string(root().join(name)).context(name);
        let text = read(file)?;
        let Some(fact) = between(&text, before, after) else {
            faults.push(format!("{file}: has no '{before}…{after}', which facts.rs looks for"));
            continue;
        };
        for (place, words) in *repeated {
            let words = words.replace("{}", fact);
            if !read(place)?.contains(&words) {
                faults.push(format!("{place}: does not say '{words}', as {file} has '{before}{fact}'"));
            }
        }
    }
    Ok(())
}

/// The text between these two, which stand in one line.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.lines().next()?.split_once(after).map(|(fact, _)| fact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_found_in_its_line() {
        let text = "const OTHER: u8 = 7;\nconst MOST: u8 = 16; // a;\n";
        assert_eq!(between(text, "MOST: u8 = ", ";"), Some("16"));
        assert_eq!((between(text, "LEAST: u8 = ", ";"), between(text, "OTHER: u8 = ", "a;")), (None, None));
    }
}
