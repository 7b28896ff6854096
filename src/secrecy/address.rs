//! What counts as a secret in an address or a header, and the parts of an address that may be shown. Pure.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;

use super::Secret;

/// Shortest text that is taken for a token in places without a telling name, in bytes.
pub(crate) const TOKEN_LENGTH: usize = 16;
/// Shortest user name with a digit that is taken for a token, in bytes.
const TOKEN_AS_USER: usize = 8;
/// Longest password that guards nothing, in bytes: where the user name is the token, the password is only a filler.
const NO_PASSWORD: usize = 5;

/// Whether a name says that its value lets somebody in.
pub(crate) fn is_telling(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    ["token", "key", "secret", "auth", "pass", "pwd", "sig", "cookie", "jwt", "credential", "session", "bearer"]
        .iter()
        .any(|word| name.contains(word))
}

/// Whether a part of a path is long and has a digit, as words rarely do. Other parts are shown: a path helps to find what is
/// wrong.
pub(super) fn is_secret_segment(segment: &str) -> bool {
    segment.len() >= TOKEN_LENGTH && segment.bytes().any(|b| b.is_ascii_digit())
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

/// The parts of an address as it is written, also of one that can't be dialled: that may still hold a good token.
struct Parts<'a> {
    /// The scheme, and the characters between that and the host.
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(address: &'a str) -> Self {
        let scheme = scheme_of(address);
        let (scheme, rest) = address.split_at(scheme);
        let (before, query) = match rest.find(['?', '#']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let authority = before.find(['/', '\\']).unwrap_or(before.len());
        let no_port = |authority: &str| {
            authority.split_once(':').is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit()))
        };
        let at = match before[..authority].rfind('@') {
            // The password has a slash, which should have been written as `%2F`.
            None if no_port(&before[..authority]) => before.rfind('@'),
            at => at,
        };
        let (user, rest) = at.map_or((None, before), |at| (Some(&before[..at]), &before[at + 1..]));
        let (host, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
        Parts { scheme, user, host, path, query }
    }

    /// The address without what lets somebody in.
    fn shown(&self) -> String {
        let mut shown = self.scheme.to_owned();
        if self.user.is_some() {
            shown.push_str("…@");
        }
        shown.push_str(self.host);
        for (n, segment) in self.path.split('/').enumerate() {
            if n > 0 {
                shown.push('/');
            }
            for (n, part) in segment.split(';').enumerate() {
                if n > 0 {
                    shown.push(';');
                }
                match parameter(part) {
                    Some((name, _)) => shown.extend([name, "=…"]),
                    None if is_secret_segment(part) => shown.push('…'),
                    None => shown.push_str(part),
                }
            }
        }
        match self.query {
            Some(query) if query.starts_with("token=") => shown.push_str("?token=…"),
            Some("") => shown.push('?'),
            Some(_) => shown.push_str("?…"),
            None => {}
        }
        shown
    }
}

/// The length of a scheme and the slashes behind, also escaped as in JSON. One slash is enough for a scheme of ours;
/// behind others it would begin a path (`PATH=/bin:/usr/bin`, `C:/`).
fn scheme_of(address: &str) -> usize {
    let name = scheme_name(address.bytes());
    let slashes: &[&str] = if is_ours(&address[..name]) { &[r"://", r":\/\/", ":/"] } else { &[r"://", r":\/\/"] };
    slashes.iter().find(|slashes| address[name..].starts_with(**slashes)).map_or(0, |slashes| name + slashes.len())
}

/// How many bytes at the beginning can be a scheme's name.
fn scheme_name(bytes: impl Iterator<Item = u8>) -> usize {
    bytes.take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count()
}

fn is_ours(scheme: &str) -> bool {
    ["ws", "wss"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours))
}

/// A parameter whose value is secret, by its name or its length.
pub(super) fn parameter(pair: &str) -> Option<(&str, &str)> {
    pair.split_once('=').filter(|(name, value)| is_telling(name) || value.len() >= TOKEN_LENGTH)
}

/// An address without its secrets: the query, user name and password, and tokens in the path.
pub(crate) fn shown(address: &str) -> String {
    Parts::of(address).shown()
}

