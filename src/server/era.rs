//! Of which era a server is: as which it is opened next, and what its answers tell. Pure.
//!
//! # Theory of operation
//!
//! A process is bound to one era by the first line that it gets, so a running process is never asked for the other one. A program that nobody
//! knows is asked as a legacy server: most are, and those that are silent to the other question cost two starts. At an address nothing is
//! bound, and the modern question costs one request, so it comes first. What a server has shown is remembered, also by later runs; where
//! it shows something else, that is thrown away.

use crate::mcp::era::Era;

/// How often in a row a process may end before it answers until what is known of it is thrown away: mostly it has another fault.
const ENDS: u32 = 3;
/// After how many ends in a row, and how many times as many, one life of a server that nothing is known of is opened as one of the other era:
/// mostly the server has another fault, and once that is mended a question that it is silent to would keep it from serving.
const RARELY: u32 = 8;

/// See the module's documentation. One for each server, through all its lives.
#[derive(Debug)]
pub(super) struct Eras {
    /// What the config says.
    set: Option<Era>,
    /// What the server has shown.
    known: Option<Era>,
    /// As what a server of which nothing is known is opened first, and next.
    first: Era,
    next: Era,
    /// How often in a row the server ended before it answered.
    ends: u32,
}

impl Eras {
    /// `set`: by the config; `known`: from an earlier run; `first`: as what it is opened otherwise.
    pub(super) fn new(set: Option<Era>, known: Option<Era>, first: Era) -> Self {
        Eras { set, known, first, next: first, ends: 0 }
    }

    /// Whether a server that is opened as one of this era may well be of the other.
    pub(super) fn is_guess(&self, era: Era) -> bool {
        self.set.is_none() && self.known != Some(era)
    }

    /// As what the next life begins.
    pub(super) fn opening(&self) -> Era {
        self.set.or(self.known).unwrap_or(self.next)
    }

    /// Whether a server that refuses to be of one era may be asked as one of the other.
    pub(super) fn may_be_other(&self) -> bool {
        self.set.is_none()
    }

    /// The server has answered as one of this era. Returns whether that is worth remembering: a server of which nothing is known is opened
    /// rightly without that.
    pub(super) fn proven(&mut self, era: Era) -> bool {
        self.ends = 0;
        self.known.replace(era).unwrap_or(self.first) != era
    }

    /// The server has refused to be one of this era. Returns whether the other one is to be tried.
    pub(super) fn refused(&mut self, era: Era) -> bool {
        self.known = None;
        self.next = if self.set.is_none() { era.other() } else { era };
        self.set.is_none()
    }

    /// Whatever is known is forgotten, as after a server has refused both: it is asked next as at first.
    pub(super) fn begin_anew(&mut self) {
        (self.known, self.next) = (None, self.first);
    }

    /// A life has ended before the server answered as one of this era.
    pub(super) fn ended(&mut self, era: Era) {
        self.ends = self.ends.saturating_add(1);
        if self.known.is_some() && self.ends >= ENDS {
            self.known = None;
        }
        let is_rare = self.known.is_none() && (0..10).any(|n| self.ends == RARELY.pow(n));
        self.next = if is_rare && era == self.first { self.first.other() } else { self.first };
    }
}

#[cfg(test)]
mod tests {
    use super::Era::{Legacy, Modern};
    use super::*;

    #[test]
    fn an_unknown_server_that_ends_is_opened_as_the_other_one_now_and_then() {
        let mut eras = Eras::new(None, None, Legacy);
        let opened: Vec<Era> = (0..70)
            .map(|_| {
                let era = eras.opening();
                eras.ended(era);
                era
            })
            .collect();
        let others: Vec<usize> = (0..70).filter(|n| opened[*n] == Modern).collect();
        assert_eq!(others, [1, 8, 64]);
        assert!(eras.refused(Legacy));
        assert_eq!(eras.opening(), Modern);
        assert!(eras.proven(Modern) && !eras.proven(Modern));
        assert!(!Eras::new(None, None, Legacy).proven(Legacy));
        assert_eq!(eras.opening(), Modern);
    }

    #[test]
    fn what_is_known_outlives_some_crashes_and_no_refusal() {
        let mut eras = Eras::new(None, Some(Modern), Legacy);
        for _ in 0..ENDS - 1 {
            eras.ended(Modern);
            assert_eq!(eras.opening(), Modern);
        }
        eras.ended(Modern);
        assert_eq!(eras.opening(), Legacy);
        let mut eras = Eras::new(None, Some(Legacy), Legacy);
        assert!(eras.refused(Legacy));
        assert_eq!(eras.opening(), Modern);
        eras.begin_anew();
        assert_eq!(eras.opening(), Legacy);
    }

    #[test]
    fn the_config_decides() {
        let mut eras = Eras::new(Some(Modern), Some(Legacy), Legacy);
        assert_eq!(eras.opening(), Modern);
        assert!(!eras.refused(Modern));
        (0..9).for_each(|_| eras.ended(Modern));
        assert_eq!(eras.opening(), Modern);
    }
}
