//! Which parts of a server's settings may let somebody in, for whoever puts these elsewhere and shows the rest. Pure.
//!
//! Doubt is enough to put a part elsewhere, where it does what it did: what stays is plainly no secret.

use std::ops::Range;

use serde_json::Value;

use super::address::{SCHEMES, is_secret_segment, is_telling, is_variable, parameter, start_in};
use super::stranger::looks_secret;

/// How tokens of well-known services begin.
const PREFIXES: &[&str] = &[
    "sk-",
    "pk-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xox",
    "hf_",
    "AKIA",
    "AIza",
    "eyJ",
    "ntn_",
    "npm_",
];
/// How the name of a variable or an option ends that holds a place, and no secret.
const PLACES: &[&str] = &["file", "path", "dir", "folder", "url", "uri", "host", "endpoint", "type", "mode", "name"];
/// Headers that say what is sent or wanted, not who asks.
const HARMLESS_HEADERS: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-type",
    "host",
    "mcp-protocol-version",
    "origin",
    "referer",
    "user-agent",
];
/// Options behind which no value stands, but the next argument.
const FLAGS: &[&str] =
    &["i", "t", "it", "d", "y", "rm", "init", "interactive", "tty", "detach", "yes", "quiet", "verbose"];
/// Words at the end of the name of a code that a person keeps, too short to be looked for inside of other words.
const CODES: &[&str] = &["pin", "otp", "pw", "psk", "pat", "psw"];
/// How many digits a PIN has.
const PIN: std::ops::RangeInclusive<usize> = 4..=8;
/// What such a name ends with besides.
const CODE_ENDS: &[&str] = &["code", "_", "-", "."];
/// Options of one letter behind which a password may stand in the same word, as in `mysql -pPASSWORD`.
const JOINED: &[char] = &['p', 'P', 'k'];
/// The same of a user with a password.
const JOINED_PAIRS: &[char] = &['u', 'U'];
/// Shortest password in one word with its option: shorter are numbers of versions.
const SHORTEST_JOINED: usize = 4;
/// Options that take a key, by their one letter.
const SHORT_KEYS: &[&str] = &["k"];
/// What may stand before a colon without being a user: registries of packages.
const REGISTRIES: &[&str] = &["npm", "jsr", "pypi", "docker", "github", "gitlab", "git", "file", "node"];
/// Fewest letters and digits in a row, digits among them, that are no name of a file or folder.
const LONG_NAME: usize = 32;
/// Longest user name of an address that is shown where a password follows, in bytes.
const USER: usize = 8;

/// A part that may be secret: where it is in its text, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: Range<usize>,
    pub(crate) name: String,
}

impl Part {
    fn new(range: Range<usize>, name: &str) -> Self {
        Part { range, name: name.to_owned() }
    }

    fn moved(mut self, by: usize) -> Self {
        self.range = self.range.start + by..self.range.end + by;
        self
    }
}

/// Fewest characters of a secret that is looked for elsewhere: less would be found by chance. With a digit fewer do.
const FOUND: usize = 6;
const FOUND_WITH_DIGIT: usize = 4;

/// Where a secret stands in a text; one that is a word, only as a word.
pub(crate) fn occurrences(text: &str, secret: &str) -> Vec<Range<usize>> {
    let has_digit = secret.bytes().any(|b| b.is_ascii_digit());
    if secret.len() < if has_digit { FOUND_WITH_DIGIT } else { FOUND } {
        return Vec::new();
    }
    let is_part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let is_alone = |at: usize| {
        !is_part_of_word(text[..at].chars().next_back()) && !is_part_of_word(text[at + secret.len()..].chars().next())
    };
    let is_word = is_plain(secret);
    let found = text.match_indices(secret).map(|(at, _)| at).filter(|at| !is_word || is_alone(*at));
    found.map(|at| at..at + secret.len()).collect()
}

/// Parts in order, with one in place of those that overlap.
pub(crate) fn merged(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_by_key(|part| part.range.start);
    let mut merged: Vec<Part> = Vec::new();
    for part in parts {
        match merged.last_mut().filter(|last| part.range.start < last.range.end) {
            Some(last) => last.range.end = last.range.end.max(part.range.end),
            None => merged.push(part),
        }
    }
    merged
}

