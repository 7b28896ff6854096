//! Why a text is no JSON, in words that say what to write instead. Pure.
//!
//! The text may hold a token, so no more of it is repeated than single characters, escapes, and the words of other languages for
//! JSON's own.

use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use super::missing::is_script;
use crate::words::{brief, character, is_unseen, meant};

/// What is wrong, where, and the remedy.
pub(crate) struct Fault {
    /// Where the fault is: the byte in the text.
    pub(crate) at: usize,
    /// What is wrong, a sentence of its own.
    pub(crate) why: String,
    pub(crate) remedy: String,
    /// The bracket that is still open there, if the fault is about that: the byte in the text, and itself.
    pub(crate) open: Option<(usize, char)>,
}

/// The words of other languages for JSON's own.
const WORDS: &[(&str, &str)] = &[
    ("True", "true"),
    ("TRUE", "true"),
    ("yes", "true"),
    ("Yes", "true"),
    ("on", "true"),
    ("False", "false"),
    ("FALSE", "false"),
    ("no", "false"),
    ("No", "false"),
    ("off", "false"),
    ("None", "null"),
    ("Null", "null"),
    ("NULL", "null"),
    ("nil", "null"),
    ("undefined", "null"),
];

/// What to do about a backslash that JSON takes for the beginning of an escape.
pub(crate) const BACKSLASH: &str = r"write \\ for a backslash, or / for it in a path";

/// What is said of a quote that was to end a text, and stands behind a backslash; and the remedy.
const ESCAPED: (&str, &str) = (
    r#"\" is a quote within the text, and does not end it"#,
    r"remove the \ before the closing quote, or write \\ for a backslash",
);

/// JSON as programs speak it.
const JSON: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_trailing_commas: false,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// JSON as people write a config: with comments and trailing commas, and nothing looser.
pub(crate) const CONFIG: ParseOptions = ParseOptions { allow_comments: true, allow_trailing_commas: true, ..JSON };

/// Explains why a text is no JSON as programs speak it, without comments. `None` where it is.
pub(crate) fn fault(text: &str) -> Option<Fault> {
    let error = parse_to_ast(text, &CollectOptions::default(), &JSON).err()?;
    Some(explain_in(Kind::Value, text, &error))
}

/// Most characters that are told at once: who sees so many knows the kind.
const MOST: usize = 20;

/// Explains the parser's error in the text of a config. If it is a character that looks like one of JSON's, as a word processor or an input
/// method writes them, the others of its kind are explained as well: one seldom comes alone.
pub(crate) fn explain(text: &str, error: &ParseError) -> Vec<Fault> {
    let mut text = text.to_owned();
    let mut fault = explain_in(Kind::Config, &text, error);
    let mut told = Vec::new();
    while let Some((at, c, plain)) = lookalike(&text, &fault) {
        told.push(fault);
        // As long as what it stands for, so that all else stays in its place.
        let length = c.len_utf8();
        text.replace_range(at..at + length, &format!("{plain:<length$}"));
        match parse_to_ast(&text, &CollectOptions::default(), &CONFIG).err() {
            Some(error) if told.len() < MOST => fault = explain_in(Kind::Config, &text, &error),
            Some(_) | None => return told,
        }
    }
    // What else is wrong may only follow from a wrong guess.
    if told.is_empty() {
        told.push(fault);
    }
    told
}

/// The character at a fault that looks like another one of JSON's; where it is, and which one was meant.
fn lookalike(text: &str, fault: &Fault) -> Option<(usize, char, char)> {
    let c = text.get(fault.at..)?.chars().next()?;
    let plain = meant(c).map(|plain| if plain == '\'' { '"' } else { plain })?;
    "{}[]:,\"".contains(plain).then_some((fault.at, c, plain))
}

/// What a text was to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A config, or a file of another format.
    Config,
    /// Anything in JSON.
    Value,
}

fn explain_in(whole: Kind, text: &str, error: &ParseError) -> Fault {
    let (at, kind) = (error.range().start, error.kind());
    let rest = text.get(at..).unwrap_or_default();
    let begin = text.len() - text.trim_start().len();
    // A table of TOML begins with a bracket.
    let is_at_begin = begin == at || (begin + 1 == at && text[begin..].starts_with('['));
    let told = closed_by_another(kind, text, at)
        .or_else(|| never_ended(kind, text, at))
        .or_else(|| never_closed(kind).or_else(|| bad_escape(kind, rest)).map(|(why, remedy)| (at, why, remedy)))
        .or_else(|| joined_texts(text, at).map(|(why, remedy)| (at, why, remedy)))
        .or_else(|| swallowed_by_text(text, at))
        .or_else(|| early_end(text, at));
    if let (None, Some(fault)) = (&told, unclosed(text, at)) {
        return fault;
    }
    let told = told.or_else(|| {
        let (why, remedy) = behind_the_end(kind, rest)
            .or_else(|| odd_number(kind, rest))
            .or_else(|| missing_comma(kind, rest))
            .or_else(|| (is_at_begin && whole == Kind::Config).then(|| other_format(rest)).flatten())
            .or_else(|| odd_character(rest))
            .or_else(|| odd_word(kind, rest))?;
        Some((at, why, remedy))
    });
    let (at, why, remedy) = told.unwrap_or_else(|| {
        let (why, remedy) = other(kind, text, at);
        (at, why, remedy)
    });
    Fault { at, why, remedy, open: None }
}

