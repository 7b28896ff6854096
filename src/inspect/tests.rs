#![expect(clippy::unwrap_used, reason = "a test may panic")]

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::config::{ControlSocket, ServerSpec};

fn config(servers: &[&str]) -> Config {
    let second = Duration::from_secs(1);
    Config {
        written: None,
        servers: servers.iter().map(|name| ServerSpec::sample(name, "", &[])).collect(),
        endpoints: Vec::new(),
        gateway: None,
        admin: None,
        lease: None,
        metrics_file: None,
        inputs: Default::default(),
        left_out: crate::config::LeftOut::default(),
        place: "/".into(),
        drain_timeout: second,
        local: true,
        plain: true,
        log_contents: false,
        control_socket: ControlSocket::None,
        status_socket: None,
        cache_dir: None,
        state_dir: None,
        log_file: None,
        tool_budget: 8000,
    }
}

/// Stands in for the supervisor: a real WebSocket client for each server but those named `silent`. Each has the tools
/// `add` and `fail`.
async fn serve(config: Config, stop: Stop) {
    let pipes = config.servers.into_iter().map(|server| {
        let stop = stop.clone();
        async move {
            if &*server.name == "silent" {
                return stop.drain().cancelled().await;
            }
            let endpoint = server.endpoint.unwrap();
            let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await.unwrap();
            let (mut socket, _) = client_async(endpoint.reveal(), stream).await.unwrap();
            loop {
                let frame = tokio::select! {
                    frame = socket.next() => frame.unwrap().unwrap(),
                    () = stop.drain().cancelled() => return socket.close(None).await.unwrap(),
                };
                let Message::Text(text) = frame else { continue };
                let request: Value = serde_json::from_str(&text).unwrap();
                let Some(id) = request.get("id") else { continue };
                let result = answer(&request);
                let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
                socket.send(Message::text(reply.to_string())).await.unwrap();
            }
        }
    });
    join_all(pipes).await;
}

fn answer(request: &Value) -> Value {
    let params = &request["params"];
    match (request["method"].as_str().unwrap(), params["name"].as_str()) {
        ("initialize", _) => json!({"serverInfo": {"name": "stand-in", "version": "1"}}),
        ("tools/list", _) => json!({"tools": [{"name": "add", "zz": 1, "aa": [1.0]}, {"name": "fail"}]}),
        ("tools/call", Some("add")) => {
            let sum = params["arguments"]["a"].as_i64().unwrap() + params["arguments"]["b"].as_i64().unwrap();
            json!({"content": [{"type": "text", "text": sum.to_string()}]})
        }
        ("tools/call", _) => json!({"content": [{"type": "text", "text": "it broke"}], "isError": true}),
        (method, _) => panic!("{method}"),
    }
}

async fn shown(servers: &[&str], form: Form) -> (String, Result<(), InspectError>) {
    let mut out = Vec::new();
    let result = tools(config(servers), Show::Offer, form, &Status::default(), Stop::new(), serve, &mut out).await;
    (String::from_utf8(out).unwrap(), result)
}

async fn called(tool: &str, arguments: Value) -> Result<String, String> {
    let mut out = Vec::new();
    let arguments = arguments.as_object().unwrap().clone();
    let result = call(config(&["calculator"]), tool, arguments, &Status::default(), Stop::new(), serve, &mut out).await;
    result.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
}

const TABLE: Form = Form::Table { width: None, colour: false };

#[tokio::test]
async fn the_tools_of_all_servers_are_shown() {
    let (text, result) = shown(&["one", "two"], TABLE).await;
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(result.is_ok());
}

#[tokio::test]
async fn the_json_holds_each_tool_as_its_server_wrote_it() {
    let (text, _) = shown(&["one"], Form::Json).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["servers"][0]["name"], "one");
    assert_eq!(value["servers"][0]["serverInfo"]["version"], "1");
    assert_eq!(value["servers"][0]["tools"][0].to_string(), r#"{"name":"add","zz":1,"aa":[1.0]}"#);
}

