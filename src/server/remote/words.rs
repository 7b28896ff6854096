//! What a server says itself where it refuses something: the words in the body of its refusal, in whatever form. Pure.

use std::borrow::Cow;

use http::StatusCode;

use super::answer::Media;
use crate::mcp::envelope::without_controls;
use crate::mcp::object;

/// Where the words stand in an object, the best ones first: JSON-RPC, OAuth (RFC 6749 section 5.2), frameworks such as Spring, and those
/// that have `detail` (RFC 9457, FastAPI).
const SAID: &[&[&str]] = &[&["error", "message"], &["error_description"], &["message"], &["detail"]];
/// What else stands there, in short: it goes before those words.
const HEADINGS: &[&str] = &["error", "title"];

/// What a refusal says in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Words {
    /// Nothing but what its status says.
    None,
    /// This, from outside.
    Text(String),
    /// A page for people, of which the title is the part that a line has room for.
    Page(Option<String>),
}

/// What a refusal with this status and body says in words.
pub(super) fn of(status: u16, media: Media, body: &[u8]) -> Words {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let said = |text: &str| !text.trim().is_empty() && !is_reason(status, text);
    // What is written in tags is for a browser, whatever its type; XML says more as it stands.
    if media == Media::Page || (text.starts_with('<') && !text.starts_with("<?xml")) {
        return Words::Page(title(text).filter(|title| said(title)).map(str::to_owned));
    }
    let plain = without_controls(text.as_bytes());
    let text = in_json(status, &String::from_utf8_lossy(&plain)).unwrap_or_else(|| text.to_owned());
    if said(&text) { Words::Text(text) } else { Words::None }
}

/// The words in a JSON text, if it is one that has some.
fn in_json(status: u16, text: &str) -> Option<String> {
    let found = |path: &[&str]| object::find(text, path).filter(|value| *value != "null");
    let said = SAID.iter().find_map(|path| found(path)).map(words_of);
    let heading = HEADINGS.iter().find_map(|name| found(&[name]).and_then(object::lossy_text_of));
    match (heading, said) {
        (Some(heading), Some(said)) if heading != said && !is_reason(status, &heading) => {
            Some(format!("{heading}: {said}"))
        }
        (_, Some(one)) | (Some(one), None) => Some(one.into_owned()),
        (None, None) => found(&["error"]).map(words_of).or_else(|| object::lossy_text_of(text)).map(Cow::into_owned),
    }
}

/// A value in words: a text, or else the JSON that it is.
fn words_of(value: &str) -> Cow<'_, str> {
    object::lossy_text_of(value).unwrap_or(Cow::Borrowed(value))
}

/// Whether a text says no more than the status: `404 Not Found`, `Not Found`.
fn is_reason(status: u16, text: &str) -> bool {
    let words = text.trim().trim_start_matches(|c: char| c.is_ascii_digit() || ": ".contains(c)).trim_end_matches('.');
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    words.is_empty() || reason.is_some_and(|reason| words.eq_ignore_ascii_case(reason))
}

/// The title of a page.
fn title(page: &str) -> Option<&str> {
    // Of the same length, so that places in it are places in the page.
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let from = tag + lower[tag..].find('>')? + 1;
    let end = from + lower[from..].find("</title")?;
    Some(&page[from..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str) -> Words {
        Words::Text(words.to_owned())
    }

    #[test]
    fn a_refusal_says_its_own_words_in_whatever_form() {
        for (body, want) in [
            // FastAPI, of which a fault in what was sent is a list.
            (r#"{"detail":"need KEY"}"#, "need KEY"),
            (
                r#"{"detail":[{"loc":["header","x-key"],"msg":"Field required"}]}"#,
                r#"[{"loc":["header","x-key"],"msg":"Field required"}]"#,
            ),
            // JSON-RPC, and what is a little off it.
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"need KEY"}}"#, "need KEY"),
            (r#"{"error":{"message":"a\ud83db"}}"#, "a\u{fffd}b"),
            (r#"{"error":{"reason":"need KEY"}}"#, r#"{"reason":"need KEY"}"#),
            (r#"{"error":"need KEY"}"#, "need KEY"),
            // OAuth, Spring, RFC 9457.
            (r#"{"error":"invalid_token","error_description":"it has expired"}"#, "invalid_token: it has expired"),
            (r#"{"status":404,"error":"Not Found","message":"need KEY","path":"/mcp"}"#, "need KEY"),
            (r#"{"type":"about:blank","title":"No key","detail":"need KEY"}"#, "No key: need KEY"),
            (r#"{"title":"No key","detail":null}"#, "No key"),
            (r#"{"message":"need KEY","error":"need KEY"}"#, "need KEY"),
            // What nobody has agreed on stands there as it is.
            (r#"{"reason":"need KEY"}"#, r#"{"reason":"need KEY"}"#),
            (r#""need KEY""#, "need KEY"),
            (r#"{"detail":"need K"#, r#"{"detail":"need K"#),
            ("need KEY\n", "need KEY"),
            ("need \x1b[31mKEY", "need \x1b[31mKEY"),
            ("\u{feff}need KEY", "need KEY"),
            ("404 page not found\n", "404 page not found"),
            ("<?xml version='1.0'?><Error>need KEY</Error>", "<?xml version='1.0'?><Error>need KEY</Error>"),
        ] {
            assert_eq!(of(404, Media::Unknown, body.as_bytes()), text(want), "{body}");
        }
        assert_eq!(of(400, Media::Json, b"need \xff"), text("need \u{fffd}"));
    }

    #[test]
    fn what_the_status_says_already_is_not_said_twice() {
        for body in [
            "",
            " \r\n",
            "Not Found",
            "404 Not Found",
            "404: not found",
            "404",
            r#"{"detail":"Not Found"}"#,
            "not found.",
        ] {
            assert_eq!(of(404, Media::Unknown, body.as_bytes()), Words::None, "{body}");
        }
        assert_eq!(of(403, Media::Unknown, b"Not Found"), text("Not Found"));
        assert_eq!(of(999, Media::Unknown, b"Not Found"), text("Not Found"));
    }

    #[test]
    fn of_a_page_nothing_is_said_but_its_title() {
        let page = |title: Option<&str>| Words::Page(title.map(str::to_owned));
        for (media, body, want) in [
            (Media::Page, "<h1>oops</h1>", None),
            (Media::Page, "oops", None),
            (Media::Unknown, "<!DOCTYPE html><html><HEAD><TITLE lang=en>Log in</Title>", Some("Log in")),
            (Media::Page, "<title>502 Bad Gateway</title>", None),
            (Media::Page, "<title>ü: no end", None),
            (Media::Page, "<title", None),
            (Media::Page, "<title></title>", None),
        ] {
            assert_eq!(of(502, media, body.as_bytes()), page(want), "{body}");
        }
    }
}
