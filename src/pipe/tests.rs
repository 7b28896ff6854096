//! Several real processes behind one real connection, with a router that only looks at addresses.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::sides::CROWDED;
use super::*;
use crate::config::{CommandSpec, Handshake, Sharing};
use crate::frame::Cut;
use crate::link::wake::WakeWatch;
use crate::router::{Account, Note, Out, Reconnect};
use crate::status::Status;

/// What is never to be waited for.
const HANG: Duration = Duration::from_secs(30);

/// Sends `{"to": n, …}` to server n, and everything that servers write to the endpoint.
#[derive(Default)]
struct Switch {
    busy: HashMap<ServerIndex, bool>,
    up: usize,
    served: u64,
}

impl Router for Switch {
    fn on_link_up(&mut self, _: Instant, _: &mut impl Out) {}
    fn on_link_down(&mut self, _: Instant, _: &mut impl Out) {}

    fn on_endpoint(&mut self, frame: &[u8], _: Instant, out: &mut impl Out) {
        let message: Value = serde_json::from_slice(frame).unwrap();
        let to = message["to"].as_u64().unwrap() as ServerIndex;
        if self.busy.get(&to) == Some(&true) {
            return out.to_endpoint(&[json!({"busy": to}).to_string().as_bytes()]);
        }
        out.to_server(to, &[frame]);
    }

    fn on_endpoint_too_large(&mut self, _: Cut<'_>, _: Instant, _: &mut impl Out) {}

    fn on_server_up(&mut self, _: ServerIndex, _: Instant, _: &mut impl Out) {
        self.up += 1;
    }

    fn on_server_down(&mut self, server: ServerIndex, _: Gone<'_>, _: Instant, out: &mut impl Out) {
        out.to_endpoint(&[json!({"down": server}).to_string().as_bytes()]);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, _: Instant, _: &mut impl Out) {
        self.busy.insert(server, busy);
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], _: Instant, out: &mut impl Out) {
        out.to_endpoint(&[frame]);
        out.note(Note::Served { server, method: "echo", took: Duration::ZERO });
        self.served += 1;
    }

    fn on_server_too_large(&mut self, _: ServerIndex, _: Cut<'_>, _: Instant, _: &mut impl Out) {}
    fn on_tick(&mut self, _: Instant, _: &mut impl Out) {}

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn drain(&mut self, _: Instant, _: &mut impl Out) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn is_warm(&self) -> bool {
        self.up > 0
    }

    fn is_serving(&self, _: ServerIndex) -> bool {
        true
    }

    fn is_handshaken(&self) -> bool {
        false
    }

    fn wants_reconnect(&self, _: Instant) -> Option<Reconnect> {
        None
    }

    fn account(&self, _: Instant) -> Account {
        Account::default()
    }

    fn served(&self) -> u64 {
        self.served
    }
}

fn spec(name: String, program: &str, args: &[&str]) -> ServerSpec {
    ServerSpec {
        name: name.into(),
        command: CommandSpec {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![],
            env_remove: vec![],
            cwd: None,
        },
        endpoint: None,
        link: Arc::new(LinkSpec {
            headers: vec![],
            subprotocol: None,
            ca_file: None,
            connect_timeout: HANG,
            ping_interval: HANG,
            ping_timeout: HANG,
            max_backoff: HANG,
        }),
        handshake: Handshake::Answer,
        start_timeout: HANG,
        max_frame: 1 << 20,
        sharing: Sharing::default(),
        pin: false,
        keep_listed: true,
        tools: Arc::default(),
    }
}

/// A running pipe and the endpoint's side of its connection.
struct Rig {
    socket: WebSocketStream<TcpStream>,
    status: Status,
    stop: Stop,
    pipe: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn with(servers: &[(&str, &[&str])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint: Endpoint = format!("ws://{}/?token=t", listener.local_addr().unwrap()).parse().unwrap();
        let (status, stop) = (Status::default(), Stop::new());
        let specs = servers.iter().enumerate().map(|(n, (program, args))| spec(format!("server{n}"), program, args));
        let servers: Vec<_> = specs.map(|spec| (Arc::new(spec), status.add("x"))).collect();
        let link = servers[0].0.link.clone();
        let run = Run {
            guard: Guard::none(),
            wake: WakeWatch::new().subscribe(),
            stop: stop.clone(),
            drain_timeout: HANG,
            log_contents: false,
            catalogue: Arc::new(Catalogue::at(None)),
        };
        let pipe = tokio::spawn(Pipe::new(servers, endpoint, link, Switch::default(), run).run());
        let (tcp, _) = timeout(HANG, listener.accept()).await.unwrap().unwrap();
        Rig { socket: accept_async(tcp).await.unwrap(), status, stop, pipe }
    }

    async fn send(&mut self, message: Value) {
        timeout(HANG, self.socket.send(Message::text(message.to_string()))).await.unwrap().unwrap();
    }

    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        timeout(HANG, next).await.unwrap_or_else(|_| panic!("something is forgotten"))
    }

    async fn stop(mut self) {
        self.stop.advance();
        while let Some(Ok(_)) = self.socket.next().await {}
        timeout(HANG, self.pipe).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_reads_nothing_holds_up_no_other_and_what_waits_for_it_is_bounded() {
    let mut rig = Rig::with(&[("sleep", &["1000"]), ("cat", &[]), ("cat", &[])]).await;
    let text = "x".repeat(32 * 1024);
    let sent = 3 * CROWDED / text.len();
    for n in 0..sent {
        rig.send(json!({"to": 0, "text": text})).await;
        rig.send(json!({"to": 1 + n % 2, "n": n})).await;
    }
    let (mut echoed, mut refused) = (0, 0);
    while echoed < sent {
        if rig.next().await["busy"] == 0 {
            refused += 1;
        } else {
            echoed += 1;
        }
    }
    // What its stdin took, what waits for it, and one message more.
    let taken = (sent - refused) * text.len();
    assert!(taken >= CROWDED && taken < CROWDED + 4 * text.len() + 64 * 1024, "{taken} bytes were taken for it");
    rig.stop().await;
}

#[tokio::test]
async fn each_server_shows_its_own_state_and_the_connection_that_it_shares() {
    let mut rig = Rig::with(&[("cat", &[]), ("no-such-program-anywhere", &[]), ("cat", &[])]).await;
    for to in [0, 2] {
        rig.send(json!({"to": to})).await;
        while rig.next().await["to"] != to {}
    }
    let shown = rig.status.read();
    assert!(shown.iter().all(|entry| entry.link == crate::status::LinkState::Connected), "{shown:?}");
    assert!(shown[0].is_healthy() && shown[2].is_healthy(), "{shown:?}");
    assert!(matches!(&shown[1].server, ServerState::Down(why) if why.contains("not found")), "{shown:?}");
    rig.stop().await;
}
