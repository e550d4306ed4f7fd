//! Imports of a group of modules run downward: a module imports only from those that its root lists below it. So
//! there is no circle, and the list is a reading order. ARCHITECTURE describes the modules in the same order.

use crate::run::{Context, Result, root};
use crate::source::lines;
use std::fs;
use std::path::{Path, PathBuf};

/// The roots of the groups, the directory of their modules, and how these name each other.
const FAMILIES: [(&str, &str, &str); 9] = [
    ("src/lib.rs", "src", "crate"),
    ("src/about/mod.rs", "src/about", "super"),
    ("src/sys/mod.rs", "src/sys", "super"),
    ("xtask/src/main.rs", "xtask/src", "crate"),
    ("xtask/src/bench.rs", "xtask/src/bench", "super"),
    ("xtask/src/kernels.rs", "xtask/src/kernels", "super"),
    ("xtask/src/mutants.rs", "xtask/src/mutants", "super"),
    ("tests/suite/support.rs", "tests/suite/support", "super"),
    ("xtask/src/torture.rs", "xtask/src/torture", "super"),
];

/// The document whose layout describes the modules, and how it writes those of a root.
const LAYOUT: &str = "ARCHITECTURE.md";
const DESCRIBED: [(&str, &str, &str); 2] =
    [("src/lib.rs", "src", "src/"), ("src/about/mod.rs", "src/about", "    ")];

/// Finds imports that run upward, and modules that the layout does not describe in their order.
pub fn check(faults: &mut Vec<String>) -> Result {
    let layout = fs::read_to_string(root().join(LAYOUT)).context(LAYOUT)?;
    for (list, dir, prefix) in DESCRIBED {
        let mut order = modules(&fs::read_to_string(root().join(list)).context(list)?);
        order.retain(|module| !files(&root().join(dir), module).is_empty());
        let described = described(&layout, prefix, &order);
        if described != order {
            faults.push(format!("{LAYOUT}: describes {described:?}, and {list} lists {order:?}"));
        }
    }
    for (list, dir, prefix) in FAMILIES {
        let text = fs::read_to_string(root().join(list)).context(list)?;
        let order = modules(&text);
        for (at, module) in order.iter().enumerate() {
            for file in files(&root().join(dir), module) {
                let text = fs::read_to_string(&file).context(file.display())?;
                for taken in taken(&text, prefix) {
                    if order[..at].contains(&taken) {
                        let file = file.strip_prefix(root()).unwrap_or(&file).display();
                        faults.push(format!(
                            "{file}: takes from '{taken}', which {list} lists above '{module}'"
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The modules that a root lists, in order.
fn modules(text: &str) -> Vec<String> {
    let name = |line: &str| {
        Some(line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// Which of these modules a layout describes, in its order: a line begins with the file or directory of one.
fn described(layout: &str, prefix: &str, modules: &[String]) -> Vec<String> {
    let name = |line: &str| {
        let word = line.strip_prefix(prefix)?.split(' ').next()?;
        Some(word.strip_suffix(".rs").or_else(|| word.strip_suffix('/'))?.to_owned())
    };
    layout.lines().filter_map(name).filter(|name| modules.contains(name)).collect()
}

/// The file of a module, or all files of its directory.
fn files(dir: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = vec![dir.join(format!("{module}.rs"))];
    let mut dirs = vec![dir.join(module)];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| file.is_file());
    files
}

/// The modules that a file imports, without its tests.
fn taken(text: &str, prefix: &str) -> Vec<String> {
    let code: String = lines(text)
        .iter()
        .map(|line| line.code.trim().to_owned())
        .take_while(|code| code != "#[cfg(test)]")
        .collect();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let prefix = format!("{prefix}::");
    let mut all = Vec::new();
    for (at, _) in code.match_indices(&prefix).filter(|(at, _)| !code[..*at].ends_with(is_name)) {
        let rest = &code[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            all.extend(
                top_level(list).map(|item| item.split(|c| !is_name(c)).next().unwrap_or_default().to_owned()),
            );
        } else {
            all.push(rest.split(|c| !is_name(c)).next().unwrap_or_default().to_owned());
        }
    }
    all
}

/// The items of a list up to its closing brace. Inner lists are parts of an item.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut is_over = false;
    list.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth < 0 || (depth == 0 && c == ',')
    })
    .map(str::trim)
    .take_while(move |item| !core::mem::replace(&mut is_over, item.is_empty()))
    .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_takes_is_found_in_lists_and_paths() {
        let text = "use crate::{a, b::{c, d}};\nuse crate::e::f;\n// crate::g\nfn h() { crate::i::j() }\n\
                    #[cfg(test)]\nuse crate::k;";
        assert_eq!(taken(text, "crate"), ["a", "b", "e", "i"]);
    }

    #[test]
    fn the_modules_of_a_layout_are_found_in_its_order() {
        let order = ["a", "b", "c"].map(String::from);
        let layout = "src/b/     files\n    c.rs   more\nsrc/a.rs   a file\nsrc/d.rs   another\n";
        assert_eq!(described(layout, "src/", &order), ["b", "a"]);
        assert_eq!(described(layout, "    ", &order), ["c"]);
    }

    #[test]
    fn modules_come_in_the_order_of_their_root() {
        assert_eq!(modules("//! x\nmod b;\n\npub mod a;\nuse c;"), ["b", "a"]);
    }
}
