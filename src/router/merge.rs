//! Several servers on one connection, as one MCP server. Also one server whose tools are not published as they are.
//!
//! # Theory of operation
//!
//! Each server has a `Lane` (how far the server is, what is under way there) and a `Shelf` (what the server said of itself,
//! in this run or an earlier one). A server that comes up is initialized with the endpoint's parameters, and its lists are
//! read to the end; out of all shelves comes what is `Published`: one list of each kind, and the way back from each name.
//! The endpoint's requests go to the server that the name belongs to, under ids of ours, or are answered here.
//!
//! An answer that needs to know of all servers (`initialize`, lists, a name that nobody has yet) waits for servers that may
//! still say something: not for those that are remembered or dead, nor twice in one life for a server that says nothing.
//!
//! When what is published changes after the endpoint has read it, the endpoint is told by `list_changed`. An endpoint that
//! does not read anew within a few seconds gets a new connection, at a moment when nothing is under way.
//!
//! No server can reach into what belongs to another: ids, progress tokens and deadlines are looked up in the lane of the
//! server that speaks.

mod deadlines;
mod elsewhere;
mod endpoint_side;
pub(super) mod page;
mod published;
mod server_side;
pub(super) mod shelf;
mod tasks;
#[cfg(test)]
mod tests;
mod union;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::deadlines::{Deadlines, Due};
use self::published::{LeftOut, Published, Renamed, Rules, Table};
use self::shelf::Shelf;
use self::tasks::Tasks;
use super::changes::Changes;
use super::desk::{Desk, Message, MessageFault, Received};
use super::held::Held;
use super::lane::{Flight, Lane, ServerSide};
use super::names::Letters;
use super::request::Request;
use super::wishes::Wishes;
use super::{Account, Gone, Greeting, Note, Out, Reconnect, Router, SHUTTING_DOWN, ServerIndex, Start, What};
use crate::catalogue::Memory;
use crate::config::{Naming, ServerSpec};
use crate::frame::Cut;
use crate::mcp::cloud::HOLD;
use crate::mcp::envelope::{self, Envelope, Kind, Lost};
use crate::mcp::handshake::{Hello, Welcome};
use crate::mcp::lists::ListKind;
use crate::mcp::reply::{self, METHOD_NOT_FOUND, UNAVAILABLE};
use crate::tools::ToolPolicy;

/// A server of a merge.
#[derive(Debug)]
struct MergedServer {
    lane: Lane,
    shelf: Shelf,
    policy: Arc<ToolPolicy>,
    /// The policy has been compared with the server's tools in this run: what an earlier run remembered says nothing of the
    /// present config.
    judged: bool,
    keep_listed: bool,
    /// Longest time from the server's start for which anything of it is waited for.
    start_timeout: Duration,
    /// Nothing more of the server is waited for in this life: it has refused, or somebody has waited long enough.
    silent: bool,
    wishes: Wishes,
}

impl MergedServer {
    /// Whether answers that need all servers should wait for a list of this one.
    fn is_awaited(&self) -> bool {
        ListKind::ALL.into_iter().any(|kind| self.shelf.lacks(kind)) && self.may_speak()
    }

    /// Whether answers that need a list of all servers should wait for this server's.
    fn awaits(&self, kind: ListKind) -> bool {
        self.shelf.lacks(kind) && self.may_speak()
    }

    fn may_speak(&self) -> bool {
        !self.silent
            && match self.lane.state {
                ServerSide::Down { retry_at, .. } => retry_at.is_none(),
                ServerSide::Refusing { .. } => false,
                ServerSide::Initializing { .. } | ServerSide::Greeted | ServerSide::Ready => true,
            }
    }

    /// Whether answers to `initialize` should wait for this server: its answer to the endpoint's own parameters is not known
    /// yet.
    fn is_greeting(&self) -> bool {
        let is_asked_again = matches!(self.lane.state, ServerSide::Initializing { again: true, .. });
        is_asked_again && self.may_speak() || self.shelf.welcome.is_none() && self.is_awaited()
    }

