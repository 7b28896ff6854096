//! An agent: where the connections of a token, or of several tokens, end. It runs by itself, and has robots that use
//! each connection as those of the self-hosted endpoint do.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Error;

use super::endpoint::upgrade;
use super::{Conn, FakeEndpoint, within};

/// Which connections are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// All.
    Many,
    /// The newest; an older one is closed with 1000, as the self-hosted endpoint does.
    Newest,
    /// The newest, as the self-hosted endpoint does it in full: when a connection has ended, it forgets which one is the
    /// newest, so that one stays open beside the next.
    Forgetful,
    /// The oldest; a newer one is initialised and then closed with 4004, as the cloud is said to do.
    Oldest,
}

/// What the self-hosted endpoint says to a connection of which a newer one takes the place: "a new connection replaces it".
pub(crate) const REPLACED: &str = "新连接替换";

/// How many robots share a connection.
const ROBOTS: usize = 3;

/// It panics on the unexpected, at the latest when it is dropped.
pub(crate) struct Agent {
    url: String,
    seen: watch::Receiver<Vec<Seen>>,
    task: JoinHandle<()>,
}

/// What is known of a connection; they are in the order of their coming.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The token that it came with.
    pub(crate) token: String,
    pub(crate) open: bool,
    /// The names of the tools that every robot on it has read, once they all have.
    pub(crate) tools: Option<Vec<String>>,
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Replaced,
    Call(Value, oneshot::Sender<Value>),
}

impl Agent {
    /// With this path before the query of its address: `/mcp_endpoint/mcp/` is the self-hosted endpoint's.
    pub(crate) async fn bind(path: &str, takes: Takes) -> Self {
        let endpoint = FakeEndpoint::bind().await;
        let url = format!("ws://{}{path}?token=", endpoint.address());
        let (sender, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(accept(endpoint, format!("{path}?token="), takes, sender));
        Agent { url, seen, task }
    }

    /// What a config names; every token is this agent's.
    pub(crate) fn url(&self, token: &str) -> String {
        format!("{}{token}", self.url)
    }

    /// All connections so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// The connections as soon as this holds of them.
    pub(crate) async fn wait_for(&self, what: &str, mut holds: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
        let mut seen = self.seen.clone();
        let seen = within(what, seen.wait_for(|seen| holds(seen))).await;
        seen.expect("the agent goes on; if not, it has said above why").clone()
    }

    /// A robot's call on the newest open connection, and its answer.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let newest = self.seen().into_iter().rfind(|seen| seen.open).expect("an open connection");
        let (sender, answer) = oneshot::channel();
        let params = json!({"name": tool, "arguments": arguments});
        newest.orders.send(Order::Call(params, sender)).unwrap_or_else(|_| panic!("the connection is gone"));
        within("the answer to a robot's call", answer).await.expect("the connection stays open")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        assert!(thread::panicking() || !self.task.is_finished(), "the agent has panicked; it has said above why");
        self.task.abort();
    }
}

async fn accept(endpoint: FakeEndpoint, target: String, takes: Takes, seen: watch::Sender<Vec<Seen>>) {
    let mut conns = JoinSet::new();
    let mut newest: Option<usize> = None;
    loop {
        let stream = tokio::select! {
            stream = endpoint.accept_tcp() => stream,
            Some(ended) = conns.join_next() => {
                // A panic of its goes on here.
                ended.unwrap();
                newest = None;
                continue;
            }
        };
        // Pipes that are stopped, to be merged, may be in the middle of dialling.
        let Ok((asked, conn)) = upgrade(stream).await else { continue };
        let token = asked.strip_prefix(&target).unwrap_or_else(|| panic!("{asked} was dialled")).to_owned();
        let (orders, received) = mpsc::unbounded_channel();
        let older: Vec<Seen> = seen.borrow().iter().filter(|seen| seen.open).cloned().collect();
        let replaced = match takes {
            Takes::Newest => older.clone(),
            Takes::Forgetful => newest.and_then(|n| seen.borrow().get(n).cloned()).into_iter().collect(),
            Takes::Many | Takes::Oldest => Vec::new(),
        };
        for older in replaced {
            // It may be closing already.
            let _ = older.orders.send(Order::Replaced);
        }
        let surplus = takes == Takes::Oldest && !older.is_empty();
        let n = seen.borrow().len();
        newest = Some(n);
        seen.send_modify(|seen| seen.push(Seen { token, open: true, tools: None, orders }));
        let seen = seen.clone();
        conns.spawn(async move {
            // How the connection ended doesn't matter.
            let _ = serve(conn, n, surplus, received, &seen).await;
            seen.send_modify(|seen| seen[n].open = false);
        });
    }
}

/// One connection to its end.
async fn serve(
    mut conn: Conn,
    n: usize,
    surplus: bool,
    mut orders: mpsc::UnboundedReceiver<Order>,
    seen: &watch::Sender<Vec<Seen>>,
) -> Result<(), Error> {
    // Each robot sends all three without waiting; they take turns.
    for method in ["initialize", "notifications/initialized", "tools/list"] {
        for robot in 0..ROBOTS {
            conn.try_send(match method {
                "initialize" => {
                    let client = json!({"name": "robot", "version": "1"});
                    let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client});
                    json!({"jsonrpc": "2.0", "id": id(n, robot, 0), "method": method, "params": params})
                }
                "tools/list" => json!({"jsonrpc": "2.0", "id": id(n, robot, 1), "method": method, "params": null}),
                _ => json!({"jsonrpc": "2.0", "method": method}),
            })
            .await?;
        }
    }
    let (mut hellos, mut lists, mut calls) = (0, Vec::new(), BTreeMap::new());
    for next in 2.. {
        tokio::select! {
            frame = conn.next_ever() => {
                let Ok(frame) = frame else { break };
                // What is no answer to it is dropped, as the self-hosted endpoint does.
                let Some(id) = frame["id"].as_str().filter(|_| frame.get("method").is_none()) else { continue };
                if let Some(caller) = calls.remove(id) {
                    let caller: oneshot::Sender<Value> = caller;
                    // The test may have given up.
                    let _ = caller.send(frame);
                } else if frame["error"]["message"].as_str().is_some_and(|why| why.contains("shutting down")) {
                    // The pipe is about to close the connection.
                } else if id.ends_with("_n_0") {
                    assert_eq!(frame["result"]["protocolVersion"], "2024-11-05", "{frame}");
                    hellos += 1;
                } else {
                    let tools = frame["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {frame}"));
                    lists.push(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
                }
                if surplus && hellos == ROBOTS {
                    conn.close_saying(4004, "Internal server error").await;
                    break;
                }
                if lists.len() == ROBOTS {
                    assert!(lists.iter().all(|list| *list == lists[0]), "robots read different lists: {lists:?}");
                    seen.send_modify(|seen| seen[n].tools = lists.pop());
                    lists.clear();
                }
            }
            Some(order) = orders.recv() => match order {
                Order::Replaced => {
                    conn.close_saying(1000, REPLACED).await;
                    break;
                }
                Order::Call(params, caller) => {
                    let id = id(n, 0, next);
                    conn.try_send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await?;
                    calls.insert(id, caller);
                }
            },
        }
    }
    Ok(())
}

/// `<uuid>_n_<n>`
fn id(conn: usize, robot: usize, n: usize) -> String {
    format!("{conn:08x}-0000-4000-8000-{robot:012x}_n_{n}")
}
