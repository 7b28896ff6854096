//! Which needles a text may hold at a place, by the characters with which they begin. Pure.
//!
//! A daemon with a hundred endpoints has two thousand needles, and each line of the log is looked at: needles with the same beginning
//! are tried as one.

use std::collections::BTreeMap;

use super::needle::{Unit, Ways, plain};

/// A node of the tree of beginnings: the needles whose heads end here, and those that go on.
#[derive(Default)]
pub(super) struct Starts {
    numbers: Vec<usize>,
    next: BTreeMap<Unit, Starts>,
}

impl Starts {
    pub(super) fn add(&mut self, head: &[Unit], number: usize) {
        match head {
            [] => self.numbers.push(number),
            [unit, rest @ ..] => self.next.entry(unit.folded()).or_default().add(rest, number),
        }
    }

    pub(super) fn remove(&mut self, head: &[Unit], number: usize) {
        let [unit, rest @ ..] = head else {
            return self.numbers.retain(|of| *of != number);
        };
        let unit = unit.folded();
        if let Some(next) = self.next.get_mut(&unit) {
            next.remove(rest, number);
            if next.numbers.is_empty() && next.next.is_empty() {
                self.next.remove(&unit);
            }
        }
    }

    /// The numbers of the needles whose heads stand at this place of a text, in any spelling.
    pub(super) fn found_at(&self, text: &str, at: usize) -> Vec<usize> {
        let mut found = Vec::new();
        self.walk(text, &Ways::one(at), &mut found);
        found
    }

    fn walk(&self, text: &str, ways: &Ways, found: &mut Vec<usize>) {
        found.extend(&self.numbers);
        // Most characters are nothing but themselves, and begin nothing: they are to cost no more than the look that shows it.
        if let Some((at, c)) = ways.only().and_then(|at| Some((at, plain(&text[at..])?))) {
            if let Some(next) = self.next.get(&Unit::Char(c).folded()) {
                next.walk(text, &Ways::one(at + c.len_utf8()), found);
            }
            return;
        }
        for (unit, next) in &self.next {
            let ends = unit.ends(text, ways);
            if !ends.is_empty() {
                next.walk(text, &ends, found);
            }
        }
    }

    /// How many nodes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        1 + self.next.values().map(Starts::len).sum::<usize>()
    }
}
