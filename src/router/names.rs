//! The names under which the tools and prompts of several servers are published: `add`, or `server__add`. Pure.
//!
//! A name depends only on the set of all servers and names, never on their order, so a tool is called the same after
//! any restart. The caller keeps a table from published names to items: a published name is never taken apart again.

use std::collections::{HashMap, HashSet};

use super::ServerIndex;
use crate::config::{Names, Naming};

/// Most characters of a name that every model's API takes.
const MAX: usize = 64;
/// Characters of the suffix that tells two names apart: an underscore and a hash of 32 bits in hex.
const SUFFIX: usize = 9;
/// Most characters of a server's name that are kept where both names together are too long: the tool's name says more.
const SERVER_OF_LONG: usize = 16;

/// Which names are published unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// Names of these characters, up to 64.
    Of(Names),
    /// All names: prompts are not put before a model as the names of functions.
    Any,
}

impl Letters {
    /// Whether a name is published unchanged if no other server has it.
    pub(crate) fn takes(self, name: &str) -> bool {
        let fits = self == Letters::Any || name.chars().count() <= MAX;
        !name.is_empty() && fits && name.chars().all(|c| self.has(c))
    }

    fn has(self, c: char) -> bool {
        match self {
            Letters::Of(names) => names.has(c),
            Letters::Any => true,
        }
    }

    /// The length of the longest name, in characters.
    fn longest(self) -> usize {
        if self == Letters::Any { usize::MAX } else { MAX }
    }

    /// The name with every character replaced that is not taken; not cut.
    fn fit(self, name: &str) -> String {
        let fit: String = name.chars().map(|c| if self.has(c) { c } else { '_' }).collect();
        if fit.is_empty() { "_".into() } else { fit }
    }

    /// Whether a name would become unreadable by that: letters are lost, or there are none.
    fn garbles(self, name: &str) -> bool {
        let is_lost = |c: char| c.is_alphanumeric() && !self.has(c);
        !self.takes(name) && (name.chars().any(is_lost) || !name.chars().any(char::is_alphanumeric))
    }

    /// The readable words of a name, with underscores between them.
    fn readable(self, name: &str) -> String {
        let words = name.split(|c| !self.has(c) || c == '_').filter(|word| word.chars().any(char::is_alphanumeric));
        words.collect::<Vec<_>>().join("_")
    }

    /// A server's part of a name.
    fn of_server(self, server: &str) -> String {
        if !self.garbles(server) {
            return self.fit(server);
        }
        let readable = self.readable(server);
        let readable = if readable.is_empty() { "server" } else { &readable };
        format!("{readable}_{:08x}", hash(server, ""))
    }

    /// The name of an item, alone and behind its server's. Where letters are lost, a hash tells items apart.
    fn of_item(self, server: &str, name: &str) -> [String; 2] {
        if !self.garbles(name) {
            let fit = self.fit(name);
            return [fit.clone(), format!("{}__{fit}", self.of_server(server))];
        }
        let (hash, readable, server_name) = (hash(server, name), self.readable(name), self.of_server(server));
        if readable.is_empty() {
            return [format!("{server_name}_{hash:08x}"), format!("{server_name}__{hash:08x}")];
        }
        [format!("{readable}_{hash:08x}"), format!("{server_name}__{readable}_{hash:08x}")]
    }
}

/// Which item gets a name that several want: the server's own name is never changed in favour of an altered one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// The server's own name.
    Own,
    /// `server__name`, both as they were given.
    Qualified,
    /// A name in which characters were replaced, or which has to be cut.
    Altered,
}

