//! All secrets that are looked for, as one: a place of a text is compared with what many of them begin with once. Pure.
//!
//! A daemon with a hundred endpoints has thousands of needles, most tokens begin like others (`eyJhbGciOi…`), and each line of the log
//! is looked at.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::needle::{BEGINNING_AT_CUT, Needle, Rest, Unit, Ways, plain};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Needles {
    /// By their numbers; `None`: the number is free.
    list: Vec<Option<Needle>>,
    free: Vec<usize>,
    /// The numbers of those that begin with each character, in the order of their characters: those with the same beginning stand
    /// side by side, which is a tree of beginnings that takes no memory of its own.
    by_first: BTreeMap<Unit, Vec<usize>>,
}

/// A secret in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Where it ends.
    pub(super) end: usize,
    /// Whether all of it is there, and not only its beginning.
    pub(super) is_whole: bool,
    /// Whether it is as long as tokens are.
    pub(super) is_long: bool,
}

impl Needles {
    pub(super) fn add(&mut self, needle: Needle) -> usize {
        let number = self.free.pop().unwrap_or(self.list.len());
        let list = &self.list;
        let same = self.by_first.entry(needle.first()).or_default();
        let is_less = |of: &usize| list[*of].as_ref().is_some_and(|of| of.units() < needle.units());
        same.insert(same.partition_point(is_less), number);
        if number == self.list.len() {
            self.list.push(Some(needle));
        } else {
            self.list[number] = Some(needle);
        }
        number
    }

    fn get(&self, number: usize) -> Option<&Needle> {
        self.list[number].as_ref()
    }

    pub(super) fn remove(&mut self, number: usize) {
        let Some(needle) = self.list[number].take() else { return };
        self.free.push(number);
        if let Entry::Occupied(mut same) = self.by_first.entry(needle.first()) {
            same.get_mut().retain(|of| *of != number);
            if same.get().is_empty() {
                same.remove();
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_first.values().map(Vec::len).sum()
    }

    /// What is found at this place of a text, each once. `cut`: whether the text was cut at its end.
    pub(super) fn found_at(&self, text: &str, at: usize, cut: bool) -> Vec<Found> {
        let mut search = Search { needles: self, text, at, cut, found: Vec::new() };
        let ways = Ways::one(at);
        // Most characters begin nothing: they are to cost no more than the look that shows it.
        match plain(&text[at..]) {
            Some(c) => {
                if let Some(numbers) = self.by_first.get(&Unit::Char(c).folded()) {
                    search.follow(Branch { numbers, depth: 1, ways: Ways::one(at + c.len_utf8()) });
                }
            }
            None => {
                for (unit, numbers) in &self.by_first {
                    search.follow(Branch { numbers, depth: 1, ways: unit.ends(text, &ways) });
                }
            }
        }
        search.found
    }
}

/// Needles with the same beginning, in order, which was found in a text.
struct Branch<'a> {
    numbers: &'a [usize],
    /// How many characters it has.
    depth: usize,
    /// The places behind it.
    ways: Ways,
}

struct Search<'a> {
    needles: &'a Needles,
    text: &'a str,
    at: usize,
    cut: bool,
    found: Vec<Found>,
}

impl<'a> Search<'a> {
    fn follow(&mut self, branch: Branch<'a>) {
        let needles = self.needles;
        let (mut next, mut later) = (Some(branch), Vec::new());
        while let Some(Branch { numbers, depth, ways }) = next.take().or_else(|| later.pop()) {
            let Some(end) = ways.last() else { continue };
            let unit_of = |number: &usize| needles.get(*number).and_then(|needle| needle.units().get(depth).copied());
            let (ended, mut others) = numbers.split_at(numbers.partition_point(|number| unit_of(number).is_none()));
            if let Some(number) = ended.first() {
                self.tell_whole(*number, end);
            }
            let alone = ways.only().and_then(|at| Some((at, plain(&self.text[at..])?)));
            if let Some((at, c)) = alone {
                let unit = Some(Unit::Char(c).folded());
                let from = others.partition_point(|number| unit_of(number) < unit);
                let to = others.partition_point(|number| unit_of(number) <= unit);
                self.tell_beginning(&others[..from], depth, end);
                self.tell_beginning(&others[to..], depth, end);
                let ways = Ways::one(at + c.len_utf8());
                next = (from < to).then(|| Branch { numbers: &others[from..to], depth: depth + 1, ways });
                continue;
            }
            while let Some(unit) = others.first().and_then(unit_of) {
                let same = others.partition_point(|number| unit_of(number) == Some(unit));
                let ways = unit.ends(self.text, &ways);
                if ways.is_empty() {
                    self.tell_beginning(&others[..same], depth, end);
                }
                later.push(Branch { numbers: &others[..same], depth: depth + 1, ways });
                others = &others[same..];
            }
        }
    }

