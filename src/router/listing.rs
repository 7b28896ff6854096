//! What servers list, and what peers have read of that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::ServerIndex;
use crate::mcp::lists::ListKind;
use crate::mcp::object;

pub(super) mod page;
pub(super) mod pages;
pub(super) mod shelf;

/// Most templates of one server that are published: each URI that is not listed is compared with all of them.
pub(super) const MAX_TEMPLATES: usize = 500;

/// The server that has an item, and what that server calls it.
pub(super) type Way = (ServerIndex, Arc<str>);

/// A published name or URI → where it leads.
pub(super) type Table = HashMap<Box<str>, Way>;

/// The name or URI by which a server knows an item; `None` if `item` is none.
pub(super) fn key(item: &str, kind: ListKind) -> Option<Cow<'_, str>> {
    object::text_of(object::find(item, &[kind.key()])?)
}
