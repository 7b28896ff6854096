//! Two sides of which one serves and the other does not: what is different, and most likely the reason, first. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::facts::Facts;
use crate::disk::read::{Accept, whole};
use crate::error::{Exit, Failure};
use crate::process::limits;
use crate::secrecy::plain::bounded;
use crate::words::{brief_path, listed};

/// Largest report that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Smallest difference of two clocks that is told, in seconds.
const CLOCK: u64 = 60;
/// How many times as long a start has to take to be told, and how many seconds longer at least.
const SLOWER: (f64, f64) = (3.0, 2.0);
/// Most members of a set that are shown.
const SHOWN: usize = 8;

/// Most differences that are told, and the longest of their texts, in characters.
const MOST: usize = 100;
const LONGEST: usize = 400;

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    what: String,
    here: String,
    there: String,
    /// Whether it fits a root cause of either side.
    likely: bool,
}

/// The facts in a report of another side.
///
/// # Errors
/// There is no such file, or it is no report with facts in it.
pub(super) fn read(path: &Path) -> Result<Facts, Failure> {
    #[derive(Deserialize)]
    struct Report {
        schema: u64,
        facts: Facts,
    }
    let unusable = |why: &str| Failure::Asking {
        exit: Exit::Usage,
        what: format!("--compare: {} {why}", brief_path(path)),
        remedy: "make one on the other side: mcp-pipe doctor --json > report.json".to_owned(),
    };
    let text = whole(path, MAX_FILE, Accept::Files)
        .map_err(|error| unusable(&format!("can't be read: {}", limits::in_words(&error))))?;
    // PowerShell's `>` writes UTF-16, and others begin a file with its mark.
    let text = match text.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let units: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units).into_bytes()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        text => text.to_vec(),
    };
    match serde_json::from_slice::<Report>(&text) {
        Ok(Report { schema: 1, facts }) => Ok(facts),
        Ok(_) => Err(unusable("is a report of a mcp-pipe whose form this one does not know")),
        Err(_) => Err(unusable("is no report of mcp-pipe doctor --json")),
    }
}

/// What is different, the likely first.
pub(super) fn differences(here: &Facts, there: &Facts) -> Vec<Difference> {
    let mut all: Vec<(Topic, Difference)> = Vec::new();
    let mut add = |topic: Topic, what: String, here: &str, there: &str| {
        if here != there && all.len() < MOST {
            let (here, there) = (named(here), named(there));
            all.push((topic, Difference { what: bounded(&what, LONGEST), here, there, likely: false }));
        }
    };
    for (name, mine, theirs) in both(&here.programs, &there.programs) {
        add(Topic::Program, format!("the program of {name}"), mine, theirs);
    }
    let set = |folders: &[String]| folders.iter().cloned().collect::<BTreeSet<_>>();
    let (mine, theirs) = only(&set(&here.path), &set(&there.path));
    add(Topic::Program, "folders of PATH that only one side has".to_owned(), &mine, &theirs);
    for (host, mine, theirs) in both(&here.addresses, &there.addresses) {
        add(Topic::Name, format!("the addresses of {host}"), &join(mine), &join(theirs));
    }
    for (name, mine, theirs) in both(&here.proxies, &there.proxies) {
        add(Topic::Proxy, format!("the proxy to {name}"), mine, theirs);
    }
    if let (Some(mine), Some(theirs)) = (here.clock, there.clock)
        && mine.abs_diff(theirs) >= CLOCK
    {
        let told = |apart: i64| format!("{} s {}", apart.unsigned_abs(), if apart > 0 { "behind" } else { "ahead" });
        add(Topic::Clock, "the clock".to_owned(), &told(mine), &told(theirs));
    }
    let (mine, theirs) = only(&here.environment, &there.environment);
    add(Topic::Environment, "variables that only one side has".to_owned(), &mine, &theirs);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    add(Topic::Config, "the config file (SHA-256)".to_owned(), &text(&here.config), &text(&there.config));
    for (name, mine, theirs) in both(&here.starts, &there.starts) {
        let (quick, slow) = (mine.min(*theirs), mine.max(*theirs));
        if slow >= quick * SLOWER.0 && slow - quick >= SLOWER.1 {
            let told = |time: &f64| format!("{time:.1} s");
            add(Topic::Start, format!("the start of {name}"), &told(mine), &told(theirs));
        }
    }
    add(Topic::Daemon, "the mcp-pipe that runs".to_owned(), &text(&here.daemon), &text(&there.daemon));
    add(Topic::System, "the container".to_owned(), &text(&here.container), &text(&there.container));
    add(Topic::System, "the system".to_owned(), &here.system, &there.system);
    add(Topic::System, "the version of mcp-pipe".to_owned(), &here.version, &there.version);
    // A cause that both have is no difference's doing.
    let is_one_sided = |code: &&String| here.roots.contains(code) != there.roots.contains(code);
    let topics: Vec<Topic> =
        here.roots.iter().chain(&there.roots).filter(is_one_sided).flat_map(|code| Topic::of(code)).copied().collect();
    for (topic, difference) in &mut all {
        difference.likely = topics.contains(topic);
    }
    // Stable, so that what is usual comes before what is rare.
    all.sort_by_key(|(topic, difference)| (!difference.likely, *topic));
    all.into_iter().map(|(_, difference)| difference).collect()
}

