//! What is private of all that a bundle might repeat: what is known to be, and what only may be.

use std::path::Path;

use crate::config::{AuthSpec, CommandSpec, Config, Findings, LAUNCHERS, LinkSpec, MAX_CONFIG, Reach, Surroundings};
use crate::disk::read::{Accept, whole};
use crate::endpoint::Secret;
use crate::secrecy::Redactor;
use crate::secrecy::stranger::{Stranger, looks_secret};

/// Variables whose values are no secret, and in most texts.
const HARMLESS: &[&str] = &[
    "_",
    "COLORTERM",
    "DISPLAY",
    "EDITOR",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "TERM",
    "TERM_PROGRAM",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
    "MCP_CONFIG",
    "MCP_LOG_LEVEL",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
];

/// Words in the names of variables whose values let somebody in.
const TELLING: &[&str] = &[
    "KEY", "TOKEN", "SECRET", "PASS", "PWD", "AUTH", "CRED", "COOKIE", "PRIVATE", "SIGN", "DSN", "JWT", "SESSION",
    "BEARER", "PSK", "PIN", "PW", "URL", "URI",
];

/// Knows all of that. `file`: the config as it is written, of which some may not count just now, and all where it has mistakes.
pub(super) fn of(
    config: Option<&Config>,
    (findings, file): (&Findings, Option<&Path>),
    surroundings: &Surroundings,
    redactor: Redactor,
) -> Stranger {
    let mut stranger = Stranger::new(redactor);
    let written = file.and_then(|file| whole(file, MAX_CONFIG, Accept::Files).ok()).unwrap_or_default();
    let values = surroundings.dotenv.vars().map(|(_, value)| value.to_owned());
    let values = values.chain(texts(&String::from_utf8_lossy(&written)));
    let shown: Vec<&str> = config.into_iter().flat_map(programs).collect();
    let private = config.into_iter().flat_map(of_config).chain(values);
    let private = private.filter(|value| !is_plain(value) && !shown.contains(&value.as_str()));
    stranger.hide(private.map(Secret::new).chain(findings.secrets.iter().cloned()));
    let doubtful = surroundings.env.iter().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !HARMLESS.contains(&&*name) && !name.starts_with("LC_") && !name.starts_with("XDG_")
    });
    for (name, value) in doubtful {
        let (name, value) = (name.to_string_lossy().to_uppercase(), value.to_string_lossy().into_owned());
        // Many a variable is a setting, whose words are in any text.
        if !is_plain(&value) && (looks_secret(&value) || TELLING.iter().any(|word| name.contains(word))) {
            let mut pieces = Vec::new();
            of_address(&value, &mut pieces);
            stranger.hide([value].into_iter().chain(pieces).map(Secret::new));
        }
    }
    // Without these nobody knows what is meant; but a name may be a token in the wrong place.
    stranger.spare(findings.names.iter().map(String::as_str).filter(|name| !looks_secret(name)));
    stranger.spare(LAUNCHERS.iter().copied());
    stranger.spare(shown);
    stranger
}

/// What servers are started by, and where a launcher does that, which package it is: what is wrong is mostly about these.
fn programs(config: &Config) -> Vec<&str> {
    let mut all = Vec::new();
    for CommandSpec { program, args, .. } in config.servers.iter().filter_map(|server| server.reach.command()) {
        let package = args.iter().find(|argument| !argument.starts_with('-'));
        let package = package.filter(|_| LAUNCHERS.contains(&program.as_str()));
        all.extend([program.as_str()].into_iter().chain(package.map(String::as_str)));
    }
    all.retain(|word| is_name(word));
    all
}

/// Whether a text is a path or the name of a package, and no address or key: no part of it has letters and digits mixed, or is very long.
fn is_name(text: &str) -> bool {
    let is_word = |piece: &str| {
        let digits = piece.bytes().filter(u8::is_ascii_digit).count();
        piece.len() <= 24 && (piece.len() < 8 || digits <= 2)
    };
    text.chars().all(|c| c.is_ascii_alphanumeric() || "@/._-".contains(c))
        && text.split(|c: char| !c.is_ascii_alphanumeric()).all(is_word)
}

