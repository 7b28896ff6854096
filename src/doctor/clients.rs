//! What MCP clients can't take: names, schemas, and how many tools. Pure. What is known of each has been read in its source, or said by its
//! makers.

use clap::ValueEnum;
use serde_json::Value;

use super::check::{Check, Found, Key};
use crate::config::Config;
use crate::endpoint::is_loopback;
use crate::exam::{self, Mark};
use crate::words::counted;

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

    /// Whether it starts mcp-pipe itself.
    pub(super) fn needs_no_endpoint(self) -> bool {
        self == Client::ClaudeDesktop
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

/// What clients can't take of a server's tools.
pub(super) fn tools(server: &str, tools: &[Value]) -> [Check; 2] {
    [("server.names", exam::names(tools)), ("server.schemas", exam::schemas(tools))].map(|(id, seen)| {
        let found = match (seen.mark, seen.remedy) {
            (Mark::Pass, _) => Found::Good(seen.message),
            (Mark::Skip, _) => Found::Skipped(seen.message),
            (Mark::Warn | Mark::Fail, remedy) => Found::Odd { what: seen.message, remedy: remedy.unwrap_or_default() },
        };
        Check::new(Key::of(id, server), found)
    })
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
                Some(gateway) if client == Client::OpenWebui && is_loopback(gateway.listen.ip()) => odd(
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
