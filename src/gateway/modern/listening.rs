//! A client's request for news: of lists that change, and of resources (MCP 2026-07-28, subscriptions).
//!
//! A guest of the pipe reads the lists, as only whoever has read a list is told that it has changed, and subscribes to the resources.
//! Before anything else the client is told what of its request is granted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::envelope::{Asked, Fault};
use super::stamp;
use super::talk::Talk;
use crate::control::status::CountedClient;
use crate::mcp::envelope::{self, Envelope, Kind};
use crate::mcp::failure::Failure;
use crate::mcp::modern::ACKNOWLEDGED;
use crate::mcp::object;
use crate::mcp::reply::{self, INTERNAL, INVALID_PARAMS};

use http::StatusCode;

/// Longest time for servers to take subscriptions, and to say what they have. The client waits for that, and news of what has not
/// been taken by then it is not promised.
const GRANT: Duration = Duration::from_secs(10);
/// Longest URI that is followed, in bytes, and most of them: as many as the router keeps.
const MAX_URI: usize = 2048;
const MAX_FOLLOWED: usize = 1000;
/// Most news that wait until the client has been told what is granted.
const MAX_EARLY: usize = 256;

/// Lists whose changes are told: the capability, the name in a request for news, the notification, and the request that reads it.
const LISTS: [(&str, &str, &str, &str); 3] = [
    ("tools", "toolsListChanged", "notifications/tools/list_changed", "tools/list"),
    ("prompts", "promptsListChanged", "notifications/prompts/list_changed", "prompts/list"),
    ("resources", "resourcesListChanged", "notifications/resources/list_changed", "resources/list"),
];

/// The id of the guest's `initialize`; its others follow.
const HELLO: u64 = 1;

/// How far a request for news is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// What the servers are is not known yet.
    Greeting,
    /// Servers have these requests of the guest.
    Granting(BTreeSet<u64>),
    Open,
}

/// What a client is told of, and when. Pure.
#[derive(Debug)]
struct News {
    /// The client's id, raw.
    id: Box<str>,
    stage: Stage,
    /// The lists that are asked for, or granted.
    lists: [bool; LISTS.len()],
    /// The resources, with the numbers of the guest's requests to follow them.
    uris: Vec<(u64, String)>,
    /// The number of the guest's last request.
    last: u64,
    /// What has come before the client was told what is granted.
    early: Vec<Bytes>,
    server: Option<Box<str>>,
}

/// What comes of a line of the pipe's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    say: Vec<Vec<u8>>,
    tell: Vec<Bytes>,
    /// There will be no news. Why.
    refused: Option<String>,
}

impl News {
    /// What a request asks for.
    fn of(asked: &Asked<'_>) -> Result<Self, Fault> {
        let why = || Fault::new(StatusCode::OK, INVALID_PARAMS, "invalid params: notifications is no object");
        let wanted = asked.param("notifications").filter(|wanted| wanted.starts_with('{')).ok_or_else(why)?;
        let lists = LISTS.map(|(_, name, _, _)| object::find(wanted, &[name]) == Some("true"));
        let uris = object::find(wanted, &["resourceSubscriptions"]);
        let uris = uris.and_then(|uris| object::elements(uris, MAX_FOLLOWED)).unwrap_or_default();
        let uris: BTreeSet<_> =
            uris.into_iter().filter_map(object::text_of).filter(|uri| uri.len() <= MAX_URI).collect();
        Ok(News {
            id: str::from_utf8(asked.id).unwrap_or("null").into(),
            stage: Stage::Greeting,
            lists,
            uris: uris.into_iter().map(|uri| (0, uri.into_owned())).collect(),
            last: HELLO,
            early: Vec::new(),
            server: None,
        })
    }

    fn ask(&mut self, method: &str, params: Option<&str>) -> (u64, Vec<u8>) {
        self.last += 1;
        (self.last, reply::request(self.last, method, params.map(str::as_bytes)))
    }

    /// A line of the pipe's.
    fn on_line(&mut self, line: &[u8]) -> Heard {
        let Some(e) = envelope::scan_one(line) else { return Heard::default() };
        match e.kind(line) {
            Kind::Response => self.on_answer(line, &e),
            Kind::Notification => self.on_notification(line, &e),
            Kind::Request => {
                let id = e.id.clone().map_or(&b"null"[..], |id| &line[id]);
                let is_ping = e.method.clone().is_some_and(|method| &line[method] == b"ping");
                let why = "this client only listens";
                let answer = match is_ping {
                    true => reply::result(id, b"{}"),
                    false => reply::error(id, reply::METHOD_NOT_FOUND, why),
                };
                Heard { say: vec![answer], ..Heard::default() }
            }
            Kind::Other => Heard::default(),
        }
    }

