//! Finds the mutants of a file: each place where a protection can be removed, and its replacement.
//!
//! A mutant that does not compile costs only a moment, so types are not checked here.

use crate::run::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Lit, ReturnType, Stmt};

/// One change of one file.
#[derive(Clone)]
pub struct Mutant {
    /// `src/creds.rs`
    pub file: String,
    pub line: usize,
    /// Its name: the function, the old code, and the new code.
    pub name: String,
    /// Shows whether the function has changed since the last try.
    pub around: u64,
    place: Range<usize>,
    instead: String,
}

impl Mutant {
    /// The file with the change in it. All else keeps its line, since panics tell it.
    pub fn apply(&self, text: &str) -> String {
        let (before, was, after) =
            (&text[..self.place.start], &text[self.place.clone()], &text[self.place.end..]);
        let lines = |text: &str| text.matches('\n').count();
        let missing = "\n".repeat(lines(was).saturating_sub(lines(&self.instead)));
        [before, &self.instead, &missing, after].concat()
    }

    /// What the mutant replaces, in the text of its file.
    pub fn replaced<'t>(&self, text: &'t str) -> &'t str {
        &text[self.place.clone()]
    }

    /// Whether both changes can be made at once.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.file != other.file || self.place.end <= other.place.start || other.place.end <= self.place.start
    }

    /// `Privileged::relinquish`
    pub fn function(&self) -> &str {
        self.name.split(": ").next().unwrap_or_default()
    }

    /// File and name, the key in the list of exceptions and in the state.
    pub fn key(&self) -> String {
        format!("{} {}", self.file, self.name)
    }
}

/// A file with several changes. Of changes of one place the first is made.
pub fn apply(mutants: &[&Mutant], text: &str) -> String {
    let mut chosen: Vec<&Mutant> = Vec::new();
    for mutant in mutants {
        if chosen.iter().all(|other| mutant.is_apart_from(other)) {
            chosen.push(mutant);
        }
    }
    chosen.sort_by_key(|mutant| mutant.place.start);
    chosen.iter().rev().fold(text.to_owned(), |text, mutant| mutant.apply(&text))
}

/// The end of the name of a mutant that ignores a failure.
pub const IGNORED: &str = "may fail";

/// Types whose constants are flags.
const FLAGS: [&str; 13] = [
    "OFlags",
    "ResolveFlags",
    "AtFlags",
    "MountAttrFlags",
    "MountFlags",
    "MoveMountFlags",
    "OpenTreeFlags",
    "FsOpenFlags",
    "FsMountFlags",
    "CapabilitySet",
    "CapabilitiesSecureBits",
    "PidfdFlags",
    "PipeFlags",
];
/// Modules whose constants are flags as numbers.
const FLAG_NUMBERS: [&str; 2] = ["namespace", "scope"];
/// The attributes of mounts.
const ATTRIBUTES: [&str; 6] = ["Attributes", "VOLUME", "MAP", "INERT", "OWN_FILE", "DEVICE"];
/// Pairs in which one replaces the other.
const PAIRS: [(&str, &str); 6] = [
    ("DumpableBehavior::NotDumpable", "DumpableBehavior::Dumpable"),
    ("Reach::Tree", "Reach::One"),
    ("Detached::copy", "Detached::copy_one"),
    ("Disposition::Ignored", "Disposition::Default"),
    ("Kind::File", "Kind::Directory"),
    ("Jobs::Own", "Jobs::Shared"),
];
/// Methods that add something; the mutant leaves out the call.
const ADDING: [&str; 4] = ["union", "difference", "and", "and_private"];
/// Flags of which no mutant is made. `RDONLY` is zero. What is closed at exec is closed a second time: before a command
/// is executed, selfdock closes all descriptors that the command is not to have, and that call has mutants of its own.
const NEVER: [&str; 2] = ["CLOEXEC", "OFlags::RDONLY"];
/// Methods with a condition as the argument.
const ASKING: [&str; 6] = ["is_some_and", "is_ok_and", "is_none_or", "all", "any", "contains"];

