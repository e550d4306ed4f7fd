//! Completions for bash, zsh and fish, made from the table of options.

use crate::options::{Complete, OPTIONS, Opt, VERBS};

/// For bash: `complete -F`.
pub fn bash() -> String {
    let verbs: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let mut options = Vec::new();
    let mut cases = String::new();
    for option in OPTIONS {
        options.push(format!("--{}", option.long));
        options.extend(option.short.map(|c| format!("-{c}")));
        for (place, (_, complete)) in option.values.iter().enumerate() {
            cases.push_str(&format!(
                "        {}) {} return ;;\n",
                patterns(option, place + 1),
                bash_values(*complete)
            ));
        }
    }
    include_str!("completions/bash.in")
        .replace("@VERBS@", &verbs.join(" "))
        .replace("@OPTIONS@", &options.join(" "))
        .replace("@VERB_PATTERN@", &verbs.join("|"))
        .replace("@FLAGS@", &with_values(0))
        .replace("@ONE_VALUE@", &with_values(1))
        .replace("@TWO_VALUES@", &with_values(2))
        .replace("        @CASES@\n", &cases)
}

/// `--vol.1|-v.1`: the option and which of its values comes.
fn patterns(option: &Opt, place: usize) -> String {
    let long = format!("--{}.{place}", option.long);
    option.short.map_or(long.clone(), |c| format!("{long}|-{c}.{place}"))
}

fn with_values(count: usize) -> String {
    let mut names = Vec::new();
    for option in OPTIONS.iter().filter(|option| option.values.len() == count) {
        names.push(format!("--{}", option.long));
        names.extend(option.short.map(|c| format!("-{c}")));
    }
    names.join("|")
}

fn bash_values(complete: Complete) -> String {
    match complete {
        Complete::Nothing => String::new(),
        Complete::File => "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"));".into(),
        Complete::Directory => "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"));".into(),
        Complete::Words(words) => {
            format!("compopt -o nospace; COMPREPLY=($(compgen -W '{}' -- \"$cur\"));", words.join(" "))
        }
    }
}

/// For zsh: `_arguments`.
pub fn zsh() -> String {
    let mut options = String::new();
    for option in OPTIONS {
        let values: String = option
            .values
            .iter()
            .map(|(name, complete)| format!(":{}:{}", name.replace(':', ""), zsh_values(*complete)))
            .collect();
        let help = option.help.replace('\'', "'\\''").replace(['[', ']'], "").replace(':', "\\:");
        let repeat = if option.values.is_empty() { "" } else { "*" };
        for name in option.short.map(|c| format!("-{c}")).into_iter().chain([format!("--{}", option.long)]) {
            options.push_str(&format!("        '{repeat}{name}[{help}]{values}' \\\n"));
        }
    }
    let verbs: String = VERBS
        .iter()
        .map(|verb| format!("        '{}:{}'\n", verb.name, verb.help.replace('\'', "'\\''")))
        .collect();
    include_str!("completions/zsh.in")
        .replace("        @OPTIONS@\n", &options)
        .replace("        @VERBS@\n", &verbs)
}

fn zsh_values(complete: Complete) -> String {
    match complete {
        Complete::Nothing => " ".into(),
        Complete::File => "_files".into(),
        Complete::Directory => "_files -/".into(),
        Complete::Words(words) => format!("({})", words.join(" ")),
    }
}

/// For fish: `complete -c`.
pub fn fish() -> String {
    let verbs: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let before = format!("not __fish_seen_subcommand_from {}", verbs.join(" "));
    let mut out = String::from("# Completions of selfdock for fish.\ncomplete -c selfdock -f\n");
    for verb in VERBS {
        let help = verb.help.replace('\'', "\\'");
        out.push_str(&format!("complete -c selfdock -n '{before}' -a {} -d '{help}'\n", verb.name));
    }
    for option in OPTIONS {
        let short = option.short.map_or(String::new(), |c| format!(" -s {c}"));
        let values = match option.values.first() {
            None => String::new(),
            Some((_, Complete::Words(words))) => format!(" -x -a '{}'", words.join(" ")),
            Some((_, Complete::Nothing)) => " -x".into(),
            Some((_, Complete::File | Complete::Directory)) => " -r -F".into(),
        };
        let help = option.help.replace('\'', "\\'");
        out.push_str(&format!("complete -c selfdock{short} -l {}{values} -d '{help}'\n", option.long));
    }
    out.push_str(include_str!("completions/fish.in"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_command_is_completed() {
        for (shell, text) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            for option in OPTIONS {
                let name = if shell == "fish" {
                    format!("-l {}", option.long)
                } else {
                    format!("--{}", option.long)
                };
                assert!(text.contains(&name), "{shell}: --{}", option.long);
            }
            for verb in VERBS {
                assert!(text.contains(verb.name), "{shell}: {}", verb.name);
            }
            for place in ["VERB", "OPTION", "VALUE", "FLAGS", "CASES"] {
                assert!(!text.contains(&format!("@{place}")), "{shell}: a place was not filled");
            }
        }
    }

    /// What bash offers for a command line; the last word is the one to complete.
    fn offers(words: &[&str]) -> Vec<String> {
        let script = format!(
            "{}\nCOMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); compopt() {{ :; }}; \
             _selfdock; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bash(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
        );
        let out = std::process::Command::new("bash").args(["-c", &script]).output().expect("start bash");
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_commands_options_values_and_programs() {
        assert!(offers(&["selfdock", "r"]).contains(&"run".to_owned()));
        assert!(offers(&["selfdock", "run", "--ro"]).contains(&"--root".to_owned()));
        assert_eq!(offers(&["selfdock", "--net", "n"]), ["none"]);
        assert!(offers(&["selfdock", "-v", "/et"]).contains(&"/etc".to_owned()));
        assert!(offers(&["selfdock", "-v", "/etc", "/us"]).contains(&"/usr".to_owned()));
        assert!(offers(&["selfdock", "-v", "/etc", "/usr", "ru"]).contains(&"run".to_owned()));
        assert!(offers(&["selfdock", "run", "bas"]).contains(&"bash".to_owned()));
        assert!(offers(&["selfdock", "run", "ls", "/et"]).contains(&"/etc".to_owned()));
    }
}
