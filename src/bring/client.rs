//! The entry by which an MCP client uses mcp-pipe: where it stands in the client's file, and how each client has it. Pure.

use serde_json::{Map, Value, json};

use super::edit::Put;

/// What the entry is called in the client's file.
pub(crate) const ENTRY: &str = "mcp-pipe";
/// What VS Code calls its question for the key.
const QUESTION: &str = "mcp-pipe-key";

/// How the client reaches mcp-pipe.
#[derive(Debug)]
pub(crate) enum Way {
    /// It starts `mcp-pipe stdio`.
    Stdio { program: String, args: Vec<String> },
    /// It calls the gateway.
    Http { url: String, key: Option<Key> },
}

/// The key with which the gateway lets the client in.
#[derive(Debug)]
pub(crate) struct Key {
    /// The variable that holds it.
    pub(crate) variable: String,
    /// What it is, or what stands for it where it must not be shown.
    pub(crate) text: String,
}

/// How a client writes a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Not at all: the key itself stands in its file.
    None,
    /// By these two, before the name and behind it.
    Around(&'static str, &'static str),
    /// It asks a person, once.
    Question,
}

/// How a client has its entries.
#[derive(Debug)]
pub(crate) struct Client {
    /// The name of the program.
    pub(crate) name: &'static str,
    /// The keys that lead to its list of servers.
    list: &'static [&'static str],
    /// What stands beside command and args.
    local: &'static [(&'static str, &'static str)],
    /// What stands beside the address, which stands under this key; `None` for a client that can't dial.
    remote: Option<(&'static str, &'static [(&'static str, &'static str)])>,
    pub(crate) syntax: Syntax,
}

const ENV: Syntax = Syntax::Around("${env:", "}");
const SERVERS: &[&str] = &["mcpServers"];

/// The clients that are known.
pub(crate) const CLIENTS: &[Client] = &[
    Client { name: "claude", list: SERVERS, local: &[], remote: None, syntax: Syntax::None },
    Client {
        name: "claude-code",
        list: SERVERS,
        local: &[("type", "stdio")],
        remote: Some(("url", &[("type", "http")])),
        syntax: Syntax::Around("${", "}"),
    },
    Client { name: "cursor", list: SERVERS, local: &[], remote: Some(("url", &[])), syntax: ENV },
    Client {
        name: "vscode",
        list: &["servers"],
        local: &[("type", "stdio")],
        remote: Some(("url", &[("type", "http")])),
        syntax: Syntax::Question,
    },
    Client { name: "windsurf", list: SERVERS, local: &[], remote: Some(("serverUrl", &[])), syntax: ENV },
    Client {
        name: "cline",
        list: SERVERS,
        local: &[],
        remote: Some(("url", &[("type", "streamableHttp")])),
        syntax: Syntax::None,
    },
    Client {
        name: "roo",
        list: SERVERS,
        local: &[],
        remote: Some(("url", &[("type", "streamable-http")])),
        syntax: ENV,
    },
    Client {
        name: "gemini",
        list: SERVERS,
        local: &[],
        remote: Some(("httpUrl", &[])),
        syntax: Syntax::Around("${", "}"),
    },
    Client {
        name: "opencode",
        list: &["mcp"],
        local: &[("type", "local")],
        remote: Some(("url", &[("type", "remote")])),
        syntax: Syntax::Around("{env:", "}"),
    },
    Client { name: "lmstudio", list: SERVERS, local: &[], remote: Some(("url", &[])), syntax: Syntax::None },
    Client {
        name: "zed",
        list: &["context_servers"],
        local: &[("source", "custom")],
        remote: Some(("url", &[])),
        syntax: Syntax::None,
    },
    Client {
        name: "copilot",
        list: SERVERS,
        local: &[("type", "local")],
        remote: Some(("url", &[("type", "http")])),
        syntax: Syntax::None,
    },
    Client {
        name: "amazonq",
        list: SERVERS,
        local: &[],
        remote: Some(("url", &[("type", "http")])),
        syntax: Syntax::None,
    },
];

/// The client of this name.
pub(crate) fn named(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name)
}

impl Client {
    /// Whether it can call the gateway.
    pub(crate) fn dials(&self) -> bool {
        self.remote.is_some()
    }