/// The mutants of a file, from its first line to its last.
pub fn find(file: &str, text: &str) -> Result<Vec<Mutant>> {
    let parsed = syn::parse_file(text).context(file)?;
    let mut finder = Finder {
        file,
        text,
        scope: Vec::new(),
        function: None,
        found: Vec::new(),
        in_table: false,
        whole: None,
    };
    finder.visit_file(&parsed);
    let mut found = finder.found;
    let mut texts = BTreeSet::new();
    found.retain(|mutant| texts.insert(mutant.apply(text)));
    let mut seen = BTreeMap::new();
    for mutant in &mut found {
        let times = seen.entry(mutant.name.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            mutant.name = format!("{} ({times})", mutant.name);
        }
    }
    found.sort_by_key(|mutant| mutant.line);
    Ok(found)
}

/// The present function.
#[derive(Clone)]
struct Function {
    around: u64,
    /// Whether it returns a `Result<()>`.
    is_fallible: bool,
}

struct Finder<'t> {
    file: &'t str,
    text: &'t str,
    scope: Vec<String>,
    function: Option<Function>,
    found: Vec<Mutant>,
    /// Whether an array is part of a table.
    in_table: bool,
    /// The condition that has become false and true.
    whole: Option<Range<usize>>,
}

impl Finder<'_> {
    fn text_of(&self, node: &impl Spanned) -> &str {
        &self.text[node.span().byte_range()]
    }

    fn add(&mut self, node: &impl Spanned, instead: impl Into<String>) {
        let instead = instead.into();
        let (was, is) = (short(self.text_of(node)), short(&instead));
        if was == is {
            return;
        }
        let change = if is.is_empty() { format!("without `{was}`") } else { format!("`{was}` is `{is}`") };
        self.add_as(node, instead, &change);
    }

    fn add_as(&mut self, node: &impl Spanned, instead: impl Into<String>, change: &str) {
        let span = node.span();
        self.found.push(Mutant {
            file: self.file.to_owned(),
            line: span.start().line,
            name: format!("{}: {change}", self.scope.join("::")),
            around: self
                .function
                .as_ref()
                .map_or_else(|| hash(self.text_of(node).as_bytes()), |function| function.around),
            place: span.byte_range(),
            instead: instead.into(),
        });
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let output = match &signature.output {
            ReturnType::Default => "",
            ReturnType::Type(_, output) => self.text_of(output),
        };
        let is_fallible = output.ends_with("Result") || output.ends_with("Result<()>");
        let instead: &[&str] = match output {
            "" => &["{}"],
            "bool" => &["{ true }", "{ false }"],
            "Result<bool>" | "rustix::io::Result<bool>" => &["{ Ok(true) }", "{ Ok(false) }"],
            _ if is_fallible => &["{ Ok(()) }"],
            _ if output.starts_with("Option<") => &["{ None }"],
            _ if output.contains("Result<Option<") => &["{ Ok(None) }"],
            _ => &[],
        };
        let outer = self.function.take();
        self.function = Some(Function { around: hash(self.text_of(block).as_bytes()), is_fallible });
        self.scope.push(signature.ident.to_string());
        for body in instead.iter().filter(|_| !block.stmts.is_empty()) {
            self.add_as(block, *body, &format!("all of it is `{body}`"));
        }
        if let (true, Some(Stmt::Expr(tail, None))) = (is_fallible, block.stmts.last()) {
            self.tail(tail, block.stmts.len() > 1);
        }
        visit::visit_block(self, block);
        self.scope.pop();
        self.function = outer;
    }

    /// The last expression of a function that returns `Result<()>`.
    fn tail(&mut self, tail: &Expr, is_a_part: bool) {
        if matches!(tail, Expr::Call(_) | Expr::MethodCall(_)) && !self.text_of(tail).starts_with("Ok(") {
            let ignored = format!("{{ let _ = {}; Ok(()) }}", self.text_of(tail));
            self.add_as(tail, ignored, &format!("`{}` {IGNORED}", short(self.text_of(tail))));
            if is_a_part {
                self.add(tail, "Ok(())");
            }
        }
    }

    /// A condition: it becomes always false, or always true.
    fn condition(&mut self, condition: &Expr, always: bool) {
        if !has_let(condition) {
            self.add(condition, "false");
            if always {
                self.whole = Some(condition.span().byte_range());
                self.add(condition, "true");
            }
        }
    }

    /// Combined flags: each of them is left out.
    fn flags(&mut self, whole: &syn::ExprBinary) {
        let mut parts = Vec::new();
        flatten(whole, |op| matches!(op, BinOp::BitOr(_)), &mut parts);
        for at in 0..parts.len() {
            let text = self.text_of(parts[at]);
            if matches!(parts[at], Expr::Path(path) if is_constant(path)) && !is_never(text) {
                let others = parts.iter().enumerate().filter(|(other, _)| *other != at);
                let others: Vec<&str> = others.map(|(_, part)| self.text_of(*part)).collect();
                let change =
                    format!("`{}` without `{}`", short(self.text_of(whole)), self.text_of(parts[at]));
                self.add_as(whole, format!("({})", others.join(" | ")), &change);
            }
        }
        for part in parts.into_iter().filter(|part| !matches!(part, Expr::Path(_))) {
            self.visit_expr(part);
        }
    }

    /// A bit mask in octal digits: each digit is left out.
    fn mask(&mut self, digits: &Expr) -> bool {
        let text = self.text_of(digits).to_owned();
        let Some(octal) = text.strip_prefix("0o") else { return false };
        for (at, _) in octal.bytes().enumerate().filter(|(_, digit)| *digit != b'0') {
            let mut less = octal.to_owned();
            less.replace_range(at..=at, "0");
            self.add(digits, format!("0o{less}"));
        }
        true
    }

    fn elements(&mut self, array: &syn::ExprArray) {
        let all: Vec<&Expr> = array.elems.iter().collect();
        for (at, element) in all.iter().enumerate().filter(|_| all.len() > 1) {
            let neighbour = all[if at == 0 { 1 } else { at - 1 }];
            self.add(*element, self.text_of(neighbour).to_owned());
        }
    }

    /// Visits a node in which arrays are tables.
    fn table(&mut self, node: &Expr) {
        let before = std::mem::replace(&mut self.in_table, true);
        self.visit_expr(node);
        self.in_table = before;
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_mod(self, node);
        }
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if !is_for_tests(&node.attrs) {
            self.function(&node.sig, &node.block);
        }
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if node.trait_.is_none() {
            self.scope.push(self.text_of(&node.self_ty).split('<').next().unwrap_or_default().to_owned());
            visit::visit_item_impl(self, node);
            self.scope.pop();
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, &node.block);
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        let name = node.ident.to_string();
        self.scope.push(name.clone());
        if name.starts_with("MOST") || name.starts_with("NEEDED") {
            let more = format!("({}) << 6", self.text_of(&node.expr));
            self.add(&node.expr, more);
        }
        self.table(&node.expr);
        self.scope.pop();
    }

    fn visit_item_struct(&mut self, _: &'ast syn::ItemStruct) {}

    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}

    fn visit_pat(&mut self, node: &'ast syn::Pat) {
        if let syn::Pat::Guard(guarded) = node {
            self.condition(&guarded.guard, true);
            self.visit_expr(&guarded.guard);
        }
    }

    fn visit_stmt(&mut self, node: &'ast Stmt) {
        if let Stmt::Expr(expression, Some(_)) = node {
            let tried = match expression {
                Expr::Try(tried) => Some(&*tried.expr),
                Expr::MethodCall(call) if call.method == "or_end" => Some(&*call.receiver),
                _ => None,
            };
            if let Some(tried) = tried {
                let ignored = format!("let _ = {};", self.text_of(tried));
                self.add_as(node, ignored, &format!("`{}` {IGNORED}", short(self.text_of(expression))));
            }
            let acts = match expression {
                Expr::Binary(binary) => is_assignment(&binary.op),
                Expr::Try(_) | Expr::MethodCall(_) | Expr::Call(_) | Expr::Assign(_) => true,
                _ => false,
            };
            if acts {
                self.add(node, "");
            }
        }
        visit::visit_stmt(self, node);
    }

    fn visit_expr_if(&mut self, node: &'ast syn::ExprIf) {
        self.condition(&node.cond, !leaves(&node.then_branch));
        visit::visit_expr_if(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        match &*node.body {
            Expr::Return(left) if left.expr.as_ref().is_some_and(|value| is_error(value)) => {
                self.add(&node.body, "{}");
            }
            body if is_error(body) && self.function.as_ref().is_some_and(|function| function.is_fallible) => {
                self.add(body, "Ok(())");
            }
            _ => {}
        }
        visit::visit_arm(self, node);
    }

    fn visit_expr_for_loop(&mut self, node: &'ast syn::ExprForLoop) {
        self.table(&node.expr);
        self.visit_block(&node.body);
    }

    fn visit_expr_array(&mut self, node: &'ast syn::ExprArray) {
        if std::mem::replace(&mut self.in_table, false) {
            self.elements(node);
            visit::visit_expr_array(self, node);
            self.in_table = true;
        } else {
            visit::visit_expr_array(self, node);
        }
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let other = match node.op {
            BinOp::Eq(_) => "!=",
            BinOp::Ne(_) => "==",
            BinOp::Lt(_) => ">=",
            BinOp::Le(_) => ">",
            BinOp::Gt(_) => "<=",
            BinOp::Ge(_) => "<",
            BinOp::BitOr(_) => return self.flags(node),
            BinOp::And(_) | BinOp::Or(_) => {
                let is_and = matches!(node.op, BinOp::And(_));
                let neutral = if is_and { "true" } else { "false" };
                for part in [&node.left, &node.right] {
                    let is_chain = matches!(&**part, Expr::Binary(b) if matches!(b.op, BinOp::And(_)) == is_and
                        && matches!(b.op, BinOp::And(_) | BinOp::Or(_)));
                    if !is_chain && !has_let(part) {
                        self.add(part, neutral);
                    }
                }
                return visit::visit_expr_binary(self, node);
            }
            BinOp::BitAnd(_) => {
                if self.mask(&node.right) {
                    return self.visit_expr(&node.left);
                }
                self.add(node, self.text_of(&node.left).to_owned());
                return visit::visit_expr_binary(self, node);
            }
            _ => return visit::visit_expr_binary(self, node),
        };
        // If it is a whole condition, it has become false and true already.
        if self.whole.take().is_some_and(|whole| whole == node.span().byte_range()) {
            return visit::visit_expr_binary(self, node);
        }
        let turned = format!("{} {other} {}", self.text_of(&node.left), self.text_of(&node.right));
        self.add(node, turned);
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        let method = node.method.to_string();
        if ADDING.contains(&&*method) {
            let bare = self.text_of(&node.receiver).to_owned();
            self.add_as(node, bare, &format!("`{}` without the last `{method}`", short(self.text_of(node))));
            // Nothing instead of what is added is the same.
            if matches!(node.args.first(), Some(Expr::Path(path)) if is_constant(path)) {
                return self.table(&node.receiver);
            }
        }
        if ASKING.contains(&&*method) {
            self.add(node, "true");
            self.add(node, "false");
        }
        match (&*method, node.args.first()) {
            ("filter", Some(rule @ Expr::Closure(_))) => self.add(rule, "|_| true"),
            ("set", Some(_)) if node.args.len() == 2 => {
                self.add(&node.args[1], "true");
                self.add(&node.args[1], "false");
            }
            _ => {}
        }
        self.table(&node.receiver);
        node.args.iter().for_each(|arg| self.argument(arg));
    }

    fn visit_expr_call(&mut self, node: &'ast syn::ExprCall) {
        self.visit_expr(&node.func);
        node.args.iter().for_each(|arg| self.argument(arg));
    }

    fn visit_expr_path(&mut self, node: &'ast syn::ExprPath) {
        let names: Vec<String> = node.path.segments.iter().map(|part| part.ident.to_string()).collect();
        let (first, last) = (names[names.len().saturating_sub(2)].as_str(), names[names.len() - 1].as_str());
        if is_constant(node) && !is_never(self.text_of(node)) {
            if FLAGS.contains(&first) && names.len() > 1 {
                self.add(node, format!("{first}::empty()"));
            } else if FLAG_NUMBERS.contains(&first) {
                self.add(node, "0");
            } else if ATTRIBUTES.contains(&first) && last != "NONE" {
                self.add(node, "crate::sys::Attributes::NONE");
            }
        }
        let pair = format!("{first}::{last}");
        for (one, other) in PAIRS {
            if pair == one {
                self.add(node, other);
            } else if pair == other {
                self.add(node, one);
            }
        }
    }

    fn visit_expr_lit(&mut self, node: &'ast syn::ExprLit) {
        match &node.lit {
            Lit::Bool(known) => self.add(node, if known.value { "false" } else { "true" }),
            Lit::Int(_) if self.text_of(node).starts_with("0o") => self.add(node, "0o777"),
            _ => {}
        }
    }
}