    fn on_answer(&mut self, line: &[u8], e: &Envelope) -> Heard {
        let number = e.id.clone().and_then(|id| str::from_utf8(&line[id]).ok()?.parse::<u64>().ok());
        let result = e.result.clone().and_then(|range| str::from_utf8(&line[range]).ok());
        match (number, result, &mut self.stage) {
            (Some(HELLO), Some(welcome), Stage::Greeting) => self.on_welcome(welcome),
            (Some(HELLO), None, Stage::Greeting) => {
                Heard { refused: Some(Failure::read(line).message), ..Heard::default() }
            }
            (Some(number), result, Stage::Granting(waiting)) if waiting.contains(&number) => {
                waiting.remove(&number);
                let is_over = waiting.is_empty();
                if result.is_none() {
                    self.uris.retain(|(asked, _)| *asked != number);
                }
                let tell = if is_over { self.grant() } else { Vec::new() };
                Heard { tell, ..Heard::default() }
            }
            (_, _, _) => Heard::default(),
        }
    }

    fn on_welcome(&mut self, welcome: &str) -> Heard {
        let can = |path: &[&str]| object::find(welcome, &["capabilities"]).and_then(|all| object::find(all, path));
        self.server = object::find(welcome, &["serverInfo"]).filter(|info| info.starts_with('{')).map(Into::into);
        let mut say = vec![reply::notification("notifications/initialized")];
        let mut waiting = BTreeSet::new();
        for (n, (capability, _, _, read)) in LISTS.into_iter().enumerate() {
            self.lists[n] &= can(&[capability, "listChanged"]) == Some("true");
            if self.lists[n] {
                let (number, request) = self.ask(read, None);
                waiting.insert(number);
                say.push(request);
            }
        }
        if can(&["resources", "subscribe"]) != Some("true") {
            self.uris.clear();
        }
        let mut uris = std::mem::take(&mut self.uris);
        for (number, uri) in &mut uris {
            let params = format!("{{\"uri\":{}}}", object::quoted(uri));
            let (asked, request) = self.ask("resources/subscribe", Some(&params));
            *number = asked;
            waiting.insert(asked);
            say.push(request);
        }
        self.uris = uris;
        let is_over = waiting.is_empty();
        self.stage = Stage::Granting(waiting);
        let tell = if is_over { self.grant() } else { Vec::new() };
        Heard { say, tell, refused: None }
    }

    /// Tells the client what it will be told of, and what has come meanwhile.
    fn grant(&mut self) -> Vec<Bytes> {
        if let Stage::Granting(late) = std::mem::replace(&mut self.stage, Stage::Open) {
            self.uris.retain(|(number, _)| !late.contains(number));
        }
        let mut granted = String::new();
        for (n, (_, name, _, _)) in LISTS.into_iter().enumerate() {
            if self.lists[n] {
                let comma = if granted.is_empty() { "" } else { "," };
                // To a text nothing can fail to be written.
                let _ = write!(granted, "{comma}\"{name}\":true");
            }
        }
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|(_, uri)| object::quoted(uri)).collect();
            let comma = if granted.is_empty() { "" } else { "," };
            let _ = write!(granted, "{comma}\"resourceSubscriptions\":[{}]", uris.join(","));
        }
        let method = str::from_utf8(ACKNOWLEDGED).unwrap_or_default();
        let acknowledged = stamp::news(method, &format!("{{\"notifications\":{{{granted}}}}}"), &self.id);
        let mut tell = vec![Bytes::from(acknowledged)];
        let early = std::mem::take(&mut self.early);
        tell.extend(
            early.into_iter().filter(|line| envelope::scan_one(line).is_some_and(|e| self.is_wanted(line, &e))),
        );
        tell
    }

    /// Whether a notification is one that was granted.
    fn is_wanted(&self, line: &[u8], e: &Envelope) -> bool {
        let method = e.method.clone().and_then(|range| str::from_utf8(&line[range]).ok()).unwrap_or_default();
        if method == "notifications/resources/updated" {
            let uri = e.uri.clone().and_then(|range| str::from_utf8(&line[range]).ok()).and_then(object::text_of);
            // What changes may be a part of what is followed (MCP 2025-11-25, server/resources).
            return uri.is_some_and(|uri| self.uris.iter().any(|(_, followed)| uri.starts_with(followed.as_str())));
        }
        LISTS.iter().enumerate().any(|(n, (_, _, changed, _))| self.lists[n] && *changed == method)
    }

    fn on_notification(&mut self, line: &[u8], e: &Envelope) -> Heard {
        if !self.is_wanted(line, e) {
            return Heard::default();
        }
        let of = |range: &Option<std::ops::Range<usize>>| {
            range.clone().and_then(|range| str::from_utf8(&line[range]).ok()).unwrap_or_default()
        };
        let (method, params) = (of(&e.method), of(&e.params));
        let params = if params.is_empty() { "{}" } else { params };
        let news = Bytes::from(stamp::news(method, params, &self.id));
        let mut say = Vec::new();
        if let Some((_, _, _, read)) = LISTS.into_iter().find(|(_, _, changed, _)| *changed == method) {
            // Only of what was read anew the next change is told.
            say.push(self.ask(read, None).1);
        }
        match self.stage {
            Stage::Open => Heard { say, tell: vec![news], refused: None },
            Stage::Greeting | Stage::Granting(_) => {
                if self.early.len() < MAX_EARLY {
                    self.early.push(news);
                }
                Heard { say, ..Heard::default() }
            }
        }
    }
}

