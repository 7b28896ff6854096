//! What waits for the servers of a pipe, what is noted about each, and where the router's decisions go.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, enabled, info, warn};

use crate::catalogue::{Catalogue, Memory};
use crate::config::{Instances, Reach, Room, ServerSpec};
use crate::control::figures::{Besides, ToolPlaces, Waiting};
use crate::control::journal::{LinkNews, ServerNews};
use crate::control::status::{Remark, ServerEntry, TurnState};
use crate::frame::LineOut;
use crate::logging::Names;
use crate::mcp::era::Era;
use crate::mcp::{cloud, envelope, trace};
use crate::net::peer_text::bounded;
use crate::router::{About, Arrangement, Checked, Note, Out, Outcome, PeerId, Router, ServerIndex, What};
use crate::secrecy::Redactor;
use crate::server::notation;
use crate::server::wanted::{Goal, Wanted};
use crate::tools::size::budget_warning;
use crate::wakers::Bits;

use super::Run;
use super::links::{HIGH, LinkSide, Links};
use super::observed::{Beyond, Observed, Way, With};
use super::said::Said;

/// Fewest bytes at which a server that shares its connection gets no more, as the connection is read whatever one server
/// does. A burst of large calls to a server that is only slow stays below; fifty stuck servers cost 50 MiB.
pub(super) const CROWDED: usize = 1024 * 1024;

/// Longest time that the only server of a connection may leave [`HIGH`] unread before the endpoint is read again all the
/// same, so that its pings are answered; requests for that server are refused then. Below the 10 s and more that endpoints
/// wait for a pong.
const BUSY: Duration = Duration::from_secs(5);

/// Longest time that a server may read nothing before it is given up: a server may be busy for as long as a call may take at
/// the cloud.
pub(super) const STUCK: Duration = cloud::CALL;

/// Most bytes beyond a full buffer that may wait for an endpoint which shares its servers with faster ones: more than the errors for
/// all that it may have under way when a server dies (4096 requests, 2 KiB each), so that only a slow reader comes here.
const OVERDUE: usize = 16 << 20;

/// Most messages of a connection that were refused and are each shown in the log.
const REFUSALS: u64 = 10;

/// Most bytes that are kept of what an endpoint said that is no MCP client, until the token is taken out: some more than are
/// shown.
const EXCERPT: usize = 2048;
/// Longest piece of a line that is no message in the log, in bytes.
const NOISE: usize = 200;
/// Most bytes behind that which are looked at, so that a secret across the cut is known: more than the longest tokens have.
const BEHIND: usize = 4096;

/// Shortest start of which anything is told: most servers answer sooner.
const QUIET: Duration = Duration::from_secs(3);
/// Time between two reports of a start that takes long.
const PROGRESS: Duration = Duration::from_secs(10);

/// The pipe's notes on one server.
pub(super) struct Side {
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<ServerSpec>,
    pub(super) status: ServerEntry,
    /// Messages for the server, not yet written.
    pub(super) stdin: LineOut,
    /// When the server's present process was started, or the last one ended.
    pub(super) since: Instant,
    /// Since when the server has been waited for: its start by us or by a person, whatever became of its process.
    pub(super) awaited_since: Instant,
    /// What a person wants of the server, and what of that was taken note of.
    pub(super) goal: (watch::Receiver<Goal>, Goal),
    /// What comes after the end of the server's process, where that is for good.
    pub(super) leaving: Option<Leaving>,
    /// The first process of the server, if this is about a further one.
    pub(super) first: Option<ServerIndex>,
    /// Whether it is only being tried if there is such a process: nothing is said of one.
    pub(super) tried: bool,
    /// Whether the server has answered in its present life, as `status` was told.
    pub(super) serving: bool,
    /// The log has said that the server's start takes too long.
    pub(super) late: bool,
    /// A life of the present start has ended before it answered.
    pub(super) fallen: bool,
    /// After which part of its start the server is reported to be starting still.
    report_after: Duration,
    /// The words in which the server refused to initialize, if that is its last answer; and whether that was its present
    /// process.
    refused: Option<(String, bool)>,
    /// The server's process is being ended by command, or for the sake of another peer, and the router takes it for gone.
    pub(super) ending: bool,
    /// The server's process is being ended as it has failed its health check.
    pub(super) unhealthy: bool,
    /// The server has answered a call since this was last looked at.
    pub(super) proven: bool,
    /// The server doesn't read what it is sent, through no fault of the endpoint, and the router knows.
    busy: bool,
    /// Since when the server has taken nothing of what waits for it, and how many bytes that is.
    stuck: Option<(Instant, usize)>,
    /// How many texts of the present life were no message.
    noise: u64,
    /// The first one of a life, as it was shown: a server that prints it in each life is not told of again.
    noise_told: String,
    /// How many errors of it named no request, and could not be told to belong to one.
    nameless: u64,
    /// How many of the server's calls were waited for no longer.
    cut: u64,
    /// What the server logs by MCP that no endpoint gets.
    said: Said,
    /// Where calls of its tools are counted.
    tools: ToolPlaces,
    /// How much waits for the server, and what has come and gone, for whoever counts.
    pub(super) waiting: Waiting,
}

