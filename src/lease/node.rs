//! What this daemon calls itself where several share their endpoints: the host's name, with a random part that stays the same.
//!
//! Two daemons with the same name would still not have one agent at the same time; but people could not tell them apart, and agents
//! would not be spread evenly.

use std::io;
use std::path::Path;

use crate::disk::folder::{Folder, Purpose, is_hex};
use crate::net::peer_text::bounded;
use crate::process::aside::aside;

/// The file in the state folder that has the random part.
const FILE: &str = "node";
/// Longest part of the host's name, in characters.
const MAX_HOST: usize = 40;
/// Most bytes of the file.
const MAX_FILE: u64 = 64;
/// How many hexadecimal digits are random.
const DIGITS: usize = 8;

/// The name. Without a state folder, or where that can't be used, another one in each run.
pub(super) async fn name(state: Option<&Path>) -> String {
    let state = state.map(Path::to_path_buf);
    let kept = aside(move || state.map(|state| kept(&state))).await.ok().flatten();
    let random = match kept {
        Some(Ok(random)) => random,
        Some(Err(error)) => {
            tracing::info!(
                event = "LEASE_NODE",
                "this daemon's name is another one in each run, as it can't be kept: {error}"
            );
            fresh()
        }
        None => fresh(),
    };
    format!("{}-{random}", bounded(&host(), MAX_HOST))
}

/// What is kept, made if need be. Blocks.
fn kept(state: &Path) -> io::Result<String> {
    let folder = Folder::make_for(Purpose::State, state)?;
    let read = folder.read(FILE, MAX_FILE).ok().and_then(|text| String::from_utf8(text).ok());
    if let Some(kept) = read.map(|text| text.trim().to_owned()).filter(|text| text.len() == DIGITS && is_hex(text)) {
        return Ok(kept);
    }
    let made = fresh();
    folder.put(FILE, made.as_bytes())?;
    Ok(made)
}

fn fresh() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// The name of this machine; "host" where it has none.
fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    if name.trim().is_empty() { "host".to_owned() } else { name }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_stays_the_same_where_it_can_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = name(Some(dir.path())).await;
        assert_eq!(name(Some(dir.path())).await, first);
        assert!(first.len() > DIGITS + 1 && first.ends_with(&kept(dir.path()).unwrap()));
        assert_ne!(name(None).await, name(None).await);
        let folder = Folder::make_for(Purpose::State, dir.path()).unwrap();
        for broken in ["", "xyz", "0123456", "\u{1b}[2J0123", "0123456G"] {
            folder.put(FILE, broken.as_bytes()).unwrap();
            let anew = kept(dir.path()).unwrap();
            assert_eq!((anew.len(), kept(dir.path()).unwrap()), (DIGITS, anew.clone()), "{broken:?}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(name(Some(file.path())).await.len() > DIGITS, "no folder there");
    }
}
