//! What a peer has read of the lists that pass through to it, page by page, as fingerprints.

use tokio::time::Instant;

use super::page;
use crate::mcp::lists::{ListKind, MAX_PAGES, Place};
use crate::router::changes::{Changes, DEBOUNCE, print};
use crate::router::earliest;

/// A page as a peer has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PagePrint {
    cursor: Option<u64>,
    next: Option<u64>,
    items: usize,
    /// A sum over the items: the same in another order is no change.
    print: u64,
}

/// A list as a peer has read it.
#[derive(Debug, Default)]
struct ListPages(Vec<PagePrint>);

impl ListPages {
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

/// What one peer has read, on its connection.
#[derive(Debug, Default)]
pub(in crate::router) struct Pages {
    lists: [ListPages; 4],
    /// When we look at a list that the server says has changed, unless the peer reads it before.
    pub(in crate::router) doubts: [Option<Instant>; 4],
    /// How often the server has said that a list has changed.
    versions: [u32; 4],
}

impl Pages {
    /// The peer asks for a page. Returns how often the list had changed by then, for [`Pages::on_read`]. A doubt stays until
    /// there is an answer: that may be an error.
    pub(in crate::router) fn asked(&mut self, place: Place, now: Instant) -> u32 {
        let k = place.kind as usize;
        if let (None, Some(at)) = (place.cursor, &mut self.doubts[k]) {
            *at = now + DEBOUNCE;
        }
        self.versions[k]
    }

    /// The peer gets a page: the result of its request, which it made when the list had changed `version` times.
    pub(in crate::router) fn on_read(&mut self, (place, version): (Place, u32), result: &[u8], changes: &mut Changes) {
        let Place { kind, cursor } = place;
        if cursor.is_none() && version == self.versions[kind as usize] {
            self.doubts[kind as usize] = None;
        }
        let pages = &mut self.lists[kind as usize];
        let Some(page) = page::read(result, kind) else {
            *pages = ListPages::default();
            return changes.forget(kind);
        };
        let next = page.next.as_deref().and_then(Place::cursor);
        pages.add(PagePrint { cursor, next, items: page.items.len(), print: sum(page.items.iter()) });
        changes.read(kind, pages.whole().1);
    }

    /// The server says that lists have changed.
    pub(in crate::router) fn on_list_changed(&mut self, kinds: &[ListKind], changes: &Changes, now: Instant) {
        for kind in kinds.iter().filter(|kind| changes.has_read(**kind)) {
            self.doubts[*kind as usize] = Some(now + DEBOUNCE);
            self.versions[*kind as usize] = self.versions[*kind as usize].wrapping_add(1);
        }
    }

    /// When the first list is looked at, if the server can be asked then.
    pub(in crate::router) fn next_doubt(&self) -> Option<Instant> {
        earliest(self.doubts)
    }

    /// The fingerprint that the server's present list has, of as much as the peer has read.
    pub(in crate::router) fn print_of(&self, kind: ListKind, items: &[Box<str>]) -> u64 {
        let (count, _, is_all) = self.lists[kind as usize].whole();
        sum(items.iter().take(if is_all { items.len() } else { count }))
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
        let mut pages = ListPages::default();
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
        let mut pages = ListPages::default();
        pages.add(page(None, Some(1), 1, 1));
        pages.add(page(Some(1), Some(1), 1, 1));
        assert_eq!(pages.whole(), (2, 2, false));
        for n in 1..1000 {
            pages.add(page(Some(n), Some(n + 1), 1, 1));
        }
        assert_eq!(pages.whole(), (MAX_PAGES, MAX_PAGES as u64, false));
    }
}