/// What comes after the end of a process that is for good.
#[derive(Debug)]
pub(super) enum Leaving {
    /// The server is gone, and this one is told.
    Gone(oneshot::Sender<()>),
    /// The further process is gone.
    Further,
    /// Another further process is started in its place.
    Another,
}

/// The notes on all servers, and on their connection.
pub(super) struct Sides {
    /// Whether the log may hold the contents of messages.
    log_contents: bool,
    /// For those who look on.
    observed: Observed,
    /// What has become of a call whose caller is told next.
    outcome: Option<Outcome>,
    pub(super) each: Vec<Side>,
    pub(super) links: Links,
    /// Servers that have got something since the last write.
    pub(super) unwritten: Bits,
    /// Servers for which at least [`HIGH`] waits, or waited when they were last watched.
    slow: Bits,
    /// Some server has got so much that [`Sides::report_crowded`] has to look.
    crowded: bool,
    /// Most bytes that may wait for one side while that side itself is still read.
    full: usize,
    /// Servers whose processes are to be replaced, each with the reason.
    pub(super) restarts: Vec<(ServerIndex, &'static str)>,
    /// Servers whose processes are to be replaced as they have failed, each with what it did.
    pub(super) failed: Vec<(ServerIndex, String)>,
    /// What is to become of processes that are for one peer each.
    pub(super) arranged: Vec<(ServerIndex, Arrangement)>,
    /// Where is kept what servers and the endpoint say of themselves.
    catalogue: Arc<Catalogue>,
    /// Most tokens that a list of tools may have before the log warns.
    pub(super) tool_budget: usize,
    /// How many requests came of what is run as servers that only clients send.
    asked_as_clients: u64,
    besides: Arc<Besides>,
    redactor: Redactor,
}

/// What came of watching servers that don't read.
#[derive(Default)]
pub(super) struct Watched {
    /// When to look again.
    pub(super) next: Option<Instant>,
    /// The router was told something.
    pub(super) changed: bool,
    /// Servers to be given up.
    pub(super) stuck: Vec<ServerIndex>,
}

impl Side {
    pub(super) fn new(spec: Arc<ServerSpec>, status: ServerEntry, goal: watch::Receiver<Goal>, now: Instant) -> Self {
        let name = spec.name.clone();
        let waiting = Waiting::of(status.traffic());
        Side {
            name,
            spec,
            status,
            stdin: LineOut::new(),
            since: now,
            awaited_since: now,
            goal: (goal, Goal::default()),
            leaving: None,
            first: None,
            tried: false,
            serving: false,
            late: false,
            fallen: false,
            report_after: QUIET,
            refused: None,
            ending: false,
            unhealthy: false,
            proven: false,
            busy: false,
            stuck: None,
            noise: 0,
            noise_told: String::new(),
            nameless: 0,
            cut: 0,
            said: Said::new(now.into_std()),
            tools: ToolPlaces::default(),
            waiting,
        }
    }

    /// The notes on a further process of this server, whose first process has the place `first`.
    pub(super) fn further(&self, first: ServerIndex, place: ServerIndex, now: Instant) -> Self {
        let status = match self.spec.instances {
            Instances::Replicas(_) => self.status.replica(place),
            Instances::Shared | Instances::PerPeer(_) => self.status.further(),
        };
        let side = Side::new(self.spec.clone(), status, self.goal.0.clone(), now);
        Side { first: Some(first), ..side }
    }

    /// Whose servers it is one of, if it has come by itself and is there.
    pub(super) fn room(&self) -> Option<&Room> {
        match &self.spec.reach {
            Reach::Comer(room) => Some(room).filter(|_| !self.name.is_empty()),
            Reach::Command(_) | Reach::Remote(_) => None,
        }
    }

