//! Which of several daemons tries first to get a free agent. Pure.
//!
//! The engine alone decides who gets an agent; this only spares it that all daemons ask at once, and spreads agents evenly. Each daemon
//! comes to the same order by itself: by rendezvous hashing, of those first that have less than their share. So what one daemon had
//! goes to all others, and nothing else moves. Whoever does not know what the others know asks at another time, and no more.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};

use super::engine::{LeaseId, View};
use crate::endpoint::agent::LeaseKey;

/// How many others try before us to get each of these agents, which nobody has.
///
/// `wanted`: all agents that this daemon serves or would serve, each once and in their order. Without us among the nodes nobody is before us.
pub(super) fn ranks(wanted: impl Iterator<Item = LeaseKey>, view: &View, us: LeaseId) -> BTreeMap<LeaseKey, usize> {
    let mut loads: BTreeMap<LeaseId, usize> = view.nodes.keys().map(|node| (*node, 0)).collect();
    for holder in view.agents.values() {
        if let Some(load) = loads.get_mut(&holder.lease) {
            *load += 1;
        }
    }
    let free: Vec<LeaseKey> = wanted.filter(|agent| !view.agents.contains_key(agent)).collect();
    let share = (view.agents.len() + free.len()).div_ceil(loads.len().max(1));
    let mut ranks = BTreeMap::new();
    for agent in free {
        let mut order: Vec<(bool, u64, LeaseId)> = view
            .nodes
            .iter()
            .map(|(node, name)| (loads.get(node).is_some_and(|load| *load >= share), weight(name, agent), *node))
            .collect();
        // Of those with room the one of the highest weight.
        order.sort_unstable_by(|a, b| (a.0, b.1, b.2).cmp(&(b.0, a.1, a.2)));
        if let Some((_, _, first)) = order.first() {
            loads.entry(*first).and_modify(|load| *load += 1);
        }
        ranks.insert(agent, order.iter().position(|(_, _, node)| *node == us).unwrap_or_default());
    }
    ranks
}

/// How much a node is meant to have an agent: another number for each pair, the same for all who ask.
fn weight(node: &str, agent: LeaseKey) -> u64 {
    let mut hash = Context::new(&SHA256);
    hash.update(agent.as_bytes());
    hash.update(node.as_bytes());
    let (first, _) =
        hash.finish().as_ref().split_first_chunk().map_or(([0; 8], &[][..]), |(first, rest)| (*first, rest));
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::engine::Holder;
    use super::*;

    fn keys(n: usize) -> Vec<LeaseKey> {
        (0..n).map(|n| LeaseKey::made_up(u8::try_from(n).unwrap_or_default())).collect()
    }

    fn nodes(names: &[&str]) -> View {
        let nodes = names.iter().zip(1..).map(|(name, id)| (LeaseId(id), Arc::from(*name))).collect();
        View { nodes, agents: BTreeMap::new() }
    }

    /// Has each free agent be taken by whoever is first.
    fn settle(view: &mut View, wanted: &[LeaseKey]) {
        let nodes: Vec<_> = view.nodes.clone().into_iter().collect();
        let ranks: Vec<_> = nodes.iter().map(|(node, _)| ranks(wanted.iter().copied(), view, *node)).collect();
        for agent in wanted {
            for (of, (node, name)) in ranks.iter().zip(&nodes) {
                if of.get(agent) == Some(&0) {
                    let holder = Holder { lease: *node, node: name.clone(), since: 1 };
                    assert!(view.agents.insert(*agent, holder).is_none(), "one is first");
                }
            }
        }
    }

    fn loads(view: &View) -> Vec<usize> {
        let of = |node: &LeaseId| view.agents.values().filter(|holder| holder.lease == *node).count();
        view.nodes.keys().map(of).collect()
    }

    #[test]
    fn agents_are_spread_evenly_and_what_one_had_goes_to_all_others() {
        let (mut view, wanted) = (nodes(&["kitchen", "garage", "attic"]), keys(30));
        settle(&mut view, &wanted);
        assert_eq!(loads(&view), [10, 10, 10]);
        let before = view.agents.clone();
        view.nodes.remove(&LeaseId(2));
        view.agents.retain(|_, holder| holder.lease != LeaseId(2));
        let stayed = view.agents.clone();
        settle(&mut view, &wanted);
        assert_eq!(loads(&view), [15, 15]);
        assert!(stayed.iter().all(|(agent, holder)| before[agent] == *holder && view.agents[agent] == *holder));
    }

    #[test]
    fn who_is_not_known_yet_or_alone_waits_for_nobody() {
        let wanted = keys(3);
        for view in [View::default(), nodes(&["other"])] {
            assert!(ranks(wanted.iter().copied(), &view, LeaseId(7)).values().all(|rank| *rank == 0));
        }
        let alone = nodes(&["us"]);
        assert_eq!(ranks(wanted.iter().copied(), &alone, LeaseId(1)).len(), 3);
    }

    proptest! {
        #[test]
        fn exactly_one_is_first_and_each_has_a_rank_of_its_own(names in 1_usize..6, agents in 0_usize..40, taken in 0_usize..40) {
            let names: Vec<String> = (0..names).map(|n| format!("node-{n}")).collect();
            let mut view = nodes(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let wanted = keys(agents);
            for agent in wanted.iter().take(taken) {
                view.agents.insert(*agent, Holder { lease: LeaseId(1), node: "node-0".into(), since: 1 });
            }
            let all: Vec<_> = view.nodes.keys().map(|node| ranks(wanted.iter().copied(), &view, *node)).collect();
            for agent in wanted.iter().skip(taken) {
                let mut of: Vec<usize> = all.iter().map(|ranks| ranks[agent]).collect();
                of.sort_unstable();
                prop_assert_eq!(of, (0..view.nodes.len()).collect::<Vec<_>>());
            }
        }
    }
}
