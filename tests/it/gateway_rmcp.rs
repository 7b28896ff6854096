//! The Rust SDK as a client of the gateway over HTTP. Its client with hyper asks by a Unix socket, behind which stands a proxy; what it says and
//! expects is the same as by the other one, which would bring another HTTP client along.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam};
use rmcp::service::{NotificationContext, PeerRequestOptions};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::control::Runtime;
use crate::harness::{fixture_entry, within};

/// What the client is told besides answers, by the names of the methods.
struct Told(UnboundedSender<&'static str>);

impl ClientHandler for Told {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.send("progress").unwrap();
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.send("list_changed").unwrap();
    }
}

fn call(tool: &'static str, arguments: &Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().cloned().unwrap())
}

#[tokio::test]
async fn the_rust_sdk_lists_calls_follows_gives_up_and_sees_changes_over_http() {
    let gateway = json!({"listen": "127.0.0.1:0"});
    let runtime = Runtime::new();
    let daemon =
        runtime.setup().config(&json!({"gateway": gateway, "mcpServers": {"x": fixture_entry(&[])}})).start("info");
    daemon.wait_for_event("ALL_UP").await;
    let url = crate::gateway::url(&daemon).await;
    let address: Arc<str> = url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap().into();
    let socket = daemon.path().join("proxy.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let proxy = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let address = address.clone();
            tokio::spawn(async move {
                let mut gateway = TcpStream::connect(&*address).await.unwrap();
                let _gone = copy_bidirectional(&mut client, &mut gateway).await;
            });
        }
    });
    let (told, mut heard) = unbounded_channel();
    let transport = StreamableHttpClientTransport::from_unix_socket(socket.to_str().unwrap(), url);
    let client = within("a greeting", Told(told).serve(transport)).await.unwrap();

    let tools = within("a list", client.list_all_tools()).await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "echo"), "{tools:?}");
    let said = within("an answer", client.call_tool(call("add", &json!({"a": 2, "b": 3})))).await.unwrap();
    assert_eq!(serde_json::to_value(said).unwrap()["content"][0]["text"], "5");

    // It gives a call up, and follows another one.
    let go: PathBuf = daemon.path().join("go");
    let params = call("sleep", &json!({"ms": 0, "until": go}));
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params.clone()));
    let long = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap();
    // Its answer says that the server has the call: the fixture reads in turn.
    within("an answer", client.call_tool(call("pid", &json!({})))).await.unwrap();
    long.cancel(Some("enough".into())).await.unwrap();
    daemon.wait_for("the cancellation", |_| daemon.log_text().contains("cancelled ")).await;
    fs::write(go, "").unwrap();
    within("an answer", client.call_tool(params)).await.unwrap();
    assert_eq!(within("progress", heard.recv()).await, Some("progress"));

    within("an answer", client.call_tool(call("grow", &json!({"name": "later"})))).await.unwrap();
    while within("a change", heard.recv()).await != Some("list_changed") {}
    let tools = within("a list", client.list_all_tools()).await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "later"), "{tools:?}");

    // Its end ends its session.
    within("the end", client.cancel()).await.unwrap();
    assert_eq!(runtime.ask(&["sessions"]).await.out.trim(), "no client has a session");
    proxy.abort();
    daemon.stop().await;
}