    /// Writes what has happened to the server into the journal.
    pub(super) fn write(&self, news: ServerNews<'_>) {
        if self.tried {
            self.status.note(news);
        } else {
            self.status.write(&self.name, news);
        }
    }

    /// A life of the server's process has begun.
    pub(super) fn up(&mut self, pid: Option<u32>, now: Instant) {
        self.renew(now);
        match (&self.spec.reach, pid) {
            (Reach::Command(command), Some(pid)) => {
                let fetcher = self.spec.reach.fetcher();
                self.write(ServerNews::Started { pid, program: &command.program, fetcher });
            }
            (Reach::Remote(remote), _) => self.write(ServerNews::Contacted { url: &remote.url.to_string() }),
            (Reach::Comer(room), _) => self.write(ServerNews::Came { by: room.name() }),
            // Another way was configured while this life began.
            (Reach::Command(_), None) => {}
        }
    }

    /// The server's life goes on with another process, as it is none of the other era.
    pub(super) fn again(&self, (ended, why): (Option<u32>, &str), (pid, era): (Option<u32>, Era), words: &str) {
        let (how, words) = (words_of(era), bounded(words, SHOWN));
        info!(event = "SERVER_ERA", server = %self.name, "is asked anew, {how}, as it refused before: {words}");
        if let (Reach::Command(command), Some(pid)) = (&self.spec.reach, pid) {
            let fetcher = self.spec.reach.fetcher();
            self.write(ServerNews::Replaced { pid: ended, why, by_command: false });
            self.write(ServerNews::Started { pid, program: &command.program, fetcher });
        }
    }

    /// A life of the server's process has ended, or could not begin.
    pub(super) fn down(&mut self, now: Instant) {
        self.fallen = !self.serving;
        self.renew(now);
        match &mut self.refused {
            Some((_, present @ true)) => *present = false,
            Some((_, false)) | None => self.refused = None,
        }
    }

    /// A life of the server is to begin by command, perhaps when the one before has ended.
    pub(super) fn begins(&mut self, now: Instant) {
        self.awaited_since = now;
        self.fallen = false;
        self.refused = None;
        self.late = false;
        self.write(ServerNews::Begins);
    }

    /// A life of the server's process has ended by command, and another one follows.
    pub(super) fn ended(&mut self, now: Instant) {
        self.renew(now);
        self.awaited_since = now;
        self.fallen = false;
        self.ending = false;
    }

    /// The server does not run, as it is wanted.
    pub(super) fn halted(&mut self, now: Instant) {
        self.ended(now);
        self.refused = None;
        self.write(ServerNews::Halted);
    }

    /// When the server's present life has taken too long to answer. Lives that ended before count for nothing: what becomes of these is
    /// told at their ends.
    pub(super) fn late_at(&self) -> Instant {
        self.since.max(self.awaited_since) + self.spec.start_timeout
    }

    /// For how long the present life has been waited for.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now - self.since.max(self.awaited_since)
    }

    /// When the server's present life is to be reported as starting still.
    pub(super) fn report_at(&self) -> Instant {
        self.since.max(self.awaited_since) + self.report_after
    }

    /// That was reported.
    pub(super) fn reported(&mut self, now: Instant) {
        while self.report_at() <= now {
            self.report_after += PROGRESS;
        }
    }

    /// Whether the present process has refused to initialize.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.as_ref().is_some_and(|(_, present)| *present)
    }

    /// The server has refused to initialize, in these words. Returns whether they are new.
    fn refuses(&mut self, words: &str) -> bool {
        let news = self.refused.as_ref().is_none_or(|(said, _)| said != words);
        self.refused = Some((words.to_owned(), true));
        news
    }

    /// A life of the server's process has begun or ended: what is noted of the one before counts no more.
    fn renew(&mut self, now: Instant) {
        self.stdin.clear();
        if std::mem::take(&mut self.serving) {
            // A server that has served is waited for anew.
            self.awaited_since = now;
        }
        self.noise = 0;
        self.report_after = QUIET;
        self.since = now;
    }
}

