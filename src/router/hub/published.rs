//! What is seen of all servers of a view: the lists as peers read them, and the way back from each name in them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Hosted, bounds};
use crate::catalogue::Lists;
use crate::config::Naming;
use crate::mcp::lists::ListKind;
use crate::mcp::object;
use crate::router::listing::{MAX_TEMPLATES, Table, Way, key};
use crate::router::names::{self, Letters};
use crate::router::{ServerIndex, uris};
use crate::tools::{Offered, ToolPolicy};

/// Most bytes that an answer has around its list; ids are at most 1 KiB.
pub(super) const ENVELOPE: usize = 2048;

/// A server of a view.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) server: ServerIndex,
    pub(super) policy: Arc<ToolPolicy>,
    /// The policy has been compared with the server's tools in this run: what an earlier run remembered says nothing of the
    /// present config.
    pub(super) judged: bool,
}

/// How a view publishes what its servers list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) naming: Naming,
    /// The letters that names of tools may have.
    pub(super) letters: Letters,
    /// The largest list, in bytes.
    pub(super) max: usize,
}

/// The tools of each server that are published under another name because of the letters in their own: the server's name for
/// each, and the published one.
pub(super) type Renamed = BTreeMap<ServerIndex, Vec<(Box<str>, Box<str>)>>;

/// How many items of each server are not listed, because they don't fit.
pub(super) type LeftOut = BTreeMap<ServerIndex, usize>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Published {
    tables: [Arc<Table>; 4],
    results: [Vec<u8>; 4],
    prints: [u64; 4],
    left_out: [LeftOut; 4],
    renamed: Renamed,
    /// The patterns of the endpoint's gate that cover a tool.
    fitting: BTreeSet<Box<str>>,
}

/// The server's own names of its tools.
pub(super) fn names(lists: &Lists) -> Vec<Cow<'_, str>> {
    lists.get(ListKind::Tools).iter().filter_map(|item| key(item, ListKind::Tools)).collect()
}

struct Item<'a> {
    /// Where its server is in the view.
    at: usize,
    own: Cow<'a, str>,
    /// The name under which the item is published, if no other item wants the same.
    wanted: String,
    raw: &'a str,
    listed: bool,
}

impl Published {
    /// Publishes everything that is known of the servers of a view. Names don't depend on which servers are there at the moment.
    ///
    /// No list is larger than it may be: an endpoint that closes because of one would close again and again. Where all lists
    /// together are larger, servers with less than their share are listed whole.
    pub(super) fn new(seen: &[Seen], servers: &[Hosted], rules: Rules) -> Self {
        let mut all = Published::default();
        for kind in ListKind::ALL {
            all.add(kind, seen, servers, rules);
        }
        all
    }

