//! What a person tells a pipe while it runs, and what the pipe does about it.
//!
//! What is wanted of a server is a level, not an event: the pipe looks at it whenever it is told to look, and at its own start.
//! So an order that was overtaken costs nothing, and one given while there is no pipe (between two layouts) is not lost.

use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::router::Bar;
use crate::server::wanted::{Goal, Step, Wanted};

/// Most orders that a pipe has not yet read. A pipe reads each at once, and no person is faster; of orders to look one is as good as
/// many.
const UNREAD: usize = 16;

/// What comes of an order, or why nothing does, in words for a person.
pub(crate) type Told = Result<String, String>;

/// What a pipe is told.
#[derive(Debug)]
pub(crate) enum PipeOrder {
    /// To look at what is wanted of its servers.
    Look,
    /// A command about the turns.
    Turn(TurnCommand, Option<oneshot::Sender<Told>>),
    /// To make the connection anew now, whatever was to be waited for.
    Redial(oneshot::Sender<Told>),
}

/// The end of a pipe where orders come.
#[derive(Debug)]
pub(crate) struct PipeOrders {
    /// Boxed: each channel has room for some dozens from its start, and nearly all pipes are told nothing, ever.
    orders: mpsc::Receiver<Box<PipeOrder>>,
    /// What is wanted of each server, in the order of the pipe's servers.
    wanted: Vec<watch::Receiver<Goal>>,
    /// What the pipe has taken note of.
    heeded: Vec<Goal>,
}

/// The two ends by which a pipe is told something. `wanted`: what is wanted of each of its servers.
pub(crate) fn orders(wanted: Vec<watch::Receiver<Goal>>) -> (mpsc::Sender<Box<PipeOrder>>, PipeOrders) {
    let (sender, orders) = mpsc::channel(UNREAD);
    let heeded = vec![Goal::default(); wanted.len()];
    (sender, PipeOrders { orders, wanted, heeded })
}

impl Pipe {
    /// Does what a person has said.
    pub(super) fn obey(&mut self, now: Instant) {
        let bit = self.other_bit(ORDERS);
        let Some(mut orders) = self.orders.take_if(|_| self.woken.remove(bit)) else { return };
        while let Poll::Ready(Some(order)) = orders.orders.poll_recv(&mut Context::from_waker(self.wakers.waker(bit))) {
            match *order {
                PipeOrder::Look => {}
                PipeOrder::Turn(command, reply) => {
                    let out = &mut self.sides;
                    tell(reply, self.router.on_turn_command(command, now, out));
                }
                PipeOrder::Redial(reply) => tell(Some(reply), self.redial()),
            }
        }
        if let PipePhase::Starting { .. } | PipePhase::Serving = self.phase {
            for (index, wanted) in orders.wanted.iter_mut().enumerate() {
                let goal = *wanted.borrow_and_update();
                if std::mem::replace(&mut orders.heeded[index], goal) != goal {
                    self.heed(index, goal, now);
                }
            }
        }
        self.orders = Some(orders);
    }

    /// Takes the first step to what is wanted of a server. What follows the end of a process is up to the server.
    fn heed(&mut self, index: ServerIndex, goal: Goal, now: Instant) {
        let step = self.servers[index].want(goal);
        let others_up = (0..self.servers.len()).any(|other| other != index && self.servers[other].is_up());
        self.woken.insert(index);
        let (bar, why) = match goal.wanted {
            Wanted::Running => (None, "is being restarted by command"),
            Wanted::Paused => (Some(Bar::Paused), "is being restarted by command"),
            Wanted::Stopped => (Some(Bar::Stopped), "was stopped by command"),
        };
        let out = &mut self.sides;
        self.router.on_server_barred(index, bar, now, out);
        match step {
            Step::Stay => {}
            Step::Start => {
                if let PipePhase::Starting { since, .. } = &mut self.phase
                    && !others_up
                {
                    *since = now; // the time that its start may take begins only now
                }
                self.sides.each[index].begins();
            }
            Step::End | Step::Halt => {
                // Whoever waits for the server is told at once, and not when its process is gone.
                let gone = Gone { why, retry_in: Duration::ZERO };
                if !std::mem::replace(&mut self.sides.each[index].ending, true) || goal.wanted == Wanted::Stopped {
                    let out = &mut self.sides;
                    self.router.on_server_down(index, gone, now, out);
                }
                let side = &mut self.sides.each[index];
                side.stdin.clear();
                match (step, goal.wanted) {
                    (Step::Halt, _) => side.halted(now),
                    (_, Wanted::Running | Wanted::Paused) => side.begins(),
                    (_, Wanted::Stopped) => {}
                }
            }
        }
        self.sides.each[index].status.heeded(goal.number);
    }

    fn redial(&mut self) -> Told {
        match self.phase {
            PipePhase::Starting { .. } => return Err("it is dialled once a server for it answers".into()),
            PipePhase::Draining { .. } | PipePhase::Closing => return Err("mcp-pipe is stopping".into()),
            PipePhase::Serving => {}
        }
        for (place, linked) in self.links.iter_mut().enumerate() {
            let side = &mut self.sides.links.each[place];
            linked.link.redial(&mut side.out);
            side.redialled = true;
            self.woken.insert(self.servers.len() + place);
            side.write(LinkNews::Dialled);
        }
        Ok(String::new())
    }
}

fn tell(reply: Option<oneshot::Sender<Told>>, told: Told) {
    if let Some(reply) = reply {
        // Whoever asked may have gone meanwhile.
        let _unheard = reply.send(told);
    }
}
