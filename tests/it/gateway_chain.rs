//! The whole chain in one run: clients of both eras, one on stdio, a link and robots use the same servers at once, some of these behind
//! another mcp-pipe. `MCP_PIPE_TEST_ROUNDS` says how many calls each makes.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::control::Runtime;
use crate::gateway::url;
use crate::gateway_endpoint::{Caller, tools};
use crate::harness::{Conn, FakeEndpoint, McpHttp, Talk, fixture_entry, rounds, text_of};
use crate::twins::{entry as of_both_eras, modern};

const TOKEN: &str = "token-of-the-house";
/// How many of each kind there are.
const EACH: usize = 12;

/// Somebody who calls tools.
enum Anybody {
    Legacy(McpHttp),
    Modern(McpHttp),
    Stdio(Talk),
    Link(Box<Conn>),
    Robot(Caller),
}

impl Anybody {
    /// Calls a tool under this id; its text.
    async fn call(&mut self, id: u64, tool: &str, arguments: Value) -> String {
        let params = json!({"name": tool, "arguments": arguments});
        match self {
            Anybody::Legacy(client) => client.call(tool, arguments).await,
            Anybody::Modern(client) => text_of(&modern(client, "tools/call", params).await).to_owned(),
            Anybody::Stdio(talk) => text_of(&talk.call(id, tool, arguments).await).to_owned(),
            Anybody::Link(conn) => text_of(&conn.call(id, tool, arguments).await).to_owned(),
            Anybody::Robot(robot) => text_of(&robot.call(json!(id), tool, arguments).await).to_owned(),
        }
    }

    /// The names of the tools that it sees.
    async fn tools(&mut self) -> Vec<String> {
        let list = match self {
            Anybody::Legacy(client) => return client.tools().await,
            Anybody::Robot(robot) => return robot.tools().await,
            Anybody::Modern(client) => modern(client, "tools/list", json!({})).await,
            Anybody::Stdio(talk) => talk.ask(1, "tools/list", json!({})).await,
            Anybody::Link(conn) => {
                conn.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
                conn.answer_to(1).await
            }
        };
        crate::harness::names(&list).into_iter().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn all_kinds_of_clients_get_their_own_answers_from_the_same_servers_at_once() {
    let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
    let own = [fixture_entry(&[]), fixture_entry(&["--name", "y"]), of_both_eras(&["legacy", "modern"])];
    let servers: Value = ["x", "y", "both"].iter().zip(own).map(|(name, entry)| ((*name).to_owned(), entry)).collect();
    let all = json!({
        "mode": "multiplex",
        "endpoints": {"cloud": {"url": endpoint.url()}},
        "gateway": {"listen": "127.0.0.1:0", "endpointTokens": [TOKEN], "endpointServers": ["x", "y"]},
        "mcpServers": servers,
    });
    let daemon = runtime.setup().config(&all).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    daemon.wait_for_event("ALL_UP").await;
    let at = McpHttp::at(&url(&daemon).await);
    let far = tools(&at.host, TOKEN, "far");

    let mut everybody = vec![Anybody::Link(Box::new(conn))];
    for _ in 0..EACH {
        let mut client = at.clone();
        client.begin().await;
        let mut talk = runtime.setup().args(["stdio"]).talk();
        talk.greet().await;
        let mut robot = Caller::robot(&at.host, TOKEN).await;
        robot.tools_until("all tools", |tools| tools.iter().filter(|tool| tool.ends_with("__pid")).count() == 3).await;
        everybody.extend([
            Anybody::Legacy(client),
            Anybody::Modern(at.clone()),
            Anybody::Stdio(talk),
            Anybody::Robot(robot),
        ]);
    }
    // What clients see is the same by every way, and robots see what came with their token besides.
    let mut seen: Vec<Vec<String>> = Vec::new();
    for one in &mut everybody {
        let mut tools = one.tools().await;
        // The one that says its era.
        tools.retain(|tool| !["legacy", "modern"].contains(&tool.as_str()));
        if let Anybody::Robot(_) = one {
            assert!(tools.contains(&"token_1_1__echo".to_owned()), "{tools:?}");
        } else {
            seen.push(tools);
        }
    }
    assert!(seen.iter().all(|tools| *tools == seen[0] && tools.contains(&"x__echo".to_owned())), "{seen:?}");

    // All call at once, with the same ids, and each hears its own.
    let pids = join_all(everybody.iter_mut().enumerate().map(|(who, one)| async move {
        let ways = if let Anybody::Robot(_) = one {
            ["x__echo", "y__echo", "token_1_1__echo"]
        } else {
            ["x__echo", "y__echo", "x__echo"]
        };
        for id in 10..10 + rounds() as u64 {
            let text = format!("{who} {id}");
            let tool = ways[usize::try_from(id).unwrap() % ways.len()];
            assert_eq!(one.call(id, tool, json!({"text": text})).await, text);
        }
        one.call(5, "x__pid", json!({})).await
    }))
    .await;
    assert!(pids.iter().all(|pid| *pid == pids[0]), "one process for all: {pids:?}");
    for one in everybody {
        if let Anybody::Stdio(talk) = one {
            assert_eq!(talk.end().await.code, Some(0));
        }
    }
    far.stop().await;
    daemon.stop().await;
}
