//! What a peer says, and which server that is for.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounds::Before;
use super::*;
use crate::mcp::object;
use crate::mcp::reply::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::router::edits::Edits;
use crate::router::lane::{Call, Terms, brief};
use crate::tools::ToolPolicy;
use crate::tools::size::{Size, count_of_all};

/// Requests whose order among each other matters.
const SUBSCRIPTIONS: [&[u8]; 2] = [b"resources/subscribe", b"resources/unsubscribe"];

/// Requests that go to no server before the merge has looked at them.
const DECIDED_HERE: &[&str] = &[
    "tools/call",
    "tools/list",
    "prompts/get",
    "prompts/list",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/list",
    "initialize",
    "server/discover",
    "ping",
];

/// The method of [`DECIDED_HERE`] that some server may take this one for, although it is spelled in another way.
pub(super) fn decided_here(method: &[u8]) -> Option<&'static str> {
    envelope::taken_for(trimmed(method), DECIDED_HERE)
}

/// Without what some language takes for blank at the ends of a text: Unicode's white space, JavaScript a byte order mark besides,
/// and older .NET the space without width.
fn trimmed(method: &[u8]) -> &[u8] {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}');
    str::from_utf8(method).map_or(method, |text| text.trim_matches(is_blank).as_bytes())
}

impl Hub {
    pub(super) fn initialize(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let (id, now) = (request.id, request.now);
        let hello = Arc::new(Hello::read(request.params()));
        let Some(peer) = self.peers.get_mut(request.peer) else { return };
        peer.desk.note_greeting(Greeting::Waits);
        let first = peer.desk.on_hello(&hello);
        // The first parameters that an endpoint gives in this run take the place of those that servers were told. A server
        // that has refused what it was told is asked anew with any that differ.
        for server in self.seen_by(request.peer) {
            let Hosted { lane, .. } = &self.servers[server];
            if first || lane.opening.is_refusing() || matches!(lane.state, ServerSide::Greeted) {
                self.check_hello(server, now, out);
            }
        }
        if self.view_of(request.peer).is_some_and(|view| view.is_greeting(&self.servers)) {
            return self.keep_waiting(request, Want::Initialize(hello.version.clone()), out);
        }
        self.answer_initialize((request.peer, id), &hello.version, out);
    }

    /// Lets a server go on that has waited for what its only peer says of itself, and now has another one.
    pub(super) fn go_on(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        if let ServerSide::Greeted = self.servers[server].lane.state {
            self.check_hello(server, now, out);
        }
    }

    /// The servers that a peer sees, and the further processes of these that are its own.
    pub(super) fn seen_by(&self, peer: PeerId) -> Vec<ServerIndex> {
        let mut seen = self.peers.get(peer).map(|peer| self.seen_in(peer.sight)).unwrap_or_default();
        seen.extend(self.own_among(peer, &seen));
        seen
    }