impl Finder<'_> {
    fn argument(&mut self, argument: &Expr) {
        if let Expr::Call(call) = argument
            && self.text_of(&call.func) == "Some"
        {
            self.add(argument, "None");
        }
        let before = std::mem::replace(&mut self.in_table, false);
        self.visit_expr(argument);
        self.in_table = before;
    }
}

/// The operands of a chain of one operator.
fn flatten<'e>(node: &'e syn::ExprBinary, is_it: fn(&BinOp) -> bool, parts: &mut Vec<&'e Expr>) {
    for side in [&*node.left, &*node.right] {
        match side {
            Expr::Binary(inner) if is_it(&inner.op) => flatten(inner, is_it, parts),
            other => parts.push(other),
        }
    }
}

/// `OFlags::PATH`, `INERT`
fn is_constant(node: &syn::ExprPath) -> bool {
    let last = node.path.segments.last().map(|part| part.ident.to_string()).unwrap_or_default();
    last.len() > 1 && last.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_assignment(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_)
            | BinOp::BitXorAssign(_)
    )
}

/// `Err(...)`
fn is_error(node: &Expr) -> bool {
    matches!(node, Expr::Call(call) if matches!(&*call.func, Expr::Path(path) if path.path.is_ident("Err")))
}

fn is_never(flag: &str) -> bool {
    NEVER.iter().any(|never| flag.ends_with(never))
}

