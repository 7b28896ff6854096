//! What MCP clients can't take: names, schemas, and how many tools. Pure. What is known of each has been read in its source, or said by its
//! makers.

use serde_json::Value;

use super::check::{Check, Found, Key};
use crate::bring::client::{self, CLIENTS, Client as Entry};
use crate::config::Config;
use crate::endpoint::is_loopback;
use crate::exam::{self, Mark};
use crate::words::counted;

/// A client of which something is known, by its name: one that `mcp-pipe connect` has an entry for, or one that has no file for such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(&'static str);

/// One address, and no header.
const HOME_ASSISTANT: &str = "home-assistant";
/// Streamable HTTP, often out of a container.
const OPEN_WEBUI: &str = "open-webui";
/// Dials nobody: mcp-pipe dials its endpoint.
const XIAOZHI: &str = "xiaozhi";
/// Clients that have no file.
const OTHERS: [&str; 3] = [HOME_ASSISTANT, OPEN_WEBUI, XIAOZHI];
/// What one is called besides.
const ALSO: (&str, &str) = ("claude-desktop", "claude");
/// Most tools that clients take.
const MOST: [(&str, usize); 2] = [("cursor", 40), ("vscode", 128)];

/// What is added for a client that dials, and what one starts.
const GATEWAY: &str = "add \"gateway\": {} to the config";
const STDIO: &str = "\"command\": \"mcp-pipe\", \"args\": [\"stdio\"]";

impl Client {
    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CLIENTS.iter().map(|client| client.name).chain(OTHERS).chain([ALSO.0])
    }

    /// The client of this name.
    ///
    /// # Errors
    /// None is called so.
    pub fn named(name: &str) -> Result<Self, &'static str> {
        let meant = if name == ALSO.0 { ALSO.1 } else { name };
        Client::names().find(|known| *known == meant).map(Client).ok_or("none of the clients is called so")
    }

    /// How it is put into the config of the client, if it has a file for that.
    fn entry(self) -> Option<&'static Entry> {
        client::named(self.0)
    }

    /// Whether it can start mcp-pipe itself.
    pub(super) fn needs_no_endpoint(self) -> bool {
        self.entry().is_some()
    }

    /// Most tools that it takes.
    fn most(self) -> Option<usize> {
        MOST.iter().find(|(name, _)| *name == self.0).map(|(_, most)| *most)
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
    let name = client.0;
    let mut checks = Vec::new();
    let mut add = |id, found| checks.push(Check::new(Key::of(id, name), found));
    let good = |what: &str| Found::Good(what.to_owned());
    let odd = |what: &str, remedy: &str| Found::Odd { what: what.to_owned(), remedy: remedy.to_owned() };
    let has_no_endpoint = config.endpoints.is_empty() && config.servers.iter().all(|server| server.endpoint.is_none());
    add(
        "client.way",
        match (client.entry(), config.gateway.as_deref()) {
            (Some(entry), _) if !entry.dials() => good(&format!(
                "takes servers on standard input and output: {STDIO}; mcp-pipe connect {name} shows the entry"
            )),
            (Some(_), None) => odd(
                "dials over HTTP, and the config has no gateway",
                &format!("{GATEWAY}, or have the client start {STDIO}: mcp-pipe connect {name} shows the entry"),
            ),
            (None, _) if name == XIAOZHI && has_no_endpoint => odd(
                "dials nobody, and the config has no endpoint",
                "copy the endpoint from its console into MCP_ENDPOINT",
            ),
            (None, _) if name == XIAOZHI => good("is dialled by mcp-pipe at its endpoint"),
            (None, None) => odd("dials over HTTP, and the config has no gateway", GATEWAY),
            (None, Some(gateway)) if name == OPEN_WEBUI && is_loopback(gateway.listen.ip()) => odd(
                "often runs in a container, from which the gateway on loopback is out of reach",
                "\"listen\": \"0.0.0.0:8765\" with an API key",
            ),
            (None, Some(gateway))
                if name == HOME_ASSISTANT
                    && !gateway.api_keys.is_empty()
                    && !gateway.api_keys.iter().any(|key| key.capability_url) =>
            {
                odd(
                    "can send no header, and no API key of the gateway may stand in the address",
                    "\"capabilityUrl\": true at the key that is for it",
                )
            }
            (_, Some(gateway)) => good(&format!("dials http://{}/mcp", gateway.listen)),
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_client_of_connect_is_known_here_and_needs_no_endpoint() {
        for entry in CLIENTS {
            assert!(Client::named(entry.name).unwrap().needs_no_endpoint(), "{}", entry.name);
        }
        assert!(OTHERS.iter().all(|name| !Client::named(name).unwrap().needs_no_endpoint()));
        assert_eq!(Client::named("claude-desktop"), Client::named("claude"));
        assert!(Client::named("curser").is_err());
        assert!(MOST.iter().all(|(name, _)| client::named(name).is_some()));
    }
}
