//! A page of a list, read item by item: an odd item costs the others nothing, and is reported.

use std::fmt;
use std::time::Duration;

use super::key;
use crate::catalogue::MAX_ITEMS;
use crate::mcp::envelope::without_controls;
use crate::mcp::lists::ListKind;
use crate::mcp::mend::{Mended, mend};
use crate::mcp::{object, shape};

/// Most odd items of a list that are reported, and longest part of the name of each, in bytes.
const TOLD: usize = 3;
const BRIEF: usize = 64;

/// Longest time for which a page is kept because its server says so: beyond, a changed list would show when nobody expects it.
const LONGEST_AGE: Duration = Duration::from_hours(24);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::router) struct Page {
    pub(in crate::router) items: Vec<Box<str>>,
    /// The cursor of the next page, raw JSON.
    pub(in crate::router) next: Option<Box<str>>,
    pub(in crate::router) oddities: Oddities,
    /// How long the server says that the page may be kept, if it says so.
    pub(in crate::router) age: Option<Duration>,
}

/// What was odd about the items of a list: the first few, and how many more there are.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(in crate::router) struct Oddities {
    told: Vec<String>,
    more: usize,
}

impl Oddities {
    fn add(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD { self.told.push(what()) } else { self.more += 1 }
    }

    /// Adds the oddities of another page.
    pub(in crate::router) fn join(&mut self, other: Oddities) {
        for what in other.told {
            self.add(|| what);
        }
        self.more += other.more;
    }

    /// Whether nothing was odd.
    pub(in crate::router) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

impl fmt::Display for Oddities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told.join("; "))?;
        if self.more > 0 { write!(f, "; and {} items more", self.more) } else { Ok(()) }
    }
}

/// Reads a page; `None` if `result` is none.
pub(in crate::router) fn read(result: &[u8], kind: ListKind) -> Option<Page> {
    let result = without_controls(result);
    let result = str::from_utf8(&result).ok()?;
    // Some servers write `null` for an empty list. One item more than is kept is read, to see whether there are more.
    let items = match object::find(result, &[kind.member()])? {
        "null" => Vec::new(),
        items => object::elements(items, MAX_ITEMS + 1)?,
    };
    let next = object::find(result, &["nextCursor"]);
    let mut page = Page { next: next.filter(|next| is_cursor(next)).map(Into::into), ..Page::default() };
    page.age = object::find(result, &["ttlMs"]).and_then(age);
    for (at, item) in items.into_iter().enumerate() {
        let Some(Mended { text, odd }) = mend(item, shape::item(kind)) else {
            page.oddities.add(|| format!("item {} of a page has no {}, and is left out", at + 1, kind.key()));
            continue;
        };
        if !odd.is_empty() {
            let name = key(&text, kind).unwrap_or_default();
            page.oddities.add(|| format!("of {}, {}", &name[..name.floor_char_boundary(BRIEF)], odd.join(", ")));
        }
        page.items.push(text.into());
    }
    Some(page)
}

/// How long a page may be kept (MCP 2026-07-28, server/utilities/caching): in milliseconds, and what is less than none is none.
fn age(value: &str) -> Option<Duration> {
    let whole = value.parse::<i64>().ok()?;
    Some(Duration::from_millis(u64::try_from(whole).unwrap_or(0)).min(LONGEST_AGE))
}

/// An item that an earlier run remembered, as it would be read now.
pub(in crate::router) fn remembered(item: &str, kind: ListKind) -> Option<Box<str>> {
    mend(item, shape::item(kind)).map(|mended| mended.text.into())
}

/// Whether raw JSON asks for another page. Some servers count their pages in numbers; an empty text, `null` and the like are
/// what others write on the last page.
fn is_cursor(value: &str) -> bool {
    value != "\"\"" && value.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn tools(result: &str) -> Page {
        read(result.as_bytes(), ListKind::Tools).unwrap()
    }

    #[test]
    fn an_odd_item_costs_itself_and_is_told() {
        let good = r#"{"name":"a","inputSchema":{"type":"object"}}"#;
        for (odd, kept, told) in [
            (
                r#"{"name":"b","title":"\ud83d","inputSchema":{"type":"object"}}"#,
                true,
                "of b, title has half a character",
            ),
            (r#"{"name":"b","inputSchema":[]}"#, true, "of b, inputSchema is not the object"),
            (r#"{"name":"x","name":"b","inputSchema":{"type":"object"}}"#, true, "of b, name comes twice"),
            (r#"{"name":5}"#, false, "item 2 of a page has no name"),
            ("null", false, "item 2 of a page has no name"),
        ] {
            let page = tools(&format!(r#"{{"\ud83d":1,"tools":[{good},{odd},{good}]}}"#));
            assert_eq!(page.items.len(), 2 + usize::from(kept), "{odd}");
            assert_eq!((&*page.items[0], &*page.items[page.items.len() - 1]), (good, good));
            assert!(page.oddities.to_string().starts_with(told), "{}", page.oddities);
        }
        let many = ["{}"; 10].join(",");
        assert!(tools(&format!(r#"{{"tools":[{many}]}}"#)).oddities.to_string().ends_with("; and 7 items more"));
    }

    #[test]
    fn a_page_of_any_number_of_items_takes_no_more_memory_than_it_has_bytes() {
        let zeros = format!(r#"{{"tools":[{}0]}}"#, "0,".repeat(1 << 20));
        let items =
            format!(r#"{{"tools":[{}{{}}]}}"#, r#"{"name":"a","inputSchema":{"type":"object"}},"#.repeat(50_000));
        for (result, taken) in [(zeros, 0), (items, MAX_ITEMS + 1)] {
            let mut page = Page::default();
            let counted = allocation_counter::measure(|| page = tools(&result));
            assert_eq!(page.items.len(), taken);
            assert!(counted.bytes_max as usize <= result.len(), "{} for {} bytes", counted.bytes_max, result.len());
        }
    }

    #[test]
    fn a_cursor_is_a_text_or_a_number_and_goes_back_as_it_came() {
        for (next, want) in [
            (r#""a\ud83d""#, Some(r#""a\ud83d""#)),
            ("20", Some("20")),
            ("\"\"", None),
            ("null", None),
            ("false", None),
            ("[]", None),
            ("{}", None),
        ] {
            assert_eq!(tools(&format!(r#"{{"tools":[],"nextCursor":{next}}}"#)).next.as_deref(), want, "{next}");
        }
    }

    #[test]
    fn what_is_no_page_is_told_from_an_empty_one() {
        for text in ["{}", "[]", "null", r#"{"tools":{}}"#, r#"{"tools":5}"#, ""] {
            assert!(read(text.as_bytes(), ListKind::Tools).is_none(), "{text}");
        }
        assert!(tools(r#"{"tools":null}"#).items.is_empty() && tools(r#"{"tools":[]}"#).items.is_empty());
    }
}
