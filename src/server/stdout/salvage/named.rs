//! What a broken text names: the id of an answer of which only a part is there, or which is in another notation than JSON.

use memchr::{memmem, memrchr};

use crate::mcp::envelope::Notation;

/// The notation of a text that was meant as a message and is no JSON, if its key `jsonrpc` shows one.
pub(crate) fn notation(text: &[u8]) -> Option<Notation> {
    let at = memmem::find(text, b"jsonrpc")?;
    let before = text[..at].last().copied()?;
    match (before, text[at + "jsonrpc".len()..].trim_ascii_start().first()?) {
        (b'\'', b'\'') => Some(Notation::Python),
        (b'{' | b',', b':') => Some(Notation::JavaScript),
        (before, b':') if before.is_ascii_whitespace() => Some(Notation::JavaScript),
        _ => None,
    }
}

/// Longest word that is looked at, in bytes: a text may break at each of its letters.
const LONGEST_WORD: usize = 10;

/// The notation of a text that is JSON up to the word in which the byte at `broken` stands.
pub(super) fn notation_at(text: &[u8], broken: usize) -> Option<Notation> {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
    let broken = broken.min(text.len());
    let start = broken - text[..broken].iter().rev().take(LONGEST_WORD).take_while(|byte| is_letter(byte)).count();
    let word = &text[start..text.len().min(start + LONGEST_WORD)];
    match &word[..word.iter().position(|byte| !is_letter(byte)).unwrap_or(word.len())] {
        b"None" | b"True" | b"False" => Some(Notation::Python),
        b"undefined" => Some(Notation::JavaScript),
        _ => None,
    }
}

/// The id of the answer that a text is a part of, or that it holds in a notation like Python's or JavaScript's: `{'jsonrpc':
/// '2.0', 'id': 5, …`, `…], "id": 5}`. A number, without its quotes. `is_rest`: the beginning of an answer has just been
/// lost.
///
/// A text with a method in it is a log's, about what a server was asked, or asks.
pub(super) fn answered(text: &[u8], is_rest: bool) -> Option<&[u8]> {
    let jsonrpc = memmem::find(text, b"jsonrpc");
    if jsonrpc.is_none() && !is_rest || memmem::find(text, b"method").is_some() {
        return None;
    }
    // The members before the first value with members of its own are the answer's.
    let begin = jsonrpc.and_then(|at| memrchr(b'{', &text[..at])).map(|at| &text[at + 1..]);
    let head = begin.map(|begin| &begin[..begin.iter().position(is_bracket).unwrap_or(begin.len())]);
    if let Some((id, _)) = head.and_then(|head| ids(head).next()) {
        return Some(id);
    }
    // So are the members behind the last such value.
    let (id, rest) = ids(text).last()?;
    let closing = rest.iter().position(is_bracket)?;
    let is_end = rest[closing] == b'}' && !rest[closing + 1..].iter().any(is_bracket);
    is_end.then_some(id)
}

/// A header as language servers have it (Language Server Protocol, base protocol).
pub(super) fn is_header(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    [&b"content-length:"[..], b"content-type:"]
        .iter()
        .any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

fn is_bracket(byte: &u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']')
}

