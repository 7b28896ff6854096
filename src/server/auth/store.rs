//! The logins that are kept in the state folder: one file for each server's address, bound to the authorization server that gave it.
//!
//! Several processes may use a login, and an authorization server may take a refresh token once only. So whoever has it renewed holds a
//! lock meanwhile, and reads the file again first.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::disk::folder::{Folder, Purpose};
use crate::endpoint::RemoteUrl;
use crate::process::aside::aside;
use crate::secrecy::Secret;

/// Most bytes of a file.
const MAX: u64 = 256 * 1024;
/// Longest wait for another process that renews the same login, and time between two looks.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// A login, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The address of the server.
    pub(crate) url: String,
    /// For which resource tokens are asked, and of whom.
    pub(crate) resource: Option<String>,
    pub(crate) issuer: String,
    pub(crate) token_endpoint: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<String>,
    /// How the client shows that it is the one, by its name in OAuth.
    pub(crate) method: String,
    pub(crate) scope: Option<String>,
    pub(crate) refresh_token: Option<String>,
    pub(crate) access_token: String,
    /// Until when that is good, in seconds of Unix time.
    pub(crate) expires: Option<u64>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Kept {
    pub(super) fn expires(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.expires?))
    }

    /// All of it that lets somebody in.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let others = [&self.client_secret, &self.refresh_token].into_iter().flatten();
        others.chain([&self.access_token]).map(Secret::new)
    }
}

/// A time as it is kept.
pub(crate) fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Where the login at an address is.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    parent: PathBuf,
    name: String,
    url: String,
}

impl Store {
    /// The login at an address, in the state folder within this one.
    pub(crate) fn new(parent: &Path, url: &RemoteUrl) -> Self {
        let url = url.reveal().to_string();
        // The name tells nobody which servers there are.
        let hash = digest(&SHA256, url.as_bytes());
        let name: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Store { parent: parent.to_owned(), name: format!("login-{name}"), url }
    }

    /// The login, if there is one.
    pub(crate) async fn read(&self) -> io::Result<Option<Kept>> {
        let store = self.clone();
        aside(move || store.read_now()).await?
    }

    fn read_now(&self) -> io::Result<Option<Kept>> {
        let Some(folder) = Folder::find_for(Purpose::State, &self.parent)? else { return Ok(None) };
        let bytes = match folder.read(&self.name, MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kept: Kept = serde_json::from_slice(&bytes)
            .map_err(|_| io::Error::other("the file of a login can't be read; log in again"))?;
        // Of two addresses with one hash there is only the other.
        Ok(Some(kept).filter(|kept| kept.url == self.url))
    }

    /// Keeps a login in the place of whichever there was.
    pub(crate) async fn write(&self, kept: Kept) -> io::Result<PathBuf> {
        let store = self.clone();
        aside(move || {
            let folder = Folder::make_for(Purpose::State, &store.parent)?;
            folder.put(&store.name, serde_json::to_string_pretty(&kept)?.as_bytes())?;
            Ok(folder.path().to_owned())
        })
        .await?
    }

    /// Whether the login could be kept, before somebody takes the trouble.
    pub(crate) async fn prepare(&self) -> io::Result<()> {
        let store = self.clone();
        aside(move || {
            let folder = Folder::make_for(Purpose::State, &store.parent)?;
            let trial = format!("{}.trial", store.name);
            folder.put(&trial, b"").and_then(|()| folder.remove(&trial))
        })
        .await?
    }

    /// Forgets the login. Returns whether there was one.
    pub(crate) async fn remove(&self) -> io::Result<bool> {
        let store = self.clone();
        aside(move || {
            let Some(folder) = Folder::find_for(Purpose::State, &store.parent)? else { return Ok(false) };
            match folder.remove(&store.name) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await?
    }

    /// Waits until nobody else renews the login; nobody does until the file is dropped.
    pub(super) async fn lock(&self) -> io::Result<File> {
        let until = Instant::now() + PATIENCE;
        loop {
            let store = self.clone();
            let tried = aside(move || -> io::Result<Option<File>> {
                let folder = Folder::make_for(Purpose::State, &store.parent)?;
                let file = folder.open_lock(&format!("{}.lock", store.name))?;
                match file.try_lock() {
                    Ok(()) => Ok(Some(file)),
                    Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                    Err(std::fs::TryLockError::Error(error)) => Err(error),
                }
            });
            match tried.await?? {
                Some(file) => return Ok(file),
                None if Instant::now() >= until => {
                    return Err(io::Error::other("another process holds it for too long"));
                }
                None => sleep(LOOK).await,
            }
        }
    }
}
