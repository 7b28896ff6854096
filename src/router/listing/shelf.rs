//! What is known about one server: what it said at its handshake, and its lists, over all their pages.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::page::{self, Oddities, Page};
use super::{MAX_TEMPLATES, key};
use crate::catalogue::{Lists, MAX_ITEMS, Memory};
use crate::mcp::cloud::HOLD;
use crate::mcp::handshake::Welcome;
use crate::mcp::lists::{ListKind, MAX_PAGES};

/// Most bytes of one list that are kept: an endpoint takes no message above 16 MiB either.
const MAX_LIST: usize = 16 << 20;

/// Longest cursor that goes back to its server, in bytes. A longer one ends the list.
const MAX_CURSOR: usize = 4096;

/// Longest time that reading a list may take. After several failures that is as long as the wait before, so that a slow
/// server is listed too.
const READ: Duration = Duration::from_secs(30);

/// Most readings of a list that follow each other at once, in one life of a server, because the list changed. Some servers
/// complete their lists step by step as they start, and the endpoint should see the whole; after that a list is read once in
/// [`PACE`].
const EAGER: u8 = 3;

/// Shortest time between two readings of a list that changes all the time.
const PACE: Duration = Duration::from_secs(1);

/// Shortest wait after a list could not be read, and the longest: each failure doubles the wait.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// Shortest time between two memories of a server that are given away: each is written to a file.
const BETWEEN_MEMORIES: Duration = Duration::from_secs(30);

/// How far the reading of one list is.
#[derive(Debug)]
struct ListReading {
    state: ReadingState,
    /// How many readings there were: an answer to an earlier reading does not belong to this one.
    number: u32,
    known: Completeness,
    eager: u8,
    retry: Duration,
    /// What is to be told of the list as read last.
    remarks: Vec<Remark>,
    /// A fingerprint of what was last told of the list.
    told: Option<u64>,
    /// When the list is to be read anew before it is told, where its server says so.
    stale: Option<Instant>,
    /// Who asks for the list waits for it to be read anew, until then.
    awaited: Option<Instant>,
}

/// What a person may want to know of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::router) enum Remark {
    /// The list could not be read.
    Failed(String),
    /// Not all of the list was read.
    Cut(String),
    /// Not everything in the list is as MCP has it.
    Odd(String),
}

/// What the kept list is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Unread,
    /// There is none, and none could be read in this life of the server.
    Unreadable,
    /// The list is a whole one.
    Whole,
}

#[derive(Debug)]
enum ReadingState {
    /// There is nothing to do.
    Idle,
    /// The list is to be read then.
    Due(Instant),
    Pages {
        until: Instant,
        items: Vec<Box<str>>,
        bytes: usize,
        /// Hashes of the cursors that the server gave, to see a circle.
        cursors: Vec<u64>,
        oddities: Oddities,
        /// The list changed meanwhile, and is to be read once more.
        again: bool,
        /// When the first of its pages is outdated, if one is ever.
        stale: Option<Instant>,
    },
}

/// What a page of a list leads to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::router) enum Paged {
    /// The page belongs to a reading that was given up.
    Stale,
    /// Another page follows: the parameters that ask for it.
    More(Vec<u8>),
    /// The list is to be read anew, from the start, at once.
    Again,
    /// The list is read; whether it differs from the one before.
    Done(bool),
    /// The list could not be read, and is tried again later.
    Failed,
}

/// What a server answered to a list request.
#[derive(Debug, Clone, Copy)]
pub(in crate::router) enum PageAnswer<'a> {
    Result(&'a [u8]),
    /// The server has no such list.
    Unknown,
    Failed,
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::router) struct Shelf {
    pub(in crate::router) welcome: Option<Welcome>,
    pub(in crate::router) lists: Lists,
    readings: [ListReading; 4],
    /// A fingerprint of the memory that was last given away, and when that was.
    kept: u64,
    kept_at: Option<Instant>,
    /// There may be something new to remember.
    unkept: bool,
    /// What was last told of oddities in the welcome.
    oddity: String,
}