    /// The peer asks or tells something, so servers' requests may be passed on.
    pub(super) fn open_conversation(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        self.do_without_hello(peer, now, out);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.desk.open_conversation(now, out);
        }
    }

    /// The peer speaks. An `initialize` that has not come by now won't come, and servers go on with what they were told.
    pub(super) fn do_without_hello(&mut self, peer: PeerId, now: Instant, out: &mut dyn Out) {
        let Some(of) = self.peers.get_mut(peer) else { return };
        let is_news = of.desk.do_without_hello();
        match of.sight {
            Sight::Alone(server) => {
                if is_news {
                    self.check_hello(server, now, out);
                } else {
                    self.go_on(server, now, out);
                }
                if let Some(own) = self.own(peer, server).filter(|own| *own != server) {
                    self.go_on(own, now, out);
                }
            }
            Sight::Merged(_) if is_news => {
                for server in self.seen_by(peer) {
                    self.check_hello(server, now, out);
                }
            }
            Sight::Merged(_) => {}
        }
    }

    /// Compares what the endpoint says of itself with what a server was told.
    pub(super) fn check_hello(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let Hosted { lane, shelf, solo, .. } = &mut servers[server];
        let welcome = solo.welcome.as_ref().or(shelf.welcome.as_ref());
        let opened = lane.check_hello(welcome, peers, now, out);
        self.on_opened(server, opened, now, out);
    }

    /// Keeps a request until more is known.
    fn keep_waiting(&mut self, request: &Request<'_>, what: Want, out: &mut dyn Out) {
        if let Some(peer) = self.peers.get_mut(request.peer) {
            peer.keep_waiting(request, what, out);
        }
    }

    /// Answers `initialize`. `asker`: the peer, and the id of its request.
    pub(super) fn answer_initialize(&mut self, asker: (PeerId, &[u8]), version: &str, out: &mut dyn Out) {
        let Some((peer, view, servers)) = self.at(asker.0) else { return };
        match view.welcome(version, servers) {
            Ok(result) => {
                peer.desk.greet(asker.1, &result, out);
                peer.changes.greeted(view.capabilities(servers));
            }
            Err(refusal) => {
                peer.desk.refuse(asker.1, UNAVAILABLE, refusal, out);
                peer.desk.note_greeting(Greeting::Refused);
            }
        }
    }

    /// Answers a list request. `asker`: the peer, and the id of its request.
    pub(super) fn answer_list(&mut self, asker: (PeerId, &[u8]), kind: ListKind, out: &mut dyn Out) {
        let Some((peer, view, servers)) = self.at(asker.0) else { return };
        let published = view.published(servers);
        peer.desk.reply(asker.1, published.result(kind), out);
        peer.changes.read(kind, published.print(kind));
        peer.tables[kind as usize] = Some(published.table(kind).clone());
        view.report(kind, out);
        if kind == ListKind::Tools {
            // A server that runs and has not said yet what it has would seem to have nothing.
            let lacking = view.of(servers).any(|server| server.lane.is_initialized() && server.shelf.lacks(kind));
            let list = String::from_utf8_lossy(view.published(servers).result(kind));
            let count = count_of_all(&list).filter(|_| !lacking);
            out.note(Note::of_peer(asker.0, What::ToolsRead { size: Size::of(&list), count }));
        }
    }

    pub(super) fn request(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Request { peer, envelope: e, method, .. } = *request;
        if self.draining || self.peers.is_leaving(peer) {
            return self.part_with(request, out);
        }
        if let Some(kind) = ListKind::ALL.into_iter().find(|kind| kind.method().as_bytes() == method) {
            return self.list_request(request, kind, out);
        }
        match method {
            b"tools/call" => self.by_name(ListKind::Tools, e.name.clone(), request, out),
            b"prompts/get" => self.by_name(ListKind::Prompts, e.name.clone(), request, out),
            b"resources/read" | b"resources/subscribe" | b"resources/unsubscribe" => {
                self.by_uri(e.uri.clone(), request, out);
            }
            b"completion/complete" => self.complete(request, out),
            b"logging/setLevel" => self.set_level(request, out),
            b"tasks/get" | b"tasks/result" | b"tasks/cancel" | b"tasks/list" => self.task_request(request, out),
            _ => match decided_here(method) {
                Some(meant) => {
                    let message = format_args!("method not found: it is written {meant}");
                    self.decline(request, METHOD_NOT_FOUND, message, out);
                }
                None => self.search(request, out),
            },
        }
    }

    fn list_request(&mut self, request: &Request<'_>, kind: ListKind, out: &mut dyn Out) {
        #[derive(Deserialize)]
        struct ListParams {
            cursor: Option<String>,
        }
        let params = serde_json::from_slice::<ListParams>(request.params()).ok();
        if params.and_then(|params| params.cursor).is_some_and(|cursor| !cursor.is_empty()) {
            return self.peers.refuse(
                request.peer,
                request.id,
                INVALID_PARAMS,
                "invalid cursor: the list has one page",
                out,
            );
        }
        self.refresh_list(request.peer, kind, request.now, out);
        if self.view_of(request.peer).is_some_and(|view| view.awaits(kind, &self.servers)) {
            return self.keep_waiting(request, Want::List(kind), out);
        }
        self.answer_list((request.peer, request.id), kind, out);
        self.announce_changes(request.now, out);
    }

    fn by_name(&mut self, kind: ListKind, name: Option<Range<usize>>, request: &Request<'_>, out: &mut dyn Out) {
        let Request { frame, now, .. } = *request;
        let Some((range, name)) = name.and_then(|r| Some((r.clone(), text(&frame[r])?))) else {
            return self.decline(request, INVALID_PARAMS, "invalid params: a name is missing", out);
        };
        let Some((peer, view, servers)) = self.at(request.peer) else { return };
        let published = view.published(servers);
        let Some((server, own)) = published.find(kind, &name, peer.tables[kind as usize].as_deref()) else {
            let what = if kind == ListKind::Tools { "tool" } else { "prompt" };
            let aliases = published.aliases(kind, &name);
            let hint = if aliases.is_empty() { String::new() } else { format!(" (published as {})", or(aliases)) };
            return self.keep_unrouted(kind, request, format_args!("unknown {what}: {name}{hint}"), out);
        };
        let mut call = Call::of_tool(request, if kind == ListKind::Tools { own.as_bytes() } else { b"" });
        if kind == ListKind::Tools {
            call.terms = view.policy(server).and_then(|policy| terms(policy, &own, &name, now));
            match self.answer_again(server, request, own.as_bytes(), out) {
                Before::Answered => return,
                Before::Unasked => {}
                Before::Forgotten(question) => call.terms.get_or_insert_default().question = Some(question),
            }
        }
        self.dispatch(server, request, call, (*own != *name).then_some((range, &*own)), out);
    }

    fn by_uri(&mut self, uri: Option<Range<usize>>, request: &Request<'_>, out: &mut dyn Out) {
        let Request { peer, frame, id, method, .. } = *request;
        let Some((range, uri)) = uri.and_then(|r| Some((r.clone(), text(&frame[r])?))) else {
            return self.decline(request, INVALID_PARAMS, "invalid params: a uri is missing", out);
        };
        let unknown = format_args!("unknown resource: {uri}");
        // A request that waits must not undo one that came later.
        if SUBSCRIPTIONS.contains(&method) && self.unrouted.has_one_of(peer, &SUBSCRIPTIONS) {
            return self.keep_unrouted(ListKind::Resources, request, unknown, out);
        }
        let Some((of, view, servers)) = self.at(peer) else { return };
        // A resource that the peer follows may no longer be listed.
        let followed = if method == b"resources/unsubscribe" { of.wishes.own(&uri).pop() } else { None };
        let followed = followed.map(|(server, own)| (server, own.into_string()));
        let published = view.published(servers);
        let found = followed.or_else(|| published.find_resource(&uri, &of.tables));
        // Any one of several servers would be a guess.
        let aliases = if found.is_none() { published.resource_aliases(&uri) } else { Vec::new() };
        if !aliases.is_empty() {
            let message = format_args!("several servers have {uri}: ask for {}", or(aliases));
            return self.decline(request, INVALID_PARAMS, message, out);
        }
        let Some((server, own)) = found.or_else(|| only_keeper(view.of(servers), &uri)) else {
            if method == b"resources/read" {
                // A server may have what it does not list, and reading changes nothing.
                return self.search(request, out);
            }
            return self.keep_unrouted(ListKind::Resources, request, unknown, out);
        };
        if method == b"resources/unsubscribe" {
            if let Some(of) = self.peers.get_mut(peer) {
                of.wishes.unsubscribe(server, &own);
            }
            if self.peers.is_followed(server, &own) {
                return self.peers.reply(peer, id, b"{}", out);
            }
        }
        let edit = (own != *uri).then_some((range, &*own));
        let sent = self.dispatch(server, request, Call::new(request), edit, out);
        // A request that waits comes here again.
        if let Some(server) = sent.filter(|_| method == b"resources/subscribe") {
            let Hub { peers, servers, .. } = self;
            // Before this server listed the resource, another one may have been asked to follow it.
            let before = peers.get(peer).map(|of| of.wishes.own(&uri)).unwrap_or_default();
            for (other, own) in before.into_iter().filter(|(other, _)| *other != server) {
                peers.end_subscription(peer, &mut servers[other].lane, &own, out);
            }
            if let Some(of) = peers.get_mut(peer) {
                of.wishes.subscribe(server, &mut servers[server].lane.leftover, &own, &uri);
            }
        }
    }

    fn complete(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        #[derive(Deserialize)]
        struct CompletionParams<'a> {
            #[serde(borrow)]
            r#ref: Option<Ref<'a>>,
        }
        #[derive(Deserialize)]
        struct Ref<'a> {
            #[serde(borrow)]
            name: Option<&'a RawValue>,
            #[serde(borrow)]
            uri: Option<&'a RawValue>,
        }
        let Request { frame, .. } = *request;
        let params = serde_json::from_slice::<CompletionParams<'_>>(request.params()).ok();
        let (kind, raw) = match params.and_then(|params| params.r#ref) {
            Some(Ref { uri: Some(uri), .. }) => (ListKind::Templates, uri),
            Some(Ref { name: Some(name), .. }) => (ListKind::Prompts, name),
            Some(Ref { uri: None, name: None }) | None => {
                return self.decline(request, INVALID_PARAMS, "invalid params: a ref is missing", out);
            }
        };
        let at = raw.get().as_ptr() as usize - frame.as_ptr() as usize;
        let range = at..at + raw.get().len();
        if kind == ListKind::Prompts {
            return self.by_name(kind, Some(range), request, out);
        }
        let Some(template) = text(&frame[range.clone()]) else {
            return self.decline(request, INVALID_PARAMS, "invalid params: the uri is no text", out);
        };
        let Some((peer, view, servers)) = self.at(request.peer) else { return };
        match view.published(servers).find(kind, &template, peer.tables[kind as usize].as_deref()) {
            Some((server, own)) => {
                let edit = (*own != *template).then_some((range, &*own));
                self.dispatch(server, request, Call::new(request), edit, out);
            }
            // A reference to a resource itself is allowed too.
            None => self.by_uri(Some(range), request, out),
        }
    }

    fn set_level(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        let Request { peer, frame, envelope: e, id, .. } = *request;
        let params = e.params.clone().map(|r| &frame[r]);
        let Some(of) = self.peers.get_mut(peer) else { return };
        if !params.is_some_and(|params| of.wishes.set_level(params)) {
            return self.decline(request, INVALID_PARAMS, "invalid params: a level is missing", out);
        }
        for server in self.seen_by(peer) {
            self.pass_level(server, out);
        }
        self.peers.reply(peer, id, b"{}", out);
    }

    /// Passes the level on to a server that logs, as one of its peers may want another. Where a peer has the server for itself,
    /// its own request passes through.
    pub(super) fn pass_level(&mut self, server: ServerIndex, out: &mut dyn Out) {
        let first = self.first_of(server);
        if let Role::Several(_) = self.servers[first].role {
            // Each of them does the work of all peers.
            return self.alike(first).for_each(|server| {
                if !self.servers[server].lane.busy {
                    self.tell_level(server, out);
                }
            });
        }
        let lane = &self.servers[server].lane;
        if lane.busy {
            return; // told once it reads again
        }
        if lane.has_many() || !lane.only_viewer().is_some_and(|viewer| self.peers.is_alone(viewer)) {
            self.tell_level(server, out);
        }
    }

    /// Tells a server that logs the level that its peers want.
    pub(super) fn tell_level(&mut self, server: ServerIndex, out: &mut dyn Out) {
        let Hub { servers, peers, .. } = self;
        let hosted = &mut servers[server];
        let logs = hosted.welcome().is_some_and(|welcome| welcome.can("logging"));
        let lane = &mut hosted.lane;
        // Whoever has a server alone may have set a level that the server took without saying that it logs.
        let took = lane.viewers().any(|viewer| peers.is_alone(viewer));
        // A server that several share is told once it reads again.
        if lane.is_ready() && (took || logs && !lane.busy) {
            lane.send_level(peers, out);
        }
    }

    /// Refuses a request that is for no server.
    pub(super) fn decline(&mut self, request: &Request<'_>, code: i32, why: impl std::fmt::Display, out: &mut dyn Out) {
        request.note_unserved(About::Peer(request.peer), Outcome::Refused, out);
        self.peers.refuse(request.peer, request.id, code, why, out);
    }

    /// Sends a request to a server, or keeps it until that server can take it. Returns the process to which it was sent, if it
    /// was. `rename`: where the name is (a JSON string), and the server's own name.
    pub(super) fn dispatch(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        call: Call,
        rename: Option<(Range<usize>, &str)>,
        out: &mut dyn Out,
    ) -> Option<ServerIndex> {
        let quoted;
        let edit = match rename {
            // Nearly all names can stand between the quotes as they are.
            Some((range, own)) if own.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') => {
                Some((range.start + 1..range.end - 1, own.as_bytes()))
            }
            Some((range, own)) => {
                quoted = object::quoted(own);
                Some((range, quoted.as_bytes()))
            }
            None => None,
        };
        self.dispatch_raw(server, request, call, edit, out)
    }

    /// Does what [`Hub::dispatch`] does. `edit`: where raw bytes are exchanged, and for which.
    pub(super) fn dispatch_raw(
        &mut self,
        server: ServerIndex,
        request: &Request<'_>,
        mut call: Call,
        edit: Option<(Range<usize>, &[u8])>,
        out: &mut dyn Out,
    ) -> Option<ServerIndex> {
        let server = match self.stand_in(server, request, call.tool()) {
            Some(other) => {
                call.answer_is_of_another();
                other
            }
            None => server,
        };
        let server = self.process_for(server, request, out)?;
        let Hub { servers, peers, deadlines, .. } = self;
        let lane = &mut servers[server].lane;
        if !lane.has_room(request, &call, peers, out) {
            return None;
        }
        let deadline = call.terms.as_ref().and_then(|terms| terms.deadline);
        if !lane.admits(request, &call, peers, out) {
            self.arm(server);
            return None;
        }
        let mut edits = Edits::default();
        if let Some((range, with)) = edit {
            edits.replace(range, with);
        }
        if let Some(peer) = peers.get(request.peer) {
            lane.tell_caller(&peer.desk.hello, out);
        }
        let id = lane.forward(request, call, edits, out);
        if let Some(deadline) = deadline {
            deadlines.add_call(server, id, deadline);
        }
        Some(server)
    }

    /// Keeps a request with a name that nobody has, if a server has not yet said what it has, and else refuses it with
    /// `why`.
    fn keep_unrouted(&mut self, kind: ListKind, request: &Request<'_>, why: impl std::fmt::Display, out: &mut dyn Out) {
        let Request { peer, frame, now, .. } = *request;
        let view = self.view_of(peer);
        if !view.is_some_and(|view| view.is_awaited(&self.servers)) {
            // Not to know is no proof that it is wrong.
            let unread = view.and_then(|view| view.of(&self.servers).find(|server| !server.shelf.has(kind)));
            let Some(unread) = unread else { return self.decline(request, INVALID_PARAMS, why, out) };
            let why = format!("{why}; but server \"{}\" has not said what it has", unread.lane.name);
            return self.decline(request, UNAVAILABLE, why, out);
        }
        if !self.unrouted.push(peer, frame, now) {
            self.decline(request, UNAVAILABLE, "too much waits for servers that are starting", out);
        }
    }

    pub(super) fn cancel(&mut self, key: PeerId, frame: &[u8], e: &Envelope, out: &mut dyn Out) {
        let Some(wanted) = e.request_id.clone().map(|r| &frame[r]) else { return };
        if self.servers.iter_mut().any(|member| member.lane.cancel(key, frame, e, out)) {
            let Hub { deadlines, servers, .. } = self;
            return deadlines.retain_calls(|server, id| servers[server].lane.has(id));
        }
        if let Some(held) = self.unrouted.cancel(key, wanted).or_else(|| self.parting.cancel(key, wanted)) {
            return held.note_unserved(About::Peer(key), Outcome::Cancelled, out);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        // MCP: `initialize` must not be cancelled.
        let goes_on = |owed: &Owed| *owed.id != *wanted || !matches!(owed.what, Want::List(_));
        peer.owed.retain(goes_on);
        peer.due.retain(goes_on);
    }

    /// Answers a call that has lasted too long, before the endpoint gives up on it.
    pub(super) fn expire_call(&mut self, server: ServerIndex, id: u64, now: Instant, out: &mut dyn Out) {
        let lane = &mut self.servers[server].lane;
        let Some(call) = lane.abandon_call(id, "it took longer than mcp-pipe's timeout for it", out) else { return };
        let terms = call.terms.as_deref();
        let (what, limit) = terms.map_or(("", None), |terms| (&*terms.what, terms.timeout));
        let limit = crate::words::span(limit.unwrap_or_default());
        let message = format!(
            "{what} of server \"{}\" did not answer within {limit} (timeout), so mcp-pipe has cancelled the call",
            lane.name
        );
        let lasted = now.saturating_duration_since(call.since);
        out.note(Note::of(server, What::Cut { what, lasted, ends: false, trace: call.trace() }));
        let Hub { servers, peers, .. } = self;
        let lane = &mut servers[server].lane;
        // The limit of a search says nothing of the server: it need not know what is asked.
        if call.terms.as_ref().is_none_or(|terms| terms.search.is_none()) {
            lane.call_failed(Outcome::Timeout, now, out);
        }
        lane.fail(call, Outcome::Timeout, message, peers, out);
        self.arm(server);
        self.search_for_strays(server, now, out);
    }
}

