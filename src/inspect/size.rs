//! `tools --size`: how large tools are, as a table for a person or as JSON; pure.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::published::{self, Offer};
use super::table::printable;
use crate::secrecy::plain;
use crate::tools::size::{Size, budget_warning};
use crate::words::counted;

/// The tools of one server, the largest first, and those that are not published last.
pub(super) struct Sizes<'a> {
    server: &'a str,
    tools: Vec<Sized>,
}

/// One tool.
struct Sized {
    /// The name under which the tool is published, else the server's name for it.
    name: String,
    /// The size as the server writes the tool.
    offered: Size,
    /// The size as the endpoint reads the tool; `None` if the tool is not published.
    published: Option<Size>,
}

impl Sizes<'_> {
    fn offered(&self) -> Size {
        self.tools.iter().map(|tool| tool.offered).sum()
    }

    fn published(&self) -> Size {
        self.tools.iter().filter_map(|tool| tool.published).sum()
    }

    fn count(&self) -> usize {
        self.tools.iter().filter(|tool| tool.published.is_some()).count()
    }
}

/// Measures each tool as its server offers it, and as it is published by its own rules.
pub(super) fn measure<'a>(offers: &'a [Offer<'a>]) -> Vec<Sizes<'a>> {
    let all = offers.iter().map(|offer| {
        let (spec, catalogue) = offer;
        let published = published::together(std::slice::from_ref(offer));
        let mut published: HashMap<_, _> = published.into_iter().map(|tool| (tool.own.clone(), tool)).collect();
        let one = |tool: &Value| {
            let own = tool["name"].as_str().unwrap_or("?");
            // A tool that is listed twice is published once.
            let published = published.remove(own);
            let name = published.as_ref().map_or_else(|| own.to_owned(), |tool| tool.name.clone());
            let offered = Size::of(&tool.to_string());
            // The tools of an untouched server are published byte for byte.
            let untouched = spec.tools.is_untouched().then_some(offered);
            let published = published.map(|tool| untouched.unwrap_or_else(|| Size::of(&tool.definition.to_string())));
            Sized { name, offered, published }
        };
        let mut tools: Vec<_> = catalogue.tools.iter().map(one).collect();
        tools.sort_by_key(|tool| std::cmp::Reverse((tool.published.map(|size| size.bytes), tool.offered.bytes)));
        Sizes { server: &spec.name, tools }
    });
    all.collect()
}

/// What to tell about servers above the budget: about each of them, or about all servers together if none alone is above.
pub(super) fn warnings(all: &[Sizes<'_>], budget: usize) -> Vec<String> {
    let alone = all.iter().filter_map(|s| budget_warning(&format!("server \"{}\"", s.server), s.published(), budget));
    let alone: Vec<String> = alone.collect();
    if !alone.is_empty() {
        return alone;
    }
    let whose = "all servers together, for an assistant that has them all";
    budget_warning(whose, all.iter().map(Sizes::published).sum(), budget).into_iter().collect()
}

/// A line for each tool, one for each server, and one for all. The sizes of what servers offer stand beside those of what is
/// published, where the two differ.
pub(super) fn render(all: &[Sizes<'_>], colour: bool) -> String {
    let (offered, published) = (all.iter().map(Sizes::offered).sum(), all.iter().map(Sizes::published).sum());
    let is_edited = offered != published;
    let row = |server: &str, tool: &str, offered: Size, published: Option<Size>| {
        let cells = |size: Option<Size>| {
            size.map_or(["-".to_owned(), "-".to_owned()], |size| [size.bytes.to_string(), size.tokens.to_string()])
        };
        let before = if is_edited { Vec::from(cells(Some(offered))) } else { Vec::new() };
        [vec![printable(server), printable(tool)], before, Vec::from(cells(published))].concat()
    };
    let sizes = if is_edited { vec!["OFFERED", "TOKENS", "PUBLISHED", "TOKENS"] } else { vec!["BYTES", "TOKENS"] };
    let head = [vec!["SERVER", "TOOL"], sizes].concat().into_iter().map(str::to_owned).collect();
    let mut rows: Vec<Vec<String>> = vec![head];
    for sizes in all {
        rows.extend(sizes.tools.iter().map(|tool| row(sizes.server, &tool.name, tool.offered, tool.published)));
        let count = counted(sizes.count(), "tool");
        rows.push(row(sizes.server, &count, sizes.offered(), Some(sizes.published())));
    }
    if all.len() > 1 {
        let count = counted(all.iter().map(Sizes::count).sum(), "tool");
        rows.push(row("all", &count, offered, Some(published)));
    }
    let mut text = String::new();
    let column = |i: usize| rows.iter().filter_map(move |row| row.get(i)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(column).collect();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let pad = " ".repeat(width - cell.width());
            // Numbers stand below each other by their last digits.
            if column < 2 { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = if i == 0 && colour { writeln!(text, "\x1b[1m{line}\x1b[0m") } else { writeln!(text, "{line}") };
    }
    if is_edited {
        text.push_str(
            "OFFERED is what the servers write, in bytes; PUBLISHED, what an endpoint reads of that by the config.\n",
        );
    }
    text.push_str("Tokens are estimated: one for four bytes of ASCII, one for each other character.\n");
    text
}

/// The same for programs: sizes as published, those as offered beside them, and what is not published apart.
pub(super) fn as_json(all: &[Sizes<'_>], budget: usize) -> String {
    let of = |Size { bytes, tokens }: Size| json!({"bytes": bytes, "estimatedTokens": tokens});
    let with = |mut value: Value, Size { bytes, tokens }: Size| {
        (value["bytes"], value["estimatedTokens"]) = (bytes.into(), tokens.into());
        value
    };
    let server = |sizes: &Sizes<'_>| {
        let published = sizes
            .tools
            .iter()
            .filter_map(|tool| Some(with(json!({"name": tool.name, "offered": of(tool.offered)}), tool.published?)));
        let others = sizes.tools.iter().filter(|tool| tool.published.is_none());
        let (tools, others): (Vec<_>, Vec<_>) =
            (published.collect(), others.map(|tool| with(json!({"name": tool.name}), tool.offered)).collect());
        let about =
            json!({"name": sizes.server, "offered": of(sizes.offered()), "tools": tools, "unpublished": others});
        with(about, sizes.published())
    };
    let servers: Vec<_> = all.iter().map(server).collect();
    let offered = of(all.iter().map(Sizes::offered).sum());
    let about = json!({"servers": servers, "offered": offered, "toolBudget": budget});
    plain::json(&format!("{:#}\n", with(about, all.iter().map(Sizes::published).sum()))).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ServerSpec;
    use crate::local::Catalogue;
    use crate::tools::{Glob, ToolPolicy};

    fn spec(name: &str) -> ServerSpec {
        ServerSpec::sample(name, "", &[])
    }

    fn offers(specs: &[ServerSpec]) -> Vec<Offer<'_>> {
        let catalogue = |tools: Value| {
            Arc::new(Catalogue { server_info: Value::Null, tools: serde_json::from_value(tools).unwrap() })
        };
        let two = json!([{"name": "add"}, {"name": "multiply", "description": "相乘"}]);
        let none = || catalogue(json!([]));
        let tools = |spec: &ServerSpec| if &*spec.name == "idle" { none() } else { catalogue(two.clone()) };
        specs.iter().map(|spec| (spec, tools(spec))).collect()
    }

    #[test]
    fn the_table_has_the_largest_tool_first_and_sums() {
        let specs = [spec("calculator"), spec("idle")];
        let offers = offers(&specs);
        let want = "\
SERVER      TOOL      BYTES  TOKENS
calculator  multiply     42      11
calculator  add          14       4
calculator  2 tools      56      15
idle        0 tools       0       0
all         2 tools      56      15
Tokens are estimated: one for four bytes of ASCII, one for each other character.
";
        assert_eq!(render(&measure(&offers), false), want);
        let one = render(&measure(&offers[..1]), true);
        assert!(one.starts_with("\x1b[1mSERVER") && !one.contains("all "), "{one}");
    }

    /// Denies one of its tools, and calls the other by another name.
    fn edited() -> ServerSpec {
        let policy = ToolPolicy {
            deny: vec![Glob::new("add")],
            rename: vec![("multiply".into(), "times".into())],
            describe: vec![(Glob::new("*"), "x".into())],
            ..ToolPolicy::default()
        };
        ServerSpec { tools: Arc::new(policy), ..spec("calculator") }
    }

    #[test]
    fn what_is_offered_stands_beside_what_is_published_of_it() {
        let specs = [edited(), spec("idle")];
        let offers = offers(&specs);
        let want = "\
SERVER      TOOL     OFFERED  TOKENS  PUBLISHED  TOKENS
calculator  times         42      11         66      17
calculator  add           14       4          -       -
calculator  1 tool        56      15         66      17
idle        0 tools        0       0          0       0
all         1 tool        56      15         66      17
OFFERED is what the servers write, in bytes; PUBLISHED, what an endpoint reads of that by the config.
Tokens are estimated: one for four bytes of ASCII, one for each other character.
";
        assert_eq!(render(&measure(&offers), false), want);
        let value: Value = serde_json::from_str(&as_json(&measure(&offers), 8000)).unwrap();
        assert_eq!((&value["bytes"], &value["offered"]["bytes"]), (&json!(66), &json!(56)));
        let server = &value["servers"][0];
        let offered = json!({"bytes": 42, "estimatedTokens": 11});
        assert_eq!(server["tools"], json!([{"name": "times", "offered": offered, "bytes": 66, "estimatedTokens": 17}]));
        assert_eq!(server["unpublished"], json!([{"name": "add", "bytes": 14, "estimatedTokens": 4}]));
    }

    #[test]
    fn the_json_has_the_same_numbers() {
        let specs = [spec("calculator"), spec("idle")];
        let value: Value = serde_json::from_str(&as_json(&measure(&offers(&specs)), 8000)).unwrap();
        assert_eq!(value["toolBudget"], 8000);
        assert_eq!((&value["bytes"], &value["estimatedTokens"]), (&json!(56), &json!(15)));
        let multiply = &value["servers"][0]["tools"][0];
        assert_eq!((&multiply["name"], &multiply["bytes"]), (&json!("multiply"), &json!(42)));
        assert_eq!(value["servers"][0]["bytes"], 56);
    }

    #[test]
    fn a_server_above_the_budget_is_named_and_else_their_sum() {
        let specs = [spec("calculator"), spec("idle"), spec("copy")];
        let offers = offers(&specs);
        let all = measure(&offers);
        assert!(warnings(&all, 30).is_empty());
        let together = warnings(&all, 29);
        assert_eq!(together.len(), 1);
        assert!(together[0].starts_with("all servers together"), "{together:?}");
        let alone = warnings(&all, 14);
        assert!(alone.len() == 2 && alone[1].starts_with("server \"copy\": tools of 56 bytes"), "{alone:?}");
        let policy = ToolPolicy { deny: vec![Glob::new("*")], ..ToolPolicy::default() };
        let specs = [ServerSpec { tools: Arc::new(policy), ..spec("calculator") }];
        let offers = self::offers(&specs);
        assert!(warnings(&measure(&offers), 9).is_empty(), "what is not published is not read");
    }
}
