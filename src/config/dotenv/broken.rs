//! An address that was broken over several lines of `.env`, as mails and terminals break it: its rest is no variable, and secret. Pure.

use super::forms::{OURS, is_about_endpoint, looks_like_address};
use super::{Fault, before_comment};
use crate::endpoint::{is_of_token, is_plain_name, looks_like_token};
use crate::secrecy::{Secret, address};

/// Shortest name with capitals, small letters and digits that is taken for the end of a token, in bytes.
const SHORTEST_MIXED: usize = 8;
/// Shortest name without `_` that is taken for it if there are digits among its letters, in bytes.
const SHORTEST_WORD: usize = 16;
/// Shortest piece that is kept out of sight, in bytes: shorter ones are in any text.
const SHORTEST_SECRET: usize = 4;

/// The address of an endpoint, as far as it has come.
pub(super) struct Broken {
    /// The line in which it begins, from 1.
    line: usize,
    /// The address up to here, with the backslash by which a shell goes on in the next line.
    text: String,
}

/// A line that an address goes on in.
pub(super) struct Rest {
    pub(super) fault: Fault,
    /// What must be seen nowhere.
    pub(super) secrets: Vec<Secret>,
}

impl Broken {
    /// The address that a line sets, or was to set; `None` where it can't go on in the next line.
    pub(super) fn begun(line: usize, text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (name, value) = text.split_once('=').map(|(name, value)| (name, value.trim_ascii())).unwrap_or_default();
        let is_closed = |quote: char| {
            let inside = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            inside.is_some_and(|inside| quote == '\'' || !inside.ends_with('\\'))
        };
        let is_over = text.starts_with('#') || before_comment(text) != text || ['"', '\''].into_iter().any(is_closed);
        if is_over {
            return None;
        }
        if name.trim_ascii().ends_with(OURS) && value.trim_matches(['"', '\'', '\\']).is_empty() {
            return Some(Broken { line, text: String::new() });
        }
        let lower = text.to_ascii_lowercase();
        let at = ["wss://", "ws://"].iter().find_map(|scheme| lower.find(scheme))?;
        let is_one = looks_like_address(value) || is_about_endpoint(text);
        is_one.then(|| Broken { line, text: text[at..].to_owned() })
    }

    /// The line, where the address goes on in it.
    pub(super) fn goes_on(&mut self, line: &str) -> Option<Rest> {
        let line = line.trim_ascii();
        let body = line.trim_end_matches(['"', '\'', '`', '\\']);
        if !self.is_followed_by(body) {
            return None;
        }
        let (name, value) = body.split_once(['=', '&']).unwrap_or((body, ""));
        let piece = if is_of_token(self.parameter(name).as_str()) { value } else { name };
        let piece = piece.split('&').next().filter(|piece| piece.len() >= SHORTEST_SECRET).map(Secret::new);
        self.text.truncate(self.text.trim_end_matches('\\').len());
        self.text.push_str(line);
        let secrets = address::secrets(self.text.trim_end_matches('\\')).into_iter().chain(piece).collect();
        let what = format!("looks like the rest of the address of line {}", self.line);
        Some(Rest { fault: (what, "write the address on one line".to_owned()), secrets })
    }

    /// Whether a line goes on with the address rather than to set a variable.
    fn is_followed_by(&self, body: &str) -> bool {
        if self.text.is_empty() || looks_like_address(body) {
            return self.text.is_empty() && looks_like_address(body);
        }
        let is_word = !body.is_empty() && !body.starts_with('#') && body.chars().all(|c| c.is_ascii_graphic());
        if !is_word || is_about_endpoint(body) {
            return false;
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        // No variable has these in its name. A colon stands for a `=` more often.
        if name.contains(['?', '&', '/', '%', '+', '~']) {
            return true;
        }
        if name.contains(':') {
            return false;
        }
        let Some(value) = value else {
            return !is_plain_name(name) || name.bytes().any(|b| b.is_ascii_digit());
        };
        let is_open = self.text.ends_with(['\\', '?', '&', '=']);
        let is_first_token = !self.has_token() && (is_of_token(name) || is_of_token(self.parameter(name).as_str()));
        if is_first_token || (is_open && !is_plain_name(name)) {
            return true;
        }
        // What base64 ends with, also as mails and addresses write it.
        let padding = value.split('&').next().unwrap_or_default();
        let is_padding = padding.replace("%3D", "").replace("3D", "").chars().all(|c| c == '=');
        is_padding && (padding.contains('=') || name.is_empty() || is_end_of_token(name))
    }

    /// The name of the parameter that the address is in the middle of, where it goes on with a name.
    fn parameter(&self, name: &str) -> String {
        let query = self.text.split_once('?').map_or("", |(_, query)| query.trim_end_matches('\\'));
        format!("{}{name}", query.rsplit('&').next().unwrap_or_default())
    }

    /// Whether something of a token has come.
    fn has_token(&self) -> bool {
        let query = self.text.split_once('?').map_or("", |(_, query)| query.trim_end_matches('\\'));
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(name, value)| is_of_token(name) && !value.is_empty())
    }
}

/// Whether a name is more likely the end of a token than that of a variable.
fn is_end_of_token(name: &str) -> bool {
    let has = |is: fn(&u8) -> bool| name.bytes().any(|b| is(&b));
    let has_digit = has(u8::is_ascii_digit);
    let is_mixed = has_digit && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let is_word = has_digit && has(u8::is_ascii_alphabetic) && !name.contains('_');
    looks_like_token(name) || (is_mixed && name.len() >= SHORTEST_MIXED) || (is_word && name.len() >= SHORTEST_WORD)
}
