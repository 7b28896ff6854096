//! Cuts a tool's result down to a size that its endpoint takes: to a valid result, which says that it was cut.

use serde_json::value::RawValue;

use crate::mcp::object::{self, Member};

/// Least limit, in bytes: below that there is no room for the notice and the members that are always kept.
pub(crate) const LEAST: usize = 256;

/// The JSON before and behind the text of a content item.
const OPEN: &str = "{\"type\":\"text\",\"text\":\"";
const CLOSE: &str = "\"}";

/// A result of `tools/call` (MCP, server/tools; raw JSON) cut down to `limit` bytes, but not below [`LEAST`]; `None` if the
/// result is no larger.
///
/// - `structuredContent` can't be cut, and goes first: servers say the same in text, as the specification asks them to.
/// - As many items of the content are kept as there is room for. The first text that is too long is cut, between two
///   characters, with a notice at its end, and no item follows. Other items that are too large become a notice.
/// - `isError` and whatever else is small (`_meta`, members of later versions) stays.
///
/// A result that is no JSON object becomes a notice.
pub(crate) fn cut_result(result: &[u8], limit: usize) -> Option<Vec<u8>> {
    let limit = limit.max(LEAST);
    if result.len() <= limit {
        return None;
    }
    let text = String::from_utf8_lossy(result);
    let cut = match object::members(&text) {
        Some(members) => cut_members(&members, result.len(), limit),
        None => {
            // Servers write tabs into their strings, which the JSON parser refuses and endpoints take.
            let spaced = text.replace(|c: char| c < ' ', " ");
            object::members(&spaced).map_or_else(
                || format!("{{\"content\":[{}]}}", left_out("result", result.len())),
                |members| cut_members(&members, result.len(), limit),
            )
        }
    };
    Some(cut.into_bytes())
}

fn cut_members(members: &[Member<'_>], size: usize, limit: usize) -> String {
    let is = |name: &'static str| move |m: &&Member<'_>| m.name() == name;
    let write = |members: Vec<&Member<'_>>| object::object(members.into_iter().map(|m| (m.key, m.value)));
    // Of two `content` members the last counts, as for most readers.
    let content = members.iter().rfind(is("content"));
    let items: Vec<&RawValue> = content.and_then(|c| serde_json::from_str(c.value).ok()).unwrap_or_default();
    if !items.is_empty() {
        let plain = write(members.iter().filter(|m| !is("structuredContent")(m)).collect());
        if plain.len() <= limit {
            return plain;
        }
    }

    // Other members get a quarter of the room; the rest is for the content, which endpoints read.
    let mut room = limit / 4;
    let mut takes = |member: &Member<'_>| {
        let size = member.key.len() + member.value.len() + ":,".len();
        let fits = size <= room && member.name() != "content";
        room -= if fits { size } else { 0 };
        fits
    };
    let error = members.iter().rfind(|m| is("isError")(m) && takes(m)).map(|m| m.key.as_ptr());
    let kept = members.iter().filter(|m| Some(m.key.as_ptr()) == error || (!is("isError")(m) && takes(m)));
    let kept: Vec<&Member<'_>> = kept.collect();

    let around: usize = kept.iter().map(|m| m.key.len() + m.value.len() + ":,".len()).sum();
    let room = limit - around - "{\"content\":[]}".len();
    let items: Vec<&str> = items.iter().map(|item| item.get()).collect();
    let content = match items.as_slice() {
        [] => left_out("result", size),
        items => cut_content(items, room),
    };
    let content = format!("[{content}]");
    object::object([("\"content\"", content.as_str())].into_iter().chain(kept.iter().map(|m| (m.key, m.value))))
}