/// The secret parts of an address, and what these are parts of; also for an address that can't be dialled.
pub(crate) fn secrets(address: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    let address = address.trim_matches(|c: char| c.is_whitespace() || "\"'`<>".contains(c));
    secrets_into(address, &mut found);
    // Once more without blanks: a line break may have been pasted into the middle.
    if address.contains(char::is_whitespace) {
        secrets_into(&address.split_whitespace().collect::<String>(), &mut found);
    }
    found.into_iter().map(Secret::new).collect()
}

/// The values in an address that let somebody in by their names, such as `token`.
pub(crate) fn tokens(address: &str) -> Vec<Secret> {
    let Some(query) = Parts::of(address).query else { return Vec::new() };
    let pairs = query.split(['&', ';', '?', '#']).filter_map(parameter);
    pairs.map(|(_, value)| value).filter(|value| !value.is_empty()).map(Secret::new).collect()
}

/// The secrets of every address in an argument or a variable.
pub(crate) fn in_text(text: &str) -> Vec<Secret> {
    // The whole text counts as one word, too: an address may have been pasted with a line break inside.
    let words = std::iter::once(text).chain(text.split_whitespace());
    let of = |word: &str| match start_in(word) {
        Some(start) => secrets(&word[start..]),
        None if word.contains('?') && word.contains('=') => secrets(word),
        None => Vec::new(),
    };
    words.flat_map(of).collect()
}

/// Whether a text is a variable alone, without a default: its value stands elsewhere.
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1) && !text.contains(":-")
}

/// Where an address begins in a word, if one does.
pub(super) fn start_in(word: &str) -> Option<usize> {
    let colons = word.match_indices(':').map(|(at, _)| at);
    let mut starts = colons.map(|colon| colon - scheme_name(word[..colon].bytes().rev()));
    starts.find(|start| scheme_of(&word[*start..]) > 0)
}

fn secrets_into(address: &str, found: &mut Vec<String>) {
    let Parts { user, path, query, .. } = Parts::of(address);
    if let Some(user) = user {
        user_info(user, found);
    }
    for segment in path.split('/') {
        found.extend(segment.split(';').next().filter(|part| is_secret_segment(part)).map(str::to_owned));
        segment.split(';').filter_map(parameter).for_each(|(name, value)| pair(name, value, found));
    }
    let Some(query) = query else { return };
    found.push(query.to_owned());
    for part in query.split(['&', ';', '?', '#']) {
        match part.split_once('=') {
            None => found.push(part.to_owned()),
            Some(_) => {
                if let Some((name, value)) = parameter(part) {
                    pair(name, value, found);
                }
            }
        }
    }
}

/// The secret value of a parameter, alone, and behind the name, since a short one is not recognised alone. For a JSON Web Token
/// also the parts, but not the first, which most tokens have in common.
fn pair(name: &str, value: &str, found: &mut Vec<String>) {
    found.push(value.to_owned());
    if !value.is_empty() {
        found.push(format!("{name}={value}"));
    }
    if let [_, claims, signature] = value.split('.').collect::<Vec<_>>()[..] {
        found.extend(
            [claims, signature].iter().filter(|part| part.len() >= TOKEN_LENGTH).map(|part| (*part).to_owned()),
        );
    }
}

/// The secrets in `user:password`: together, apart, and as the `Authorization: Basic` that is made of both (RFC 7617).
fn user_info(text: &str, found: &mut Vec<String>) {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    found.extend([text, password].map(str::to_owned));
    let is_token = user.len() >= TOKEN_LENGTH || (user.len() >= TOKEN_AS_USER && has_digit(user));
    if password.len() <= NO_PASSWORD || is_token {
        found.push(user.to_owned());
    }
    let decoded: Vec<u8> = percent_decode_str(text).collect();
    let with_colon = [&decoded[..], b":"].concat();
    for bytes in [&decoded, &with_colon] {
        found.extend([BASE64_STANDARD_NO_PAD.encode(bytes), BASE64_URL_SAFE_NO_PAD.encode(bytes)]);
    }
}

/// What stands before the credentials in a header (RFC 9110 section 11.4).
pub(crate) const SCHEMES: &[&str] = &["Bearer", "Basic", "Digest", "Token", "ApiKey"];

