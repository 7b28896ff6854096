//! Fifty servers with twenty tools each, for the routers. Half of a server's tools have names that all of them have, so
//! that these are published under others.

use std::sync::Arc;
use std::time::Duration;

use mcp_pipe::catalogue::{Lists, Memory};
use mcp_pipe::config::{Bounds, CommandSpec, Handshake, Instances, LimitsSpec, LinkSpec, Reach, ServerSpec, Sharing};
use mcp_pipe::mcp::envelope;
use mcp_pipe::mcp::lists::ListKind;
use mcp_pipe::router::hub::Hub;
use mcp_pipe::router::{NewPeer, Note, Out, PeerId, Router, ServerIndex};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) const SERVERS: usize = 50;
pub(crate) const TOOLS: usize = 20;

const HELLO: &str = r#"{"protocolVersion":"2024-11-05","capabilities":{}}"#;
const WELCOME: &str =
    r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#;

/// A server's own name for a tool.
fn own(server: ServerIndex, tool: usize) -> String {
    if tool.is_multiple_of(2) { format!("look_{tool:02}") } else { format!("s{server:02}_tools_{tool:02}") }
}

/// What the endpoint calls it.
pub(crate) fn published(server: ServerIndex, tool: usize) -> String {
    if tool.is_multiple_of(2) { format!("s{server:02}__{}", own(server, tool)) } else { own(server, tool) }
}

/// As a server writes it; some 300 bytes.
fn definitions(server: ServerIndex) -> Vec<Value> {
    let schema = json!({
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to look for"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        },
        "required": ["text"],
    });
    let what = "Looks for a text and gives back the places where it was found, the best first";
    let one = |tool| json!({"name": own(server, tool), "description": what, "inputSchema": &schema});
    (0..TOOLS).map(one).collect()
}

/// What an earlier run remembered of each server.
pub(crate) fn memory() -> Vec<Memory> {
    let one = |server| {
        let mut lists = Lists::default();
        lists.set(ListKind::Tools, definitions(server).iter().map(|tool| tool.to_string().into()).collect());
        Memory { welcome: WELCOME.into(), lists }
    };
    (0..SERVERS).map(one).collect()
}

/// A router for all of them.
pub(crate) fn merge(memory: Option<Vec<Memory>>) -> Hub {
    let memory = memory.into_iter().flatten().map(Some).chain(std::iter::repeat(None));
    Hub::merging((0..SERVERS).map(|server| Arc::new(spec(server))).zip(memory))
}

/// A server that nothing is known of.
pub(crate) fn spec(server: ServerIndex) -> ServerSpec {
    let time = Duration::from_secs(60);
    let command = CommandSpec {
        program: String::new(),
        args: Vec::new(),
        env: Vec::new(),
        env_remove: Vec::new(),
        cwd: None,
        limits: LimitsSpec::default(),
    };
    let link = LinkSpec {
        headers: Vec::new(),
        subprotocol: None,
        ca_file: None,
        connect_timeout: time,
        ping_interval: time,
        ping_timeout: time,
        max_backoff: time,
        epoch: None,
    };
    ServerSpec {
        log_file: None,
        name: format!("s{server:02}").into(),
        reach: Reach::Command(command),
        endpoint: None,
        link: Arc::new(link),
        hello: None,
        handshake: Handshake::Answer,
        passes_pings: false,
        era: None,
        start_timeout: time,
        max_frame: 16 << 20,
        sharing: Sharing::default(),
        pin: false,
        keep_listed: true,
        instances: Instances::Shared,
        health_check: None,
        bounds: Bounds::default(),
        tools: Arc::default(),
    }
}

/// Brings a router and a peer past all handshakes, and lets the peer read the list of tools.
pub(crate) fn begin(router: &mut impl Router, servers: usize, now: Instant) -> PeerId {
    let mut asked = Asked::default();
    let peer = router.join(NewPeer::unknown(16 << 20));
    for server in 0..servers {
        router.on_server_up(server, now, &mut asked);
        asked.answer(router, now);
    }
    greet(router, peer, now);
    assert!(router.is_handshaken(peer) && (0..servers).all(|server| router.is_serving(server)));
    peer
}

/// Brings a peer past its handshake, and lets it read the list of tools.
pub(crate) fn greet(router: &mut impl Router, peer: PeerId, now: Instant) {
    let mut asked = Asked::default();
    router.on_link_up(peer, now, &mut asked);
    let hello = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{HELLO}}}"#);
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for frame in [&*hello, initialized, list] {
        router.on_peer(peer, frame.as_bytes(), now, &mut asked);
        asked.answer(router, now);
    }
}

/// What servers were asked, to be answered as they would.
#[derive(Default)]
struct Asked(Vec<(ServerIndex, Value)>);

impl Asked {
    fn answer(&mut self, router: &mut impl Router, now: Instant) {
        while let Some((server, request)) = self.0.pop() {
            let result = match request["method"].as_str().unwrap() {
                "initialize" => WELCOME.to_owned(),
                "tools/list" => json!({ "tools": definitions(server) }).to_string(),
                _ => "{}".to_owned(),
            };
            if let Some(id) = request.get("id") {
                let frame = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
                let envelope = envelope::scan_one(frame.as_bytes()).unwrap();
                router.on_server(server, frame.as_bytes(), &envelope, now, self);
            }
        }
    }
}

impl Out for Asked {
    fn to_peer(&mut self, _: PeerId, _: &[&[u8]]) {}

    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.0.push((server, serde_json::from_slice(&pieces.concat()).unwrap()));
    }

    fn remember(&mut self, _: ServerIndex, _: &Memory) {}

    fn remember_hello(&mut self, _: PeerId, _: &str) {}

    fn restart(&mut self, _: ServerIndex, _: &'static str) {}

    fn note(&mut self, _: Note<'_>) {}
}
