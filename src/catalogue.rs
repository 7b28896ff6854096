//! What servers said of themselves, remembered on disk, so that a restarted mcp-pipe can answer for a server that is
//! still starting.

mod clear;
mod file;
mod look;
mod name;
mod store;
mod writer;

pub(crate) use clear::{Cleared, clear};
pub(crate) use look::{servers, tools};
pub use store::Catalogue;

use std::sync::Arc;

use crate::mcp::lists::ListKind;

/// Most items of one list of a server. When one item changes, the published list is made anew of all of them on the program's
/// only thread, which takes some hundredths of a second for this many. No assistant reads as many.
pub const MAX_ITEMS: usize = 10_000;

/// A server's lists over all their pages: each item as it was written, raw JSON on one line. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists([Arc<[Box<str>]>; 4]);

impl Lists {
    /// The items of one list.
    pub fn get(&self, kind: ListKind) -> &[Box<str>] {
        &self.0[kind as usize]
    }

    /// Replaces one list. Returns whether the old one differed.
    pub fn set(&mut self, kind: ListKind, items: Vec<Box<str>>) -> bool {
        let old = std::mem::replace(&mut self.0[kind as usize], items.into());
        old != self.0[kind as usize]
    }
}

/// What one server said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its `initialize` result, raw JSON; empty if none is known.
    pub welcome: Box<str>,
    /// Its lists.
    pub lists: Lists,
}
