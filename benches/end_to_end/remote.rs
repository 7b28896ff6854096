//! A server that is reached over HTTP, beside the same calls made to it directly.

use std::io::{BufRead, BufReader, Write, stdout};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::Plan;
use crate::contender::{Bench, Running};
use crate::process::memory;
use crate::report::{Figure, Table};
use crate::speed::{AT_LEAST, in_turns, quantile};

/// Has this program be a server of MCP 2025-11-25 over HTTP, on a port that it says.
pub(crate) const FLAG: &str = "--http-echo";

/// How many calls are under way for a rate.
const DEPTH: usize = 32;
/// The text of a call, in bytes.
const TEXT: usize = 256;
/// A tool that answers at once, and one that waits before, as most do: for a disk, a network, a person.
const AT_ONCE: &str = "e";
const WAITING: &str = "w";
/// For how long that one waits.
const WAIT: Duration = Duration::from_millis(2);
/// How many remote servers a mcp-pipe has for its memory.
const MANY: usize = 50;

/// Serves until it is killed: each connection on a thread of its own, as they are few.
pub(crate) fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stdout().write_all(format!("{}\n", listener.local_addr().unwrap().port()).as_bytes()).unwrap();
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((head, body)) = message(&mut reader) {
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let id = &asked["id"];
        let result = match asked["method"].as_str() {
            Some("initialize") => {
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "http", "version": "1"}})
            }
            Some("tools/list") => {
                let tools = [AT_ONCE, WAITING].map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
                json!({"tools": tools})
            }
            Some("tools/call") => {
                if asked["params"]["name"] == WAITING {
                    sleep(WAIT);
                }
                json!({"content": [{"type": "text", "text": asked["params"]["arguments"]["text"]}]})
            }
            Some("ping") => json!({}),
            Some("server/discover") => {
                let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"not initialized"}}"#;
                answer(&mut stream, "400 Bad Request", refusal);
                continue;
            }
            Some(_) => {
                answer(&mut stream, "202 Accepted", "");
                continue;
            }
            None => {
                let status = if head.starts_with("DELETE") { "200 OK" } else { "405 Method Not Allowed" };
                answer(&mut stream, status, "");
                continue;
            }
        };
        answer(&mut stream, "200 OK", &json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
    }
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    // In one write, as servers do.
    let _gone = stream.write_all((head + body).as_bytes());
}

/// The next message of HTTP: its head and its body.
fn message(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let at = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[at..].trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// The server as a process.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(FLAG).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Whoever calls: directly, over as many connections as calls are under way; or through mcp-pipe.
enum Caller {
    Direct { connections: Vec<BufReader<TcpStream>>, port: u16 },
    Piped(Box<Running>),
}

impl Caller {
    fn send(&mut self, tool: &str, number: usize, slot: usize) {
        let text = "x".repeat(TEXT);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}}}}}"#
        );
        match self {
            Caller::Direct { connections, port } => {
                let length = body.len();
                let head = format!(
                    "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                );
                connections[slot].get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
            Caller::Piped(running) => running.exchanges[0].send(&body),
        }
    }

    fn flush(&mut self) {
        if let Caller::Piped(running) = self {
            running.exchanges[0].flush();
        }
    }

    /// The next answer: of the call in this slot where there are slots.
    fn receive(&mut self, slot: usize) {
        let whole = |answer: &str| assert!(answer.len() > TEXT && answer.contains("\"result\""), "{answer:.200}");
        match self {
            Caller::Direct { connections, .. } => {
                let (_, body) = message(&mut connections[slot]).unwrap();
                whole(std::str::from_utf8(&body).unwrap());
            }
            Caller::Piped(running) => running.exchanges[0].receive(whole),
        }
    }

    fn round_trips(&mut self, tool: &str, slice: Duration) -> Vec<Duration> {
        let (mut trips, began) = (Vec::new(), Instant::now());
        while began.elapsed() < slice || trips.len() < AT_LEAST {
            let from = Instant::now();
            self.send(tool, trips.len() + 100, 0);
            self.flush();
            self.receive(0);
            trips.push(from.elapsed());
        }
        trips.sort_unstable();
        trips
    }

    /// Calls a second, with so many under way.
    fn rate(&mut self, tool: &str, slice: Duration) -> f64 {
        let (began, mut answered) = (Instant::now(), 0);
        (0..DEPTH).for_each(|slot| self.send(tool, 1_000_000 + slot, slot));
        self.flush();
        while began.elapsed() < slice {
            for half in [0..DEPTH / 2, DEPTH / 2..DEPTH] {
                for slot in half.clone() {
                    self.receive(slot);
                    answered += 1;
                }
                for slot in half {
                    self.send(tool, 2_000_000 + answered + slot, slot);
                }
                self.flush();
            }
        }
        let took = began.elapsed();
        (0..DEPTH).for_each(|slot| self.receive(slot));
        answered as f64 / took.as_secs_f64()
    }
}

pub(crate) fn measure(bench: &Bench, plan: &Plan) -> Table {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    let connect = |_| {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    };
    let direct = Caller::Direct { connections: (0..DEPTH).map(connect).collect(), port: server.port };
    let mut piped = bench.start_with(&json!({"mcpServers": {"http": {"url": url}}}), 1);
    piped.exchanges[0].greet();
    let mut callers = [direct, Caller::Piped(Box::new(piped))];
    let mut figures = Vec::new();
    for (tool, what) in [(AT_ONCE, "over HTTP"), (WAITING, "over HTTP, the tool takes 2 ms")] {
        let mut p50 = Figure::new(format!("round trip {what}, p50"), "µs");
        let mut p99 = Figure::new(format!("round trip {what}, p99"), "µs");
        in_turns(plan, &mut callers, |caller| {
            let trips = caller.round_trips(tool, plan.slice);
            [quantile(&trips, 0.5), quantile(&trips, 0.99)]
        })
        .for_each(|round| {
            p50.push(round.map(|[p50, _]| Some(p50)));
            p99.push(round.map(|[_, p99]| Some(p99)));
        });
        let mut rate = Figure::new(format!("calls/s {what}, {DEPTH} in flight"), "k/s");
        in_turns(plan, &mut callers, |caller| caller.rate(tool, plan.slice) / 1e3)
            .for_each(|round| rate.push(round.map(Some)));
        figures.extend([p50, p99, rate]);
    }
    drop(callers);

    let mut pss = Figure::new(format!("PSS, {MANY} servers over HTTP"), "KiB");
    let entries: Map<String, Value> = (0..MANY).map(|n| (format!("s{n}"), json!({"url": url}))).collect();
    let mut running = bench.start_with(&json!({"mode": "multiplex", "mcpServers": entries}), 1);
    running.exchanges[0].greet();
    sleep(plan.settle);
    pss.push([None, running.pid().and_then(memory).map(|own| own.pss)]);
    figures.push(pss);
    Table { columns: &["directly", "mcp-pipe"], ratios: &[("÷ directly", 1, 0)], figures }
}