    /// All of a secret was found, up to here.
    fn tell_whole(&mut self, number: usize, end: usize) {
        let Some(needle) = self.needles.get(number) else { return };
        let (before, behind) = (self.text[..self.at].chars().next_back(), self.text[end..].chars().next());
        if needle.stands_alone() && [before, behind].into_iter().flatten().any(char::is_alphanumeric) {
            return;
        }
        // A `=` that fills up base64 belongs to the secret.
        let end = end + self.text[end..].bytes().take(2).take_while(|b| *b == b'=').count();
        self.tell(Found { end, is_whole: true, is_long: needle.is_long() });
    }

    /// So many characters of these needles were found, up to here, and not the next one.
    fn tell_beginning(&mut self, numbers: &[usize], depth: usize, end: usize) {
        if depth < BEGINNING_AT_CUT {
            return;
        }
        let rest = Rest::of(&self.text[end..], self.cut);
        for is_long in [false, true] {
            let mut needles = numbers.iter().filter_map(|number| self.needles.get(*number));
            if needles.any(|needle| needle.is_long() == is_long && needle.counts_from(depth, &rest)) {
                self.tell(Found { end: end + rest.half, is_whole: false, is_long });
            }
        }
    }

    fn tell(&mut self, found: Found) {
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Needles {
        let mut needles = Needles::default();
        secrets.into_iter().filter_map(Needle::new).for_each(|needle| {
            needles.add(needle);
        });
        needles
    }

    #[test]
    fn at_a_cut_the_half_of_a_spelling_belongs_to_the_secret_and_a_whole_one_does_not() {
        let needles = of(["s3cr😀t-and-more"]);
        let half = r"s3cr\ud83d\ude0";
        let found = Found { end: half.len(), is_whole: false, is_long: false };
        assert_eq!(needles.found_at(half, 0, true), [found]);
        // A whole spelling of another character.
        assert_eq!(needles.found_at(r"s3cr\ud83d\ude01", 0, true), []);
        assert_eq!(needles.found_at(half, 0, false), [], "nothing was cut");
    }

    /// Texts of parts of secrets, in many spellings, and of what looks like them.
    fn texts(secrets: Vec<String>) -> impl Strategy<Value = (Vec<String>, String)> {
        let spelled = (any::<Index>(), any::<Index>(), 0..5_usize);
        let other = "[a+ 1%&\\\\u#;é\u{fffd}]{0,6}";
        let part = prop_oneof![3 => spelled.prop_map(Ok), 1 => other.prop_map(Err)];
        prop::collection::vec(part, 0..8).prop_map(move |parts| {
            let spell = |(which, len, how): (Index, Index, usize)| {
                let secret = which.get(&secrets);
                let secret: String = secret.chars().take(len.index(secret.chars().count()) + 1).collect();
                match how {
                    0 => secret,
                    1 => utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string(),
                    2 => secret.replace('a', r"\u0061").replace('+', "&#43;"),
                    3 => secret.replace(' ', "+").replace('%', "%25"),
                    _ => secret.escape_default().to_string(),
                }
            };
            let text = parts.into_iter().map(|part| part.map_or_else(|other| other, spell)).collect();
            (secrets.clone(), text)
        })
    }

    fn secrets() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a+ 1%]{4,6}([a-c1Aé%=\\\\]{0,8}|[a1A]{8,20})", 1..12)
    }

    proptest! {
        #[test]
        fn all_as_one_find_what_each_of_them_finds((secrets, text) in secrets().prop_flat_map(texts), cut in any::<bool>()) {
            let all = of(secrets.iter().map(String::as_str));
            let each: Vec<Needles> = secrets.iter().map(|secret| of([secret.as_str()])).collect();
            for (at, _) in text.char_indices() {
                let found: BTreeSet<Found> = all.found_at(&text, at, cut).into_iter().collect();
                let by_each = each.iter().flat_map(|one| one.found_at(&text, at, cut)).collect();
                prop_assert_eq!(found, by_each, "{} at {}", text, at);
            }
        }

        #[test]
        fn what_was_taken_out_is_not_found_and_the_others_are((secrets, text) in secrets().prop_flat_map(texts), out in any::<Index>()) {
            let mut needles = Needles::default();
            let numbers: Vec<Option<usize>> =
                secrets.iter().map(|secret| Needle::new(secret).map(|needle| needles.add(needle))).collect();
            let out = out.index(secrets.len());
            if let Some(number) = numbers[out] {
                needles.remove(number);
                prop_assert_eq!(needles.add(Needle::new("another-one").unwrap()), number, "numbers are used again");
                needles.remove(number);
            }
            let others = of(secrets.iter().enumerate().filter(|(n, _)| *n != out).map(|(_, secret)| secret.as_str()));
            prop_assert_eq!(needles.len(), others.len());
            for (at, _) in text.char_indices() {
                let found: BTreeSet<Found> = needles.found_at(&text, at, false).into_iter().collect();
                prop_assert_eq!(found, others.found_at(&text, at, false).into_iter().collect());
            }
        }
    }
}
