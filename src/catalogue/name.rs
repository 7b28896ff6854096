//! The names of the cache's files: a name shows which server or agent a file is about only to whoever knows that one. Pure.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use ring::digest;

use crate::config::{AuthSpec, CommandSpec, Reach, ServerSpec};
use crate::disk::folder::is_hex;

/// The beginning of the name of a file about what one server said.
const SERVER: &str = "server-";
/// The beginning of the name of a file about the tools of a server of which nothing else is remembered.
const TOOLS: &str = "tools-";
/// The beginning of the name of a mark that an agent takes one connection only.
const AGENT: &str = "agent-";
/// The beginning of the name of a file about what an endpoint says of itself, by its agent.
const HELLO: &str = "hello-";
/// The beginning of the name of a file about the era of a server.
pub(super) const ERA: &str = "era-";
/// Length of the hash in a name, in hexadecimal digits: 128 bits keep all files apart.
const DIGITS: usize = 32;
/// Longest time that a file about a server or an endpoint is kept unused: one that was not used for so long won't be soon.
const SERVER_KEPT: Duration = Duration::from_hours(90 * 24);
/// Longest time that it is remembered that an agent takes one connection: an endpoint may learn to take more.
pub(super) const AGENT_KEPT: Duration = Duration::from_hours(30 * 24);

/// How long a file of this name is kept; `None` for one that is not the store's.
pub(super) fn kept(name: &str) -> Option<Duration> {
    let is_hash = |text: &str| text.len() == DIGITS && is_hex(text);
    let stem = |prefix| name.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix(".json"));
    let is_era = name.strip_prefix(ERA).is_some_and(is_hash);
    if is_era || [SERVER, TOOLS, HELLO].into_iter().filter_map(stem).any(is_hash) {
        Some(SERVER_KEPT)
    } else if name.strip_prefix(AGENT).is_some_and(is_hash) {
        Some(AGENT_KEPT)
    } else {
        None
    }
}

/// Whether a file of this name is about what a server said.
pub(super) fn is_of_server(name: &str) -> bool {
    [SERVER, TOOLS].iter().any(|prefix| name.starts_with(prefix)) && kept(name).is_some()
}

/// As whom a remote server is asked: others may be shown other tools. A login says that nowhere in the config.
fn of_auth(hash: &mut Hash, auth: &AuthSpec) {
    match auth {
        AuthSpec::Headers | AuthSpec::Login(_) => {}
        AuthSpec::Bearer(token) => hash.part(token.reveal().as_bytes()),
        AuthSpec::BearerFile(path) => hash.part(path.as_os_str().as_encoded_bytes()),
        AuthSpec::BearerCommand(command) => {
            hash.part(command.program.as_bytes());
            hash.list(command.args.iter().map(|arg| arg.as_bytes()));
        }
        AuthSpec::ClientCredentials(client) => {
            hash.part(client.client_id.as_bytes());
            hash.part(client.scope.as_deref().unwrap_or_default().as_bytes());
        }
    }
}

/// The name of the file about a server: a hash of all that defines one, as a changed config is another server, which may say
/// something else.
///
/// The endpoint is no part of the hash, so a new token changes nothing. Values of the environment are: therefore the hash is
/// cryptographic, as the name of a file must not help to find out a password.
pub(super) fn of_server(spec: &ServerSpec) -> String {
    format!("{SERVER}{}.json", hash_of_server(spec))
}

/// The name of the file about its tools, by the same.
pub(super) fn of_tools(spec: &ServerSpec) -> String {
    format!("{TOOLS}{}.json", hash_of_server(spec))
}

fn hash_of_server(spec: &ServerSpec) -> String {
    let mut hash = Hash::new();
    hash.part(spec.name.as_bytes());
    match &spec.reach {
        Reach::Command(command) => {
            hash.command(command);
        }
        Reach::Remote(remote) => {
            hash.part(remote.url.reveal().to_string().as_bytes());
            hash.list(
                remote.headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.reveal().as_bytes()]),
            );
            of_auth(&mut hash, &remote.auth);
        }
        // Nothing is kept of it.
        Reach::Comer(_) => {}
    }
    hash.finish()
}

/// The name of the file about the era of a server: a hash of all that may make it another one. A program that was updated may be of
/// another era, so size and time of the files that are started are part of it; what it is called in the config is not.
pub(super) fn of_era(spec: &ServerSpec) -> String {
    let mut hash = Hash::new();
    match &spec.reach {
        Reach::Command(command) => {
            hash.command(command);
            for file in command.files() {
                hash.part(&stamp(&file));
            }
        }
        Reach::Remote(remote) => hash.part(remote.url.reveal().to_string().as_bytes()),
        Reach::Comer(_) => {}
    }
    format!("{ERA}{}", hash.finish())
}

/// Size and time of a file; empty if there is none.
fn stamp(path: &Path) -> Vec<u8> {
    let Ok(data) = std::fs::metadata(path) else { return Vec::new() };
    let time = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    [data.len().to_le_bytes().as_slice(), &time.as_nanos().to_le_bytes()].concat()
}

/// The name of the mark of an agent.
pub(super) fn of_agent(agent: &str) -> String {
    format!("{AGENT}{}", hash_of(agent))
}

/// The name of the file about what the endpoint of an agent says of itself.
pub(super) fn of_hello(agent: &str) -> String {
    format!("{HELLO}{}.json", hash_of(agent))
}

fn hash_of(agent: &str) -> String {
    let mut hash = Hash::new();
    hash.part(agent.as_bytes());
    hash.finish()
}

/// SHA-256 over parts, each behind its length, so that no two lists of parts are alike.
struct Hash(digest::Context);

impl Hash {
    /// All that the config says of a program.
    fn command(&mut self, command: &CommandSpec) {
        self.part(command.program.as_bytes());
        self.list(command.args.iter().map(|arg| arg.as_bytes()));
        self.list(command.cwd.iter().map(|cwd| cwd.as_os_str().as_encoded_bytes()));
        self.list(command.env.iter().flat_map(|(name, value)| [name.as_bytes(), value.reveal().as_bytes()]));
    }

    fn new() -> Self {
        Hash(digest::Context::new(&digest::SHA256))
    }

    fn part(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn list<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) {
        self.0.update(&(parts.clone().count() as u64).to_le_bytes());
        parts.for_each(|part| self.part(part));
    }

    /// The first [`DIGITS`] of the hash, in hex.
    fn finish(self) -> String {
        self.0.finish().as_ref()[..DIGITS / 2].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
