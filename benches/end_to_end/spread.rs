//! Calls spread over the tools of many servers, each on a connection of its own or all on one, and what they cost.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::contender::Running;
use crate::exchange::Exchange;
use crate::speed::{AT_LEAST, DEPTH};

/// The first id. Seven digits, so that answers are of one length.
const FIRST: usize = 1_000_000;
/// Where the id is in an answer.
const ID: std::ops::Range<usize> = 22..29;

/// Numbered calls, each of another server's tool, and the check of their answers, which servers give in any order.
pub(crate) struct Spread {
    pub(crate) running: Running,
    /// From the program's start to the last list.
    pub(crate) listed: Duration,
    /// The connection on which each tool is called, and its name; neighbours are of different servers.
    tools: Vec<(usize, String)>,
    /// Of all calls so far whether they are answered.
    answered: Vec<bool>,
    /// The first that isn't.
    oldest: usize,
    text: String,
}

impl Spread {
    /// Of a program that has dialled: the handshake and the list of tools, of which there must be so many at once.
    pub(crate) fn begin(mut running: Running, began: Instant, servers: usize, tools: usize) -> Self {
        for exchange in &mut running.exchanges {
            exchange.greet();
            exchange.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
            exchange.flush();
        }
        let lists: Vec<String> = running.exchanges.iter_mut().map(|exchange| exchange.receive(str::to_owned)).collect();
        let listed = began.elapsed();
        let mut all = Vec::new();
        for (at, list) in lists.iter().enumerate() {
            let list: Value = serde_json::from_str(list).unwrap();
            let names = list["result"]["tools"].as_array().unwrap().iter();
            all.extend(names.map(|tool| (at, tool["name"].as_str().unwrap().to_owned())));
        }
        assert_eq!(all.len(), tools, "the first list is not complete");
        // Lists have one server after the other.
        let each = tools / servers;
        let tools = (0..tools).map(|n| all[n % servers * each + n / servers].clone()).collect();
        Spread { running, listed, tools, answered: Vec::new(), oldest: 0, text: String::new() }
    }

    /// Calls of about `len` bytes from now on.
    pub(crate) fn size(&mut self, len: usize) {
        let rest = request(FIRST, "look_12", "").len();
        self.text = "x".repeat(len.saturating_sub(rest));
    }

    /// The connection of a call.
    fn exchange(&mut self, call: usize) -> &mut Exchange {
        &mut self.running.exchanges[self.tools[call % self.tools.len()].0]
    }

    /// Sends a call with the next flush.
    fn send(&mut self) {
        let call = self.answered.len();
        self.answered.push(false);
        let message = request(FIRST + call, &self.tools[call % self.tools.len()].1, &self.text);
        self.exchange(call).send(&message);
    }

    /// Writes the last so many calls.
    fn flush(&mut self, calls: usize) {
        for call in self.answered.len() - calls..self.answered.len() {
            self.exchange(call).flush();
        }
    }

    /// An answer has come; of the right length, and to a call that has none yet.
    fn check(&mut self, answer: &str) {
        assert_eq!(
            answer.len(),
            ID.end + r#","result":{"content":[{"type":"text","text":""}]}}"#.len() + self.text.len(),
            "{answer:.200}"
        );
        let call = answer[ID].parse::<usize>().unwrap() - FIRST;
        assert!(!std::mem::replace(&mut self.answered[call], true), "answered twice: {answer:.200}");
        while self.answered.get(self.oldest) == Some(&true) {
            self.oldest += 1;
        }
    }

    /// Waits for an answer, where the oldest call's must come.
    fn receive(&mut self) {
        let answer = self.exchange(self.oldest).receive(str::to_owned);
        self.check(&answer);
    }

    /// How long each of many calls took, one at a time; sorted.
    pub(crate) fn round_trips(&mut self, slice: Duration) -> Vec<Duration> {
        let (mut trips, began) = (Vec::new(), Instant::now());
        while began.elapsed() < slice || trips.len() < AT_LEAST {
            let began = Instant::now();
            self.send();
            self.flush(1);
            self.receive();
            trips.push(began.elapsed());
        }
        trips.sort_unstable();
        trips
    }

    /// Calls, and in which time, with [`DEPTH`] under way: when half of them are answered, as many are sent in one go.
    pub(crate) fn rate(&mut self, slice: Duration) -> (usize, Duration) {
        let (began, first) = (Instant::now(), self.answered.len());
        self.burst(DEPTH);
        while began.elapsed() < slice {
            (0..DEPTH / 2).for_each(|_| self.receive());
            self.burst(DEPTH / 2);
        }
        (0..DEPTH).for_each(|_| self.receive());
        (self.answered.len() - first, began.elapsed())
    }

    fn burst(&mut self, calls: usize) {
        (0..calls).for_each(|_| self.send());
        self.flush(calls);
    }

    /// How long JSON-RPC pings and WebSocket pings took while [`DEPTH`] calls were under way all the time; sorted. On the
    /// first connection, which must be the only one.
    pub(crate) fn pings(&mut self, slice: Duration) -> [Vec<Duration>; 2] {
        let mut pings = [Vec::new(), Vec::new()];
        let began = Instant::now();
        self.burst(DEPTH);
        let (mut kind, mut sent) = (0, None);
        while began.elapsed() < slice || pings[1].len() < AT_LEAST || sent.is_some() {
            let Exchange::Socket(socket) = &mut self.running.exchanges[0] else { return pings };
            if sent.is_none() {
                let ping = r#"{"jsonrpc":"2.0","id":"ping","method":"ping"}"#;
                socket.send(if kind == 0 { Message::text(ping) } else { Message::Ping("ping".into()) }).unwrap();
                sent = Some(Instant::now());
            }
            match socket.read().unwrap() {
                Message::Text(text) if !text.contains(r#""id":"ping""#) => {
                    self.check(&text);
                    self.burst(1);
                }
                Message::Text(_) | Message::Pong(_) => {
                    pings[kind].extend(sent.take().map(|sent| sent.elapsed()));
                    kind = 1 - kind;
                }
                other @ (Message::Binary(_) | Message::Ping(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("{other}")
                }
            }
        }
        while self.oldest < self.answered.len() {
            self.receive();
        }
        pings.iter_mut().for_each(|pings| pings.sort_unstable());
        pings
    }
}

fn request(id: usize, name: &str, text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{"text":"{text}"}}}}}}"#
    )
}
