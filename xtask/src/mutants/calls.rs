//! The system calls that a piece of code may make: those of the functions that it names, and of what they name in turn.

use crate::run::{Context, Result, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use syn::visit::{self, Visit};

/// The calls of functions of rustix that have another name. `prctl` means each of its operations.
const OF_RUSTIX: [(&str, &str); 34] = [
    ("set_capabilities", "capset"),
    ("capabilities", "capget"),
    ("set_keep_capabilities", "prctl-8"),
    ("set_dumpable_behavior", "prctl-4"),
    ("set_capabilities_secure_bits", "prctl-28"),
    ("capabilities_secure_bits", "prctl-27"),
    ("capability_is_in_bounding_set", "prctl-23"),
    ("no_new_privs", "prctl-39"),
    ("set_no_new_privs", "prctl-38"),
    ("set_name", "prctl-15"),
    ("set_thread_res_uid", "setresuid"),
    ("mount_bind_recursive", "mount"),
    ("unmount", "umount2"),
    ("fsconfig_create", "fsconfig"),
    ("fsconfig_set_flag", "fsconfig"),
    ("fsconfig_set_string", "fsconfig"),
    ("statat", "newfstatat"),
    ("stat", "newfstatat"),
    ("readlinkat_raw", "readlinkat"),
    ("getrlimit", "prlimit64"),
    ("fcntl_dupfd_cloexec", "fcntl"),
    ("fcntl_getfl", "fcntl"),
    ("fcntl_getfd", "fcntl"),
    ("fcntl_setfd", "fcntl"),
    ("ioctl_fionbio", "ioctl"),
    ("ioctl_fionread", "ioctl"),
    ("pipe", "pipe2"),
    ("pipe_with", "pipe2"),
    ("eventfd", "eventfd2"),
    ("waitpid", "wait4"),
    ("seek", "lseek"),
    ("accessat", "faccessat"),
    ("chmodat", "fchmodat"),
    ("RawDir", "getdents64"),
];

/// Modules whose calls do not matter: all that messages and memory take.
const NEVER: [&str; 5] = ["error", "text", "quote", "memory", "libc"];

/// The trusted program's functions, by name.
pub struct Calls(BTreeMap<String, Vec<Function>>);

struct Function {
    module: String,
    /// The type whose function it is; else empty.
    of: String,
    is_method: bool,
    names: Names,
}

#[derive(Clone, Default)]
struct Names {
    functions: BTreeSet<(Place, String)>,
    calls: BTreeSet<String>,
}

/// Where a function is that is named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// `module::function()`, `Type::function()`
    Known(String),
    /// `function()`
    Bare,
    /// `value.function()`
    Method,
}

impl Calls {
    /// Reads all sources, except those of the second program.
    pub fn read() -> Result<Self> {
        let mut all: BTreeMap<String, Vec<Function>> = BTreeMap::new();
        let mut to_look = vec![root().join("src")];
        while let Some(path) = to_look.pop() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "about" {
                for entry in fs::read_dir(&path).context(path.display())? {
                    to_look.push(entry.context(path.display())?.path());
                }
            } else if path.extension().is_some_and(|end| end == "rs") && !NEVER.contains(&&*name) {
                let text = fs::read_to_string(&path).context(path.display())?;
                let module = module_of(&path.to_string_lossy());
                let mut finder = Finder { module, of: String::new(), found: &mut all };
                finder.visit_file(&syn::parse_file(&text).context(path.display())?);
            }
        }
        Ok(Self(all))
    }

    /// The calls of a statement or an expression of a file.
    pub fn of(&self, file: &str, code: &str) -> BTreeSet<String> {
        let mut names = Names::default();
        match syn::parse_str::<syn::Expr>(code.trim_end().trim_end_matches(';')) {
            Ok(code) => names.visit_expr(&code),
            Err(_) => return BTreeSet::new(),
        }
        let module = module_of(file);
        let (mut seen, mut calls) = (BTreeSet::new(), names.calls);
        let from = |module: &str, names: BTreeSet<(Place, String)>| -> Vec<(String, (Place, String))> {
            names.into_iter().map(|name| (module.to_owned(), name)).collect()
        };
        let mut to_look = from(&module, names.functions);
        while let Some((module, (place, name))) = to_look.pop() {
            if !seen.insert((module.clone(), place.clone(), name.clone())) {
                continue;
            }
            let known = self.0.get(&name).map(Vec::as_slice).unwrap_or_default();
            let is_here = known.iter().any(|function| function.module == module && function.of.is_empty());
            for function in known {
                let is_it = match &place {
                    Place::Known(place) if place == "Self" => function.module == module,
                    Place::Known(place) => function.of == *place || function.module == *place,
                    Place::Bare => function.of.is_empty() && (function.module == module || !is_here),
                    Place::Method => function.is_method,
                };
                if is_it {
                    calls.extend(function.names.calls.iter().cloned());
                    to_look.extend(from(&function.module, function.names.functions.clone()));
                }
            }
        }
        calls
    }
}