    fn add(&mut self, kind: ListKind, seen: &[Seen], servers: &[Hosted], rules: Rules) {
        let Rules { naming, letters, max } = rules;
        let items = items(kind, seen, servers);
        let servers: Vec<&str> = seen.iter().map(|seen| &*servers[seen.server].lane.name).collect();
        let wanted: Vec<(usize, &str)> = items.iter().map(|item| (item.at, &*item.wanted)).collect();
        let names = match kind {
            ListKind::Tools => names::publish(naming, letters, &servers, &wanted),
            // No model reads the names of prompts.
            ListKind::Prompts => names::publish(naming, Letters::Any, &servers, &wanted),
            ListKind::Resources | ListKind::Templates => uris::publish(&servers, &wanted),
        };
        // Names are given before: what an endpoint does not let through must not change what others are called.
        let (items, names): (Vec<Item<'_>>, Vec<String>) = items
            .into_iter()
            .zip(names)
            .filter(|(item, name)| {
                let gate = seen[item.at].policy.gate.as_ref().filter(|_| kind == ListKind::Tools);
                let tool = Offered { server: servers[item.at], own: &item.wanted, published: name };
                gate.is_none_or(|gate| {
                    gate.note_fitting(tool, &mut self.fitting);
                    gate.passes(tool)
                })
            })
            .unzip();
        if kind == ListKind::Tools {
            for (item, name) in items.iter().zip(&names).filter(|(item, _)| !letters.takes(&item.wanted)) {
                let of_it = self.renamed.entry(seen[item.at].server).or_default();
                of_it.push((item.own.as_ref().into(), name.as_str().into()));
            }
        }
        let definitions =
            items.iter().zip(&names).map(|(item, name)| item.listed.then(|| definition(kind, item, name, seen)));
        let definitions: Vec<_> = definitions.collect();
        let mut wanted = vec![0; seen.len()];
        for (item, definition) in items.iter().zip(&definitions) {
            wanted[item.at] += definition.as_ref().map_or(0, |definition| definition.len() + 1);
        }
        let mut room = allot(&wanted, max.saturating_sub(ENVELOPE));
        let mut result = format!("{{\"{}\":[", kind.member());
        let mut print = 0_u64;
        for (item, definition) in items.iter().zip(definitions) {
            let Some(definition) = definition else { continue };
            match room[item.at].checked_sub(definition.len() + 1) {
                Some(rest) => room[item.at] = rest,
                None => {
                    *self.left_out[kind as usize].entry(seen[item.at].server).or_default() += 1;
                    continue;
                }
            }
            if !result.ends_with('[') {
                result.push(',');
            }
            result.push_str(&definition);
            // A sum: a server that lists the same in another order after each start has changed nothing.
            let mut hasher = DefaultHasher::new();
            definition.hash(&mut hasher);
            print = print.wrapping_add(hasher.finish());
        }
        result.push_str("]}");
        self.prints[kind as usize] = print;
        self.results[kind as usize] = result.into_bytes();
        let ways = items.into_iter().zip(names);
        let table = ways.map(|(item, name)| (name.into(), (seen[item.at].server, item.own.as_ref().into())));
        self.tables[kind as usize] = Arc::new(table.collect());
    }

    /// The result of a list request: all of it on one page.
    pub(super) fn result(&self, kind: ListKind) -> &[u8] {
        &self.results[kind as usize]
    }

    /// The items of a list that did not fit.
    pub(super) fn left_out(&self, kind: ListKind) -> &LeftOut {
        &self.left_out[kind as usize]
    }

    /// Tools whose names can't be published as they are.
    pub(super) fn renamed(&self) -> &Renamed {
        &self.renamed
    }

    /// The patterns of the endpoint's gate that cover a tool.
    pub(super) fn fitting(&self) -> &BTreeSet<Box<str>> {
        &self.fitting
    }

    /// A fingerprint of a list, the same for the same items in another order.
    pub(super) fn print(&self, kind: ListKind) -> u64 {
        self.prints[kind as usize]
    }

    /// The way back from each name of a list.
    pub(super) fn table(&self, kind: ListKind) -> &Arc<Table> {
        &self.tables[kind as usize]
    }

    /// The server that has what is published under a name, and what that server calls it. `read`: the names as the endpoint
    /// has read them. A name still means what it meant then, as long as the server has that.
    pub(super) fn find(&self, kind: ListKind, name: &str, read: Option<&Table>) -> Option<(ServerIndex, Arc<str>)> {
        let table = &self.tables[kind as usize];
        let now = table.get(name);
        // Nearly always the endpoint has read this very table.
        let read = read.filter(|read| !std::ptr::eq(*read, &**table));
        let meant = read.and_then(|read| read.get(name)).filter(|meant| Some(*meant) != now);
        let still = meant.and_then(|meant| table.values().find(|way| *way == meant));
        still.or(now).cloned()
    }

    /// The published names of everything that some server calls `own`: several, where several servers have it.
    pub(super) fn aliases(&self, kind: ListKind, own: &str) -> Vec<String> {
        let mut aliases: Vec<_> = self.tables[kind as usize].iter().filter(|(_, (_, it))| **it == *own).collect();
        aliases.sort_by_key(|(_, (server, _))| *server);
        aliases.into_iter().map(|(name, _)| name.to_string()).collect()
    }

    /// The published URIs of a resource that is listed, or else covered by templates.
    pub(super) fn resource_aliases(&self, uri: &str) -> Vec<String> {
        let listed = self.aliases(ListKind::Resources, uri);
        if !listed.is_empty() {
            return listed;
        }
        let templates = self.tables[ListKind::Templates as usize].iter();
        let ways = templates.map(|(name, (server, own))| (*server, &**name, &**own));
        let mut covering: Vec<_> = ways.filter(|(_, _, own)| *own == uri || uris::template_matches(own, uri)).collect();
        covering.sort_unstable();
        let fronts = covering.into_iter().map(|(_, name, own)| name.strip_suffix(own).unwrap_or_default());
        fronts.map(|front| format!("{front}{uri}")).collect()
    }

    /// The server that has a resource, listed or covered by a template, and the resource's URI there. `read`: what the
    /// endpoint has read, of each kind; see [`Published::find`].
    pub(super) fn find_resource(&self, uri: &str, read: &[Option<Arc<Table>>; 4]) -> Option<(ServerIndex, String)> {
        let now = |kind: ListKind| &*self.tables[kind as usize];
        let read = |kind: ListKind| read[kind as usize].as_deref().unwrap_or(now(kind));
        let is_still_there = |kind: ListKind, way: &Way| {
            std::ptr::eq(read(kind), now(kind)) || now(kind).values().any(|other| other == way)
        };
        let meant = resource(read(ListKind::Resources), read(ListKind::Templates), uri);
        meant
            .filter(|(kind, way, _)| is_still_there(*kind, way))
            .or_else(|| resource(now(ListKind::Resources), now(ListKind::Templates), uri))
            .map(|(_, (server, _), own)| (*server, own.to_owned()))
    }
}

/// Shares room out among servers: a server that wants less than an even share gets what it wants, and the rest is for the
/// others.
fn allot(wanted: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|at| wanted[*at]);
    let (mut left, mut given) = (room, vec![0; wanted.len()]);
    for (before, at) in order.into_iter().enumerate() {
        given[at] = wanted[at].min(left / (wanted.len() - before));
        left -= given[at];
    }
    given
}

