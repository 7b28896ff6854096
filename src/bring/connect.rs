//! `mcp-pipe connect`: the entry by which an MCP client uses mcp-pipe, shown, or put into the client's file.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Connect;
use super::client::{self, Client, ENTRY, Key, Syntax, Way};
use super::edit;
use super::files::{self, Config, Lock, Writer, failure};
use super::programs::{self, System};
use crate::config::options::{CommandLine, Target};
use crate::config::{self, GatewaySpec, MAX_KEY_FILE, Surroundings};
use crate::disk::read::{Accept, whole};
use crate::disk::{is_closed, joined};
use crate::error::{Exit, Failure};
use crate::process::stdout::print;
use crate::secrecy::{Redactor, Secret};
use crate::words::{brief_path, quoted};

/// The variable that is to hold the gateway's key for a client, where the config names none.
const KEY: &str = "MCP_PIPE_KEY";

pub(crate) fn run(
    wanted: &Connect<'_>,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Result<Exit, Failure> {
    let unknown =
        || failure(Exit::Usage, format!("{} is no client that is known", wanted.client), "see mcp-pipe connect --help");
    let client = client::named(wanted.client).ok_or_else(unknown)?;
    let program = programs::named(wanted.client).ok_or_else(unknown)?;
    let path = match wanted.file {
        Some(file) => joined(&surroundings.cwd, file),
        None => program.own(System::here(), &surroundings.env, &|path| path.exists()).ok_or_else(|| {
            failure(
                Exit::Usage,
                format!("where {} has its file is not known: HOME is not set", program.title),
                "name it by --file",
            )
        })?,
    };
    let _lock = if wanted.write { Some(Lock::wait(&path)?) } else { None };
    let config = Config::read(surroundings)?;
    let way = match wanted.http {
        false => stdio(&config, surroundings)?,
        true => http(client, program.title, &config, line, surroundings, redactor)?,
    };
    let before = files::text(&path)?;
    let value = files::value(&path, before.as_deref().unwrap_or_default())?;
    let puts = client.puts(&way, &value);
    let there = puts.first().is_some_and(|(keys, entry)| keys.iter().fold(&value, |value, key| &value[*key]) == entry);
    let changes = !(there && puts.len() == 1);
    let mut snippet = json!({});
    for put in &puts {
        let _put = edit::put_value(&mut snippet, put);
    }
    let new = edit::with(before.as_deref().unwrap_or_default(), &puts);
    let mut copies = Vec::new();
    if wanted.write && changes {
        let Some(new) = &new else {
            let what = format!("{} can't be changed without touching the rest; nothing was written", brief_path(&path));
            let shown = files::shown(&format!("{snippet:#}"), redactor);
            return Err(failure(Exit::Failed, what, format!("put this into it:\n{shown}")));
        };
        // The key may stand in it from now on.
        let is_private = client.syntax == Syntax::None && matches!(way, Way::Http { key: Some(_), .. });
        let mut writer = Writer::new();
        writer.put(&path, before, new, is_private)?;
        copies = writer.copies();
    }
    let title = program.title;
    let told = Told { wanted, title, path, snippet, changes, copies, client, way: &way, config: &config };
    print(&match wanted.json {
        true => files::shown_json(told.json(), redactor),
        false => files::shown(&told.words(), redactor),
    });
    Ok(Exit::Success)
}

/// By `mcp-pipe stdio`, with this program and this config.
fn stdio(config: &Config, surroundings: &Surroundings) -> Result<Way, Failure> {
    let itself = std::env::current_exe()
        .map_err(|error| failure(Exit::Failed, format!("where mcp-pipe itself is can't be found out: {error}"), ""))?;
    // A link on the PATH stays where an update moves what it leads to.
    let path = surroundings.env.get("PATH").unwrap_or_default();
    let is_it = |link: &PathBuf| link.is_absolute() && link.canonicalize().is_ok_and(|real| real == itself);
    let link = std::env::split_paths(path).filter_map(|folder| Some(folder.join(itself.file_name()?))).find(is_it);
    let args = ["stdio".to_owned(), "--config".to_owned(), config.path.display().to_string()];
    Ok(Way::Stdio { program: link.unwrap_or(itself).display().to_string(), args: args.into() })
}