/// As many items as `room` bytes hold, with commas between them.
fn cut_content(items: &[&str], room: usize) -> String {
    let total: usize = items.iter().map(|item| item.len()).sum();
    // Room for the longest possible notice is kept free as long as an item follows.
    let notice = OPEN.len() + cut_notice(total, total, items.len()).len() + CLOSE.len() + ",".len();
    let mut cut = String::new();
    for (at, item) in items.iter().enumerate() {
        let later = items.len() - at - 1;
        let left = room - cut.len() - usize::from(at > 0);
        let reserved = if later > 0 { notice } else { 0 };
        let fits = |text: &str| text.len() + reserved <= left;
        if at > 0 {
            cut.push(',');
        }
        if fits(item) {
            cut.push_str(item);
            continue;
        }
        let members = object::members(item).unwrap_or_default();
        let value = |name| members.iter().rfind(|m| m.name() == name).map(|m| m.value);
        let kind = value("type").and_then(object::text_of).unwrap_or_default();
        let text = value("text").filter(|text| kind == "text" && text.starts_with('"'));
        let replaced = match text {
            // The text alone, without other members of the item.
            Some(text) => format!("{OPEN}{}{CLOSE}", &text[1..text.len() - 1]),
            None => left_out(&kind, item.len()),
        };
        if fits(&replaced) {
            cut.push_str(&replaced);
            continue;
        }
        match text {
            Some(text) => cut.push_str(&cut_text(&text[1..text.len() - 1], left, later)),
            None => {
                cut.push_str(&format!("{OPEN}[cut by mcp-pipe; items left out: {}]{CLOSE}", later + 1));
            }
        }
        break;
    }
    cut
}

/// An item of at most `room` bytes: the beginning of a longer raw JSON string, given by its inside, and a notice.
fn cut_text(inside: &str, room: usize, later: usize) -> String {
    let around = OPEN.len() + CLOSE.len();
    let room = room.saturating_sub(around + cut_notice(inside.len(), inside.len(), later).len());
    let (mut end, mut kept, mut total, mut at) = (0, 0, 0, 0);
    while at < inside.len() {
        let (raw, bytes) = character(&inside.as_bytes()[at..]);
        at += raw;
        total += bytes;
        if at <= room {
            (end, kept) = (at, total);
        }
    }
    format!("{OPEN}{}{}{CLOSE}", &inside[..end], cut_notice(kept, total, later))
}

