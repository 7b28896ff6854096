//! Peers that come, ask and leave while others do.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::links::SERVER;
use super::membership::{Manner, NewGuest, NewServer, Shown};
use super::orders::{PipeOrder, orders};
use super::reception::Reception;
use super::*;
use crate::guest::Visitor;
use crate::passage::Passage;
use crate::router::turns::Turns;

/// A pipe of two servers, `t0` and `t1`, that guests can come to.
struct House {
    orders: mpsc::Sender<Box<PipeOrder>>,
    stop: Stop,
    pipe: tokio::task::JoinHandle<()>,
    spec: Arc<ServerSpec>,
}

/// A guest, from its own side.
struct Visit {
    from: BufReader<ReadHalf<Passage>>,
    to: WriteHalf<Passage>,
}

impl House {
    fn open() -> Self {
        let (status, stop) = (Status::default(), Stop::new());
        let (sender, orders) = orders();
        let mut pipe = Pipe::of(Vec::new(), Vec::new(), Box::<Turns>::default(), run(stop.clone())).obeying(orders);
        let spec = |n: usize| {
            let name = format!("t{n}");
            Arc::new(ServerSpec { max_frame: 64 * 1024, ..spec(&name, "sh", &["-c", SERVER, &name], HANG) })
        };
        for n in 0..2 {
            let new = NewServer { spec: spec(n), status: status.add_server("x"), goal: unchanged(), memory: None };
            pipe.add_server(new, Instant::now());
        }
        House { orders: sender, stop, pipe: tokio::spawn(pipe.run()), spec: spec(0) }
    }

    fn shown(&self, servers: &[&str]) -> Arc<Shown> {
        let servers = servers.iter().map(|name| (Arc::from(*name), Arc::default())).collect();
        Arc::new(Shown { servers, room: None, sharing: self.spec.sharing, manner: Manner::AsOne })
    }

    /// One that wants no answers once it says no more.
    async fn receive(&self, shown: &Arc<Shown>) -> Option<Visit> {
        self.receive_waiting(shown).await.map(|(visit, _)| visit)
    }

    /// One that waits for its answers, as long as the second part is there.
    async fn receive_waiting(&self, shown: &Arc<Shown>) -> Option<(Visit, oneshot::Sender<Infallible>)> {
        let new = NewGuest { name: "guest".into(), shown: shown.clone(), era: Era::Legacy };
        let Visitor { lines, stays } = Reception::of(self.orders.clone()).receive(new).await?;
        let (from, to) = tokio::io::split(lines);
        Some((Visit { from: BufReader::new(from), to }, stays))
    }

    async fn close(self) {
        self.stop.advance();
        timeout(HANG, self.pipe).await.unwrap().unwrap();
    }
}

impl Visit {
    async fn say(&mut self, message: Value) {
        timeout(HANG, self.to.write_all(format!("{message}\n").as_bytes())).await.unwrap().unwrap();
    }

    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        timeout(HANG, self.from.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let message = self.hear().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    async fn greet(&mut self) {
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        assert!(self.ask(0, "initialize", params).await["result"].is_object());
        self.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    /// Calls a tool, and returns the process that answered.
    async fn call(&mut self, id: u64, tool: &str) -> u64 {
        let of = format!("call {id}");
        let answer = self.ask(id, "tools/call", json!({"name": tool, "arguments": {"of": of}})).await;
        assert_eq!(answer["result"]["of"], of, "{answer}");
        answer["result"]["pid"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn guests_come_and_go_and_see_what_each_is_shown_of_the_same_processes() {
    let house = House::open();
    let (all, one) = (house.shown(&["t0", "t1"]), house.shown(&["t1"]));
    let mut pids = HashSet::new();
    for round in 0..5 {
        let mut visits = Vec::new();
        for shown in [&all, &all, &one] {
            visits.push(house.receive(shown).await.unwrap());
        }
        for visit in &mut visits {
            visit.greet().await;
        }
        for (visit, want) in visits.iter_mut().zip([2, 2, 1]) {
            let list = visit.ask(1, "tools/list", json!({})).await;
            assert_eq!(list["result"]["tools"].as_array().unwrap().len(), want, "{list}");
            pids.insert(visit.call(2 + round, "t1").await);
        }
    }
    assert_eq!(pids.len(), 1, "one process serves them all");
    assert!(house.receive(&house.shown(&["t2"])).await.is_none(), "nobody is shown what is not there");
    house.close().await;
}

#[tokio::test]
async fn a_guest_who_says_no_more_gets_what_is_owed_if_it_waits_for_that() {
    let house = House::open();
    let all = house.shown(&["t0", "t1"]);
    let (mut visit, stays) = house.receive_waiting(&all).await.unwrap();
    visit.greet().await;
    for n in 1..=20 {
        let params = json!({"name": "t0", "arguments": {"of": "big"}});
        visit.say(json!({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params})).await;
    }
    visit.to.shutdown().await.unwrap();
    let mut said = String::new();
    timeout(HANG, visit.from.read_to_string(&mut said)).await.unwrap().unwrap();
    assert_eq!(said.lines().filter(|line| line.contains("xxxx")).count(), 20, "all, and then the end");
    drop(stays);
    // One that does not wait is let go at once.
    let mut visit = house.receive(&all).await.unwrap();
    visit.greet().await;
    visit.to.shutdown().await.unwrap();
    assert_eq!(timeout(HANG, visit.from.read(&mut [0])).await.unwrap().unwrap(), 0);
    house.close().await;
}

#[tokio::test]
async fn a_guest_that_reads_nothing_costs_the_others_nothing() {
    let house = House::open();
    let all = house.shown(&["t0", "t1"]);
    let mut slow = house.receive(&all).await.unwrap();
    slow.greet().await;
    for n in 1..=100 {
        let params = json!({"name": "t0", "arguments": {"of": "big"}});
        slow.say(json!({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params})).await;
    }
    let mut visit = house.receive(&all).await.unwrap();
    visit.greet().await;
    for n in 1..=50 {
        visit.call(n, "t0").await;
    }
    drop(slow);
    visit.call(51, "t1").await;
    house.close().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_with_an_error_and_so_is_one_that_is_too_long() {
    let house = House::open();
    let mut visit = house.receive(&house.shown(&["t0", "t1"])).await.unwrap();
    visit.greet().await;
    for (line, code) in [
        (b"nonsense\n".to_vec(), -32700),
        (b"\xff\xfe\n".to_vec(), -32700),
        (format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"{}\"}}\n", "x".repeat(70_000)).into_bytes(), -32600),
    ] {
        visit.to.write_all(&line).await.unwrap();
        let answer = visit.hear().await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    visit.call(1, "t0").await;
    house.close().await;
}