/// By the gateway of the config.
fn http(
    client: &Client,
    title: &str,
    config: &Config,
    line: &CommandLine<'_>,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Result<Way, Failure> {
    if !client.dials() {
        let what = format!("{title} starts its servers, and takes no address in its file");
        return Err(failure(Exit::Usage, what, format!("leave --http out: mcp-pipe connect {}", client.name)));
    }
    let none = || {
        let what = format!("{} has no gateway, so there is no address", brief_path(&config.path));
        failure(Exit::Config, what, "add \"gateway\": {} to it, and run mcp-pipe; or leave --http out")
    };
    if config.value["gateway"].is_null() {
        return Err(none());
    }
    let line = CommandLine { target: Target::All, commands: Vec::new(), ..*line };
    let resolved = config::resolve(&line, surroundings)?;
    redactor.add(resolved.secrets.iter().cloned());
    redactor.spare(resolved.names.iter().map(String::as_str));
    let gateway = resolved.config.gateway.ok_or_else(none)?;
    let url = address(&gateway)?;
    if gateway.api_keys.is_empty() && gateway.jwt.is_empty() {
        return Ok(Way::Http { url, key: None });
    }
    let key = key(config, surroundings);
    redactor.add(key.as_ref().map(|(_, key)| key.clone()));
    match key {
        Some((variable, key)) => Ok(Way::Http { url, key: Some(Key { variable, text: key.reveal().to_owned() }) }),
        None if client.syntax == Syntax::None => {
            // A file that can't be read has been told of by now.
            let why = match gateway.api_keys.is_empty() {
                true => "the gateway has no key, and lets in by tokens of others (jwt)",
                false => "the config has the key of the gateway as its SHA-256 only",
            };
            let what = format!("{why}, and {title} needs a key in its file");
            let remedy = "give the gateway a key of which the config has the text, by \"apiKeys\": [{\"name\": …, \"key\": \"${NAME}\"}]";
            Err(failure(Exit::Config, what, remedy))
        }
        None => Ok(Way::Http { url, key: Some(Key { variable: KEY.to_owned(), text: String::new() }) }),
    }
}

/// The address at which a client of this machine reaches the gateway.
fn address(gateway: &GatewaySpec) -> Result<String, Failure> {
    let port = gateway.listen.port();
    if port == 0 {
        let what = "the gateway listens on another port at each start";
        return Err(failure(Exit::Config, what, "give it one: \"gateway\": {\"listen\": \"127.0.0.1:8765\"}"));
    }
    let host = match gateway.listen.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "[::1]".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    let scheme = if gateway.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{host}:{port}/mcp"))
}

/// The first key of the gateway of which the config has the text, and the variable that holds it.
fn key(config: &Config, surroundings: &Surroundings) -> Option<(String, Secret)> {
    let keys = config.value["gateway"]["apiKeys"].as_array()?;
    let of = |key: &Value| {
        let expanded = |text: &str| config::expand(text, |name| config.variable(surroundings, name)).ok();
        if let Some(text) = key["key"].as_str() {
            // Of anything else a part may be the key.
            let variable = config::whole_variable(text.trim()).unwrap_or(KEY);
            return Some((variable.to_owned(), Secret::new(expanded(text)?.trim())));
        }
        let file = joined(config.folder(), expanded(key["keyFile"].as_str()?)?.trim());
        let text = String::from_utf8(whole(&file, MAX_KEY_FILE, Accept::Files).ok()?).ok()?;
        Some((KEY.to_owned(), Secret::new(text.trim())))
    };
    keys.iter().find_map(of)
}

/// What is told.
struct Told<'a> {
    wanted: &'a Connect<'a>,
    title: &'static str,
    path: PathBuf,
    snippet: Value,
    changes: bool,
    copies: Vec<PathBuf>,
    client: &'a Client,
    way: &'a Way,
    config: &'a Config,
}