/// The numbers that are called `id`, quoted or not, and what follows each.
fn ids(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    memmem::find_iter(text, b"id").filter_map(|at| {
        let before = text[..at].last().copied();
        let quote = before.filter(|byte| matches!(byte, b'"' | b'\''));
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'\\') {
            return None;
        }
        let mut rest = &text[at + 2..];
        if let Some(quote) = quote {
            rest = rest.strip_prefix(&[quote])?;
        }
        rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let quote = rest.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let value = &rest[usize::from(quote.is_some())..];
        let len = value.iter().position(|byte| !byte.is_ascii_digit())?;
        let (id, rest) = value.split_at(len);
        let rest = match quote {
            Some(quote) => rest.strip_prefix(&[quote])?,
            // A large number of JavaScript ends so.
            None => rest.strip_prefix(b"n").unwrap_or(rest),
        };
        let ends = matches!(rest.trim_ascii_start().first()?, b',' | b'}');
        (!id.is_empty() && ends).then_some((id, rest))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_answer_itself_is_found_and_no_other() {
        for (text, is_rest, id) in [
            ("{'jsonrpc': '2.0', 'id': 5, 'result': {'content': [{'id': 6}]}}", false, "5"),
            ("{ jsonrpc: '2.0', id: 5, result: { content: [ [Object] ] } }", false, "5"),
            ("{ jsonrpc: '2.0', id: 5n, result: {} }", false, "5"),
            ("{'jsonrpc': '2.0', 'id': '5n', 'result': {}}", false, "-"),
            ("{'jsonrpc': '2.0', 'id': n, 'result': {}}", false, "-"),
            ("{'id': '5', 'jsonrpc': '2.0', 'result': {}}", false, "5"),
            ("{'result': {'items': [{'id': 6}]}, 'id': 5, 'jsonrpc': '2.0'}", false, "5"),
            ("INFO {x} {'jsonrpc': '2.0', 'id': 5, 'result': {'content'", false, "5"),
            (r#"text"}]},"id":5,"jsonrpc":"2.0"}"#, false, "5"),
            (r#"text"}]},"jsonrpc":"2.0","id" : "5" } done"#, false, "5"),
            (r#"text"}]},"id":5}"#, true, "5"),
            (r#"text"}]},"id":5}"#, false, "-"),
            (r#"text"}],"id":6}],"x":1},"jsonrpc":"2.0"}"#, false, "-"),
            (r#"text"}]},"valid":5,"_id":6,"jsonrpc":"2.0"}"#, false, "-"),
            (r#"{"msg":"{\"jsonrpc\":\"2.0\",\"id\":5}"#, false, "-"),
            ("{'jsonrpc': '2.0', 'method': 'tools/call', 'id': 5, 'params': {}}", false, "-"),
            ("{'jsonrpc': '2.0', 'id': 5", false, "-"),
            ("{'jsonrpc': '2.0', 'id': x, 'result'", false, "-"),
            ("{'jsonrpc': '2.0', 'id': , 'result': {}}", false, "-"),
            ("{'jsonrpc': '2.0', 'id': 5.5, 'result': {}}", false, "-"),
            ("the id: 5, of jsonrpc", false, "-"),
            ("", true, "-"),
        ] {
            let found = answered(text.as_bytes(), is_rest).map_or("-".into(), String::from_utf8_lossy);
            assert_eq!(found, id, "{text}");
        }
    }

    #[test]
    fn the_notation_of_a_message_is_told_where_it_is_another_than_jsons() {
        const PYTHON: Option<Notation> = Some(Notation::Python);
        const SCRIPT: Option<Notation> = Some(Notation::JavaScript);
        for (text, want) in [
            ("{'jsonrpc': '2.0', 'id': 3, 'result': {}}", PYTHON),
            ("{'id': 3, 'jsonrpc' : '2.0', 'result': None}", PYTHON),
            ("{ jsonrpc: '2.0', id: 5, result: { content: [ [Object] ] } }", SCRIPT),
            ("{\n  jsonrpc: '2.0'", SCRIPT),
            ("{jsonrpc: '2.0'", SCRIPT),
            (r#"{"jsonrpc": "2.0", "id": 3"#, None),
            ("a jsonrpc server", None),
            ("", None),
        ] {
            assert_eq!(notation(text.as_bytes()), want, "{text}");
        }
        for (text, want) in [
            (r#"{"jsonrpc": "2.0", "id": 3, "result": @None}"#, PYTHON),
            (r#"{"jsonrpc": "2.0", "id": 3, "result": {"a": Tr@ue}}"#, PYTHON),
            (r#"{"jsonrpc": "2.0", "id": 3, "result": F@alse"#, PYTHON),
            (r#"{"jsonrpc": "2.0", "id": 3, "result": @undefined}"#, SCRIPT),
            (r#"{"jsonrpc": "2.0", "id": 3, "result": @nul}"#, None),
            (r#"{"jsonrpc": "2.0", @}"#, None),
            ("@", None),
        ] {
            let broken = text.find('@').unwrap();
            assert_eq!(notation_at(text.replace('@', "").as_bytes(), broken), want, "{text}");
        }
        assert_eq!(notation_at(b"None", 99), PYTHON);
    }

    #[test]
    fn headers_are_told_from_text() {
        assert!(is_header(b"Content-Length: 52\r") && is_header(b" content-type: application/vscode-jsonrpc"));
        assert!(!is_header(b"Content") && !is_header(b"The Content-Length: 5"));
    }
}