impl Shelf {
    /// A shelf with what an earlier run remembered of the server.
    pub(in crate::router) fn new(memory: Option<Memory>) -> Self {
        let known = if memory.is_some() { Completeness::Whole } else { Completeness::Unread };
        let reading = || ListReading {
            state: ReadingState::Idle,
            number: 0,
            known,
            eager: EAGER,
            retry: RETRY,
            remarks: Vec::new(),
            told: None,
            stale: None,
            awaited: None,
        };
        let mut shelf = Shelf {
            welcome: None,
            lists: Lists::default(),
            readings: [reading(), reading(), reading(), reading()],
            kept: 0,
            kept_at: None,
            unkept: false,
            oddity: String::new(),
        };
        if let Some(memory) = memory {
            shelf.welcome = Some(Welcome::mended(memory.welcome.as_bytes()).0);
            for kind in ListKind::ALL {
                let items = memory.lists.get(kind).iter().filter_map(|item| page::remembered(item, kind));
                shelf.lists.set(kind, items.collect());
            }
            shelf.kept = shelf.print();
        }
        shelf
    }

    /// The server has answered `initialize`.
    pub(in crate::router) fn welcomed(&mut self, welcome: Welcome) {
        self.welcome = Some(welcome);
        self.unkept = true;
    }

    /// What is to be told of oddities in the welcome; `None` if the same was told last.
    pub(in crate::router) fn oddity(&mut self, odd: String) -> Option<String> {
        let known = std::mem::replace(&mut self.oddity, odd.clone());
        (known != odd && !odd.is_empty()).then_some(odd)
    }

    /// Whether all lists are complete: read to the end, in this life of the server or an earlier one.
    pub(in crate::router) fn is_known(&self) -> bool {
        self.readings.iter().all(|reading| reading.known == Completeness::Whole)
    }

    /// Whether a list is complete.
    pub(in crate::router) fn has(&self, kind: ListKind) -> bool {
        self.readings[kind as usize].known == Completeness::Whole
    }

    /// Whether nothing is known of a list, and reading it has not failed in this life of the server.
    pub(in crate::router) fn lacks(&self, kind: ListKind) -> bool {
        self.readings[kind as usize].known == Completeness::Unread
    }

    /// The server's process is gone, and with it the pages that were to come.
    pub(in crate::router) fn down(&mut self) {
        for reading in &mut self.readings {
            (reading.state, reading.eager, reading.retry) = (ReadingState::Idle, EAGER, RETRY);
            (reading.stale, reading.awaited) = (None, None);
            if reading.known == Completeness::Unreadable {
                reading.known = Completeness::Unread;
            }
        }
    }

    /// The server has no such list. Returns whether it had one before.
    pub(in crate::router) fn set_none(&mut self, kind: ListKind) -> bool {
        let reading = &mut self.readings[kind as usize];
        (reading.state, reading.known, reading.retry) = (ReadingState::Idle, Completeness::Whole, RETRY);
        (reading.stale, reading.awaited) = (None, None);
        self.unkept = true;
        self.lists.set(kind, Vec::new())
    }

    /// Begins to read a list, and returns the number of the reading. `None` if the list is being read already; then it is
    /// read once more.
    pub(in crate::router) fn begin(&mut self, kind: ListKind, now: Instant) -> Option<u32> {
        let reading = &mut self.readings[kind as usize];
        if let ReadingState::Pages { again, .. } = &mut reading.state {
            *again = true;
            return None;
        }
        reading.number += 1;
        let until = now + READ.max(reading.retry);
        reading.state = ReadingState::Pages {
            until,
            items: Vec::new(),
            bytes: 0,
            cursors: Vec::new(),
            oddities: Oddities::default(),
            again: false,
            stale: None,
        };
        Some(reading.number)
    }

    /// Whether a list is too old to be told, by what its server says of that.
    pub(in crate::router) fn is_stale(&self, kind: ListKind, now: Instant) -> bool {
        self.readings[kind as usize].stale.is_some_and(|at| at <= now)
    }

    /// Somebody asks for a list that is too old: has it read anew, unless that is under way. Returns the number of a reading that begins.
    pub(in crate::router) fn refresh(&mut self, kind: ListKind, now: Instant) -> Option<u32> {
        let reading = &mut self.readings[kind as usize];
        reading.awaited.get_or_insert(now + HOLD);
        let is_idle = !matches!(reading.state, ReadingState::Pages { .. });
        is_idle.then(|| self.begin(kind, now)).flatten()
    }

    /// Whoever asks for a list waits until it is read, if that is under way.
    pub(in crate::router) fn await_reading(&mut self, kind: ListKind, now: Instant) {
        let reading = &mut self.readings[kind as usize];
        if let ReadingState::Pages { .. } = reading.state {
            reading.awaited.get_or_insert(now + HOLD);
        }
    }

