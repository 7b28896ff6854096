//! Requests that nobody here can place: they go to the servers that might know, one after the other.

use super::*;
use crate::router::lane::{Call, Terms};
use crate::router::search::{AnswerRank, KEPT, Search};

/// Longest time, from when a request came, that all servers but the last may take to say whether they know its method.
const KNOWN: Duration = Duration::from_secs(60);

/// Longest time that a server may take to read a resource that it does not list, before the next one is asked: a server that
/// hangs must not keep from the endpoint what others have.
const READ: Duration = Duration::from_secs(10);

impl Hub {
    /// A request of a method that is not known here, or of a resource that nobody lists.
    pub(super) fn search(&mut self, request: &Request<'_>, out: &mut dyn Out) {
        // Reading changes nothing.
        let search = Search::new(request.method == b"resources/read");
        self.ask_next(request, (Call::new(request), search), request.now, out);
    }

    /// Sends a request to the next server that might know it, or answers with the best answer so far.
    fn ask_next(
        &mut self,
        request: &Request<'_>,
        (mut call, mut search): (Call, Search),
        now: Instant,
        out: &mut dyn Out,
    ) {
        let next = self.who_might_know(request, search.next);
        let Some(server) = next else {
            return match search.take_answer() {
                Some(answer) => {
                    out.to_peer(call.peer, &[&answer]);
                    self.peers.count_answered(call.peer);
                    // No server's answer was what was asked for.
                    request.note_unserved(About::Peer(call.peer), Outcome::RpcError, out);
                }
                None if self.view_of(request.peer).is_some_and(|view| view.is_awaited(&self.servers))
                    && self.unrouted.push(request.peer, request.frame, request.now) => {}
                None => {
                    let why = "no server that may know this is running";
                    request.note_unserved(About::Peer(call.peer), Outcome::ServerDown, out);
                    self.peers.refuse(call.peer, call.id(), UNAVAILABLE, why, out);
                }
            };
        };
        search.next = server + 1;
        // The last server that can be asked may take as long as it needs: the limit is for finding the server that knows.
        let limit = self
            .who_might_know(request, server + 1)
            .map(|_| if search.reads { (READ, now + READ) } else { (KNOWN, request.now + KNOWN) });
        let kept = request.frame.len() <= KEPT && (limit.is_some() || search.has_answer());
        call.terms = kept.then(|| {
            search.request = request.frame.into();
            Box::new(Terms {
                timeout: limit.map(|(limit, _)| limit),
                deadline: limit.map(|(_, deadline)| deadline),
                what: String::from_utf8_lossy(call.method()).into(),
                search: Some(search),
                ..Terms::default()
            })
        });
        self.dispatch(server, request, call, None, out);
    }

    /// The first server from `from` on that can be asked, of those that the peer sees. If any of these has resources, requests
    /// about them go only to such servers.
    fn who_might_know(&self, request: &Request<'_>, from: ServerIndex) -> Option<ServerIndex> {
        let keeps = |server: &Hosted| server.shelf.welcome.as_ref().is_some_and(|welcome| welcome.can("resources"));
        let view = self.view_of(request.peer)?;
        let all = !request.method.starts_with(b"resources/") || !view.of(&self.servers).any(keeps);
        let able = |it: &&Hosted| it.lane.takes_calls() && (all || keeps(it));
        let indices = view.of(&self.servers).filter(able).map(|server| server.lane.index);
        indices.filter(|index| *index >= from).min()
    }

    /// A server's answer is not what was asked for, and the next one is asked.
    pub(super) fn search_on(&mut self, call: Call, mut search: Search, now: Instant, out: &mut dyn Out) {
        let frame = std::mem::take(&mut search.request);
        let Some(envelope) = envelope::scan_one(&frame) else { return };
        let (id, method) = (call.id().to_vec(), call.method().to_vec());
        let (peer, now_asked) = (call.peer, call.since);
        let request = Request { peer, frame: &frame, envelope: &envelope, id: &id, method: &method, now: now_asked };
        self.ask_next(&request, (call, search), now, out);
    }

    /// Calls that a server can't answer any more go to the next server that may be asked.
    pub(super) fn search_for_strays(&mut self, server: ServerIndex, now: Instant, out: &mut dyn Out) {
        for (mut call, message) in std::mem::take(&mut self.servers[server].lane.strays) {
            let Some(mut search) = call.terms.take().and_then(|terms| terms.search) else { continue };
            search.keep_answer(AnswerRank::Failed, reply::error(call.id(), UNAVAILABLE, message));
            self.search_on(call, search, now, out);
        }
    }
}
