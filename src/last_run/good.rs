//! The last config with which a server ran, as it was written: for whoever has changed it and can't start any more.
//!
//! The copy may hold tokens, as the config may: it is for its owner only, in the state folder. There is one for each config.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use httpdate::fmt_http_date;

use crate::config::MAX_CONFIG;
use crate::disk::digest_of_config;
use crate::disk::folder::{Folder, Purpose};
use crate::disk::read::{Accept, whole};
use crate::secrecy::Secret;
use crate::words::quoted;

/// What is kept of a config.
#[derive(Debug)]
pub(crate) struct Good {
    /// As it was written.
    pub(crate) text: Secret,
    /// Since when it is kept.
    pub(crate) since: SystemTime,
    /// Where.
    pub(crate) file: PathBuf,
}

/// Keeps the text of `config` in the state folder `parent`, in the place of the one before. One that is kept already is not written
/// again, so its time is that of the first run. Blocks.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn keep(parent: &Path, config: &Path, text: &str) -> io::Result<()> {
    let (folder, name) = (Folder::make_for(Purpose::State, parent)?, name(config));
    if folder.peek(&name, MAX_CONFIG).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(());
    }
    folder.put(&name, text.as_bytes())
}

/// What is kept of `config` in the state folder `parent`; `None`: nothing that could be used.
pub(crate) fn good(parent: &Path, config: &Path) -> Option<Good> {
    let (folder, name) = (Folder::find_for(Purpose::State, parent).ok()??, name(config));
    let text = Secret::new(String::from_utf8(folder.peek(&name, MAX_CONFIG).ok()?).ok()?);
    Some(Good { text, since: folder.time(&name)?, file: folder.path().join(name) })
}

impl Good {
    /// What to tell of it beside the mistakes of what is in `config` now. Reads that.
    pub(crate) fn told(&self, config: &Path) -> String {
        let since = fmt_http_date(self.since);
        if whole(config, MAX_CONFIG, Accept::Files).is_ok_and(|now| now == self.text.reveal().as_bytes()) {
            return format!(
                "this config has run as it is, since {since}: what has changed is around it (.env, the environment, the files that it names)"
            );
        }
        let [shown, kept] = [config, &self.file].map(|path| quoted(&path.display().to_string()));
        format!(
            "the last config that ran is of {since}: mcp-pipe config show --last-good --config {shown} prints it, and diff {kept} {shown} \
             what has changed since (with any tokens that stand in it)"
        )
    }
}

fn name(config: &Path) -> String {
    format!("config-{}", digest_of_config(config))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_for_each_config_and_it_is_written_only_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Path::new("/a.json"), Path::new("/b.json"));
        assert!(good(dir.path(), a).is_none());
        keep(dir.path(), a, "{\"x\":1}").unwrap();
        keep(dir.path(), b, "{}").unwrap();
        let Good { text, since, file } = good(dir.path(), a).unwrap();
        assert_eq!((text.reveal(), good(dir.path(), b).unwrap().text.reveal()), ("{\"x\":1}", "{}"));
        let long_ago = since - std::time::Duration::from_secs(99);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        keep(dir.path(), a, "{\"x\":1}").unwrap();
        assert_eq!(good(dir.path(), a).unwrap().since, long_ago, "neither looks nor further runs change its time");
        keep(dir.path(), a, "{\"x\":2}").unwrap();
        assert!(good(dir.path(), a).is_some_and(|kept| kept.text.reveal() == "{\"x\":2}" && kept.since > long_ago));
        std::fs::write(&file, [0xff]).unwrap();
        assert!(good(dir.path(), a).is_none());
    }
}