    /// When waiting for this server ends, if anything of it is waited for.
    fn awaited_until(&self) -> Option<Instant> {
        let is_due = self.is_awaited() && !matches!(self.lane.state, ServerSide::Greeted);
        self.lane.started.filter(|_| is_due).map(|started| started + self.start_timeout)
    }

    /// Whether the endpoint sees what the server has.
    fn is_listed(&self) -> bool {
        self.keep_listed || self.lane.is_initialized()
    }

    /// When the server's handshake, lists or waiting messages want [`Router::on_tick`].
    fn next_tick(&self) -> Option<Instant> {
        let shelf = self.shelf.next_tick(self.lane.is_ready());
        let lane = [self.lane.held.deadline(), self.lane.opening_due()];
        lane.into_iter().chain([self.awaited_until(), shelf]).flatten().min()
    }
}

/// A request of the endpoint that waits until more is known.
#[derive(Debug)]
struct Owed {
    id: Box<[u8]>,
    what: Want,
    deadline: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    /// An `initialize`, with the version asked for.
    Initialize(String),
    List(ListKind),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Merge {
    desk: Desk,
    members: Vec<MergedServer>,
    rules: Rules,
    owed: Vec<Owed>,
    /// Requests of which enough is known, and which only wait for room.
    due: VecDeque<Owed>,
    /// Requests with a name that nobody has yet.
    unrouted: Held,
    published: Published,
    /// What the log was last told of items that did not fit into the lists.
    told_left_out: [LeftOut; 4],
    /// What the log was last told of tools that are published under other names.
    told_renamed: Renamed,
    /// What is published is out of date.
    stale: bool,
    deadlines: Deadlines,
    tasks: Tasks,
    changes: Changes,
    /// The ways that lead back from the names in the lists that the endpoint has read on this connection.
    tables: [Option<Arc<Table>>; 4],
    /// No request is taken any more.
    draining: bool,
    /// Calls that were answered.
    served: u64,
}

impl Merge {
    /// A merge of these servers, each with what an earlier run remembered of it. `hello`: what their endpoint will say of
    /// itself, if that is known. Nothing is connected, nothing runs. The servers agree on how names are kept apart.
    pub fn new(
        servers: impl IntoIterator<Item = (Arc<ServerSpec>, Option<Memory>)>,
        hello: Option<Arc<Hello>>,
    ) -> Self {
        let (mut members, mut max_frame, mut sharing) = (Vec::new(), 0, None);
        for (index, (spec, memory)) in servers.into_iter().enumerate() {
            max_frame = spec.max_frame.max(max_frame);
            sharing = Some(spec.sharing);
            members.push(MergedServer {
                lane: Lane::new(index, spec.name.clone(), spec.max_frame, true),
                shelf: Shelf::new(memory),
                policy: spec.tools.clone(),
                judged: false,
                keep_listed: spec.keep_listed,
                start_timeout: spec.start_timeout,
                silent: false,
                wishes: Wishes::default(),
            });
        }
        let desk = Desk::new(max_frame, hello);
        let sharing = sharing.unwrap_or_default();
        // A server alone has nobody to be kept apart from.
        let (naming, letters) = match members.len() {
            ..=1 => (Naming::Auto, Letters::Any),
            _ => (sharing.naming, Letters::Of(sharing.names)),
        };
        Merge {
            desk,
            members,
            rules: Rules { naming, letters, max: max_frame },
            owed: Vec::new(),
            due: VecDeque::new(),
            unrouted: Held::default(),
            published: Published::default(),
            told_left_out: Default::default(),
            told_renamed: Renamed::default(),
            stale: true,
            deadlines: Deadlines::default(),
            tasks: Tasks::default(),
            changes: Changes::new(sharing.resync),
            tables: Default::default(),
            draining: false,
            served: 0,
        }
    }

    /// Sets the server's deadline anew, as something may be due sooner now.
    fn arm(&mut self, server: ServerIndex) {
        self.deadlines.arm(server, self.members[server].next_tick());
    }

    /// What an endpoint is shown of tools, as far as they are known: the result of `tools/list` (MCP, server/tools), and for
    /// each name in that result the server and the tool's name there.
    pub fn tools(&mut self) -> (&[u8], &Table) {
        let published = self.published();
        (published.result(ListKind::Tools), published.table(ListKind::Tools))
    }