/// Whether a value lets somebody in, by the name that it has.
fn is_named_secret(name: &str, value: &str) -> bool {
    is_telling(name) || is_code(name, value)
}

/// Whether a name is that of a code such as a PIN, and the value may be one. Where no boundary stands before `pin` or `pat`, the name may be
/// another word (`spin`, `compat`); a pin of a chip has a short number.
fn is_code(name: &str, value: &str) -> bool {
    let mut name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    while let Some(rest) = CODE_ENDS.iter().find_map(|end| without_end(name, end)) {
        name = rest;
    }
    let Some((before, code)) = CODES.iter().find_map(|code| Some((without_end(name, code)?, *code))) else {
        return false;
    };
    let value = value.trim();
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    let stands_alone = before.chars().next_back().is_none_or(|last| {
        let is_capital = name[before.len()..].starts_with(|first: char| first.is_ascii_uppercase());
        !last.is_alphabetic() || (last.is_lowercase() && is_capital)
    });
    match code {
        "pin" if stands_alone => !is_number || value.len() >= FOUND_WITH_DIGIT,
        "pin" => is_number && PIN.contains(&value.len()) && !before.ends_with(['s', 'S']),
        "pat" => stands_alone,
        _ => true,
    }
}

/// A name without this end, in capitals or not.
fn without_end<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let (before, last) = name.split_at_checked(name.len().checked_sub(end.len())?)?;
    last.eq_ignore_ascii_case(end).then_some(before)
}

/// Whether a name is that of a password itself, so that even `true` may be one, and no switch.
fn is_password_name(name: &str) -> bool {
    ["password", "passwd", "passphrase", "passcode", "pwd", "pass"].iter().any(|end| without_end(name, end).is_some())
}

/// The parts of the value of a variable.
pub(crate) fn of_variable(name: &str, value: &str) -> Vec<Part> {
    let whole = || vec![Part::new(0..value.len(), name)];
    let is_switch = ["true", "false"].contains(&value.trim()) && !is_password_name(name);
    if value.trim().is_empty() || is_switch {
        return Vec::new();
    }
    if start_in(value).is_some() {
        // One address: only its secret parts go. Anything else around it goes with it.
        let is_one = start_in(value) == Some(0) && !value.contains(char::is_whitespace);
        return if is_one { of_address(value) } else { whole() };
    }
    let is_secret = (is_named_secret(name, value) && !is_place_name(name)) || is_pair(value) || !is_plain(value);
    if is_secret { whole() } else { Vec::new() }
}

/// The parts of the value of a header: what stands behind a scheme such as `Bearer`.
pub(crate) fn of_header(name: &str, value: &str) -> Vec<Part> {
    let scheme = |text: &&str| value.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text));
    let begin =
        SCHEMES.iter().find(|text| scheme(text) && value[text.len()..].starts_with(' ')).map_or(0, |s| s.len() + 1);
    let is_known = HARMLESS_HEADERS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless));
    if value[begin..].trim().is_empty() || (is_known && begin == 0 && is_harmless_header(value)) {
        return Vec::new();
    }
    vec![Part::new(begin..value.len(), name)]
}

/// Whether a header that says nothing of who asks holds what such headers do: words, numbers, kinds, the address of a page.
fn is_harmless_header(value: &str) -> bool {
    match start_in(value) {
        Some(start) => start == 0 && of_address(value).is_empty(),
        None => value.split(|c: char| ",;=()".contains(c) || c.is_whitespace()).all(is_plain),
    }
}

