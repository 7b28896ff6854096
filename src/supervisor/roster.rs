//! Which links there are, and whom each serves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::endpoint::Endpoint;
use crate::logging::Names;
use crate::router::PeerId;

/// All links. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster(Arc<Mutex<Posts>>);

#[derive(Debug, Default)]
struct Posts {
    /// How many there have been.
    last: u64,
    all: Vec<(u64, Post)>,
}

/// A link.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// The endpoint's name, if it has one.
    pub(super) name: Option<Arc<str>>,
    pub(super) endpoint: Option<Endpoint>,
    /// The servers that it shows, in the order of their turns where they take some.
    pub(super) servers: Arc<[Arc<str>]>,
    /// Whether they take turns.
    pub(super) takes_turns: bool,
    /// By what the hub knows it.
    pub(super) link: PeerId,
}

/// Keeps a link in the roster until this is dropped.
#[derive(Debug)]
pub(super) struct Posted {
    roster: Roster,
    number: u64,
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.roster.posts().all.retain(|(number, _)| *number != self.number);
    }
}

impl Post {
    /// What the log calls its servers.
    pub(super) fn names(&self) -> Names {
        self.servers.iter().cloned().collect::<Names>().at(self.name.clone())
    }

    /// The same, for a person.
    pub(super) fn label(&self) -> String {
        self.names().to_string()
    }

    /// The endpoint's address as it may be shown.
    pub(super) fn address(&self) -> Option<String> {
        self.endpoint.as_ref().map(Endpoint::to_string)
    }

    /// Whether the link shows one of these.
    pub(super) fn serves(&self, names: &[Arc<str>]) -> bool {
        self.servers.iter().any(|server| names.contains(server))
    }
}

impl Roster {
    /// Adds a link, until what is returned is dropped.
    pub(super) fn add(&self, post: Post) -> Posted {
        let mut posts = self.posts();
        posts.last += 1;
        let number = posts.last;
        posts.all.push((number, post));
        drop(posts);
        Posted { roster: self.clone(), number }
    }

    /// The links that there are now.
    pub(super) fn read(&self) -> Vec<Post> {
        self.posts().all.iter().map(|(_, post)| post.clone()).collect()
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_has_ended_is_forgotten() {
        let roster = Roster::default();
        let mut posted = ["a", "b"].map(|name| {
            let servers = Arc::new([name.into()]);
            roster.add(Post { name: None, endpoint: None, servers, takes_turns: false, link: PeerId::default() })
        });
        assert_eq!(roster.clone().read().len(), 2);
        posted[1] = roster.add(Post {
            name: None,
            endpoint: None,
            servers: Arc::new([]),
            takes_turns: true,
            link: PeerId::default(),
        });
        let left = roster.read();
        assert!(left[0].serves(&["a".into()]) && !left[0].serves(&["b".into()]) && left[1].takes_turns);
        drop(posted);
        assert!(roster.read().is_empty());
    }
}