/// The length of the first character in a raw JSON string: as it is written, and in UTF-8.
fn character(raw: &[u8]) -> (usize, usize) {
    let unit = |at: usize| {
        let hex = raw.get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    match raw[0] {
        b'\\' => match (unit(0), unit(6)) {
            // Two escapes make one character.
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => (12, 4),
            (Some(..0x80), _) => (6, 1),
            (Some(..0x800), _) => (6, 2),
            (Some(_), _) => (6, 3),
            (None, _) => (2, 1),
        },
        0xF0.. => (4, 4),
        0xE0.. => (3, 3),
        0xC0.. => (2, 2),
        _ => (1, 1),
    }
}

/// The notice at the end of a text that was cut. It has no character that JSON would escape.
fn cut_notice(kept: usize, total: usize, later: usize) -> String {
    match later {
        0 => format!(" … [cut by mcp-pipe: {kept} of {total} bytes]"),
        _ => format!(" … [cut by mcp-pipe: {kept} of {total} bytes; items left out: {later}]"),
    }
}

/// An item that stands for one that had no room.
fn left_out(kind: &str, size: usize) -> String {
    let kind = match kind {
        "image" | "audio" | "resource" | "result" => kind,
        _ => "item",
    };
    format!("{OPEN}[left out by mcp-pipe: {kind} of {size} bytes]{CLOSE}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::mcp::object::tests::{raw_members, raw_value};
    use proptest::prelude::*;
    use serde_json::Value;

    fn cut(result: &str, limit: usize) -> Option<Value> {
        let cut = cut_result(result.as_bytes(), limit)?;
        assert!(cut.len() <= limit, "{} bytes of {limit}: {}", cut.len(), String::from_utf8_lossy(&cut));
        Some(serde_json::from_slice(&cut).unwrap())
    }

    fn text_item(text: &str) -> String {
        format!("{{\"type\":\"text\",\"text\":{}}}", object::quoted(text))
    }

    #[test]
    fn a_result_within_the_limit_is_left_alone() {
        let result = format!("{{\"content\":[{}]}}", text_item(&"x".repeat(300)));
        assert_eq!(cut(&result, result.len()), None);
        assert!(cut(&result, result.len() - 1).is_some());
        // A limit below the least one counts as that.
        assert_eq!(cut_result(&[b' '; 256], 1), None);
    }

    #[test]
    fn a_long_text_is_cut_with_a_notice_and_uses_the_room_there_is() {
        let result =
            format!("{{\"content\":[{}],\"isError\":true,\"_meta\":{{\"a\":1}}}}", text_item(&"x".repeat(5000)));
        let value = cut(&result, 1000).unwrap();
        let text = value["content"][0]["text"].as_str().unwrap();
        let kept = text.chars().take_while(|c| *c == 'x').count();
        assert!(kept > 850, "{kept}");
        assert_eq!(text[kept..], format!(" … [cut by mcp-pipe: {kept} of 5000 bytes]"));
        assert_eq!((&value["isError"], &value["_meta"]["a"]), (&Value::from(true), &Value::from(1)));
    }

    #[test]
    fn neither_an_escape_nor_a_character_is_cut_in_two() {
        for unit in ["é", "日", "😀", "\\n", "\\\\", "\\u00e9", "\\ud83d\\ude00", "\\u0041"] {
            let one: String = serde_json::from_str(&format!("\"{unit}\"")).unwrap();
            for shift in 0..13 {
                let result = format!(
                    "{{\"content\":[{{\"type\":\"text\",\"text\":\"{}{}\"}}]}}",
                    "a".repeat(shift),
                    unit.repeat(300)
                );
                let value = cut(&result, 400).unwrap();
                let text = value["content"][0]["text"].as_str().unwrap();
                let (kept, notice) = text.split_once(" … ").unwrap();
                assert!(kept[shift..].replace(&one, "").is_empty(), "{text}");
                let total = shift + one.len() * 300;
                assert_eq!(notice, format!("[cut by mcp-pipe: {} of {total} bytes]", kept.len()));
            }
        }
    }

    #[test]
    fn structured_content_goes_before_any_text_does() {
        let text = text_item(&"x".repeat(500));
        let result = format!("{{\"structuredContent\":{{\"a\":[{}1]}},\"content\":[{text}]}}", "1,".repeat(400));
        assert_eq!(
            cut(&result, 1000).unwrap(),
            serde_json::from_str::<Value>(&format!("{{\"content\":[{text}]}}")).unwrap()
        );
        // Where there is no text, its place is taken by a notice.
        let result = format!("{{\"structuredContent\":{{\"a\":[{}1]}},\"content\":[]}}", "1,".repeat(400));
        let want = format!("[left out by mcp-pipe: result of {} bytes]", result.len());
        assert_eq!(cut(&result, 300).unwrap(), serde_json::json!({"content": [{"type": "text", "text": want}]}));
    }

    #[test]
    fn an_image_without_room_becomes_a_notice_and_the_text_behind_it_stays() {
        let image = format!("{{\"type\":\"image\",\"data\":\"{}\",\"mimeType\":\"image/png\"}}", "A".repeat(2000));
        let result = format!("{{\"content\":[{image},{}]}}", text_item("a cat"));
        let value = cut(&result, 1000).unwrap();
        assert_eq!(value["content"][0]["text"], format!("[left out by mcp-pipe: image of {} bytes]", image.len()));
        assert_eq!(value["content"][1]["text"], "a cat");
    }

    #[test]
    fn what_follows_a_cut_text_is_counted() {
        let items = [text_item("first"), text_item(&"x".repeat(900)), text_item("y"), text_item("z")].join(",");
        let value = cut(&format!("{{\"content\":[{items}]}}"), 400).unwrap();
        assert_eq!(value["content"].as_array().unwrap().len(), 2);
        assert_eq!(value["content"][0]["text"], "first");
        assert!(value["content"][1]["text"].as_str().unwrap().ends_with(" bytes; items left out: 2]"), "{value}");
        let links = vec!["{\"type\":\"resource_link\",\"uri\":\"a://b\"}"; 100].join(",");
        let value = cut(&format!("{{\"content\":[{links}]}}"), 400).unwrap();
        let last = value["content"].as_array().unwrap().last().unwrap();
        assert_eq!(
            last["text"],
            format!("[cut by mcp-pipe; items left out: {}]", 101 - value["content"].as_array().unwrap().len())
        );
    }

    #[test]
    fn a_text_with_much_around_it_is_kept_without_that() {
        let item = format!("{{\"type\":\"text\",\"text\":\"hi\",\"_meta\":\"{}\"}}", "x".repeat(2000));
        let value = cut(&format!("{{\"content\":[{item}]}}"), 256).unwrap();
        assert_eq!(value, serde_json::json!({"content": [{"type": "text", "text": "hi"}]}));
    }

    #[test]
    fn what_is_no_result_becomes_a_notice_and_a_raw_tab_harms_nothing() {
        for result in
            ["x".repeat(300), format!("[{}1]", "1,".repeat(200)), format!("{{\"content\":\"{}\"}}", "x".repeat(300))]
        {
            let value = cut(&result, 256).unwrap();
            assert!(
                value["content"][0]["text"].as_str().unwrap().starts_with("[left out by mcp-pipe: result"),
                "{value}"
            );
        }
        let result = format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"a\tb{}\"}}]}}", "x".repeat(300));
        assert!(cut(&result, 256).unwrap()["content"][0]["text"].as_str().unwrap().starts_with("a bxx"));
    }

    /// Texts with and without escapes, other items, and things that are neither.
    fn item() -> impl Strategy<Value = String> {
        let text = prop_oneof![any::<String>(), "[a\"\\\\\u{1}é日😀]{0,400}"];
        let escaped = |text: &str| -> String { text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() };
        prop_oneof![
            text.clone().prop_map(|text| text_item(&text)),
            text.prop_map(move |text| format!("{{\"text\":\"{}\",\"x\":[1e999],\"type\":\"text\"}}", escaped(&text))),
            (0..3000usize).prop_map(|size| format!("{{\"type\":\"image\",\"data\":\"{}\"}}", "A".repeat(size))),
            raw_value(),
        ]
    }

    proptest! {
        #[test]
        fn a_cut_result_is_valid_within_its_limit_and_still_an_error(
            before in raw_members(),
            items in proptest::collection::vec(item(), 0..8),
            after in raw_members(),
            structured in raw_value(),
            error in any::<Option<bool>>(),
            limit in 256..4000usize,
        ) {
            let error_member = error.map(|error| ("\"isError\"".to_owned(), error.to_string()));
            let content = [
                ("\"content\"".to_owned(), format!("[{}]", items.join(" , "))),
                ("\"structuredContent\"".to_owned(), structured),
            ];
            let members: Vec<_> = [before, content.into(), error_member.into_iter().collect(), after].concat();
            let result = object::object(members.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            // `cut` asserts valid JSON within the limit. Numbers may be too large for a `Value`.
            let Some(cut) = cut_result(result.as_bytes(), limit) else {
                prop_assert!(result.len() <= limit);
                return Ok(());
            };
            prop_assert!(result.len() > limit && cut.len() <= limit, "{} of {}", cut.len(), limit);
            let cut = String::from_utf8(cut).unwrap();
            let kept = object::members(&cut).unwrap();
            let value = |name: &str| kept.iter().rfind(|m| m.name() == name).map(|m| m.value);
            prop_assert_eq!(value("isError").map(str::to_owned), error.map(|error| error.to_string()));
            prop_assert!(kept.iter().all(|m| m.name() == "content"
                || members.iter().any(|(key, value)| (m.key, m.value) == (key.as_str(), value.as_str()))));

            // Each item is whole, a notice, or one text's beginning and a notice, and then the last.
            let content: Vec<&RawValue> = serde_json::from_str(value("content").unwrap()).unwrap();
            let text = |item: &str| {
                let members = object::members(item)?;
                let text = members.iter().rfind(|m| m.name() == "text")?;
                object::text_of(text.value).map(std::borrow::Cow::into_owned)
            };
            for (at, new) in content.iter().enumerate() {
                let new = new.get();
                let old = items.get(at).map_or("", String::as_str);
                let last = at + 1 == content.len();
                let shown = text(new).unwrap_or_default();
                let begins = || {
                    let kept = shown.rsplit_once(" … [cut by mcp-pipe: ")?.0;
                    Some(text(old)?.starts_with(kept))
                };
                prop_assert!(
                    new == old
                        || text(old).is_some_and(|old| old == shown)
                        || shown.starts_with("[left out by mcp-pipe: ")
                        || (last && (begins() == Some(true) || shown.starts_with("[cut by mcp-pipe; items left out: "))),
                    "{} became {}", old, new
                );
            }
        }
    }
}