/// What is wrong, and the remedy.
type Why = (String, String);

fn never_closed(kind: &ParseErrorKind) -> Option<Why> {
    let (open, close) = if matches!(kind, ParseErrorKind::UnterminatedObject) {
        ("{", "}")
    } else if matches!(kind, ParseErrorKind::UnterminatedArray) {
        ("[", "]")
    } else if matches!(kind, ParseErrorKind::String(ParseStringErrorKind::UnterminatedStringLiteral)) {
        ("\"", "\"")
    } else if matches!(kind, ParseErrorKind::UnterminatedCommentBlock) {
        ("/*", "*/")
    } else {
        return None;
    };
    Some((format!("the {open} is never closed"), format!("a {close} is missing somewhere after it")))
}

/// A text that is never closed, and holds a quote on its line that only looks right.
fn closed_by_another(kind: &ParseErrorKind, text: &str, at: usize) -> Option<(usize, String, String)> {
    let is_open = matches!(kind, ParseErrorKind::String(ParseStringErrorKind::UnterminatedStringLiteral));
    let line = text.get(at..)?.lines().next().filter(|_| is_open)?;
    let (n, c) = line.char_indices().find(|(_, c)| meant(*c) == Some('"'))?;
    Some((at + n, closes_no_text(c), "write \" for it".to_owned()))
}

/// A text that is never closed, as its last quote on the line is a part of it.
fn never_ended(kind: &ParseErrorKind, text: &str, at: usize) -> Option<(usize, String, String)> {
    let is_open = matches!(kind, ParseErrorKind::String(ParseStringErrorKind::UnterminatedStringLiteral));
    escaped_end(at, text.get(at..)?.lines().next().filter(|_| is_open)?)
}

/// A quote with a backslash at the end of a text, or before what divides it from the next one. `start`: where the text begins.
fn escaped_end(start: usize, text: &str) -> Option<(usize, String, String)> {
    let own = text.trim_end_matches(|c: char| c.is_whitespace() || ",:[]{}".contains(c));
    let before = own.strip_suffix("\\\"").filter(|before| !before.ends_with('\\'))?;
    Some((start + before.len(), ESCAPED.0.to_owned(), ESCAPED.1.to_owned()))
}

fn closes_no_text(c: char) -> String {
    format!("{} closes no text", character(c))
}

/// An escape that JSON doesn't have, as in `"C:\Users"`.
fn bad_escape(kind: &ParseErrorKind, rest: &str) -> Option<Why> {
    let escape: String = rest.chars().take(2).filter(char::is_ascii_graphic).collect();
    matches!(kind, ParseErrorKind::String(_)).then(|| {
        let digits: String = rest.chars().skip(2).take_while(char::is_ascii_hexdigit).take(4).collect();
        if escape == r"\u" && digits.len() == 4 {
            let remedy = "write both halves, or the character itself";
            return (format!(r"\u{digits} is half of a character"), remedy.to_owned());
        }
        let why = if escape == r"\u" {
            r"\u is no character unless four hexadecimal digits follow".to_owned()
        } else {
            format!("{escape} means nothing in a text")
        };
        (why, BACKSLASH.to_owned())
    })
}

/// A text in quotes that ended too early or too late, so that what stands at `at` makes no sense: the text holds a quote that
/// only looks right, or a line break, or a quote of its own.
fn swallowed_by_text(text: &str, at: usize) -> Option<(usize, String, String)> {
    let (start, end) = text_before(text, at)?;
    let inside = &text[start + 1..end - 1];
    if let Some((n, c)) = inside.char_indices().find(|(_, c)| meant(*c) == Some('"')) {
        return Some((start + 1 + n, closes_no_text(c), "write \" for it".to_owned()));
    }
    if let Some(found) = escaped_end(start + 1, inside.lines().next().unwrap_or_default()) {
        return Some(found);
    }
    if inside.contains('\n') {
        let remedy = "a \" is missing on this line; a line break in a text is written \\n";
        return Some((start, "the text that begins here goes over the end of its line".to_owned(), remedy.to_owned()));
    }
    // What divides two values stands in the text: the quote before it is most likely missing.
    let own = inside.trim_end_matches(|c: char| c.is_whitespace() || ",:[]{}".contains(c));
    let divides = !own.is_empty() && inside.trim_end().len() > own.len();
    let is_next = |c: char| c.is_alphanumeric() || c == '\'' || (divides && "-./~@$_".contains(c));
    let goes_on = end == at && text[at..].starts_with(is_next);
    let mut remedy = "write \\\" for a quote that is part of a text".to_owned();
    if divides {
        remedy.push_str(", or a quote is missing before it (");
        remedy.push_str(&match is_script_name(own) {
            true => format!("after `{own}`)"),
            false => format!("before the {})", inside[own.len()..].trim()),
        });
    }
    goes_on.then(|| (end - 1, "this quote ends the text, and it goes on behind it".to_owned(), remedy))
}

/// Whether a text is the plain name of a script, which is no secret.
fn is_script_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    is_script(text) && text.chars().all(plain) && brief(text) == text
}