    /// What is put where in its file, which holds this now.
    pub(crate) fn puts(&self, way: &Way, file: &Value) -> Vec<Put<'static>> {
        let mut list = self.list.to_vec();
        // From its second version on, opencode has them a step deeper.
        if self.name == "opencode" && file["mcp"]["servers"].is_object() {
            list.push("servers");
        }
        list.push(ENTRY);
        let mut puts = vec![(list, Value::Object(self.entry(way)))];
        let asks = self.syntax == Syntax::Question && matches!(way, Way::Http { key: Some(_), .. });
        let is_asked = || file["inputs"].as_array().is_some_and(|all| all.iter().any(|input| input["id"] == QUESTION));
        if asks && !is_asked() {
            let question = json!({ "type": "promptString", "id": QUESTION, "description": "Key of mcp-pipe's gateway", "password": true });
            puts.push((vec!["inputs"], json!([question])));
        }
        puts
    }

    fn entry(&self, way: &Way) -> Map<String, Value> {
        let mut entry = Map::new();
        let mut with = |members: &[(&str, &str)]| {
            entry.extend(members.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        };
        match way {
            Way::Stdio { program, args } => {
                with(self.local);
                if self.name == "opencode" {
                    let line: Vec<&String> = std::iter::once(program).chain(args).collect();
                    entry.insert("command".to_owned(), json!(line));
                } else {
                    entry.insert("command".to_owned(), json!(program));
                    entry.insert("args".to_owned(), json!(args));
                }
            }
            Way::Http { url, key } => {
                let (address, members) = self.remote.unwrap_or(("url", &[]));
                with(members);
                entry.insert(address.to_owned(), json!(url));
                if let Some(key) = key {
                    let written = match self.syntax {
                        Syntax::None => key.text.clone(),
                        Syntax::Around(before, behind) => format!("{before}{}{behind}", key.variable),
                        Syntax::Question => format!("${{input:{QUESTION}}}"),
                    };
                    entry.insert("headers".to_owned(), json!({ "Authorization": format!("Bearer {written}") }));
                }
            }
        }
        match self.name {
            "opencode" => drop(entry.insert("enabled".to_owned(), json!(true))),
            "copilot" => drop(entry.insert("tools".to_owned(), json!(["*"]))),
            _ => {}
        }
        entry
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::bring::programs;
    use crate::config;

    #[test]
    fn each_client_is_a_program_whose_file_is_known_and_its_entry_is_read_as_one() {
        for client in CLIENTS {
            assert!(programs::named(client.name).is_some(), "{}", client.name);
            let ways = [
                Way::Stdio { program: "/bin/mcp-pipe".to_owned(), args: vec!["stdio".to_owned()] },
                Way::Http {
                    url: "http://127.0.0.1:8765/mcp".to_owned(),
                    key: Some(Key { variable: "PIPE_KEY".to_owned(), text: "s3cret".to_owned() }),
                },
            ];
            for way in ways.iter().filter(|way| client.dials() || matches!(way, Way::Stdio { .. })) {
                let text = super::super::edit::with("", &client.puts(way, &json!({}))).unwrap_or_default();
                let written = config::parsed("", &text).unwrap_or_default();
                let (lists, _) = config::lists(&written);
                assert_eq!(lists.len(), 1, "{text}");
                assert_eq!(text.contains("s3cret"), client.syntax == Syntax::None && matches!(way, Way::Http { .. }));
            }
        }
    }

    #[test]
    fn the_newer_form_of_opencode_is_kept_to_and_vs_code_asks_once() {
        let opencode = named("opencode").unwrap();
        let way = Way::Stdio { program: "p".to_owned(), args: vec!["stdio".to_owned()] };
        let puts = opencode.puts(&way, &json!({"mcp": {"servers": {}}}));
        assert_eq!(puts[0].0, ["mcp", "servers", "mcp-pipe"]);
        assert_eq!(puts[0].1, json!({"type": "local", "command": ["p", "stdio"], "enabled": true}));
        let vscode = named("vscode").unwrap();
        let key = Some(Key { variable: "K".to_owned(), text: "k".to_owned() });
        let way = Way::Http { url: "http://h/mcp".to_owned(), key };
        assert_eq!(vscode.puts(&way, &json!({})).len(), 2);
        assert_eq!(vscode.puts(&way, &json!({"inputs": [{"id": QUESTION}]})).len(), 1);
    }
}
