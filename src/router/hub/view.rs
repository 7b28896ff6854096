//! What some peers see: which servers, under which names, and which of their tools.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::published::{LeftOut, Published, Renamed, Rules, Seen};
use super::{Hosted, Show, bounds, union};
use crate::config::Naming;
use crate::mcp::handshake::Welcome;
use crate::mcp::lists::ListKind;
use crate::router::names::Letters;
use crate::router::{Note, Out, ServerIndex, What};
use crate::tools::{Gate, ToolPolicy};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct View {
    seen: Vec<Seen>,
    rules: Rules,
    grows: bool,
    published: Published,
    /// How many states of what is published there have been.
    pub(super) states: u64,
    /// What is published is out of date.
    stale: bool,
    /// Whether it stays where no peer has it.
    pub(super) kept: bool,
    /// What the log was last told of items that did not fit into the lists.
    told_left_out: [LeftOut; 4],
    /// What the log was last told of tools that are published under other names.
    told_renamed: Renamed,
}

/// What of a view's servers is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Awaited {
    pub(super) greeting: bool,
    pub(super) anything: bool,
    pub(super) lists: [bool; 4],
}

impl View {
    pub(super) fn new(Show { servers, sharing, max_list: max, grows }: Show) -> Self {
        let seen: Vec<_> = servers.into_iter().map(|(server, policy)| Seen { server, policy, judged: false }).collect();
        // A server alone has nobody to be kept apart from; and where others may come, no name is to change for that.
        let (naming, letters) = match seen.len() {
            ..=1 if !grows => (Naming::Auto, Letters::Any),
            _ => (sharing.naming, Letters::Of(sharing.names)),
        };
        View {
            seen,
            rules: Rules { naming, letters, max },
            grows,
            published: Published::default(),
            states: 0,
            stale: true,
            kept: false,
            told_left_out: Default::default(),
            told_renamed: Renamed::default(),
        }
    }

    /// Changes what is seen, and how.
    pub(super) fn change(&mut self, show: Show) {
        let (states, kept) = (self.states, self.kept);
        *self = View { states, kept, ..View::new(show) };
    }

    /// A server is gone for good.
    pub(super) fn remove(&mut self, server: ServerIndex) {
        let before = self.seen.len();
        self.seen.retain(|seen| seen.server != server);
        self.stale |= self.seen.len() != before;
        self.told_left_out.iter_mut().for_each(|told| told.retain(|of, _| *of != server));
        self.told_renamed.retain(|of, _| *of != server);
    }

    /// Whether a server is shown as itself: it is the only one, and no others may come.
    pub(super) fn is_of_one(&self) -> bool {
        self.seen.len() == 1 && !self.grows
    }

    pub(super) fn has(&self, server: ServerIndex) -> bool {
        self.seen.iter().any(|seen| seen.server == server)
    }