    /// Whether somebody waits for a list to be read anew.
    pub(in crate::router) fn is_awaited(&self, kind: ListKind) -> bool {
        self.readings[kind as usize].awaited.is_some()
    }

    /// Gives up lists that are waited for too long. Returns whether there was one.
    pub(in crate::router) fn give_up_waiting(&mut self, now: Instant) -> bool {
        let late = |reading: &&mut ListReading| reading.awaited.is_some_and(|until| until <= now);
        self.readings.iter_mut().filter(late).map(|reading| reading.awaited = None).count() > 0
    }

    /// The server says that a list has changed. Does what [`Shelf::begin`] does, but not more often than [`EAGER`] and
    /// [`PACE`] say.
    pub(in crate::router) fn changed(&mut self, kind: ListKind, now: Instant) -> Option<u32> {
        let reading = &mut self.readings[kind as usize];
        match &mut reading.state {
            ReadingState::Pages { again, .. } => *again = true,
            ReadingState::Due(_) => {}
            ReadingState::Idle if reading.eager > 0 => {
                reading.eager -= 1;
                return self.begin(kind, now);
            }
            ReadingState::Idle => reading.state = ReadingState::Due(now + PACE),
        }
        None
    }

    /// The server has answered in a reading.
    pub(in crate::router) fn on_page(
        &mut self,
        kind: ListKind,
        number: u32,
        answer: PageAnswer<'_>,
        now: Instant,
    ) -> Paged {
        let reading = &mut self.readings[kind as usize];
        if reading.number != number || !matches!(reading.state, ReadingState::Pages { .. }) {
            return Paged::Stale;
        }
        let ReadingState::Pages { until, mut items, mut bytes, mut cursors, mut oddities, again, mut stale } =
            std::mem::replace(&mut reading.state, ReadingState::Idle)
        else {
            return Paged::Stale;
        };
        let page = match answer {
            PageAnswer::Result(result) => page::read(result, kind),
            PageAnswer::Unknown => Some(Page::default()),
            PageAnswer::Failed => None,
        };
        let Some(page) = page else {
            reading.state = ReadingState::Due(now + reading.retry);
            reading.awaited = None;
            reading.retry = LONGEST_RETRY.min(reading.retry * 2);
            if reading.known == Completeness::Unread {
                reading.known = Completeness::Unreadable;
            }
            return Paged::Failed;
        };
        stale = page.age.map(|age| now + age).into_iter().chain(stale).min();
        for item in page.items {
            bytes += item.len();
            if bytes <= MAX_LIST {
                items.push(item);
            }
        }
        let is_endless = items.len() > MAX_ITEMS;
        items.truncate(MAX_ITEMS);
        oddities.join(page.oddities);
        let next = page.next.map(|next| (fingerprint(&next), next));
        let cut = match next {
            _ if bytes > MAX_LIST => Some(format!("it is larger than {MAX_LIST} bytes")),
            _ if is_endless => Some("it has more".to_owned()),
            None => None,
            Some((_, next)) if next.len() > MAX_CURSOR => Some(format!("a cursor has {} bytes", next.len())),
            Some((cursor, _)) if cursors.contains(&cursor) => Some("a cursor came twice".to_owned()),
            Some(_) if cursors.len() + 1 >= MAX_PAGES => Some(format!("it has more than {MAX_PAGES} pages")),
            Some((cursor, next)) => {
                cursors.push(cursor);
                reading.state = ReadingState::Pages { until, items, bytes, cursors, oddities, again, stale };
                return Paged::More(format!("{{\"cursor\":{next}}}").into_bytes());
            }
        };
        reading.retry = RETRY;
        if again && reading.eager > 0 {
            reading.eager -= 1;
            return Paged::Again;
        }
        if again {
            reading.state = ReadingState::Due(now + PACE);
        }
        reading.known = Completeness::Whole;
        (reading.stale, reading.awaited) = (stale, None);
        let cut = cut.map(|why| Remark::Cut(format!("{why}, and ends after {} items", items.len())));
        let odd = (!oddities.is_empty()).then(|| Remark::Odd(oddities.to_string()));
        reading.remark(cut.into_iter().chain(too_many(kind, &items)).chain(odd).collect());
        self.unkept = true;
        Paged::Done(self.lists.set(kind, items))
    }

