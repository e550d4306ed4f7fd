//! Rules for the documents: everything that they name must exist.

use crate::run::{Context, Result, root};
use crate::source::{files, test_exists, tests_with_comments};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The classes of mistakes that programs like this one have made.
const MISTAKES: &str = "docs/mistakes.md";
/// The tests that answer them.
const SUITE: &str = "tests/suite";
/// A document about the past, whose names need not exist any more.
const HISTORY: &str = "docs/history.md";
/// The directories of code that documents can name.
const CODE: [&str; 3] = ["src/", "tests/", "xtask/"];
/// The keywords that define a name in code.
const DEFINES: [&str; 8] = ["fn ", "struct ", "enum ", "const ", "static ", "trait ", "type ", "mod "];

/// Paths of the language's own libraries.
const LIBRARIES: [&str; 3] = ["core::", "alloc::", "std::"];

/// Finds broken links, unknown names of code, and classes of mistakes without a test.
pub fn check(faults: &mut Vec<String>) -> Result {
    let mut documents = BTreeMap::new();
    let mut code = BTreeMap::new();
    for file in files()? {
        let name = file.strip_prefix(root()).unwrap_or(&file).to_owned();
        let is_code = CODE.iter().any(|dir| name.starts_with(dir)) && name.extension() == Some("rs".as_ref());
        if name.extension() == Some("md".as_ref()) {
            documents.insert(name, fs::read_to_string(&file).context(file.display())?);
        } else if is_code {
            code.insert(name, fs::read_to_string(&file).context(file.display())?);
        }
    }
    for (name, text) in &documents {
        for link in links(text) {
            if let Some(fault) = broken(name, &link, &documents) {
                faults.push(format!("{}: link '{link}': {fault}", name.display()));
            }
        }
        for path in code_names(text).filter(|_| name != Path::new(HISTORY)) {
            if !code.iter().any(|(file, text)| defines(file, text, path)) {
                faults.push(format!("{}: names '{path}', but no code defines it", name.display()));
            }
        }
    }
    let mistakes = documents.get(Path::new(MISTAKES)).ok_or(format!("{MISTAKES} is not there"))?;
    mistake_rules(mistakes, faults);
    let classes: BTreeMap<&str, String> = sections(mistakes).into_iter().map(named).collect();
    for (name, text) in code.iter().filter(|(name, _)| name.starts_with(SUITE)) {
        faults.extend(id_faults(text, &classes).into_iter().map(|why| format!("{}: {why}", name.display())));
    }
    let mut said = BTreeSet::new();
    for (name, text) in &code {
        let module = name.file_stem().unwrap_or_default().to_string_lossy();
        for (test, comment) in tests_with_comments(text) {
            said.extend(ids_of(&comment, &classes).map(|id| (id.to_owned(), format!("{module}::{test}"))));
        }
    }
    faults.extend(unequal_lists(&listed(mistakes), &said));
    Ok(())
}

/// The id of a class of mistakes, and the words of its heading in small letters.
fn named<'a>((id, section): (&'a str, &str)) -> (&'a str, String) {
    (id, section.lines().next().unwrap_or_default().trim().to_lowercase())
}

/// What is wrong with ids of classes in the comments of tests. An id must exist, and stands with the words of its
/// heading: `/// P1: unsearchable parents.`
fn id_faults(text: &str, classes: &BTreeMap<&str, String>) -> Vec<String> {
    let words = |line: &str| line.trim_start().strip_prefix("/// ").map(|words| format!("{words} "));
    let comments: String = text.lines().map(|line| words(line).unwrap_or("\n".into())).collect();
    let mut faults = Vec::new();
    for comment in comments.lines() {
        for at in std::iter::once(0).chain(comment.match_indices(' ').map(|(at, _)| at + 1)) {
            let word = comment[at..].split(' ').next().unwrap_or_default();
            let id = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let is_meant = classes.contains_key(id) || (at == 0 && id != word && is_row_id(id));
            let said = comment[at..].to_lowercase();
            let is_named = |words: &String| said.starts_with(&format!("{}: {words}", id.to_lowercase()));
            if is_meant && !classes.get(id).is_some_and(is_named) {
                faults.push(format!("'{id}' stands without the words of its heading in {MISTAKES}"));
            }
        }
    }
    faults
}