impl Sides {
    /// The notes on no servers and endpoints yet.
    pub(super) fn new(run: &Run) -> Self {
        Sides {
            log_contents: run.log_contents,
            observed: Observed::new(run.tap.clone(), run.redactor.clone()),
            outcome: None,
            links: Links::default(),
            each: Vec::new(),
            unwritten: Bits::default(),
            slow: Bits::default(),
            crowded: false,
            full: 2 * HIGH,
            restarts: Vec::new(),
            failed: Vec::new(),
            arranged: Vec::new(),
            catalogue: run.catalogue.clone(),
            tool_budget: run.limits.tool_budget,
            asked_as_clients: 0,
            besides: run.besides.clone(),
            redactor: run.redactor.clone(),
        }
    }

    /// A server comes to a place that nobody has.
    pub(super) fn put(&mut self, server: ServerIndex, side: Side) {
        self.bound(side.spec.max_frame);
        match self.each.get_mut(server) {
            Some(vacant) => *vacant = side,
            None => self.each.push(side),
        }
    }

    /// Notes that messages may be so large, in bytes: they go up to the mark and one message beyond it.
    pub(super) fn bound(&mut self, max_frame: usize) {
        self.full = self.full.max(2 * HIGH + max_frame);
    }

    /// Whether an endpoint is not needed: all servers that it sees were stopped by command, and so was what could stand in for them.
    pub(super) fn is_unneeded(&self, place: usize) -> bool {
        let servers = &self.links.each[place].servers;
        let is_stopped = |side: &Side| side.goal.1.wanted == Wanted::Stopped;
        let stands_in = |name: &Arc<str>| {
            self.each.iter().any(|other| other.spec.bounds.stands_in && other.spec.name == *name && !is_stopped(other))
        };
        let is_of_no_use = |server: &ServerIndex| {
            let side = &self.each[*server];
            is_stopped(side) && !side.spec.bounds.fallback.as_ref().is_some_and(stands_in)
        };
        !servers.is_empty() && servers.iter().all(is_of_no_use)
    }

    /// Whether messages of an endpoint, and our own answers to them, have somewhere to go.
    pub(super) fn takes_from_endpoint(&self, place: usize) -> bool {
        let link = &self.links.each[place];
        let has_room = |server: &ServerIndex| {
            let side = &self.each[*server];
            side.stdin.len() < HIGH || side.busy
        };
        // Servers that are seen together don't wait for each other.
        self.takes_answers(link) && (link.servers.len() > 1 || link.served_by().all(has_room))
    }

    /// Whether messages of a server, and our own answers to them, have somewhere to go.
    pub(super) fn takes_from_server(&self, index: ServerIndex) -> bool {
        self.links.take_from(index) && self.each[index].stdin.len() < self.full
    }

    /// Whether there is room for an answer of our own to an endpoint.
    fn takes_answers(&self, link: &LinkSide) -> bool {
        link.out.pending().len() < self.full
    }

    /// Whether more waits for an endpoint than a server alone could have caused that is read for the sake of others: the endpoint
    /// reads too slowly to keep its connection.
    pub(super) fn is_overdue(&self, place: usize) -> bool {
        self.links.shares(place) && self.links.each[place].out.pending().len() > self.full + OVERDUE
    }

    /// A server has shown of which era it is.
    pub(super) fn shown(&self, server: ServerIndex, era: Era) {
        let side = &self.each[server];
        if side.first.is_some() {
            return; // of another era than the first one, as it was told to be
        }
        self.catalogue.save_era(&side.spec, era);
        if era == Era::Modern {
            info!(event = "SERVER_ERA", server = %side.name, "is spoken to {}", words_of(era));
        } else {
            debug!(event = "SERVER_ERA", server = %side.name, "is spoken to {}", words_of(era));
        }
    }

    /// Tells the router which servers have so much waiting for them that they are to get no more. To be called after each
    /// message of an endpoint, so that one burst overshoots by one message only.
    pub(super) fn report_crowded(&mut self, router: &mut dyn Router, now: Instant) {
        if !std::mem::take(&mut self.crowded) {
            return;
        }
        for index in 0..self.each.len() {
            let together = self.links.is_seen_together(index);
            let side = &mut self.each[index];
            if side.stdin.len() >= CROWDED && !side.busy && together {
                side.busy = true;
                router.on_server_busy(index, true, now, self);
            }
        }
    }