/// The parts of an address: password, tokens in its path, values of its query.
pub(crate) fn of_address(address: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let begin = address.find("://").map_or(0, |at| at + "://".len());
    let at = |from: usize, marks: &[char]| address[from..].find(marks).map_or(address.len(), |at| from + at);
    let authority = at(begin, &['/', '?', '#']);
    let path = at(authority, &['?', '#']);
    if let Some(end) = address[begin..authority].rfind('@').map(|end| begin + end) {
        match address[begin..end].find(':').map(|colon| begin + colon) {
            Some(colon) => {
                if colon - begin >= USER && !is_plain(&address[begin..colon]) {
                    found.push(Part::new(begin..colon, "user"));
                }
                found.push(Part::new(colon + 1..end, "password"));
            }
            None => found.push(Part::new(begin..end, "user")),
        }
    }
    let mut from = authority;
    for segment in address[authority..path].split('/') {
        let secret = match parameter(segment) {
            Some((name, value)) => Some(Part::new(name.len() + 1..name.len() + 1 + value.len(), name)),
            None if is_secret_segment(segment) || is_token(segment) => Some(Part::new(0..segment.len(), "key")),
            None => None,
        };
        found.extend(secret.map(|part| part.moved(from)));
        from += segment.len() + 1;
    }
    let mut from = (path + 1).min(address.len());
    for pair in address[from..].split(['&', ';', '#', '?']) {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        if !value.is_empty() && (is_named_secret(name, value) || !is_plain(value)) {
            let name_or = if name.is_empty() { "key" } else { name };
            found.push(Part::new(pair.len() - value.len()..pair.len(), name_or).moved(from));
        }
        from += pair.len() + 1;
    }
    found.retain(|part| !part.range.is_empty());
    found
}

/// The parts of arguments, each with the place of its argument.
pub(crate) fn of_arguments(args: &[&str]) -> Vec<(usize, Part)> {
    let mut found = Vec::new();
    let mut before = "";
    for (n, arg) in args.iter().enumerate() {
        let option = if before.starts_with('-') && !before.contains('=') { before } else { "" };
        found.extend(of_argument(option, arg).into_iter().map(|part| (n, part)));
        before = arg;
    }
    found
}

/// The parts of an argument, which may be the value of the option that stands before it.
fn of_argument(option: &str, arg: &str) -> Vec<Part> {
    let whole = |name: &str| vec![Part::new(0..arg.len(), name)];
    let bare = option.trim_start_matches('-');
    let is_value = !arg.is_empty() && !arg.starts_with('-') && !bare.is_empty() && !FLAGS.contains(&bare);
    let name = if bare.is_empty() { "arg" } else { bare };
    if is_value && ["header", "H"].contains(&bare) {
        return header_in(arg);
    }
    if is_value
        && ((is_named_secret(bare, arg) && !is_place_name(bare)) || (SHORT_KEYS.contains(&bare) && !is_place(arg)))
    {
        return whole(bare);
    }
    if let Some(part) = joined(arg) {
        return vec![part];
    }
    if let Some((name, value)) = arg.split_once('=').map(|(name, value)| (without_sigil(name), value))
        && start_in(name).is_none()
        && name.trim_start_matches('-').chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        let (inner, begin) = (name.trim_start_matches('-'), arg.len() - value.len());
        let parts = match inner {
            "header" => header_in(value),
            "env" | "e" => of_argument("", value),
            // Variables stand in capitals: there doubt is enough.
            _ if is_named_secret(inner, value) || inner.chars().all(|c| !c.is_ascii_lowercase()) => {
                of_variable(inner, value)
            }
            _ if name.starts_with('-') => of_argument(name, value),
            _ => of_argument("", value).into_iter().map(|part| Part { name: inner.to_owned(), ..part }).collect(),
        };
        return parts.into_iter().map(|part| part.moved(begin)).collect();
    }
    if arg.starts_with(['{', '[']) {
        return if is_harmless_json(arg) { Vec::new() } else { whole(name) };
    }
    if let Some((user, rest)) = arg.split_once(':')
        && start_in(arg).is_none()
        && let Some((password, host)) = rest.rsplit_once('@')
        && is_user(user)
        && !(password.is_empty() || password.starts_with('@') || host.starts_with("sha256:"))
    {
        let begin = user.len() + 1;
        return vec![Part::new(begin..begin + password.len(), "password")];
    }
    if let Some(start) = start_in(arg).filter(|_| !arg.contains(char::is_whitespace)) {
        // What stands around an address may be a secret as well.
        if !is_plain(&arg[..start]) || arg.contains(['"', '\'', '{']) && !arg.contains("${") {
            return whole(name);
        }
        return of_address(&arg[start..]).into_iter().map(|part| part.moved(start)).collect();
    }
    if arg.split_once(": ").or_else(|| arg.split_once(':')).is_some_and(|(name, value)| is_named_secret(name, value)) {
        return header_in(arg);
    }
    if (is_value && is_pair(arg)) || is_token(arg) || (arg.contains(char::is_whitespace) && tells(arg)) {
        return whole(name);
    }
    Vec::new()
}