/// The published names of all items, in the order of the items. [`Letters`] takes each name, and no two are equal.
///
/// With [`Naming::Auto`] a name that only one server has stays; names that several have all become `server__name`. With
/// [`Naming::Prefix`] every name does. Characters that are not taken become `_`; where letters would be lost, what is left of
/// the name, or else of the server's, gets a hash of both names. So does a name that has to be cut, and each of several that
/// would still be equal.
///
/// An item is a server (its place in `servers`) and the server's name for the item.
pub(crate) fn publish(
    naming: Naming,
    letters: Letters,
    servers: &[&str],
    items: &[(ServerIndex, &str)],
) -> Vec<String> {
    let items: Vec<(&str, &str)> =
        items.iter().map(|(server, name)| (servers.get(*server).copied().unwrap_or_default(), *name)).collect();
    let forms: Vec<[String; 2]> = items.iter().map(|(server, name)| letters.of_item(server, name)).collect();
    let exact = count(items.iter().map(|(_, name)| *name).filter(|name| letters.takes(name)));
    let fitted = count(forms.iter().map(|[alone, _]| alone.as_str()));
    let wish = |((server, name), [alone, qualified]): (&(&str, &str), &[String; 2])| match naming {
        Naming::Auto if exact.get(name) == Some(&1) => (Rank::Own, alone.clone()),
        Naming::Auto if !letters.takes(name) && fitted.get(alone.as_str()) == Some(&1) => {
            (Rank::Altered, alone.clone())
        }
        Naming::Auto | Naming::Prefix => {
            let fits = qualified.chars().count() <= letters.longest();
            let unchanged = fits && *qualified == format!("{server}__{name}");
            (if unchanged { Rank::Qualified } else { Rank::Altered }, qualified.clone())
        }
    };
    let wishes: Vec<(Rank, String)> = items.iter().zip(&forms).map(wish).collect();

    // A fixed order, so that even items with equal hashes get the same names each time.
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|at| items[*at]);
    let mut published = vec![String::new(); items.len()];
    let mut taken = HashSet::new();
    for rank in [Rank::Own, Rank::Qualified, Rank::Altered] {
        let ranked = || order.iter().copied().filter(|at| wishes[*at].0 == rank);
        let wanted = count(ranked().map(|at| wishes[at].1.as_str()));
        for at in ranked() {
            let wish = &wishes[at].1;
            let fits = wish.chars().count() <= letters.longest();
            if fits && wanted.get(wish.as_str()) == Some(&1) && taken.insert(wish.clone()) {
                published[at].clone_from(wish);
            }
        }
        for at in ranked() {
            if published[at].is_empty() {
                published[at] = told_apart(&wishes[at].1, letters, items[at], &taken);
                taken.insert(published[at].clone());
            }
        }
    }
    published
}

/// A name that no item has yet, made of the wanted one and a hash.
fn told_apart(wish: &str, letters: Letters, (server, name): (&str, &str), taken: &HashSet<String>) -> String {
    let mut hash = hash(server, name);
    let room = letters.longest() - SUFFIX;
    let cut = match wish.strip_suffix(&letters.fit(name)) {
        Some(prefix) if wish.chars().count() > room && prefix.chars().count() > SERVER_OF_LONG + 2 => {
            format!("{}__{}", first(prefix, SERVER_OF_LONG), &wish[prefix.len()..])
        }
        Some(_) | None => wish.to_owned(),
    };
    loop {
        let apart = format!("{}_{hash:08x}", first(&cut, room));
        if !taken.contains(&apart) {
            return apart;
        }
        hash = hash.wrapping_add(1);
    }
}

