//! The pipe in which all servers run: what it is told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::crew::Entry;
use crate::config::ServerSpec;
use crate::pipe::membership::{NewLink, NewServer, Shown};
use crate::pipe::orders::PipeOrder;
use crate::pipe::reception::Reception;
use crate::pipe::{Limits, Run};
use crate::router::PeerId;

/// Where the hub is told something. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(super) struct HubHandle {
    orders: mpsc::Sender<Box<PipeOrder>>,
    /// The servers that it runs.
    servers: Arc<Mutex<HashSet<Arc<str>>>>,
}

impl HubHandle {
    pub(super) fn new(orders: mpsc::Sender<Box<PipeOrder>>) -> Self {
        HubHandle { orders, servers: Arc::default() }
    }

    /// Has all servers suit guests.
    pub(super) async fn open(&self) {
        self.tell(PipeOrder::Open).await;
    }

    /// Where guests are announced to it.
    pub(super) fn reception(&self) -> Reception {
        Reception::of(self.orders.clone())
    }

    /// Tells it something. False if it has as much unread as it may, or has ended.
    pub(super) fn try_tell(&self, order: PipeOrder) -> bool {
        self.orders.try_send(Box::new(order)).is_ok()
    }

    /// Has a server run, if it does not yet.
    pub(super) async fn ensure(&self, server: &Entry, run: &Run) {
        let Entry { spec, status, goal } = server.clone();
        if !self.servers.lock().unwrap_or_else(PoisonError::into_inner).insert(spec.name.clone()) {
            return;
        }
        let memory = run.catalogue.load(&spec);
        run.besides.looked_up(memory.is_some());
        self.tell(PipeOrder::AddServer(NewServer { spec, status, goal, memory })).await;
    }

    /// Whether it runs a server.
    pub(super) fn runs(&self, name: &str) -> bool {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Has an endpoint served. `None` if the hub has ended.
    pub(super) async fn attach(&self, link: NewLink) -> Option<PeerId> {
        let (reply, told) = oneshot::channel();
        self.tell(PipeOrder::Attach(link, reply)).await;
        told.await.ok()
    }

    /// Has an endpoint shown something else.
    pub(super) async fn show(&self, link: PeerId, shown: Shown) {
        self.tell(PipeOrder::Show(link, shown)).await;
    }

    /// Has a server run as `spec` says from its next process on.
    pub(super) async fn change(&self, spec: Arc<ServerSpec>) {
        self.tell(PipeOrder::ChangeServer(spec)).await;
    }

    /// Has other limits kept to from now on.
    pub(super) async fn limit(&self, limits: Limits) {
        self.tell(PipeOrder::Limit(limits)).await;
    }

    /// Has a server that is about to be ended not be started any more.
    pub(super) async fn start_no_more(&self, name: &Arc<str>) {
        self.tell(PipeOrder::StartNoMore(name.clone())).await;
    }

    /// Has a server ended, and waits until its process is gone.
    pub(super) async fn remove(&self, name: &Arc<str>) {
        if !self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            return;
        }
        let (done, ended) = oneshot::channel();
        self.tell(PipeOrder::RemoveServer(name.clone(), done)).await;
        // The hub may have ended meanwhile.
        let _gone = ended.await;
    }

    /// Has a link ended; what is returned is ready when it is gone.
    pub(super) async fn detach(&self, link: PeerId) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.tell(PipeOrder::Detach(link, done)).await;
        ended
    }

    /// Has a link ended at once; what is returned is ready when it is gone.
    pub(super) async fn cut(&self, link: PeerId) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.tell(PipeOrder::Cut(link, done)).await;
        ended
    }

    /// Ready when its loop has gone round, or when it has ended.
    pub(super) async fn beat(&self) {
        let (reply, told) = oneshot::channel();
        self.tell(PipeOrder::Beat(reply)).await;
        let _ended = told.await;
    }

    /// Waits for room where orders wait: the hub reads each at once. One that has ended takes none, and nobody waits for it.
    async fn tell(&self, order: PipeOrder) {
        let _ended = self.orders.send(Box::new(order)).await;
    }
}