/// Whether a header's value is secret, by the header's name or because one of its words is as long as a token. Other values (who
/// we are, the address of a page) are harmless, and a log without these would be hard to read.
fn is_secret_header(name: &str, value: &str) -> bool {
    let is_page = |word: &str| word.contains("://") && !word.contains(['?', '@']);
    is_telling(name) || value.split(' ').any(|word| word.len() >= TOKEN_LENGTH && !is_page(word))
}

/// The secret parts of a header's value, if that is secret: the whole, the text behind a scheme such as `Bearer`, the values of
/// parameters (`Cookie`, `Digest`), and the user name and password in `Basic`.
pub(crate) fn of_header(name: &str, value: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    if !is_secret_header(name, value) {
        return Vec::new();
    }
    let value = value.trim();
    found.push(value.to_owned());
    let (scheme, credentials) = value.split_once(' ').unwrap_or(("", value));
    found.push(credentials.trim().to_owned());
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(decoded) = BASE64_STANDARD_NO_PAD.decode(credentials.trim().trim_end_matches('='))
    {
        user_info(&String::from_utf8_lossy(&decoded), &mut found);
    }
    for word in credentials.split([' ', ',', ';']).filter(|word| !word.is_empty()) {
        // `=` at the end fills up base64.
        let value = word.trim_end_matches('=').split_once('=').map_or(word, |(_, value)| value);
        found.push(value.trim_matches('"').to_owned());
    }
    // A scheme is a word of every advice about headers, and lets nobody in.
    let is_scheme = |text: &str| SCHEMES.iter().any(|scheme| text.eq_ignore_ascii_case(scheme));
    found.into_iter().filter(|text| !is_scheme(text)).map(Secret::new).collect()
}

/// The arguments of a command line as they may be shown: behind an option whose name says so, the value is hidden. Values that
/// stand in one argument with their name are for [`masked`].
pub(crate) fn shown_arguments(args: &[String]) -> impl Iterator<Item = &str> {
    let names_secret = |arg: &str| arg.starts_with('-') && !arg.contains('=') && is_telling(arg);
    let mut hides = false;
    args.iter().map(move |arg| {
        let is_value = hides && !arg.starts_with('-');
        hides = names_secret(arg);
        if is_value { "…" } else { arg }
    })
}

/// Which addresses in a text are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// WebSocket addresses, and the credentials of any other.
    Ours,
    /// All, and what looks like a piece of one: `host/?token=…`, `token=…`.
    All,
}

/// A text without the secret parts of its addresses, known or not. `None` if there are none.
pub(crate) fn masked(text: &str, scope: Scope) -> Option<String> {
    let is_candidate =
        |text: &str| text.contains(":/") || text.contains(r":\/") || (scope == Scope::All && text.contains('='));
    if !is_candidate(text) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| c.is_whitespace() || "'\"<>`".contains(c)) {
        let end = word.trim_end_matches(|c: char| c.is_whitespace() || "'\"<>`".contains(c)).len();
        // A mark that ends a sentence is no part of an address.
        let end = word[..end].trim_end_matches(['.', ',', ';', ':', ')', ']', '}']).len();
        out.push_str(&masked_word(&word[..end], scope).unwrap_or_else(|| word[..end].to_owned()));
        out.push_str(&word[end..]);
    }
    (out != text).then_some(out)
}