/// Whether a block ends with a return or the like.
fn leaves(block: &syn::Block) -> bool {
    match block.stmts.last() {
        Some(Stmt::Expr(last, _)) => {
            matches!(last, Expr::Return(_) | Expr::Break(_) | Expr::Continue(_)) || is_error(last)
        }
        _ => false,
    }
}

/// Whether a condition has a `let`, whose names are used later.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        _ => false,
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, syn::Meta::List(list)
            if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

/// The text on one line, and shortened.
fn short(text: &str) -> String {
    const LONGEST: usize = 100;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= LONGEST {
        return words;
    }
    words.chars().take(LONGEST).chain("…".chars()).collect()
}

/// FNV-1a: the same in every build of this program.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changed texts of a function with this body.
    fn of(body: &str) -> Vec<String> {
        let text = format!("fn f() -> u8 {{ {body} }}");
        let cut = |text: String| text["fn f() -> u8 { ".len()..text.len() - 2].to_owned();
        find("x.rs", &text).unwrap().iter().map(|mutant| cut(mutant.apply(&text))).collect()
    }

    #[test]
    fn a_call_can_be_left_out_and_may_fail() {
        assert_eq!(of("a()?; b"), ["let _ = a(); b", " b"]);
        assert_eq!(of("a().or_end(); b"), ["let _ = a(); b", " b"]);
        assert_eq!(of("a = b; c"), [" c"]);
    }

    #[test]
    fn each_part_of_a_condition_can_be_taken_out_of_it() {
        assert_eq!(of("if a || b || c { return d; } e").len(), 4);
        assert!(of("if a || b { return c; } d").contains(&"if false || b { return c; } d".to_owned()));
        assert!(of("if a == b { return c; } d").contains(&"if a != b { return c; } d".to_owned()));
        let both = ["if false { c() } d", "if true { c() } d"];
        assert_eq!(of("if a == b { c() } d"), both.map(str::to_owned));
        assert_eq!(of("if let a = b { return c; } d"), [] as [&str; 0]);
    }

    #[test]
    fn several_changes_are_made_at_once_if_they_are_apart() {
        let text = "fn f() -> u8 { a(X::ONE | Y::TWO); b()?; c }";
        let all = find("x.rs", text).unwrap();
        let all: Vec<&Mutant> = all.iter().collect();
        assert_eq!(apply(&all, text), "fn f() -> u8 {  let _ = b(); c }");
    }

    #[test]
    fn each_flag_can_be_left_out() {
        assert_eq!(of("a(X::ONE | Y::TWO | z)"), ["a((Y::TWO | z))", "a((X::ONE | z))"]);
        assert_eq!(of("a(OFlags::PATH)"), ["a(OFlags::empty())"]);
        assert_eq!(of("a.union(b)"), ["a"]);
        assert_eq!(
            of("a(OFlags::PATH.union(OFlags::DIRECTORY))"),
            ["a(OFlags::PATH)", "a(OFlags::empty().union(OFlags::DIRECTORY))"]
        );
        assert_eq!(of("a(OFlags::PATH | OFlags::CLOEXEC)"), ["a((OFlags::CLOEXEC))"]);
        assert_eq!(of("a(OFlags::RDONLY)"), [] as [&str; 0]);
        assert_eq!(of("a & 0o022"), ["a & 0o002", "a & 0o020"]);
    }

    #[test]
    fn each_line_of_a_table_can_be_replaced() {
        let text = "const A: [u8; 2] = [1, 2]; #[cfg(test)] mod tests { const B: [u8; 2] = [1, 2]; }";
        let found = find("x.rs", text).unwrap();
        let names: Vec<&str> = found.iter().map(|mutant| mutant.name.as_str()).collect();
        assert_eq!(names, ["A: `1` is `2`", "A: `2` is `1`"]);
        assert_eq!(of("a([b, c])"), [] as [&str; 0]);
    }

    #[test]
    fn what_a_function_does_can_be_left_out() {
        let text = "fn f() -> Result<()> { a(); b() }";
        let found = find("x.rs", text).unwrap();
        let changed: Vec<String> = found.iter().map(|mutant| mutant.apply(text)).collect();
        assert!(changed.contains(&"fn f() -> Result<()> { Ok(()) }".to_owned()), "{changed:?}");
        assert!(changed.contains(&"fn f() -> Result<()> { a(); Ok(()) }".to_owned()), "{changed:?}");
        assert!(changed.contains(&"fn f() -> Result<()> { a(); { let _ = b(); Ok(()) } }".to_owned()));
    }
}
