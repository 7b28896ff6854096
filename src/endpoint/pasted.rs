//! What people paste where an endpoint belongs: which quotes around an address are taken away, and why a text is no address.
//! Pure.

use super::{EndpointError, Variable};
use crate::words::{character, meant};

/// Pairs that shells, file formats and mails put around an address.
const AROUND: &[(char, char)] = &[('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('[', ']')];
/// Pairs that no address has around it, besides quotes: those of sentences.
const IN_SENTENCES: &[(char, char)] =
    &[('(', ')'), ('（', '）'), ('【', '】'), ('《', '》'), ('〈', '〉'), ('［', '］')];
/// Marks that end a sentence or a part of one, which come along when an address is copied out of it.
const ENDS: &str = "。．，、；：！？）】》〉］」』”’";
/// Line breaks and tabs as programs write them, and shells hand them on; and the backslash with which a shell goes on in the next line.
const ESCAPES: &[&str] = &["\\n", "\\r", "\\t", "\\"];
/// What stands in the place of a host in Chinese examples.
const HOSTS_IN_CHINESE: &[&str] = &["地址", "域名", "主机", "接入点", "端点", "服务器"];
/// Most pairs that are taken away: one that a shell wants, and one from the file that the text was copied from.
const PAIRS: usize = 2;

/// Longest word that is taken for an example's, in bytes. Tokens are longer, and random letters may spell any of the words below.
const LONGEST_EXAMPLE: usize = 40;
/// Beginnings of an example's words for a reader's own things, in lower case and with `_` before each part.
const YOURS: &[&str] = &["_your_", "_yourtoken", "_yourendpoint", "_yourkey"];
/// The same, looked for in the parameters of an address only: a host may have such a name.
const EXAMPLES: &[&str] = &[
    "change_me",
    "changeme",
    "example_token",
    "fill_in",
    "insert_",
    "paste_",
    "placeholder",
    "replace_",
    "sample_token",
];

/// What the words of examples are made of, in lower case. Nothing else of a word is shown to anybody: it may be of a token.
const VOCABULARY: &[&str] = &[
    "access",
    "address",
    "agent",
    "api",
    "auth",
    "change",
    "changeme",
    "endpoint",
    "enter",
    "example",
    "fill",
    "here",
    "id",
    "in",
    "insert",
    "it",
    "jwt",
    "key",
    "mcp",
    "me",
    "my",
    "own",
    "paste",
    "placeholder",
    "put",
    "replace",
    "sample",
    "secret",
    "server",
    "the",
    "this",
    "todo",
    "token",
    "url",
    "value",
    "with",
    "xiaozhi",
    "your",
    "yourendpoint",
    "yourkey",
    "yourtoken",
];
/// What people put around a token as an example has it around its placeholder.
const BRACKETS: &[(char, char)] = &[('<', '>'), ('[', ']'), ('{', '}')];
/// Shortest text between brackets that is taken for a token, in bytes, if there are digits in it.
const SHORTEST_TOKEN: usize = 12;

/// Shortest value that may be anybody's own, in bytes: what is shorter is hidden nowhere.
const SHORTEST_SECRET: usize = 4;

/// A pasted text without the blanks and the quotes around it. Other blanks than ASCII's stay, and are told of.
pub(crate) fn bare(text: &str) -> &str {
    let mut text = text.trim_ascii();
    for _ in 0..PAIRS {
        let pair = AROUND.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
        // A text in <…> or […] is a placeholder more often than an address.
        match pair.map(str::trim_ascii).filter(|inside| !text.starts_with(['<', '[']) || inside.contains("://")) {
            Some(inside) => text = inside,
            None => break,
        }
    }
    text
}

/// Why a bare text is no address, if it is something that people are known to paste.
pub(super) fn fault(text: &str) -> Option<EndpointError> {
    let addresses = addresses(text);
    if addresses.len() > 1 {
        return Some(EndpointError::Several);
    }
    if addresses.first().is_some_and(|at| is_assignment(&text[..*at])) {
        return Some(EndpointError::Surplus);
    }
    if let Some(variable) = variable(text) {
        return Some(EndpointError::Variable(variable));
    }
    if let Some(c) = strange_in_host(text) {
        return Some(EndpointError::Host(c));
    }
    let is_example = |c: &char| *c == '…' || is_of_other_script(*c);
    let example = text.chars().find(is_example).map(character);
    if let Some((open, close)) = brackets(text).filter(|_| example.is_none()) {
        return Some(EndpointError::Brackets { open, close });
    }
    if let Some(example) = example.or_else(|| Some(format!("\"{}\"", shown(placeholder(text)?)))) {
        return Some(EndpointError::Placeholder(example));
    }
    if let (Some(open), Some(close)) = (text.chars().next(), text.chars().next_back()) {
        let is_quote = |c: char| !c.is_ascii() && meant(c).is_some_and(|meant| "\"'".contains(meant));
        let are_quotes = is_quote(open) && is_quote(close) && text.chars().nth(1).is_some();
        if are_quotes || IN_SENTENCES.contains(&(open, close)) {
            return Some(EndpointError::Quotes { open, close });
        }
    }
    if let Some(tail) = tail(text) {
        return Some(EndpointError::Tail(tail));
    }
    if let Some(scheme) = SCHEMES.iter().find(|scheme| values(text).any(|value| value.starts_with(**scheme))) {
        return Some(EndpointError::Header(scheme.trim_end()));
    }
    if let Some((at, c)) = strange(text) {
        let is_in_query = text.chars().take(at).any(|c| c == '?');
        if c == '\\' && is_in_query {
            return Some(EndpointError::Backslash { at });
        }
        return Some(EndpointError::Character { c, at });
    }
    empty_token(text).map(EndpointError::NoToken)
}

/// Whether a character is a letter or digit of another script than Latin, and looks like none of Latin's.
fn is_of_other_script(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric() && meant(c).is_none()
}

/// A letter of another script in the name of a host, where that is no example's.
pub(super) fn strange_in_host(text: &str) -> Option<char> {
    let host = host(text)?;
    let words = YOURS_IN_CHINESE.iter().chain(HOSTS_IN_CHINESE);
    host.chars().find(|c| is_of_other_script(*c)).filter(|_| !words.into_iter().any(|word| host.contains(word)))
}

/// What came along behind an address that is right without it, as it may be shown.
pub(super) fn tail(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(before) = ESCAPES.iter().find_map(|escape| rest.strip_suffix(escape)) {
        rest = before;
    }
    if rest.len() < text.len() && strange(rest).is_none() {
        return Some(text[rest.len()..].to_owned());
    }
    let rest = text.trim_end_matches(|c| ENDS.contains(c));
    text[rest.len()..].chars().next().filter(|_| strange(rest).is_none()).map(character)
}

/// What stands before a token in a header.
const SCHEMES: &[&str] = &["Bearer ", "Basic ", "Token ", "ApiKey "];
/// Beginnings of what Chinese examples say of a reader's own things.
const YOURS_IN_CHINESE: &[&str] = &["你的", "您的", "填写", "请填", "请输入", "替换"];
/// Fewest letters x or asterisks at the end of a text that stand for a token there, as in `sk-xxxx`.
const FILLERS: usize = 4;

/// The part of an example that was left in a text that a server is told, as it may be shown; `None` where it may be anybody's own. `name`:
/// what the text is called, where it has a name.
pub(crate) fn left_open(name: Option<&str>, text: &str) -> Option<String> {
    let text = text.trim();
    if text.contains("://") {
        // Of an address, what it holds as parameters.
        return values(text).find_map(|value| left_open(name, value));
    }
    let text = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text).trim();
    // An argument may be `--key=…`.
    let value = text.strip_prefix("--").and_then(|option| option.split_once('=')).map_or(text, |(_, value)| value);
    let bare = inside(value);
    let is_bracketed = BRACKETS.iter().any(|(open, close)| value.starts_with(*open) && value.ends_with(*close));
    if value.len() > LONGEST_EXAMPLE || bare.is_empty() {
        return None;
    }
    if YOURS_IN_CHINESE.iter().any(|yours| bare.contains(yours)) {
        return bare.chars().find(|c| !c.is_ascii()).map(character);
    }
    let is_word = bare.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c) || (is_bracketed && c == ' '));
    let is_yours = is_word && is_yours(bare);
    let is_example = is_plain(bare) && (is_of_example(bare) || value.starts_with('<'));
    if is_yours || is_example {
        return Some(format!("\"{}\"", shown(bare)));
    }
    let kept = bare.trim_end_matches(['x', 'X', '*']);
    let has_fillers = bare.len() - kept.len() >= FILLERS && !kept.bytes().any(|b| b.is_ascii_digit());
    let is_cut = bare.ends_with("...") || bare.ends_with('…');
    if name.is_some_and(is_of_secret) && (has_fillers || is_cut || ["TOKEN", "TODO"].contains(&bare)) {
        return Some(format!(
            "\"{}\"",
            if is_cut {
                "…"
            } else if has_fillers {
                &bare[kept.len()..]
            } else {
                bare
            }
        ));
    }
    None
}

