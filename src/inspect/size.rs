//! How large tools are, as a table for a person or as JSON; pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::table::printable;
use crate::local::Catalogue;
use crate::tools::size::{Size, budget_warning};
use crate::words::counted;

/// The tools of one server, the largest first.
pub(super) struct Sizes<'a> {
    server: &'a str,
    tools: Vec<(&'a str, Size)>,
}

impl Sizes<'_> {
    fn total(&self) -> Size {
        self.tools.iter().map(|(_, size)| *size).sum()
    }
}

/// Measures each tool as it is published.
pub(super) fn measure<'a>(found: &'a [(&'a str, Arc<Catalogue>)]) -> Vec<Sizes<'a>> {
    let one = |tool: &'a Value| (tool["name"].as_str().unwrap_or("?"), Size::of(&tool.to_string()));
    let all = found.iter().map(|(server, catalogue)| {
        let mut tools: Vec<_> = catalogue.tools.iter().map(one).collect();
        tools.sort_by_key(|(_, size)| std::cmp::Reverse(size.bytes));
        Sizes { server, tools }
    });
    all.collect()
}

/// What to tell about servers above the budget; about all of them together, if none is alone.
pub(super) fn warnings(all: &[Sizes<'_>], budget: usize) -> Vec<String> {
    let of = |sizes: &Sizes<'_>| sizes.tools.iter().map(|(_, size)| *size).sum::<Size>();
    let alone = all.iter().filter_map(|s| budget_warning(&format!("server \"{}\"", s.server), of(s), budget));
    let alone: Vec<String> = alone.collect();
    if !alone.is_empty() {
        return alone;
    }
    let whose = "all servers together, for an assistant that has them all";
    budget_warning(whose, all.iter().map(of).sum(), budget).into_iter().collect()
}

/// A line for each tool, one for each server, and one for all.
pub(super) fn render(all: &[Sizes<'_>], colour: bool) -> String {
    let row = |server: &str, tool: &str, size: Size| {
        [printable(server), printable(tool), size.bytes.to_string(), size.tokens.to_string()]
    };
    let sum = |server: &str, count: usize, size| row(server, &counted(count, "tool"), size);
    let mut rows = vec![["SERVER", "TOOL", "BYTES", "TOKENS"].map(str::to_owned)];
    for sizes in all {
        rows.extend(sizes.tools.iter().map(|(tool, size)| row(sizes.server, tool, *size)));
        rows.push(sum(sizes.server, sizes.tools.len(), sizes.total()));
    }
    if all.len() > 1 {
        let count = all.iter().map(|sizes| sizes.tools.len()).sum();
        rows.push(sum("all", count, all.iter().map(Sizes::total).sum()));
    }
    let widths = [0, 1, 2, 3].map(|i| rows.iter().map(|row| row[i].width()).max().unwrap_or_default());
    let mut text = String::new();
    for (i, [server, tool, bytes, tokens]) in rows.iter().enumerate() {
        let pad = |cell: &str, width: usize| " ".repeat(width - cell.width());
        let (after_server, after_tool) = (pad(server, widths[0]), pad(tool, widths[1]));
        let (before_bytes, before_tokens) = (pad(bytes, widths[2]), pad(tokens, widths[3]));
        let line =
            format!("{server}{after_server}  {tool}{after_tool}  {before_bytes}{bytes}  {before_tokens}{tokens}");
        let _ = if i == 0 && colour { writeln!(text, "\x1b[1m{line}\x1b[0m") } else { writeln!(text, "{line}") };
    }
    text.push_str("Tokens are estimated: one for four bytes of ASCII, one for each other character.\n");
    text
}

/// The same for programs.
pub(super) fn as_json(all: &[Sizes<'_>], budget: usize) -> String {
    let tool = |(name, size): &(&str, Size)| json!({"name": name, "bytes": size.bytes, "estimatedTokens": size.tokens});
    let server = |sizes: &Sizes<'_>| {
        let (Size { bytes, tokens }, tools) = (sizes.total(), sizes.tools.iter().map(tool).collect::<Vec<_>>());
        json!({"name": sizes.server, "bytes": bytes, "estimatedTokens": tokens, "tools": tools})
    };
    let Size { bytes, tokens } = all.iter().map(Sizes::total).sum();
    let servers: Vec<_> = all.iter().map(server).collect();
    let all = json!({"servers": servers, "bytes": bytes, "estimatedTokens": tokens, "toolBudget": budget});
    format!("{all:#}\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn found() -> Vec<(&'static str, Arc<Catalogue>)> {
        let catalogue = |tools: Value| {
            Arc::new(Catalogue { server_info: Value::Null, tools: serde_json::from_value(tools).unwrap() })
        };
        let two = json!([{"name": "add"}, {"name": "multiply", "description": "相乘"}]);
        vec![("calculator", catalogue(two)), ("idle", catalogue(json!([])))]
    }

    #[test]
    fn the_table_has_the_largest_tool_first_and_sums() {
        let found = found();
        let want = "\
SERVER      TOOL      BYTES  TOKENS
calculator  multiply     42      11
calculator  add          14       4
calculator  2 tools      56      15
idle        0 tools       0       0
all         2 tools      56      15
Tokens are estimated: one for four bytes of ASCII, one for each other character.
";
        assert_eq!(render(&measure(&found), false), want);
        let one = render(&measure(&found[..1]), true);
        assert!(one.starts_with("\x1b[1mSERVER") && !one.contains("all "), "{one}");
    }

    #[test]
    fn the_json_has_the_same_numbers() {
        let value: Value = serde_json::from_str(&as_json(&measure(&found()), 8000)).unwrap();
        assert_eq!(value["toolBudget"], 8000);
        assert_eq!((&value["bytes"], &value["estimatedTokens"]), (&json!(56), &json!(15)));
        let multiply = json!({"name": "multiply", "bytes": 42, "estimatedTokens": 11});
        assert_eq!(value["servers"][0]["tools"][0], multiply);
        assert_eq!(value["servers"][0]["bytes"], 56);
    }

    #[test]
    fn a_server_above_the_budget_is_named_and_else_their_sum() {
        let mut found = found();
        found.push(("copy", Arc::clone(&found[0].1)));
        let all = measure(&found);
        assert!(warnings(&all, 30).is_empty());
        let together = warnings(&all, 29);
        assert_eq!(together.len(), 1);
        assert!(together[0].starts_with("all servers together"), "{together:?}");
        let alone = warnings(&all, 14);
        assert!(alone.len() == 2 && alone[1].starts_with("server \"copy\": tools of 56 bytes"), "{alone:?}");
    }
}