fn masked_word(word: &str, scope: Scope) -> Option<String> {
    if let Some(start) = start_in(word) {
        let (before, address) = word.split_at(start);
        let parts = Parts::of(address);
        let (scheme, _) = parts.scheme.split_once(':')?;
        if is_ours(scheme) || scope == Scope::All {
            return Some(format!("{before}{}", parts.shown()));
        }
        let user =
            parts.user.filter(|user| user.split_once(':').is_some_and(|(_, password)| !is_variable(password)))?;
        return Some(word.replacen(user, "…", 1));
    }
    if scope == Scope::Ours {
        return None;
    }
    let (name, value) = word.split_once('=')?;
    if let Some((address, _)) = name.split_once('?') {
        return Some(format!("{address}?{}", if name.ends_with("?token") { "token=…" } else { "…" }));
    }
    (is_telling(name) && !value.is_empty()).then(|| format!("{name}=…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revealed(secrets: Vec<Secret>) -> Vec<String> {
        secrets.iter().map(|secret| secret.reveal().to_owned()).collect()
    }

    #[test]
    fn the_parts_of_an_address_that_let_somebody_in_are_known() {
        let cases: [(&str, &[&str], &[&str]); 14] = [
            ("wss://h/mcp?v=1&token=ab%2Bcd", &["v=1&token=ab%2Bcd", "ab%2Bcd", "token=ab%2Bcd"], &["1"]),
            ("wss://h/?a=1;token=s3cret;b=2", &["s3cret"], &["1", "2"]),
            ("wss://h/?ApiKey=abc#token=s3cret", &["abc", "s3cret"], &[]),
            ("wss://h/?to%6Ben=s3cret", &["s3cret"], &[]),
            ("wss://h/?s3cret", &["s3cret"], &[]),
            ("wss://h/?x=0123456789abcdef&y=0123456789abcde", &["0123456789abcdef"], &["0123456789abcde"]),
            ("wss://h/?client=mcp-pipe&token=s3cr3t", &["s3cr3t"], &["mcp-pipe"]),
            ("wss://user:passw0rd@h/x", &["passw0rd", "user:passw0rd"], &["user"]),
            ("wss://s3cret@h/x", &["s3cret"], &[]),
            ("wss://t0ken-as-user:x@h", &["t0ken-as-user"], &[]),
            ("ws://u:pass/w0rd@h:1/x", &["pass/w0rd"], &[]),
            ("wss://h/hook/s3cretS3cretS3cret/mcp;key=abc;v=1", &["s3cretS3cretS3cret", "abc"], &["hook", "1"]),
            ("wss://h/v=1/key=abc/mcp", &["abc", "key=abc"], &["1", "mcp"]),
            (
                "wss://h/?token=eyJhbGciOiJFUzI1NiJ9.c2VjcmV0LXNlY3JldA.c2lnbmF0dXJlLXNpZw",
                &["c2lnbmF0dXJlLXNpZw"],
                &["eyJhbGciOiJFUzI1NiJ9"],
            ),
        ];
        for (address, secret, harmless) in cases {
            // However an address is pasted, and also where it can't be dialled.
            for address in [
                address.to_owned(),
                format!(" \"{address}\"\n"),
                address.split_once("://").unwrap_or_default().1.to_owned(),
                address.replace("://", ":/"),
            ] {
                let found = revealed(secrets(&address));
                for want in secret {
                    assert!(found.iter().any(|f| f == want), "{want} of {address} in {found:?}");
                }
                for not in harmless {
                    assert!(!found.iter().any(|f| f == not), "{not} of {address} in {found:?}");
                }
            }
        }
        let broken = revealed(secrets("wss://h/?token=s3c\n  ret"));
        assert!(broken.iter().any(|f| f == "s3cret"), "{broken:?}");
    }

    #[test]
    fn behind_an_option_whose_name_says_so_an_argument_is_hidden() {
        let line = "srv --api-key s3cret -token s3cret --verbose --password --port 80 --auth=x y --key";
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let shown: Vec<&str> = shown_arguments(&args).collect();
        assert_eq!(shown.join(" "), "srv --api-key … -token … --verbose --password --port 80 --auth=x y --key");
    }

    #[test]
    fn an_address_is_found_wherever_a_person_put_it() {
        for text in [
            "--endpoint=wss://h/?token=s3cret",
            "--status-socket=h/x?a=1&token=s3cret",
            "wss:/h/?token=s3cret",
            "first https://h/?token=other then\nwss://h/?token=s3cret",
        ] {
            assert!(revealed(in_text(text)).iter().any(|secret| secret == "s3cret"), "{text}");
        }
        for text in ["mcp_config.json", "/run/mcp.sock", "C:/x", "a=1", "what?"] {
            assert!(in_text(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_also_known_as_the_header_that_is_made_of_them() {
        let found = revealed(secrets("ws://Aladdin:open%20sesame@h/"));
        assert!(found.iter().any(|f| f == "QWxhZGRpbjpvcGVuIHNlc2FtZQ"), "{found:?}");
        let found = revealed(secrets("ws://s3cret@h/"));
        for with_or_without_colon in ["czNjcmV0", "czNjcmV0Og"] {
            assert!(found.iter().any(|f| f == with_or_without_colon), "{found:?}");
        }
    }

    #[test]
    fn a_header_gives_its_credentials_and_a_harmless_one_nothing() {
        for (name, value, secret) in [
            ("Authorization", "Bearer abcdef", "abcdef"),
            ("Authorization", "Bearer abcdef", "Bearer abcdef"),
            ("proxy-authorization", "abcdef", "abcdef"),
            ("Authorization", "Basic dXNlcjpwYXNzdzByZA==", "passw0rd"),
            ("Authorization", "Digest username=\"u\", response=\"abcdef\"", "abcdef"),
            ("cookie", "id=abcdef", "id=abcdef"),
            ("cookie", "a=1; id=abcdef", "abcdef"),
            ("x-api-key", "abcdef==", "abcdef=="),
            ("x-who", "Bearer abcdefghijklmnop", "abcdefghijklmnop"),
            ("x-hook", "https://h/?abcdefghijklmnop", "https://h/?abcdefghijklmnop"),
        ] {
            let found = revealed(of_header(name, value));
            assert!(found.iter().any(|f| f == secret), "{name}: {found:?}");
        }
        for (name, value) in [
            ("x-client", "server"),
            ("origin", "http://homeassistant.local"),
            ("x-n", "a b c d e f g h i"),
            ("Authorization", "Bearer "),
            ("authorization", "basic"),
        ] {
            assert!(of_header(name, value).is_empty(), "{name}");
        }
    }

    #[test]
    fn of_an_address_in_a_text_only_what_lets_nobody_in_is_left() {
        for (text, ours, all) in [
            (
                "to wss://u:p@h:8/mcp/?token=x; done",
                "to wss://…@h:8/mcp/?token=…; done",
                "to wss://…@h:8/mcp/?token=…; done",
            ),
            ("'WSS://h/?a=1;token=x'", "'WSS://h/?…'", "'WSS://h/?…'"),
            ("wss:/h/?token=x", "wss:/h/?token=…", "wss:/h/?token=…"),
            (
                r#"{"u":"wss:\/\/h\/m\/?token=x"}"#,
                r#"{"u":"wss:\/\/h\/m\/?token=…"}"#,
                r#"{"u":"wss:\/\/h\/m\/?token=…"}"#,
            ),
            ("ws://h/hook/s3cretS3cretS3cret/x", "ws://h/hook/…/x", "ws://h/hook/…/x"),
            ("ws://h/v=1/key=x/mcp;key=x;v=1", "ws://h/v=1/key=…/mcp;key=…;v=1", "ws://h/v=1/key=…/mcp;key=…;v=1"),
            ("get http://h/?page=2&key=x.", "get http://h/?page=2&key=x.", "get http://h/?…."),
            ("postgres://u:p@h/db", "postgres://…@h/db", "postgres://…@h/db"),
            ("postgres://u:${P}@h/db", "postgres://u:${P}@h/db", "postgres://…@h/db"),
            ("postgres://u:${P:-p}@h/db", "postgres://…@h/db", "postgres://…@h/db"),
            ("http://u@h/", "http://u@h/", "http://…@h/"),
            ("'h.example/mcp/?token=x'", "'h.example/mcp/?token=x'", "'h.example/mcp/?token=…'"),
            ("'h.example/mcp/?a=1&token=x'", "'h.example/mcp/?a=1&token=x'", "'h.example/mcp/?…'"),
            ("--api-key=x --port=1", "--api-key=x --port=1", "--api-key=… --port=1"),
        ] {
            assert_eq!(masked(text, Scope::Ours).as_deref().unwrap_or(text), ours);
            assert_eq!(masked(text, Scope::All).as_deref().unwrap_or(text), all);
            assert_eq!(masked(all, Scope::All), None, "what is masked stays as it is");
        }
        for text in [
            "set it in one of three ways: MCP_ENDPOINT=wss://… in the environment or in a file .env; --endpoint wss://…; or",
            "is not a valid URL (expected something like wss://host/path?token=…)",
            "searched PATH=/usr/local/bin:/usr/bin:/home/somebody-2026-11-28/bin",
            "mcp_config.json:7:15 mcpServers.a: is a number, not a text; C:/Users/somebody-2026-11-28/x",
        ] {
            assert_eq!(masked(text, Scope::All), None, "{text}");
        }
    }
}
