//! Where peers that come by themselves are announced to a pipe.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::membership::{NewGuest, Shown};
use super::orders::PipeOrder;
use crate::config::Room;
use crate::guest::{BETWEEN, Visitor, ends};
use crate::passage::{Passage, passage};

/// See the module's documentation. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(crate) struct Reception(mpsc::Sender<Box<PipeOrder>>);

impl Reception {
    /// Of the pipe that is told something here.
    pub(crate) fn of(orders: mpsc::Sender<Box<PipeOrder>>) -> Self {
        Reception(orders)
    }

    /// Has a guest received. Returns the end at which the guest is; `None`: the pipe has ended, or does not run a server that is to be
    /// shown.
    pub(crate) async fn receive(&self, guest: NewGuest) -> Option<Visitor> {
        let (arrival, visitor) = ends();
        let (reply, received) = oneshot::channel();
        self.0.send(Box::new(PipeOrder::Receive(guest, arrival, reply))).await.ok()?;
        received.await.ok()?;
        Some(visitor)
    }

    /// Has a server run that has come to a room. Returns the end at which the server is; `None`: the pipe has ended.
    pub(crate) async fn come(&self, room: Room) -> Option<Passage> {
        let (ours, theirs) = passage(BETWEEN);
        let (reply, runs) = oneshot::channel();
        self.0.send(Box::new(PipeOrder::Come(room, ours, reply))).await.ok()?;
        runs.await.ok()?;
        Some(theirs)
    }

    /// Has the guests that are shown `before` shown something else, or their conversations ended. Nobody waits for a pipe that has
    /// ended.
    pub(crate) async fn show(&self, before: Arc<Shown>, after: Option<Arc<Shown>>) {
        let _ended = self.0.send(Box::new(PipeOrder::ShowGuests { before, after })).await;
    }
}