    /// What is published, as of now.
    fn published(&mut self) -> &Published {
        if std::mem::take(&mut self.stale) {
            self.published = Published::new(&self.members, self.rules);
        }
        &self.published
    }
}

impl Router for Merge {
    fn on_link_up(&mut self, _now: Instant, _out: &mut dyn Out) {
        self.desk.link_up();
    }

    fn on_link_down(&mut self, now: Instant, out: &mut dyn Out) {
        self.changes.link_down(now);
        self.tables = Default::default();
        self.owed.clear();
        self.due.clear();
        self.unrouted = Held::default();
        self.deadlines.retain_calls(|_, _| false);
        for member in &mut self.members {
            member.lane.link_down(out);
            member.wishes.take_back(&mut member.lane, out);
        }
        self.desk.link_down(out);
    }

    fn on_endpoint(&mut self, frame: &[u8], now: Instant, out: &mut dyn Out) {
        self.changes.heard(now);
        match self.desk.receive(frame, out) {
            Received::One(e, line) => self.message(line.as_deref().unwrap_or(frame), &e, now, out),
            Received::Batch(members, line) => {
                self.desk.keep_batch(line.unwrap_or_else(|| frame.to_vec()), members);
                self.on_room(now, out);
            }
            Received::Nothing => {}
        }
    }

    fn on_endpoint_too_large(&mut self, cut: Cut<'_>, _now: Instant, out: &mut dyn Out) {
        self.desk.on_too_large(cut, out);
    }

    fn on_endpoint_not_text(&mut self, frame: &[u8], _now: Instant, out: &mut dyn Out) {
        self.desk.on_not_text(frame, out);
    }

    fn on_server_up(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let member = &mut self.members[server];
        member.silent = false;
        member.lane.up(&mut self.desk, now, out);
        self.arm(server);
    }

    fn on_server_down(&mut self, server: ServerIndex, gone: Gone<'_>, now: Instant, out: &mut dyn Out) {
        let member = &mut self.members[server];
        member.shelf.down();
        member.wishes.server_down();
        member.lane.down(gone, &mut self.desk, now, out);
        self.deadlines.retain_calls(|of, _| of != server);
        self.search_for_strays(server, now, out);
        self.tasks.forget(server);
        self.stale |= !self.members[server].keep_listed;
        self.answer_waiting(now, out);
    }

    fn on_server_busy(&mut self, server: ServerIndex, busy: bool, _now: Instant, out: &mut dyn Out) {
        let MergedServer { lane, wishes, .. } = &mut self.members[server];
        lane.busy = busy;
        if !busy {
            wishes.send_leftover(lane, out);
            self.pass_level(server, out);
            self.release(server, out);
        }
    }

    fn on_server(&mut self, server: ServerIndex, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        let kind = e.kind(frame);
        // A message that belongs to a task names the task by the id that the endpoint knows.
        let text = if kind == Kind::Response { None } else { self.publish_related(server, frame, e) };
        let published = text.as_deref().and_then(|text| Some((text, envelope::scan_one(text)?)));
        let (frame, e) = published.as_ref().map_or((frame, e), |(text, e)| (*text, e));
        match kind {
            Kind::Response => self.server_answers(server, frame, e, now, out),
            Kind::Request => self.desk.ask(server, frame, e, now, out),
            Kind::Notification => self.server_notifies(server, frame, e, now, out),
            Kind::Other => {}
        }
    }

    fn on_server_noise(&mut self, server: ServerIndex, text: &[u8], now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        out.note(Note::of(server, What::Noise { line: text }));
    }

    fn on_server_lost(&mut self, server: ServerIndex, lost: Lost<'_>, text: &[u8], now: Instant, out: &mut dyn Out) {
        let lane = &mut self.members[server].lane;
        lane.end_silence(now, out);
        let lost = lane.on_lost(lost, text, &mut self.desk, out);
        self.on_lost(server, lost, now, out);
    }

