//! `mcp-pipe replay`: calls that `mcp-pipe tap` has recorded are made again, each once, and only the shapes of answers count.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::control::Runtime;
use crate::harness::{FakeEndpoint, Setup, config, fixture_entry, multiplex};
use crate::logs::Follower;

/// A server that answers as its first argument says, and notes each call in the file that the second one names.
const SERVER: &str = r#"
import json, sys, time
how, notes = sys.argv[1], sys.argv[2]
def tool(name, reads, required=[]):
    return {"name": name, "inputSchema": {"type": "object", "required": required}, "annotations": {"readOnlyHint": reads}}
TOOLS = [tool("look", True), tool("find", True, ["what"]), tool("write", False)]
count = 0
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if id is None or method is None:
        continue
    error = None
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [tool for tool in TOOLS if how != "poorer" or tool["name"] != "find"]}
    elif method == "tools/call":
        name, arguments = params["name"], params.get("arguments") or {}
        with open(notes, "a") as file:
            file.write(json.dumps([name, arguments]) + "\n")
        count += 1
        found = {"at": time.time(), "items": [{"n": n} for n in range(count)]}
        if how == "changed" and name == "look":
            found["at"] = "now"
        result = {"content": [{"type": "text", "text": json.dumps(found)}], "structuredContent": found, "isError": False}
        if name == "find" and "what" not in arguments:
            result = {"content": [{"type": "text", "text": "what is missing, at %f" % time.time()}], "isError": True}
        if how == "errors" and name == "look":
            error = {"code": -32099, "message": "out of order"}
        if how == "dies" and name == "look":
            sys.exit(4)
    else:
        result = {}
    answer = {"jsonrpc": "2.0", "id": id}
    answer.update({"error": error} if error else {"result": result})
    print(json.dumps(answer), flush=True)
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("server.py"), SERVER).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn entry(&self, how: &str) -> Value {
        json!({"command": "python3", "args": [self.path("server.py"), how, self.path(&format!("{how}.notes"))]})
    }

    /// What the server that is run in this way was called with, each call once.
    fn notes(&self, how: &str) -> Vec<Value> {
        let notes = fs::read_to_string(self.path(&format!("{how}.notes"))).unwrap_or_default();
        notes.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Has calls recorded, of this server and of another one on the same connection: `look` at least once, then these of `one`.
    async fn record(&self, contents: bool) -> PathBuf {
        let (runtime, endpoint) = (Runtime::new(), FakeEndpoint::bind().await);
        let servers = [("one", self.entry("recorded")), ("two", fixture_entry(&[]))];
        let daemon = runtime.setup().config(&multiplex(&endpoint, servers)).start("info");
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        daemon.wait_for_event("ALL_UP").await;
        let file = self.path(if contents { "calls.jsonl" } else { "bare.jsonl" });
        let save = ["--save", file.to_str().unwrap(), "--contents"];
        let mut tap = Follower::running(&runtime, &["tap"], if contents { &save } else { &save[..2] });
        for id in 1000.. {
            conn.call(id, "look", json!({})).await;
            if timeout(Duration::from_millis(200), tap.until("look")).await.is_ok() {
                break;
            }
        }
        conn.call(1, "find", json!({"what": "a"})).await;
        conn.call(2, "find", json!({})).await;
        conn.call(3, "write", json!({"n": 1})).await;
        conn.call(4, "echo", json!({"text": "of the other"})).await;
        tap.until("endpoint").await;
        daemon.stop_closing([&mut conn]).await;
        assert_eq!(tap.exit().await.0, 0);
        file
    }
}

/// What `mcp-pipe replay` came to: its exit code, the calls, and stderr.
async fn replay(file: &Path, config: &Value, args: &[&str]) -> (i32, Value, String) {
    let line = [&["replay", file.to_str().unwrap()], args, &["--json"]].concat();
    let output = Setup::new().config(config).args(line.iter().copied()).output().await;
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let told = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() };
    (output.status.code().unwrap(), told, stderr)
}