/// Whether a name is most likely that of a secret.
fn is_of_secret(name: &str) -> bool {
    let name = plain(name);
    name == "authorization"
        || ["token", "key", "secret", "password", "passwd"].iter().any(|secret| name.ends_with(secret))
}

/// Beginnings of addresses that people paste, in lower case.
const BEGINNINGS: &[&str] = &["ws://", "wss://", "http://", "https://"];
/// Marks that stand between two addresses, besides blanks.
const BETWEEN: &str = ",;|，；、\"'`";

/// Whether a text holds more than one address, neither of which is a part of the other.
pub(crate) fn are_several(text: &str) -> bool {
    addresses(text).len() > 1
}

/// Where addresses begin in a text, but for those that are a part of the one before.
fn addresses(text: &str) -> Vec<usize> {
    let lower = text.to_ascii_lowercase();
    let all = BEGINNINGS.iter().flat_map(|begin| lower.match_indices(begin));
    let mut starts: Vec<usize> = all.map(|(at, _)| at).collect();
    starts.sort_unstable();
    let first = starts.first().copied();
    starts.retain(|at| Some(*at) == first || !is_part(&lower[..*at], &lower[*at..]));
    starts
}

/// Whether an address is a part of the one before it, by what stands right before it: it is what a parameter holds, or one of several in a
/// list there, or it stands behind a mark that joins it to a path or a word. A token is no address, and holds none. Both texts are in lower
/// case.
fn is_part(before: &str, address: &str) -> bool {
    let parameter = before.rsplit(['?', '&']).next().unwrap_or_default();
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let Some(last) = before.chars().next_back() else { return false };
    if TOKENS.contains(&name) || last.is_whitespace() {
        return false;
    }
    // Nobody has an endpoint of WebSocket amid a path.
    if last == '=' || address.starts_with("ws") {
        return last == '=';
    }
    let is_list = BEGINNINGS.iter().any(|begin| value.starts_with(begin)) && !value.contains(char::is_whitespace);
    let code = before.len().checked_sub(3).and_then(|at| before.get(at..));
    let is_code = code.is_some_and(|code| code.starts_with('%') && code[1..].bytes().all(|b| b.is_ascii_hexdigit()));
    is_list || is_code || !(last.is_alphanumeric() || BETWEEN.contains(last))
}