/// For a person. `there`: what the other side is.
pub(super) fn words(differences: &[Difference], there: &Facts) -> String {
    let (system, at) = (bounded(&there.system, LONGEST), bounded(&there.at, LONGEST));
    let mut text = format!("\ncompared with the report of {at} ({system}): ");
    if differences.is_empty() {
        return text + "nothing is different\n";
    }
    text += "here, and there\n";
    for Difference { what, here, there, likely } in differences {
        let mark = if *likely { "likely  " } else { "        " };
        // Writing to a String does not fail.
        let _infallible = writeln!(text, "{mark}{what}: {here}; {there}");
    }
    text
}

/// For a program.
pub(super) fn as_json(differences: &[Difference]) -> Value {
    let one = |Difference { what, here, there, likely }: &Difference| json!({"what": what, "here": here, "there": there, "likely": likely});
    differences.iter().map(one).collect()
}

/// What a difference is about, the usual reasons first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Program,
    Environment,
    Name,
    Proxy,
    Clock,
    Config,
    Start,
    Daemon,
    System,
}

impl Topic {
    /// What may be the reason for a root cause.
    fn of(code: &str) -> &'static [Topic] {
        match code {
            "command-not-found" | "command-not-runnable" => &[Topic::Program],
            "memory-limit" | "open-files-limit" => &[Topic::Program, Topic::System],
            "server-exited" | "server-crash-loop" | "server-refuses" => &[Topic::Program, Topic::Environment],
            "server-not-ready" | "server-hangs" => &[Topic::Program, Topic::Start],
            "config-mistake" => &[Topic::Config, Topic::Environment],
            "clock-wrong" => &[Topic::Clock],
            "endpoint-dns" | "remote-dns" => &[Topic::Name],
            "endpoint-tls" | "remote-tls" => &[Topic::Clock, Topic::Name, Topic::Proxy],
            "endpoint-proxy" | "remote-proxy" => &[Topic::Proxy, Topic::Environment],
            "endpoint-contested" | "agent-taken" | "port-taken" | "daemon-silent" => &[Topic::Daemon],
            code if code.starts_with("endpoint-") || code.starts_with("remote-") => &[Topic::Name, Topic::Proxy],
            _ => &[],
        }
    }
}

/// What both sides have looked at: of anything else no difference is known.
fn both<'a, T>(
    here: &'a BTreeMap<String, T>,
    there: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, &'a T, &'a T)> {
    here.iter().filter_map(|(name, mine)| Some((name, mine, there.get(name)?)))
}