    /// Watches servers that don't read their stdin.
    pub(super) fn watch(&mut self, router: &mut dyn Router, now: Instant) -> Watched {
        let mut watched = Watched::default();
        let mut from = 0;
        while let Some(index) = self.slow.next(from) {
            from = index + 1;
            // A server that can't write need not read either: then its endpoints are what holds everything up.
            let (its_fault, shared) = (self.links.take_from(index), self.links.is_seen_together(index));
            let side = &mut self.each[index];
            let (waiting, (since, least)) = (side.stdin.len(), side.stuck.unwrap_or((now, usize::MAX)));
            side.stuck = match waiting {
                ..HIGH => None,
                len if len < least => Some((now, len)),
                _ => Some((since, least)),
            };
            let waited = side.stuck.map_or(Duration::ZERO, |(since, _)| now - since);
            let busy =
                if shared { waiting >= CROWDED || (side.busy && waiting >= HIGH) } else { its_fault && waited >= BUSY };
            let told = busy != side.busy;
            if told {
                side.busy = busy;
                watched.changed = true;
            }
            if its_fault && waited >= STUCK {
                watched.stuck.push(index);
                side.stuck = None;
            }
            let deadlines = side.stuck.map_or([None, None], |(since, _)| [Some(since + BUSY), Some(since + STUCK)]);
            watched.next = deadlines.into_iter().flatten().filter(|at| *at > now).chain(watched.next).min();
            if waiting < HIGH {
                self.slow.remove(index);
            }
            if told {
                router.on_server_busy(index, busy, now, self);
            }
        }
        watched
    }

    /// Logs a message from or for a server or an endpoint: length, method and id; its contents only if the user asked for them.
    pub(super) fn trace(&self, way: Way, of: About, pieces: &[&[u8]]) {
        if self.observed.is_on() {
            self.show(way, of, pieces);
        }
        if !enabled!(tracing::Level::DEBUG) {
            return;
        }
        let event = match way {
            Way::From => "MESSAGE_RECEIVED",
            Way::To => "MESSAGE_SENT",
        };
        let (names, with) = match of {
            About::Server(index) => (Names::from_iter([self.each[index].name.clone()]), "server"),
            About::Peer(peer) => {
                let Some(link) = self.links.of(peer) else { return };
                (link.names.clone(), if link.is_guest() { "client" } else { "endpoint" })
            }
        };
        let frame = pieces.concat();
        let e = envelope::scan_one(&frame).unwrap_or_default();
        let text = |r: Option<Range<usize>>| r.map_or(Cow::Borrowed(""), |r| String::from_utf8_lossy(&frame[r]));
        let trace = trace::of_message(&frame, &e);
        let (method, id, bytes) = (text(e.method), text(e.id), frame.len());
        let contents = self.log_contents.then(|| String::from_utf8_lossy(&frame));
        debug!(event, servers = ?names, with, bytes, %method, %id, trace, contents = contents.as_deref(), "{with}: {bytes} bytes {method} {id}");
    }

    /// Shows a message to those who look on.
    fn show(&self, way: Way, of: About, pieces: &[&[u8]]) {
        let link;
        let side = match of {
            About::Server(server) => {
                Beyond { with: With::Server(server), kind: "server", name: &self.each[server].name, server: None }
            }
            About::Peer(peer) => {
                link = match self.links.of(peer) {
                    Some(link) => (link.names.to_string(), link.is_guest(), &link.servers),
                    None => return,
                };
                let (name, is_guest, servers) = &link;
                let only = if let [only] = servers.as_slice() { Some(&*self.each[*only].name) } else { None };
                let kind = if *is_guest { "client" } else { "endpoint" };
                Beyond { with: With::Peer(peer), kind, name, server: only }
            }
        };
        let outcome = self.outcome.filter(|_| matches!((way, of), (Way::To, About::Peer(_))));
        self.observed.see(way, &side, outcome, pieces);
    }

