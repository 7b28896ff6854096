//! The tools as a table for a person, fitted to the terminal; pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::local::Catalogue;
use crate::secrecy::plain;

const GAP: usize = 2;
/// Least width of a column: a narrower one tells nothing, so the table is rather wider than the terminal.
const MIN_COLUMN: usize = 12;

/// What is shown of the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Their descriptions and parameters.
    Offer,
    /// Their names for an endpoint if all servers share one connection.
    Published,
    /// Their sizes: how much of an assistant's context they take.
    Size,
}

/// How the tools are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For a program: `{"servers":[{"name","serverInfo","tools"}]}`, tools as they are published. With [`Show::Published`] also
    /// `ownNames`, from published names to the servers' own; with [`Show::Size`] `bytes` and `estimatedTokens` of all, of
    /// each server and of each tool, and the sizes of what servers offer as `offered`.
    Json,
    /// For a person.
    Table {
        /// Columns of the terminal; `None` cuts nothing off.
        width: Option<usize>,
        /// Whether the head stands out.
        colour: bool,
    },
}

/// One line per tool, under a head.
pub(super) fn render(found: &[(&str, Arc<Catalogue>)], width: Option<usize>, colour: bool) -> String {
    let rows = found.iter().flat_map(|(server, catalogue)| catalogue.tools.iter().map(|tool| row(server, tool)));
    let rows = Rows { head: ["SERVER", "TOOL", "PARAMETERS", "DESCRIPTION"], whole: 2, rows: rows.collect() };
    let mut text = rows.draw(width, colour);
    for (server, _) in found.iter().filter(|(_, catalogue)| catalogue.tools.is_empty()) {
        let _ = writeln!(text, "{} publishes no tools.", printable(server));
    }
    text
}

