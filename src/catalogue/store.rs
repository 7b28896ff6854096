//! The cache: what servers and endpoints said, and which agents take one connection only.
//!
//! Everything in the cache can be found out again: a file that is missing, damaged, too large or of another format counts as not
//! known. Files appear whole, so any number of processes may write the same one; no file holds a token or anything of a
//! server's environment. Which folder the cache is, and what in there is ours, [`crate::disk::folder`] says. [`super::writer`]
//! writes, so that no disk holds up a message.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Memory;
use super::file::{self, MAX_FILE};
use super::name::{AGENT_KEPT, ERA, of_agent, of_era, of_hello, of_server, of_tools};
use super::writer::{Piece, Writer, piece_of};
use crate::config::ServerSpec;
use crate::disk::folder::Folder;
use crate::error::FaultCode;
use crate::mcp::era::Era;
use crate::mcp::handshake::MAX_HELLO;
use crate::mcp::lists::ListKind;

/// Largest file about an endpoint that is read, in bytes: the longest parameters, and a line break.
const MAX_HELLO_FILE: u64 = MAX_HELLO as u64 + 1;
/// Largest file about the era of a server that is read, in bytes: one word.
const MAX_ERA_FILE: u64 = 32;
/// Longest time for which a folder that was found is read without looking whether it still is the one: a hundred servers start at a
/// time, and each wants three files.
const FOUND: Duration = Duration::from_secs(1);

/// The cache. Without a folder nothing is remembered.
#[derive(Debug, Clone)]
pub struct Catalogue {
    dir: Option<PathBuf>,
    writer: Writer,
    /// The folder that was found last, and when.
    found: Arc<Mutex<Option<Found>>>,
    /// Whether the era of any server is remembered, once that was looked for: mostly none is, and a hundred servers start at a time.
    has_eras: Arc<Mutex<Option<bool>>>,
}

/// A folder that was found, and when.
type Found = (Instant, Arc<Folder>);

impl Catalogue {
    /// Opens the cache in a folder of its own in `dir`, and makes that folder if there is none.
    ///
    /// A folder that can't be made is told at info, and again when something is to be written there.
    pub fn at(dir: Option<PathBuf>) -> Catalogue {
        let writer = Writer::new(dir.clone());
        if let Some(dir) = &dir
            && let Err(error) = Folder::make(dir)
        {
            tracing::info!(event = "CATALOGUE_UNUSABLE", dir = %dir.display(), %error, "nothing is remembered: {error}");
            writer.has_failed(&error.into());
        }
        Catalogue { writer, dir, found: Arc::default(), has_eras: Arc::default() }
    }

    /// What keeps the cache from being written, as the last attempt has shown, and a notice of each change.
    pub(crate) fn losses(&self) -> watch::Receiver<Option<(FaultCode, String)>> {
        self.writer.losses()
    }

    /// Tries once more to write what could not be written.
    pub(crate) fn write_again(&self) {
        self.writer.again();
    }

    /// What a server said, if that is known for a server with just this config.
    pub fn load(&self, spec: &ServerSpec) -> Option<Memory> {
        self.dir.as_ref()?;
        let name = of_server(spec);
        if let Some(Piece::Server { memory, .. }) = self.writer.unwritten(&name) {
            return Some(memory);
        }
        let folder = self.folder().map_err(|error| error.to_string());
        let read = |folder: Option<Arc<Folder>>| {
            let bytes = folder.ok_or("there is no folder")?.read(&name, MAX_FILE).map_err(|e| e.to_string())?;
            file::read(&String::from_utf8(bytes).map_err(|e| e.to_string())?)
        };
        match folder.and_then(read) {
            Ok(memory) => Some(memory),
            Err(error) => {
                tracing::debug!(event = "CATALOGUE_MISS", server = %spec.name, file = name, "nothing remembered: {error}");
                None
            }
        }
    }

    /// Remembers what a server said. The writer's thread writes soon, and logs what stands in the way.
    pub fn save(&self, spec: &ServerSpec, memory: &Memory) {
        self.writer.put(of_server(spec), Piece::Server { name: spec.name.clone(), memory: memory.clone() });
    }