    fn write_note(&mut self, note: &Note<'_>) {
        let Sides { links, each, catalogue, .. } = self;
        // This note comes with each call, so nothing is made for the log in advance.
        if let (What::Served { took, call }, Some(server)) = (&note.what, note.server()) {
            debug!(event = "CALL_SERVED", server = %each[server].name, trace = call.trace, "{note}");
            each[server].proven = true;
            let tools = &each[each[server].first.unwrap_or(server)].tools;
            each[server].status.answered(*call, tools, *took);
            return;
        }
        // So do these, where many calls come to nothing.
        if let What::Lost(call) | What::Unserved(call) = &note.what {
            // Whoever has cancelled a call is told nothing of it.
            self.outcome = Some(call.outcome).filter(|outcome| *outcome != Outcome::Cancelled);
            let (server, outcome) = (note.server().map(|server| &*each[server].name), call.outcome.as_str());
            debug!(event = "CALL_FAILED", server, trace = call.trace, outcome, "{note}");
            match note.server().map(|server| (&each[server], &each[each[server].first.unwrap_or(server)].tools)) {
                None => self.besides.unplaced(*call),
                Some((side, tools)) if matches!(note.what, What::Lost(_)) => side.status.lost(*call, tools),
                Some((side, tools)) => side.status.unserved(*call, tools),
            }
            return;
        }
        if let (What::Listed { tools, alone }, Some(server)) = (&note.what, note.server()) {
            let first = each[server].first.unwrap_or(server);
            let Side { status, tools: places, spec, .. } = &mut each[first];
            let known = places.names().len();
            status.listed(tools, places);
            if *alone && places.names().len() > known && !matches!(spec.reach, Reach::Comer(_)) {
                catalogue.save_tools(spec, places.names());
            }
            return;
        }
        let (names, side, link) = match note.about {
            About::Server(server) if each[server].tried => return debug!(server = %each[server].name, "{note}"),
            About::Server(server) => (Names::from_iter([each[server].name.clone()]), Some(&mut each[server]), None),
            About::Peer(peer) => {
                let Some(link) = links.of_mut(peer) else { return };
                (link.names.clone(), None, Some(link))
            }
        };
        match &note.what {
            What::Noise { line } => {
                let Some(side) = side else { return };
                side.noise += 1;
                let is_first = side.noise == 1;
                // A log may quote a message, in whatever notation: behind other text.
                let notation = Some(*line).filter(|line| line.trim_ascii_start().starts_with(b"{")).and_then(notation);
                let line = String::from_utf8_lossy(&line[..line.len().min(NOISE + BEHIND)]);
                let line = self.redactor.beginning(&line, NOISE);
                if is_first {
                    side.status.remark(Remark::Noise(line.clone().into_owned()));
                }
                let (what, remedy) = match side.spec.reach {
                    Reach::Command(_) => ("stdout line", "; a server must log to stderr"),
                    Reach::Remote(_) => ("event", ""),
                    Reach::Comer(_) => ("message", ""),
                };
                let remedy = notation.map_or_else(|| remedy.to_owned(), |notation| format!("; {notation}"));
                match side.noise {
                    1 if side.noise_told != line => {
                        side.noise_told = line.clone().into_owned();
                        warn!(event = "ERROR_STDOUT_NOISE", servers = ?names, "{what} {note}: {line}{remedy}. More of it is shown at debug only")
                    }
                    n if n.is_power_of_two() && n >= 1024 => {
                        warn!(event = "ERROR_STDOUT_NOISE", servers = ?names, lines = n, "{n} {what}s that are not JSON-RPC so far");
                    }
                    _ => debug!(event = "ERROR_STDOUT_NOISE", servers = ?names, "{what} {note}: {line}"),
                }
            }
            What::NotMessage { .. } | What::TooLarge { .. } if side.is_none() => {
                let Some(link) = link else { return };
                link.refused += 1;
                match link.refused {
                    // An endpoint that sends on like that doesn't get to fill the disk.
                    n if n > REFUSALS && !n.is_power_of_two() => {
                        debug!(event = "ERROR_MESSAGE", servers = ?names, "{note}");
                    }
                    n @ REFUSALS.. => {
                        warn!(event = "ERROR_MESSAGE", servers = ?names, messages = n, "{note}; so far {n} such messages came on this connection. More of it is shown at debug only");
                    }
                    _ => warn!(event = "ERROR_MESSAGE", servers = ?names, "{note}"),
                }
            }
            What::NotMessage { .. } | What::Unreadable { .. } | What::TooLarge { .. } => {
                if let Some(side) = side {
                    side.status.remark(Remark::Odd(note.to_string()));
                }
                warn!(event = "ERROR_MESSAGE", servers = ?names, "{note}");
            }
            What::Nameless { .. } => {
                let Some(side) = side else { return };
                side.nameless += 1;
                if side.nameless == 1 {
                    side.status.remark(Remark::Odd(note.to_string()));
                }
                match side.nameless {
                    n if n.is_power_of_two() => warn!(event = "ERROR_MESSAGE", servers = ?names, "{note}"),
                    _ => debug!(event = "ERROR_MESSAGE", servers = ?names, "{note}"),
                }
            }
            // The log tells of the connection's end, with this as the cause.
            What::Stranger { said } => {
                if let Some(link) = link {
                    link.stranger = Some(said[..said.len().min(EXCERPT)].to_vec());
                }
            }
            What::Refused { error } => {
                let Some(side) = side else { return };
                let again = !side.refuses(error);
                side.write(ServerNews::Refused { words: error, note, again });
            }
            What::NotListed { .. } | What::ListCut { .. } | What::ListTooLong { .. } => {
                warn!(event = "ERROR_LIST", servers = ?names, "{note}")
            }
            What::Renamed { .. } => info!(event = "TOOLS_RENAMED", servers = ?names, "{note}"),
            What::OtherEra => warn!(event = "SERVER_ERA", servers = ?names, "{note}"),
            What::Odd { .. } => {
                if let Some(side) = side {
                    side.status.remark(Remark::Odd(note.to_string()));
                }
                info!(event = "SERVER_ODD", servers = ?names, "{note}");
            }
            What::OddAnswer { .. } => {
                if let Some(side) = side {
                    side.status.remark(Remark::Odd(note.to_string()));
                }
                warn!(event = "SERVER_ODD", servers = ?names, "{note}");
            }
            What::DoubtfulTools { .. } => warn!(event = "CONFIG_WARNING", servers = ?names, "{note}"),
            What::ToolsRead { size, count } => {
                let Some(link) = link else { return };
                link.uncounted |= count.is_none();
                // In turns, these are the tools of one server of several.
                let count = count.filter(|_| !link.uncounted && !link.in_turns);
                let news = std::mem::replace(&mut link.listed, *size) != *size;
                link.write(LinkNews::ToolsRead { note, count });
                // Said once for each size, not at each connection.
                if news
                    && let Some(warning) = budget_warning(
                        if note.of_guest { "what the client reads" } else { "what the endpoint reads" },
                        *size,
                        self.tool_budget,
                    )
                {
                    warn!(event = "TOOL_BUDGET", servers = ?names, "{warning}");
                }
            }
            What::Initialized { .. } => {
                if let Some(side) = side {
                    side.refused = None;
                }
                info!(event = "SERVER_INITIALIZED", servers = ?names, "{note}");
            }
            What::AskedAsClient { .. } => {
                self.asked_as_clients += 1;
                match self.asked_as_clients {
                    // A robot that dials the address for tools comes again and again, each time as another server.
                    n if n.is_power_of_two() => warn!(event = "ERROR_MESSAGE", servers = ?names, "{note}"),
                    _ => debug!(event = "ERROR_MESSAGE", servers = ?names, "{note}"),
                }
            }
            What::AnsweredForEndpoint { .. } | What::Unclaimed => {
                debug!(event = "MESSAGE_DROPPED", servers = ?names, "{note}");
            }
            What::Logged { params } => {
                let Some(side) = side else { return };
                side.said.log(&side.name, params, &self.redactor, Instant::now().into_std());
            }
            What::Served { .. } | What::Lost(_) | What::Unserved(_) | What::Listed { .. } => {} // noted above
            What::Silent { failed, .. } => {
                let Some(side) = side else { return };
                side.write(ServerNews::Silent { note, failed: *failed });
            }
            What::Heard { .. } => {
                let Some(side) = side else { return };
                side.write(ServerNews::Heard { note, serving: side.serving });
            }
            What::GivenAgain => {
                let Some(side) = side else { return };
                side.status.given_again();
            }
            What::Circuit(circuit) => {
                let Some(side) = side else { return };
                side.write(ServerNews::Circuit { circuit: *circuit, note });
            }
            What::Cut { trace, .. } => {
                let (Some(side), trace) = (side, *trace) else { return };
                side.cut += 1;
                match side.cut {
                    // Whoever looks on reads the error.
                    _ if side.status.is_one_look() => debug!(event = "CALL_CUT", servers = ?names, trace, "{note}"),
                    // A server that answers nothing any more doesn't get to fill the disk.
                    n if n > REFUSALS && !n.is_power_of_two() => {
                        debug!(event = "CALL_CUT", servers = ?names, trace, "{note}");
                    }
                    n @ REFUSALS.. => {
                        warn!(event = "CALL_CUT", servers = ?names, trace, calls = n, "{note}; {n} so far")
                    }
                    _ => warn!(event = "CALL_CUT", servers = ?names, trace, "{note}"),
                }
            }
            What::CutBesides { .. } => match side {
                Some(side) if side.status.is_one_look() => debug!(event = "CALL_CUT", servers = ?names, "{note}"),
                Some(_) | None => warn!(event = "CALL_CUT", servers = ?names, "{note}"),
            },
            What::Checked(checked) => {
                let Some(side) = side else { return };
                let mut checked = checked.clone();
                if let Checked::Failed { why, .. } = &mut checked {
                    *why = self.redactor.beginning(why, NOISE).into_owned();
                }
                side.write(ServerNews::Checked(&checked));
            }
            What::Seated { server, current, pinned } => {
                let Some(link) = link else { return };
                if let Some(status) = &link.status {
                    status.turn(each[*server].status.key(), TurnState { current: *current, pinned: *pinned });
                }
            }
            What::Turn { server, .. } => {
                let names = Names::from_iter([each[*server].name.clone()]).at(names.endpoint());
                info!(event = "TURN", servers = ?names, "{note}");
            }
        }
    }
}

