//! Checks, and what has come of them: which faults are roots, and what only follows from these. Pure.

use std::collections::HashMap;

use super::code::Code;
use crate::error::FaultCode;
use crate::exam::Mark;

/// What a check is about: its kind, and the server, the endpoint or the file that it looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) id: &'static str,
    /// Empty where it is about this machine or mcp-pipe itself.
    pub(super) target: String,
}

impl Key {
    pub(super) fn of(id: &'static str, target: impl Into<String>) -> Self {
        Key { id, target: target.into() }
    }
}

/// A check that was made.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) key: Key,
    pub(super) found: Found,
    /// What has to be well before this one means anything.
    pub(super) after: Vec<Key>,
    /// What has failed, where others may fail by the same thing: they all have one root.
    pub(super) common: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is well, in words.
    Good(String),
    /// Everything wanted is served in spite of it, or mcp-pipe mends it.
    Odd {
        what: String,
        /// What to do; may be empty where nothing has to be done.
        remedy: String,
    },
    /// It keeps something wanted from being served.
    Bad(Fault),
    /// It was not looked at, for this reason.
    Skipped(String),
}

/// What keeps something from being served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    /// A fault in words that say, behind a semicolon, what to do; where they don't, what is usual is. Of a server that has ended its last
    /// words stand there.
    pub(super) fn of(code: FaultCode, words: &str) -> Self {
        let has_ended = matches!(code, FaultCode::ServerExited | FaultCode::ServerCrashLoop);
        let advice = words.split_once("; ").filter(|_| !has_ended);
        let remedy = advice.map_or(code.remedy(), |(_, remedy)| remedy);
        Fault { code: Code::Fault(code), what: words.to_owned(), remedy: remedy.to_owned() }
    }
}

impl Check {
    pub(super) fn new(key: Key, found: Found) -> Self {
        Check { key, found, after: Vec::new(), common: None }
    }

    /// The same check, which fails by what may have others fail as well.
    pub(super) fn by(self, common: Option<String>) -> Self {
        Check { common, ..self }
    }

    /// The same check, which means something only if these are well.
    pub(super) fn after(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.after.extend(keys);
        self
    }
}

/// A fault that follows from no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) code: Code,
    /// What it was found at: several where it is the same fault.
    pub(super) targets: Vec<String>,
    pub(super) message: String,
    pub(super) remedy: String,
    common: Option<String>,
}

/// A check with what follows from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) key: Key,
    pub(super) mark: Mark,
    /// What was found, or why it was not looked at.
    pub(super) because: String,
    pub(super) remedy: String,
}

/// The roots, and all checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) roots: Vec<Root>,
    pub(super) checks: Vec<Judged>,
}

/// Tells roots from what follows from them. A check that was told to mean something only after others is skipped where one of those failed or
/// was skipped for such a reason.
pub(super) fn judge(checks: Vec<Check>) -> Verdict {
    let places: HashMap<&Key, usize> = checks.iter().enumerate().map(|(at, check)| (&check.key, at)).collect();
    let mut sources: Vec<Option<Option<usize>>> = vec![None; checks.len()];
    for at in 0..checks.len() {
        source(at, &checks, &places, &mut sources);
    }
    let sources: Vec<Option<usize>> = sources.into_iter().map(Option::flatten).collect();
    let mut roots: Vec<Root> = Vec::new();
    let mut judged = Vec::with_capacity(checks.len());
    for (at, check) in checks.iter().enumerate() {
        let of = |mark, because: &str, remedy: &str| Judged {
            key: check.key.clone(),
            mark,
            because: because.to_owned(),
            remedy: remedy.to_owned(),
        };
        judged.push(match (sources[at], &check.found) {
            (Some(root), _) if root != at => {
                let Check { key, found, .. } = &checks[root];
                let code = if let Found::Bad(fault) = found { fault.code.as_str() } else { key.id };
                // Of the same thing it is clear.
                let is_clear = key.target.is_empty() || key.target == check.key.target;
                let target = if is_clear { String::new() } else { format!(" of {}", key.target) };
                of(Mark::Skip, &format!("because of {code}{target}"), "")
            }
            (_, Found::Bad(Fault { code, what, remedy })) => {
                add(&mut roots, check, (*code, what, remedy));
                of(Mark::Fail, what, remedy)
            }
            (_, Found::Good(what)) => of(Mark::Pass, what, ""),
            (_, Found::Odd { what, remedy }) => of(Mark::Warn, what, remedy),
            (_, Found::Skipped(why)) => of(Mark::Skip, why, ""),
        });
    }
    Verdict { roots, checks: judged }
}

