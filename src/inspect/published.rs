//! `tools --published`: the tools as an endpoint is shown them, by the code that shows them to endpoints; pure.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::table::{self, Rows, printable};
use crate::catalogue::{Lists, Memory};
use crate::config::ServerSpec;
use crate::local::Catalogue;
use crate::mcp::lists::ListKind;
use crate::router::ServerIndex;
use crate::router::hub::Hub;

/// A server's entry in the config, and what the server offers.
pub(super) type Offer<'a> = (&'a ServerSpec, Arc<Catalogue>);

/// A tool as an endpoint reads it.
pub(super) struct Tool {
    /// The tool's server.
    pub(super) server: ServerIndex,
    /// The server's name for the tool.
    pub(super) own: Arc<str>,
    /// The endpoint's name for the tool.
    pub(super) name: String,
    pub(super) definition: Value,
}

/// What an endpoint is shown if these servers share a connection.
pub(super) fn together(offers: &[Offer<'_>]) -> Vec<Tool> {
    let servers = offers.iter().map(|(spec, catalogue)| {
        // All servers have answered, so that none is left out as being down.
        let spec = ServerSpec { keep_listed: true, ..(*spec).clone() };
        (Arc::new(spec), Some(memory(catalogue)))
    });
    let mut merge = Hub::merging(servers);
    let Some((result, ways)) = merge.tools() else { return Vec::new() };
    let mut result: Value = serde_json::from_slice(result).unwrap_or_default();
    let tools = result.get_mut("tools").map(Value::take).and_then(|tools| match tools {
        Value::Array(tools) => Some(tools),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    });
    let tool = |definition: Value| {
        let name = definition["name"].as_str()?.to_owned();
        let (server, own) = ways.get(&*name)?.clone();
        Some(Tool { server, own, name, definition })
    };
    tools.unwrap_or_default().into_iter().filter_map(tool).collect()
}

/// What a run would remember of a server with this catalogue.
fn memory(catalogue: &Catalogue) -> Memory {
    let mut lists = Lists::default();
    lists.set(ListKind::Tools, catalogue.tools.iter().map(|tool| tool.to_string().into()).collect());
    Memory { welcome: "{}".into(), lists }
}

/// A line for each tool: its server, the server's name for it, the endpoint's, and the description.
pub(super) fn render(offers: &[Offer<'_>], width: Option<usize>, colour: bool) -> String {
    let row = |tool: Tool| {
        let server = offers.get(tool.server).map_or("", |(spec, _)| &*spec.name);
        [server, &tool.own, &tool.name, table::first_line(&tool.definition["description"])].map(printable)
    };
    let rows = together(offers).into_iter().map(row).collect();
    Rows { head: ["SERVER", "TOOL", "PUBLISHED AS", "DESCRIPTION"], whole: 3, rows }.draw(width, colour)
}

/// The same for programs, in the form of [`super::Form::Json`], with the servers' own names of their tools besides.
pub(super) fn as_json(offers: &[Offer<'_>]) -> String {
    let tools = together(offers);
    let server = |(place, (spec, catalogue)): (ServerIndex, &Offer<'_>)| {
        let of_it = || tools.iter().filter(|tool| tool.server == place);
        let own: Map<_, _> = of_it().map(|tool| (tool.name.clone(), Value::from(&*tool.own))).collect();
        let definitions: Vec<_> = of_it().map(|tool| &tool.definition).collect();
        json!({"name": *spec.name, "serverInfo": catalogue.server_info, "tools": definitions, "ownNames": own})
    };
    let servers: Vec<_> = offers.iter().enumerate().map(server).collect();
    format!("{:#}\n", json!({"servers": servers}))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::tools::{Glob, ToolPolicy};

    fn spec(name: &str, policy: ToolPolicy) -> ServerSpec {
        ServerSpec { tools: Arc::new(policy), ..ServerSpec::sample(name, "", &[]) }
    }

    fn offer<'a>(spec: &'a ServerSpec, tools: &[&str]) -> Offer<'a> {
        let tools = tools.iter().map(|name| json!({"name": name, "description": "Does it.", "title": "T"})).collect();
        (spec, Arc::new(Catalogue { server_info: json!({"name": *spec.name}), tools }))
    }

    #[test]
    fn tools_are_published_as_on_one_connection() {
        let policy = ToolPolicy {
            deny: vec![Glob::new("debug_*")],
            rename: vec![("now".into(), "clock".into())],
            slim: true,
            ..ToolPolicy::default()
        };
        let (a, b) = (spec("a", policy), spec("b", ToolPolicy::default()));
        let offers = [offer(&a, &["search", "debug_x", "now"]), offer(&b, &["search", "add"])];
        let want = "\
SERVER  TOOL    PUBLISHED AS  DESCRIPTION
a       search  a__search     Does it.
a       now     clock         Does it.
b       search  b__search     Does it.
b       add     add           Does it.
";
        assert_eq!(render(&offers, None, false), want);
        let value: Value = serde_json::from_str(&as_json(&offers)).unwrap();
        assert_eq!(value["servers"][0]["ownNames"], json!({"a__search": "search", "clock": "now"}));
        assert_eq!(
            value["servers"][0]["tools"][1],
            json!({"name": "clock", "description": "Does it.", "inputSchema": {"type": "object"}})
        );
        assert_eq!(value["servers"][1]["tools"][1]["title"], "T");
    }

    #[test]
    fn a_server_that_is_unlisted_while_it_is_down_is_shown() {
        let spec = ServerSpec { keep_listed: false, ..spec("a", ToolPolicy::default()) };
        assert_eq!(together(&[offer(&spec, &["x"])]).len(), 1);
    }
}