/// A stream of news. With this it ends, and nothing is followed any more.
pub(super) struct Listening {
    talk: Talk,
    news: News,
    /// When it is granted whatever servers have said by then.
    grant: Option<Pin<Box<Sleep>>>,
    /// What the client is to be told at once.
    tell: std::collections::VecDeque<Bytes>,
    /// When the program stops.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
    _counted: CountedClient,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("news", &self.news).finish_non_exhaustive()
    }
}

/// A request for news, before it has a guest.
#[derive(Debug)]
pub(super) struct Wish(News);

impl Wish {
    /// What is asked for.
    ///
    /// # Errors
    /// The request doesn't say.
    pub(super) fn of(asked: &Asked<'_>) -> Result<Self, Fault> {
        News::of(asked).map(Wish)
    }
}

impl Listening {
    /// Begins a stream. `hello`: the guest's parameters of `initialize`.
    pub(super) fn begin(
        mut talk: Talk,
        Wish(news): Wish,
        hello: &str,
        stop: &CancellationToken,
        counted: CountedClient,
    ) -> Self {
        talk.say(&[&reply::request(HELLO, "initialize", Some(hello.as_bytes()))]);
        Listening {
            talk,
            news,
            grant: Some(Box::pin(sleep(GRANT))),
            tell: std::collections::VecDeque::new(),
            stop: Box::pin(stop.clone().cancelled_owned()),
            over: false,
            _counted: counted,
        }
    }

    /// What the client is told next; `None`: nothing more.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(message) = self.tell.pop_front() {
                return Poll::Ready(Some(message));
            }
            if self.over {
                return Poll::Ready(None);
            }
            if self.stop.as_mut().poll(cx).is_ready() {
                self.end();
                continue;
            }
            let mut heard = Heard::default();
            let news = &mut self.news;
            let polled = self.talk.poll_lines(cx, &mut |line| {
                heard = news.on_line(line);
                if heard == Heard::default() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            let is_news = heard != Heard::default();
            heard.say.iter().for_each(|message| self.talk.say(&[message]));
            self.tell.extend(heard.tell);
            if let Some(why) = heard.refused {
                self.over = true;
                return Poll::Ready(Some(reply::error(self.news.id.as_bytes(), INTERNAL, why).into()));
            }
            if let (Stage::Open, Some(_)) = (&self.news.stage, &self.grant) {
                self.grant = None;
            }
            match polled {
                _ if is_news => {}
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.end(),
                Poll::Pending => {
                    let is_late = self.grant.as_mut().is_some_and(|grant| grant.as_mut().poll(cx).is_ready());
                    if !is_late {
                        return Poll::Pending;
                    }
                    self.grant = None;
                    self.tell.extend(self.news.grant());
                }
            }
        }
    }

    /// There is no more to tell.
    fn end(&mut self) {
        self.over = true;
        let News { id, server, stage, .. } = &self.news;
        let last = match stage {
            Stage::Open => stamp::no_more_news(id, server.as_deref()).into(),
            Stage::Greeting | Stage::Granting(_) => {
                reply::error(id.as_bytes(), INTERNAL, "mcp-pipe is stopping, or its servers are being changed").into()
            }
        };
        self.tell.push_back(last);
    }
}
