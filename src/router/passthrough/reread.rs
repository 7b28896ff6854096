//! What the endpoint has read of a server's lists, page by page, and whether the server still says the same.
//!
//! # Theory of operation
//!
//! A list passes through untouched, and a fingerprint of the items is kept of each page that the endpoint reads. We ask the
//! server for a list only where there is a doubt: in a new life of the server, for all lists that the endpoint has read on
//! its connection; and where the server said that a list has changed and the endpoint has not read it within a few seconds.
//! The server's answer is compared with as much of the list as the endpoint has read: some endpoints never ask for a second
//! page.

use tokio::time::Instant;

use crate::mcp::lists::{ListKind, Place};
use crate::router::changes::{Changes, DEBOUNCE, print};
use crate::router::lane::{Flight, Lane};
use crate::router::merge::page;
use crate::router::merge::shelf::{PageAnswer, Paged, Shelf};
use crate::router::{Out, earliest};

/// Most pages of a list that are told apart. Pages beyond that are not compared.
const MAX_PAGES: usize = 200;

/// What it takes to ask the server.
pub(super) struct Asking<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) now: Instant,
    pub(super) out: &'a mut dyn Out,
}

impl Asking<'_> {
    fn page(&mut self, kind: ListKind, number: u32, params: Option<&[u8]>) {
        self.lane.send(Flight::List(kind, number), kind.method(), params, self.out);
    }
}

/// A page as the endpoint has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PagePrint {
    cursor: Option<u64>,
    next: Option<u64>,
    items: usize,
    /// A sum over the items: the same in another order is no change.
    print: u64,
}

/// A list as the endpoint has read it.
#[derive(Debug, Default)]
struct Pages(Vec<PagePrint>);

impl Pages {
    /// One more page.
    fn add(&mut self, page: PagePrint) {
        match self.0.iter().position(|other| other.cursor == page.cursor) {
            Some(at) if self.0[at] == page => {}
            // The list is another one now, and nothing is known of its other pages.
            _ if page.cursor.is_none() => self.0 = vec![page],
            Some(at) => self.0[at] = page,
            None if self.0.len() < MAX_PAGES => self.0.push(page),
            None => {}
        }
    }

    /// How many items follow each other without a gap from the start, their fingerprint, and whether the list ends there.
    fn whole(&self) -> (usize, u64, bool) {
        let (mut items, mut sum, mut cursor) = (0, 0_u64, None);
        // The number of pages also ends a circle of cursors.
        for _ in 0..self.0.len() {
            let Some(page) = self.0.iter().find(|page| page.cursor == cursor) else { break };
            (items, sum) = (items + page.items, sum.wrapping_add(page.print));
            cursor = page.next;
            if cursor.is_none() {
                return (items, sum, true);
            }
        }
        (items, sum, false)
    }
}