/// Whether the text before an address names it, as in `MCP_ENDPOINT=wss://…` or `"endpoint": "wss://…`.
fn is_assignment(before: &str) -> bool {
    let before = before.trim_end_matches(['"', '\'', '`']).trim_end();
    before.ends_with(['=', ':']) && before.contains(char::is_alphabetic)
}

/// The first character that no address holds, and its place, from 1.
fn strange(text: &str) -> Option<(usize, char)> {
    // An address may hold an apostrophe, but at either end an apostrophe is half a pair of quotes.
    let last = text.chars().count();
    let mut numbered = (1..).zip(text.chars());
    numbered
        .find(|(at, c)| !c.is_ascii_graphic() || "\"<>\\`#".contains(*c) || (*c == '\'' && (*at == 1 || *at == last)))
}

/// The variable that was to be replaced. A `$` may be a part of an address, so one without braces is a variable only in
/// the host, which holds none, or where it is all that a parameter holds.
fn variable(text: &str) -> Option<Variable> {
    if let Some(inside) = text.split_once("${").map(|(_, inside)| inside) {
        let name = inside.split_once('}').map_or("", |(name, _)| name);
        return Some(named(format!("${{{name}}}"), name));
    }
    let host = host(text);
    let of_shell = |text: &str| {
        let rest = text.split_once('$')?.1;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..end];
        Some(named(format!("${name}"), name))
    };
    let is_name = |name: &str| {
        name.len() <= LONGEST_EXAMPLE
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let whole = || values(text).find(|value| value.strip_prefix('$').is_some_and(is_name));
    let first = text.starts_with('$').then_some(text);
    let of_windows = || {
        let name = windows_variable(text)?;
        Some(named(format!("%{name}%"), name))
    };
    first.or(host).and_then(of_shell).or_else(|| whole().and_then(of_shell)).or_else(of_windows)
}

/// A variable. What may be a piece of a token is not repeated.
fn named(written: String, name: &str) -> Variable {
    if is_plain_name(name) {
        Variable { written: Some(written), name: Some(name.to_owned()) }
    } else {
        let is_braced = written.starts_with("${");
        Variable { written: is_braced.then(|| "${…}".to_owned()), name: None }
    }
}

