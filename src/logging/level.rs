//! From which level on lines are shown: that which the start said, or for a while another one.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::subscriber::Interest;
use tracing::{Metadata, info};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter};

use crate::endpoint::looks_like_endpoint;
use crate::error::{Code, Problem};
use crate::words::{closest, span};

/// A level that counts in place of the one of the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    /// As `--log-level` takes it.
    pub level: String,
    /// When that of the start counts again.
    pub until: Option<Instant>,
}

/// Which lines are shown. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shown: RwLock<Targets>,
    /// What the start said.
    usual: Targets,
    other: watch::Sender<Option<Other>>,
}

impl LogLevel {
    /// These lines, from the start on.
    pub(super) fn of(usual: Targets) -> Self {
        let shown = RwLock::new(usual.clone());
        LogLevel(Arc::new(Inner { shown, usual, other: watch::Sender::default() }))
    }

    fn read(&self) -> RwLockReadGuard<'_, Targets> {
        // Nothing panics while it is held.
        self.0.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether lines of this kind are shown.
    pub(super) fn would_enable(&self, target: &str, level: &tracing::Level) -> bool {
        self.read().would_enable(target, level)
    }

    /// What the start said, as `--log-level` takes it.
    pub(crate) fn usual(&self) -> String {
        self.0.usual.to_string()
    }

    /// Has another level count, for so long or until somebody says otherwise.
    ///
    /// # Errors
    /// The text names no level. The error says which levels there are.
    pub(crate) fn set(&self, text: &str, within: Option<Duration>) -> Result<(), Problem> {
        let wanted = targets("log-level", text)?;
        let until = within.and_then(|within| Instant::now().checked_add(within));
        let is_usual = wanted == self.0.usual;
        let other = Other { level: wanted.to_string(), until };
        let words = if is_usual { self.again() } else { format!("{}, by command", self.words_of(&other)) };
        self.change(wanted, (!is_usual).then_some(other), &words);
        Ok(())
    }

    /// What counts now, in words.
    pub(crate) fn words(&self) -> String {
        match &*self.0.other.borrow() {
            Some(other) => self.words_of(other),
            None => format!("log level: {}", self.usual()),
        }
    }

    fn words_of(&self, Other { level, until }: &Other) -> String {
        let usual = self.usual();
        match until {
            // To the second: what is left is not as exact as what was said.
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000);
                let left = Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX));
                format!("log level: {level} for {}, then {usual} again", span(left))
            }
            None => format!("log level: {level} until somebody says otherwise ({usual} at the start)"),
        }
    }

    fn again(&self) -> String {
        format!("log level: {} again", self.usual())
    }

    fn change(&self, wanted: Targets, other: Option<Other>, words: &str) {
        let is_shown = |level: &Targets| level.would_enable(module_path!(), &tracing::Level::INFO);
        // Said while the one of the two counts that shows it.
        let is_first = is_shown(&self.read());
        if is_first {
            info!(event = "LOG_LEVEL", "{words}");
        }
        *self.0.shown.write().unwrap_or_else(PoisonError::into_inner) = wanted;
        tracing::callsite::rebuild_interest_cache();
        if !is_first {
            info!(event = "LOG_LEVEL", "{words}");
        }
        self.0.other.send_replace(other);
    }

    /// Goes back to the level of the start when another one has counted for as long as it was to; for ever. `tell` is told which level counts
    /// in its place, whenever that changes.
    pub(crate) async fn keep(&self, tell: impl Fn(Option<Other>)) -> Infallible {
        let mut others = self.0.other.subscribe();
        loop {
            let other = others.borrow_and_update().clone();
            let until = other.as_ref().and_then(|other| other.until);
            tell(other);
            let over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = others.changed() => if changed.is_err() {
                    pending::<()>().await; // can't be: we hold a sender
                },
                () = over => self.change(self.0.usual.clone(), None, &self.again()),
            }
        }
    }
}

impl<S> Filter<S> for LogLevel {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::enabled(&*self.read(), metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&*self.read(), metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&*self.read())
    }
}