/// Longest piece of a server's words that is shown, in characters.
const SHOWN: usize = 300;

/// How a server of an era is spoken to, as the end of a sentence.
fn words_of(era: Era) -> &'static str {
    match era {
        Era::Legacy => "with a handshake, as MCP up to 2025-11-25 has it",
        Era::Modern => "without a handshake, as MCP from 2026-07-28 on has it",
    }
}

/// Where the router's decisions go.
impl Out for Sides {
    fn to_peer(&mut self, peer: PeerId, pieces: &[&[u8]]) {
        self.trace(Way::To, About::Peer(peer), pieces);
        self.outcome = None;
        self.links.push(peer, pieces);
    }

    fn to_server(&mut self, server: ServerIndex, pieces: &[&[u8]]) {
        self.trace(Way::To, About::Server(server), pieces);
        let Side { stdin, waiting, .. } = &mut self.each[server];
        stdin.push(pieces);
        waiting.traffic().sent(pieces.iter().map(|piece| piece.len()).sum());
        self.unwritten.insert(server);
        if stdin.len() >= HIGH {
            self.slow.insert(server);
            self.crowded |= stdin.len() >= CROWDED;
        }
    }

    fn remember(&mut self, server: ServerIndex, memory: &Memory) {
        let Side { spec, first, .. } = &self.each[server];
        // What is remembered is told before there are processes, and so it is the first one's; and what came by itself may be somebody else
        // the next time.
        if first.is_none() && !matches!(spec.reach, Reach::Comer(_)) {
            self.catalogue.save(spec, memory);
        }
    }

