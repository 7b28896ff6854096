//! Who looks on while messages pass.
//!
//! # Theory of operation
//!
//! Nobody looks on, as a rule: then a message costs one look at a flag. Each who does has a queue of lines, which is bounded in bytes: what
//! doesn't fit is lost to that one, and counted in the place where it would have stood. So nobody who reads slowly, or not at all, delays a
//! message or costs more than its queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::logging::now;
use crate::tools::Glob;

/// Most bytes of lines that wait for one who looks on: ten thousand without their contents, which is what a busy server says in a second.
const BYTES: usize = 4 << 20;

/// Those who look on. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_on: AtomicBool,
    watchers: Mutex<Vec<Arc<Watcher>>>,
}

#[derive(Debug)]
struct Watcher {
    wish: Wish,
    waiting: Mutex<Waiting>,
    news: Notify,
}

/// What one who looks on wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// What passes at servers, or concerns tools, of such a name; everything without.
    pub(crate) pattern: Option<Glob>,
    /// Whether messages are wanted whole.
    pub(crate) contents: bool,
}

/// Lines that one who looks on has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Seen>,
    bytes: usize,
}

/// What one who looks on gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A JSON object, and when it was made, in seconds since 1970.
    Line(u64, Box<str>),
    /// So many lines are lost here.
    Lost(u64),
}

/// One who looks on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    tap: Tap,
    watcher: Arc<Watcher>,
}

impl Tap {
    /// Whether anybody looks on.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// Shows a line to whom it concerns. `names`: those of the server and the tool, as far as there are any. `line`: makes it, with or
    /// without the message itself.
    pub(crate) fn show(&self, names: &[&str], line: impl Fn(bool) -> String) {
        let (mut short, mut whole) = (None, None);
        for watcher in self.watchers().iter().filter(|watcher| watcher.wish.concerns(names)) {
            let made = if watcher.wish.contents { &mut whole } else { &mut short };
            watcher.push(made.get_or_insert_with(|| line(watcher.wish.contents)));
        }
    }

    /// Somebody looks on from now on.
    pub(crate) fn watch(&self, wish: Wish) -> Watching {
        let watcher = Arc::new(Watcher { wish, waiting: Mutex::default(), news: Notify::new() });
        self.watchers().push(watcher.clone());
        self.0.is_on.store(true, Ordering::Relaxed);
        Watching { tap: self.clone(), watcher }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.0.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn concerns(&self, names: &[&str]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| names.iter().any(|name| pattern.matches(name)))
    }
}

impl Watcher {
    fn push(&self, line: &str) {
        let mut waiting = self.waiting();
        if waiting.bytes + line.len() <= BYTES {
            waiting.bytes += line.len();
            waiting.lines.push_back(Seen::Line(now(), line.into()));
        } else if let Some(Seen::Lost(n)) = waiting.lines.back_mut() {
            *n += 1;
        } else {
            waiting.lines.push_back(Seen::Lost(1));
        }
        drop(waiting);
        self.news.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// What has come, of about so many bytes at most; waits until there is something.
    pub(crate) async fn next(&self, most: usize) -> Vec<Seen> {
        loop {
            let taken = self.take(most);
            if !taken.is_empty() {
                return taken;
            }
            self.watcher.news.notified().await;
        }
    }

    /// What has come, of about so many bytes at most.
    pub(crate) fn take(&self, most: usize) -> Vec<Seen> {
        let (mut waiting, mut taken, mut bytes) = (self.watcher.waiting(), Vec::new(), 0);
        while bytes < most
            && let Some(seen) = waiting.lines.pop_front()
        {
            if let Seen::Line(_, line) = &seen {
                bytes += line.len();
                waiting.bytes -= line.len();
            }
            taken.push(seen);
        }
        taken
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = self.tap.watchers();
        watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        self.tap.0.is_on.store(!watchers.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(pattern: Option<&str>, contents: bool) -> Wish {
        Wish { pattern: pattern.map(Glob::new), contents }
    }

    /// What there is, without the times.
    async fn next(watching: &Watching, most: usize) -> Vec<String> {
        let text = |seen| match seen {
            Seen::Line(_, line) => line.into_string(),
            Seen::Lost(n) => format!("lost {n}"),
        };
        watching.next(most).await.into_iter().map(text).collect()
    }

    #[tokio::test]
    async fn each_sees_what_concerns_it_as_it_wants_to_see_it_and_nobody_is_kept_in_mind() {
        let tap = Tap::default();
        assert!(!tap.is_on());
        let (all, one) = (tap.watch(wish(None, false)), tap.watch(wish(Some("calc*"), true)));
        tap.show(&["calculator", "add"], |contents| format!("1 {contents}"));
        tap.show(&["time"], |contents| format!("2 {contents}"));
        tap.show(&[], |contents| format!("3 {contents}"));
        assert_eq!(next(&all, 1 << 20).await, ["1 false", "2 false", "3 false"]);
        assert_eq!(next(&one, 1 << 20).await, ["1 true"]);
        drop(one);
        assert!(tap.is_on());
        drop(all);
        assert!(!tap.is_on() && tap.watchers().is_empty());
    }

    #[tokio::test]
    async fn who_reads_nothing_costs_its_queue_and_is_told_what_it_missed_and_where() {
        let tap = Tap::default();
        let (idle, large) = (tap.watch(Wish::default()), "x".repeat(BYTES / 4));
        for n in 0..10 {
            tap.show(&[], |_| format!("{n}{}", &large[1..]));
        }
        let waiting = idle.watcher.waiting().bytes;
        assert!(waiting <= BYTES, "{waiting}");
        assert_eq!(next(&idle, 1).await.len(), 1, "as much as is wanted, and one line at least");
        tap.show(&[], |_| "small".to_owned());
        let rest = next(&idle, usize::MAX).await;
        assert_eq!(rest.len(), 5);
        assert_eq!(rest[3..], ["lost 6", "small"]);
        // A line that is larger than the queue is lost alone.
        tap.show(&[], |_| "x".repeat(BYTES + 1));
        tap.show(&[], |_| "more".to_owned());
        assert_eq!(next(&idle, usize::MAX).await, ["lost 1", "more"]);
    }
}
