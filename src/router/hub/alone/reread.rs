//! What each peer has read of a server's lists, page by page, and whether the server still says the same.
//!
//! # Theory of operation
//!
//! A list passes through untouched, and a fingerprint of the items is kept of each page that a peer reads. We ask the server
//! for a list only where there is a doubt: in a new life of the server, for all lists that a peer has read on its
//! connection; and where the server said that a list has changed and a peer has not read it within a few seconds. The
//! server's answer is compared with as much of the list as each peer has read: some endpoints never ask for a second page.

use tokio::time::Instant;

use crate::mcp::lists::ListKind;
use crate::router::lane::{Flight, Lane, Reader, Reading};
use crate::router::listing::shelf::{PageAnswer, Paged, Shelf};
use crate::router::peers::{Peer, Peers};
use crate::router::{Out, ServerIndex};

/// What it takes to ask the server.
pub(in crate::router::hub) struct Asking<'a> {
    pub(in crate::router::hub) lane: &'a mut Lane,
    pub(in crate::router::hub) now: Instant,
    pub(in crate::router::hub) out: &'a mut dyn Out,
}

impl Asking<'_> {
    fn page(&mut self, kind: ListKind, number: u32, params: Option<&[u8]>) {
        self.lane.send(Flight::List(Reading { reader: Reader::Reread, kind, number }), kind.method(), params, self.out);
    }
}

/// The lists that a notification of the server says have changed.
pub(in crate::router::hub) fn changed_lists(method: &[u8]) -> &'static [ListKind] {
    match method {
        b"notifications/tools/list_changed" => &[ListKind::Tools],
        b"notifications/prompts/list_changed" => &[ListKind::Prompts],
        b"notifications/resources/list_changed" => &[ListKind::Resources, ListKind::Templates],
        _ => &[],
    }
}

/// The lists that we are reading of the server. See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::router::hub) struct Reread {
    shelf: Option<Box<Shelf>>,
}

impl Reread {
    /// No connection is left that anything was read on.
    pub(in crate::router::hub) fn link_down(&mut self) {
        self.shelf = None;
    }

    /// The server's process is gone, and our requests with it.
    pub(in crate::router::hub) fn server_down(&mut self, server: ServerIndex, peers: &mut Peers) {
        self.shelf = None;
        for (_, peer) in peers.alone_with(server) {
            peer.pages.doubts = Default::default();
        }
    }

    /// The server has begun another life: reads the lists that peers have read, to see whether they are still the same.
    pub(in crate::router::hub) fn begin(&mut self, peers: &mut Peers, server: &mut Asking<'_>) {
        for kind in ListKind::ALL {
            if peers.alone_with(server.lane.index).any(|(_, peer)| peer.changes.has_read(kind)) {
                self.read(kind, peers, server);
            }
        }
    }

    fn read(&mut self, kind: ListKind, peers: &mut Peers, server: &mut Asking<'_>) {
        for (_, peer) in peers.alone_with(server.lane.index) {
            peer.pages.doubts[kind as usize] = None;
        }
        let shelf = self.shelf.get_or_insert_with(|| Box::new(Shelf::new(None)));
        if let Some(number) = shelf.begin(kind, server.now) {
            server.page(kind, number, None);
        }
    }

    /// The server has answered our request for a page. Once a list is read, each peer is told if it has read another one.
    pub(in crate::router::hub) fn on_page(
        &mut self,
        (kind, number): (ListKind, u32),
        answer: PageAnswer<'_>,
        peers: &mut Peers,
        server: &mut Asking<'_>,
    ) {
        let Some(shelf) = self.shelf.as_mut() else { return };
        match shelf.on_page(kind, number, answer, server.now) {
            Paged::Stale | Paged::Failed => {}
            Paged::More(params) => server.page(kind, number, Some(&params)),
            Paged::Again => self.read(kind, peers, server),
            Paged::Done(_) => {
                for (_, peer) in peers.alone_with(server.lane.index) {
                    let print = peer.pages.print_of(kind, shelf.lists.get(kind));
                    peer.changes.compare(None, |read| (read == kind).then_some(print), server.now, server.out);
                }
                shelf.lists.set(kind, Vec::new());
            }
        }
        self.shelf.take_if(|shelf| shelf.next_tick(true).is_none());
    }

    /// Does what is due at [`Reread::next_tick`].
    pub(in crate::router::hub) fn tick(&mut self, peers: &mut Peers, server: &mut Asking<'_>) {
        let now = server.now;
        for kind in ListKind::ALL {
            let shelf = self.shelf.as_ref();
            let is_due = shelf.is_some_and(|shelf| shelf.is_due(kind, now));
            let doubts = |peer: &mut Peer| peer.pages.doubts[kind as usize].is_some_and(|at| at <= now);
            let mut is_doubtful = || peers.alone_with(server.lane.index).any(|(_, peer)| doubts(peer));
            if let Some(number) = shelf.and_then(|shelf| shelf.is_late(kind, now)) {
                server.lane.abandon_list(Reading { reader: Reader::Reread, kind, number }, server.out);
                self.on_page((kind, number), PageAnswer::Failed, peers, server);
            } else if server.lane.is_ready() && (is_due || is_doubtful()) {
                self.read(kind, peers, server);
            }
        }
    }

    /// When [`Reread::tick`] has something to do, besides [`Pages::next_doubt`]. `ready`: the server can be asked.
    pub(in crate::router::hub) fn next_tick(&self, ready: bool) -> Option<Instant> {
        self.shelf.as_ref().and_then(|shelf| shelf.next_tick(ready))
    }
}
