//! The names under which the tools and prompts of several servers are published. Pure.
//!
//! A name depends on the set of all servers and names only, never on their order, so a tool is called the same after
//! any restart. Whoever publishes keeps a table of what is whose: a published name is never taken apart again.

use std::collections::{HashMap, HashSet};

use super::ServerIndex;
use crate::config::Naming;

/// The longest name that every model's API takes.
const MAX: usize = 64;
/// What tells two names apart: an underscore and a hash of 32 bits in hex.
const SUFFIX: usize = 9;
/// What is left of a server's name where it and the tool's are too long together: the tool's says more.
const SERVER_OF_LONG: usize = 16;

/// Who gets the name it wants, if several want it: a name as the server gave it is never changed for one that had to be altered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// The server's own name.
    Own,
    /// `server__name`, both as they were given.
    Qualified,
    /// Something had to be replaced, or has to be cut.
    Altered,
}

/// One published name for each item, in the order of the items: `[A-Za-z0-9_-]`, 1 to 64 characters, all different.
///
/// With [`Naming::Auto`] a name that only one server has stays; those that several have become `server__name`, all of them.
/// With [`Naming::Prefix`] all do. Other characters become `_`. Where names are still equal, or one has to be cut, a hash
/// of the server's name and the item's is appended.
///
/// `items` are a server (its place in `servers`) and a name that it gives.
pub fn publish(naming: Naming, servers: &[&str], items: &[(ServerIndex, &str)]) -> Vec<String> {
    let items: Vec<(&str, &str)> =
        items.iter().map(|(server, name)| (servers.get(*server).copied().unwrap_or_default(), *name)).collect();
    let exact = count(items.iter().map(|(_, name)| *name).filter(|name| is_valid(name)));
    let fitted = count(items.iter().map(|(_, name)| fit(name)));
    let wish = |(server, name): (&str, &str)| {
        let own = fit(name);
        match naming {
            Naming::Auto if exact.get(name) == Some(&1) => (Rank::Own, own),
            Naming::Auto if !is_valid(name) && fitted.get(&own) == Some(&1) => (Rank::Altered, own),
            Naming::Auto | Naming::Prefix => {
                let qualified = format!("{}__{own}", fit(server));
                let unchanged = qualified.len() <= MAX && qualified == format!("{server}__{name}");
                (if unchanged { Rank::Qualified } else { Rank::Altered }, qualified)
            }
        }
    };
    let wishes: Vec<(Rank, String)> = items.iter().map(|item| wish(*item)).collect();

    // The order in which hashes are given out, should even those be equal.
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|at| items[*at]);
    let mut published = vec![String::new(); items.len()];
    let mut taken = HashSet::new();
    for rank in [Rank::Own, Rank::Qualified, Rank::Altered] {
        let ranked = || order.iter().copied().filter(|at| wishes[*at].0 == rank);
        let wanted = count(ranked().map(|at| wishes[at].1.as_str()));
        for at in ranked() {
            let wish = &wishes[at].1;
            if wish.len() <= MAX && wanted.get(wish.as_str()) == Some(&1) && taken.insert(wish.clone()) {
                published[at].clone_from(wish);
            }
        }
        for at in ranked() {
            if published[at].is_empty() {
                published[at] = told_apart(&wishes[at].1, items[at], &taken);
                taken.insert(published[at].clone());
            }
        }
    }
    published
}

/// A name that nobody has yet, made of the one it wanted and a hash.
fn told_apart(wish: &str, (server, name): (&str, &str), taken: &HashSet<String>) -> String {
    let mut hash = hash(server, name);
    let room = MAX - SUFFIX;
    let cut = match wish.strip_suffix(&fit(name)) {
        Some(prefix) if wish.len() > room && prefix.len() > SERVER_OF_LONG + 2 => {
            format!("{}__{}", &prefix[..SERVER_OF_LONG], &wish[prefix.len()..])
        }
        Some(_) | None => wish.to_owned(),
    };
    loop {
        let apart = format!("{}_{hash:08x}", &cut[..cut.len().min(room)]);
        if !taken.contains(&apart) {
            return apart;
        }
        hash = hash.wrapping_add(1);
    }
}

