//! What each request on the control socket is answered with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy, split};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Sources;
use super::history::Told;
use super::orders::{NotGiven, Order, Orders, Sought};
use super::outcome;
use super::picture::Picture;
use super::protocol::{Daemon, Reason, Reply, Request, append_line};
use super::socket::{Accepted, end_of};
use super::status::Status;
use super::tap::{Seen, Watching, Wish};
use crate::guest::Visitor;
use crate::logging::{Cursor, Entry, LogLevel, Ring, View};
use crate::process::stop::Stop;
use crate::tools::Glob;
use crate::words::counted;

/// Longest time for a part of an answer to be read: our own client reads at once.
const READING: Duration = Duration::from_secs(5);
/// The same for a client that follows the log: a person may have stopped the terminal to read. It costs a connection and a [`BATCH`].
const FOLLOWING: Duration = Duration::from_hours(1);
/// Shortest time between two pictures of the state: a person sees no more, and a busy server has thousands of calls in it.
const BETWEEN: Duration = Duration::from_millis(250);
/// Most clients that follow the log or the state: the others must find room.
const FOLLOWERS: usize = 12;
/// Most guests at a time: each is a program that a person's MCP client has started, and some start one for each window.
const GUESTS: usize = 100;
/// Most bytes of the log that are held for a client at a time, and one line more.
const BATCH: usize = 32 << 10;
/// Longest time between the end of all pipes and the end of the program, for clients that still read the log.
pub(super) const LAST: Duration = Duration::from_millis(250);

/// What the answers are made of.
#[derive(Clone)]
pub(super) struct Answering {
    daemon: Daemon,
    status: Status,
    orders: Orders,
    ring: Option<Ring>,
    level: LogLevel,
    followers: Arc<Semaphore>,
    guests: Arc<Semaphore>,
}

/// A client that is answered.
pub(super) struct Client {
    pub(super) stream: BufReader<Accepted>,
    patience: Duration,
    ended: Stop,
}

/// A client is gone, or reads nothing.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Gone
    }
}

impl Answering {
    pub(super) fn new(config: String, Sources { status, orders, ring, level }: Sources) -> Self {
        let daemon = Daemon::of_config(status.redactor().clean_all(&config).into_owned());
        let places = |most| Arc::new(Semaphore::new(most));
        Answering { daemon, status, orders, ring, level, followers: places(FOLLOWERS), guests: places(GUESTS) }
    }

    /// What to tell about a server that there is not.
    fn unknown(&self, server: &str) -> Option<Reply> {
        let all = self.status.read();
        if all.server(server).is_some() {
            return None;
        }
        Some(self.failed(Reason::UnknownServer, &all.known().unknown(server, Sought::Server)))
    }

    /// A refusal without what is secret.
    fn failed(&self, reason: Reason, message: &str) -> Reply {
        Reply::failed(reason, self.status.redactor().clean_all(message))
    }
}

impl Client {
    pub(super) fn new(stream: Accepted, ended: Stop) -> Self {
        Client { stream: BufReader::with_capacity(512, stream), patience: READING, ended }
    }

    /// Tells a last line.
    pub(super) async fn end(&mut self, reply: &Reply) {
        let mut text = Vec::new();
        reply.append_to(&mut text);
        let _gone = self.tell(&text).await;
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), Gone> {
        let mut text = Vec::new();
        reply.append_to(&mut text);
        self.tell(&text).await
    }

    /// Tells whole lines. At the end of the program little time is left for that.
    async fn tell(&mut self, lines: &[u8]) -> Result<(), Gone> {
        let end = async {
            self.ended.now().cancelled().await;
            sleep(LAST).await;
        };
        tokio::select! {
            written = timeout(self.patience, self.stream.write_all(lines)) => Ok(written.map_err(|_| Gone)??),
            () = end => Err(Gone),
        }
    }

    /// Ready when the client has closed its side, or says something: it has nothing more to say.
    async fn gone(&mut self) {
        let _said = self.stream.read(&mut [0]).await;
    }
}

