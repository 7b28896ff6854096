//! What the pipes of a user's daemons are called, and which there are.
//!
//! All users of a machine share one space of names, and whoever comes first has a name. So the user is part of it, and a name that somebody else has
//! taken is passed over. It is gone with its daemon, so nothing is ever left behind.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::super::name::{MOST, of_config};
use super::socket::{self, Socket};
use super::{name, owner};
use crate::config::Places;

/// Most names of pipes that are looked at: a machine has some hundred.
const MOST_NAMES: usize = 65536;

/// Makes a pipe for the daemon of a config, and tells whether another one runs with the same.
///
/// # Errors
/// Why there can be none.
pub(in crate::control) async fn claim(_places: &Places, config: &Path) -> Result<(Socket, bool)> {
    let user = owner::user().context("it can't be found out which user this is")?;
    let mut is_second = false;
    for number in 1..=MOST {
        let path = of_daemon(&user, config, number);
        if socket::is_answered(&path).await {
            is_second = true;
            continue;
        }
        match Socket::make(&path) {
            Ok(socket) => return Ok((socket, is_second)),
            // Somebody else has made one of this name, or another daemon just now.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error).with_context(|| format!("the pipe {} can't be made", path.display())),
        }
    }
    let with = if config.is_dir() { "in the same folder" } else { "with the same config" };
    bail!("{MOST} others run {with}, or something else has taken their names")
}

/// The pipes of a user's daemons, or those that there may be with one config if that is given; whether anybody listens there has to be asked. What
/// keeps us from looking is told beside.
pub(in crate::control) fn sockets(_places: &Places, config: Option<&Path>) -> (Vec<PathBuf>, Vec<String>) {
    let user = match owner::user() {
        Ok(user) => user,
        Err(error) => return (Vec::new(), vec![format!("it can't be found out which user this is: {error}")]),
    };
    if let Some(config) = config {
        return ((1..=MOST).map(|number| of_daemon(&user, config, number)).collect(), Vec::new());
    }
    let entries = match fs::read_dir(name::PIPES) {
        Ok(entries) => entries,
        Err(error) => {
            let what = "can't be listed, so only one that is named is found (--config FILE)";
            return (Vec::new(), vec![format!("the named pipes {what}: {error}")]);
        }
    };
    let prefix = name::of_user(&user);
    let names = entries.take(MOST_NAMES).flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    names.sort();
    // One entry is told for each end of a pipe on some systems.
    names.dedup();
    (names.iter().map(|name| name::pipe(name)).collect(), Vec::new())
}

fn of_daemon(user: &str, config: &Path, number: usize) -> PathBuf {
    name::pipe(&format!("{}{}", name::of_user(user), of_config(config, number)))
}
