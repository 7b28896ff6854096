//! What a person tells a pipe while it runs, and what the pipe does about it.
//!
//! What is wanted of a server is a level, not an event: the pipe looks at it whenever it is told to look, and at its own start.
//! So an order that was overtaken costs nothing, and one given while there is no pipe (between two layouts) is not lost.

use tokio::sync::{mpsc, oneshot};

use super::membership::{NewGuest, NewLink, NewServer, Shown};
use super::*;
use crate::config::Room;
use crate::guest::Arrival;
use crate::passage::Passage;
use crate::router::Bar;
use crate::router::bar::argument;
use crate::server::wanted::{Step, Wanted};

/// Most orders that a pipe has not yet read. A pipe reads each at once, and no person is faster; of orders to look one is as good as
/// many.
const UNREAD: usize = 16;

/// What comes of an order, or why nothing does, in words for a person.
pub(crate) type Told = Result<String, String>;

/// What a pipe is told.
pub(crate) enum PipeOrder {
    /// To look at what is wanted of its servers.
    Look,
    /// To show that its loop goes round.
    Beat(oneshot::Sender<()>),
    /// A command about the turns of an endpoint.
    Turn(PeerId, TurnCommand, Option<oneshot::Sender<Told>>),
    /// To make a connection anew now, whatever was to be waited for.
    Redial(PeerId, oneshot::Sender<Told>),
    /// To run a server more.
    AddServer(NewServer),
    /// To run a server as this says from its next process on, and to end the present one.
    ChangeServer(Arc<ServerSpec>),
    /// Not to start a server any more, which is about to be ended.
    StartNoMore(Arc<str>),
    /// To end a server, and to say when its process is gone.
    RemoveServer(Arc<str>, oneshot::Sender<()>),
    /// To serve an endpoint more.
    Attach(NewLink, oneshot::Sender<PeerId>),
    /// To have all servers suit guests, who may come from now on.
    Open,
    /// To receive a guest, whose messages come over this, one a line each way, and to say that it is received.
    Receive(NewGuest, Arrival, oneshot::Sender<()>),
    /// To run a server that has come to a room over these lines, and to say that it does.
    Come(Room, Passage, oneshot::Sender<()>),
    /// To show guests something else, or to end their conversations.
    ShowGuests { before: Arc<Shown>, after: Option<Arc<Shown>> },
    /// To show a peer something else.
    Show(PeerId, Shown),
    /// To keep to other limits from now on.
    Limit(Limits),
    /// To end a link once what is under way on it is answered, and to say when it is gone.
    Detach(PeerId, oneshot::Sender<()>),
    /// To end a link at once, and to say when it is gone.
    Cut(PeerId, oneshot::Sender<()>),
}

/// The end of a pipe where orders come.
#[derive(Debug)]
pub(crate) struct PipeOrders {
    /// Boxed: each channel has room for some dozens from its start, and nearly all pipes are told nothing, ever.
    orders: mpsc::Receiver<Box<PipeOrder>>,
}

/// The two ends by which a pipe is told something.
pub(crate) fn orders() -> (mpsc::Sender<Box<PipeOrder>>, PipeOrders) {
    let (sender, orders) = mpsc::channel(UNREAD);
    (sender, PipeOrders { orders })
}

impl Pipe {
    /// Does what was said.
    pub(super) fn obey(&mut self, now: Instant) {
        let Some(mut orders) = self.orders.take_if(|_| self.woken.others.remove(ORDERS)) else { return };
        let waker = self.wakers.others.waker(ORDERS).clone();
        let serves = matches!(self.phase, PipePhase::Serving);
        while let Poll::Ready(Some(order)) = orders.orders.poll_recv(&mut Context::from_waker(&waker)) {
            match *order {
                PipeOrder::Look => {}
                PipeOrder::Beat(reply) => {
                    let _nobody_waits = reply.send(());
                }
                PipeOrder::Turn(peer, command, reply) => {
                    let out = &mut self.sides;
                    tell(reply, self.router.on_turn_command(peer, command, now, out));
                }
                PipeOrder::Redial(peer, reply) => tell(Some(reply), self.redial(peer)),
                PipeOrder::Detach(peer, done) => self.detach(peer, done, now),
                PipeOrder::Cut(peer, done) => self.cut(peer, done),
                // What comes while everything ends would only have to be ended too.
                _ if !serves => {}
                PipeOrder::AddServer(new) => self.add_server(new, now),
                PipeOrder::ChangeServer(spec) => self.change_server(spec, now),
                PipeOrder::StartNoMore(name) => self.start_no_more(&name),
                PipeOrder::RemoveServer(name, done) => self.remove_server(&name, done, now),
                PipeOrder::Attach(new, reply) => {
                    if let Some(peer) = self.attach(new, now) {
                        let _nobody_waits = reply.send(peer);
                    }
                }
                PipeOrder::Open => {
                    if let Some(router) = self.router.turns() {
                        router.hub.open_to_any();
                    }
                }
                PipeOrder::Receive(new, arrival, reply) => self.welcome(new, arrival, reply, now),
                PipeOrder::Come(room, lines, reply) => {
                    self.add_comer(&room, lines, now);
                    let _nobody_waits = reply.send(());
                }
                PipeOrder::ShowGuests { before, after } => self.show_guests(&before, after.as_ref(), now),
                PipeOrder::Show(peer, shown) => self.show(peer, &shown, now),
                PipeOrder::Limit(limits) => {
                    self.run.limits = limits;
                    self.sides.tool_budget = limits.tool_budget;
                }
            }
        }
        if serves {
            (0..self.servers.len()).for_each(|index| self.heed(index, now));
        }
        // A server that is told to end may be waited for no longer.
        self.restart_due = true;
        self.orders = Some(orders);
    }