/// Looks whether a text is a level, as `mcp-pipe log-level` takes it.
///
/// # Errors
/// As [`LogLevel::set`].
pub(crate) fn check_level(text: &str) -> Result<(), Problem> {
    targets("log-level", text).map(drop)
}

/// A level, or a list of `target=level` with or without a level for the rest.
pub(super) fn targets(place: &str, text: &str) -> Result<Targets, Problem> {
    let mut targets = Targets::new();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    // A text without any would show nothing at all, which has the name "off".
    let blank = parts.clone().next().is_none().then_some(text);
    for part in parts.chain(blank) {
        let (target, level) = part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        let level = level_of(level).ok_or_else(|| {
            let names = ["off", "error", "warn", "info", "debug", "trace"];
            let meant = closest(level, names).map_or_else(String::new, |name| format!("did you mean {name}? "));
            let remedy = format!("{meant}levels are {}; for one part: mcp_pipe::link=debug", names.join(", "));
            let what = if looks_like_endpoint(text) {
                "is an endpoint, not a level".to_owned()
            } else {
                format!("\"{}\" is no level", level.escape_debug())
            };
            Problem::new(place, Code::Argument.says(what), remedy)
        })?;
        targets = match target {
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    Ok(targets)
}

/// A level by its name. Numbers, which `tracing` takes too, would make a typing error a level.
fn level_of(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "off" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warn" | "warning" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use tracing::Level;

    #[tokio::test(start_paused = true)]
    async fn another_level_counts_for_as_long_as_it_is_to() {
        let level = LogLevel::of(Targets::new().with_default(LevelFilter::INFO));
        let told = std::sync::Mutex::new(Vec::new());
        let shows = |target: &str| level.would_enable(target, &Level::DEBUG);
        let life = async {
            assert_eq!(level.words(), "log level: info");
            level.set("warn,mcp_pipe::link=debug", Some(Duration::from_secs(600))).unwrap();
            assert!(shows("mcp_pipe::link") && !shows("mcp_pipe::pipe"));
            assert_eq!(level.words(), "log level: mcp_pipe::link=debug,warn for 10 min, then info again");
            tokio::time::sleep(Duration::from_secs(599)).await;
            assert!(shows("mcp_pipe::link"));
            // The last word counts, also for how long.
            level.set("debug", Some(Duration::from_secs(10))).unwrap();
            tokio::time::sleep(Duration::from_secs(9)).await;
            assert!(shows("mcp_pipe::pipe"));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(!shows("mcp_pipe::pipe"));
            assert_eq!(level.words(), "log level: info");
            level.set("debug", None).unwrap();
            tokio::time::sleep(Duration::from_secs(1_000_000)).await;
            assert!(shows("mcp_pipe::pipe"));
            assert_eq!(level.words(), "log level: debug until somebody says otherwise (info at the start)");
            level.set("INFO", None).unwrap();
            assert_eq!(level.words(), "log level: info");
        };
        tokio::select! {
            biased;
            never = level.keep(|other| told.lock().unwrap().push(other.map(|other| other.level))) => match never {},
            () = life => {}
        }
        let told: Vec<_> = told.lock().unwrap().iter().map(|level| level.clone().unwrap_or_default()).collect();
        assert_eq!(told, ["", "mcp_pipe::link=debug,warn", "debug", "", "debug"]);
    }

    #[test]
    fn what_is_no_level_changes_nothing() {
        let level = LogLevel::of(Targets::new().with_default(LevelFilter::INFO));
        let wrong = level.set("inof", None).unwrap_err().to_string();
        assert!(wrong.starts_with("log-level: \"inof\" is no level; did you mean info? levels are off, "), "{wrong}");
        assert_eq!(check_level("inof").unwrap_err().to_string(), wrong);
        for blank in ["", " ", ",", " , "] {
            let wrong = level.set(blank, None).unwrap_err().to_string();
            assert!(wrong.starts_with(&format!("log-level: \"{blank}\" is no level; levels are off, ")), "{wrong}");
        }
        assert!(level.would_enable("mcp_pipe", &Level::INFO) && check_level("mcp_pipe::link=debug").is_ok());
        assert!(check_level("info,").is_ok());
    }
}
