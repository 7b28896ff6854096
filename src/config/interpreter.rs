//! The command line of an interpreter: which of its arguments is the script that it runs. Pure.

use std::path::Path;

use super::missing::{LAUNCHERS, is_script};

/// What is known of an interpreter. An option that stands in none of these lists may take a value, or run no file: then nothing is said.
struct Interpreter {
    names: &'static [&'static str],
    /// Words before the options: with none of them the script stands behind the options, with some it may, or has to (`needs_command`).
    commands: &'static [&'static str],
    needs_command: bool,
    /// Letters of options without a value, which may be written in one word.
    letters: &'static str,
    /// Options without a value; those that end in `*` begin so.
    plain: &'static [&'static str],
    /// Options with a value in the next word.
    valued: &'static [&'static str],
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy", "py"],
        commands: &[],
        needs_command: false,
        letters: "bBdEiIOPqsSuvx",
        plain: &["-W*", "-X*"],
        valued: &["-W", "-X", "--check-hash-based-pycs"],
    },
    Interpreter {
        names: &["node", "nodejs", "tsx", "ts-node"],
        commands: &[],
        needs_command: false,
        letters: "",
        plain: &["--no-*", "--experimental-*", "--trace-*", "--enable-*", "--inspect*", "--watch", "--use-*"],
        valued: &["-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"],
    },
    Interpreter {
        names: &["bun"],
        commands: &["run"],
        needs_command: false,
        letters: "b",
        plain: &["--bun", "--silent", "--watch", "--hot", "--smol"],
        valued: &["-r", "--preload"],
    },
    Interpreter {
        names: &["deno"],
        commands: &["run"],
        needs_command: true,
        letters: "AENRWSIq",
        plain: &["--allow-*", "--deny-*", "--unstable*", "--no-*", "--quiet"],
        valued: &[],
    },
    Interpreter {
        names: &["uv"],
        commands: &["run"],
        needs_command: true,
        letters: "qvns",
        plain: &["--no-*", "--frozen", "--locked", "--isolated", "--offline", "--quiet", "--script"],
        valued: &["--with", "-p", "--python", "--extra", "--group"],
    },
    Interpreter {
        names: &["ruby"],
        commands: &[],
        needs_command: false,
        letters: "wvdlU",
        plain: &["-W*", "--yjit", "--jit"],
        valued: &["-r", "-I"],
    },
    Interpreter {
        names: &["php"],
        commands: &[],
        needs_command: false,
        letters: "nqe",
        plain: &[],
        valued: &["-d", "-c"],
    },
    Interpreter {
        names: &["bash", "sh", "zsh", "dash"],
        commands: &[],
        needs_command: false,
        letters: "abefhiklmnpruvxBCEHPT",
        plain: &["--login", "--norc", "--noprofile", "--posix"],
        valued: &["-o", "-O"],
    },
];

/// What a command line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The argument in this place is the script, or what stands where a script would.
    Script(usize),
    /// The argument in this place holds an option and more.
    Joined(usize),
    /// No interpreter's, or one with options that nothing is known of.
    Unknown,
}

/// What the command line of a program is.
pub(crate) fn line(program: &str, args: &[String]) -> Line {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".exe").unwrap_or(name);
    // python3.12 is python.
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some(known) = INTERPRETERS.iter().find(|known| known.names.contains(&plain)) else {
        let is_joined = LAUNCHERS.contains(&name) && args.first().is_some_and(|first| is_joined_option(first));
        return if is_joined { Line::Joined(0) } else { Line::Unknown };
    };
    let mut at = usize::from(args.first().is_some_and(|first| known.commands.contains(&first.as_str())));
    if at == 0 && known.needs_command {
        return Line::Unknown;
    }
    while let Some(arg) = args.get(at) {
        if !arg.starts_with('-') {
            return Line::Script(at);
        } else if is_joined_option(arg) {
            return Line::Joined(at);
        } else if known.valued.contains(&arg.as_str()) {
            at += 2;
        } else if known.is_plain(arg) {
            at += 1;
        } else {
            break;
        }
    }
    Line::Unknown
}

impl Interpreter {
    /// Whether an option is known to need no further word.
    fn is_plain(&self, option: &str) -> bool {
        let begins = |plain: &&str| plain.strip_suffix('*').is_some_and(|start| option.starts_with(start));
        let letters = option.strip_prefix('-').unwrap_or_default();
        (option.starts_with("--") && option.contains('='))
            || (!letters.is_empty() && letters.chars().all(|letter| self.letters.contains(letter)))
            || self.plain.iter().any(|plain| *plain == option || begins(plain))
    }
}

/// Whether an argument is an option, a blank, and more.
fn is_joined_option(arg: &str) -> bool {
    let Some((option, rest)) = arg.split_once(char::is_whitespace) else { return false };
    let name = option.trim_start_matches('-');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
    is_name
        && option.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !rest.is_empty()
}

/// Whether an argument is a script, a blank, and more.
pub(crate) fn is_joined_to_script(arg: &str) -> bool {
    arg.split_once(char::is_whitespace).is_some_and(|(first, rest)| is_script(first) && !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(words: &str) -> Line {
        let mut words = words.split(' ').map(|word| word.replace('_', " "));
        let program = words.next().unwrap_or_default();
        line(&program, &words.collect::<Vec<_>>())
    }

    #[test]
    fn the_script_stands_behind_the_options_that_are_known() {
        for (words, want) in [
            ("python x.py", Line::Script(0)),
            ("/v/bin/python3.12 -u -X utf8 -Wignore x.py", Line::Script(4)),
            ("python.exe -uB x.py -v", Line::Script(1)),
            ("python -m x.py", Line::Unknown),
            ("python -uc x.py", Line::Unknown),
            ("python -u", Line::Unknown),
            ("node --max-old-space-size=9 -r y x.js", Line::Script(3)),
            ("node --eval x.js", Line::Unknown),
            ("deno run -A --allow-read=/ x.ts", Line::Script(3)),
            ("deno x.ts", Line::Unknown),
            ("bun x.ts", Line::Script(0)),
            ("uv run --with mcp x.py", Line::Script(3)),
            ("uv run --directory /d x.py", Line::Unknown),
            ("bash -lc x.sh", Line::Unknown),
            ("npx -y_some-server", Line::Joined(0)),
            ("npx some-server", Line::Unknown),
            ("my-server -y_x", Line::Unknown),
            ("python -u_x.py", Line::Joined(0)),
            ("python x.py -u_x.py", Line::Script(0)),
        ] {
            assert_eq!(of(words), want, "{words}");
        }
    }

    proptest! {
        #[test]
        fn what_is_named_is_there(args in proptest::collection::vec("(-[uWXc]|--[a-z]=?|[a-z.]+| )", 0..5)) {
            for program in ["python3", "node", "deno", "uv", "sh", "npx", ""] {
                match line(program, &args) {
                    Line::Script(at) | Line::Joined(at) => prop_assert!(at < args.len()),
                    Line::Unknown => {}
                }
            }
        }
    }
}