/// Two texts that a program would join by a `+`.
fn joined_texts(text: &str, at: usize) -> Option<Why> {
    let is_joined = text[at..].starts_with('+') && text[..at].trim_end().ends_with('"');
    is_joined.then(|| ("a + stands behind a text, and JSON joins no texts".to_owned(), "write them as one".to_owned()))
}

/// Where the text in quotes is that ends before `at`, with nothing but blanks between.
fn text_before(text: &str, at: usize) -> Option<(usize, usize)> {
    let (mut last, mut from) = (None, 0);
    while let Some(start) = text[from..at].find(['"', '/']).map(|n| from + n) {
        let rest = &text[start..at];
        let length = if rest.starts_with("//") {
            rest.find('\n')
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|n| n + 2)
        } else if rest.starts_with('/') {
            Some(1)
        } else {
            let length = closing_quote(&rest[1..]).map(|n| n + 2);
            last = length.map(|length| (start, start + length)).or(last);
            length
        };
        from = start + length?;
    }
    last.filter(|(_, end)| text[*end..at].trim().is_empty())
}

fn closing_quote(inside: &str) -> Option<usize> {
    let mut escaped = false;
    inside.char_indices().find_map(|(n, c)| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end.then_some(n)
    })
}

fn behind_the_end(kind: &ParseErrorKind, rest: &str) -> Option<Why> {
    let (why, remedy) = match (matches!(kind, ParseErrorKind::MultipleRootJsonValues), rest.chars().next()) {
        (true, Some(c @ ('}' | ']'))) => (format!("there is a {c} too many"), "remove it".to_owned()),
        (true, Some(',')) => ("a comma stands behind the end".to_owned(), "remove it".to_owned()),
        (true, Some('{')) => {
            let remedy = "put the members of both into one { … }";
            ("a second { … } follows the first".to_owned(), remedy.to_owned())
        }
        // What is wrong with these is told by themselves.
        (true, Some('`' | '#' | '.')) | (false, _) => return None,
        (true, _) => ("something stands behind the end".to_owned(), "remove it, or put it into the { … }".to_owned()),
    };
    Some((why, remedy))
}

/// A text that stops before it is complete: pasted, downloaded or written in part.
fn early_end(text: &str, at: usize) -> Option<(usize, String, String)> {
    let inside = text[..at].find(['{', '['])?;
    let pair = if text[inside..].starts_with('{') { "{ … }" } else { "[ … ]" };
    let why = format!("the text ends here, in the middle of {pair}");
    let end = text[..at].trim_end().len();
    text[at..].trim().is_empty().then(|| (end, why, "write what is missing, or copy all of it".to_owned()))
}

fn odd_number(kind: &ParseErrorKind, rest: &str) -> Option<Why> {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
    let number = &rest[..end];
    if ["nan", "inf", "infinity"].iter().any(|word| number.trim_start_matches(['-', '+']).eq_ignore_ascii_case(word)) {
        return Some((format!("{number} is none of JSON's numbers"), "write a number, or null".to_owned()));
    }
    let is_wrong = matches!(
        kind,
        ParseErrorKind::BareDecimalPointNumbersNotAllowed
            | ParseErrorKind::ExpectedDigit
            | ParseErrorKind::ExpectedDigitFollowingNegativeSign
            | ParseErrorKind::ExpectedPlusMinusOrDigitInNumberLiteral
            | ParseErrorKind::HexadecimalNumbersNotAllowed
            | ParseErrorKind::NonFiniteNumbersNotAllowed
            | ParseErrorKind::UnaryPlusNumbersNotAllowed
    ) || number
        .starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c) && !number.starts_with(".."));
    let why = "this number is not written as JSON has it";
    let wrong = || (why.to_owned(), "write it in decimal digits, like 31, 0.5 or -2".to_owned());
    (is_wrong && !is_between(kind)).then(wrong)
}

/// Whether something is missing between two values, neither of which is at fault.
fn is_between(kind: &ParseErrorKind) -> bool {
    matches!(
        kind,
        ParseErrorKind::ExpectedComma
            | ParseErrorKind::ExpectedColonAfterObjectKey
            | ParseErrorKind::ExpectedStringObjectProperty
            | ParseErrorKind::MultipleRootJsonValues
    )
}

/// What is wrong wherever nothing more can be told than what stands there and what was expected.
fn other(kind: &ParseErrorKind, text: &str, at: usize) -> Why {
    let told = |why: &str, remedy: &str| (why.to_owned(), remedy.to_owned());
    let next = text[at..].chars().next();
    if matches!(kind, ParseErrorKind::NestingDepthExceeded) {
        return told("more than 512 lists and objects stand inside of one another", "write it flatter");
    }
    if matches!(kind, ParseErrorKind::ExpectedColonAfterObjectKey) {
        return told("a colon is missing here", "write : and a value behind the key");
    }
    if matches!(kind, ParseErrorKind::ExpectedStringObjectProperty) {
        return told("a key in quotes is missing here", "write \"…\": before the value");
    }
    if matches!(kind, ParseErrorKind::TrailingCommasNotAllowed) {
        return told("a comma stands behind the last member", "remove it");
    }
    if matches!(kind, ParseErrorKind::CommentsNotAllowed) {
        return told("a comment stands here, and JSON has none", "remove it");
    }
    match next {
        Some('}') if text[..at].trim_end().ends_with(':') => {
            told("a value is missing before this }", "write one, or remove its key")
        }
        Some(':') if text[..at].trim_end().ends_with(['{', ',']) => {
            told("a key is missing before this :", "write one in quotes")
        }
        Some(':') if is_key_of_nothing(&text[..at]) => {
            told("a { is missing before the text in front of this :, which is a key", "write { before that text")
        }
        Some(':') => told("a : stands where a value belongs", "remove it"),
        Some(_) | None => {
            told("no value begins like this", "look for a missing comma, quote or bracket there or just before")
        }
    }
}