/// Answers a request, to its end.
pub(super) async fn answer(request: Request, client: &mut Client, from: &Answering) {
    let told = match request {
        Request::Daemon => {
            let mut text = Vec::new();
            Reply::Daemon(from.daemon.clone()).append_to(&mut text);
            client.tell(&text).await
        }
        Request::Status { watch } => {
            let mut text = Vec::new();
            Reply::Daemon(from.daemon.clone()).append_to(&mut text);
            if watch {
                let Ok(_place) = from.followers.try_acquire() else { return client.end(&too_many()).await };
                client.patience = FOLLOWING;
                watch_status(client, text, from).await
            } else {
                Reply::Picture(Box::new(Picture::take(&from.status, from.ring.as_ref()))).append_to(&mut text);
                client.tell(&text).await
            }
        }
        Request::Logs { server, last, follow } => {
            let Some(ring) = &from.ring else {
                return client
                    .end(&Reply::failed(Reason::Unavailable, "this mcp-pipe keeps no lines of its log"))
                    .await;
            };
            let view = match server {
                Some(name) => match from.unknown(&name) {
                    Some(unknown) => return client.end(&unknown).await,
                    None => View::Server(name.into()),
                },
                None => View::All,
            };
            let mut cursor = ring.cursor(view, last, follow);
            if follow {
                let Ok(_place) = from.followers.try_acquire() else { return client.end(&too_many()).await };
                client.patience = FOLLOWING;
                follow_log(client, ring, cursor).await
            } else {
                tell_new(client, ring, &mut cursor).await
            }
        }
        Request::Tap { pattern, contents } => {
            let Ok(_place) = from.followers.try_acquire() else { return client.end(&too_many()).await };
            client.patience = FOLLOWING;
            let pattern = pattern.map(|pattern| Glob::new(&pattern));
            show_messages(client, &from.status.tap().watch(Wish { pattern, contents })).await
        }
        Request::LogLevel { level, millis } => {
            let set = level.map_or(Ok(()), |level| from.level.set(&level, millis.map(Duration::from_millis)));
            match set {
                Ok(()) => client.say(&Reply::Carried(from.level.words())).await,
                Err(problem) => refuse(Reason::Unclear, &problem.to_string(), client, from).await,
            }
        }
        Request::History { server } => {
            let all = from.status.history().read(server.as_deref());
            match server.filter(|_| all.is_empty()).and_then(|server| from.unknown(&server)) {
                Some(unknown) => return client.end(&unknown).await,
                None => tell_histories(client, all).await,
            }
        }
        Request::Sessions => match from.orders.sessions().await {
            Ok(sessions) => client.say(&Reply::Sessions(sessions)).await,
            Err(NotGiven::Unclear(why) | NotGiven::Mistakes(why) | NotGiven::Impossible(why)) => {
                refuse(Reason::NotDone, &why, client, from).await
            }
        },
        Request::Mcp { server } => return converse(server, client, from).await,
        Request::Order(order) => carry_out(order, client, from).await,
    };
    if told.is_ok() {
        client.end(&Reply::Done {}).await;
    }
}

/// Lets a client in as a guest, until either side ends the conversation.
async fn converse(server: Option<String>, client: &mut Client, from: &Answering) {
    let Ok(_place) = from.guests.try_acquire() else {
        let many = counted(GUESTS, "client");
        let why = format!("{many} on stdio are connected to this mcp-pipe; try again when one has ended");
        return client.end(&Reply::failed(Reason::Busy, why)).await;
    };
    let Visitor { lines, stays } = match from.orders.receive(server).await {
        Ok(visitor) => visitor,
        Err(NotGiven::Unclear(why)) => return client.end(&from.failed(Reason::Unclear, &why)).await,
        Err(NotGiven::Mistakes(why) | NotGiven::Impossible(why)) => {
            return client.end(&from.failed(Reason::NotDone, &why)).await;
        }
    };
    if client.say(&Reply::Daemon(from.daemon.clone())).await.is_err() {
        return;
    }
    let end = end_of(client.stream.get_ref());
    let ((mut heard, mut told), (mut answers, mut requests)) = (split(&mut client.stream), split(lines));
    let hear = async {
        if copy(&mut heard, &mut requests).await.is_ok() && requests.shutdown().await.is_ok() {
            // It may only have said all, and wait for what is owed to it.
            end.await;
        }
    };
    // Whoever is too far behind in reading is let go by the pipe.
    tokio::select! {
        () = hear => {}
        _broken = copy(&mut answers, &mut told) => {}
    }
    drop(stays);
}

