//! What MCP clients can't take: names, schemas, and how many tools. Pure. What is known of each has been read in its source, or said by its
//! makers.

use clap::ValueEnum;
use serde_json::Value;

use super::check::{Check, Found, Key};
use crate::config::{Config, Names};
use crate::router::Letters;
use crate::words::{counted, listed};

/// A client of which something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Takes servers on standard input and output alone.
    ClaudeDesktop,
    /// Streamable HTTP, or a server on standard input and output.
    ClaudeCode,
    /// The same; shows 40 tools at most.
    Cursor,
    /// The same; takes 128 tools at most.
    Vscode,
    /// The same.
    Lmstudio,
    /// One address, and no header.
    HomeAssistant,
    /// Streamable HTTP, often out of a container.
    OpenWebui,
    /// Dials nobody: mcp-pipe dials its endpoint.
    Xiaozhi,
}

impl Client {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Most tools that it takes.
    fn most(self) -> Option<usize> {
        match self {
            Client::Cursor => Some(40),
            Client::Vscode => Some(128),
            Client::ClaudeDesktop
            | Client::ClaudeCode
            | Client::Lmstudio
            | Client::HomeAssistant
            | Client::OpenWebui
            | Client::Xiaozhi => None,
        }
    }
}

/// Most names in a line.
const SHOWN: usize = 4;

/// What clients can't take of a server's tools.
pub(super) fn tools(server: &str, tools: &[Value]) -> Check {
    let letters = Letters::Of(Names::Ascii);
    let name = |tool: &Value| tool["name"].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = tools.iter().map(name).filter(|name| !letters.takes(name)).collect();
    let is_odd = |tool: &&Value| {
        let schema = &tool["inputSchema"];
        !schema.is_object() || schema.get("type").is_none_or(|of| of != "object")
    };
    let schemas: Vec<String> = tools.iter().filter(is_odd).map(name).collect();
    let told = |of: &[String]| listed(of.iter().take(SHOWN).map(|name| format!("{name:?}")).collect(), of.len());
    let mut what = Vec::new();
    if !names.is_empty() {
        what.push(format!(
            "not letters, digits, _ and - alone, or longer than 64, as the APIs of models want names: {}",
            told(&names)
        ));
    }
    if !schemas.is_empty() {
        what.push(format!("with an inputSchema that is no object of \"type\": \"object\", which some clients drop, or all tools with it: {}", told(&schemas)));
    }
    let found = if what.is_empty() {
        Found::Good("names and schemas as all clients take them".to_owned())
    } else {
        let what = format!("{}: {}", counted(names.len().max(schemas.len()), "tool"), what.join("; and "));
        let remedy =
            "call them otherwise: \"tools\": {\"rename\": …} in the entry; a schema is for its server to correct";
        Found::Odd { what, remedy: remedy.to_owned() }
    };
    Check::new(Key::of("server.names", server), found)
}

/// What a client needs of this config. `tools`: how many tools there are, where that is known.
pub(super) fn needs(client: Client, config: &Config, tools: Option<usize>) -> Vec<Check> {
    let name = client.name();
    let mut checks = Vec::new();
    let mut add = |id, found| checks.push(Check::new(Key::of(id, name.clone()), found));
    let good = |what: &str| Found::Good(what.to_owned());
    let odd = |what: &str, remedy: &str| Found::Odd { what: what.to_owned(), remedy: remedy.to_owned() };
    let gateway = config.gateway.as_deref();
    let stdio = "or have the client start \"command\": \"mcp-pipe\", \"args\": [\"stdio\"]";
    add(
        "client.way",
        match client {
            Client::ClaudeDesktop => {
                good("takes servers on standard input and output: \"command\": \"mcp-pipe\", \"args\": [\"stdio\"]")
            }
            Client::Xiaozhi
                if config.endpoints.is_empty() && config.servers.iter().all(|server| server.endpoint.is_none()) =>
            {
                odd(
                    "dials nobody, and the config has no endpoint",
                    "copy the endpoint from its console into MCP_ENDPOINT",
                )
            }
            Client::Xiaozhi => good("is dialled by mcp-pipe at its endpoint"),
            Client::ClaudeCode
            | Client::Cursor
            | Client::Vscode
            | Client::Lmstudio
            | Client::HomeAssistant
            | Client::OpenWebui => match gateway {
                None => odd(
                    "dials over HTTP, and the config has no gateway",
                    &format!("add \"gateway\": {{}} to the config, {stdio}"),
                ),
                Some(gateway) if client == Client::OpenWebui && gateway.listen.ip().is_loopback() => odd(
                    "often runs in a container, from which the gateway on loopback is out of reach",
                    "\"listen\": \"0.0.0.0:8765\" with an API key",
                ),
                Some(gateway)
                    if client == Client::HomeAssistant
                        && !gateway.api_keys.is_empty()
                        && !gateway.api_keys.iter().any(|key| key.capability_url) =>
                {
                    odd(
                        "can send no header, and no API key of the gateway may stand in the address",
                        "\"capabilityUrl\": true at the key that is for it",
                    )
                }
                Some(gateway) => good(&format!("dials http://{}/mcp", gateway.listen)),
            },
        },
    );
    if let (Some(most), Some(tools)) = (client.most(), tools) {
        let what = format!("{} in all; {name} takes {most} at most", counted(tools, "tool"));
        add(
            "client.tools",
            if tools > most {
                let remedy = "publish fewer: \"tools\": {\"allow\": […]} in the entries; mcp-pipe tools --size shows which are largest";
                Found::Odd { what, remedy: remedy.to_owned() }
            } else {
                Found::Good(what)
            },
        );
    }
    checks
}
