//! `examples/calculator.py` as a process: a line in, a line out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{example, text_of};

struct Calculator {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Calculator {
    fn start() -> Self {
        // A locale without UTF-8, as daemons get it: the server must not depend on it.
        let mut command = Command::new("python3");
        command.arg(example("calculator.py")).env("LC_ALL", "C").env("PYTHONIOENCODING", "ascii");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Calculator { child, stdin, stdout }
    }

    fn ask_line(&mut self, line: &str) -> Value {
        self.tell(line);
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n') && !answer.ends_with("\r\n"), "{answer:?}");
        serde_json::from_str(&answer).unwrap()
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let answer = self.ask_line(&request.to_string());
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(0)));
        answer
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        self.call("evaluate", &json!({"expression": expression}))
    }
}

impl Drop for Calculator {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(status.success(), "at the end of its input it ends well: {status}");
        }
    }
}

#[test]
fn results_are_plain_text() {
    let mut calculator = Calculator::start();
    for (tool, a, b, want) in [
        ("add", json!(2), json!(3), "5"),
        ("add", json!(0.5), json!(0.25), "0.75"),
        ("subtract", json!(2), json!(3), "-1"),
        ("multiply", json!(1.5), json!(2), "3"),
        ("multiply", json!(9007199254740993u64), json!(3), "27021597764222979"),
        ("divide", json!(6), json!(3), "2"),
        ("divide", json!(6), json!(4), "1.5"),
    ] {
        let answer = calculator.call(tool, &json!({"a": a, "b": b}));
        assert_eq!(text_of(&answer), want, "{tool} {a} {b}");
        assert_eq!(answer["result"]["isError"], false);
    }
}

#[test]
fn what_cannot_be_computed_is_a_result_that_says_so_and_never_takes_long() {
    let mut calculator = Calculator::start();
    let answer = calculator.call("divide", &json!({"a": 1, "b": 0}));
    assert_eq!((text_of(&answer), &answer["result"]["isError"]), ("division by zero", &json!(true)));
    let deep = "-".repeat(990) + "1";
    for expression in [
        "9**9**9",
        "10**300*10**300*10**300*10**300*10**300",
        "round(5, -1000000000)",
        "1/0",
        "sqrt(-1)",
        "(-8)**0.5",
        "1e308*10",
        "__import__('os').getcwd()",
        "().__class__",
        "[1]*1000000000",
        "'a'*1000000000",
        "1 +",
        "",
        &"1+".repeat(600),
        &("(".repeat(400) + "1"),
    ] {
        let answer = calculator.evaluate(expression);
        assert_eq!(answer["result"]["isError"], true, "{expression}: {answer}");
    }
    let answer = calculator.evaluate(&deep);
    assert!(answer.get("result").is_some(), "{answer}");
}

#[test]
fn expressions_are_evaluated() {
    let mut calculator = Calculator::start();
    for (expression, want) in [
        ("2 * (3 + sqrt(16)) ** 2", "98"),
        ("-7 // 2", "-4"),
        ("max(1, 2.5)", "2.5"),
        ("floor(pi)", "3"),
        ("2**64", "18446744073709551616"),
    ] {
        assert_eq!(text_of(&calculator.evaluate(expression)), want, "{expression}");
    }
}

#[test]
fn versions_are_negotiated() {
    let mut calculator = Calculator::start();
    for (asked, want) in [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")] {
        let answer = calculator.ask("initialize", &json!({"protocolVersion": asked}));
        assert_eq!(answer["result"]["protocolVersion"], want);
        assert_eq!(answer["result"]["serverInfo"]["name"], "calculator");
        assert!(answer["result"]["capabilities"]["tools"].is_object());
    }
}

#[test]
fn the_list_describes_each_tool() {
    let answer = Calculator::start().ask("tools/list", &Value::Null);
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["add", "subtract", "multiply", "divide", "evaluate"]);
    for tool in tools {
        assert!(tool["description"].is_string() && tool["inputSchema"]["type"] == "object", "{tool}");
    }
}

#[test]
fn mistakes_in_the_protocol_get_the_errors_of_json_rpc() {
    let mut calculator = Calculator::start();
    for (line, id, code) in [
        ("not json", Value::Null, -32700),
        ("[]", Value::Null, -32600),
        (r#"{"id":"é-1","method":"nö"}"#, json!("é-1"), -32601),
        (r#"{"id":2,"method":"tools/call","params":{"name":"none"}}"#, json!(2), -32602),
        (r#"{"id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#, json!(3), -32602),
        (r#"{"id":4,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":true}}}"#, json!(4), -32602),
        (r#"{"id":5,"method":"tools/call","params":[]}"#, json!(5), -32602),
    ] {
        let answer = calculator.ask_line(line);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line}: {answer}");
    }
}

#[test]
fn notifications_answers_and_blank_lines_are_not_answered() {
    let mut calculator = Calculator::start();
    calculator.tell(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    calculator.tell(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
    calculator.tell("\r");
    assert_eq!(calculator.ask("ping", &json!({}))["result"], json!({}));
}
