//! Lines of `.env` as other programs write them: told with what to write here. Pure.

use super::Fault;
use crate::words::meant;

/// The variable that is most likely meant where a line is about an endpoint.
pub(super) const OURS: &str = "MCP_ENDPOINT";
/// What to write where a line is about the endpoint and of no known form.
pub(super) const ON_ITS_OWN: &str = "write MCP_ENDPOINT=wss://… on a line of its own";
/// Longest name in a line that is no variable, in bytes: a longer one may be a piece of a token.
const LONGEST_NAME: usize = 40;

/// The fault of a line that is written as another program would have it, with what to write here. `is_set`: whether a line of the file sets
/// the endpoint, so that another one would take its place.
pub(super) fn fault(line: &str, is_set: bool) -> Option<Fault> {
    let told = |what: &str, remedy: String| Some((format!("is not NAME=value{what}"), remedy));
    if looks_like_address(line) {
        let remedy =
            if is_set { "the endpoint is set already: remove one of the two" } else { "write MCP_ENDPOINT= before it" };
        return told(" but an address alone", remedy.to_owned());
    }
    let word = |text: &str, word: &str| {
        let rest = text.get(word.len()..)?;
        let is_it = text[..word.len()].eq_ignore_ascii_case(word) && rest.starts_with([' ', '\t']);
        Some(rest.trim_ascii_start().to_owned()).filter(|rest| is_it && !rest.starts_with('='))
    };
    if let Some(command) = ["set", "setx", "setenv"].into_iter().find(|command| word(line, command).is_some()) {
        return told(
            format!(" but the command {command}").as_str(),
            format!("write {}, without {command}", plain(line)),
        );
    }
    if line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("$env:")) {
        return told(" but an assignment of PowerShell", format!("write {}, without $env:", plain(line)));
    }
    let line = word(line, "export").unwrap_or_else(|| line.to_owned());
    let end = line.find(['=', ':']).unwrap_or(line.len());
    let (name, sign) = (line[..end].trim_ascii_end(), line[end..].chars().next());
    // What stands there may be a piece of a token.
    let shown = name.trim_matches(['"', '\'']).replace('-', "_").to_ascii_uppercase();
    if shown != OURS {
        let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= LONGEST_NAME;
        let is_of = |name: &str, more: char| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == more);
        return match sign {
            Some(':') if is_name(name) && is_of(name, '_') && line[end + 1..].starts_with([' ', '\t']) => {
                told(" because of the colon", "write = for :".to_owned())
            }
            Some('=') if is_name(name) && name.contains('-') && is_of(name, '-') => {
                told(" because of the - in its name", "write _ for -".to_owned())
            }
            Some(_) | None => None,
        };
    }
    match sign {
        Some(':') => told(" because of the colon", format!("write {OURS}=, with = for :")),
        Some('=') if name.contains('-') => told(" because of the - in its name", format!("write {OURS}, with _ for -")),
        Some('=') if name.starts_with(['"', '\'']) => {
            told(" because of the quotes around its name", format!("write {OURS}= without them"))
        }
        Some(_) => None,
        None => told(" but a name alone", format!("write {OURS}= and the address behind it")),
    }
}

/// What a line should look like. Its own name is repeated where it is ours: any other may be a piece of a token.
fn plain(line: &str) -> String {
    if is_about_endpoint(line) { format!("{OURS}=wss://…") } else { "NAME=value".to_owned() }
}

/// Whether a line was to set the endpoint.
pub(super) fn is_about_endpoint(line: &str) -> bool {
    let name = line.split_once('=').map_or(line, |(name, _)| name).replace('-', "_").to_ascii_uppercase();
    looks_like_address(line.trim_ascii()) || name.contains(OURS)
}

/// Whether a line sets the endpoint, to whatever.
pub(super) fn sets_endpoint(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let name = name.trim_ascii();
    name.strip_prefix("export").unwrap_or(name).trim_ascii_start() == OURS && looks_like_address(value.trim_ascii())
}

/// Whether a line begins with an address, perhaps in quotes.
pub(super) fn looks_like_address(line: &str) -> bool {
    let is_quote = |c: char| "\"'`<".contains(c) || meant(c).is_some_and(|meant| "\"'".contains(meant));
    let line = line.trim_start_matches(is_quote).to_ascii_lowercase();
    ["ws://", "wss://"].iter().any(|scheme| line.starts_with(scheme))
}
