//! Processes of a server beside its first one, each for one endpoint: the router says when they are to begin and to end.

use super::*;

impl Pipe {
    /// Does what the router wants of processes that are for one endpoint each; returns whether that was anything.
    pub(super) fn arrange(&mut self, now: Instant) -> bool {
        let arranged = std::mem::take(&mut self.sides.arranged);
        for (index, what) in &arranged {
            match what {
                Arrangement::Start { .. } => self.start_further(*index, now),
                Arrangement::Replace(why) => {
                    let side = &mut self.sides.each[*index];
                    side.stdin.clear();
                    side.begins(now);
                    self.servers[*index].restart(why);
                }
                Arrangement::End => self.servers[*index].stop(false),
            }
            self.woken.servers.insert(*index);
        }
        !arranged.is_empty()
    }

    /// Starts a further process in a place that is its own already.
    pub(super) fn start_further(&mut self, index: ServerIndex, now: Instant) {
        let Some(first) = self.sides.each[index].first else { return };
        let side = self.sides.each[first].further(first, index, now);
        self.put_server(index, side);
        self.heed(index, now);
        if matches!(self.phase, PipePhase::Closing) {
            // Nothing begins any more.
            self.servers[index].stop(true);
        }
    }

    /// The further processes of a server that are there, those that are ending as well.
    pub(super) fn further_of(&self, first: ServerIndex) -> impl Iterator<Item = ServerIndex> + use<> {
        let is_one = |(_, side): &(usize, &Side)| side.first == Some(first);
        let further: Vec<ServerIndex> =
            self.sides.each.iter().enumerate().filter(is_one).map(|(index, _)| index).collect();
        further.into_iter()
    }
}
