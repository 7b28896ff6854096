//! Which peer has which process of a server, where each has one of its own: who gets one, which makes room, and which is ended. Pure.
//!
//! The *first* process of a server answers for handshakes and lists, whoever asks, and does the work of the first peer that has any.
//! Each further peer gets a *further* process. A process that has worked for a peer never works for another one: another process
//! takes its place before that place is given away.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::PerPeer;
use crate::router::{PeerId, ServerIndex};

/// Longest time for which the first process, whose peer is gone, is kept for lists that others have asked for: servers answer
/// these within moments, and one that does not must not keep the next peer from a process that is there.
const LISTS: Duration = Duration::from_secs(5);

/// The processes of a server of which each peer has its own, by their places among all servers.
#[derive(Debug)]
pub(super) struct Pool {
    bounds: PerPeer,
    /// The first process, and all further ones.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    server: ServerIndex,
    tenant: Tenant,
}

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenant {
    /// Nobody's so far: no peer has left anything in it. Only the first process is ever free.
    Free,
    /// This peer's, which used it last at that time.
    Peer(PeerId, Instant),
    /// Of a peer that has it no more, since then. A further process is ending; the first is to be replaced.
    Left(Instant),
}

/// Where a peer that has no process gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// The first process is free.
    Free(ServerIndex),
    /// One process more may be started.
    More,
    /// This place: the process there has worked for another peer, and another one takes its place.
    Instead(ServerIndex),
    /// Nowhere: there are so many processes, and all are in use.
    Full(usize),
}

impl Pool {
    /// The first process alone, which no peer has used.
    pub(super) fn new(first: ServerIndex, bounds: PerPeer) -> Self {
        Pool { bounds, places: vec![Place { server: first, tenant: Tenant::Free }] }
    }

    /// From now on, these bounds count.
    pub(super) fn set_bounds(&mut self, bounds: PerPeer) {
        self.bounds = bounds;
    }

    /// The process that a peer has.
    pub(super) fn of(&self, peer: PeerId) -> Option<ServerIndex> {
        let is_its = |place: &&Place| matches!(place.tenant, Tenant::Peer(of, _) if of == peer);
        self.places.iter().find(is_its).map(|place| place.server)
    }

