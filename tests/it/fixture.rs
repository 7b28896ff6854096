//! A stdio MCP server that misbehaves on request. Flags, in any order:
//!
//!     --name NAME         its serverInfo.name                     (fixture)
//!     --slow-start MS     reads nothing for so long after its start
//!     --late MS           waits so long before each answer
//!     --garbage           writes other things than frames at its start and before each answer
//!     --ignore-term       ignores TERM, and goes on when its stdin ends
//!     --grandchild        starts a process that does so, and keeps its pipes; "grandchild PID" on stderr
//!     --crash-after N     exits with code 3 instead of giving its Nth answer
//!     --silent            answers nothing
//!     --mute METHOD       doesn't answer this method
//!     --ask-roots         sends roots/list with id 0 after notifications/initialized; the answer goes to stderr
//!     --stderr-flood      10,000 lines on stderr at its start, 1,000 before each answer
//!     --no-newline BYTES  a line of that size without an end at its start (ended before the first answer)
//!     --duplicate         gives each answer twice
//!     --close-stdout      closes its stdout at its start and goes on
//!     --write-and-exit N  writes N notifications at its start and exits with code 1 at once
//!     --hold FILE         reads nothing while this file is there
//!     --stall FILE        does and says nothing while this file is there, whatever it is asked
//!     --serial            does one thing at a time: `sleep` holds up other requests
//!     --ill FILE          its tool `pid` reports a failure while this file is there
//!     --deaf-after N      reads nothing more after the Nth request
//!     --lie               before each answer to a call: answers to what nobody asked it, and messages that are none
//!     --page N            gives its lists in pages of N
//!     --answer METHOD X   answers a method with this result, as it is written (for each method once)
//!     --fail METHOD CODE  answers a method with an error of this code (for each method once)
//!     --saying TEXT       says this in a tool's description and parameters, in its errors, and on stderr at its start
//!     --shape SHAPE       writes its answers like one of `shaped`
//!     --shape-calls SHAPE the same for the answers to calls only
//!     --initialize-first  exits on any request before `initialize`, as old Rust SDKs do
//!     --initialize-once X a second `initialize` gets an error (X is `error`) or no answer (`mute`), or ends it (`exit`)
//!     --refuse WORDS      answers `initialize` with an error of these words
//!     --modern HOW        is of MCP 2026-07-28: `error` (refuses initialize), `exit` (exits on it), `mute` (doesn't answer it); its
//!                         results say so, and requests that don't say who asks get an error
//!     --resources         has a resource `mem:a` and a log level; what it is told of them goes to stderr
//!     --announce N        says at each of the first N requests for its tools that they have changed, which isn't so
//!     --extra NAME        has one more tool, of this name
//!     --meta              answers calls, but those of `sleep`, with the `_meta` that they have
//!     --diary FILE        writes each call into this file before it answers: on a line its tool and its arguments
//!     --logs              logs the `log` of a call's arguments, `times` times, once the call is answered
//!
//! Tools: echo {text}, add {a,b}, sleep {ms}, pid {}, exit {code}, big {bytes}, env {name}, grow {name}, touch {}. `sleep`
//! doesn't hold up other calls; with `until` it waits for that file first, and then reports progress if that was asked
//! for; when it is over it says so on stderr. `grow` adds a tool of that name, which answers
//! with its name; `touch` says that the list has changed, which isn't so. Frames with params it can't read get −32602,
//! unknown methods −32601; broken JSON and cancellations are noted on stderr.

#![expect(unsafe_code, reason = "what a server does to itself has no safe form")]
#![expect(clippy::expect_used, clippy::exit, clippy::zombie_processes, reason = "a server for tests")]

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Clone, Default)]
struct Flags(Vec<String>);

impl Flags {
    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|arg| arg == flag)
    }

    fn value(&self, flag: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == flag)?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// What it is told of a method.
    fn of(&self, flag: &str, method: &str) -> Option<&str> {
        let told = self.0.windows(3).find(|args| args[0] == flag && args[1] == method)?;
        Some(&told[2])
    }

    fn number(&self, flag: &str) -> Option<u64> {
        self.value(flag).map(|text| text.parse().unwrap_or_else(|_| panic!("{flag} {text}: not a number")))
    }
}