fn sum<'a>(items: impl Iterator<Item = &'a Box<str>>) -> u64 {
    items.fold(0, |sum, item| sum.wrapping_add(print(item)))
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Reread {
    pages: [Pages; 4],
    /// When we look at a list that the server says has changed, unless the endpoint reads it before.
    doubts: [Option<Instant>; 4],
    /// How often the server has said that a list has changed, on this connection.
    versions: [u32; 4],
    /// The lists that we are reading.
    shelf: Option<Box<Shelf>>,
}

impl Reread {
    /// The connection is gone, and what was read on it is of no interest any more.
    pub(super) fn link_down(&mut self) {
        *self = Reread::default();
    }

    /// The server's process is gone, and our requests with it.
    pub(super) fn server_down(&mut self) {
        self.shelf = None;
        self.doubts = Default::default();
    }

    /// The endpoint asks for a page. Returns how often the list had changed by then, for [`Reread::on_read`]. A doubt stays until
    /// there is an answer: that may be an error.
    pub(super) fn asked(&mut self, place: Place, now: Instant) -> u32 {
        let k = place.kind as usize;
        if let (None, Some(at)) = (place.cursor, &mut self.doubts[k]) {
            *at = now + DEBOUNCE;
        }
        self.versions[k]
    }

    /// The endpoint gets a page: the result of its request, which it made when the list had changed `version` times.
    pub(super) fn on_read(&mut self, place: Place, version: u32, result: &[u8], changes: &mut Changes) {
        let Place { kind, cursor } = place;
        if cursor.is_none() && version == self.versions[kind as usize] {
            self.doubts[kind as usize] = None;
        }
        let pages = &mut self.pages[kind as usize];
        let Some(page) = page::read(result, kind) else {
            *pages = Pages::default();
            return changes.forget(kind);
        };
        let next = page.next.as_deref().and_then(Place::cursor);
        pages.add(PagePrint { cursor, next, items: page.items.len(), print: sum(page.items.iter()) });
        changes.read(kind, pages.whole().1);
    }

    /// The server says that lists have changed.
    pub(super) fn on_list_changed(&mut self, method: &[u8], changes: &Changes, now: Instant) {
        let kinds: &[ListKind] = match method {
            b"notifications/tools/list_changed" => &[ListKind::Tools],
            b"notifications/prompts/list_changed" => &[ListKind::Prompts],
            b"notifications/resources/list_changed" => &[ListKind::Resources, ListKind::Templates],
            _ => &[],
        };
        for kind in kinds.iter().filter(|kind| changes.has_read(**kind)) {
            self.doubts[*kind as usize] = Some(now + DEBOUNCE);
            self.versions[*kind as usize] = self.versions[*kind as usize].wrapping_add(1);
        }
    }

    /// The server has begun another life: reads the lists that the endpoint has read, to see whether they are still the
    /// same.
    pub(super) fn begin(&mut self, changes: &Changes, server: &mut Asking<'_>) {
        for kind in ListKind::ALL.into_iter().filter(|kind| changes.has_read(*kind)) {
            self.read(kind, server);
        }
    }

    fn read(&mut self, kind: ListKind, server: &mut Asking<'_>) {
        self.doubts[kind as usize] = None;
        let shelf = self.shelf.get_or_insert_with(|| Box::new(Shelf::new(None)));
        if let Some(number) = shelf.begin(kind, server.now) {
            server.page(kind, number, None);
        }
    }

    /// The server has answered our request for a page. Returns the fingerprint of a list once it is read, of as much as the
    /// endpoint has read.
    pub(super) fn on_page(
        &mut self,
        kind: ListKind,
        number: u32,
        answer: PageAnswer<'_>,
        server: &mut Asking<'_>,
    ) -> Option<u64> {
        let shelf = self.shelf.as_mut()?;
        let mut found = None;
        match shelf.on_page(kind, number, answer, server.now) {
            Paged::Stale | Paged::Failed => {}
            Paged::More(params) => server.page(kind, number, Some(&params)),
            Paged::Again => self.read(kind, server),
            Paged::Done(_) => {
                let (count, _, is_all) = self.pages[kind as usize].whole();
                let items = shelf.lists.get(kind);
                found = Some(sum(items.iter().take(if is_all { items.len() } else { count })));
                shelf.lists.set(kind, Vec::new());
            }
        }
        self.shelf.take_if(|shelf| shelf.next_tick(true).is_none());
        found
    }

    /// Does what is due at [`Reread::next_tick`].
    pub(super) fn tick(&mut self, server: &mut Asking<'_>) {
        let now = server.now;
        for kind in ListKind::ALL {
            let shelf = self.shelf.as_ref();
            let is_due = shelf.is_some_and(|shelf| shelf.is_due(kind, now));
            let is_doubtful = self.doubts[kind as usize].is_some_and(|at| at <= now);
            if let Some(number) = shelf.and_then(|shelf| shelf.is_late(kind, now)) {
                server.lane.abandon_list(kind, number, server.out);
                self.on_page(kind, number, PageAnswer::Failed, server);
            } else if server.lane.is_ready() && (is_due || is_doubtful) {
                self.read(kind, server);
            }
        }
    }

    /// When [`Reread::tick`] has something to do. `ready`: the server can be asked.
    pub(super) fn next_tick(&self, ready: bool) -> Option<Instant> {
        let shelf = self.shelf.as_ref().and_then(|shelf| shelf.next_tick(ready));
        let doubts = if ready { earliest(self.doubts) } else { None };
        earliest([doubts, shelf])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: Option<u64>, next: Option<u64>, items: usize, print: u64) -> PagePrint {
        PagePrint { cursor, next, items, print }
    }

    #[test]
    fn pages_make_a_list_in_whatever_order_and_how_often_they_are_read() {
        let mut pages = Pages::default();
        assert_eq!(pages.whole(), (0, 0, false));
        pages.add(page(None, Some(1), 2, 10));
        assert_eq!(pages.whole(), (2, 10, false));
        // Another robot reads it meanwhile.
        pages.add(page(None, Some(1), 2, 10));
        pages.add(page(Some(1), Some(2), 2, 100));
        pages.add(page(Some(1), Some(2), 2, 100));
        pages.add(page(Some(2), None, 1, 1000));
        assert_eq!(pages.whole(), (5, 1110, true));
        pages.add(page(Some(2), None, 1, 2000));
        assert_eq!(pages.whole(), (5, 2110, true), "one of them is another now");
        pages.add(page(None, Some(1), 2, 11));
        assert_eq!(pages.whole(), (2, 11, false), "so are all behind it");
    }

    #[test]
    fn pages_that_lead_in_a_circle_or_never_end_are_bounded() {
        let mut pages = Pages::default();
        pages.add(page(None, Some(1), 1, 1));
        pages.add(page(Some(1), Some(1), 1, 1));
        assert_eq!(pages.whole(), (2, 2, false));
        for n in 1..1000 {
            pages.add(page(Some(n), Some(n + 1), 1, 1));
        }
        assert_eq!(pages.whole(), (MAX_PAGES, MAX_PAGES as u64, false));
    }
}
