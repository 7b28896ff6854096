//! An endpoint that many agents have, which notes who comes when, and daemons that share these by leases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use crate::harness::{Conn, Daemon, Setup, fixture, upgrade, within};

/// What a robot wants of an agent: a tool with its arguments, and where the answer goes; `None`: the connection ended before.
pub(super) type Call = (String, Value, oneshot::Sender<Option<Value>>);

/// What became of a call.
pub(super) enum Outcome {
    Answer(Value),
    /// It was sent, and the connection ended before the answer.
    Cut,
    /// There was no connection any more.
    Unsent,
}

/// The endpoint of all agents: `?token=AGENT`.
pub(super) struct Endpoint {
    pub(super) address: std::net::SocketAddr,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Changes whenever a connection begins or ends.
    changes: watch::Receiver<u64>,
    /// Where calls go, by agent: to the newest connection.
    calls: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Call>>>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub(super) async fn at(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ledger, calls) = (Arc::<Mutex<Ledger>>::default(), Arc::default());
        let (tell, changes) = watch::channel(0);
        let task = tokio::spawn(accept(listener, ledger.clone(), tell, Arc::clone(&calls)));
        Endpoint { address, ledger, changes, calls, task }
    }

    /// What a config names. The token is as secret as any: nothing shorter would be kept out of sight.
    pub(super) fn url(&self, agent: &str) -> String {
        format!("ws://{}/mcp/?token={agent}", self.address)
    }

    /// Waits until this holds of all connections.
    pub(super) async fn wait_for<T>(&self, what: &str, holds: impl Fn(&Ledger) -> Option<T>) -> T {
        let mut changes = self.changes.clone();
        let search = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = holds(&self.ledger.lock().unwrap()) {
                    return found;
                }
                changes.changed().await.expect("the endpoint goes on; if not, it has said above why");
            }
        };
        within(what, search).await
    }

    /// Calls a tool of an agent on its newest connection. `None`: there is none, or it ended before the answer.
    pub(super) async fn call(&self, agent: &str, tool: &str, arguments: Value) -> Option<Value> {
        match self.attempt(agent, tool, arguments).await {
            Outcome::Answer(answer) => Some(answer),
            Outcome::Cut | Outcome::Unsent => None,
        }
    }

    /// The same, where it matters whether the call was sent.
    pub(super) async fn attempt(&self, agent: &str, tool: &str, arguments: Value) -> Outcome {
        let (done, answer) = oneshot::channel();
        let calls = self.calls.lock().unwrap().get(agent).cloned();
        let sent = calls.is_some_and(|calls| calls.send((tool.to_owned(), arguments, done)).is_ok());
        match within("an answer, or the end of the connection", answer).await {
            Ok(Some(answer)) => Outcome::Answer(answer),
            Ok(None) if sent => Outcome::Cut,
            Ok(None) | Err(_) => Outcome::Unsent,
        }
    }

    /// Asserts that no two daemons have had an agent at the same time.
    pub(super) fn assert_alone(&self) {
        let overlaps = self.ledger.lock().unwrap().overlaps(Instant::now());
        assert!(overlaps.is_empty(), "two at the same time: {overlaps:#?}");
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || !self.task.is_finished(), "the endpoint has panicked");
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    ledger: Arc<Mutex<Ledger>>,
    tell: watch::Sender<u64>,
    calls: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Call>>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (ledger, tell, calls) = (ledger.clone(), tell.clone(), calls.clone());
        tokio::spawn(async move {
            let Some((agent, mut conn)) = receive(stream).await else { return };
            // One holder is one lease of one daemon.
            let holder = conn.headers["mcp-pipe-epoch"].to_str().unwrap().to_owned();
            let (to, from) = mpsc::unbounded_channel();
            let number = ledger.lock().unwrap().opened(&agent, &holder);
            calls.lock().unwrap().insert(agent.clone(), to);
            tell.send_modify(|n| *n += 1);
            serve(&mut conn, from).await;
            ledger.lock().unwrap().closed(&agent, number);
            tell.send_modify(|n| *n += 1);
        });
    }
}

async fn receive(stream: TcpStream) -> Option<(String, Conn)> {
    let (target, conn) = upgrade(stream).await.ok()?;
    let (_, agent) = target.split_once("token=").unwrap_or_else(|| panic!("{target} was dialled"));
    Some((agent.to_owned(), conn))
}

/// A connection to its end.
async fn serve(conn: &mut Conn, mut calls: mpsc::UnboundedReceiver<Call>) {
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "robot", "version": "1"}});
    for message in [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
    ] {
        if conn.try_send(message).await.is_err() {
            return;
        }
    }
    let mut waiting: BTreeMap<u64, oneshot::Sender<Option<Value>>> = BTreeMap::new();
    for id in 1_u64.. {
        tokio::select! {
            frame = conn.next_ever() => {
                let Ok(frame) = frame else { break };
                if let Some(done) = frame["id"].as_u64().and_then(|id| waiting.remove(&id)) {
                    let _nobody_waits = done.send(Some(frame));
                }
            }
            Some((tool, arguments, done)) = calls.recv() => {
                let params = json!({"name": tool, "arguments": arguments});
                let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
                if conn.try_send(call).await.is_err() {
                    break;
                }
                waiting.insert(id, done);
            }
        }
    }
    for done in waiting.into_values() {
        let _nobody_waits = done.send(None);
    }
}

/// A config by which daemons share these agents, with one server. `ttl` in seconds.
pub(super) fn shared(endpoint: &Endpoint, agents: &[String], etcd: &str, ttl: u64) -> Value {
    let of = |(n, agent): (usize, &String)| (format!("e{n}"), json!({"url": endpoint.url(agent), "servers": ["x"]}));
    let endpoints: serde_json::Map<String, Value> = agents.iter().enumerate().map(of).collect();
    json!({
        "maxBackoff": "1s",
        "lease": {"etcd": etcd, "ttl": format!("{ttl}s")},
        "endpoints": endpoints,
        // It takes as long to start as many do.
        "mcpServers": {"x": {"command": "sh", "args": ["-c", "sleep 0.3; exec \"$0\"", fixture()]}},
    })
}

/// A daemon of this name.
pub(super) fn daemon(config: &Value, node: &str) -> Daemon {
    let mut config = config.clone();
    config["lease"]["node"] = node.into();
    Setup::new().config(&config).start("info")
}

/// How long until all these agents are connected again, each by a connection that began after `since`.
pub(super) async fn taken_over(endpoint: &Endpoint, agents: &[String], since: Instant) -> Duration {
    let taken = |ledger: &Ledger| {
        let holders = ledger.holders();
        let newest =
            agents.iter().map(|agent| ledger.newest(agent).filter(|at| *at > since && holders.contains_key(agent)));
        newest.collect::<Option<Vec<Instant>>>()?.into_iter().max()
    };
    let last = endpoint.wait_for("the agents to be taken over", taken).await;
    last.saturating_duration_since(since)
}
