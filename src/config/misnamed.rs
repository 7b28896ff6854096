//! Files that hold the endpoint and are not read: what to do about one where no endpoint is known.

use std::path::Path;

use super::dial::ENDPOINT;
use crate::disk::read::{Accept, whole};
use crate::endpoint::Endpoint;

/// What `.env` is called where an editor, or somebody who sees no ending, has saved it.
const SLIPS: &[&str] = &[".env.txt", ".env.TXT", "env.txt", "_env"];
/// What other programs read beside `.env`, and what examples are called. Only an address that can be dialled counts there.
const OTHERS: &[&str] = &[".env.local", ".env.development", ".env.production", ".env.example", ".env.sample"];
/// The file that systemd reads for mcp-pipe, as deploy/mcp-pipe.service has it; elsewhere a slip, too.
const OF_SYSTEMD: &str = "env";

/// Largest of these files that is looked at, in bytes: they have some lines.
const LARGEST: u64 = 64 * 1024;

/// A line that is about the endpoint.
#[derive(Debug, Default, Clone, Copy)]
struct Line<'a> {
    value: &'a str,
    is_comment: bool,
    is_exported: bool,
}

/// What to do about such a file. `base`: the config's folder.
pub(crate) fn told(base: &Path, cwd: &Path) -> Option<String> {
    let places = [(base, "beside the config"), (cwd, "in the working directory")];
    places.into_iter().find_map(|(folder, place)| in_folder(folder, place))
}

fn in_folder(folder: &Path, place: &str) -> Option<String> {
    let text = |name: &str| {
        let bytes = whole(&folder.join(name), LARGEST, Accept::Files).ok()?;
        String::from_utf8(bytes).ok()
    };
    let sets = |text: &str| lines(text).find(|line| !line.is_comment).map(|line| line.is_exported);
    let names_one = |text: &str, in_comments: bool| {
        lines(text).any(|line| line.is_comment == in_comments && line.value.parse::<Endpoint>().is_ok())
    };
    if text(".env").is_some_and(|text| names_one(&text, true) && sets(&text).is_none()) {
        return Some(format!("{ENDPOINT} is commented out in .env {place}: remove the # before it"));
    }
    if let Some(name) = SLIPS.iter().find(|name| text(name).is_some_and(|text| sets(&text).is_some())) {
        return Some(format!("{name} {place} is not read: call it .env"));
    }
    match text(OF_SYSTEMD).and_then(|text| sets(&text)) {
        Some(true) => {
            return Some(format!(
                "{OF_SYSTEMD} {place} is not read: call it .env; or, where systemd is to read it, remove the word export from its \
                 lines, which systemd leaves out"
            ));
        }
        Some(false) => return Some(format!("{OF_SYSTEMD} {place} is not read: call it .env")),
        None => {}
    }
    let name = OTHERS.iter().find(|name| text(name).is_some_and(|text| names_one(&text, false)))?;
    Some(format!("{name} {place} is not read: call it .env"))
}

/// The lines of a file that are about the endpoint.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let plain = line.trim_start_matches(['#', ' ', '\t', '\u{feff}']);
        let is_comment = line.trim_start_matches(['\u{feff}', ' ', '\t']).starts_with('#');
        let named = plain.strip_prefix("export ").map(str::trim_start);
        let value = named.unwrap_or(plain).strip_prefix(ENDPOINT)?.trim_start().strip_prefix('=')?.trim();
        (!value.is_empty()).then_some(Line { value, is_comment, is_exported: named.is_some() })
    })
}
