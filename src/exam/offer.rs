//! What is wrong with what a server lists: its names, and the schemas of its tools; pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::check::Check;
use super::schema::{self, Fault};
use crate::config::Names;
use crate::router::names::Letters;
use crate::words::{brief, counted, listed};

/// Most of what is wrong that is told of one list: a person mends these first.
const SHOWN: usize = 3;

/// What a server may list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// The check that reads it.
    pub(super) id: &'static str,
    pub(super) method: &'static str,
    /// The member of the answer that is the list.
    pub(super) member: &'static str,
    /// What one item is called.
    pub(super) one: &'static str,
    /// The members that each item has to have: texts.
    pub(super) needs: &'static [&'static str],
}

pub(super) const TOOLS: Listed =
    Listed { id: "tools", method: "tools/list", member: "tools", one: "tool", needs: &["name"] };
pub(super) const PROMPTS: Listed =
    Listed { id: "prompts", method: "prompts/list", member: "prompts", one: "prompt", needs: &["name"] };
pub(super) const RESOURCES: Listed =
    Listed { id: "resources", method: "resources/list", member: "resources", one: "resource", needs: &["uri", "name"] };
pub(super) const TEMPLATES: Listed = Listed {
    id: "resources",
    method: "resources/templates/list",
    member: "resourceTemplates",
    one: "template",
    needs: &["uriTemplate", "name"],
};

impl Listed {
    /// What is wrong with items as such.
    pub(super) fn faults(&self, items: &[Value]) -> Vec<String> {
        let lacks = |(at, item): (usize, &Value)| {
            let lacking = self.needs.iter().find(|member| !item[**member].is_string())?;
            Some(format!("{} {} has no {lacking} that is a text", self.one, at + 1))
        };
        items.iter().enumerate().filter_map(lacks).collect()
    }
}

/// Some of what is wrong, as one text.
pub(super) fn some(faults: &[String]) -> String {
    listed(faults.iter().take(SHOWN).collect(), faults.len())
}

/// A tool's name as it is shown.
fn name_of(tool: &Value) -> String {
    brief(tool["name"].as_str().unwrap_or("?")).into_owned()
}

/// Whether the schemas of all tools are some that clients take.
pub(crate) fn schemas(tools: &[Value]) -> Check {
    const ID: &str = "schemas";
    if tools.is_empty() {
        return Check::skip(ID, "it has no tools");
    }
    let of = |tool: &Value| -> Vec<(String, Fault)> {
        let mut found = schema::faults("inputSchema", &tool["inputSchema"]);
        if let Some(output) = tool.get("outputSchema") {
            found.extend(schema::faults("outputSchema", output));
        }
        found.into_iter().map(|fault| (name_of(tool), fault)).collect()
    };
    let all: Vec<(String, Fault)> = tools.iter().flat_map(of).collect();
    let told = |is_grave: bool| -> Vec<String> {
        let those = all.iter().filter(|(_, fault)| fault.is_grave == is_grave);
        those.map(|(tool, fault)| format!("{tool}: {fault}")).collect()
    };
    let (grave, doubtful) = (told(true), told(false));
    match (grave.is_empty(), doubtful.is_empty()) {
        (false, _) => Check::fail(
            ID,
            some(&grave),
            "clients refuse a tool with such a schema, many with all tools beside it: correct it where the tool is defined",
        ),
        (true, false) => Check::warn(
            ID,
            some(&doubtful),
            "some models refuse such a schema: write it plainer, or have mcp-pipe leave the tool out by \"tools\": {\"deny\": […]}",
        ),
        (true, true) => Check::pass(ID, format!("those of {} are valid", counted(tools.len(), "tool"))),
    }
}

/// Whether the names of all tools are some that clients take.
pub(crate) fn names(tools: &[Value]) -> Check {
    const ID: &str = "names";
    if tools.is_empty() {
        return Check::skip(ID, "it has no tools");
    }
    let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
    for name in tools.iter().filter_map(|tool| tool["name"].as_str()) {
        if !seen.insert(name) {
            twice.push(format!("{} is the name of more than one tool", brief(name)));
        }
    }
    if tools.iter().any(|tool| tool["name"].as_str().is_none_or(|name| name.trim().is_empty())) {
        twice.push("a tool has no name".to_owned());
    }
    if !twice.is_empty() {
        return Check::fail(ID, some(&twice), "give each tool a name of its own");
    }
    let letters = Letters::Of(Names::Ascii);
    let odd: Vec<String> =
        seen.iter().filter(|name| !letters.takes(name)).map(|name| brief(name).into_owned()).collect();
    if odd.is_empty() {
        return Check::pass(ID, format!("those of {} are taken everywhere", counted(tools.len(), "tool")));
    }
    let remedy =
        "name tools by up to 64 of A to Z, a to z, 0 to 9, _ and -, or let \"rename\" in \"tools\" of the config do it";
    Check::warn(ID, format!("not every model's API takes {}", some(&odd)), remedy)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exam::check::Mark;

    fn tool(name: &str) -> Value {
        json!({"name": name, "inputSchema": {"type": "object"}})
    }

    #[test]
    fn a_tool_with_a_wrong_schema_fails_and_one_with_a_doubtful_one_is_warned_of() {
        assert_eq!(schemas(&[]).mark, Mark::Skip);
        assert_eq!(schemas(&[tool("a")]).mark, Mark::Pass);
        let wrong = json!({"name": "b", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}});
        let doubtful = json!({"name": "c", "inputSchema": {"type": "object", "oneOf": [{}]}});
        let check = schemas(&[tool("a"), doubtful.clone(), wrong]);
        assert_eq!(check.mark, Mark::Fail);
        assert!(check.message.starts_with("b: outputSchema has the type \"array\""), "{}", check.message);
        let check = schemas(&[tool("a"), doubtful]);
        assert_eq!(
            (check.mark, &*check.message),
            (Mark::Warn, "c: inputSchema has oneOf at its top, which not every model's API takes")
        );
        let none: Vec<Value> = (0..9).map(|n| json!({"name": format!("t{n}")})).collect();
        assert!(schemas(&none).message.ends_with("and 6 more"), "{}", schemas(&none).message);
    }

    #[test]
    fn names_are_each_there_once_and_of_letters_that_all_take() {
        for (tools, mark, said) in [
            (vec![], Mark::Skip, "no tools"),
            (vec![tool("a-B_9")], Mark::Pass, "1 tool"),
            (vec![tool("a"), tool("a")], Mark::Fail, "a is the name of more than one"),
            (vec![tool("")], Mark::Fail, "no name"),
            (vec![json!({"name": 5})], Mark::Fail, "no name"),
            (vec![tool("ok"), tool("get.time"), tool("天气")], Mark::Warn, "get.time, 天气"),
            (vec![tool(&"x".repeat(65))], Mark::Warn, "xxx"),
        ] {
            let check = names(&tools);
            assert!(check.mark == mark && check.message.contains(said), "{tools:?}: {check:?}");
        }
    }

    #[test]
    fn an_item_needs_what_clients_know_it_by() {
        assert_eq!(RESOURCES.faults(&[json!({"uri": "a:b", "name": "c"})]), Vec::<String>::new());
        assert_eq!(RESOURCES.faults(&[json!({"name": "c"}), json!(3)]).len(), 2);
        assert_eq!(TOOLS.faults(&[tool("a"), json!({})]), ["tool 2 has no name that is a text"]);
    }
}