/// The name by which others name a module. `sys` shows what is in its modules as its own.
fn module_of(file: &str) -> String {
    let name = if file.contains("src/sys/") { "sys" } else { file.rsplit('/').next().unwrap_or_default() };
    name.trim_end_matches(".rs").to_owned()
}

/// Finds the functions of a file.
struct Finder<'a> {
    module: String,
    of: String,
    found: &'a mut BTreeMap<String, Vec<Function>>,
}

impl Finder<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let mut names = Names::default();
        names.visit_block(block);
        let (module, of, is_method) = (self.module.clone(), self.of.clone(), signature.receiver().is_some());
        self.found.entry(signature.ident.to_string()).or_default().push(Function {
            module,
            of,
            is_method,
            names,
        });
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*node.self_ty {
            self.of = path.path.segments.last().map(|part| part.ident.to_string()).unwrap_or_default();
            visit::visit_item_impl(self, node);
            self.of = String::new();
        }
    }

    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if node.ident != "tests" {
            visit::visit_item_mod(self, node);
        }
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.add(&node.sig, &node.block);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.add(&node.sig, &node.block);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_expr_path(&mut self, node: &'ast syn::ExprPath) {
        let parts: Vec<String> = node.path.segments.iter().map(|part| part.ident.to_string()).collect();
        let Some((last, before)) = parts.split_last() else { return };
        let known =
            |name: &String| OF_RUSTIX.iter().find(|(of, _)| of == name).map(|(_, call)| (*call).to_owned());
        let is_function = last.starts_with(|first: char| first.is_ascii_lowercase());
        match (before.first().map(String::as_str), before.last()) {
            (Some("nr"), _) => drop(self.calls.insert(last.to_lowercase())),
            (Some("rustix"), Some(of)) if of != "buffer" && is_function => {
                self.calls.insert(known(last).unwrap_or_else(|| last.clone()));
            }
            (_, Some(of)) => {
                self.calls.extend(known(of));
                self.functions.insert((Place::Known(of.clone()), last.clone()));
            }
            (_, None) => drop(self.functions.insert((Place::Bare, last.clone()))),
        }
    }

    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        self.functions.insert((Place::Method, node.method.to_string()));
        visit::visit_expr_method_call(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_functions_are_those_of_what_they_call() {
        let calls = Calls::read().unwrap();
        let of = |file, code| calls.of(file, code).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(of("src/stage.rs", "crate::creds::become_undumpable()?;"), "prctl-4");
        assert_eq!(of("src/mount.rs", "sys::tighten(&tree, attributes, reach)?;"), "mount_setattr");
        assert_eq!(of("src/creds.rs", "set(none, none)"), "capget capset");
        assert_eq!(of("src/creds.rs", "x + 1"), "");
    }
}