/// The password that stands in one word with the letter of its option. Letters alone may be the rest of a long option (`-pthread`), and
/// what is plain a port.
fn joined(arg: &str) -> Option<Part> {
    let mut letters = arg.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let rest = letters.as_str();
    let has_digit = rest.bytes().any(|b| b.is_ascii_digit());
    let is_password = JOINED.contains(&letter) && rest.len() >= SHORTEST_JOINED && has_digit && !rest.contains('=');
    let is_password = is_password && !is_plain(rest) && !is_times(rest);
    let is_secret = is_password || (JOINED_PAIRS.contains(&letter) && is_pair(rest));
    is_secret.then(|| Part::new(arg.len() - rest.len()..arg.len(), "password"))
}

/// Whether a text of several words, such as a line for a shell, has a secret among them.
fn tells(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`;|&()".contains(c)).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.map(without_sigil).collect();
    (0..words.len()).any(|at| is_set_to_secret(&words[at..])) || !of_arguments(&words).is_empty()
}

/// Whether the first of these words is given a secret by those behind it: `name: value`, `name = value`, and a variable as shells set
/// one, `set -x NAME value`.
fn is_set_to_secret(words: &[&str]) -> bool {
    let [name, behind @ ..] = words else { return false };
    let is_mark = |word: &&&str| !word.contains(char::is_alphanumeric);
    let Some(value) = behind.iter().find(|word| !is_mark(word)) else { return false };
    let mut marks = behind.iter().take_while(is_mark);
    let is_assigned = name.ends_with([':', '=']) || marks.any(|mark| mark.contains('='));
    let name = name.trim_end_matches([':', '=']);
    let is_variable = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    (is_assigned && is_named_secret(name, value)) || (is_variable && !of_variable(name, value).is_empty())
}

/// The name of a variable without what PowerShell writes before it.
fn without_sigil(name: &str) -> &str {
    let bare = name.strip_prefix('$').unwrap_or(name);
    let env = bare.get(..4).filter(|env| env.eq_ignore_ascii_case("env:"));
    env.map_or(bare, |env| &bare[env.len()..])
}

/// Whether all that a JSON text says is plainly no secret.
fn is_harmless_json(text: &str) -> bool {
    fn is_harmless(name: &str, value: &Value) -> bool {
        match value {
            Value::String(text) => is_variable(text) || of_variable(name, text).is_empty(),
            Value::Number(number) => {
                let number = number.to_string();
                number.len() < 9 && !is_named_secret(name, &number)
            }
            Value::Array(items) => items.iter().all(|item| is_harmless(name, item)),
            Value::Object(members) => members.iter().all(|(name, member)| is_harmless(name, member)),
            Value::Null | Value::Bool(_) => true,
        }
    }
    serde_json::from_str(text).is_ok_and(|value| is_harmless("", &value))
}

/// Whether a text may be the user before a password.
fn is_user(text: &str) -> bool {
    !text.is_empty()
        && !REGISTRIES.contains(&text)
        && !text.contains(|c: char| c.is_whitespace() || "/\\@$={".contains(c))
}

/// Whether a text looks like `user:password`, and not like a host with its port, a place or a number.
fn is_pair(text: &str) -> bool {
    let Some((user, password)) = text.trim().split_once(':') else { return false };
    let port = password.split('/').next().unwrap_or_default();
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    is_user(user) && !password.is_empty() && !password.starts_with(['/', '\\', ':']) && !is_port && !is_times(text)
}

/// Whether there are numbers only, as in a time or an IPv6 address.
fn is_times(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit() || ":.-[]%".contains(c)) && text.matches(':').count() > 1
}

/// The parts of a whole header, `Name: value`.
fn header_in(text: &str) -> Vec<Part> {
    let Some((name, value)) = text.split_once(':') else { return of_variable("header", text) };
    let value = value.trim_start();
    of_header(name.trim(), value).into_iter().map(|part| part.moved(text.len() - value.len())).collect()
}

/// Whether a name says that a place or a kind stands there, and no secret.
fn is_place_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PLACES.iter().any(|end| name.ends_with(end))
}

/// Whether a text is a place in a file system.
fn is_place(text: &str) -> bool {
    let drive = text.as_bytes().get(1) == Some(&b':') && text.starts_with(|c: char| c.is_ascii_alphabetic());
    // A variable, and what stands behind it; its default may be a secret.
    let variable = text.starts_with("${") && text.contains("}/") && !text.contains(":-");
    let begins =
        drive || variable || text == "." || ["/", "./", "../", "~/"].iter().any(|begin| text.starts_with(begin));
    let file = text.contains('/') && text.rsplit_once('.').is_some_and(|(_, end)| (1..=5).contains(&end.len()));
    (begins || file) && !text.split(['/', '\\']).any(is_long_name)
}

fn is_long_name(part: &str) -> bool {
    let mut pieces = part.split(|c: char| !c.is_ascii_alphanumeric());
    pieces.any(|piece| piece.len() >= LONG_NAME && piece.bytes().any(|b| b.is_ascii_digit()))
}

/// Whether a text that stands alone is most likely a token, and no name of a program, package or file.
fn is_token(text: &str) -> bool {
    if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) && text.len() >= 16 {
        return true;
    }
    if is_place(text) {
        return false;
    }
    // The scope of a package of npm may be one long word.
    let scoped = text.strip_prefix('@').and_then(|text| text.split_once('/'));
    let scoped = scoped.filter(|(scope, _)| scope.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    looks_secret(scoped.map_or(text, |(_, name)| name))
}

/// Whether a value of this name is plainly no secret.
pub(crate) fn is_harmless(name: &str, text: &str) -> bool {
    !is_named_secret(name, text) && is_plain(text)
}

/// Whether a value is plainly no secret: words, numbers, a place.
fn is_plain(text: &str) -> bool {
    let is_piece = |piece: &str| {
        let letters = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = piece.len() - letters.len();
        letters.bytes().all(|b| b.is_ascii_alphabetic()) && digits <= 9 && (digits == 0 || letters.len() <= 3)
    };
    let known = |c: char| c.is_ascii_alphanumeric() || " -_./:,@+*".contains(c);
    is_place(text)
        || (text.chars().all(known)
            && !looks_secret(text)
            && text.split(|c: char| !c.is_ascii_alphanumeric()).all(is_piece))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A text with `…` in place of each part.
    fn without(text: &str, parts: Vec<Part>) -> String {
        let mut text = text.to_owned();
        for part in parts.into_iter().rev() {
            text.replace_range(part.range, "…");
        }
        text
    }

    #[test]
    fn of_variables_plain_words_numbers_and_places_stay() {
        for (name, value, want) in [
            ("GITHUB_TOKEN", "abc", "…"),
            ("API_KEY", "correct horse", "…"),
            ("FOO", "hunter2", "…"),
            ("FOO", "p@ss!word", "…"),
            ("FOO", "0123456789abcdef0123456789abcdef", "…"),
            ("SETTINGS", "{\"token\":\"x\"}", "…"),
            ("DATABASE_URL", "postgres://u:s3cret@db:5432/x", "postgres://u:…@db:5432/x"),
            ("HOOK", "https://h.example/services/T0000000000000A1/b", "https://h.example/services/…/b"),
            ("HOOKS", "https://a.example/ https://b.example/", "…"),
            ("CREDS", "bob:letmein", "…"),
            ("LISTEN", "localhost:8080", "localhost:8080"),
            ("AT", "12:30:00", "12:30:00"),
            ("VOLUMES", "/a:/b", "/a:/b"),
            ("AUTH_ENABLED", "true", "true"),
            ("KEY_FILE", "/run/key.pem", "/run/key.pem"),
            ("PORT", "8080", "8080"),
            ("HOST", "127.0.0.1:8080", "127.0.0.1:8080"),
            ("NODE_ENV", "production", "production"),
            ("REGION", "eu-west-1", "eu-west-1"),
            ("ROOT", "/home/user123/some_folder", "/home/user123/some_folder"),
            ("BASE", "https://api.example.com/v1", "https://api.example.com/v1"),
            ("EMPTY", "", ""),
            ("PASSWORD", "true", "…"),
            ("PIN", "7788", "…"),
            ("MYPIN", "7788", "…"),
            ("doorPin", "7788", "…"),
            ("PIN_CODE_2", "7788", "…"),
            ("OTP", "553311", "…"),
            ("PW", "abc", "…"),
            ("SPIN", "7788", "7788"),
            ("LED_PIN", "13", "13"),
            ("OPTION", "7788", "7788"),
            ("DBPW", "abc", "…"),
            ("GH_PAT", "lily", "…"),
            ("COMPAT", "2024", "2024"),
            ("PINECONE_ENV", "us-east-1", "us-east-1"),
        ] {
            assert_eq!(without(value, of_variable(name, value)), want, "{name}");
        }
    }

    #[test]
    fn of_headers_the_scheme_stays_and_of_addresses_what_lets_nobody_in() {
        for (name, value, want) in [
            ("Authorization", "Bearer abc", "Bearer …"),
            ("authorization", "abc", "…"),
            ("X-Api-Key", "abc", "…"),
            ("X-Other", "Bearer abc", "Bearer …"),
            ("X-Other", "a8f3e9d1b2", "…"),
            ("X-Login", "bob:letmein", "…"),
            ("X-Other", "letmein", "…"),
            ("User-Agent", "curl/8.5.0 (x86; en)", "…"),
            ("User-Agent", "curl/8.5.0", "curl/8.5.0"),
            ("Accept", "application/json, text/event-stream;q=0.9", "application/json, text/event-stream;q=0.9"),
            ("Referer", "https://h.example/?key=abc", "…"),
            ("Content-Type", "application/json", "application/json"),
            ("Accept", "*/*", "*/*"),
        ] {
            assert_eq!(without(value, of_header(name, value)), want, "{name}");
        }
        for (address, want) in [
            ("https://u:p@h.example/", "https://u:…@h.example/"),
            ("https://s3cr3t@h.example/", "https://…@h.example/"),
            ("https://h.example/mcp?token=abc&x=1&tz=utc", "https://h.example/mcp?token=…&x=1&tz=utc"),
            ("https://h.example/mcp?a8f3e9d1b2", "https://h.example/mcp?…"),
            ("https://h.example/mcp/sk-ak-012345678901/sse", "https://h.example/mcp/…/sse"),
            ("wss://h.example/?token=e.y.J", "wss://h.example/?token=…"),
            ("http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080/mcp"),
            ("https://h.example/#a8f3e9d1b2", "https://h.example/#…"),
        ] {
            assert_eq!(without(address, of_address(address)), want);
        }
    }

    #[test]
    fn of_arguments_names_of_programs_packages_and_files_stay() {
        let line = |text: &str| {
            let args: Vec<&str> = text.split('|').collect();
            let mut shown: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            for (n, part) in of_arguments(&args).into_iter().rev() {
                shown[n].replace_range(part.range, "…");
            }
            shown.join("|")
        };
        for (text, want) in [
            ("-y|@modelcontextprotocol/server-github@2025.4.8", "-y|@modelcontextprotocol/server-github@2025.4.8"),
            ("--api-key|abc", "--api-key|…"),
            ("--token=abc|x", "--token=…|x"),
            ("--key-file|/run/key.pem|--port|8080", "--key-file|/run/key.pem|--port|8080"),
            ("run|-e|API_KEY=abc|-e|HOME|mcp/x", "run|-e|API_KEY=…|-e|HOME|mcp/x"),
            ("--env=API_KEY=abc", "--env=API_KEY=…"),
            (
                "mcp-remote|https://h.example/mcp|--header|Authorization: Bearer abc",
                "mcp-remote|https://h.example/mcp|--header|Authorization: Bearer …",
            ),
            ("--header|Authorization:abc", "--header|Authorization:…"),
            ("--header=X-Key: abc", "--header=X-Key: …"),
            ("postgresql://u:s3cret@db/x", "postgresql://u:…@db/x"),
            ("--url=https://h.example/?key=abc", "--url=https://h.example/?key=…"),
            (r#"--config|{"apiKey":"S3cr3tP4ss","url":"https://h"}"#, "--config|…"),
            (r#"{"args":["{\"password\":\"x\"}"]}"#, "…"),
            (
                r#"--config|{"lang":"en","port":80,"key":"${KEY}"}"#,
                r#"--config|{"lang":"en","port":80,"key":"${KEY}"}"#,
            ),
            ("u:S3cr3tP4ss@tcp(h)/d", "u:…@tcp(h)/d"),
            ("--dsn=u:S3cr3tP4ss@tcp(h)/d", "--dsn=u:…@tcp(h)/d"),
            ("-u|admin:letmein", "-u|…"),
            ("--user|bob:letmein", "--user|…"),
            ("--user=bob:letmein", "--user=…"),
            ("-k|letmein", "-k|…"),
            ("--pin|7788", "--pin|…"),
            ("--otp=553311", "--otp=…"),
            (
                "--pin-version|1.2|--ping|7788|--spin|7788|--pin|13",
                "--pin-version|1.2|--ping|7788|--spin|7788|--pin|13",
            ),
            ("-ptiger77", "-p…"),
            ("-pcorrect59|-h|db", "-p…|-h|db"),
            ("-uadmin:letmein", "-u…"),
            (
                "-p8080|-p8080:80/tcp|-p|8080|-pthread|-u1000:1000|-Xmx512m|-py3|-p[::1]:80:80",
                "-p8080|-p8080:80/tcp|-p|8080|-pthread|-u1000:1000|-Xmx512m|-py3|-p[::1]:80:80",
            ),
            (r#"{"pin": 7788}"#, "…"),
            ("pwsh|-Command|$env:API_TOKEN = 'tiger-lily-77'; & srv", "pwsh|-Command|…"),
            ("-Command|$env:TOK='correct76'; srv", "-Command|$env:TOK=…"),
            ("-Command|& { $Env:TOK = 'correct76' ; srv }", "-Command|…"),
            ("-Command|$token = 'letmein'; srv $token", "-Command|…"),
            ("fish|-c|set -x TOK tigerlily99; srv", "fish|-c|…"),
            ("csh|-c|setenv API_TOKEN lily; srv", "csh|-c|…"),
            ("-c|import os; os.environ['TOK'] = 'correct76'", "-c|…"),
            (
                "-c|set -x LEVEL debug; curl -X POST https://h.example/",
                "-c|set -x LEVEL debug; curl -X POST https://h.example/",
            ),
            ("-Command|$env:LEVEL = 'debug'; & srv", "-Command|$env:LEVEL = 'debug'; & srv"),
            ("host=h password=letmein dbname=x", "host=…"),
            ("sh|-c|npx -y x --api-key letmein", "sh|-c|…"),
            ("sh|-c|curl -H 'X-Key: abc' https://h.example/", "sh|-c|curl -H 'X-Key: …"),
            ("sh|-c|cd /srv && npx -y x --verbose", "sh|-c|cd /srv && npx -y x --verbose"),
            ("token=abc,https://h.example/", "token=…"),
            ("run|-i|--rm|-p|8080:80|-v|/a:/b|img:latest", "run|-i|--rm|-p|8080:80|-v|/a:/b|img:latest"),
            ("-y|npm:@scope/x@1.2", "-y|npm:@scope/x@1.2"),
            ("ghp_0123456789abcdefABCD", "…"),
            ("0123456789abcdef0123456789abcdef", "…"),
            ("--from|git+https://github.com/o/r.git|main.py", "--from|git+https://github.com/o/r.git|main.py"),
            (
                "/home/u/projects|./server.py|src/index.js|--verbose",
                "/home/u/projects|./server.py|src/index.js|--verbose",
            ),
        ] {
            assert_eq!(line(text), want);
        }
    }

    proptest! {
        #[test]
        fn parts_lie_in_their_text_one_behind_the_other(text in r"[a-z0-9:/@?&=#;. é-]{0,40}") {
            for parts in [of_variable("x", &text), of_header("x", &text), of_address(&text), of_argument("-x", &text)] {
                let mut end = 0;
                for part in parts {
                    prop_assert!(part.range.start >= end && text.get(part.range.clone()).is_some(), "{part:?}");
                    end = part.range.end;
                }
            }
        }

        #[test]
        fn a_token_is_found_wherever_it_stands(token in "[a-z]{3}[0-9]{4}[A-Z]{5}[a-z0-9]{12}") {
            for text in [format!("https://h.example/?x={token}"), format!("https://u:{token}@h.example/"), token.clone()] {
                prop_assert!(!without(&text, of_variable("X", &text)).contains(&token));
                prop_assert!(!without(&text, of_argument("", &text)).contains(&token));
            }
        }
    }
}