/// The tools and statuses, those of several `look` in a row as one.
fn told(replayed: &Value) -> Vec<String> {
    let calls = replayed["calls"].as_array().unwrap_or_else(|| panic!("no calls in {replayed}"));
    let mut told: Vec<_> = calls
        .iter()
        .map(|call| format!("{} {}", call["tool"].as_str().unwrap(), call["status"].as_str().unwrap()))
        .collect();
    told.dedup_by(|one, other| one == other && one.starts_with("look"));
    told
}

fn said(replayed: &Value, tool: &str) -> String {
    let call =
        replayed["calls"].as_array().unwrap().iter().find(|call| call["tool"] == tool && call["status"] != "same");
    call.unwrap_or_else(|| panic!("no {tool} in {replayed}"))["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn calls_are_made_again_each_once_and_only_the_shape_of_an_answer_counts() {
    let place = Place::new();
    let file = place.record(true).await;
    let lines = fs::read_to_string(&file).unwrap();
    let asked = lines.lines().filter(|line| line.contains("\"way\":\"to\"") && line.contains("\"name\":\"one\""));
    let asked = asked.filter(|line| line.contains("tools/call")).count();
    // As it was: other times, numbers and lengths.
    let one = config([("one", place.entry("again"))]);
    let (code, replayed, stderr) = replay(&file, &one, &["one"]).await;
    assert_eq!(told(&replayed), ["look same", "find same", "find same", "write skipped"], "{replayed}{stderr}");
    assert_eq!((code, replayed["calls"].as_array().unwrap().len()), (0, asked), "{replayed}");
    assert!(said(&replayed, "write").contains("not marked readOnlyHint: true; --all"), "{replayed}");
    let called = place.notes("again");
    assert_eq!(called.len(), asked - 1, "{called:?}");
    assert_eq!(called[called.len() - 2..], [json!(["find", {"what": "a"}]), json!(["find", {}])]);
    // With all, at a server that is called otherwise in another config.
    let (code, replayed, stderr) = replay(&file, &config([("new", place.entry("all"))]), &["new", "--all"]).await;
    assert!(
        code == 2 && stderr.contains("has calls of several servers (one, two), and none of new"),
        "{replayed}{stderr}"
    );
    let (code, replayed, stderr) = replay(&file, &config([("one", place.entry("all"))]), &["one", "--all"]).await;
    assert_eq!(told(&replayed), ["look same", "find same", "find same", "write same"], "{replayed}{stderr}");
    assert_eq!((code, place.notes("all").last().unwrap()), (0, &json!(["write", {"n": 1}])));
    // What differs, and how.
    for (how, status, want) in [
        ("changed", "differs", "result.structuredContent.at is a text, and was a number"),
        ("errors", "differs", "the answer is the error -32099, and was a result; it says: out of order"),
        ("dies", "failed", "exited with code 4"),
    ] {
        let (code, replayed, _) = replay(&file, &config([("one", place.entry(how))]), &["one"]).await;
        assert!(code == 1 && said(&replayed, "look").contains(want), "{how}: {replayed}");
        assert!(told(&replayed).starts_with(&[format!("look {status}"), "find same".into()]), "{how}: {replayed}");
    }
    let (code, replayed, _) = replay(&file, &config([("one", place.entry("poorer"))]), &["one"]).await;
    assert_eq!(told(&replayed), ["look same", "find differs", "find skipped", "write skipped"], "{replayed}");
    assert!(code == 1 && said(&replayed, "find").contains("has this tool no more"));
    // As a person reads it.
    let args = ["replay", file.to_str().unwrap(), "one"];
    let output = Setup::new().config(&one).args(args).output().await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("TOOL ") && text.contains("SAME     answered in the same shape") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(text.contains(" 0 different, 0 failed, 1 skipped\n"), "{text}");
}

#[tokio::test]
async fn calls_that_were_seen_at_the_endpoint_only_are_found_by_their_published_names() {
    let place = Place::new();
    let call = |id: u64, tool: &str, answer: Value| {
        let line = |way: &str, more: Value| {
            let mut line = json!({"time": "", "way": way, "kind": "endpoint", "name": "kitchen", "id": id, "method": "tools/call",
                "tool": tool, "bytes": 1});
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            format!("{line}\n")
        };
        let asked = json!({"params": {"name": tool, "arguments": {"what": "x"}}});
        line("from", json!({"contents": asked})) + &line("to", json!({"ms": 1, "outcome": "ok", "contents": answer}))
    };
    let found = json!({"at": 1, "items": []});
    let answer = json!({"result": {"content": [{"type": "text", "text": ""}], "structuredContent": found}});
    let text = call(1, "one__look", answer.clone())
        + &call(2, "search", answer.clone())
        + &call(3, "two__look", answer)
        + &call(4, "find", json!({"error": {"code": -32000, "message": "gone", "data": {"from": "mcp-pipe"}}}));
    let file = place.path("endpoint.jsonl");
    fs::write(&file, text).unwrap();
    let mut entry = place.entry("published");
    entry["tools"] = json!({"rename": {"find": "search"}});
    let (code, replayed, stderr) = replay(&file, &config([("one", entry)]), &["one"]).await;
    assert_eq!(told(&replayed), ["look same", "find same", "two__look skipped", "find skipped"], "{replayed}{stderr}");
    assert_eq!(code, 0, "{stderr}");
    assert!(said(&replayed, "two__look").contains("no tool that is published so"), "{replayed}");
    assert!(said(&replayed, "find").contains("no answer to compare with"), "{replayed}");
    assert_eq!(place.notes("published"), [json!(["look", {"what": "x"}]), json!(["find", {"what": "x"}])]);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_before_anything_starts_and_nothing_compared_is_no_success() {
    let place = Place::new();
    let one = config([("one", place.entry("never"))]);
    let bare = place.record(false).await;
    let whole = fs::read_to_string(&bare).unwrap();
    let (cut, empty) = (place.path("cut.jsonl"), place.path("empty.jsonl"));
    fs::write(&cut, &whole[..whole.len() - 20]).unwrap();
    fs::write(&empty, "").unwrap();
    let last = whole.lines().count();
    for (file, want) in [
        (bare.as_path(), "has a call without its contents".to_owned()),
        (&cut, format!("cut.jsonl:{last} ends before its end")),
        (&empty, "is empty".to_owned()),
        (&place.path("server.py"), "server.py:1 is no line that mcp-pipe tap --save writes".to_owned()),
        (&place.path("none.jsonl"), "can't be read".to_owned()),
    ] {
        let (code, _, stderr) = replay(file, &one, &["one"]).await;
        assert!(code == 2 && stderr.contains(&want) && stderr.contains("\n  → "), "{want}: {code} {stderr}");
    }
    let (code, _, _) = replay(&bare, &one, &["other"]).await;
    assert_eq!(code, 2, "an unknown server");
    let (code, _, _) = replay(&bare, &json!({"mcpServers": {"one": {}}}), &["one"]).await;
    assert_eq!(code, 78);
    assert!(!place.path("never.notes").exists());
    let write = place.path("write.jsonl");
    let lines = [
        json!({"kind": "server", "way": "to", "name": "one", "id": 1, "method": "tools/call", "tool": "write", "contents": {"params": {}}}),
        json!({"kind": "server", "way": "from", "name": "one", "id": 1, "method": "tools/call", "tool": "write", "outcome": "ok",
            "contents": {"result": {}}}),
    ];
    fs::write(&write, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    let (code, replayed, _) = replay(&write, &one, &["one"]).await;
    assert_eq!((code, told(&replayed)), (1, vec!["write skipped".to_owned()]));
}
