//! The directory in which it is remembered what servers said, and which agents take one connection only.
//!
//! Everything in it can be found out again: what is missing, damaged, too large or of another version counts as not known. Files appear
//! whole, by a rename, so any number of processes may write the same one. They are for their owner only; no token and
//! nothing of a server's environment is in them.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use ring::digest;

use super::{Memory, file};
use crate::config::ServerSpec;

/// A larger file is not written nor read: 50 servers with 100 tools each are far below that together.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// What one server said.
const SERVER: &str = "server-";
/// The mark of one agent that takes one connection only.
const AGENT: &str = "agent-";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A server that was not started for so long won't be soon.
const SERVER_KEPT: Duration = Duration::from_secs(90 * DAY.as_secs());
/// An endpoint may learn to take more; then that is to be found out.
const AGENT_KEPT: Duration = Duration::from_secs(30 * DAY.as_secs());
/// More entries of the directory than this are not looked at when old ones are removed.
const MAX_SWEPT: usize = 10_000;

/// The store. It remembers nothing if it has no directory.
#[derive(Debug, Clone)]
pub struct Catalogue {
    dir: Option<PathBuf>,
    /// Once in a run, and not while servers wait to be started.
    swept: OnceLock<()>,
}

impl Catalogue {
    /// Opens the store, and makes its directory if there is none.
    ///
    /// A directory that can't be made is said at debug, and again as the error of [`Catalogue::save`].
    pub fn at(dir: Option<PathBuf>) -> Catalogue {
        if let Some(dir) = &dir
            && let Err(error) = make(dir)
        {
            tracing::debug!(event = "CATALOGUE_UNUSABLE", dir = %dir.display(), %error, "nothing is remembered");
        }
        Catalogue { dir, swept: OnceLock::new() }
    }

    /// What a server said, if it is known for just this config of it.
    pub fn load(&self, spec: &ServerSpec) -> Option<Memory> {
        let path = self.dir.as_ref()?.join(name_of_server(spec));
        match load(&path) {
            Ok(memory) => Some(memory),
            Err(error) => {
                tracing::debug!(event = "CATALOGUE_MISS", server = %spec.name, file = %path.display(), "nothing remembered: {error}");
                None
            }
        }
    }

    /// Remembers what a server said. What is old is removed at the first time.
    ///
    /// # Errors
    /// What can't be written as JSON or is larger than 16 MiB, and whatever the file system says.
    pub fn save(&self, spec: &ServerSpec, memory: &Memory) -> anyhow::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let text = file::write(&spec.name, memory).context("what the server said is not JSON throughout")?;
        anyhow::ensure!(text.len() as u64 <= MAX_FILE, "what the server said is larger than {MAX_FILE} bytes");
        self.put(dir, &name_of_server(spec), text.as_bytes())
    }

    /// Remembers for 30 days that an agent takes one connection only. `agent` is not written, only its hash.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn remember_single(&self, agent: &str) -> anyhow::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let text = b"An endpoint that takes one connection only: its servers share one. Forgotten after 30 days.\n";
        self.put(dir, &name_of_agent(agent), text)
    }

    /// Writes a file, for its owner only, and puts it in the place of the old one at once.
    fn put(&self, dir: &Path, name: &str, text: &[u8]) -> anyhow::Result<()> {
        let path = dir.join(name);
        let write = || {
            make(dir)?;
            // Named like the file itself, so that one left behind by a crash is removed like it.
            let mut file = tempfile::Builder::new().prefix(&format!("{name}.")).tempfile_in(dir)?;
            file.write_all(text)?;
            file.persist(&path)?;
            Ok::<_, io::Error>(())
        };
        self.swept.get_or_init(|| sweep(dir));
        write().with_context(|| format!("{} can't be written", path.display()))
    }

    /// Whether it is remembered that an agent takes one connection only.
    pub fn is_single(&self, agent: &str) -> bool {
        let Some(dir) = &self.dir else { return false };
        age(&dir.join(name_of_agent(agent))).is_some_and(|age| age < AGENT_KEPT)
    }
}

fn load(path: &Path) -> Result<Memory, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    // One more than there may be, to see that there is more.
    (&file).take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    let memory = file::read(&text)?;
    // It is in use: not to be removed as old. Where that can't be noted, it will be rebuilt one day.
    let _ = file.set_modified(SystemTime::now());
    Ok(memory)
}

/// Makes the directory, for its owner only.
fn make(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

/// Removes files of ours that nobody used for long.
fn sweep(dir: &Path) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.take(MAX_SWEPT).flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = [(SERVER, SERVER_KEPT), (AGENT, AGENT_KEPT)];
        let Some((_, kept)) = ours.into_iter().find(|(prefix, _)| name.starts_with(prefix)) else { continue };
        if age(&entry.path()).is_some_and(|age| age >= kept) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// How long ago a file was written or used; none at all if its time is in the future.
fn age(path: &Path) -> Option<Duration> {
    let modified = fs::metadata(path).and_then(|file| file.modified()).ok()?;
    Some(modified.elapsed().unwrap_or_default())
}

/// What defines what a server is, as a hash: a changed config is another server, which may say something else.
///
/// The endpoint is not in it, so a new token changes nothing. Values of the environment are, therefore the hash is a
/// cryptographic one: the name of a file must not help to find out a password.
fn name_of_server(spec: &ServerSpec) -> String {
    let command = &spec.command;
    let mut hash = Hash::new();
    hash.part(spec.name.as_bytes());
    hash.part(command.program.as_bytes());
    hash.list(command.args.iter().map(|arg| arg.as_bytes()));
    hash.list(command.cwd.iter().map(|cwd| cwd.as_os_str().as_encoded_bytes()));
    hash.list(command.env.iter().flat_map(|(name, value)| [name.as_bytes(), value.reveal().as_bytes()]));
    format!("{SERVER}{}.json", hash.finish())
}

fn name_of_agent(agent: &str) -> String {
    let mut hash = Hash::new();
    hash.part(agent.as_bytes());
    format!("{AGENT}{}", hash.finish())
}

/// SHA-256 over parts, each behind its length, so that no two lists of parts are alike.
struct Hash(digest::Context);

impl Hash {
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

    /// 128 bits of it, in hex: as many as keep files apart.
    fn finish(self) -> String {
        self.0.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