/// The only one of these servers that has resources at all: what nobody lists may be its own.
fn only_keeper<'a>(servers: impl Iterator<Item = &'a Hosted>, uri: &str) -> Option<(ServerIndex, String)> {
    let keeps = |it: &&Hosted| it.shelf.welcome.as_ref().is_some_and(|welcome| welcome.can("resources"));
    let mut keepers = servers.filter(keeps);
    match (keepers.next(), keepers.next()) {
        (Some(only), None) => Some((only.lane.index, uri.to_owned())),
        _ => None,
    }
}

/// What the config says about calls of a tool.
fn terms(policy: &ToolPolicy, own: &str, name: &str, now: Instant) -> Option<Box<Terms>> {
    let (timeout, max_result) = (policy.timeout_of(own), policy.max_result_of(own));
    (timeout.is_some() || max_result.is_some()).then(|| {
        Box::new(Terms {
            timeout,
            deadline: timeout.map(|t| now + t),
            what: format!("tool {}", brief(name)).into(),
            max_result,
            ..Terms::default()
        })
    })
}

/// Most names that an error shows.
const SHOWN: usize = 4;

/// Names of which one is to be chosen, for an error.
fn or(mut names: Vec<String>) -> String {
    names.truncate(SHOWN);
    names.join(" or ")
}

/// The text of a JSON string.
fn text(token: &[u8]) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(token).ok().map(Cow::Owned)
}