/// What only either has.
fn only(here: &BTreeSet<String>, there: &BTreeSet<String>) -> (String, String) {
    let told = |set: BTreeSet<&String>| listed(set.iter().take(SHOWN).collect(), set.len());
    (told(here.difference(there).collect()), told(there.difference(here).collect()))
}

fn join(set: &BTreeSet<String>) -> String {
    listed(set.iter().take(SHOWN).collect(), set.len())
}

/// A value as it is shown: the other side may have sent anything.
fn named(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { bounded(text, LONGEST) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            system: "linux x86_64".into(),
            path: vec!["/usr/bin".into()],
            programs: [("a".to_owned(), "/usr/bin/python3".to_owned())].into(),
            proxies: [("e".to_owned(), String::new())].into(),
            starts: [("a".to_owned(), 0.4)].into(),
            clock: Some(0),
            ..Facts::default()
        }
    }

    #[test]
    fn sides_that_are_alike_have_no_difference() {
        assert_eq!(differences(&facts(), &facts()), []);
        assert!(words(&[], &facts()).ends_with("nothing is different\n"));
    }

    #[test]
    fn what_fits_the_cause_of_one_side_comes_first() {
        let mut there = facts();
        there.programs.insert("a".into(), String::new());
        there.path = vec!["/bin".into()];
        there.proxies.insert("e".into(), "proxy http://p:1".into());
        there.clock = Some(7200);
        let first = |code: &str| {
            let there = Facts { roots: vec![code.to_owned()], ..there.clone() };
            let found = differences(&facts(), &there);
            assert!(found[0].likely, "{found:?}");
            found[0].what.clone()
        };
        assert_eq!(first("command-not-found"), "the program of a");
        assert_eq!(first("endpoint-proxy"), "the proxy to e");
        assert_eq!(first("endpoint-tls"), "the proxy to e");
        assert_eq!(first("clock-wrong"), "the clock");
        let both = Facts { roots: vec!["clock-wrong".to_owned()], ..facts() };
        let there = Facts { roots: both.roots.clone(), ..there };
        assert!(differences(&both, &there).iter().all(|difference| !difference.likely), "both have it");
    }

    #[test]
    fn what_one_side_did_not_look_at_is_no_difference() {
        let there = Facts { roots: vec!["endpoint-refused".to_owned()], ..facts() };
        let looked = Facts {
            addresses: [("localhost".to_owned(), BTreeSet::from(["127.0.0.1".to_owned()]))].into(),
            proxies: [("f".to_owned(), "the proxy http://p:1".to_owned())].into(),
            programs: [("b".to_owned(), "x".to_owned())].into(),
            ..facts()
        };
        assert_eq!((differences(&looked, &there), differences(&there, &looked)), (vec![], vec![]));
        // But that a name has no address is known.
        let mut none = looked.clone();
        none.addresses.insert("localhost".into(), BTreeSet::new());
        assert_eq!(differences(&looked, &none).len(), 1);
    }

    #[test]
    fn small_differences_of_times_are_none() {
        let mut there = facts();
        there.clock = Some(30);
        there.starts.insert("a".into(), 1.9);
        assert_eq!(differences(&facts(), &there), []);
        there.starts.insert("a".into(), 3.0);
        assert_eq!(differences(&facts(), &there).len(), 1);
    }

    #[test]
    fn only_a_report_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        assert!(read(&file).is_err());
        for text in ["", "{}", "[1]", r#"{"schema":2,"facts":{}}"#] {
            std::fs::write(&file, text).unwrap();
            let failure = read(&file).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{text}: {failure}");
        }
        std::fs::write(&file, r#"{"schema":1,"facts":{"version":"7"}}"#).unwrap();
        assert_eq!(read(&file).unwrap().version, "7");
    }
}
