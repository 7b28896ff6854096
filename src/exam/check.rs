//! A check: what it is about, what came of it, and what to do. Pure.

use crate::marks::Hue;

/// Which checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Suite {
    /// Whether a server starts, and offers what clients can take.
    #[default]
    Smoke,
    /// Those, and whether a server keeps to the protocol also where it is asked something wrong, much at once, or nothing any more.
    Protocol,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Pass,
    /// It works here, and some clients may have trouble.
    Warn,
    Fail,
    /// It was not made, for the reason that stands in its words.
    Skip,
}

impl Mark {
    /// How people and programs read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mark::Pass => "PASS",
            Mark::Warn => "WARN",
            Mark::Fail => "FAIL",
            Mark::Skip => "SKIP",
        }
    }

    pub(crate) fn hue(self) -> Hue {
        match self {
            Mark::Pass => Hue::Good,
            Mark::Warn => Hue::Doubtful,
            Mark::Fail => Hue::Bad,
            Mark::Skip => Hue::Faint,
        }
    }
}

/// The checks, in the order in which they are made and shown. Programs know them by these names.
pub(super) const SMOKE: [&str; 8] =
    ["initialize", "tools", "prompts", "resources", "schemas", "names", "ping", "stdout"];
pub(super) const PROTOCOL: [&str; 7] =
    ["unknown-method", "unknown-tool", "arguments", "cancel", "parallel", "restart", "stop"];

impl Suite {
    /// The names of its checks.
    pub(super) fn checks(self) -> Vec<&'static str> {
        let more = if self == Suite::Protocol { &PROTOCOL[..] } else { &[] };
        SMOKE.iter().chain(more).copied().collect()
    }
}

/// A check that was made, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Its name, for programs and in the table.
    pub(crate) id: &'static str,
    pub(crate) mark: Mark,
    /// What came of it.
    pub(crate) message: String,
    /// What to do, if there is something.
    pub(crate) remedy: Option<String>,
}

impl Check {
    pub(super) fn pass(id: &'static str, message: impl Into<String>) -> Self {
        Check { id, mark: Mark::Pass, message: message.into(), remedy: None }
    }

    pub(super) fn warn(id: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Check { id, mark: Mark::Warn, message: message.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fail(id: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Check { id, mark: Mark::Fail, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// `because` goes on from "because ".
    pub(super) fn skip(id: &'static str, because: impl AsRef<str>) -> Self {
        let message = format!("because {}", because.as_ref());
        Check { id, mark: Mark::Skip, message, remedy: None }
    }
}

/// The checks of one server.
#[derive(Debug, Clone)]
pub(crate) struct Examined {
    /// The server's name.
    pub(crate) name: String,
    pub(crate) checks: Vec<Check>,
}

impl Examined {
    /// Whether something failed.
    pub(super) fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.mark == Mark::Fail)
    }
}

/// The checks in the order of their names, those that were not made among them, for this reason.
pub(super) fn in_order(suite: Suite, mut made: Vec<Check>, because: &str) -> Vec<Check> {
    let take = |id| match made.iter().position(|check| check.id == id) {
        Some(at) => made.swap_remove(at),
        None => Check::skip(id, because),
    };
    suite.checks().into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_there_once_in_its_order_and_what_was_not_made_says_why() {
        let made = vec![Check::pass("ping", "in 1 ms"), Check::pass("initialize", "in 2 ms")];
        let checks = in_order(Suite::Smoke, made, "it was a test");
        assert_eq!(checks.iter().map(|check| check.id).collect::<Vec<_>>(), SMOKE);
        let of = |id| checks.iter().find(|check| check.id == id).map(|check| (check.mark, check.message.as_str()));
        assert_eq!(of("ping"), Some((Mark::Pass, "in 1 ms")));
        assert_eq!(of("tools"), Some((Mark::Skip, "because it was a test")));
        assert_eq!(in_order(Suite::Protocol, Vec::new(), "x").len(), SMOKE.len() + PROTOCOL.len());
    }
}