/// It was asked to initialize.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// The names of tools that came later.
type Grown = Arc<Mutex<Vec<String>>>;

fn main() {
    let flags = Flags(std::env::args().skip(1).collect());
    if flags.has("--sleeper") {
        ignore_term();
        // Not for ever: a failed test must not leave it behind for good.
        return thread::sleep(Duration::from_secs(60));
    }
    misbehave_at_start(&flags);
    let (mut served, grown) = (0, Grown::default());
    for line in io::stdin().lock().split(b'\n') {
        let Ok(line) = line else { break };
        while is_there(&flags, "--stall") {
            thread::sleep(Duration::from_millis(5));
        }
        match serde_json::from_slice(&line) {
            Ok(message) => receive(&flags, &grown, message, &mut served),
            Err(error) => note(&format!("fixture: bad line of {} bytes: {error}", line.len())),
        }
        if flags.number("--deaf-after") == Some(served) {
            thread::sleep(Duration::from_secs(600));
        }
    }
    if flags.has("--ignore-term") {
        thread::sleep(Duration::from_secs(60));
    }
}

/// Whether the file is there that is named behind a flag.
fn is_there(flags: &Flags, flag: &str) -> bool {
    flags.value(flag).is_some_and(|file| Path::new(file).exists())
}

fn misbehave_at_start(flags: &Flags) {
    if flags.has("--ignore-term") {
        ignore_term();
    }
    if flags.has("--grandchild") {
        let me = std::env::current_exe().expect("the own path");
        let child = Command::new(me).arg("--sleeper").spawn().expect("a grandchild");
        note(&format!("grandchild {}", child.id()));
    }
    if let Some(text) = flags.value("--saying") {
        note(text);
    }
    if flags.has("--stderr-flood") {
        flood(10_000);
    }
    if flags.has("--close-stdout") {
        close_stdout();
    }
    if let Some(count) = flags.number("--write-and-exit") {
        for n in 0..count {
            write(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": n}}));
        }
        note("last words");
        exit(1);
    }
    if flags.has("--garbage") {
        raw(b"\xEF\xBB\xBFWelcome to the fixture!\r\n\r\n   \n{\"half\": \nlatin1: \xE9\xFF\n");
    }
    if let Some(bytes) = flags.number("--no-newline") {
        let block = [b'x'; 65536];
        let mut left = bytes as usize;
        while left > 0 {
            let n = left.min(block.len());
            raw(&block[..n]);
            left -= n;
        }
    }
    if let Some(ms) = flags.number("--slow-start") {
        thread::sleep(Duration::from_millis(ms));
    }
    while is_there(flags, "--hold") {
        thread::sleep(Duration::from_millis(5));
    }
}

fn receive(flags: &Flags, grown: &Grown, message: Value, served: &mut u64) {
    let Some(method) = message["method"].as_str() else {
        return note(&format!("answer {message}"));
    };
    if message.get("id").is_none() {
        if method == "notifications/initialized" && flags.has("--ask-roots") {
            write(&json!({"jsonrpc": "2.0", "id": 0, "method": "roots/list"}));
        }
        if method == "notifications/cancelled" {
            note(&format!("cancelled {}", message["params"]["requestId"]));
        }
        return;
    }
    if flags.has("--silent") || flags.value("--mute") == Some(method) {
        return;
    }
    let asked_before = INITIALIZED.fetch_or(method == "initialize", Ordering::Relaxed);
    if flags.has("--initialize-first") && method != "initialize" && !asked_before {
        note(&format!("fixture: {method} before initialize"));
        exit(1);
    }
    if method == "initialize" && asked_before {
        match flags.value("--initialize-once") {
            Some("mute") => return,
            Some("exit") => exit(1),
            Some(_) | None => {}
        }
    }
    if method == "initialize" && flags.value("--modern") == Some("exit") {
        note("fixture: initialize is unknown here");
        exit(1);
    }
    if method == "initialize" && flags.value("--modern") == Some("mute") {
        return;
    }
    *served += 1;
    if flags.number("--crash-after") == Some(*served) {
        note("fixture: crashing as asked");
        exit(3);
    }
    if *served == 1 && flags.has("--no-newline") {
        raw(b"\n");
    }
    if method == "initialize" && asked_before && flags.value("--initialize-once") == Some("error") {
        let error = json!({"code": -32600, "message": "already initialized"});
        return write(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
    }
    let (flags, grown, method) = (flags.clone(), grown.clone(), method.to_owned());
    if message["params"]["name"] == "sleep" {
        let serial = flags.has("--serial");
        let sleeper = thread::spawn(move || {
            let (token, until) =
                (&message["params"]["_meta"]["progressToken"], &message["params"]["arguments"]["until"]);
            while until.as_str().is_some_and(|file| !Path::new(file).exists()) {
                thread::sleep(Duration::from_millis(5));
            }
            if !token.is_null() {
                let params = json!({"progressToken": token, "progress": 1});
                write(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
            }
            answer(&flags, &grown, &method, &message);
            note("slept");
        });
        if serial {
            sleeper.join().expect("no panic");
        }
    } else {
        answer(&flags, &grown, &method, &message);
    }
}

fn answer(flags: &Flags, grown: &Grown, method: &str, message: &Value) {
    if let Some(result) = flags.of("--answer", method) {
        let frame = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}\n", message["id"]);
        return raw(frame.as_bytes());
    }
    if let Some(code) = flags.of("--fail", method) {
        let error = json!({"code": code.parse::<i32>().expect("a code"), "message": format!("{code}: no {method}")});
        return write(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
    }
    let mut reply = match result(flags, grown, method, &message["params"]) {
        Ok(mut result) => {
            if flags.has("--modern") {
                result["resultType"] = "complete".into();
            }
            json!({"jsonrpc": "2.0", "result": result})
        }
        Err((code, text)) => json!({"jsonrpc": "2.0", "error": {"code": code, "message": text}}),
    };
    reply["id"] = message["id"].clone();
    if let Some(ms) = flags.number("--late") {
        thread::sleep(Duration::from_millis(ms));
    }
    if flags.has("--garbage") {
        raw(b"DEBUG answering\n\r\n");
    }
    if flags.has("--stderr-flood") {
        flood(1_000);
    }
    if method == "tools/call" && flags.has("--lie") {
        lie(&message["id"]);
    }
    let of_calls = flags.value("--shape-calls").filter(|_| method == "tools/call");
    match flags.value("--shape").or(of_calls) {
        None => write(&reply),
        Some(shape) => raw(&shaped(shape, &reply)),
    }
    if flags.has("--duplicate") {
        write(&reply);
    }
    let arguments = &message["params"]["arguments"];
    if flags.has("--logs") && arguments["log"].is_object() {
        for _ in 0..arguments["times"].as_u64().unwrap_or(1) {
            write(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": arguments["log"]}));
        }
    }
}

/// Answers to what others may have been asked, whoever that is, and messages that are none.
fn lie(own: &Value) {
    for id in (0..1000).filter(|id| own != id) {
        for id in [Value::from(id), Value::from(id.to_string())] {
            write(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "a lie"}]}}));
            write(
                &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 9}}),
            );
        }
    }
    write(&json!({"jsonrpc": "2.0", "id": null, "result": {}}));
    write(&json!({"jsonrpc": "1.0", "id": {"an": "object"}, "result": {}, "error": {}}));
    write(&json!([{"jsonrpc": "2.0", "id": 1, "result": {}}]));
    write(&json!({"jsonrpc": "2.0"}));
    write(&json!("a text"));
}