    /// Remembers the names of a server's tools, for whoever completes a line: a server that a peer has alone is answered for by nothing else.
    pub(crate) fn save_tools<'a>(&self, spec: &ServerSpec, names: impl Iterator<Item = &'a str>) {
        if self.dir.is_none() {
            return;
        }
        let mut memory = Memory::default();
        let mut tools: Vec<Box<str>> =
            names.map(|name| serde_json::json!({ "name": name }).to_string().into()).collect();
        tools.sort_unstable();
        memory.lists.set(ListKind::Tools, tools);
        self.writer.put(of_tools(spec), Piece::Server { name: spec.name.clone(), memory });
    }

    /// What the endpoint of an agent says of itself: its `initialize` parameters, raw JSON.
    pub fn hello(&self, agent: &str) -> Option<Box<str>> {
        self.dir.as_ref()?;
        let name = of_hello(agent);
        if let Some(Piece::Hello(params)) = self.writer.unwritten(&name) {
            return Some(params);
        }
        if let Some(params) = self.writer.hello(&name) {
            return Some(params);
        }
        let bytes = self.folder().ok()??.read(&name, MAX_HELLO_FILE).ok()?;
        let params = String::from_utf8(bytes).ok()?;
        let is_whole = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&params).is_ok();
        let params: Box<str> = is_whole.then(|| params.trim_end().into())?;
        self.writer.has_read_hello(name, &params);
        Some(params)
    }

    /// Remembers what the endpoint of an agent says of itself. `agent` is not written, only its hash.
    pub fn save_hello(&self, agent: &str, params: &str) {
        self.writer.put(of_hello(agent), Piece::Hello(params.into()));
    }

    /// Of which era of MCP a server with this config has shown to be.
    pub(crate) fn era(&self, spec: &ServerSpec) -> Option<Era> {
        let look = || self.folder().ok().flatten().is_some_and(|folder| folder.has_any(ERA));
        if !*self.has_eras.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(look) {
            return None;
        }
        let name = of_era(spec);
        if let Some(Piece::Era(era)) = self.writer.unwritten(&name) {
            return Some(era);
        }
        let bytes = self.folder().ok()??.read(&name, MAX_ERA_FILE).ok()?;
        [Era::Legacy, Era::Modern].into_iter().find(|era| bytes.trim_ascii() == piece_of(*era).as_bytes())
    }

    /// Remembers of which era of MCP a server has shown to be.
    pub(crate) fn save_era(&self, spec: &ServerSpec, era: Era) {
        *self.has_eras.lock().unwrap_or_else(PoisonError::into_inner) = Some(true);
        self.writer.put(of_era(spec), Piece::Era(era));
    }

    /// Remembers for a while (`AGENT_KEPT`) that an agent takes one connection only. `agent` is not written, only its hash.
    pub fn remember_single(&self, agent: &str) {
        self.writer.put(of_agent(agent), Piece::Single);
    }

    /// Whether it is remembered that an agent takes one connection only.
    pub fn is_single(&self, agent: &str) -> bool {
        if self.dir.is_none() {
            return false;
        }
        let name = of_agent(agent);
        let age = || self.folder().ok().flatten()?.age(&name);
        self.writer.unwritten(&name).is_some() || age().is_some_and(|age| age < AGENT_KEPT)
    }

    /// The folder, if there is one.
    fn folder(&self) -> io::Result<Option<Arc<Folder>>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, folder)) = &*found
            && since.elapsed() < FOUND
        {
            return Ok(Some(folder.clone()));
        }
        *found = Folder::find(dir)?.map(|folder| (Instant::now(), Arc::new(folder)));
        Ok(found.as_ref().map(|(_, folder)| folder.clone()))
    }

    /// Waits until everything that is to be remembered is written, but no longer than two seconds.
    pub async fn finish(&self) {
        self.writer.finish().await;
    }
}

#[cfg(test)]
mod tests;
