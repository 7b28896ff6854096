//! What a command line starts in the end, where it begins with a program that only starts another one: `env X=1 nice -n 5 server`, or a plain
//! line for a shell. Only what is certain is told. Pure.

use std::path::Path;

/// A program that is started by the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrapped {
    pub(super) program: String,
    /// The `PATH` in which it is looked for, where the command line sets one.
    pub(super) path: Option<String>,
}

/// A program that starts another one. Behind an option that stands in none of these lists nothing is certain.
struct Wrapper {
    name: &'static str,
    /// Options of one letter that have a value, in the same word or the next.
    valued: &'static str,
    /// Those that have none.
    plain: &'static str,
    /// Long options with a value in the next word.
    long_valued: &'static [&'static str],
    /// Long options without one.
    long_plain: &'static [&'static str],
    /// Words of its own before the program.
    words: usize,
}

const NONE: Wrapper = Wrapper { name: "", valued: "", plain: "", long_valued: &[], long_plain: &[], words: 0 };

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        name: "env",
        valued: "uCa",
        plain: "iv",
        long_valued: &["--unset", "--chdir", "--argv0"],
        long_plain: &["--ignore-environment", "--debug"],
        ..NONE
    },
    // `nice -5` is `nice -n 5`.
    Wrapper { name: "nice", valued: "n", plain: "0123456789", long_valued: &["--adjustment"], ..NONE },
    Wrapper {
        name: "timeout",
        valued: "ks",
        plain: "fpv",
        long_valued: &["--kill-after", "--signal"],
        long_plain: &["--foreground", "--preserve-status", "--verbose"],
        words: 1,
    },
    Wrapper { name: "nohup", ..NONE },
    Wrapper { name: "setsid", plain: "cfw", long_plain: &["--ctty", "--fork", "--wait"], ..NONE },
    Wrapper { name: "stdbuf", valued: "ioe", long_valued: &["--input", "--output", "--error"], ..NONE },
    Wrapper {
        name: "ionice",
        valued: "cn",
        plain: "t",
        long_valued: &["--class", "--classdata"],
        long_plain: &["--ignore"],
        ..NONE
    },
];

const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "ash"];
/// Options of a shell, in one word with `c`, that change nothing of where it looks for programs, as those of a login do.
const OPTIONS: &str = "ceux";
/// Words at the beginning of a line that a shell understands itself.
const BUILTINS: &[&str] = &[
    ".", ":", "[", "alias", "bg", "break", "builtin", "case", "command", "declare", "echo", "eval", "exit", "export",
    "false", "fg", "for", "function", "getopts", "hash", "if", "jobs", "kill", "let", "local", "printf", "pwd", "read",
    "readonly", "return", "select", "set", "shift", "shopt", "source", "test", "time", "times", "trap", "true", "type",
    "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while", "{", "!",
];

/// The programs that a command line starts one by the other, without the first.
pub(super) fn programs(line: &[String]) -> Vec<Wrapped> {
    let (mut found, mut line, mut path) = (Vec::new(), line.to_vec(), None);
    // Each step takes a word at least.
    while let Some(behind) = behind(&line) {
        path = behind.path.or(path);
        line = behind.line;
        match line.first() {
            Some(program) if is_certain(program) => {
                found.push(Wrapped { program: program.clone(), path: path.clone() })
            }
            Some(_) | None => break,
        }
    }
    found
}

/// Whether a program only starts another one.
pub(super) fn is_wrapper(program: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| wrapper.name == name_of(program))
}

/// What a program starts, as a command line.
struct Behind {
    line: Vec<String>,
    path: Option<String>,
}

fn behind(line: &[String]) -> Option<Behind> {
    let [program, args @ ..] = line else { return None };
    let name = name_of(program);
    if SHELLS.contains(&name) {
        return of_shell(args);
    }
    let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == name)?;
    let mut args: Vec<String> = args.to_vec();
    while let Some(option) = args.first().filter(|arg| arg.starts_with('-')).cloned() {
        if name == "env" && (option.starts_with("-S") || option.starts_with("--split-string")) {
            args = split(&option, &args[1..])?;
            continue;
        }
        let words = wrapper.words_of(&option)?;
        args.drain(..words.min(args.len()));
        if option == "--" {
            break;
        }
    }
    let own = if name == "env" { args.iter().take_while(|arg| arg.contains('=')).count() } else { wrapper.words };
    let path = args.iter().take(own).rev().find_map(|arg| arg.strip_prefix("PATH=")).map(str::to_owned);
    Some(Behind { line: args.split_off(own.min(args.len())), path })
}

impl Wrapper {
    /// How many words an option takes, itself included; `None` where that is not known.
    fn words_of(&self, option: &str) -> Option<usize> {
        if option.starts_with("--") {
            let has_value = self.long_valued.contains(&option);
            let is_one = option == "--" || option.contains('=') || self.long_plain.contains(&option);
            return (has_value || is_one).then_some(1 + usize::from(has_value));
        }
        let mut letters = option.trim_start_matches('-').chars();
        match letters.find(|letter| !self.plain.contains(*letter)) {
            None => Some(1),
            Some(letter) if self.valued.contains(letter) => Some(1 + usize::from(letters.as_str().is_empty())),
            Some(_) => None,
        }
    }
}