/// A bracket that closes another one than the last that is open, or a key amid a list: what is missing or too much, the remedy, and the
/// bracket that is open. What one change mends is told as that.
fn unclosed(text: &str, at: usize) -> Option<Fault> {
    let next = text[at..].chars().next()?;
    let open = open_before(text, at);
    let last = *open.last()?;
    let close = closing(last.1);
    let is_mended = |from: usize, by: &str, to: usize| {
        let mended = [&text[..from], by, &text[to..]].concat();
        parse_to_ast(&mended, &CollectOptions::default(), &CONFIG).is_ok()
    };
    let nothing = format!("this {next} closes nothing");
    match next {
        '}' | ']' if next == close || text[..at].trim_end().ends_with(':') => None,
        '}' | ']' => {
            let written = close.to_string();
            let (why, remedy, open) = if !is_mended(at, &written, at) && is_mended(at, &written, at + 1) {
                (nothing, format!("write {close} for it"), None)
            } else if !is_mended(at, &written, at) && is_mended(at, "", at + 1) {
                (nothing, "remove it".to_owned(), None)
            } else if open.iter().any(|(_, open)| closing(*open) == next) {
                (format!("a {close} is missing before this {next}"), format!("write {close} before it"), Some(last))
            } else {
                (nothing, format!("write {close} for it, or remove it"), None)
            };
            Some(Fault { at, why, remedy, open })
        }
        ':' if last.1 == '[' => {
            let (start, _) = text_before(text, at)?;
            // The first of a list belongs to an object in it, if the list does not end before.
            let is_first = text[..start].trim_end().ends_with('[') && !is_mended(start, "],", start);
            let (missing, written, open) = if is_first { ("{", "{", None) } else { ("]", "],", Some(last)) };
            let why = format!("a {missing} is missing before the text in front of this :, which is a key");
            Some(Fault { at, why, remedy: format!("write {written} before that text"), open })
        }
        _ => None,
    }
}

fn closing(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

/// The brackets that are open at `at`, each with its place.
fn open_before(text: &str, at: usize) -> Vec<(usize, char)> {
    let (mut open, mut from) = (Vec::new(), 0);
    while let Some(start) = text[from..at].find(['"', '/', '{', '[', '}', ']']).map(|n| from + n) {
        let rest = &text[start..at];
        let length = if rest.starts_with("//") {
            rest.find('\n')
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|n| n + 2)
        } else if let Some(inside) = rest.strip_prefix('"') {
            closing_quote(inside).map(|n| n + 2)
        } else {
            match rest.chars().next() {
                Some(bracket @ ('{' | '[')) => open.push((start, bracket)),
                Some('}' | ']') => drop(open.pop()),
                Some(_) | None => {}
            }
            Some(1)
        };
        let Some(length) = length else { break };
        from = start + length;
    }
    open
}

/// Whether a text ends with a text in quotes that stands where a value belongs: `"endpoint": "url"`, if a colon follows.
fn is_key_of_nothing(before: &str) -> bool {
    let Some(inner) = before.trim_end().strip_suffix('"') else { return false };
    inner.rfind('"').is_some_and(|begin| inner[..begin].trim_end().ends_with(':'))
}

fn missing_comma(kind: &ParseErrorKind, rest: &str) -> Option<Why> {
    let is_missing = matches!(kind, ParseErrorKind::ExpectedComma) && !rest.starts_with(|c: char| c.is_ascii_digit());
    is_missing.then(|| ("a comma is missing here".to_owned(), "write one between two members".to_owned()))
}

fn odd_character(rest: &str) -> Option<Why> {
    let c = rest.chars().next()?;
    let shown = character(c);
    let write = |plain: char| Some((format!("{shown} is none of JSON's characters"), format!("write {plain} for it")));
    let is_last = rest[c.len_utf8()..].trim().is_empty();
    match c {
        ';' | '；' if is_last => Some((format!("{shown} stands behind the end"), "remove it".to_owned())),
        '`' if rest.starts_with("```") => {
            Some(("a fence of Markdown stands here".to_owned(), "remove the lines that begin with ```".to_owned()))
        }
        '\'' | '`' | '=' | ';' | '(' | ')' => write(in_json(c)),
        '#' => Some((format!("{shown} begins no comment"), "write // for it".to_owned())),
        '.' if rest.starts_with("...") => {
            Some(("the ... of an example stands here".to_owned(), "remove it, or write what is meant".to_owned()))
        }
        '\\' if rest.starts_with("\\\"") => Some((
            "a backslash stands before a quote that is part of no text".to_owned(),
            "write \" without it: the quotes were escaped once too often".to_owned(),
        )),
        ',' => Some(("a comma stands where there is nothing to divide".to_owned(), "remove it".to_owned())),
        '<' | '$' | '%' | '@' | '/' | '\\' | '*' | '~' => {
            Some((format!("{shown} begins no value"), "put a text in quotes".to_owned()))
        }
        '…' => Some((format!("{shown} of an example stands here"), "remove it, or write what is meant".to_owned())),
        _ if c.is_ascii() => None,
        _ => match meant(c) {
            Some(' ') => Some((format!("{shown} stands here"), "write a blank for it".to_owned())),
            Some(plain) => write(in_json(plain)),
            None if is_unseen(c) => Some((format!("{shown} stands here"), "remove it".to_owned())),
            None => Some((format!("{shown} begins no value"), "put a text in quotes".to_owned())),
        },
    }
}

