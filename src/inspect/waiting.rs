//! What `tools`, `call` and others that look at servers wait for, told to whoever waits with them.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::control::status::Status;
use crate::words::listed;

/// Shortest wait of which anything is told: most servers list their tools sooner.
const QUIET: Duration = Duration::from_secs(3);
/// Time between two lines at a terminal, where a person looks on. A file gets one line.
const AGAIN: Duration = Duration::from_secs(10);
/// Most servers that are named in one line.
const SHOWN: usize = 5;

/// The servers whose lists, or answers to a call, have not come yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting(RefCell<Vec<Wait>>);

/// A server whose list, or answer, has not come yet.
#[derive(Debug, Clone)]
struct Wait {
    server: String,
    /// Longest time until the server has answered `initialize`, after which the server is given up.
    start: Duration,
    /// The same until all has come that is waited for.
    most: Duration,
    /// What else is waited for, in words; `None` for the list of tools.
    other: Option<String>,
}

/// Takes a server out once the wait for it is over.
pub(crate) struct Over<'a> {
    waiting: &'a Waiting,
    server: String,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.waiting.0.borrow_mut().retain(|wait| wait.server != self.server);
    }
}

impl Waiting {
    /// The list of this server is waited for from now on, as long as the result lives: for `start` at most until the server has
    /// answered `initialize`, and for `list` from then on.
    pub(crate) fn begin(&self, server: &str, start: Duration, list: Duration) -> Over<'_> {
        self.add(server, (start, start + list), None)
    }

    /// The answer of a tool of this server is waited for, in the same way.
    pub(crate) fn begin_call(&self, server: &str, tool: &str, most: Duration) -> Over<'_> {
        self.add(server, (most, most), Some(format!("the answer of {tool}")))
    }

    /// The checks of this server are waited for, in the same way.
    pub(crate) fn begin_checks(&self, server: &str, most: Duration) -> Over<'_> {
        self.add(server, (most, most), Some(format!("the checks of \"{server}\"")))
    }

    fn add(&self, server: &str, (start, most): (Duration, Duration), other: Option<String>) -> Over<'_> {
        self.0.borrow_mut().push(Wait { server: server.to_owned(), start, most, other });
        Over { waiting: self, server: server.to_owned() }
    }

    /// Tells what is waited for, as long as `answers` takes.
    pub(crate) async fn during<T>(&self, answers: impl Future<Output = T>, status: &Status) -> T {
        let begun = Instant::now();
        let telling = async {
            sleep(QUIET).await;
            loop {
                let text = told(&self.0.borrow(), |server| status.is_starting(server), begun.elapsed());
                // The servers are in the text, each with what it has not answered, so the line has no other names.
                tracing::warn!(event = "WAITING", "{text}");
                if !io::stderr().is_terminal() {
                    std::future::pending::<()>().await;
                }
                sleep(AGAIN).await;
            }
        };
        tokio::select! {
            answers = answers => answers,
            () = telling => std::future::pending().await, // it has no end
        }
    }
}

/// What is waited for, in words.
fn told(waits: &[Wait], is_starting: impl Fn(&str) -> bool, so_far: Duration) -> String {
    let most = |wait: &Wait| if wait.other.is_none() && is_starting(&wait.server) { wait.start } else { wait.most };
    let most = waits.iter().map(most).max().unwrap_or_default();
    let others: Vec<&str> = waits.iter().filter_map(|wait| wait.other.as_deref()).collect();
    let all = others.len();
    let others = (all > 0).then(|| listed(others.into_iter().take(SHOWN).collect(), all));
    let lists = waits.iter().filter(|wait| wait.other.is_none());
    let (starting, listing): (Vec<&Wait>, Vec<_>) = lists.partition(|wait| is_starting(&wait.server));
    let of = |waits: Vec<&Wait>, what| {
        let all = waits.len();
        let shown: Vec<_> = waits.into_iter().take(SHOWN).map(|wait| format!("\"{}\"", wait.server)).collect();
        (all > 0).then(|| format!("{} to answer {what}", listed(shown, all)))
    };
    let parts = [of(starting, "initialize"), of(listing, "tools/list")].into_iter().flatten();
    let parts = parts.chain(others).collect::<Vec<_>>().join(", and for ");
    format!("waiting for {parts}: {} of {} s at most", so_far.as_secs(), most.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_told_with_what_it_has_not_answered_and_the_longest_wait_counts() {
        let wait = |server: &str, most| {
            let most = Duration::from_secs(most);
            Wait { server: server.into(), start: most - Duration::from_secs(20), most, other: None }
        };
        for (waits, want) in [
            (vec![wait("slow b", 28)], "waiting for \"slow b\" to answer initialize: 3 of 8 s at most"),
            (vec![wait("a", 80)], "waiting for \"a\" to answer tools/list: 3 of 80 s at most"),
            (
                vec![wait("a", 80), wait("slow b", 23), wait("c", 81)],
                "waiting for \"slow b\" to answer initialize, and for \"a\", \"c\" to answer tools/list: 3 of 81 s at most",
            ),
            (
                (0..7).map(|n| wait(&format!("s{n}"), 80)).collect(),
                "waiting for \"s0\", \"s1\", \"s2\", \"s3\", \"s4\" and 2 more to answer tools/list: 3 of 80 s at most",
            ),
        ] {
            assert_eq!(told(&waits, |server| server.starts_with("slow"), QUIET), want);
        }
    }

    #[test]
    fn a_call_is_told_with_its_tool() {
        let most = Duration::from_secs(300);
        let wait = Wait { server: "a".into(), start: most, most, other: Some("the answer of slow".into()) };
        assert_eq!(told(&[wait], |_| false, QUIET), "waiting for the answer of slow: 3 of 300 s at most");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_answered_is_waited_for_no_longer() {
        let waiting = Waiting::default();
        let wait = async |server: &str, secs| {
            let _over = waiting.begin(server, Duration::from_secs(60), Duration::from_secs(20));
            sleep(Duration::from_secs(secs)).await;
        };
        let seen = async {
            sleep(Duration::from_secs(2)).await;
            waiting.0.borrow().iter().map(|wait| wait.server.clone()).collect::<Vec<_>>()
        };
        let all = async { tokio::join!(wait("a", 1), wait("b", 9), seen).2 };
        assert_eq!(waiting.during(all, &Status::default()).await, ["b"]);
        assert!(waiting.0.borrow().is_empty());
    }
}