/// How often the tools were asked for.
static ANNOUNCED: AtomicU64 = AtomicU64::new(0);

fn result(flags: &Flags, grown: &Grown, method: &str, params: &Value) -> Result<Value, (i32, String)> {
    let said = &params["_meta"];
    match method {
        "initialize" if flags.has("--modern") => Err((-32022, "initialize is unknown here".to_owned())),
        _ if flags.has("--modern") && said["io.modelcontextprotocol/protocolVersion"] != "2026-07-28" => {
            Err((-32602, format!("nobody said who asks for {method}")))
        }
        "server/discover" if flags.has("--modern") => Ok(
            json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities(flags), "ttlMs": 0, "cacheScope": "private"}),
        ),
        "initialize" if flags.has("--refuse") => Err((-32000, flags.value("--refuse").unwrap_or_default().to_owned())),
        "initialize" => Ok(json!({
            "protocolVersion": params["protocolVersion"].as_str().unwrap_or("2024-11-05"),
            "capabilities": capabilities(flags),
            "serverInfo": {"name": flags.value("--name").unwrap_or("fixture"), "version": "1"},
        })),
        "ping" => Ok(json!({})),
        "resources/list" if flags.has("--resources") => Ok(json!({"resources": [{"uri": "mem:a", "name": "a"}]})),
        "resources/templates/list" if flags.has("--resources") => Ok(json!({"resourceTemplates": []})),
        "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" if flags.has("--resources") => {
            note(&format!("fixture {}: {method} {params}", std::process::id()));
            Ok(json!({}))
        }
        "tools/list" => {
            // Says so many times, while it is asked, that its list has changed, which is not so.
            if ANNOUNCED.fetch_add(1, Ordering::Relaxed) < flags.number("--announce").unwrap_or(0) {
                write(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            }
            let mut names: Vec<String> = TOOLS.map(str::to_owned).into();
            names.extend_from_slice(&grown.lock().expect("no panic"));
            names.extend(flags.value("--extra").map(str::to_owned));
            let first = params["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap_or(usize::MAX));
            let last = names.len().min(first.saturating_add(flags.number("--page").unwrap_or(1000) as usize));
            let page = names.get(first..last).ok_or((-32602, "bad cursor".into()))?;
            let mut tools: Vec<Value> = page.iter().map(|name| tool(name)).collect();
            if let Some(text) = flags.value("--saying") {
                tools[0]["description"] = text.into();
                tools[0]["inputSchema"]["properties"] = json!({text: {"type": text}});
            }
            Ok(if last < names.len() {
                json!({"tools": tools, "nextCursor": last.to_string()})
            } else {
                json!({"tools": tools})
            })
        }
        "tools/call" if flags.has("--diary") && diary(flags, params).is_err() => {
            Err((-32603, "the diary can't be written".to_owned()))
        }
        "tools/call" if flags.has("--meta") && params["name"] != "sleep" => {
            Ok(json!({"content": [{"type": "text", "text": said.to_string()}]}))
        }
        "tools/call" if params["name"] == "pid" && is_there(flags, "--ill") => {
            Ok(json!({"content": [{"type": "text", "text": "no database"}], "isError": true}))
        }
        "tools/call" => {
            let text = call(grown, &params["name"], &params["arguments"])
                .map_err(|(code, text)| (code, format!("{text}{}", flags.value("--saying").unwrap_or_default())))?;
            Ok(json!({"content": [{"type": "text", "text": text}]}))
        }
        _ => Err((-32601, format!("unknown method {method}"))),
    }
}