/// The character of JSON that is meant by one which stands for it elsewhere.
fn in_json(c: char) -> char {
    match c {
        '\'' | '`' => '"',
        '=' => ':',
        ';' => ',',
        '(' => '[',
        ')' => ']',
        other => other,
    }
}

/// A file that begins as no JSON does.
fn other_format(rest: &str) -> Option<Why> {
    let remedy = r#"write {"mcpServers": {…}}; YAML, TOML and XML can't be read"#;
    rest.starts_with(|c: char| c.is_alphabetic() || c == '-' || c == '<')
        .then(|| ("it doesn't begin with {".to_owned(), remedy.to_owned()))
}

fn odd_word(kind: &ParseErrorKind, rest: &str) -> Option<Why> {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let word = &rest[..end];
    if ["r", "R", "b", "f", "u", "rb"].contains(&word) && rest[end..].starts_with(['"', '\'']) {
        let remedy = r#"remove it, put the text in ", and write \\ for each backslash in it, or / in a path"#;
        return Some((format!("the {word} of a Python text stands here"), remedy.to_owned()));
    }
    if let Some((theirs, ours)) = WORDS.iter().find(|(theirs, _)| *theirs == word) {
        return Some((format!("{theirs} is none of JSON's words"), format!("write {ours} for it")));
    }
    if matches!(kind, ParseErrorKind::ExpectedStringObjectProperty) {
        return Some(("a key stands here without quotes".to_owned(), "write \"…\" around it".to_owned()));
    }
    let is_unexpected = matches!(kind, ParseErrorKind::UnexpectedToken | ParseErrorKind::UnexpectedWord);
    let is_word = word.starts_with(char::is_alphabetic) && is_unexpected;
    is_word.then(|| ("a text stands here without quotes".to_owned(), "write \"…\" around it".to_owned()))
}