    fn on_server_too_large(&mut self, server: ServerIndex, cut: Cut<'_>, now: Instant, out: &mut dyn Out) {
        self.members[server].lane.end_silence(now, out);
        let lost = self.members[server].lane.on_too_large(cut, &mut self.desk, out);
        self.on_lost(server, lost, now, out);
    }

    fn on_room(&mut self, now: Instant, out: &mut dyn Out) {
        self.answer_due(out);
        while out.has_room()
            && let Some(message) = self.desk.next_of_batch()
        {
            self.on_endpoint(&message, now, out);
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut dyn Out) {
        self.desk.tick(now, out);
        for due in self.deadlines.expired(now) {
            match due {
                Due::Call(server, id) => self.expire_call(server, id, now, out),
                Due::Server(server) => {
                    self.members[server].lane.tick(&mut self.desk, now, out);
                    self.check_server(server, now, out);
                    self.arm(server);
                }
            }
        }
        self.changes.tick(now);
        if self.owed.iter().any(|owed| owed.deadline <= now)
            || self.unrouted.deadline().is_some_and(|deadline| deadline <= now)
        {
            // Once is enough: the next request does not wait for these servers again.
            for member in &mut self.members {
                member.silent |= member.is_awaited() || member.is_greeting();
            }
        }
        self.answer_waiting(now, out);
    }

    fn on_beat(&mut self, now: Instant, out: &mut dyn Out) {
        for member in &mut self.members {
            member.lane.check_silence(now, out);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        let is_armed = |(server, member): (_, &MergedServer)| {
            member.next_tick().is_none_or(|at| self.deadlines.armed(server).is_some_and(|armed| armed <= at))
        };
        debug_assert!(self.members.iter().enumerate().all(is_armed), "a deadline has become earlier");
        let owed = self.owed.iter().map(|owed| owed.deadline).min();
        [self.deadlines.first(), owed, self.changes.next_tick(), self.unrouted.deadline(), self.desk.next_tick()]
            .into_iter()
            .flatten()
            .min()
    }

    fn drain(&mut self, _now: Instant, out: &mut dyn Out) {
        self.draining = true;
        self.changes.drain();
        let lanes = self.members.iter_mut().map(|member| &mut member.lane.held);
        let held: Vec<_> = lanes.chain([&mut self.unrouted]).flat_map(Held::take_all).collect();
        for (_, frame) in held {
            self.desk.refuse_held(&frame, SHUTTING_DOWN, out);
        }
        for owed in std::mem::take(&mut self.owed).into_iter().chain(std::mem::take(&mut self.due)) {
            self.desk.refuse(&owed.id, UNAVAILABLE, SHUTTING_DOWN, out);
        }
    }

    fn in_flight(&self) -> usize {
        let at = |lane: &Lane| lane.calls().count() + lane.held.len();
        let at_servers: usize = self.members.iter().map(|member| at(&member.lane)).sum();
        at_servers + self.owed.len() + self.due.len() + self.unrouted.len() + self.desk.unread()
    }

    fn start(&self, server: ServerIndex) -> Start {
        let MergedServer { lane, shelf, .. } = &self.members[server];
        // What is remembered is as good as an answer.
        if shelf.is_known() { Start::Settled } else { lane.start() }
    }

    fn is_serving(&self, server: ServerIndex) -> bool {
        self.members[server].lane.is_initialized()
    }

    fn is_handshaken(&self) -> bool {
        self.desk.is_handshaken()
    }

    fn wants_reconnect(&self, now: Instant) -> Option<Reconnect> {
        (self.changes.is_due(now) && self.is_quiet(now)).then_some(Reconnect::Resync)
    }

    fn account(&self, now: Instant) -> Account {
        let open = self.members.iter().filter(|member| !member.lane.is_ready());
        let standing: Vec<_> =
            open.take(5).map(|member| format!("({} {})", member.lane.name, member.lane.standing(now))).collect();
        let standing = if standing.is_empty() { "was running".to_owned() } else { standing.join(", ") };
        let mut account = self.desk.account(self.served, standing);
        account.unanswered = self.members.iter().flat_map(|member| member.lane.unanswered(now)).collect();
        account
    }

    fn served(&self) -> u64 {
        self.served
    }
}

impl Merge {
    /// Whether nothing would be lost with the connection.
    fn is_quiet(&self, now: Instant) -> bool {
        self.owed.is_empty()
            && self.due.is_empty()
            && self.desk.unread() == 0
            && self.unrouted.len() == 0
            && self.desk.asked.is_empty()
            && self.members.iter().all(|member| member.lane.is_quiet(now))
    }

    /// A message of the endpoint.
    fn message(&mut self, frame: &[u8], e: &Envelope, now: Instant, out: &mut dyn Out) {
        let text = self.own_related(frame, e);
        let own = text.as_deref().and_then(|text| Some((text, envelope::scan_one(text)?)));
        let (frame, e) = own.as_ref().map_or((frame, e), |(text, e)| (*text, e));
        match self.desk.classify(frame, e, now, out) {
            Some(Message::Request(request @ Request { method: b"initialize", .. })) => self.initialize(&request, out),
            Some(Message::Request(Request { id, method: b"ping", .. })) => {
                out.to_endpoint(&[&reply::result(id, b"{}")])
            }
            // Legacy only. An endpoint that gets an error here has yet to say what it is, by `initialize` (MCP 2026-07-28,
            // server/discover).
            Some(Message::Request(Request { id, method: b"server/discover", .. })) => {
                self.desk.refuse(id, METHOD_NOT_FOUND, "method not found", out);
            }
            Some(Message::Request(request)) => {
                self.open_conversation(now, out);
                self.request(&request, out);
            }
            Some(Message::Notification { method: b"notifications/initialized" }) => self.open_conversation(now, out),
            Some(Message::Notification { method: b"notifications/cancelled" }) => self.cancel(frame, e, out),
            Some(Message::Notification { method }) => {
                if let Some(request) = endpoint_side::decided_here(method) {
                    let fault = MessageFault::invalid(format!("{request} has no id"));
                    return self.desk.refuse_nonsense(b"null", frame, fault, out);
                }
                self.open_conversation(now, out);
                for member in self.members.iter().filter(|member| member.lane.is_ready() && !member.lane.busy) {
                    out.to_server(member.lane.index, &[frame]);
                }
            }
            None => {}
        }
    }

    /// Messages that wait for a server are sent, or wait on. The time of each counts from when it came.
    fn release(&mut self, server: ServerIndex, out: &mut dyn Out) {
        for (since, frame) in self.members[server].lane.held.take_all() {
            self.on_endpoint(&frame, since, out);
        }
    }

    /// Something about a server has changed: answers the requests that waited for that, and tells the endpoint what is new.
    fn answer_waiting(&mut self, now: Instant, out: &mut dyn Out) {
        let greeting = self.members.iter().any(MergedServer::is_greeting);
        let awaited = self.members.iter().any(MergedServer::is_awaited);
        for owed in std::mem::take(&mut self.owed) {
            match owed.what {
                Want::Initialize(_) if greeting => self.owed.push(owed),
                Want::List(kind) if self.members.iter().any(|member| member.awaits(kind)) => self.owed.push(owed),
                Want::Initialize(_) | Want::List(_) => self.due.push_back(owed),
            }
        }
        self.answer_due(out);
        if !awaited {
            for (since, frame) in self.unrouted.take_all() {
                self.on_endpoint(&frame, since, out);
            }
        }
        self.announce_changes(now, out);
    }

    /// Answers requests that only wait for room, as far as there is some.
    fn answer_due(&mut self, out: &mut dyn Out) {
        while out.has_room()
            && let Some(owed) = self.due.pop_front()
        {
            match owed.what {
                Want::Initialize(version) => self.answer_initialize(&owed.id, &version, out),
                Want::List(kind) => self.answer_list(&owed.id, kind, out),
            }
        }
    }

    /// Tells the endpoint which of the lists that it has read are no longer so.
    fn announce_changes(&mut self, now: Instant, out: &mut dyn Out) {
        if !self.desk.is_conversing() || !self.stale && !self.changes.is_changed() {
            return;
        }
        let capabilities = self.capabilities();
        self.published();
        let Merge { changes, published, .. } = self;
        changes.compare(Some(capabilities), |kind| Some(published.print(kind)), now, out);
    }
}
