//! Which pipes run, whom each serves, and the channel by which it is told something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;

use crate::logging::Names;
use crate::pipe::orders::PipeOrder;

/// All pipes that run. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster(Arc<Mutex<Vec<Post>>>);

/// A pipe.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// Its servers, in the order in which it knows them.
    pub(super) servers: Vec<Arc<str>>,
    /// Whether they take turns.
    pub(super) takes_turns: bool,
    /// Where it is told something; closed once it has ended.
    pub(super) orders: Sender<Box<PipeOrder>>,
}

impl Post {
    /// What the log calls its servers.
    pub(super) fn label(&self) -> String {
        self.servers.iter().cloned().collect::<Names>().to_string()
    }

    /// Tells the pipe something. False if the pipe has as much unread as it may.
    pub(super) fn tell(&self, order: PipeOrder) -> bool {
        self.orders.try_send(Box::new(order)).is_ok()
    }

    /// Whether the pipe serves one of these.
    pub(super) fn serves(&self, names: &[Arc<str>]) -> bool {
        self.servers.iter().any(|server| names.contains(server))
    }
}

impl Roster {
    /// Adds a pipe, until it drops its end of the channel.
    pub(super) fn add(&self, post: Post) {
        self.posts().push(post);
    }

    /// The pipes that run now.
    pub(super) fn read(&self) -> Vec<Post> {
        let mut posts = self.posts();
        posts.retain(|post| !post.orders.is_closed());
        posts.clone()
    }

    fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::orders::orders;

    #[test]
    fn a_pipe_that_has_ended_is_forgotten() {
        let roster = Roster::default();
        let (one, held) = orders(Vec::new());
        let (other, ended) = orders(Vec::new());
        for (name, orders) in [("a", one), ("b", other)] {
            roster.add(Post { servers: vec![name.into()], takes_turns: false, orders });
        }
        assert_eq!(roster.clone().read().len(), 2);
        drop(ended);
        let left = roster.read();
        assert!(left[0].serves(&["a".into()]) && !left[0].serves(&["b".into()]));
        drop(held);
        assert!(roster.read().is_empty() && roster.posts().is_empty());
    }
}