fn is_valid(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX && name.bytes().all(is_allowed)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The name with every other character replaced; not cut.
fn fit(name: &str) -> String {
    let fit: String = name.chars().map(|c| if c.is_ascii() && is_allowed(c as u8) { c } else { '_' }).collect();
    if fit.is_empty() { "_".into() } else { fit }
}

fn count<T: Eq + std::hash::Hash>(names: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// FNV-1a with 32 bits: std's hashes may differ between versions, and a published name must not.
fn hash(server: &str, name: &str) -> u32 {
    // 0xFF is in no UTF-8 text, so it ends the server's name.
    let bytes = server.bytes().chain([0xFF]).chain(name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn auto(items: &[(ServerIndex, &str)]) -> Vec<String> {
        publish(Naming::Auto, &["a", "b", "c"], items)
    }

    #[test]
    fn a_name_that_one_server_has_stays_and_one_that_several_have_is_qualified_everywhere() {
        assert_eq!(auto(&[(0, "add"), (0, "search"), (1, "search")]), ["add", "a__search", "b__search"]);
        assert_eq!(publish(Naming::Prefix, &["a"], &[(0, "add")]), ["a__add"]);
    }

    #[test]
    fn other_characters_become_underscores_and_an_exact_name_keeps_itself() {
        assert_eq!(auto(&[(0, "x.y"), (1, "日本")]), ["x_y", "__"]);
        assert_eq!(auto(&[(0, "x.y"), (1, "x_y")]), ["a__x_y", "x_y"]);
        assert_eq!(auto(&[(0, "x.y"), (0, "x_y")]), ["a__x_y", "x_y"]);
        assert_eq!(auto(&[(0, "x.y"), (1, "x.y")]), ["a__x_y", "b__x_y"]);
        assert_eq!(auto(&[(0, ""), (1, "")]), ["a___", "b___"]);
    }

    #[test]
    fn a_plain_name_that_looks_qualified_keeps_itself() {
        assert_eq!(auto(&[(0, "b"), (1, "b"), (2, "a__b")]), ["a__b_1c91eb11", "b__b", "a__b"]);
        // Neither is first: both are marked.
        let names = publish(Naming::Prefix, &["a", "a__b"], &[(0, "b__c"), (1, "c")]);
        assert!(names.iter().all(|name| name.starts_with("a__b__c_")), "{names:?}");
    }

    #[test]
    fn hashes_never_change() {
        // From another implementation of FNV-1a; a change here renames people's tools.
        assert_eq!(auto(&[(0, "x.y"), (0, "x y")]), ["a__x_y_2ad18c6a", "a__x_y_1eb974a0"]);
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_more_of_the_tool_than_of_the_server() {
        let (server, tool) = ("s".repeat(70), "t".repeat(70));
        let names = publish(Naming::Auto, &[&server, "b"], &[(0, &tool), (1, &tool), (1, &"u".repeat(65))]);
        assert!(names[0].starts_with(&format!("{}__{}_", "s".repeat(16), "t".repeat(37))), "{names:?}");
        assert!(names[1].starts_with(&format!("b__{}_", "t".repeat(52))), "{names:?}");
        assert!(names[2].starts_with(&format!("{}_", "u".repeat(55))), "{names:?}");
        assert!(names.iter().all(|name| name.len() == 64));
    }

    #[test]
    fn one_who_has_the_very_hash_of_another_as_its_name_keeps_it() {
        let names = auto(&[(0, "b"), (1, "b"), (2, "a__b"), (2, "a__b_1c91eb11")]);
        assert_eq!(names, ["a__b_1c91eb12", "b__b", "a__b", "a__b_1c91eb11"]);
    }

    #[test]
    fn what_a_server_lists_twice_gets_two_names() {
        let names = auto(&[(0, "x"), (0, "x"), (9, "x")]);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3, "{names:?}");
    }

    /// Few and alike, so that they clash in every way.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[ab_.]{0,3}",
            2 => "(a|b|a_)__[ab.]{1,2}",
            1 => "[ab]{60}[ab.]{0,9}",
            1 => any::<String>(),
        ]
    }

    fn setting() -> impl Strategy<Value = (Naming, Vec<String>, Vec<(ServerIndex, String)>)> {
        let naming = prop_oneof![Just(Naming::Auto), Just(Naming::Prefix)];
        let servers = proptest::collection::hash_set(name(), 1..5);
        let items = proptest::collection::hash_set((0..4usize, name()), 0..20);
        (naming, servers, items).prop_map(|(naming, servers, items)| {
            let servers: Vec<String> = servers.into_iter().collect();
            let items: HashSet<_> = items.into_iter().map(|(server, name)| (server % servers.len(), name)).collect();
            (naming, servers, items.into_iter().collect())
        })
    }

    fn published(naming: Naming, servers: &[String], items: &[(ServerIndex, String)]) -> Vec<String> {
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let items: Vec<(ServerIndex, &str)> = items.iter().map(|(server, name)| (*server, name.as_str())).collect();
        publish(naming, &servers, &items)
    }

    proptest! {
        #[test]
        fn names_are_valid_and_all_different((naming, servers, items) in setting()) {
            let names = published(naming, &servers, &items);
            prop_assert_eq!(names.len(), items.len());
            prop_assert!(names.iter().all(|name| is_valid(name)), "{:?}", names);
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{:?}", names);
        }

        #[test]
        fn no_order_of_servers_or_items_changes_a_name(
            (naming, servers, items) in setting(),
            turn in 0..20usize,
            back in any::<bool>(),
        ) {
            let names = published(naming, &servers, &items);
            let mut other_servers = servers.clone();
            other_servers.rotate_left(turn % servers.len());
            let place = |server: &str| other_servers.iter().position(|other| other == server).unwrap_or_default();
            let mut pairs: Vec<_> = items
                .iter()
                .zip(&names)
                .map(|((server, name), published)| ((place(&servers[*server]), name.clone()), published.clone()))
                .collect();
            let len = pairs.len().max(1);
            pairs.rotate_left(turn % len);
            if back {
                pairs.reverse();
            }
            let (other_items, want): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            prop_assert_eq!(published(naming, &other_servers, &other_items), want);
        }

        #[test]
        fn an_item_that_has_to_be_altered_never_renames_an_exact_one((naming, servers, items) in setting()) {
            let names = published(naming, &servers, &items);
            let is_exact = |(server, name): &(ServerIndex, String)| {
                is_valid(name)
                    && is_valid(&servers[*server])
                    && servers[*server].len() + 2 + name.len() <= MAX
            };
            let (exact, want): (Vec<_>, Vec<_>) =
                items.iter().cloned().zip(names).filter(|(item, _)| is_exact(item)).unzip();
            let alone = published(naming, &servers, &exact);
            for ((item, want), alone) in exact.iter().zip(want).zip(alone) {
                // An exact name at a server whose own name is not also clashes, and is left out above.
                let clashes = items.iter().any(|other| other != item && other.1 == item.1 && !is_exact(other));
                prop_assert!(clashes || want == alone, "{:?}: {} became {}", item, alone, want);
            }
        }

        #[test]
        fn with_auto_a_valid_name_that_nobody_else_has_is_its_own((_, servers, items) in setting()) {
            let names = published(Naming::Auto, &servers, &items);
            for ((_, name), published) in items.iter().zip(&names) {
                if is_valid(name) && items.iter().filter(|(_, other)| other == name).count() == 1 {
                    prop_assert_eq!(name, published);
                }
            }
        }
    }
}
