//! What is known about one server: what it said at its handshake, and its lists, over all their pages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::value::RawValue;

use crate::catalogue::{ListKind, Lists, Memory};
use crate::router::handshake::{Hello, Welcome};

/// Pages of one list that are read. A server that has more repeats itself or has no end.
const MAX_PAGES: usize = 200;

/// As much of one list is kept, in bytes: an endpoint takes no message above 16 MiB either.
const MAX_LIST: usize = 16 << 20;

/// The state of one list's reading.
#[derive(Debug, Default)]
enum Reading {
    #[default]
    Idle,
    Pages {
        items: Vec<Box<str>>,
        bytes: usize,
        /// The cursors that were given, to see a circle.
        cursors: Vec<Box<str>>,
        /// It changed meanwhile: to be read once more.
        again: bool,
    },
}

/// What a page of a list leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// There is another page: the parameters that ask for it.
    More(Vec<u8>),
    /// The list changed while it was read: it is to be read anew.
    Again,
    /// It is complete; whether it is another one than before.
    Done(bool),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) welcome: Option<Welcome>,
    /// The parameters that the welcome was an answer to.
    hello: Box<str>,
    pub(super) lists: Lists,
    reading: [Reading; 4],
    /// The lists are complete: read to the end, in this life of the server or an earlier one.
    pub(super) known: bool,
    /// A fingerprint of what was last given away to be remembered.
    kept: u64,
}

impl Shelf {
    /// With what an earlier run remembered.
    pub(super) fn new(memory: Option<Memory>) -> Self {
        let Some(memory) = memory else { return Shelf::default() };
        let mut shelf = Shelf {
            welcome: Some(Welcome::read(memory.welcome.as_bytes())),
            hello: memory.hello.clone(),
            known: true,
            ..Shelf::default()
        };
        shelf.kept = print(&memory);
        shelf.lists = memory.lists;
        shelf
    }

    /// The parameters with which the server was last initialized.
    pub(super) fn hello(&self) -> Option<Hello> {
        (!self.hello.is_empty()).then(|| Hello::read(self.hello.as_bytes()))
    }

    /// The server's answer to the handshake.
    pub(super) fn welcomed(&mut self, hello: &Hello, welcome: Welcome) {
        self.hello = String::from_utf8_lossy(&hello.params).into();
        self.welcome = Some(welcome);
    }

    /// Its process is gone, and with it the pages that were to come.
    pub(super) fn down(&mut self) {
        self.reading = Default::default();
    }

    /// Whether this list is to be asked for now. If it is being read already, it will be read once more.
    pub(super) fn begin(&mut self, kind: ListKind) -> bool {
        match &mut self.reading[kind as usize] {
            Reading::Pages { again, .. } => {
                *again = true;
                false
            }
            idle @ Reading::Idle => {
                *idle = Reading::Pages { items: Vec::new(), bytes: 0, cursors: Vec::new(), again: false };
                true
            }
        }
    }

    /// Whether anything is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.iter().any(|r| matches!(r, Reading::Pages { .. }))
    }

    /// A page; `None` if the server could not give it.
    pub(super) fn turn(&mut self, kind: ListKind, result: Option<&[u8]>) -> Turned {
        let Reading::Pages { mut items, mut bytes, mut cursors, again } =
            std::mem::take(&mut self.reading[kind as usize])
        else {
            return Turned::Done(false);
        };
        let Some(page) = result.and_then(|result| page(result, kind)) else {
            // What it said before is better than nothing.
            let changed = !self.known && self.lists.set(kind, items);
            return Turned::Done(changed);
        };
        for item in page.items {
            bytes += item.len();
            if bytes <= MAX_LIST {
                items.push(item);
            }
        }
        match page.next {
            Some(next) if cursors.len() < MAX_PAGES && bytes <= MAX_LIST && !cursors.contains(&next) => {
                let params = serde_json::json!({ "cursor": *next }).to_string().into_bytes();
                cursors.push(next);
                self.reading[kind as usize] = Reading::Pages { items, bytes, cursors, again };
                Turned::More(params)
            }
            Some(_) | None if again => Turned::Again,
            Some(_) | None => Turned::Done(self.lists.set(kind, items)),
        }
    }

    /// What is to be remembered, if that is something new.
    pub(super) fn memory(&mut self) -> Option<Memory> {
        let welcome = self.welcome.as_ref()?;
        let welcome = String::from_utf8_lossy(welcome.result()).into();
        let memory = Memory { hello: self.hello.clone(), welcome, lists: self.lists.clone() };
        let print = print(&memory);
        (std::mem::replace(&mut self.kept, print) != print).then_some(memory)
    }
}