    fn remember_hello(&mut self, peer: PeerId, params: &str) {
        if let Some(link) = self.links.of(peer) {
            self.catalogue.save_hello(&link.agent, params);
        }
    }

    fn restart(&mut self, server: ServerIndex, why: &'static str) {
        self.restarts.push((server, why));
    }

    fn end_failed(&mut self, server: ServerIndex, why: String) {
        self.failed.push((server, self.redactor.beginning(&why, NOISE).into_owned()));
    }

    fn arrange(&mut self, server: ServerIndex, what: Arrangement) {
        let leaving = self.each.get_mut(server).map(|side| (&mut side.leaving, &mut side.ending));
        match (what, leaving) {
            // The process there has not ended yet.
            (Arrangement::Start { first, peer }, Some((leaving @ Some(_), _))) => {
                *leaving = Some(Leaving::Another);
                return self.links.assign(server, first, peer);
            }
            (Arrangement::Start { first, peer }, Some((None, _)) | None) => {
                self.put(server, self.each[first].further(first, server, self.each[first].since));
                self.links.assign(server, first, peer);
            }
            // The router takes it for gone by now, and its lane is another peer's.
            (Arrangement::Replace(_), Some((_, ending))) => *ending = true,
            (Arrangement::End, Some((leaving, _))) => {
                *leaving = Some(Leaving::Further);
                self.links.take_away(server);
            }
            (Arrangement::Replace(_) | Arrangement::End, None) => return,
        }
        self.arranged.push((server, what));
    }

    fn note(&mut self, mut note: Note<'_>) {
        let peer = if let About::Peer(peer) = note.about { self.links.of(peer) } else { None };
        note.of_guest = peer.is_some_and(LinkSide::is_guest);
        self.write_note(&note);
    }

    fn has_room(&self, peer: PeerId) -> bool {
        self.links.of(peer).is_some_and(|link| self.takes_answers(link))
    }

    fn is_read_by(&self, server: ServerIndex) -> bool {
        self.each[server].stdin.len() < CROWDED
    }
}