/// The ids in the comment of a test, each with the words of its heading.
fn ids_of<'c>(comment: &str, classes: &BTreeMap<&'c str, String>) -> impl Iterator<Item = &'c str> {
    let comment = comment.to_lowercase();
    let has =
        move |(id, words): &(&&str, &String)| comment.contains(&format!("{}: {words}", id.to_lowercase()));
    classes.iter().filter(has).map(|(id, _)| *id).collect::<Vec<_>>().into_iter()
}

/// The ids of classes, each with a test that the document lists there.
fn listed(mistakes: &str) -> BTreeSet<(String, String)> {
    let tests = |(id, section)| names(section).map(move |name| (String::from(id), name.to_owned()));
    sections(mistakes).into_iter().flat_map(tests).collect()
}

/// What the document lists without an id in the test's comment, and the other way round.
fn unequal_lists(listed: &BTreeSet<(String, String)>, said: &BTreeSet<(String, String)>) -> Vec<String> {
    let unsaid = listed.difference(said).map(|(id, test)| {
        format!("{MISTAKES}: {id} names '{test}', whose comment lacks '{id}' and the words of its heading")
    });
    let unlisted = said
        .difference(listed)
        .map(|(id, test)| format!("{MISTAKES}: {id} does not name '{test}', which has its id"));
    unsaid.chain(unlisted).collect()
}

/// The tests that a section lists.
fn names(section: &str) -> impl Iterator<Item = &str> {
    section.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'))
}

/// Checks that every class of mistakes names tests that exist.
fn mistake_rules(text: &str, faults: &mut Vec<String>) {
    let sections = sections(text);
    if sections.is_empty() {
        faults.push(format!("{MISTAKES}: it has no class of mistakes"));
    }
    for (id, section) in sections {
        let names: Vec<&str> = names(section).collect();
        if names.is_empty() {
            faults.push(format!("{MISTAKES}: {id} names no test"));
        }
        for name in names.into_iter().filter(|name| !test_exists(name)) {
            faults.push(format!("{MISTAKES}: {id} names '{name}', but there is no such test"));
        }
    }
}

/// The number of classes of mistakes.
pub fn mistakes() -> Result<usize> {
    let text = fs::read_to_string(root().join(MISTAKES)).context(MISTAKES)?;
    Ok(sections(&text).len())
}

/// The sections that begin with an id: `### P1: …`.
fn sections(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("\n### ").skip(1);
    parts.filter_map(|part| part.split_once(':')).filter(|(id, _)| is_row_id(id)).collect()
}

/// P1, M10, …
fn is_row_id(id: &str) -> bool {
    let digits = id.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The lines of a document outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_block = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        is_block ^= fence;
        !is_block && !fence && !line.starts_with("    ")
    })
}

/// The targets of links and pictures: `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let without_code = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    // A link can continue in the next line.
    let text = prose(text).map(without_code).collect::<Vec<_>>().join("\n");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// Why a link of a document is broken. Links to the net are not checked.
fn broken(from: &Path, link: &str, documents: &BTreeMap<PathBuf, String>) -> Option<&'static str> {
    if link.contains("://") {
        return None;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { Some(from.to_owned()) } else { beside(from, path) };
    let Some(target) = target else { return Some("it leads out of the project") };
    if !root().join(&target).exists() {
        return Some("there is no such file");
    }
    let heading = heading?;
    let Some(text) = documents.get(&target) else { return Some("only documents have headings") };
    (!anchors(text).contains(heading)).then_some("there is no such heading")
}

/// The file that a relative path of a document names.
fn beside(document: &Path, path: &str) -> Option<PathBuf> {
    let mut file = document.parent()?.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir if !file.pop() => return None,
            Component::Normal(name) => file.push(name),
            _ => {}
        }
    }
    Some(file)
}