/// The first characters of a text, at most `most`.
fn first(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

fn count<T: Eq + std::hash::Hash>(names: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// FNV-1a with 32 bits. The hashes of the standard library may differ between versions, and a published name must not.
fn hash(server: &str, name: &str) -> u32 {
    // 0xFF is in no UTF-8 text, so it ends the server's name.
    let bytes = server.bytes().chain([0xFF]).chain(name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASCII: Letters = Letters::Of(Names::Ascii);
    const UNICODE: Letters = Letters::Of(Names::Unicode);

    fn auto(items: &[(ServerIndex, &str)]) -> Vec<String> {
        publish(Naming::Auto, ASCII, &["a", "b", "c"], items)
    }

    #[test]
    fn a_name_that_one_server_has_stays_and_one_that_several_have_is_qualified_everywhere() {
        assert_eq!(auto(&[(0, "add"), (0, "search"), (1, "search")]), ["add", "a__search", "b__search"]);
        assert_eq!(publish(Naming::Prefix, ASCII, &["a"], &[(0, "add")]), ["a__add"]);
    }

    #[test]
    fn other_characters_become_underscores_and_an_exact_name_keeps_itself() {
        assert_eq!(auto(&[(0, "x.y"), (1, "x/z")]), ["x_y", "x_z"]);
        assert_eq!(auto(&[(0, "x.y"), (1, "x_y")]), ["a__x_y", "x_y"]);
        assert_eq!(auto(&[(0, "x.y"), (0, "x_y")]), ["a__x_y", "x_y"]);
        assert_eq!(auto(&[(0, "x.y"), (1, "x.y")]), ["a__x_y", "b__x_y"]);
    }

    #[test]
    fn a_name_in_another_script_is_what_can_be_read_of_it_and_a_hash() {
        let chinese = ["weather", "天气", "c"];
        let published = |naming, items: &[(ServerIndex, &str)]| publish(naming, ASCII, &chinese, items);
        // The hashes are from another implementation of FNV-1a, as below.
        let names =
            published(Naming::Auto, &[(0, "天气查询"), (0, "天气预报"), (0, "get天气_v2"), (1, "计算"), (2, "")]);
        assert_eq!(
            names,
            ["weather_432dc5d9", "weather_062d137a", "get_v2_2aa5cfb7", "server_1cc1e540_b4a3def1", "c_d22a5457"]
        );
        let names = published(Naming::Prefix, &[(0, "天气查询"), (0, "get天气"), (1, "add"), (1, "计算")]);
        assert_eq!(
            names,
            ["weather__432dc5d9", "weather__get_19a5b0de", "server_1cc1e540__add", "server_1cc1e540__b4a3def1"]
        );
        // Another server with the same tool changes neither name.
        let both = published(Naming::Auto, &[(0, "天气查询"), (2, "天气查询"), (2, "____")]);
        assert_eq!(both, ["weather_432dc5d9", "c_724d63ae", "____"]);
    }

    #[test]
    fn names_stay_as_they_are_where_the_endpoint_takes_letters_of_all_scripts() {
        let names = |items: &[(ServerIndex, &str)]| publish(Naming::Auto, UNICODE, &["天气", "b"], items);
        let items = [(0, "天气查询"), (0, "погода"), (0, "a.b-c_d"), (0, "हिन्दी"), (0, "🌤"), (1, "x y"), (0, "a/b")];
        assert_eq!(names(&items), ["天气查询", "погода", "a.b-c_d", "हिन्दी", "天气_2c39fca5", "x_y", "a_b"]);
        assert_eq!(names(&[(0, "加"), (1, "加")]), ["天气__加", "b__加"]);
        let long = "长".repeat(64);
        assert_eq!(names(&[(0, &long)])[0], long);
        let cut = names(&[(0, &long), (1, &long)]);
        assert!(cut.iter().all(|name| name.chars().count() == 64) && cut[0].starts_with("天气__长"), "{cut:?}");
    }

    #[test]
    fn names_that_no_model_sees_stay_as_they_are_and_are_kept_apart() {
        let long = "长 /".repeat(100);
        let items = [(0, long.as_str()), (0, "a/b"), (1, "a/b"), (0, "\u{0}"), (1, "")];
        let names = publish(Naming::Auto, Letters::Any, &["天气", "b"], &items);
        assert_eq!(names, [&long, "天气__a/b", "b__a/b", "\u{0}", &names[4]]);
    }

    #[test]
    fn a_plain_name_that_looks_qualified_keeps_itself() {
        assert_eq!(auto(&[(0, "b"), (1, "b"), (2, "a__b")]), ["a__b_1c91eb11", "b__b", "a__b"]);
        // Neither is first: both are marked.
        let names = publish(Naming::Prefix, ASCII, &["a", "a__b"], &[(0, "b__c"), (1, "c")]);
        assert!(names.iter().all(|name| name.starts_with("a__b__c_")), "{names:?}");
    }

    #[test]
    fn hashes_never_change() {
        // The hashes are from another implementation of FNV-1a; a change here renames people's tools.
        assert_eq!(auto(&[(0, "x.y"), (0, "x y")]), ["a__x_y_2ad18c6a", "a__x_y_1eb974a0"]);
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_more_of_the_tool_than_of_the_server() {
        let (server, tool) = ("s".repeat(70), "t".repeat(70));
        let names = publish(Naming::Auto, ASCII, &[&server, "b"], &[(0, &tool), (1, &tool), (1, &"u".repeat(65))]);
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

    /// Few names, and alike, so that they clash in every way.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[ab_.]{0,3}",
            2 => "(a|b|a_)__[ab.]{1,2}",
            1 => "[ab加]{60}[ab.]{0,9}",
            2 => "[加减_a🌤]{0,3}",
            1 => any::<String>(),
        ]
    }

    fn setting() -> impl Strategy<Value = (Rules, Vec<String>, Vec<(ServerIndex, String)>)> {
        let naming = prop_oneof![Just(Naming::Auto), Just(Naming::Prefix)];
        let letters = prop_oneof![Just(ASCII), Just(UNICODE), Just(Letters::Any)];
        let servers = proptest::collection::hash_set(name(), 1..5);
        let items = proptest::collection::hash_set((0..4usize, name()), 0..20);
        ((naming, letters), servers, items).prop_map(|(naming, servers, items)| {
            let servers: Vec<String> = servers.into_iter().collect();
            let items: HashSet<_> = items.into_iter().map(|(server, name)| (server % servers.len(), name)).collect();
            (naming, servers, items.into_iter().collect())
        })
    }

    type Rules = (Naming, Letters);

    fn published((naming, letters): Rules, servers: &[String], items: &[(ServerIndex, String)]) -> Vec<String> {
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let items: Vec<(ServerIndex, &str)> = items.iter().map(|(server, name)| (*server, name.as_str())).collect();
        publish(naming, letters, &servers, &items)
    }

    proptest! {
        #[test]
        fn names_are_valid_and_all_different((naming, servers, items) in setting()) {
            let names = published(naming, &servers, &items);
            prop_assert_eq!(names.len(), items.len());
            let letters = naming.1;
            // Nothing can be made of nothing where everything is taken.
            prop_assert!(names.iter().all(|name| letters.takes(name)), "{:?}", names);
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
            let letters = naming.1;
            let is_exact = |(server, name): &(ServerIndex, String)| {
                let fits = (servers[*server].chars().count() + 2 + name.chars().count()) <= letters.longest();
                letters.takes(name) && letters.takes(&servers[*server]) && fits
            };
            let (exact, want): (Vec<_>, Vec<_>) =
                items.iter().cloned().zip(names).filter(|(item, _)| is_exact(item)).unzip();
            let alone = published(naming, &servers, &exact);
            for ((item, want), alone) in exact.iter().zip(want).zip(alone) {
                // An exact name at a server whose own name is not exact also clashes, be it with the qualified name, and is left
                // out above.
                let is_taken = |other: &(ServerIndex, String)| other.1 == item.1 || other.1 == alone;
                let clashes = items.iter().any(|other| other != item && is_taken(other) && !is_exact(other));
                prop_assert!(clashes || want == alone, "{:?}: {} became {}", item, alone, want);
            }
        }

        #[test]
        fn with_auto_a_valid_name_that_nobody_else_has_is_its_own(((_, letters), servers, items) in setting()) {
            let names = published((Naming::Auto, letters), &servers, &items);
            for ((_, name), published) in items.iter().zip(&names) {
                if letters.takes(name) && items.iter().filter(|(_, other)| other == name).count() == 1 {
                    prop_assert_eq!(name, published);
                }
            }
        }
    }
}