struct Page {
    items: Vec<Box<str>>,
    next: Option<Box<str>>,
}

fn page(result: &[u8], kind: ListKind) -> Option<Page> {
    // Control characters inside strings are no JSON, but some servers write them.
    if result.iter().any(|b| *b < 0x20) {
        let clean: Vec<u8> = result.iter().map(|b| if *b < 0x20 { b' ' } else { *b }).collect();
        return clean_page(&clean, kind);
    }
    clean_page(result, kind)
}

fn clean_page(result: &[u8], kind: ListKind) -> Option<Page> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(result).ok()?;
    let items: Vec<&RawValue> = serde_json::from_str(members.get(kind.member())?.get()).ok()?;
    let next = members.get("nextCursor").and_then(|next| serde_json::from_str::<Option<String>>(next.get()).ok());
    Some(Page { items: items.iter().map(|item| item.get().into()).collect(), next: next.flatten().map(Into::into) })
}

fn print(memory: &Memory) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&memory.hello, &memory.welcome).hash(&mut hasher);
    for kind in ListKind::ALL {
        memory.lists.get(kind).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(shelf: &mut Shelf, result: &str) -> Turned {
        shelf.turn(ListKind::Tools, Some(result.as_bytes()))
    }

    #[test]
    fn all_pages_of_a_list_are_read_and_a_circle_ends_it() {
        let mut shelf = Shelf::default();
        assert!(shelf.begin(ListKind::Tools));
        let more = turn(&mut shelf, r#"{"tools":[{"name":"a","n":1.50}],"nextCursor":"1"}"#);
        assert_eq!(more, Turned::More(br#"{"cursor":"1"}"#.to_vec()));
        let more = turn(&mut shelf, r#"{"tools":[{"name":"b"}],"nextCursor":"2"}"#);
        assert!(matches!(more, Turned::More(_)));
        assert_eq!(turn(&mut shelf, r#"{"tools":[{"name":"c"}],"nextCursor":"1"}"#), Turned::Done(true));
        let names: Vec<&str> = shelf.lists.get(ListKind::Tools).iter().map(|item| &**item).collect();
        assert_eq!(names, [r#"{"name":"a","n":1.50}"#, r#"{"name":"b"}"#, r#"{"name":"c"}"#]);
        assert!(!shelf.is_reading());
    }

    #[test]
    fn raw_control_characters_in_a_description_cost_nobody_its_tools() {
        let mut shelf = Shelf::default();
        shelf.begin(ListKind::Tools);
        assert_eq!(turn(&mut shelf, "{\"tools\":[{\"name\":\"a\",\"description\":\"x\ty\"}]}"), Turned::Done(true));
        assert_eq!(*shelf.lists.get(ListKind::Tools)[0], *r#"{"name":"a","description":"x y"}"#);
    }

    #[test]
    fn a_list_that_changes_while_it_is_read_is_read_anew() {
        let mut shelf = Shelf::default();
        assert!(shelf.begin(ListKind::Tools) && !shelf.begin(ListKind::Tools));
        assert_eq!(turn(&mut shelf, r#"{"tools":[]}"#), Turned::Again);
        assert!(shelf.begin(ListKind::Tools));
        assert_eq!(turn(&mut shelf, r#"{"tools":[],"nextCursor":null}"#), Turned::Done(false));
    }

    #[test]
    fn a_server_that_cannot_list_keeps_what_it_said_before() {
        let mut shelf = Shelf::default();
        shelf.begin(ListKind::Tools);
        assert_eq!(turn(&mut shelf, r#"{"tools":[{"name":"a"}]}"#), Turned::Done(true));
        shelf.known = true;
        for broken in [None, Some(&b"{}"[..]), Some(b"[]"), Some(br#"{"tools":{}}"#)] {
            shelf.begin(ListKind::Tools);
            assert_eq!(shelf.turn(ListKind::Tools, broken), Turned::Done(false));
        }
        assert_eq!(shelf.lists.get(ListKind::Tools).len(), 1);
    }
}