    /// The processes that peers have, each with its peer.
    pub(super) fn owned(&self) -> impl Iterator<Item = (ServerIndex, PeerId)> + use<'_> {
        self.places.iter().filter_map(|place| match place.tenant {
            Tenant::Peer(peer, _) => Some((place.server, peer)),
            Tenant::Free | Tenant::Left(_) => None,
        })
    }

    /// The peer that has a process.
    pub(super) fn owner(&self, server: ServerIndex) -> Option<PeerId> {
        match self.places.iter().find(|place| place.server == server)?.tenant {
            Tenant::Peer(peer, _) => Some(peer),
            Tenant::Free | Tenant::Left(_) => None,
        }
    }

    /// The further processes that peers have.
    pub(super) fn further(&self) -> impl Iterator<Item = ServerIndex> + use<'_> {
        self.places.iter().skip(1).filter(|place| matches!(place.tenant, Tenant::Peer(..))).map(|place| place.server)
    }

    /// Whether no peer has used the first process.
    pub(super) fn is_first_free(&self) -> bool {
        self.places.first().is_some_and(|first| first.tenant == Tenant::Free)
    }

    /// Where a peer gets a process that has none. `is_idle`: whether nothing is under way at a process, and its peer follows nothing
    /// there.
    pub(super) fn room(&self, is_idle: impl Fn(ServerIndex) -> bool) -> Room {
        if let Some(first) = self.places.first().filter(|first| first.tenant == Tenant::Free) {
            return Room::Free(first.server);
        }
        if self.places.len() < self.bounds.most {
            return Room::More;
        }
        let left = |place: &&Place| matches!(place.tenant, Tenant::Left(_));
        if let Some(ending) = self.places.iter().find(left) {
            return Room::Instead(ending.server);
        }
        let used = |place: &Place| match place.tenant {
            Tenant::Peer(_, used) if is_idle(place.server) => Some((used, place.server)),
            Tenant::Peer(..) | Tenant::Free | Tenant::Left(_) => None,
        };
        let longest_idle = self.places.iter().filter_map(used).min();
        longest_idle.map_or(Room::Full(self.places.len()), |(_, server)| Room::Instead(server))
    }

    /// A peer gets a process, which may be one more.
    pub(super) fn give(&mut self, server: ServerIndex, peer: PeerId, now: Instant) {
        let tenant = Tenant::Peer(peer, now);
        match self.place(server) {
            Some(place) => place.tenant = tenant,
            None => self.places.push(Place { server, tenant }),
        }
    }

    /// A peer has used a process, which counts if it is that peer's.
    pub(super) fn used(&mut self, server: ServerIndex, by: PeerId, now: Instant) {
        if let Some(Place { tenant: Tenant::Peer(peer, used), .. }) = self.place(server)
            && *peer == by
        {
            *used = now.max(*used);
        }
    }

    /// The peer of a process has it no more.
    pub(super) fn leave(&mut self, server: ServerIndex, now: Instant) {
        if let Some(place) = self.place(server) {
            place.tenant = Tenant::Left(now);
        }
    }

    /// The first process is replaced by one that nobody has used.
    pub(super) fn renew_first(&mut self) {
        if let Some(first) = self.places.first_mut() {
            first.tenant = Tenant::Free;
        }
    }

    /// A further process is gone.
    pub(super) fn remove(&mut self, server: ServerIndex) {
        let at = self.places.iter().skip(1).position(|place| place.server == server);
        if let Some(at) = at {
            self.places.remove(at + 1);
        }
    }

    /// The further processes that have been used for the last time so long ago that they may be ended.
    pub(super) fn due(&self, now: Instant) -> Vec<ServerIndex> {
        let is_due = |place: &&Place| matches!(place.tenant, Tenant::Peer(_, used) if used + self.bounds.idle <= now);
        self.places.iter().skip(1).filter(is_due).map(|place| place.server).collect()
    }

    /// Whether the first process has to be replaced, as what it knows of a peer that is gone must not reach another. `is_asked`:
    /// whether others wait for lists from it.
    pub(super) fn is_first_stale(&self, is_asked: bool, now: Instant) -> bool {
        self.places.first().is_some_and(|first| match first.tenant {
            Tenant::Left(since) => !is_asked || since + LISTS <= now,
            Tenant::Free | Tenant::Peer(..) => false,
        })
    }

    /// When [`Pool::due`] or [`Pool::is_first_stale`] has something to tell that no event of a process tells before.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let first = self.places.first().and_then(|first| match first.tenant {
            Tenant::Left(since) => Some(since + LISTS),
            Tenant::Free | Tenant::Peer(..) => None,
        });
        let further = self.places.iter().skip(1).filter_map(|place| match place.tenant {
            Tenant::Peer(_, used) => Some(used + self.bounds.idle),
            Tenant::Free | Tenant::Left(_) => None,
        });
        further.chain(first).min()
    }

    fn place(&mut self, server: ServerIndex) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.server == server)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    const IDLE: Duration = Duration::from_secs(600);
    const FIRST: ServerIndex = 7;

    /// A pool, and so many peers.
    fn pool(most: usize) -> (Pool, [PeerId; 4], Instant) {
        let mut peers: SlotMap<PeerId, ()> = SlotMap::with_key();
        let pool = Pool::new(FIRST, PerPeer { idle: IDLE, most });
        (pool, [(); 4].map(|()| peers.insert(())), Instant::now())
    }

    #[test]
    fn the_first_process_is_given_first_then_one_more_then_the_longest_idle() {
        let (mut pool, [a, b, c, d], now) = pool(3);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(pool.room(|_| true), Room::Free(FIRST));
        pool.give(FIRST, a, at(0));
        assert_eq!(pool.room(|_| true), Room::More);
        pool.give(1, b, at(1));
        pool.give(2, c, at(2));
        assert_eq!((pool.of(a), pool.of(b), pool.of(c), pool.of(d)), (Some(FIRST), Some(1), Some(2), None));
        assert_eq!(pool.further().collect::<Vec<_>>(), [1, 2]);
        for (idle, room) in [
            (&[FIRST, 1, 2][..], Room::Instead(FIRST)),
            (&[1, 2], Room::Instead(1)),
            (&[2], Room::Instead(2)),
            (&[], Room::Full(3)),
        ] {
            assert_eq!(pool.room(|server| idle.contains(&server)), room, "{idle:?}");
        }
        pool.used(FIRST, a, at(3));
        pool.used(1, a, at(9));
        assert_eq!(pool.room(|_| true), Room::Instead(1), "what another one does there is no use of its peer");
        // One that is ending anyway comes first, and counts until it is gone.
        pool.leave(2, at(4));
        assert_eq!((pool.room(|_| false), pool.owner(2)), (Room::Instead(2), None));
        pool.remove(2);
        assert_eq!(pool.room(|_| false), Room::More);
    }

    #[test]
    fn further_processes_are_due_after_their_time_and_the_first_is_not() {
        let (mut pool, [a, b, c, _], now) = pool(16);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(pool.next_tick(), None);
        pool.give(FIRST, a, at(0));
        assert_eq!(pool.next_tick(), None);
        pool.give(1, b, at(10));
        pool.give(2, c, at(20));
        assert_eq!(pool.next_tick(), Some(at(10) + IDLE));
        assert!(pool.due(at(10) + IDLE - Duration::from_millis(1)).is_empty());
        assert_eq!(pool.due(at(10) + IDLE), [1]);
        pool.used(1, b, at(30));
        assert_eq!(pool.due(at(20) + IDLE), [2]);
        pool.set_bounds(PerPeer { idle: IDLE / 2, most: 16 });
        assert_eq!(pool.due(at(30) + IDLE / 2), [1, 2]);
        pool.leave(1, at(40));
        assert_eq!(pool.due(at(30) + IDLE / 2), [2], "it is ending already");
    }

    #[test]
    fn the_first_process_is_stale_once_its_peer_is_gone_and_nobody_waits_or_has_waited_for_long() {
        let (mut pool, [a, ..], now) = pool(16);
        let is_stale = |pool: &Pool, is_asked, after| pool.is_first_stale(is_asked, now + after);
        assert!(!is_stale(&pool, false, LISTS), "nobody has used it");
        pool.give(FIRST, a, now);
        assert!(!is_stale(&pool, false, LISTS));
        pool.leave(FIRST, now);
        assert_eq!((pool.owner(FIRST), pool.next_tick()), (None, Some(now + LISTS)));
        assert!(is_stale(&pool, false, Duration::ZERO) && !is_stale(&pool, true, Duration::ZERO));
        assert!(is_stale(&pool, true, LISTS));
        pool.renew_first();
        assert!(pool.is_first_free() && !is_stale(&pool, false, LISTS));
        assert_eq!(pool.places.first().unwrap().server, FIRST);
    }
}
