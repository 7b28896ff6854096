//! What is private of all that a bundle might repeat: what is known to be, and what only may be.

use std::path::Path;

use crate::config::{AuthSpec, CommandSpec, Config, Findings, LinkSpec, Reach, Surroundings};
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
const TELLING: &[&str] = &["KEY", "TOKEN", "SECRET", "PASS", "PWD", "AUTH", "CRED", "COOKIE", "PRIVATE", "SIGN", "DSN"];

/// Knows all of that.
pub(super) fn of(
    config: Option<&Config>,
    findings: &Findings,
    surroundings: &Surroundings,
    redactor: Redactor,
) -> Stranger {
    let mut stranger = Stranger::new(redactor);
    let values = surroundings.dotenv.vars().map(|(_, value)| value.to_owned());
    let private = config.into_iter().flat_map(of_config).chain(values).filter(|value| !is_plain(value));
    stranger.hide(private.map(Secret::new).chain(findings.secrets.iter().cloned()));
    let doubtful = surroundings.env.iter().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !HARMLESS.contains(&&*name) && !name.starts_with("LC_") && !name.starts_with("XDG_")
    });
    // Many a variable is a setting, whose words are in any text.
    let is_private = |(name, value): &(std::borrow::Cow<'_, str>, String)| {
        let name = name.to_uppercase();
        !is_plain(value) && (looks_secret(value) || TELLING.iter().any(|word| name.contains(word)))
    };
    let doubtful = doubtful.map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy().into_owned()));
    stranger.hide(doubtful.filter(is_private).map(|(_, value)| Secret::new(value)));
    stranger.spare(findings.names.iter().map(String::as_str));
    stranger
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
        all.extend(server.endpoint.iter().map(|endpoint| endpoint.reveal().to_string()));
    }
    for endpoint in &config.endpoints {
        all.extend(headers(&endpoint.link));
        of_address(&endpoint.endpoint.reveal().to_string(), &mut all);
    }
    all
}

/// Its variables, and those of its arguments that may be anything.
fn of_command(command: &CommandSpec, all: &mut Vec<String>) {
    all.extend(
        command.env.iter().filter(|(name, _)| !HARMLESS.contains(&&**name)).map(|(_, value)| value.reveal().to_owned()),
    );
    for argument in &command.args {
        match argument.split_once('=') {
            Some((option, value)) if option.starts_with('-') => all.push(value.to_owned()),
            None if argument.starts_with('-') => {}
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

/// Whether a value lets nobody in: a number, a word of a setting, or a file that is there.
fn is_plain(value: &str) -> bool {
    let value = value.trim();
    let is_path = |text: &str| text.starts_with('/') && Path::new(text).exists();
    value.is_empty() || value.parse::<f64>().is_ok() || value.split(':').all(is_path) || Path::new(value).is_file()
}