impl Told<'_> {
    fn words(&self) -> String {
        let path = brief_path(&self.path);
        let mut out = format!("{}: {path}\n\n{:#}\n\n", self.title, self.snippet);
        let command = {
            let http = if self.wanted.http { " --http" } else { "" };
            let file = self.wanted.file.map(|file| format!(" --file {}", quoted(&file.display().to_string())));
            format!("mcp-pipe connect {}{http}{}", self.client.name, file.unwrap_or_default())
        };
        match (self.changes, self.wanted.write) {
            (false, _) => out.push_str("It is there already. Nothing is to be done.\n"),
            (true, false) => out.push_str(&format!("Nothing has been written. To put it there: {command} --write\n")),
            (true, true) => {
                out.push_str(&format!("Written. Restart {}, or have it read its servers again.\n", self.title))
            }
        }
        for copy in &self.copies {
            out.push_str(&format!("What was there before: {}\n", brief_path(copy)));
        }
        match self.way {
            Way::Stdio { .. } if self.config.text.is_none() => {
                out.push_str(&format!(
                    "{} is not there yet: mcp-pipe init makes one.\n",
                    brief_path(&self.config.path)
                ));
            }
            Way::Stdio { .. } if self.client.dials() && !self.config.value["gateway"].is_null() => {
                out.push_str("To have it call the gateway instead of starting a program: --http\n");
            }
            Way::Http { key: Some(key), .. } => match self.client.syntax {
                Syntax::None => out.push_str(&self.of_key_in_file()),
                Syntax::Around(..) => {
                    let what = self.asked_for();
                    out.push_str(&format!("{} has to hold {what} where {} runs.\n", key.variable, self.title));
                }
                Syntax::Question => {
                    out.push_str(&format!("{} asks for {} once, and keeps it.\n", self.title, self.asked_for()))
                }
            },
            Way::Stdio { .. } | Way::Http { .. } => {}
        }
        out
    }

    /// What the gateway lets in by.
    fn asked_for(&self) -> &'static str {
        let keys = self.config.value["gateway"]["apiKeys"].as_array();
        if keys.is_some_and(|keys| !keys.is_empty()) { "the gateway's key" } else { "a token that the gateway takes" }
    }

    /// What is to be said of a key that stands in the client's file, or is to.
    fn of_key_in_file(&self) -> String {
        if self.changes && !self.wanted.write {
            return "The gateway's key will stand in that file, which will be for you alone then.\n".to_owned();
        }
        let said = "The gateway's key stands in that file";
        match is_closed(&self.path) {
            true => format!("{said}, which is for you alone.\n"),
            false => format!("{said}, which others can read: chmod 600 {}\n", quoted(&self.path.display().to_string())),
        }
    }

    fn json(&self) -> Value {
        json!({
            "schema": 1,
            "client": self.client.name,
            "file": self.path.display().to_string(),
            "name": ENTRY,
            "put": self.snippet,
            "changes": self.changes,
            "written": self.changes && self.wanted.write,
            "backups": self.copies.iter().map(|copy| copy.display().to_string()).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Environment;
    use crate::config::options::Options;

    #[test]
    fn only_what_is_a_variable_and_nothing_else_is_the_name_of_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), " of-file-s3cret\n").unwrap();
        let env: Environment = [("A", "one"), ("B", "two")].into_iter().collect();
        for (written, variable, text) in [
            (json!({"key": "${A}"}), "A", "one"),
            (json!({"key": "${env:A}"}), "A", "one"),
            (json!({"key": " ${A} "}), "A", "one"),
            (json!({"key": "${K:-s3cret}"}), KEY, "s3cret"),
            (json!({"key": "${A}-${B}"}), KEY, "one-two"),
            (json!({"key": "s3cret"}), KEY, "s3cret"),
            (json!({"keyFile": "key"}), KEY, "of-file-s3cret"),
            (json!({"keyFile": "${workspaceFolder}/key "}), KEY, "of-file-s3cret"),
        ] {
            let file = json!({"gateway": {"apiKeys": [{"keySha256": "0"}, written]}});
            fs::write(dir.path().join("mcp_config.json"), file.to_string()).unwrap();
            let surroundings = Surroundings::look(&Options::default(), env.clone(), dir.path());
            let config = Config::read(&surroundings).map_err(Failure::from).unwrap();
            let (found, key) = key(&config, &surroundings).unwrap();
            assert_eq!((found.as_str(), key.reveal()), (variable, text), "{written}");
        }
    }
}