    /// The servers, in the order of the config.
    pub(super) fn indices(&self) -> impl Iterator<Item = ServerIndex> + use<'_> {
        self.seen.iter().map(|seen| seen.server)
    }

    /// The servers, among all of them.
    pub(super) fn of<'a>(&'a self, servers: &'a [Hosted]) -> impl Iterator<Item = &'a Hosted> {
        self.seen.iter().map(|seen| &servers[seen.server])
    }

    /// What the config says of a server's tools, for this view.
    pub(super) fn policy(&self, server: ServerIndex) -> Option<&ToolPolicy> {
        self.seen.iter().find(|seen| seen.server == server).map(|seen| &*seen.policy)
    }

    /// What is published is out of date, if it shows this server.
    pub(super) fn touch(&mut self, server: ServerIndex) {
        self.stale |= self.has(server);
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// What is published, as of now.
    pub(super) fn published(&mut self, servers: &[Hosted]) -> &Published {
        if std::mem::take(&mut self.stale) {
            self.published = Published::new(&self.seen, servers, self.rules);
            self.states += 1;
        }
        &self.published
    }

    /// What of the servers is waited for.
    pub(super) fn awaited(&self, servers: &[Hosted]) -> Awaited {
        Awaited {
            greeting: self.is_greeting(servers),
            anything: self.is_awaited(servers),
            lists: ListKind::ALL.map(|kind| self.awaits(kind, servers)),
        }
    }

    /// Those of the servers that may be waited for: what another one stands in for is known as far as it will be.
    fn waited_for<'a>(&'a self, servers: &'a [Hosted]) -> impl Iterator<Item = &'a Hosted> {
        self.of(servers).filter(|server| bounds::stand_in_for(servers, server).is_none())
    }

    /// Whether answers to `initialize` wait for something.
    pub(super) fn is_greeting(&self, servers: &[Hosted]) -> bool {
        self.waited_for(servers).any(Hosted::is_greeting)
    }

    /// Whether something is waited for before a name counts as unknown.
    pub(super) fn is_awaited(&self, servers: &[Hosted]) -> bool {
        self.waited_for(servers).any(Hosted::is_awaited)
    }

    /// Whether a list is waited for.
    pub(super) fn awaits(&self, kind: ListKind, servers: &[Hosted]) -> bool {
        self.waited_for(servers).any(|server| server.awaits(kind))
    }

    /// The words of all servers, if all of them refuse to initialize. Where others may come, it is no refusal that there are none.
    fn refusal(&self, servers: &[Hosted]) -> Option<String> {
        if self.seen.is_empty() && self.grows {
            return None;
        }
        let refusal = |server: &Hosted| {
            let refusal = server.lane.refusal()?;
            bounds::stand_in_for(servers, server).is_none().then_some(refusal)
        };
        let words: Option<Vec<_>> = self.of(servers).map(refusal).collect();
        words.map(|words| words.join("; "))
    }

    fn welcomes<'a>(&'a self, servers: &'a [Hosted]) -> Vec<(&'a str, &'a Welcome)> {
        let known = |server: &'a Hosted| Some((&*server.lane.name, mended(servers, server)?));
        self.of(servers).filter_map(known).collect()
    }

    /// The result of an `initialize` that asked for `version`, or else why there is none.
    pub(super) fn welcome(&self, version: &str, servers: &[Hosted]) -> Result<Vec<u8>, String> {
        if let Some(refusal) = self.refusal(servers) {
            return Err(refusal);
        }
        let alone = self.seen.first().filter(|_| self.is_of_one());
        match alone.and_then(|seen| mended(servers, &servers[seen.server])) {
            Some(welcome) => Ok(welcome.result_for(version)),
            None => Ok(union::result(version, &self.welcomes(servers))),
        }
    }

    /// A fingerprint of what all servers together can do.
    pub(super) fn capabilities(&self, servers: &[Hosted]) -> u64 {
        let mut hasher = DefaultHasher::new();
        union::capabilities(&self.welcomes(servers)).to_string().hash(&mut hasher);
        hasher.finish()
    }

    /// Compares the policy with the tools that a server has, after these were read; the log is told of what doesn't fit.
    pub(super) fn judge(&mut self, server: &Hosted, changed: bool, out: &mut dyn Out) {
        let index = server.lane.index;
        let Some(seen) = self.seen.iter_mut().find(|seen| seen.server == index) else { return };
        if changed || !seen.judged {
            seen.judged = true;
            let names = super::published::names(&server.shelf.lists);
            if let Some(what) = seen.policy.doubts(&names.iter().map(|name| &**name).collect::<Vec<_>>()) {
                out.note(Note::of(index, What::DoubtfulTools { what }));
            }
        }
    }

    /// What the endpoint lets through, by its config.
    pub(super) fn gate(&self) -> Option<&Arc<Gate>> {
        self.seen.first()?.policy.gate.as_ref()
    }

    /// Adds what a gate needs to know of the servers that are seen, of which the tools have been read: their names, their tools as
    /// `SERVER__TOOL`, and the patterns that cover one.
    pub(super) fn tell_gate<'a>(
        &mut self,
        servers: &'a [Hosted],
        (known, tools, fitting): (&mut BTreeSet<&'a str>, &mut BTreeSet<String>, &mut BTreeSet<Box<str>>),
    ) {
        fitting.extend(self.published(servers).fitting().iter().cloned());
        for Seen { server, policy, .. } in self.seen.iter().filter(|seen| seen.judged) {
            let Hosted { lane, shelf, .. } = &servers[*server];
            known.insert(&lane.name);
            let names = super::published::names(&shelf.lists);
            let published = names.iter().filter(|name| policy.publishes(name));
            tools.extend(published.map(|name| format!("{}__{}", lane.name, policy.name_of(name))));
        }
    }

    /// Tells the log what of a list is not published as its servers have it: once, not each time that the list is read.
    pub(super) fn report(&mut self, kind: ListKind, out: &mut dyn Out) {
        let left_out = self.published.left_out(kind);
        let told = &mut self.told_left_out[kind as usize];
        if left_out != told {
            for (server, items) in left_out {
                let what = What::ListTooLong { list: kind.method(), items: *items, max: self.rules.max };
                out.note(Note::of(*server, what));
            }
            *told = left_out.clone();
        }
        if kind == ListKind::Tools && *self.published.renamed() != self.told_renamed {
            self.told_renamed = self.published.renamed().clone();
            for (server, tools) in &self.told_renamed {
                out.note(Note::of(*server, What::Renamed { tools }));
            }
        }
    }
}

/// What is told of a server where several are seen as one.
fn mended<'a>(servers: &'a [Hosted], server: &'a Hosted) -> Option<&'a Welcome> {
    bounds::welcome_of(servers, server, |server| server.shelf.welcome.as_ref())
}