/// The anchors of headings: small letters, digits and dashes, with a number if two are equal.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let headings =
        prose(text).filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').zip(Some(line)));
    for (heading, _) in headings.filter(|(_, line)| line.starts_with('#')) {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The names of code in a document: `module::function` or `Type::function`.
fn code_names(text: &str) -> impl Iterator<Item = &str> {
    let words = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let is_ours = |word: &str| !LIBRARIES.iter().any(|library| word.starts_with(library));
    words.filter(move |word| word.contains("::") && word.chars().all(is_name) && is_ours(word))
}

/// Whether a file defines a name: `module::name` in a file or directory of that name, `Type::name` anywhere.
fn defines(file: &Path, text: &str, path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let (module, name) = (parts[0], parts[parts.len() - 1]);
    let is_there = module.starts_with(char::is_uppercase)
        || file.with_extension("").components().any(|part| part.as_os_str() == module);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = DEFINES.iter().flat_map(|word| text.split(word).skip(1));
    is_there && found.any(|rest| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_alone() {
        let text =
            "[a](b.md) and ![c](d/e.svg#f)\n```\n[no](x)\n```\n    [no](y)\n`[no](z)` [over\nlines](g)";
        assert_eq!(links(text), ["b.md", "d/e.svg#f", "g"]);
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        let documents = BTreeMap::from([
            ("README.md".into(), "# One: the `first`!\n## Two\n## Two\n#no\n```\n# code\n```".into()),
            ("docs/history.md".into(), String::new()),
        ]);
        let leads = |from: &str, link: &str| broken(Path::new(from), link, &documents).is_none();
        for link in ["docs/history.md", "#one-the-first", "README.md#two-1", "https://x/y", "src/lib.rs"] {
            assert!(leads("README.md", link), "{link}");
        }
        for link in ["docs/no.md", "#three", "#two-2", "#code", "#no", "../README.md", "src/lib.rs#x"] {
            assert!(!leads("README.md", link), "{link}");
        }
        assert!(leads("docs/history.md", "../README.md#two") && !leads("docs/history.md", "README.md"));
    }

    #[test]
    fn code_is_found_by_module_and_name() {
        let names: Vec<_> =
            code_names("`a::b` `A::b()` `no` c::d `core::fmt` `x::y::z`\n```\n`e::f`\n```").collect();
        assert_eq!(names, ["a::b", "x::y::z"]);
        let is_defined =
            |path| defines(Path::new("src/sys/mount.rs"), "pub fn find<T>() {}\nenum Kind {}", path);
        assert!(is_defined("mount::find") && is_defined("sys::mount::find") && is_defined("Kind::find"));
        assert!(!is_defined("mount::fin") && !is_defined("mount::finds") && !is_defined("files::find"));
    }

    #[test]
    fn a_class_of_mistakes_names_tests_that_exist() {
        let faults = |text: &str| {
            let mut faults = Vec::new();
            mistake_rules(text, &mut faults);
            faults.len()
        };
        let test = "- `documents::a_class_of_mistakes_names_tests_that_exist`\n";
        assert_eq!(faults(&format!("\n### P1: one\n{test}\n## Group\n\n### P2: two\n{test}")), 0);
        assert_eq!(faults(&format!("\n### P1: one\n{test}- `documents::no_such_test`\n### P2: two\n")), 2);
        assert_eq!(faults("nothing"), 1);
    }

    #[test]
    fn an_id_in_a_comment_of_a_test_stands_with_its_words() {
        let classes = BTreeMap::from([("P1", "one: two".into()), ("M10", "three".into())]);
        let faults = |text: &str| id_faults(text, &classes).len();
        assert_eq!(
            faults("/// P1: One: two. As P2 and X11.\n/// M10:\n/// three; P1: one: two.\n#[test]"),
            0
        );
        for bad in
            ["/// P1.", "/// P1: three", "/// P2: one", "/// V1. One.", "/// M10: three. P1.", "/// P1"]
        {
            assert_eq!(faults(bad), 1, "{bad}");
        }
        assert_eq!(faults("// P1\nfn p1() { \"P1\" }"), 0);
    }

    #[test]
    fn the_list_and_the_comments_name_the_same_tests() {
        let classes = BTreeMap::from([("P1", "one: two".into()), ("P10", "three".into())]);
        let ids = |comment| ids_of(comment, &classes).collect::<Vec<_>>();
        assert_eq!(ids("P1: One: two; P10: three. More."), ["P1", "P10"]);
        assert_eq!(ids("P10: three"), ["P10"]);
        assert_eq!(ids("P1"), [""; 0]);
        let text = "\n### P1: one\n- `a::b`\n- `a::c`\n";
        let has = |tests: &[&str]| tests.iter().map(|test| ("P1".into(), (*test).into())).collect();
        assert_eq!(unequal_lists(&listed(text), &has(&["a::b", "a::c"])), [""; 0]);
        assert!(unequal_lists(&listed(text), &has(&["a::b"]))[0].contains("lacks"));
        assert!(
            unequal_lists(&listed(text), &has(&["a::b", "a::c", "a::d"]))[0].contains("does not name 'a::d'")
        );
    }

    #[test]
    fn row_ids_are_a_letter_and_a_number() {
        assert!(is_row_id("P1") && is_row_id("M10"));
        assert!(!is_row_id("id") && !is_row_id("P") && !is_row_id("-"));
    }
}
