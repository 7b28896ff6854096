//! Servers that have come by themselves: each is there as long as its connection, and seen only by the guests of its room.

use super::*;
use crate::config::Room;
use crate::passage::Passage;

impl Pipe {
    /// Adds a server that has come over these lines, and has its room see it.
    pub(super) fn add_comer(&mut self, room: &Room, lines: Passage, now: Instant) {
        self.arrange(now);
        let spec = Arc::new(ServerSpec::of_comer(self.free_name(room), room.clone()));
        let Some(router) = self.router.turns() else { return };
        let index = router.hub.add_server(&spec, None);
        let Run { guard, redactor, .. } = self.run.clone();
        let server = Server::of_comer(spec.clone(), lines, guard, redactor);
        // No person's command names it.
        let (_, goal) = watch::channel(Goal::default());
        self.place_server(index, Side::new(spec, ServerEntry::of_nobody(), goal, now), server);
        self.show_room(room, None, now);
    }

    /// What the next server of a room is called: by its room and a number, the least that no server has. So one that comes back after it
    /// has gone has its name again.
    fn free_name(&self, room: &Room) -> Arc<str> {
        let is_taken = |name: &str| self.sides.each.iter().any(|side| *side.name == *name);
        let mut names = (1_usize..).map(|number| format!("{}/{number}", room.name()));
        names.find(|name| !is_taken(name)).unwrap_or_default().into()
    }

    /// The servers of a room.
    pub(super) fn comers_of(&self, room: &Room) -> impl Iterator<Item = ServerIndex> {
        let each = self.sides.each.iter().enumerate();
        each.filter(move |(_, side)| side.room() == Some(room)).map(|(index, _)| index)
    }

    /// Whether a server that has ended is gone with its connection, and not because all ends.
    pub(super) fn is_gone_comer(&self, index: ServerIndex) -> bool {
        !matches!(self.phase, PipePhase::Closing) && self.sides.each[index].room().is_some()
    }

    /// Has the guests of a room see which servers are there, without one that is about to be gone.
    pub(super) fn show_room(&mut self, room: &Room, gone: Option<ServerIndex>, now: Instant) {
        for ((shown, _), view) in self.gates.clone() {
            let servers = self.firsts_but(&shown, gone).filter(|_| shown.room.as_ref() == Some(room));
            let Some(servers) = servers else { continue };
            let show = self.show_of(&shown, &servers);
            let Some(router) = self.router.turns() else { return };
            router.hub.change_view(view, show, now, &mut self.sides);
            let sees = |link: &LinkSide| link.shown.as_ref().is_some_and(|(its, _)| Arc::ptr_eq(its, &shown));
            for place in (0..self.links.len()).filter(|place| sees(&self.sides.links.each[*place])).collect::<Vec<_>>()
            {
                self.note_shown(place, servers.clone(), Some(room));
                self.woken.links.insert(place);
                self.touched.insert(place);
            }
        }
    }
}