/// Whether a text is plainly the name of a variable, in the letters in which people write them.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_EXAMPLE
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// What stands where an address has its host, with the port.
fn host(text: &str) -> Option<&str> {
    let rest = text.split_once("://")?.1;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

/// The name of a variable as the command prompt of Windows writes it, `%NAME%`. `%25` and the like are no names.
fn windows_variable(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.split('%').collect();
    let is_name = |part: &str| {
        part.len() > 2
            && part.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let is_code = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    // Of n parts, the first and the last have one % only. Where both % begin a code, it may be an address.
    let between = parts.windows(2).skip(1).filter_map(|pair| <[&str; 2]>::try_from(pair).ok());
    between.into_iter().find_map(|[part, next]| (is_name(part) && !(is_code(part) && is_code(next))).then_some(part))
}

/// Whether nothing in the address of an example is anybody's own, so that all of it may be shown.
pub(super) fn is_example(text: &str) -> bool {
    let is_open = |value: &str| inside(value).len() < SHORTEST_SECRET || is_mark(value) || !value.is_ascii();
    matches!(fault(text), Some(EndpointError::Placeholder(_)))
        && words(text).filter(|word| is_yours(word) || is_of_example(word)).all(is_plain)
        && values(text).all(|value| is_open(value) || is_plain(inside(value)))
}

/// The part of an example that was left in the host or the path of an address. What stands in its parameters may be of a token.
pub(crate) fn left_in_place(text: &str) -> Option<String> {
    let place = text.split('?').next().unwrap_or_default();
    let yours = words(place).find(|word| plain(word).starts_with("your_"));
    let mark = yours.or_else(|| place.contains("://<").then_some("<"));
    mark.map(|mark| format!("\"{}\"", shown(mark)))
}

/// What brackets stand around a value that is most likely a real token.
fn brackets(text: &str) -> Option<(char, char)> {
    let is_token =
        |text: &str| text.len() >= SHORTEST_TOKEN && text.bytes().any(|b| b.is_ascii_digit()) && !is_yours(text);
    let around = |value: &str| {
        let pair = BRACKETS.iter().find(|(open, close)| value.starts_with(*open) && value.ends_with(*close))?;
        is_token(inside(value)).then_some(*pair)
    };
    values(text).find_map(around)
}

/// What is between the brackets around a value.
fn inside(value: &str) -> &str {
    value.trim_matches(|c| BRACKETS.iter().any(|(open, close)| c == *open || c == *close))
}

/// Whether a word is made of nothing but what examples say.
fn is_plain(word: &str) -> bool {
    plain(word).split('_').all(|part| part.is_empty() || VOCABULARY.contains(&part))
}

/// The part of an example as it may be shown: what else stands in its word may be of a token.
fn shown(word: &str) -> String {
    if is_plain(word) || is_mark(word) || ["...", "***", "<", "{"].contains(&word) {
        return word.to_owned();
    }
    if let Some(inside) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return format!("[{}]", shown(inside));
    }
    let mut kept = String::new();
    for part in word.split_inclusive(['-', '_', ' ']) {
        if is_plain(part) {
            kept.push_str(part);
        } else if !kept.ends_with('…') {
            kept.push('…');
        }
    }
    kept
}

/// The part of an example that was left in.
fn placeholder(text: &str) -> Option<&str> {
    // Most words are looked for in the parameters only: a host may be called paste-it.example.
    let parameters = if text.contains("://") { text.find('?').map_or(text.len(), |at| at + 1) } else { 0 };
    let yours = words(text).find(|word| is_yours(word));
    let example = yours.or_else(|| words(&text[parameters..]).find(|word| is_of_example(word)));
    let mark = example.or_else(|| ["...", "***", "<", "{"].into_iter().find(|mark| text.contains(mark)));
    mark.or_else(|| values(text).find(|value| is_filler(value)))
}

/// The words of a text. A word may have several parts: `your-token`, `your token`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_- ".contains(c))).map(str::trim);
    words.filter(|word| word.len() <= LONGEST_EXAMPLE)
}

fn plain(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', ' '], "_")
}

fn is_yours(word: &str) -> bool {
    let word = format!("_{}", plain(word));
    YOURS.iter().any(|yours| word.contains(yours))
}

fn is_of_example(word: &str) -> bool {
    let word = plain(word);
    // Examples have no digits, and tokens most often do.
    !word.bytes().any(|b| b.is_ascii_digit())
        && (word.ends_with("_here") || EXAMPLES.iter().any(|example| word.starts_with(example)))
}

/// Whether the value of a parameter only marks a place: `xxxx`, `****`, `TOKEN`, `[…]`.
fn is_filler(value: &str) -> bool {
    is_mark(value) || (value.starts_with('[') && value.ends_with(']'))
}

/// Whether a value is nothing but a mark, so that it is nobody's token.
fn is_mark(value: &str) -> bool {
    (value.len() > 2 && value.chars().all(|c| "xX_-.*".contains(c))) || ["TOKEN", "JWT", "TODO"].contains(&value)
}

/// What the parameters of an address hold.
fn values(text: &str) -> impl Iterator<Item = &str> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value))
}

/// Parameters that hold a token wherever they are used.
const TOKENS: &[&str] = &["token", "access_token", "auth_token", "api_key", "apikey", "key", "jwt"];

/// Whether a parameter of this name holds a token wherever it is used.
pub(crate) fn is_of_token(name: &str) -> bool {
    TOKENS.contains(&name)
}