    /// A list could not be read: keeps a [`Remark`] with the reason, unless that was told last.
    pub(in crate::router) fn failed(&mut self, kind: ListKind, why: &str) {
        self.readings[kind as usize].remark(vec![Remark::Failed(why.to_owned())]);
    }

    /// Takes what is to be told of a list.
    pub(in crate::router) fn remarks(&mut self, kind: ListKind) -> Vec<Remark> {
        std::mem::take(&mut self.readings[kind as usize].remarks)
    }

    /// When [`Shelf::is_late`] says yes next, or [`Shelf::is_due`] does and the server can be asked (`ready`), or when
    /// something is to be remembered.
    pub(in crate::router) fn next_tick(&self, ready: bool) -> Option<Instant> {
        let readings = self.readings.iter().filter_map(|reading| match &reading.state {
            ReadingState::Idle => None,
            ReadingState::Due(at) => ready.then_some(*at),
            ReadingState::Pages { until, .. } => Some(*until),
        });
        let readings = readings.chain(self.readings.iter().filter_map(|reading| reading.awaited));
        let memory = self.kept_at.filter(|_| self.unkept && self.is_known()).map(|at| at + BETWEEN_MEMORIES);
        readings.chain(memory).min()
    }

    /// The number of a reading that has taken too long.
    pub(in crate::router) fn is_late(&self, kind: ListKind, now: Instant) -> Option<u32> {
        let reading = &self.readings[kind as usize];
        matches!(reading.state, ReadingState::Pages { until, .. } if until <= now).then_some(reading.number)
    }

    /// Whether a list is to be read now.
    pub(in crate::router) fn is_due(&self, kind: ListKind, now: Instant) -> bool {
        matches!(self.readings[kind as usize].state, ReadingState::Due(at) if at <= now)
    }

    /// What is to be remembered of the server, if that is new and not too soon after the last memory.
    pub(in crate::router) fn memory(&mut self, now: Instant) -> Option<Memory> {
        let soon = self.kept_at.is_some_and(|at| now < at + BETWEEN_MEMORIES);
        if !self.unkept || soon || !self.is_known() {
            return None;
        }
        self.unkept = false;
        let print = self.print();
        if std::mem::replace(&mut self.kept, print) == print {
            return None;
        }
        self.kept_at = Some(now);
        let welcome = String::from_utf8_lossy(self.welcome.as_ref()?.result()).into();
        Some(Memory { welcome, lists: self.lists.clone() })
    }

    fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.welcome.as_ref().map(Welcome::result).hash(&mut hasher);
        for kind in ListKind::ALL {
            self.lists.get(kind).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl ListReading {
    /// Keeps remarks that are to be told, unless they are those that were told last.
    fn remark(&mut self, remarks: Vec<Remark>) {
        let print = fingerprint(&remarks);
        let told = (!remarks.is_empty()).then_some(print);
        if std::mem::replace(&mut self.told, told) != told {
            self.remarks = remarks;
        }
    }
}

/// A remark that not all templates of a server are published, if so.
fn too_many(kind: ListKind, items: &[Box<str>]) -> Option<Remark> {
    if kind != ListKind::Templates || items.len() <= MAX_TEMPLATES {
        return None;
    }
    let templates: HashSet<_> = items.iter().filter_map(|item| key(item, kind)).collect();
    let why = || format!("it has {} templates, of which {MAX_TEMPLATES} are published", templates.len());
    (templates.len() > MAX_TEMPLATES).then(|| Remark::Cut(why()))
}

fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const TOOLS: ListKind = ListKind::Tools;

    struct Rig {
        shelf: Shelf,
        now: Instant,
        number: u32,
    }

    impl Rig {
        fn new() -> Self {
            let mut rig = Rig { shelf: Shelf::new(None), now: Instant::now(), number: 0 };
            rig.begin();
            rig
        }

        fn begin(&mut self) {
            self.number = self.shelf.begin(TOOLS, self.now).unwrap();
        }

        fn on_page(&mut self, result: &str) -> Paged {
            self.shelf.on_page(TOOLS, self.number, PageAnswer::Result(result.as_bytes()), self.now)
        }

        fn remarks(&mut self) -> Vec<Remark> {
            self.shelf.remarks(TOOLS)
        }

        fn items(&self) -> Vec<&str> {
            self.shelf.lists.get(TOOLS).iter().map(|item| &**item).collect()
        }
    }

    #[test]
    fn all_pages_of_a_list_are_read_and_a_circle_ends_it() {
        let mut rig = Rig::new();
        let tool = |name| format!(r#"{{"name":"{name}","n":1.50,"inputSchema":{{"type":"object"}}}}"#);
        let page = |name, next| format!(r#"{{"tools":[{}],"nextCursor":{next}}}"#, tool(name));
        assert_eq!(rig.on_page(&page("a", "\"1\"")), Paged::More(br#"{"cursor":"1"}"#.to_vec()));
        assert_eq!(rig.on_page(&page("b", "2")), Paged::More(br#"{"cursor":2}"#.to_vec()));
        assert_eq!(rig.on_page(&page("c", "\"1\"")), Paged::Done(true));
        assert_eq!(rig.items(), [tool("a"), tool("b"), tool("c")]);
        assert_eq!(rig.remarks(), [Remark::Cut("a cursor came twice, and ends after 3 items".into())]);
        assert_eq!(rig.shelf.next_tick(true), None);
        assert_eq!(rig.on_page(r#"{"tools":[]}"#), Paged::Stale, "given twice");
    }

    #[test]
    fn a_list_that_is_cut_says_so_once() {
        let mut rig = Rig::new();
        let cut = |rig: &mut Rig, page: &dyn Fn(usize) -> String| {
            let mut pages = 1;
            while let Paged::More(_) = rig.on_page(&page(pages)) {
                pages += 1;
            }
            (pages, rig.remarks())
        };
        let endless =
            |n| format!(r#"{{"tools":[{{"name":"t{n}","inputSchema":{{"type":"object"}}}}],"nextCursor":{n}}}"#);
        let told = Remark::Cut("it has more than 200 pages, and ends after 200 items".into());
        assert_eq!(cut(&mut rig, &endless), (MAX_PAGES, vec![told]));
        rig.begin();
        assert_eq!(cut(&mut rig, &endless), (MAX_PAGES, vec![]), "it is the same");
        let long = |_| format!(r#"{{"tools":[],"nextCursor":"{}"}}"#, "x".repeat(MAX_CURSOR));
        rig.begin();
        assert_eq!(
            cut(&mut rig, &long),
            (1, vec![Remark::Cut("a cursor has 4098 bytes, and ends after 0 items".into())])
        );
        let item =
            format!(r#"{{"name":"t","description":"{}","inputSchema":{{"type":"object"}}}}"#, "x".repeat(MAX_LIST / 2));
        let large = format!(r#"{{"tools":[{item},{item},{item}]}}"#);
        rig.begin();
        let told = Remark::Cut(format!("it is larger than {MAX_LIST} bytes, and ends after 1 items"));
        assert_eq!(cut(&mut rig, &|_| large.clone()), (1, vec![told]));
        rig.begin();
        let many = vec![r#"{"name":"t","inputSchema":{"type":"object"}}"#; MAX_ITEMS + 1].join(",");
        let told = Remark::Cut(format!("it has more, and ends after {MAX_ITEMS} items"));
        assert_eq!(cut(&mut rig, &|_| format!(r#"{{"tools":[{many}],"nextCursor":"more"}}"#)), (1, vec![told]));
        assert_eq!(rig.items().len(), MAX_ITEMS);
        rig.begin();
        assert_eq!(cut(&mut rig, &|_| r#"{"tools":[]}"#.into()), (1, vec![]));
        let template = |n| format!(r#"{{"uriTemplate":"{n}:{{x}}","name":"n"}}"#);
        let templates: Vec<String> = (0..=MAX_TEMPLATES).map(template).collect();
        let number = rig.shelf.begin(ListKind::Templates, rig.now).unwrap();
        let page = format!(r#"{{"resourceTemplates":[{}]}}"#, templates.join(","));
        rig.shelf.on_page(ListKind::Templates, number, PageAnswer::Result(page.as_bytes()), rig.now);
        let told = Remark::Cut("it has 501 templates, of which 500 are published".into());
        assert_eq!(rig.shelf.remarks(ListKind::Templates), [told]);
    }

    #[test]
    fn raw_control_characters_null_lists_and_empty_cursors_cost_nobody_its_tools() {
        let mut rig = Rig::new();
        assert_eq!(
            rig.on_page("{\"tools\":[{\"name\":\"a\",\"description\":\"x\ty\",\"inputSchema\":{\"type\":\"object\"}}],\"nextCursor\":\"\"}"),
            Paged::Done(true)
        );
        assert_eq!(rig.items(), [r#"{"name":"a","description":"x y","inputSchema":{"type":"object"}}"#]);
        rig.begin();
        assert_eq!(rig.on_page(r#"{"tools":null}"#), Paged::Done(true));
    }

    #[test]
    fn a_list_that_changes_while_it_is_read_is_read_anew_but_not_without_end() {
        let mut rig = Rig::new();
        for _ in 0..EAGER {
            assert_eq!(rig.shelf.changed(TOOLS, rig.now), None);
            assert_eq!(rig.on_page(r#"{"tools":[{"name":"a"}]}"#), Paged::Again);
            rig.begin();
        }
        assert_eq!(rig.shelf.changed(TOOLS, rig.now), None);
        assert_eq!(rig.on_page(r#"{"tools":[{"name":"b"}]}"#), Paged::Done(true), "what there is");
        for _ in 0..100 {
            assert_eq!(rig.shelf.changed(TOOLS, rig.now), None);
        }
        assert_eq!(rig.shelf.next_tick(true), Some(rig.now + PACE));
        assert!(!rig.shelf.is_due(TOOLS, rig.now) && rig.shelf.is_due(TOOLS, rig.now + PACE));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_taken_for_empty_and_is_tried_again_later_and_later() {
        let mut rig = Rig::new();
        assert_eq!(rig.on_page(r#"{"tools":[{"name":"a"}]}"#), Paged::Done(true));
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            rig.begin();
            let failed = rig.shelf.on_page(TOOLS, rig.number, PageAnswer::Failed, rig.now);
            let due = Some(rig.now + Duration::from_secs(wait));
            assert_eq!((failed, rig.shelf.next_tick(true)), (Paged::Failed, due));
            assert_eq!((rig.on_page(r#"{"tools":[]}"#), rig.shelf.next_tick(true)), (Paged::Stale, due), "too late");
        }
        assert_eq!(rig.items().len(), 1);
        for broken in ["{}", "[]", r#"{"tools":{}}"#] {
            rig.begin();
            assert_eq!(rig.on_page(broken), Paged::Failed, "{broken}");
        }
        rig.begin();
        let unknown = rig.shelf.on_page(TOOLS, rig.number, PageAnswer::Unknown, rig.now);
        assert_eq!((unknown, rig.items().len()), (Paged::Done(true), 0));
    }

    #[test]
    fn a_list_that_hangs_is_given_up() {
        let rig = Rig::new();
        assert_eq!(rig.shelf.next_tick(true), Some(rig.now + READ));
        assert_eq!(rig.shelf.is_late(TOOLS, rig.now), None);
        assert_eq!(rig.shelf.is_late(TOOLS, rig.now + READ), Some(rig.number));
    }

    #[test]
    fn a_list_that_takes_too_long_each_time_is_given_more_time() {
        let mut rig = Rig::new();
        let mut given = Vec::new();
        for _ in 0..8 {
            given.push((rig.shelf.next_tick(true).unwrap() - rig.now).as_secs());
            rig.shelf.on_page(TOOLS, rig.number, PageAnswer::Failed, rig.now);
            rig.begin();
        }
        assert_eq!(given, [30, 30, 30, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn only_what_is_whole_and_new_is_remembered_and_not_all_the_time() {
        let mut rig = Rig::new();
        let welcome = || Welcome::mended(br#"{"capabilities":{}}"#).0;
        rig.shelf.welcomed(welcome());
        for kind in [ListKind::Prompts, ListKind::Resources, ListKind::Templates] {
            assert_eq!(rig.shelf.memory(rig.now), None);
            rig.shelf.set_none(kind);
        }
        rig.on_page(r#"{"tools":[{"name":"a"}]}"#);
        let memory = rig.shelf.memory(rig.now).unwrap();
        assert_eq!(memory.lists.get(TOOLS).len(), 1);
        let mut again = Shelf::new(Some(memory.clone()));
        again.welcomed(welcome());
        assert_eq!(again.memory(rig.now), None, "the same");
        rig.begin();
        rig.on_page(r#"{"tools":[{"name":"b"}]}"#);
        assert_eq!(rig.shelf.memory(rig.now), None, "too soon");
        assert_eq!(rig.shelf.next_tick(true), Some(rig.now + BETWEEN_MEMORIES));
        assert!(rig.shelf.memory(rig.now + BETWEEN_MEMORIES).is_some());
    }
}