/// The texts and numbers of a config that may be no JSON: all but the names of members.
fn texts(written: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = written;
    while let Some(at) = rest.find(['"', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        rest = &rest[at..];
        let end = match rest.strip_prefix('"') {
            Some(text) => {
                let mut escaped = false;
                let is_end = |c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                // A line end is forgotten quotes.
                let end = text.find(is_end).unwrap_or(text.len());
                let end = text[..end].find('\n').unwrap_or(end);
                (1 + end + 1).min(rest.len())
            }
            None => rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()),
        };
        let (piece, behind) = rest.split_at(rest.ceil_char_boundary(end));
        if !behind.trim_start().starts_with(':') {
            let text = piece.trim().trim_matches('"');
            found.push(serde_json::from_str::<String>(piece).unwrap_or_else(|_| text.to_owned()));
        }
        rest = behind;
    }
    found
}

fn of_config(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let headers = |link: &LinkSpec| link.headers.iter().map(|(_, value)| value.reveal().to_owned()).collect::<Vec<_>>();
    for server in &config.servers {
        match &server.reach {
            Reach::Command(command) => of_command(command, &mut all),
            Reach::Remote(remote) => {
                all.extend(remote.headers.iter().map(|(_, value)| value.reveal().to_owned()));
                of_address(&remote.url.reveal().to_string(), &mut all);
                if let AuthSpec::BearerCommand(command) = &remote.auth {
                    of_command(command, &mut all);
                }
            }
            Reach::Comer(_) => {}
        }
        all.extend(headers(&server.link));
        server.endpoint.iter().for_each(|endpoint| of_address(&endpoint.reveal().to_string(), &mut all));
    }
    for endpoint in &config.endpoints {
        all.extend(headers(&endpoint.link));
        of_address(&endpoint.endpoint.reveal().to_string(), &mut all);
    }
    all
}

/// Its variables, and those of its arguments that may be anything.
fn of_command(command: &CommandSpec, all: &mut Vec<String>) {
    all.extend(command.env.iter().filter(|(name, _)| name != "PATH").map(|(_, value)| value.reveal().to_owned()));
    // Whoever writes a whole command line there has its arguments in it.
    all.extend(command.program.split_whitespace().skip(1).map(str::to_owned));
    for argument in &command.args {
        match argument.split_once(['=', ':']) {
            Some((option, value)) if option.starts_with('-') => all.push(value.to_owned()),
            // `-pWORD`: what is behind the letter.
            None if argument.starts_with('-') => all.extend(
                argument
                    .strip_prefix('-')
                    .and_then(|text| text.get(1..))
                    .filter(|text| !text.starts_with('-') && !argument.starts_with("--"))
                    .map(str::to_owned),
            ),
            Some(_) | None => all.push(argument.clone()),
        }
    }
}

/// All of an address but its host, in pieces.
fn of_address(address: &str, all: &mut Vec<String>) {
    let Some((_, rest)) = address.split_once("://") else { return };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let pieces = user.into_iter().flat_map(|user| user.split(':')).chain(behind.split(['/', '?', '&', '#', '=']));
    all.extend(pieces.map(str::to_owned));
}

/// Whether a value lets nobody in: files that are there.
fn is_plain(value: &str) -> bool {
    let value = value.trim();
    let is_path = |text: &str| text.starts_with('/') && Path::new(text).exists();
    value.is_empty() || value.split(':').all(is_path) || Path::new(value).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_and_packages_are_no_keys() {
        for name in
            ["npx", "/usr/bin/python3", "@modelcontextprotocol/server-filesystem", "mcp-server-time", "./run.sh"]
        {
            assert!(is_name(name), "{name}");
        }
        for other in ["git+https://user:pass@h/x", "sk-Ab12Cd34Ef56", "import x", "0123456789abcdef", "a?token=b"] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn the_texts_of_a_config_are_found_also_where_it_is_none() {
        let written = r#"{"mcpServers": {"x": {"env": {"KEY": "a \"quoted\" one", "PIN": 84739205718},, "args": ["b", "forgotten]
}"#;
        assert_eq!(texts(written), ["a \"quoted\" one", "84739205718", "b", "forgotten]"]);
        for odd in ["", "\"", "\"\\", "\"é", "12é\"é\"é", "\"\\\"é"] {
            texts(odd);
        }
    }
}