/// Lines of four cells under a head.
pub(super) struct Rows {
    pub(super) head: [&'static str; 4],
    /// How many columns, from the left, are never cut.
    pub(super) whole: usize,
    pub(super) rows: Vec<[String; 4]>,
}

impl Rows {
    /// The table as text, fitted to a terminal of `width` columns.
    pub(super) fn draw(&self, width: Option<usize>, colour: bool) -> String {
        let mut widths = self.head.map(UnicodeWidthStr::width);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(width) = width {
            fit(&mut widths, self.whole, width);
        }
        let mut text = String::new();
        let head = line(&self.head.map(str::to_owned), &widths);
        let _ = if colour { writeln!(text, "\x1b[1m{head}\x1b[0m") } else { writeln!(text, "{head}") };
        for row in &self.rows {
            text.push_str(&line(row, &widths));
            text.push('\n');
        }
        text
    }
}

fn row(server: &str, tool: &Value) -> [String; 4] {
    let name = tool["name"].as_str().unwrap_or("?");
    [server, name, &parameters(&tool["inputSchema"]), first_line(&tool["description"])].map(printable)
}

/// The first line of a text.
pub(super) fn first_line(text: &Value) -> &str {
    text.as_str().unwrap_or_default().trim().lines().next().unwrap_or_default()
}

/// The parameters of a tool as `a: number, b?: string[]`: a question mark marks those that may be left out.
fn parameters(schema: &Value) -> String {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
    let one = |(name, schema): (&String, &Value)| {
        let optional = if required(name) { "" } else { "?" };
        match kind(schema) {
            Some(kind) => format!("{name}{optional}: {kind}"),
            None => format!("{name}{optional}"),
        }
    };
    schema["properties"].as_object().map_or_else(String::new, |all| all.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A schema's type in short; `None` where there is no short word for it.
fn kind(schema: &Value) -> Option<String> {
    let either = |kinds: &[Value], one: &dyn Fn(&Value) -> Option<String>| {
        kinds.iter().map(one).collect::<Option<Vec<_>>>().map(|kinds| kinds.join("|"))
    };
    match &schema["type"] {
        Value::String(kind) if kind == "array" => {
            Some(kind_of_items(&schema["items"]).unwrap_or_else(|| "array".to_owned()))
        }
        Value::String(kind) => Some(kind.clone()),
        Value::Array(kinds) => either(kinds, &|kind| kind.as_str().map(str::to_owned)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            let kinds = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())?;
            either(kinds, &kind)
        }
    }
}

fn kind_of_items(items: &Value) -> Option<String> {
    let kind = kind(items)?;
    Some(if kind.contains('|') { format!("({kind})[]") } else { format!("{kind}[]") })
}

/// A server's text on one line, unable to move the cursor, to change colours or to turn the direction of writing.
pub(super) fn printable(text: &str) -> String {
    plain::line(&text.replace('\t', " ")).into_owned()
}

/// Narrows the columns behind the first `whole` ones until the table fits: names have to be whole to be used.
fn fit(widths: &mut [usize; 4], whole: usize, available: usize) {
    let names: usize = widths.iter().take(whole).sum::<usize>() + 3 * GAP;
    let rest = available.saturating_sub(names);
    let [_, _, parameters, description] = widths;
    if whole > 2 {
        *description = (*description).min(rest.max(MIN_COLUMN));
    } else if *parameters + *description > rest {
        // The description gets at least half of the rest, and what the parameters leave.
        *parameters = (*parameters).min((rest / 2).max(rest.saturating_sub(*description)).max(MIN_COLUMN));
        *description = (*description).min(rest.saturating_sub(*parameters).max(MIN_COLUMN));
    }
}

fn line(cells: &[String; 4], widths: &[usize; 4]) -> String {
    let mut line = String::new();
    for (cell, &width) in cells.iter().zip(widths) {
        let cell = cut(cell, width);
        let pad = width.saturating_sub(cell.width()) + GAP;
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', pad));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text if it fits, else its beginning and an ellipsis. Widths are columns: a Chinese character takes two.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= width
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrecy::plain::tests::is_plain;

    fn found(server: &str, tools: Value) -> (&str, Arc<Catalogue>) {
        let tools = serde_json::from_value(tools).unwrap_or_default();
        (server, Arc::new(Catalogue { server_info: Value::Null, tools }))
    }

    fn two_numbers(name: &str, description: &str) -> Value {
        let number = json!({"type": "number"});
        let schema = json!({"properties": {"b": number, "a": number}, "required": ["a", "b"]});
        json!({"name": name, "description": description, "inputSchema": schema})
    }

    #[test]
    fn parameters_are_short_and_in_the_servers_order() {
        let schema = json!({
            "properties": {
                "z": {"type": "string"}, "a": {"type": ["integer", "null"]}, "list": {"type": "array", "items": {"type": "string"}},
                "either": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "open": {}, "deep": {"$ref": "#/$defs/D"},
                "mixed": {"type": "array", "items": {"type": ["string", "number"]}}, "any": {"type": "array"}
            },
            "required": ["z", "list"]
        });
        assert_eq!(
            parameters(&schema),
            "z: string, a?: integer|null, list: string[], either?: string|null, open?, deep?, mixed?: (string|number)[], any?: array"
        );
        for none in [Value::Null, json!({}), json!({"properties": {}}), json!({"properties": 3})] {
            assert_eq!(parameters(&none), "");
        }
    }

    #[test]
    fn a_table_without_a_width_cuts_nothing_off() {
        let tools = json!([two_numbers("add", "Adds two numbers.\nMore of it."), {"name": "now"}]);
        let text = render(&[found("calculator", tools), found("idle", json!([]))], None, false);
        let want = "\
SERVER      TOOL  PARAMETERS            DESCRIPTION
calculator  add   b: number, a: number  Adds two numbers.
calculator  now
idle publishes no tools.
";
        assert_eq!(text, want);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_names_stay_whole() {
        let tools = json!([two_numbers("add", &"long ".repeat(50)), two_numbers("multiply", &"很长的说明".repeat(20))]);
        for width in [60, 80, 81, 120] {
            let text = render(&[found("calculator", tools.clone())], Some(width), false);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("multiply") && text.contains("calculator") && text.contains('…'), "{text}");
        }
        assert!(render(&[found("calculator", tools)], Some(5), false).contains("multiply"));
    }

    #[test]
    fn a_servers_text_cannot_control_the_terminal() {
        for hostile in ["a\u{1b}[2Jb", "a\u{7}b", "a\u{9b}2Jb", "a\u{202e}b", "a\rb", "a\tb"] {
            let schema = json!({"properties": {hostile: {"type": hostile}}});
            let tools = json!([{"name": hostile, "description": hostile, "inputSchema": schema}]);
            let text = render(&[found(hostile, tools), found(hostile, json!([]))], None, false);
            assert!(is_plain(&text) && !text.contains('\t') && text.lines().count() == 3, "{text:?}");
        }
        assert!(render(&[], None, true).starts_with("\x1b[1m"), "the head's own, where colour is wanted");
    }
}
