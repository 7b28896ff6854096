//! The lists that a server keeps, and what MCP calls them.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

/// Most pages of one list that are read, and compared with what was read before. A server that has more repeats itself, or never
/// ends.
pub(crate) const MAX_PAGES: usize = 200;

/// A kind of list that a server keeps (MCP, server features).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl ListKind {
    /// All of them.
    pub const ALL: [ListKind; 4] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources, ListKind::Templates];

    /// The request that reads the list.
    pub fn method(self) -> &'static str {
        match self {
            ListKind::Tools => "tools/list",
            ListKind::Prompts => "prompts/list",
            ListKind::Resources => "resources/list",
            ListKind::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the list.
    pub fn member(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Prompts => "prompts",
            ListKind::Resources => "resources",
            ListKind::Templates => "resourceTemplates",
        }
    }

    /// The member by which an item is known.
    pub(crate) fn key(self) -> &'static str {
        match self {
            ListKind::Tools | ListKind::Prompts => "name",
            ListKind::Resources => "uri",
            ListKind::Templates => "uriTemplate",
        }
    }
}

/// Which page of a list a request is for (MCP, utilities/pagination).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The list.
    pub(crate) kind: ListKind,
    /// A fingerprint of the cursor; `None` for the first page.
    pub(crate) cursor: Option<u64>,
}

impl Place {
    /// The page that a request with these parameters is for; `None` if the request is for no list.
    pub(crate) fn of(method: &[u8], params: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow)]
            cursor: Option<&'a RawValue>,
        }
        let kind = ListKind::ALL.into_iter().find(|kind| kind.method().as_bytes() == method)?;
        let cursor = serde_json::from_slice::<Params<'_>>(params).ok().and_then(|params| params.cursor);
        Some(Place { kind, cursor: cursor.and_then(|cursor| Place::cursor(cursor.get())) })
    }

    /// The fingerprint of a cursor, however that is written; `None` for a value that asks for the first page.
    pub(crate) fn cursor(token: &str) -> Option<u64> {
        let value: serde_json::Value = serde_json::from_str(token).ok()?;
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        (!value.is_null() && value != "").then(|| hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_cursor_however_that_is_written() {
        let place = |params: &str| Place::of(b"tools/list", params.as_bytes()).map(|place| place.cursor);
        for first in ["{}", "null", r#"{"cursor":null}"#, r#"{"cursor":""}"#, "5", ""] {
            assert_eq!(place(first), Some(None), "{first}");
        }
        assert_eq!(place(r#"{"cursor":"a\/b"}"#), place(r#"{"cursor":"a/b","x":1}"#));
        assert_ne!(place(r#"{"cursor":"a"}"#), place(r#"{"cursor":"b"}"#));
        assert_eq!(Place::of(b"tools/call", b"{}"), None);
    }
}