/// The words of `env -S "X=1 program"`, and those behind it.
fn split(option: &str, behind: &[String]) -> Option<Vec<String>> {
    let joined = option
        .strip_prefix("-S")
        .or_else(|| option.strip_prefix("--split-string")?.strip_prefix('='))
        .unwrap_or_default();
    let (text, rest) =
        if joined.is_empty() { behind.split_first().map(|(text, rest)| (&**text, rest))? } else { (joined, behind) };
    let is_plain = !text.contains(['"', '\'', '\\', '$', '#']);
    is_plain.then(|| text.split_whitespace().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// The first program of `sh -c LINE`, where the shell does nothing if it is not there.
fn of_shell(args: &[String]) -> Option<Behind> {
    let [option, line, ..] = args else { return None };
    let letters = option.strip_prefix('-')?;
    if !letters.ends_with('c') || !letters.chars().all(|letter| OPTIONS.contains(letter)) {
        return None;
    }
    if line.replace("&&", "").contains([';', '|', '\n', '(']) {
        return None;
    }
    let mut commands = line.split("&&").map(str::trim);
    let command = commands.find(|command| !(*command == "cd" || command.starts_with("cd ")))?;
    let mut words = command.split_whitespace();
    let mut first = words.next()?;
    while let Some((name, value)) = first.split_once('=').filter(|(name, _)| is_plain(name)) {
        if name == "PATH" || !is_plain(value) {
            return None;
        }
        first = words.next()?;
    }
    if first == "exec" {
        first = words.next()?;
    } else if BUILTINS.contains(&first) {
        return None;
    }
    // What a wrapper starts is only certain as long as no word is quoted or replaced.
    let is_known = |word: &&str| word.split('=').all(is_plain);
    let words = [first].into_iter().chain(words).take_while(is_known);
    Some(Behind { line: words.map(str::to_owned).collect(), path: None })
}

/// Whether a shell takes a word as it is written.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "-_./:@+,%".contains(c))
}

/// Whether it is certain which program is meant: not by a path that starts from a folder which another one may have left.
fn is_certain(program: &str) -> bool {
    !program.is_empty()
        && is_plain(program)
        && !program.starts_with('-')
        && (!program.contains('/') || Path::new(program).is_absolute())
}

fn name_of(program: &str) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_wrapper_starts_is_known_where_it_is_certain() {
        for (line, want) in [
            ("env|X=1|srv|Y=2", "srv"),
            ("/usr/bin/env|srv", "srv"),
            ("env|-i|-u|HOME|--|X=1|srv", "srv"),
            ("env|-uHOME|--chdir=/|srv", "srv"),
            ("env|-S|X=1 srv -y|z", "srv"),
            ("env|-SX=1 srv", "srv"),
            ("env|--split-string=srv x", "srv"),
            ("env|PATH=/o|srv", "srv in /o"),
            ("env|PATH=/o|nice|srv", "nice in /o, srv in /o"),
            ("nice|-n|5|srv", "srv"),
            ("nice|-5|srv", "srv"),
            ("nice|-n5|--|srv", "srv"),
            ("timeout|-k|5|--signal=KILL|9|srv", "srv"),
            ("timeout|9|env|X=1|sh|-c|exec srv x", "env, sh, srv"),
            ("nohup|setsid|-w|stdbuf|-oL|srv", "setsid, stdbuf, srv"),
            ("stdbuf|-o|L|srv", "srv"),
            ("ionice|-c|3|srv", "srv"),
            ("sh|-c|srv x", "srv"),
            ("/bin/bash|-ec|A=1 exec srv \"$@\" 2>/dev/null", "srv"),
            ("sh|-c|exec 2>/dev/null", ""),
            ("sh|-c|exec -a x srv", ""),
            ("sh|-c|cd '/a b' && exec srv", "srv"),
            ("sh|-c|nice -n 5 srv", "nice, srv"),
            ("sh|-c|/o/srv", "/o/srv"),
            // Not certain, or none.
            ("srv|env|x", ""),
            ("env", ""),
            ("env|--odd|srv", ""),
            ("env|-S|\"a b\" x", ""),
            ("nice|-x|srv", ""),
            ("timeout|9", ""),
            ("nice|./srv", ""),
            ("sh|srv", ""),
            ("sh|-lc|srv", ""),
            ("sh|-c|srv ¦¦ other", ""),
            ("sh|-c|srv ¦ other", ""),
            ("sh|-c|srv; other", ""),
            ("sh|-c|. ./x && srv", ""),
            ("sh|-c|PATH=/o srv", ""),
            ("sh|-c|$SRV x", ""),
            ("sh|-c|export A=1 && srv", ""),
            ("sh|-c|nice -n \"$N\" srv", "nice"),
            ("sh|-c|", ""),
            ("sudo|-u|x|srv", ""),
        ] {
            let line: Vec<String> = line.split('|').map(|word| word.replace('¦', "|")).collect();
            let told = programs(&line).into_iter().map(|Wrapped { program, path }| match path {
                Some(path) => format!("{program} in {path}"),
                None => program,
            });
            assert_eq!(told.collect::<Vec<_>>().join(", "), want, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_comes_to_an_end(line in proptest::collection::vec("(env|nice|sh|timeout|-[Scnu]|--|[a-z=/]{0,3}|-S env -S| )", 0..8)) {
            prop_assert!(programs(&line).iter().all(|wrapped| !wrapped.program.is_empty()));
        }
    }
}