fn capabilities(flags: &Flags) -> Value {
    if flags.has("--resources") {
        json!({"tools": {}, "resources": {"subscribe": true}, "logging": {}})
    } else {
        json!({"tools": {}})
    }
}

const TOOLS: [&str; 9] = ["echo", "add", "sleep", "pid", "exit", "big", "env", "grow", "touch"];

/// With members that some drop to save space.
fn tool(name: &str) -> Value {
    json!({
        "name": name,
        "title": name.to_uppercase(),
        "description": format!("the tool {name}"),
        "inputSchema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        "annotations": {"readOnlyHint": true},
    })
}

fn call(grown: &Grown, name: &Value, arguments: &Value) -> Result<String, (i32, String)> {
    let invalid = || (-32602, format!("bad call of {name} with {arguments}"));
    let whole = |key: &str| arguments[key].as_u64().ok_or_else(invalid);
    match name.as_str().unwrap_or_default() {
        "echo" => Ok(arguments["text"].as_str().ok_or_else(invalid)?.to_owned()),
        "add" => match (&arguments["a"], &arguments["b"]) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => Ok((a + b).to_string()),
                _ => Ok((a.as_f64().unwrap_or(f64::NAN) + b.as_f64().unwrap_or(f64::NAN)).to_string()),
            },
            _ => Err(invalid()),
        },
        "sleep" => {
            let ms = whole("ms")?;
            thread::sleep(Duration::from_millis(ms));
            Ok(format!("slept {ms} ms"))
        }
        "pid" => Ok(std::process::id().to_string()),
        "exit" => exit(whole("code")? as i32),
        "big" => Ok("b".repeat(whole("bytes")? as usize)),
        "env" => Ok(std::env::var(arguments["name"].as_str().ok_or_else(invalid)?).unwrap_or_default()),
        "grow" => {
            let name = arguments["name"].as_str().ok_or_else(invalid)?;
            grown.lock().expect("no panic").push(name.to_owned());
            write(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            Ok(format!("grown by {name}"))
        }
        "touch" => {
            write(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            Ok("nothing has changed".into())
        }
        name if grown.lock().expect("no panic").iter().any(|grown| grown == name) => Ok(name.to_owned()),
        _ => Err((-32602, format!("unknown tool {name}"))),
    }
}