/// The text of a config, in the braces that it lacks: documentation often shows `"mcpServers": {…}` without them.
pub(crate) fn with_braces(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text.trim_start();
    while rest.starts_with("//") || rest.starts_with("/*") {
        let end = if rest.starts_with("//") { rest.find('\n') } else { rest.find("*/").map(|n| n + 2) };
        rest = rest[end?..].trim_start();
    }
    let inside = rest.strip_prefix('"')?;
    let behind = &inside[closing_quote(inside)? + 1..];
    // The brace has a line of its own: the last line may end with a comment.
    behind.trim_start().starts_with(':').then(|| format!("{{{text}\n}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::Reader;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        let mut reader = Reader::new("f", text);
        assert!(reader.parse().is_none(), "{text} is JSON");
        reader.mistakes.first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn characters_that_look_like_those_of_json_are_told_together() {
        let told = |text: &str| {
            let mut reader = Reader::new("f", text);
            assert!(reader.parse().is_none(), "{text} is JSON");
            let short = |mistake: &crate::error::Problem| {
                let what = mistake.what.strip_prefix("is no valid JSON: ").unwrap_or_default();
                let place = mistake.place.to_string();
                format!("{} {}", place.trim_start_matches("f:"), what.chars().next().unwrap_or_default())
            };
            reader.mistakes.iter().map(short).collect::<Vec<_>>().join(", ")
        };
        for (text, want) in [
            ("{\"a\"：1，\n\"b\"：［2］｝", "1:5 ：, 1:7 ，, 2:4 ：, 2:5 ［, 2:7 ］, 2:8 ｝"),
            ("{“a”: “x”}", "1:2 “, 1:4 ”, 1:7 “, 1:9 ”"),
            ("{“a”: “x”，\n\t“b”: [“”]}", "1:2 “, 1:4 ”, 1:7 “, 1:9 ”, 1:10 ，, 2:2 “, 2:4 ”, 2:8 “, 2:9 ”"),
            ("{\"a”: 1}", "1:4 ”"),
            ("{\"a”: ‘x’，\"b\": 1}", "1:4 ”, 1:7 ‘"),
            // What is right in a text is not told.
            ("{\"a\"：\"“x”，\", \"b\": 1，}", "1:5 ：, 1:20 ，"),
            // Anything else may follow from a wrong guess.
            ("{\"a\"：1, b}", "1:5 ："),
            ("{\"a\": 1, b：2}", "1:10 a"),
            ("｛\"a\": \"x", "1:1 ｛"),
        ] {
            assert_eq!(told(text), want, "{text}");
        }
        let many = format!("{{{}\"b\": 1}}", "\"a\"：1，".repeat(50));
        assert_eq!(told(&many).split(", ").count(), MOST);
    }

    #[test]
    fn what_is_no_json_is_told_with_the_character_or_word_and_what_to_write() {
        for (text, place, why, remedy) in [
            (r#"{"a": "C:\Users\x"}"#, "1:10", r"\U means nothing in a text", BACKSLASH),
            (r#"{"a": "x\", "b": 1}"#, "1:9", ESCAPED.0, ESCAPED.1),
            (r#"{"a": "x\"}"#, "1:9", ESCAPED.0, ESCAPED.1),
            ("{\"a\": \"x\\\",\n\"b\": 1}", "1:9", ESCAPED.0, ESCAPED.1),
            ("{\"a\": \"x\\\"\n}", "1:9", ESCAPED.0, ESCAPED.1),
            (r#"{"a": "C:\users"}"#, "1:10", r"\u is no character unless four hexadecimal digits follow", BACKSLASH),
            (
                r#"{"a": 1，"b": 2}"#,
                "1:8",
                "， (U+FF0C, fullwidth comma) is none of JSON's characters",
                "write , for it",
            ),
            (
                "{\"a\":1；\"b\":2}",
                "1:7",
                "； (U+FF1B, fullwidth semicolon) is none of JSON's characters",
                "write , for it",
            ),
            ("{\"a\":1}；\n", "1:8", "； (U+FF1B, fullwidth semicolon) stands behind the end", "remove it"),
            ("{\"a\":1};", "1:8", "; (U+003B, semicolon) stands behind the end", "remove it"),
            ("{\"a\"：（1）}", "1:5", "： (U+FF1A, fullwidth colon) is none of JSON's characters", "write : for it"),
            (r#"{"a"：1}"#, "1:5", "： (U+FF1A, fullwidth colon) is none of JSON's characters", "write : for it"),
            (
                "{“a”: 1}",
                "1:2",
                "“ (U+201C, left double quotation mark) is none of JSON's characters",
                "write \" for it",
            ),
            ("{\"a”: \"x\"}", "1:4", "” (U+201D, right double quotation mark) closes no text", "write \" for it"),
            (
                "{\"a\": ‘x’}",
                "1:7",
                "‘ (U+2018, left single quotation mark) is none of JSON's characters",
                "write \" for it",
            ),
            (
                "{\"a\": 1、\"b\": 2}",
                "1:8",
                "、 (U+3001, ideographic comma) is none of JSON's characters",
                "write , for it",
            ),
            (
                "｛\"a\": 1}",
                "1:1",
                "｛ (U+FF5B, fullwidth left curly bracket) is none of JSON's characters",
                "write { for it",
            ),
            ("{\u{200b}\"a\": 1}", "1:2", "zero width space (U+200B) stands here", "remove it"),
            ("{\"a\": 你好}", "1:7", "你 (U+4F60, a Chinese character) begins no value", "put a text in quotes"),
            (r#"{"a": True}"#, "1:7", "True is none of JSON's words", "write true for it"),
            (r#"{"a": [False]}"#, "1:8", "False is none of JSON's words", "write false for it"),
            (r#"{"a": None}"#, "1:7", "None is none of JSON's words", "write null for it"),
            (r#"{"a": undefined}"#, "1:7", "undefined is none of JSON's words", "write null for it"),
            ("{'a': 1}", "1:2", "' (U+0027, apostrophe) is none of JSON's characters", "write \" for it"),
            ("{\"a\": 'x'}", "1:7", "' (U+0027, apostrophe) is none of JSON's characters", "write \" for it"),
            ("{a: 1}", "1:2", "a key stands here without quotes", "write \"…\" around it"),
            (
                "{\"a\": \"py\" + \"thon\"}",
                "1:12",
                "a + stands behind a text, and JSON joins no texts",
                "write them as one",
            ),
            (
                r#"{"a": [r"C:\x.py"]}"#,
                "1:8",
                "the r of a Python text stands here",
                r#"remove it, put the text in ", and write \\ for each backslash in it, or / in a path"#,
            ),
            ("{\"a\": python}", "1:7", "a text stands here without quotes", "write \"…\" around it"),
            ("{\"a\": x\n}", "1:7", "a text stands here without quotes", "write \"…\" around it"),
            ("{\"a\": [now]}", "1:8", "a text stands here without quotes", "write \"…\" around it"),
            ("{\"a\" = 1}", "1:6", "= (U+003D, equals sign) is none of JSON's characters", "write : for it"),
            ("{\"a\": 1; \"b\": 2}", "1:8", "; (U+003B, semicolon) is none of JSON's characters", "write , for it"),
            ("{\"a\": 1 \"b\": 2}", "1:8", "a comma is missing here", "write one between two members"),
            ("{\"a\": [1 2]}", "1:9", "a comma is missing here", "write one between two members"),
            ("{\"a\": 1}}", "1:9", "there is a } too many", "remove it"),
            ("{\"a\": 1},", "1:9", "a comma stands behind the end", "remove it"),
            ("{\"a\": 1,,}", "1:9", "a comma stands where there is nothing to divide", "remove it"),
            ("{\"a\": 1}\n{}", "2:1", "a second { … } follows the first", "put the members of both into one { … }"),
            ("```json\n{}\n```", "1:1", "a fence of Markdown stands here", "remove the lines that begin with ```"),
            ("{\n# c\n}", "2:1", "# (U+0023, number sign) begins no comment", "write // for it"),
            ("{...}", "1:2", "the ... of an example stands here", "remove it, or write what is meant"),
            ("{\"a\": <x>}", "1:7", "< (U+003C, less-than sign) begins no value", "put a text in quotes"),
            ("{\"a\": ${X}}", "1:7", "$ (U+0024, dollar sign) begins no value", "put a text in quotes"),
            (
                "{\"a\": \"x,\n\"b\": \"y\"}",
                "1:7",
                "the text that begins here goes over the end of its line",
                "a \" is missing on this line; a line break in a text is written \\n",
            ),
            (
                "{\"a\": \"say \"x\"\"}",
                "1:12",
                "this quote ends the text, and it goes on behind it",
                "write \\\" for a quote that is part of a text",
            ),
            (
                r#"{"args":["my.py],"cwd":"."}"#,
                "1:18",
                "this quote ends the text, and it goes on behind it",
                "write \\\" for a quote that is part of a text, or a quote is missing before it (after `my.py`)",
            ),
            (
                r#"{"env":{"A":"s3cret},"@b":"."}"#,
                "1:22",
                "this quote ends the text, and it goes on behind it",
                "write \\\" for a quote that is part of a text, or a quote is missing before it (before the },)",
            ),
            (
                r#"{"a": ["-y, "./x"]}"#,
                "1:13",
                "this quote ends the text, and it goes on behind it",
                "write \\\" for a quote that is part of a text, or a quote is missing before it (before the ,)",
            ),
            (
                "mcpServers:\n  a:\n",
                "1:1",
                "it doesn't begin with {",
                "write {\"mcpServers\": {…}}; YAML, TOML and XML can't be read",
            ),
            (
                "[mcp_servers.a]",
                "1:2",
                "it doesn't begin with {",
                "write {\"mcpServers\": {…}}; YAML, TOML and XML can't be read",
            ),
            (
                "<html>",
                "1:1",
                "it doesn't begin with {",
                "write {\"mcpServers\": {…}}; YAML, TOML and XML can't be read",
            ),
            ("{\"a\": 1 /* x}", "1:9", "the /* is never closed", "a */ is missing somewhere after it"),
            ("{\"a\":}", "1:6", "a value is missing before this }", "write one, or remove its key"),
            ("{\"a\"}", "1:5", "a colon is missing here", "write : and a value behind the key"),
            ("{\"a\" 1}", "1:6", "a colon is missing here", "write : and a value behind the key"),
            ("{\"a\"", "1:5", "the text ends here, in the middle of { … }", "write what is missing, or copy all of it"),
            (
                "{\"a\":\n\n",
                "1:6",
                "the text ends here, in the middle of { … }",
                "write what is missing, or copy all of it",
            ),
            ("{\"a\": 1} x", "1:10", "something stands behind the end", "remove it, or put it into the { … }"),
            ("{\"a\": 1} \"x\"", "1:10", "something stands behind the end", "remove it, or put it into the { … }"),
            ("{\"a\": 1} 5", "1:10", "something stands behind the end", "remove it, or put it into the { … }"),
            (
                "{\\\"a\\\": 2}",
                "1:2",
                "a backslash stands before a quote that is part of no text",
                "write \" without it: the quotes were escaped once too often",
            ),
            ("{\"a\": NaN}", "1:7", "NaN is none of JSON's numbers", "write a number, or null"),
            ("{\"a\": -Infinity}", "1:7", "-Infinity is none of JSON's numbers", "write a number, or null"),
            ("{\"a\": Infinity}", "1:7", "Infinity is none of JSON's numbers", "write a number, or null"),
            (
                "{\"a\": 0x1F}",
                "1:7",
                "this number is not written as JSON has it",
                "write it in decimal digits, like 31, 0.5 or -2",
            ),
            (
                "{\"a\": +5}",
                "1:7",
                "this number is not written as JSON has it",
                "write it in decimal digits, like 31, 0.5 or -2",
            ),
            (
                "{\"a\": .5}",
                "1:7",
                "this number is not written as JSON has it",
                "write it in decimal digits, like 31, 0.5 or -2",
            ),
            (
                "{\"a\": -}",
                "1:8",
                "this number is not written as JSON has it",
                "write it in decimal digits, like 31, 0.5 or -2",
            ),
            ("{:1}", "1:2", "a key is missing before this :", "write one in quotes"),
            ("{\"a\": :1}", "1:7", "a : stands where a value belongs", "remove it"),
            (
                "{\"a\": \"b\": 1}",
                "1:10",
                "a { is missing before the text in front of this :, which is a key",
                "write { before that text",
            ),
            ("[1]]", "1:4", "there is a ] too many", "remove it"),
            ("{\"a\": 1]", "1:8", "this ] closes nothing", "write } for it"),
            ("{\"a\": 1]}", "1:8", "this ] closes nothing", "remove it"),
            ("{\"a\": [1}}", "1:9", "this } closes nothing", "write ] for it"),
            ("[1}]", "1:3", "this } closes nothing", "remove it"),
            ("[1} x", "1:3", "this } closes nothing", "write ] for it, or remove it"),
            (
                r#"{"args":["x.py" }"#,
                "1:17",
                "a ] is missing before this }: the [ at 1:9 is still open",
                "write ] before it",
            ),
            ("[{\"a\": 1]", "1:9", "a } is missing before this ]: the { at 1:2 is still open", "write } before it"),
            (
                "{\"a\": [\n\"]\", // [\n1, \"b\": 2}",
                "3:7",
                "a ] is missing before the text in front of this :, which is a key: the [ at 1:7 is still open",
                "write ], before that text",
            ),
            (
                "{\"keys\": [\"name\": \"x\"}]}",
                "1:17",
                "a { is missing before the text in front of this :, which is a key",
                "write { before that text",
            ),
        ] {
            assert_eq!(said(text), format!("f:{place}: is no valid JSON: {why}; {remedy}"), "{text}");
        }
    }

    #[test]
    fn whoever_does_what_is_told_of_a_bracket_gets_a_valid_config_or_another_fault() {
        let whole = r#"{"mcpServers": {"a": {"command": "x", "args": ["1", "2"], "tools": {"deny": ["y"]}}, "b": {"args": []}}, "gateway": {"hosts": ["h"], "apiKeys": [{"name": "n"}]}}"#;
        let mut told = 0;
        let brackets = |text: &str| text.match_indices(['{', '}', '[', ']']).map(|(at, _)| at).collect::<Vec<_>>();
        let cut = brackets(whole).into_iter().map(|at| [&whole[..at], &whole[at + 1..]].concat());
        let doubled = brackets(whole).into_iter().map(|at| [&whole[..=at], &whole[at..]].concat());
        let swapped = brackets(whole).into_iter().map(|at| {
            let other = match &whole[at..=at] {
                "{" => "[",
                "[" => "{",
                "}" => "]",
                _ => "}",
            };
            [&whole[..at], other, &whole[at + 1..]].concat()
        });
        for mut text in cut.chain(doubled).chain(swapped) {
            let before = text.clone();
            let fault_of = |text: &str| {
                let error = parse_to_ast(text, &CollectOptions::default(), &CONFIG).err()?;
                Some(explain(text, &error).remove(0))
            };
            for step in 0.. {
                let Some(fault) = fault_of(&text) else { break };
                assert!(step < 8, "{before}\n{text}");
                let key = text_before(&text, fault.at).map_or(fault.at, |(start, _)| start);
                let (at, to, by) = match fault.remedy.as_str() {
                    "remove it" => (fault.at, fault.at + 1, ""),
                    "write ] before it" => (fault.at, fault.at, "]"),
                    "write } before it" => (fault.at, fault.at, "}"),
                    "write ] for it" => (fault.at, fault.at + 1, "]"),
                    "write } for it" => (fault.at, fault.at + 1, "}"),
                    "write { before that text" => (key, key, "{"),
                    "write ], before that text" => (key, key, "],"),
                    // Where in the text is for the person to see.
                    _ => break,
                };
                text.replace_range(at..to, by);
                told += 1;
            }
        }
        assert!(told > 50, "{told}");
    }

    #[test]
    fn no_words_of_the_parser_reach_a_person() {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"a\"",
            "1",
            "-",
            "+",
            ".5",
            "0x1",
            "1.",
            "1e",
            "x",
            "NaN",
            "/*",
            "//",
            "'",
            "\\",
            " ",
            "\n",
            "\"",
            "-Infinity",
        ];
        let words = [
            "Expected",
            "Unexpected",
            "Unterminated",
            "not allowed",
            "cannot",
            "Maximum",
            "Invalid",
            "literal",
            "token",
        ];
        let count = pieces.len();
        for n in 0..count.pow(3) {
            for before in ["", "{\"a\": ", "[1, "] {
                let text =
                    format!("{before}{}{}{}", pieces[n % count], pieces[n / count % count], pieces[n / count / count]);
                let mut reader = Reader::new("f", &text);
                let (config, json) = (reader.parse().is_none(), fault(&text));
                let told = reader.mistakes.first().filter(|_| config).map(ToString::to_string);
                for told in told.into_iter().chain(json.map(|fault| format!("{}; {}", fault.why, fault.remedy))) {
                    let is_ours = words.iter().all(|word| !told.contains(word)) && !told.ends_with("; ");
                    assert!(is_ours, "{text:?}: {told}");
                }
            }
        }
        let deep = said(&"[".repeat(5000));
        assert!(deep.contains("more than") && deep.contains("inside of one another"), "{deep}");
    }

    #[test]
    fn braces_are_added_to_a_fragment_and_to_nothing_else() {
        for text in ["\"mcpServers\": {}", "\u{feff} // c\n/* d */ \"a\" : {}, // e"] {
            let whole = with_braces(text).unwrap_or_default();
            assert!(Reader::new("f", &whole).parse().is_some(), "{whole}");
        }
        for text in ["{\"a\": 1}", "\"a\"", "[1]", "", "\"a", "/* x", "// x"] {
            assert!(with_braces(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_value_is_shown(text in ".*", marks in r#"[ \n{}\[\]:,"'a-c1“，：\\/*#é…TrueNon]{0,40}"#) {
            for text in [text, format!("{{\"a\": \"{marks}\"}}"), marks] {
                let mut reader = Reader::new("f", &text);
                drop(reader.parse());
                drop(with_braces(&text));
            }
        }
    }
}