/// Which check is the reason that this one says nothing, or fails: itself, if it is the first that fails; `None` if nothing is wrong.
fn source(
    at: usize,
    checks: &[Check],
    places: &HashMap<&Key, usize>,
    known: &mut [Option<Option<usize>>],
) -> Option<usize> {
    if let Some(known) = known[at] {
        return known;
    }
    // Until it is known: nothing comes of checks that wait for each other.
    known[at] = Some(None);
    let before = checks[at].after.iter().filter_map(|key| places.get(key).copied());
    let first = before.filter_map(|before| source(before, checks, places, known)).next();
    let own = matches!(checks[at].found, Found::Bad(_)).then_some(at);
    known[at] = Some(first.or(own));
    first.or(own)
}

/// Adds a root; the same fault at another place is the same root.
fn add(roots: &mut Vec<Root>, check: &Check, (code, what, remedy): (Code, &str, &str)) {
    let Check { key: Key { target, .. }, common, .. } = check;
    let is_same =
        |root: &&mut Root| (root.code == code && root.message == what) || (common.is_some() && root.common == *common);
    match roots.iter_mut().find(is_same) {
        Some(root) if root.targets.iter().any(|known| known == target) => {}
        Some(root) => root.targets.push(target.to_owned()),
        None => roots.push(Root {
            code,
            targets: vec![target.to_owned()],
            message: what.to_owned(),
            remedy: remedy.to_owned(),
            common: common.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bad(what: &str) -> Found {
        let (what, remedy) = (what.to_owned(), String::new());
        Found::Bad(Fault { code: Code::Fault(FaultCode::EndpointDns), what, remedy })
    }

    fn good() -> Found {
        Found::Good(String::new())
    }

    fn statuses(verdict: &Verdict) -> Vec<&'static str> {
        verdict.checks.iter().map(|check| check.mark.word()).collect()
    }

    #[test]
    fn what_follows_from_a_fault_is_no_fault_of_its_own() {
        let (dns, tcp, tls, other) =
            (Key::of("dns", "a"), Key::of("tcp", "a"), Key::of("tls", "a"), Key::of("dns", "b"));
        let verdict = judge(vec![
            // In whichever order they come.
            Check::new(tls.clone(), bad("tls")).after([tcp.clone()]),
            Check::new(tcp, bad("tcp")).after([dns.clone()]),
            Check::new(dns, bad("no such name")),
            Check::new(other, good()),
        ]);
        assert_eq!(statuses(&verdict), ["SKIP", "SKIP", "FAIL", "PASS"]);
        assert_eq!(verdict.checks[0].because, "because of endpoint-dns");
        let roots: Vec<_> = verdict.roots.iter().map(|root| root.message.as_str()).collect();
        assert_eq!(roots, ["no such name"]);
    }

    #[test]
    fn one_fault_at_two_places_is_one_root() {
        let of = |target, what| Check::new(Key::of("dns", target), bad(what));
        let verdict = judge(vec![of("a", "x"), of("b", "x"), of("c", "y")]);
        let roots: Vec<_> = verdict.roots.iter().map(|root| root.targets.join(", ")).collect();
        assert_eq!((roots, statuses(&verdict)), (vec!["a, b".to_owned(), "c".to_owned()], vec!["FAIL"; 3]));
    }

    #[test]
    fn what_fails_by_the_same_thing_is_one_root_whatever_is_said_of_each() {
        let of = |target, common: &str| Check::new(Key::of("dns", target), bad(target)).by(Some(common.to_owned()));
        let verdict = judge(vec![of("a", "x"), of("b", "y"), of("c", "x"), Check::new(Key::of("dns", "d"), bad("d"))]);
        let roots: Vec<_> = verdict.roots.iter().map(|root| root.targets.join(", ")).collect();
        assert_eq!(roots, ["a, c", "b", "d"]);
    }

    proptest! {
        /// Whatever waits for whatever: there is a root if and only if something is bad, and each check that is not well has one.
        #[test]
        fn there_is_a_root_exactly_where_something_is_bad(
            all in prop::collection::vec((any::<bool>(), prop::collection::vec(0..12usize, 0..3)), 1..12),
        ) {
            let key = |at: usize| Key::of("x", at.to_string());
            let checks: Vec<Check> = all.iter().enumerate().map(|(at, (is_bad, after))| {
                let found = if *is_bad { bad(&at.to_string()) } else { good() };
                // Only those before it, so that there is no circle.
                Check::new(key(at), found).after(after.iter().filter(|before| **before < at).map(|before| key(*before)))
            }).collect();
            let verdict = judge(checks);
            prop_assert_eq!(verdict.roots.is_empty(), all.iter().all(|(is_bad, _)| !is_bad));
            for (at, (is_bad, after)) in all.iter().enumerate() {
                let stops = |before: &usize| *before < at && verdict.checks[*before].mark != Mark::Pass;
                let want = match (after.iter().any(stops), is_bad) {
                    (true, _) => Mark::Skip,
                    (false, true) => Mark::Fail,
                    (false, false) => Mark::Pass,
                };
                prop_assert_eq!(verdict.checks[at].mark, want);
            }
        }
    }
}