/// Notes what is done.
fn diary(flags: &Flags, params: &Value) -> io::Result<()> {
    let file = flags.value("--diary").unwrap_or_default();
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    // In one piece: others write there too.
    file.write_all(format!("{} {}\n", params["name"], params["arguments"]).as_bytes())
}

fn flood(lines: u32) {
    let mut text = String::new();
    for n in 0..lines {
        text += &format!("flood {n}: nobody reads all of this\n");
    }
    // Whole, past the lock: it fills the pipe many times over.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// An answer as servers write it that print to stdout, or think of another protocol.
fn shaped(shape: &str, reply: &Value) -> Vec<u8> {
    let (line, id) = (reply.to_string(), &reply["id"]);
    let log = json!({"level": "debug", "msg": line, "id": id, "payload": {"sent": reply}});
    // Half of it, with the id in the first half or in the second.
    let cut = line.split_at(line.len() / 2);
    let id_first = json!({"jsonrpc": "2.0", "id": id, "result": reply["result"]}).to_string();
    let head = &id_first[..id_first.len() / 2];
    let text = match shape {
        "before" => format!("Working... {line}\n"),
        "behind" => format!("{line} done\n"),
        "bar" => format!("{}{line}\n", "\r[####    ] 50 %".repeat(1000)),
        "bar-of-megabytes" => format!("{}{line}\n", "\r[####    ] 50 %".repeat(1_200_000)),
        "painted" => format!("\x1b[32mINFO\x1b[0m {line}\x1b[0m\n"),
        "nul" => format!("\0{line}\0\n"),
        "mark" => format!("\u{feff}{line}\n"),
        "cr" => format!("{line}\r"),
        "separator" => format!("{line}\u{2028}"),
        "crowded" => format!("{line}{}\n", json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})),
        "batch" => format!("here: [{line}]\n"),
        "spread" => format!("{reply:#}\n"),
        "spread-amid-text" => format!("log {{\n\n\nanswer: {reply:#} done\n[log]\n"),
        "spread-unended" => format!("{reply:#}"),
        "framed" => format!("Content-Length: {}\r\n\r\n{line}", line.len()),
        "framed-more" => {
            format!("Content-Length: 3\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{reply:#}")
        }
        "unended" => line,
        "log" => format!("{log}\nDEBUG {log}\n{log:#}\n{line}\n"),
        "log-cut" => format!("sent {}…\n{line}\n", line.chars().take(60).collect::<String>()),
        // From here on the answer can't be had.
        "cut" => format!("{}\nanother thread's log\n{}\n", cut.0, cut.1),
        "cut-short" => format!("{head}\n"),
        "cut-short-behind-text" => format!("10%\r{head}\n"),
        "not-json" => format!("{}\n", line.replacen("\"result\":", "\"result\":NaN,\"x\":", 1)),
        "python" => format!("{}\n", line.replace('"', "'")),
        "endless" => format!("{}\n", format!("{reply:#}").trim_end_matches('}')),
        other => panic!("--shape {other}: no such shape"),
    };
    text.into_bytes()
}

fn write(message: &Value) {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    raw(&line);
}

/// Nobody to write to is a reason to end, unless it was told to close its stdout.
fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(unix)]
fn ignore_term() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn ignore_term() {}

#[cfg(unix)]
fn close_stdout() {
    // SAFETY: nothing else takes the number 1 in this program; later writes fail, which is what is asked for.
    unsafe { libc::close(1) };
}

#[cfg(not(unix))]
fn close_stdout() {}
