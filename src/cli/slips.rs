//! What a command line that can't be read most likely meant: hints, without words that may be a token.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::key_of_option;
use crate::endpoint::{looks_like_endpoint, looks_like_token};

/// Longest command line, in bytes, that is shown as a person should write it.
const LONGEST_SHOWN: usize = 200;

/// Adds to the parser's error what was most likely meant, and takes out what looks like an endpoint or a token.
pub(super) fn explain(mut error: clap::Error, command: &clap::Command, arguments: &[OsString]) -> clap::Error {
    let wrong = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(wrong)) => wrong.clone(),
        Some(_) | None => String::new(),
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(hint) =
            option_of_command(&wrong, command).or_else(|| key(&wrong)).or_else(|| line(command, arguments))
    {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        if is_secret(text) {
            let hint = "an endpoint, token included, is passed by MCP_ENDPOINT, .env or --endpoint";
            // A whole URL stays here: its secret part is cut out when the error is shown.
            if !text.contains("://") {
                error.insert(kind, ContextValue::String("…".to_owned()));
            }
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
        }
    }
    error
}

fn is_secret(text: &str) -> bool {
    looks_like_endpoint(text) || looks_like_token(text)
}

/// What to do about an option that is a key of the config.
fn key(option: &str) -> Option<String> {
    let name = option.strip_prefix("--")?.split('=').next()?;
    let (key, place) = key_of_option(name)?;
    Some(format!("{key} is no option but a key of the config: write \"{key}\": … {place}"))
}

/// What to do about an option that another command has.
fn option_of_command(option: &str, command: &clap::Command) -> Option<String> {
    let name = option.strip_prefix("--")?.split('=').next()?;
    let has_it = |command: &&clap::Command| command.get_arguments().any(|option| option.get_long() == Some(name));
    let command = command.get_subcommands().find(has_it)?.get_name();
    Some(format!("--{name} is an option of {command}: mcp-pipe {command} --{name} …"))
}

/// How to start a program whose arguments were written behind the name of a server.
fn line(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let takes_value = |word: &str| {
        let option = command.get_arguments().find(|option| option.get_long() == word.strip_prefix("--"));
        option.is_some_and(|option| option.get_action().takes_values())
    };
    let mut at = 0;
    let mut before = String::new();
    // The target stands behind the options, and behind a command that takes a program.
    let target = loop {
        let word = *words.get(at)?;
        if word.starts_with('-') {
            at += if takes_value(word) { 2 } else { 1 };
        } else if before.is_empty() && ["run", "tools"].contains(&word) {
            before = format!("{word} ");
            at += 1;
        } else if command.find_subcommand(word).is_some() {
            return None;
        } else {
            break at;
        }
    };
    let words = &words[target..];
    let shown = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    if words.len() < 2 || words.iter().any(|word| is_secret(word)) || shown.len() > LONGEST_SHOWN {
        return None;
    }
    let hint = format!("to start a program with arguments: mcp-pipe {before}-- {shown}");
    Some(match words {
        ["python" | "python3" | "node", script] if !script.starts_with('-') => {
            format!("{hint}; or a script alone: mcp-pipe {before}{script}")
        }
        _ => hint,
    })
}

/// A word as it is written in a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::parse;
    use crate::secrecy::Redactor;

    fn refused(line: &[&str]) -> String {
        let line = std::iter::once("mcp-pipe").chain(line.iter().copied()).map(Into::into);
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn a_program_with_arguments_is_told_where_it_belongs() {
        for (line, want) in [
            (&["python", "x.py"][..], "mcp-pipe -- python x.py; or a script alone: mcp-pipe x.py"),
            (&["npx", "-y", "some-server"], "mcp-pipe -- npx -y some-server"),
            (&["--log-level", "debug", "--local", "npx", "--flag"], "mcp-pipe -- npx --flag"),
            (&["tools", "python3", "my x.py", "--json"], "mcp-pipe tools -- python3 'my x.py' --json"),
            (&["run", "node", "x.js"], "mcp-pipe run -- node x.js; or a script alone: mcp-pipe run x.js"),
        ] {
            let error = refused(line);
            assert!(error.contains(&format!("tip: to start a program with arguments: {want}\n")), "{line:?}: {error}");
        }
    }

    #[test]
    fn an_option_that_is_a_key_of_the_config_is_told_so() {
        for (option, key) in [
            ("--ping-interval", "pingInterval"),
            ("--pingTimeout=5s", "pingTimeout"),
            ("--naming", "naming"),
            ("--inherit-env", "inheritEnv"),
            ("--cwd", "cwd"),
            ("--cacheDir", "cacheDir"),
        ] {
            for line in [&[option][..], &["tools", option], &[option, "x"]] {
                let error = refused(line);
                assert!(
                    error.contains(&format!("tip: {key} is no option but a key of the config")),
                    "{line:?}: {error}"
                );
            }
        }
        assert!(refused(&["--naming"]).contains("at the top of the config or in the entry of a server"));
        assert!(refused(&["--mod", "x"]).contains("'--mode'"), "a slip is still told");
        let other = refused(&["calculator", "--json"]);
        assert!(other.contains("tip: --json is an option of tools: mcp-pipe tools --json …\n"), "{other}");
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_repeated() {
        const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t";
        let url = format!("wss://h/?token={TOKEN}");
        for secret in [TOKEN, &url, &url["wss://".len()..]] {
            for line in [
                &["calculator", secret][..],
                &["tools", "calculator", secret],
                &["call", "a", "b", "{}", secret],
                &["python", secret],
                &["--log-format", secret],
            ] {
                let line = std::iter::once("mcp-pipe").chain(line.iter().copied()).map(Into::into);
                let failure = crate::error::Failure::Usage(parse(line).unwrap_err());
                let error = failure.shown(&Redactor::default());
                assert!(!error.contains("s3cr3t") && error.contains("MCP_ENDPOINT"), "{error}");
            }
        }
    }
}