#[tokio::test]
async fn the_sizes_of_the_tools_are_shown() {
    let mut out = Vec::new();
    let (status, stop) = (Status::default(), Stop::new());
    tools(config(&["one"]), Show::Size, TABLE, &status, stop, serve, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("one     add         32       8"), "{text}");
    assert!(text.contains("one     2 tools     47      12"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_an_error_and_the_others_are_shown() {
    let (text, result) = shown(&["silent", "one"], TABLE).await;
    assert!(text.contains("one") && !text.contains("silent"), "{text}");
    let error = result.unwrap_err().to_string();
    assert_eq!(error, "server \"silent\" did not show its tools within 21 s: it has not connected yet");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_runs_and_says_nothing_may_be_none_and_a_table_of_nothing_is_not_printed() {
    let (status, stop, mut out) = (Status::default(), Stop::new(), Vec::new());
    let _entry = status.add_server("silent");
    let result = tools(config(&["silent"]), Show::Offer, TABLE, &status, stop, serve, &mut out).await;
    let want = "server \"silent\" started but did not answer initialize in 1 s; is it an MCP server on stdin and stdout? \
         --log-level info shows what it writes to stderr";
    assert_eq!(result.unwrap_err().to_string(), want);
    assert_eq!(String::from_utf8(out).unwrap(), "");
}

#[tokio::test]
async fn a_call_prints_the_text_and_a_tools_error_is_an_error() {
    assert_eq!(called("add", json!({"a": 2, "b": 3})).await, Ok("5\n".to_owned()));
    assert_eq!(
        called("fail", json!({})).await,
        Err("tool \"fail\" of server \"calculator\" reports an error: it broke".to_owned())
    );
}

#[tokio::test]
async fn a_mistyped_name_is_answered_with_the_closest() {
    let want = "server \"calculator\" publishes no tool \"ad\"; did you mean \"add\"?";
    assert_eq!(called("ad", json!({})).await, Err(want.to_owned()));
}

#[tokio::test]
async fn a_server_that_dies_is_not_waited_for() {
    let status = Status::default();
    let entry = status.add_server("silent");
    let (why, last_words, again) = ("exited with code 3", "", Some(Duration::from_secs(1)));
    let exited = crate::control::journal::ServerNews::Exited {
        pid: Some(1),
        fault: None,
        why,
        last_words,
        tail: "",
        failures: 1,
        again,
    };
    entry.write("silent", exited);
    let result = tools(config(&["silent"]), Show::Offer, TABLE, &status, Stop::new(), serve, &mut Vec::new()).await;
    assert_eq!(result.unwrap_err().to_string(), "server \"silent\": exited with code 3");
}

#[tokio::test]
async fn a_signal_ends_the_wait() {
    let stop = Stop::new();
    stop.advance();
    let mut out = Vec::new();
    let result = tools(config(&["silent"]), Show::Offer, TABLE, &Status::default(), stop, serve, &mut out).await;
    assert!(matches!(result, Err(InspectError::Stopped)));
}

#[test]
fn arguments_come_from_the_command_line_or_standard_input() {
    let given = |text| arguments(text, &b"{\"from\": \"stdin\"}"[..]).map(Value::Object).unwrap();
    assert_eq!(given(None), json!({}));
    assert_eq!(given(Some("{\"a\": 2}")), json!({"a": 2}));
    assert_eq!(given(Some("-")), json!({"from": "stdin"}));
}

#[test]
fn standard_input_that_does_not_end_is_not_read_for_ever() {
    let error = arguments(Some("-"), io::repeat(b' ')).unwrap_err().to_string();
    assert!(error.contains("longer than 16 MiB"), "{error}");
}

#[test]
fn arguments_that_are_no_json_object_are_refused_with_the_place() {
    let refused = |text| arguments(Some(text), io::empty()).unwrap_err().to_string();
    let want = "the arguments are not valid JSON: a key stands here without quotes\n  {a:2}\n   ^";
    assert_eq!(refused("{a:2}"), want);
    let second = refused("{\n  \"a\": x\n}");
    assert!(second.contains("without quotes (line 2)\n    \"a\": x\n"), "{second}");
    assert_eq!(refused("[1]"), "the arguments must be a JSON object such as '{\"a\": 2}', not an array");
    for (text, why, at) in [
        ("{\"a\": 2", "the { is never closed", 1),
        ("{\"a\": “x”}", "“ (U+201C, left double quotation mark) is none of JSON's characters", 7),
        ("{'a': 2}", "' (U+0027, apostrophe) is none of JSON's characters", 2),
        ("{\n\"é\": True}", "True is none of JSON's words (line 2)", 6),
        ("{\"a\": 1,}", "a comma stands where there is nothing to divide", 8),
    ] {
        let told = refused(text);
        let line = text.lines().last().unwrap();
        assert!(told.starts_with(&format!("the arguments are not valid JSON: {why}")), "{told}");
        assert!(told.ends_with(&format!("\n  {line}\n  {:>at$}", "^")), "{told}");
    }
    for (text, what, remedy) in [
        ("", "are empty, and must be a JSON object", "leave them out for none"),
        (" ", "are empty, and must be a JSON object", "leave them out for none"),
        ("now", "are a plain text, and must be a JSON object", "write each with its name, for a shell: '{\"a\": 2}'"),
        ("a=2", "are a plain text, and must be a JSON object", "write each with its name"),
        ("{\"a\": 2", "are not valid JSON: the { is never closed", "a } is missing somewhere after it; for a shell"),
    ] {
        let error = crate::error::Failure::from(arguments(Some(text), io::empty()).unwrap_err().told());
        assert_eq!(error.exit(), crate::error::Exit::Usage);
        let told = error.to_string();
        assert!(told.contains(what) && told.contains(&format!("→ {remedy}")), "{told}");
    }
    assert!(refused("-").starts_with("standard input was empty; write"));
}

#[test]
fn a_result_is_text_where_it_is_text_and_json_elsewhere() {
    let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png"});
    for (result, want) in [
        (json!({"content": [{"type": "text", "text": "5"}]}), "5"),
        (json!({"content": [{"type": "text", "text": "a"}, image.clone()]}), &*format!("a\n{image}")),
        (json!({"content": [], "structuredContent": {"sum": 5}}), r#"{"sum":5}"#),
        (json!({"odd": true}), r#"{"odd":true}"#),
    ] {
        assert_eq!(result_text(&result), want);
    }
}

#[test]
fn who_calls_a_tool_that_the_config_hides_or_renames_is_told_so() {
    let policy = ToolPolicy {
        deny: vec![crate::tools::Glob::new("sub*")],
        rename: vec![("add".into(), "plus".into())],
        ..ToolPolicy::default()
    };
    let hint = |tool| policy_hint(&policy, tool, ["plus", "sum"].into_iter());
    assert_eq!(hint("subtract").as_deref(), Some(": if it has one, \"tools\" in its entry leaves it out"));
    assert_eq!(hint("subm"), None, "it is like one that is published");
    assert_eq!(hint("add").as_deref(), Some(": \"tools\" in its entry renames it, so call \"plus\""));
    let published = |tool| published_hint("maths", tool, ["add"].into_iter());
    let own = ": that is how endpoints may see it; here it has its own name, \"add\"";
    assert_eq!(published("maths__add").as_deref(), Some(own));
    assert_eq!((published("other__add"), published("maths__sub"), published("add")), (None, None, None));
    assert_eq!((hint("mul"), policy_hint(&ToolPolicy::default(), "add", ["x"].into_iter())), (None, None));
}

#[tokio::test]
async fn a_silent_server_that_is_fetched_at_its_first_start_is_told_with_what_that_needs() {
    let second = Duration::from_secs(1);
    for (program, args, is_fetched) in [
        ("npx", &["-y", "x"][..], true),
        ("/usr/bin/npx", &["x"], true),
        ("uvx", &["x"], true),
        ("uv", &["tool", "run", "x"], true),
        ("npm", &["exec", "x"], true),
        ("docker", &["run", "-i", "x"], true),
        ("npm", &["start"], false),
        ("python", &["x.py"], false),
    ] {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut spec = crate::config::ServerSpec::sample("x", program, &[]);
        spec.command_mut().args = args;
        let told = InspectError::silent("x", second, &spec.reach, false).to_string();
        assert!(told.starts_with("server \"x\" started but did not answer initialize in 1 s; "), "{told}");
        let hint = "downloads the server at its first start: check the network, or give it longer, --start-timeout 5m";
        assert_eq!(told.contains(hint), is_fetched, "{told}");
        assert_eq!(told.contains("is it an MCP server on stdin and stdout?"), !is_fetched, "{told}");
    }
}

#[test]
fn a_call_is_waited_for_no_longer_than_its_tool_may_take() {
    let seconds = Duration::from_secs;
    let timeouts =
        vec![(crate::tools::Glob::new("quick"), seconds(8)), (crate::tools::Glob::new("slow"), seconds(900))];
    let policy = ToolPolicy { timeouts, ..ToolPolicy::default() };
    assert_eq!(
        ["quick", "slow", "other"].map(|tool| longest(&policy, tool)),
        [seconds(8), CALL_PATIENCE, CALL_PATIENCE]
    );
}