/// Where a URI leads by these tables: the kind of list that has it, the way, and the URI at the server.
fn resource<'a>(resources: &'a Table, templates: &'a Table, uri: &'a str) -> Option<(ListKind, &'a Way, &'a str)> {
    if let Some(way) = resources.get(uri) {
        return Some((ListKind::Resources, way, &way.1));
    }
    // Of several templates the longest, which says most. Then by name, so that the choice is always the same.
    let covers = templates.iter().filter(|(template, _)| uris::template_matches(template, uri));
    let (template, way) = covers.max_by_key(|(template, _)| (template.len(), *template))?;
    // A clash of URIs is resolved by a prefix.
    let front = template.strip_suffix(&*way.1).unwrap_or_default();
    Some((ListKind::Templates, way, uri.strip_prefix(front).unwrap_or(uri)))
}

fn items<'a>(kind: ListKind, seen: &[Seen], servers: &'a [Hosted]) -> Vec<Item<'a>> {
    let mut all = Vec::new();
    for (at, Seen { server, policy, .. }) in seen.iter().enumerate() {
        let (server, mut known) = (&servers[*server], HashSet::new());
        let listed = server.is_listed() || bounds::stand_in_for(servers, server).is_some();
        for raw in bounds::items_of(servers, server, kind) {
            let Some(own) = key(raw, kind) else { continue };
            if !known.insert(own.clone()) || (kind == ListKind::Tools && !policy.publishes(&own)) {
                continue;
            }
            let wanted = if kind == ListKind::Tools { policy.name_of(&own) } else { &own }.to_owned();
            if kind == ListKind::Templates && known.len() > MAX_TEMPLATES {
                break;
            }
            all.push(Item { at, own, wanted, raw, listed });
        }
    }
    all
}

fn definition<'a>(kind: ListKind, item: &Item<'a>, name: &str, seen: &[Seen]) -> Cow<'a, str> {
    if kind == ListKind::Tools {
        return seen[item.at].policy.definition(item.raw, &item.own, name).into();
    }
    if *name == *item.own {
        return item.raw.into();
    }
    object::with_member(item.raw, kind.key(), name).map_or(item.raw.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_server_that_wants_less_than_an_even_share_gets_all_of_it() {
        for (wanted, room, given) in [
            (&[10, 20, 30][..], 100, &[10, 20, 30][..]),
            (&[10, 20, 30], 60, &[10, 20, 30]),
            (&[100, 10, 20], 60, &[30, 10, 20]),
            (&[100, 10, 90], 60, &[25, 10, 25]),
            (&[100, 100], 0, &[0, 0]),
            (&[], 60, &[]),
        ] {
            assert_eq!(allot(wanted, room), given, "{wanted:?} of {room}");
        }
    }

    proptest! {
        #[test]
        fn no_more_is_given_than_there_is_or_is_wanted_and_nothing_is_wasted(
            wanted in proptest::collection::vec(0..1000usize, 0..8),
            room in 0..4000usize,
        ) {
            let given = allot(&wanted, room);
            prop_assert!(given.iter().zip(&wanted).all(|(given, wanted)| given <= wanted));
            let (all, asked) = (given.iter().sum::<usize>(), wanted.iter().sum::<usize>());
            prop_assert!(all <= room && all + wanted.len() >= asked.min(room));
        }
    }
}