/// What most likely became of a token's parameter on its way here, and the remedy: such an address can be dialled, and lets nobody in.
pub(super) fn slip(query: &str) -> Option<(&'static str, &'static str)> {
    query.split('&').find_map(|pair| {
        let coded = pair.find("%3D").or_else(|| pair.find("%3d")).map(|at| &pair[..at]);
        if pair.strip_prefix("amp;").and_then(|pair| pair.split_once('=')).is_some_and(|(name, _)| is_of_token(name)) {
            Some(("has &amp; before its token, as web pages write &", "write & for &amp;"))
        } else if coded.is_some_and(is_of_token) {
            Some(("has %3D before its token in place of =", "write = for %3D"))
        } else if pair.split_once('=').is_some_and(|(name, value)| is_of_token(name) && value.starts_with("3D")) {
            Some(("has 3D before its token, as mails write =", "remove 3D, unless the token begins so"))
        } else {
            None
        }
    })
}

/// The first parameter for a token that holds none.
fn empty_token(text: &str) -> Option<&'static str> {
    let (_, query) = text.split_once('?')?;
    let empty = |pair: &str| {
        let name = pair.strip_suffix('=').or_else(|| (pair == "token").then_some(pair))?;
        TOKENS.iter().copied().find(|token| token.eq_ignore_ascii_case(name))
    };
    query.split('&').find_map(empty)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use proptest::prelude::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t";

    fn error(text: &str) -> EndpointError {
        text.parse::<Endpoint>().expect_err(text)
    }

    #[test]
    fn matching_quotes_and_blanks_around_an_address_are_taken_away() {
        let address = format!("wss://api.example/mcp/?token={TOKEN}");
        for around in ["\"@\"", "'@'", "`@`", "<@>", " @\r\n", "\t'@' ", "'\"@\"'", "\" @ \""] {
            let endpoint: Endpoint = around.replace('@', &address).parse().expect(around);
            assert_eq!(endpoint.reveal().to_string(), address, "{around}");
        }
    }

    #[test]
    fn a_character_that_no_address_holds_is_named_with_its_place_and_what_to_do() {
        for (text, place, name, remedy) in [
            ("\u{200b}wss://h/?token=@", 1, "a zero width space (U+200B)", "remove it"),
            ("\u{feff}wss://h/?token=@", 1, "a byte order mark (U+FEFF)", "remove it"),
            ("wss://h/?token=@\u{a0}", 54, "a no-break space (U+00A0)", "remove it"),
            ("wss://h/\u{2060}?token=@", 9, "a word joiner (U+2060)", "remove it"),
            ("wss://h/？token=@", 9, "？ (U+FF1F, fullwidth question mark)", "write ? for it"),
            ("wss：//h/?token=@", 4, "： (U+FF1A, fullwidth colon)", "write : for it"),
            ("wss://h/?token＝@", 15, "＝ (U+FF1D, fullwidth equals sign)", "write = for it"),
            ("“wss://h/?token=@", 1, "“ (U+201C, left double quotation mark)", "remove it"),
            ("\"wss://h/?token=@", 1, "\" (U+0022, quotation mark)", "remove it"),
            ("wss://h/?token=@'", 54, "' (U+0027, apostrophe)", "remove it"),
            ("`wss://h/?token=@", 1, "` (U+0060, grave accent)", "remove it"),
            ("wss:\\\\h\\?token=@", 5, "\\ (U+005C, backslash)", "write / for it"),
            ("wss://h/?token=@\\x", 54, "\\ (U+005C, backslash)", "remove it"),
            ("wss:\\/\\/h\\/?token=@", 5, "\\ (U+005C, backslash)", "write / for it"),
            ("wss://h/?token=@\nx", 54, "a line break (U+000A)", "write the address on one line"),
            ("wss://h/ x?token=@", 9, "a blank (U+0020)", "remove it, or write %20 for it"),
            (
                "wss://h/?token=@#x",
                54,
                "# (U+0023, number sign)",
                "if a comment begins there, remove it with the #; else write %23 for it",
            ),
            ("wss://h/?token=@🙂", 54, "🙂 (U+1F642, an emoji)", "remove it"),
        ] {
            let error = error(&text.replace('@', TOKEN));
            assert_eq!(
                error.to_string(),
                format!("holds {name} at character {place}, which no address may hold"),
                "{text}"
            );
            assert_eq!(error.remedy(), remedy, "{text}");
        }
    }

    #[test]
    fn what_came_along_with_an_address_is_told_to_be_removed() {
        for (text, want) in [
            ("wss://h/?token=@\\n", "ends with \\n, which is no part of an address; remove it"),
            ("wss://h/?token=@\\r\\n", "ends with \\r\\n, which is no part of an address; remove it"),
            (
                "wss://h/?token=@\\",
                "ends with \\, which is no part of an address; remove it; if the address goes on in the next line, write the address on one line",
            ),
            (
                "wss://h/?v=1&token=Bearer @",
                "has the word Bearer before its token, as a header has; remove that word and the blank behind it",
            ),
            (
                "wss://h/?token=@。",
                "ends with 。 (U+3002, ideographic full stop), which is no part of an address; remove it",
            ),
            ("wss://h/?token=@，", "ends with ， (U+FF0C, fullwidth comma), which is no part of an address; remove it"),
            (
                "wss://h/?token=@）。",
                "ends with ） (U+FF09, fullwidth right parenthesis), which is no part of an address; remove it",
            ),
            (
                "wss://h/?token=@’",
                "ends with ’ (U+2019, right single quotation mark), which is no part of an address; remove it",
            ),
            (
                "（wss://h/?token=@）",
                "stands between （ (U+FF08, fullwidth left parenthesis) and ） (U+FF09, fullwidth right parenthesis), which are \
                 no part of an address; remove both",
            ),
            (
                "(wss://h/?token=@)",
                "stands between ( (U+0028, left parenthesis) and ) (U+0029, right parenthesis), which are no part of an address; \
                 remove both",
            ),
            (
                "wss://你好.example/?token=@",
                "holds 你 (U+4F60, a Chinese character) in the name of its host; write that name in its ASCII",
            ),
        ] {
            let error = error(&text.replace('@', TOKEN));
            let told = format!("{error}; {}", error.remedy());
            assert!(told.starts_with(want) && !told.contains("s3cr3t"), "{text}: {told}");
        }
        assert!(matches!(error("wss://你的地址/?token=x"), EndpointError::Placeholder(_)));
    }

    #[test]
    fn what_an_example_left_open_is_told_and_quoted() {
        for (text, shown) in [
            ("wss://api.example/mcp/?token=YOUR_TOKEN_HERE", "\"YOUR_TOKEN_HERE\""),
            ("wss://api.example/mcp/?token=your-token", "\"your-token\""),
            ("wss://api.example/mcp/?token=<your token>", "\"your token\""),
            ("wss://api.example/mcp/?token=<TOKEN>", "\"<\""),
            ("wss://api.example/mcp/?token={token}", "\"{\""),
            ("wss://api.example/mcp/?token=…", "… (U+2026, horizontal ellipsis)"),
            ("wss://…/?token=x", "… (U+2026, horizontal ellipsis)"),
            ("wss://api.example/mcp/?token=eyJhbGciOi...", "\"...\""),
            ("wss://api.example/mcp/?token=xxxx", "\"xxxx\""),
            ("wss://api.example/mcp/?token=*****", "\"***\""),
            ("wss://api.example/mcp/?token=TOKEN", "\"TOKEN\""),
            ("wss://api.example/mcp/?token=[token]", "\"[token]\""),
            ("wss://api.example/mcp/?token=PASTE_IT_HERE", "\"PASTE_IT_HERE\""),
            ("wss://api.example/mcp/?token=replace-me&v=1", "\"replace-me\""),
            ("wss://api.example/mcp/?token=changeme", "\"changeme\""),
            ("wss://api.example/mcp/?token=你的token", "你 (U+4F60, a Chinese character)"),
            ("<请填写你的接入点地址（获取地址在 xiaozhi.me）>", "请 (U+8BF7, a Chinese character)"),
            ("wss://your-endpoint.example/", "\"your-endpoint\""),
            ("<your_mcp_endpoint>", "\"your_mcp_endpoint\""),
            ("YOUR_ENDPOINT", "\"YOUR_ENDPOINT\""),
        ] {
            let error = error(text);
            assert_eq!(error, EndpointError::Placeholder(shown.to_owned()), "{text}");
            assert!(error.to_string().contains("placeholder text"), "{error}");
            let holds_more = text.contains("eyJ");
            assert_eq!(is_example(bare(text)), !holds_more, "{text}");
        }
    }

    #[test]
    fn what_an_example_left_in_the_place_of_a_server_is_told() {
        for (text, want) in [
            ("http://YOUR_HOST/mcp", Some("\"YOUR_…\"")),
            ("http://YOUR_SERVER:5555/mcp", Some("\"YOUR_SERVER\"")),
            ("https://api.your-company.example/mcp", Some("\"your-…\"")),
            ("https://h.example/your-server/mcp", Some("\"your-server\"")),
            ("http://<host>:5555/mcp", Some("\"<\"")),
            // Of parameters a warning tells, whoever's they are.
            ("https://h.example/mcp?key=YOUR_KEY", None),
            ("https://h.example/that-is-your-own/mcp", None),
            ("http://yours.example/mcp", None),
        ] {
            let left = left_in_place(text);
            assert_eq!(left.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn what_an_example_left_open_for_a_server_is_told_and_nothing_of_a_secret() {
        for (name, text, want) in [
            (Some("API_KEY"), "<YOUR_TOKEN>", Some("\"YOUR_TOKEN\"")),
            (Some("API_KEY"), "your-api-key-here", Some("\"your-api-key-here\"")),
            (Some("X"), "YOUR_GITHUB_TOKEN", Some("\"YOUR_…TOKEN\"")),
            (Some("Authorization"), "Bearer <token>", Some("\"token\"")),
            (Some("Authorization"), "Bearer YOUR_TOKEN_HERE", Some("\"YOUR_TOKEN_HERE\"")),
            (Some("OPENAI_API_KEY"), "sk-xxxxxxxx", Some("\"xxxxxxxx\"")),
            (Some("GITHUB_TOKEN"), "ghp_...", Some("\"…\"")),
            (Some("KEY"), "你的密钥", Some("你 (U+4F60, a Chinese character)")),
            (None, "--api-key=<YOUR_KEY>", Some("\"YOUR_KEY\"")),
            (None, "https://h.example/mcp?key=YOUR_KEY", Some("\"YOUR_KEY\"")),
            (None, "changeme", Some("\"changeme\"")),
            (Some("API_KEY"), "your_9f8e7d6c5b4a3210", Some("\"your_…\"")),
            (Some("API_KEY"), "9f8e7d6c5b4a3210", None),
            (Some("API_KEY"), "sk-9f8exxxx", None),
            (Some("MODE"), "replace_all", None),
            (Some("MODE"), "xxxx", None),
            (Some("LANG"), "en_US.UTF-8", None),
            (None, "server", None),
            (None, "{}", None),
            (None, "[]", None),
            (None, "/home/me/your-project", None),
            (None, "https://your-host.example/mcp", None),
            (None, "say what your task is", None),
            (None, "--token", None),
            (Some("TOKEN"), "${TOKEN}", None),
            (Some("TOKEN"), "", None),
        ] {
            assert_eq!(left_open(name, text).as_deref(), want, "{name:?} {text}");
        }
    }

    #[test]
    fn nothing_of_a_real_token_beside_what_an_example_left_open_is_shown() {
        const REAL: &str = "9f8e7d6c5b4a3210";
        for (text, shown) in [
            ("wss://h/?token=your_token@", Some("\"your_…\"")),
            ("wss://h/?token=YOUR_TOKEN_HEREeyJhbGciOiJI.@", Some("\"YOUR_TOKEN_…\"")),
            ("your_token@", Some("\"your_…\"")),
            ("wss://h/?token=[hunter]", Some("\"[…]\"")),
            ("wss://h/?token=<hunter>", Some("\"<\"")),
            ("wss://h/?token=@...", Some("\"...\"")),
            ("wss://your-endpoint/?token=@", Some("\"your-endpoint\"")),
            ("wss://h/?token=[good_@]", None),
            ("wss://h/?v=1&token=<@>", None),
            ("wss://h/?token={eyJ@.eyJ@}", None),
        ] {
            let text = text.replace('@', REAL);
            let error = error(&text);
            match shown {
                Some(shown) => assert_eq!(error, EndpointError::Placeholder(shown.to_owned()), "{text}"),
                None => assert!(matches!(error, EndpointError::Brackets { .. }), "{text}: {error}"),
            }
            assert!(!error.to_string().contains(REAL) && !is_example(&text), "{text}: what it holds is secret");
        }
        for fine in ["wss://h/?token=paste-@", "wss://h/?token=paste_tok_@", "[wss://h/?token=@]", "<wss://h/?token=@>"]
        {
            let text = fine.replace('@', REAL);
            assert_eq!(fault(bare(&text)), None, "{text}");
        }
    }

    #[test]
    fn two_addresses_more_before_one_and_what_only_a_shell_replaces_are_told() {
        for (text, want) in [
            ("wss://h/?token=@ wss://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@,ws://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@wss://h/?token=@", EndpointError::Several),
            ("wss://h/?token=wss://h/?token=@", EndpointError::Several),
            ("[\"wss://h/?token=@\", \"WSS://h/?token=@\"]", EndpointError::Several),
            // Whatever stands between them, and of whichever scheme the second is.
            ("wss://h/?token=@ https://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@,HTTPS://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@; http://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@，https://h/", EndpointError::Several),
            ("wss://h/?token=@\nhttps://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@https://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@%20https://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@==https://h/?token=@", EndpointError::Several),
            ("wss://h/?token=https://h/?token=@", EndpointError::Several),
            ("wss://h/?token=@&v=1http://h/", EndpointError::Several),
            ("wss://h/?next=https://a wss://h/", EndpointError::Several),
            ("wss://h/mcp https://h/mcp", EndpointError::Several),
            ("https://h/?token=@ wss://h/?token=@", EndpointError::Several),
            ("https://h/?token=@ http://h/?token=@", EndpointError::Several),
            ("MCP_ENDPOINT=https://h/?token=@", EndpointError::Surplus),
            ("MCP_ENDPOINT=wss://h/?token=@", EndpointError::Surplus),
            ("export MCP_ENDPOINT='wss://h/?token=@'", EndpointError::Surplus),
            ("\"mcpEndpoint\": \"wss://h/?token=@\"", EndpointError::Surplus),
            ("wss://h/?token=", EndpointError::NoToken("token")),
            ("wss://h/?token=&v=1", EndpointError::NoToken("token")),
            ("wss://h/?v=1&token", EndpointError::NoToken("token")),
            ("wss://h/?Access_Token=", EndpointError::NoToken("access_token")),
            ("“wss://h/?token=@”", EndpointError::Quotes { open: '“', close: '”' }),
            ("‘wss://h/?token=@’", EndpointError::Quotes { open: '‘', close: '’' }),
            ("", EndpointError::Empty),
            ("\"\"", EndpointError::Empty),
        ] {
            let error = error(&text.replace('@', TOKEN));
            assert_eq!(error, want, "{text}");
            assert!(!format!("{error}{}", error.remedy()).contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn a_variable_is_told_with_its_name_where_that_is_plainly_one() {
        for (text, written, name) in [
            ("wss://h/?token=${TOKEN}", Some("${TOKEN}"), Some("TOKEN")),
            ("wss://h/?token=${q7Zk93vLm2}", Some("${…}"), None),
            ("$TOKEN", Some("$TOKEN"), Some("TOKEN")),
            ("$TOKEN_2/mcp", Some("$TOKEN_2"), Some("TOKEN_2")),
            ("wss://$HOST/mcp/?token=@", Some("$HOST"), Some("HOST")),
            ("wss://u:p@api.$DOMAIN:8080/?token=@", Some("$DOMAIN"), Some("DOMAIN")),
            ("wss://h/?token=$TOKEN&v=1", Some("$TOKEN"), Some("TOKEN")),
            ("wss://h/?v=1&token=$token", None, None),
            ("wss://h/?token=%XIAOZHI_TOKEN%", Some("%XIAOZHI_TOKEN%"), Some("XIAOZHI_TOKEN")),
            ("wss://h/?token=%ACCESS_TOKEN%&v=1", Some("%ACCESS_TOKEN%"), Some("ACCESS_TOKEN")),
            ("wss://%HOST%/mcp/?token=%TOKEN_1%", Some("%HOST%"), Some("HOST")),
            ("%MCP_ENDPOINT%", Some("%MCP_ENDPOINT%"), Some("MCP_ENDPOINT")),
        ] {
            let EndpointError::Variable(variable) = error(&text.replace('@', TOKEN)) else { panic!("{text}") };
            assert_eq!((variable.written.as_deref(), variable.name.as_deref()), (written, name), "{text}");
        }
    }

    #[test]
    fn what_an_address_may_hold_passes_as_it_stands() {
        for text in [
            "wss://h/$PATH/?token=a",
            "wss://u:$PASS@h/?token=a",
            "ws://h/?token=$1$ab&x=$",
            "ws://h/?token=a%ADBEEF%CA",
            "ws://h/?tokens=&x=",
            "wss://h.example/mcp/?token=default-s3cret",
            "wss://relay.example/?to=ws://10.0.0.1/x&token=a",
            "wss://h/?redirect=https://h.example/back?x=http://a&token=a",
            "wss://h/?token=a&allow=https://a.example,https://b.example",
            "wss://h/?scope=openid%20https://h.example/x+https://h.example/y&token=a",
            "wss://relay.example/to/https://h.example/mcp?token=a",
            "ws://h/?token=a$b$1%3D%3D",
            "ws://h/?token=it's",
            "ws://h/?token=A%41_B%42",
            "wss://paste-it.example/insert-coin?token=a",
            "ws://h/?x=a|b^c~(d)[e]!*",
            "ws://192.168.1.2:8004/mcp_endpoint/mcp/?token=abc%2Bdef%3D",
            "wss://h/",
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.reveal().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_secret_is_told_as_left_open(text in ".*", around in "[ <>YOUR_TKENyour\\-.x*…你的=]*") {
            drop(left_open(Some("TOKEN"), &text));
            let secret = "q7Zk93vLm2";
            let told = left_open(Some("TOKEN"), &format!("{around}{secret}{around}")).unwrap_or_default();
            prop_assert!(!told.contains("q7Zk"), "{told}");
        }

        #[test]
        fn nothing_panics_and_nothing_shows_the_token(text in ".*", around in "[ '\"`<>=:$%{}wWsS/？…你\\\\#\\[\\]]*") {
            drop(text.parse::<Endpoint>());
            let secret = "q7Zk93vLm2";
            if let Err(error) = format!("{around}wss://h/?token={secret}{around}").parse::<Endpoint>() {
                let said = error.to_string() + &error.remedy();
                prop_assert!(!said.contains(secret));
            }
        }
    }
}
