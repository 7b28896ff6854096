//! Servers in Python as people write them by hand: nothing is flushed, and nobody thinks of an encoding.

use serde_json::{Value, json};

use crate::harness::{Setup, config};

/// Answers with what its Python was told, and with text that is not ASCII.
const BY_HAND: &str = r#"
import json, os, sys
while line := sys.stdin.readline():
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        version = message["params"]["protocolVersion"]
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "hand", "version": "1"}}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}
    else:
        told = [os.environ.get("PYTHONUNBUFFERED"), os.environ.get("PYTHONUTF8"), sys.flags.utf8_mode]
        result = {"content": [{"type": "text", "text": f"你好 {told}"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, ensure_ascii=False))
"#;

async fn greet(setup: Setup, members: Value) -> String {
    let mut entry = json!({"command": "python3", "args": ["hand.py"], "startTimeout": "10s"});
    entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let setup = setup.file("hand.py", BY_HAND).config(&config([("hand", entry)]));
    let output = setup.args(["call", "hand", "greet"]).output().await;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_server_that_flushes_nothing_is_heard_and_its_chinese_arrives() {
    // The C locale alone would be UTF-8 to Python; this one is not its matter.
    let setup = || Setup::new().env("LC_ALL", "C.UTF-8");
    assert_eq!(greet(setup(), json!({})).await, "你好 ['1', '1', 1]\n");
    assert_eq!(greet(setup(), json!({"inheritEnv": false})).await, "你好 ['1', '1', 1]\n");
}

#[tokio::test]
async fn what_python_is_told_by_the_environment_dotenv_or_the_entry_counts() {
    let setup = || Setup::new().env("LC_ALL", "C.UTF-8");
    assert_eq!(greet(setup().env("PYTHONUTF8", "0"), json!({})).await, "你好 ['1', '0', 0]\n");
    assert_eq!(greet(setup().file(".env", "PYTHONUNBUFFERED=x\n"), json!({})).await, "你好 ['x', '1', 1]\n");
    assert_eq!(greet(setup(), json!({"env": {"PYTHONUTF8": "0"}})).await, "你好 ['1', '0', 0]\n");
}