    /// Takes the first step to what is wanted of a server. What follows the end of a process is up to the server.
    pub(super) fn heed(&mut self, index: ServerIndex, now: Instant) {
        let (wanted, heeded) = &mut self.sides.each[index].goal;
        let goal = *wanted.borrow_and_update();
        if std::mem::replace(heeded, goal) == goal {
            return;
        }
        let step = self.servers[index].want(goal);
        self.woken.servers.insert(index);
        let (bar, why) = match goal.wanted {
            Wanted::Running => (None, "is being restarted"),
            Wanted::Paused => (Some(Bar::Paused), "is being restarted"),
            Wanted::Stopped => (Some(Bar::Stopped), "was stopped by command"),
        };
        let out = &mut self.sides;
        self.router.on_server_barred(index, bar, now, out);
        // An endpoint that sees no server any more is not dialled.
        self.sides.links.places_of(index).for_each(|place| self.touched.insert(place));
        match step {
            Step::Stay => {}
            Step::Start => {
                self.sides.each[index].begins(now);
                self.unready.insert(index);
            }
            Step::End | Step::Halt => {
                // Whoever waits for the server is told at once, and not when its process is gone.
                let gone = Gone { why, retry_in: Duration::ZERO, by_command: true };
                if !std::mem::replace(&mut self.sides.each[index].ending, true) || goal.wanted == Wanted::Stopped {
                    let out = &mut self.sides;
                    self.router.on_server_down(index, gone, now, out);
                }
                let side = &mut self.sides.each[index];
                side.stdin.clear();
                match (step, goal.wanted) {
                    (Step::Halt, _) => side.halted(now),
                    (_, Wanted::Running | Wanted::Paused) => {
                        side.begins(now);
                        self.unready.insert(index);
                    }
                    (_, Wanted::Stopped) => {}
                }
            }
        }
        self.sides.each[index].status.heeded(goal.number);
    }

    fn redial(&mut self, peer: PeerId) -> Told {
        if !matches!(self.phase, PipePhase::Serving) {
            return Err("mcp-pipe is stopping".into());
        }
        let place = self.sides.links.place(peer);
        if let Some(place) = place.filter(|place| self.sides.is_unneeded(*place)) {
            let servers = &self.sides.links.each[place].servers;
            let name = servers.first().map_or("", |server| &self.sides.each[*server].name);
            let command = format!("mcp-pipe start {}", argument(name));
            return Err(match servers.len() {
                1 => format!("{name} was stopped by command: {command}, and it is dialled"),
                n => format!("all {n} servers there were stopped by command: {command}, and it is dialled"),
            });
        }
        let is_dialled =
            |place: &usize| matches!(self.links[*place].stage, LinkStage::Serving) && !self.undialled.contains(*place);
        let Some(place) = place.filter(is_dialled) else {
            return Err("it is dialled once a server for it answers".into());
        };
        let side = &mut self.sides.links.each[place];
        let Some(link) = self.links[place].carrier.link() else { return Err("it is no endpoint".into()) };
        link.redial(&mut side.out);
        side.redialled = true;
        side.write(LinkNews::Dialled);
        self.woken.links.insert(place);
        Ok(String::new())
    }
}

fn tell(reply: Option<oneshot::Sender<Told>>, told: Told) {
    if let Some(reply) = reply {
        // Whoever asked may have gone meanwhile.
        let _unheard = reply.send(told);
    }
}