/// Gives an order, and tells what comes of it. The order stands, whether or not the client waits for that.
async fn carry_out(order: Order, client: &mut Client, from: &Answering) -> Result<(), Gone> {
    let given = match from.orders.give(order).await {
        Ok(given) => given,
        Err(NotGiven::Unclear(why)) => return refuse(Reason::Unclear, &why, client, from).await,
        Err(NotGiven::Mistakes(why)) => return refuse(Reason::Mistakes, &why, client, from).await,
        Err(NotGiven::Impossible(why)) => return refuse(Reason::NotDone, &why, client, from).await,
    };
    client.say(&Reply::Given(given.within.as_secs())).await?;
    let ended = client.ended.clone();
    let outcome = tokio::select! {
        outcome = outcome::of(given, &from.status) => outcome,
        () = client.gone() => return Err(Gone),
        () = ended.drain().cancelled() => Err("mcp-pipe has ended meanwhile".to_owned()),
    };
    match outcome {
        Ok(words) => client.say(&Reply::Carried(from.status.redactor().clean_all(&words).into_owned())).await,
        Err(why) => refuse(Reason::NotDone, &why, client, from).await,
    }
}

/// Tells a refusal, after which nothing more is told.
async fn refuse(reason: Reason, why: &str, client: &mut Client, from: &Answering) -> Result<(), Gone> {
    client.say(&from.failed(reason, why)).await?;
    Err(Gone)
}

/// The refusal of a client that wants to follow where so many do.
fn too_many() -> Reply {
    let many = counted(FOLLOWERS, "client");
    Reply::failed(
        Reason::Busy,
        format!("{many} follow this mcp-pipe already; end one of them, or leave -f or --watch out"),
    )
}

/// Tells the state, after what is in `text`, and again whenever it has changed, until the client is gone or the program ends. Nothing happens
/// while nothing changes.
async fn watch_status(client: &mut Client, mut text: Vec<u8>, from: &Answering) -> Result<(), Gone> {
    let (mut changes, mut calls) = (from.status.changes(), from.status.calls());
    loop {
        changes.mark_unchanged();
        calls.mark_unchanged();
        Reply::Picture(Box::new(Picture::take(&from.status, from.ring.as_ref()))).append_to(&mut text);
        client.tell(&text).await?;
        text.clear();
        let ended = client.ended.clone();
        let news = async {
            sleep(BETWEEN).await;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = calls.changed() => {}
            }
        };
        tokio::select! {
            () = news => {}
            () = client.gone() => return Err(Gone),
            () = ended.now().cancelled() => return Ok(()),
        }
    }
}

/// Tells the lines that are kept, and then each as it is logged, until the client is gone or the program ends.
async fn follow_log(client: &mut Client, ring: &Ring, mut cursor: Cursor) -> Result<(), Gone> {
    let mut news = ring.news();
    loop {
        tell_new(client, ring, &mut cursor).await?;
        let ended = client.ended.clone();
        tokio::select! {
            Ok(()) = news.changed() => {}
            () = client.gone() => return Err(Gone),
            () = ended.now().cancelled() => return tell_new(client, ring, &mut cursor).await,
        }
    }
}

/// Tells of each message that passes, until the client is gone or the program ends.
async fn show_messages(client: &mut Client, watching: &Watching) -> Result<(), Gone> {
    loop {
        let ended = client.ended.clone();
        let seen = tokio::select! {
            seen = watching.next(BATCH) => seen,
            () = client.gone() => return Err(Gone),
            () = ended.now().cancelled() => return Ok(()),
        };
        let mut lines = Vec::new();
        for seen in seen {
            match seen {
                Seen::Line(at, line) => append_line("seen", at, &line, &mut lines),
                Seen::Lost(n) => Reply::Lost(n).append_to(&mut lines),
            }
        }
        client.tell(&lines).await?;
    }
}

/// Tells what servers did.
async fn tell_histories(client: &mut Client, all: Vec<Told>) -> Result<(), Gone> {
    for told in all {
        client.say(&Reply::History(Box::new(told))).await?;
    }
    Ok(())
}

/// Tells the lines that the client has not got yet.
async fn tell_new(client: &mut Client, ring: &Ring, cursor: &mut Cursor) -> Result<(), Gone> {
    loop {
        let mut lines = Vec::new();
        ring.read(cursor, BATCH, &mut |entry| match entry {
            Entry::Lost(n) => Reply::Lost(n).append_to(&mut lines),
            Entry::Line(at, text) => append_line("log", at, text, &mut lines),
        });
        if lines.is_empty() {
            return Ok(());
        }
        client.tell(&lines).await?;
    }
}
