//! Why a connection ended, in one line, from our own state. Pure.
//!
//! The cloud closes with 4004 whatever happened, so its code says nothing; what the cloud was waiting for does.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::link::cause::Cause;
use crate::mcp::cloud;
use crate::router::{Account, Greeting};
use crate::words::{counted, span, was};

/// Shortest age at which an unanswered `initialize` explains the cloud's close: its patience, with a little slack for the
/// way.
const LATE: Duration = cloud::INITIALIZE.saturating_sub(Duration::from_millis(500));

/// What a contest for a place means where servers here may be those who contend.
const SIBLINGS: &str = "another connection with this token or agent keeps taking its place, most likely that of another server here: \
                        \"mode\": \"auto\" or \"multiplex\" puts all of them on one connection; else end the other program that uses it. \
                        Until then this one holds back";

/// How many refusals in a row are no coincidence.
const AGAIN: u32 = 2;

/// What else is known of an endpoint than the state of its connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Other servers here have connections of their own to the same agent.
    pub(super) siblings: bool,
    /// Until when the token is good by what it says of itself, in seconds since 1970.
    pub(super) good_until: Option<u64>,
    /// We are ending the connection, and refuse what is new on it.
    pub(super) ends: bool,
    /// For how long the token has been good no longer.
    expired: Option<Duration>,
    /// How many connections in a row the endpoint closed with the cloud's code before it had its answer to `initialize`.
    refused: u32,
}

impl Known {
    /// What is known now that a connection has ended, or did not come about.
    pub(super) fn after(&mut self, cause: &Cause, account: &Account, now: SystemTime) -> &Self {
        let until = self.good_until.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        self.expired = until.and_then(|until| now.duration_since(until).ok()).filter(|past| !past.is_zero());
        let refused =
            is_clouds(cause) && matches!(account.initialize, None | Some(Greeting::Waits)) && account.answered == 0;
        self.refused = if refused { self.refused.saturating_add(1) } else { 0 };
        self
    }

    /// What can be done where the token has expired.
    fn expiry(&self) -> Option<String> {
        let past = span(self.expired?);
        Some(format!(
            "the token expired {past} ago, by what it says of itself; copy a fresh endpoint URL, with its token, from its console"
        ))
    }

    /// Which limit the endpoint most likely has.
    fn limit(&self) -> String {
        let siblings = if self.siblings && self.refused >= AGAIN {
            ", on which each of several servers here has one: \"mode\": \"multiplex\" puts all of them on one connection"
        } else {
            ""
        };
        format!("too many connections on this token or agent{siblings}")
    }
}

/// Whether an endpoint closed the connection with the code that says nothing.
fn is_clouds(cause: &Cause) -> bool {
    matches!(cause, Cause::Closed { code: Some(cloud::CLOSE), .. })
}

/// Whether an endpoint closed because of what the servers did, or did not do: it has got no answer to `initialize`, or an error.
pub(super) fn is_by_servers(cause: &Cause, account: &Account) -> bool {
    is_clouds(cause)
        && match account.initialize {
            Some(Greeting::Waits | Greeting::Excused | Greeting::Barred | Greeting::Refused) => true,
            Some(Greeting::Answered) | None => false,
        }
}

/// One line for the log: what ended, after how long, and what that most likely means.
///
/// `name` is the server's; `open_for` is `None` for an attempt that never became a connection.
pub(super) fn explain(
    cause: &Cause,
    open_for: Option<Duration>,
    account: &Account,
    name: &str,
    known: &Known,
) -> String {
    let Some(open_for) = open_for else {
        let expiry = known.expiry().filter(|_| cause.rejects_token());
        return expiry.map_or_else(|| cause.to_string(), |expiry| format!("{cause}; {expiry}"));
    };
    let mut line = match cause {
        // These have nothing to do with the server or with what it was asked.
        Cause::Ours(_) | Cause::Stranger { .. } => return format!("{cause}; it had stood for {}", span(open_for)),
        Cause::Closed { code, reason, .. } => {
            let code = code.map_or("without a code".into(), |c| c.to_string());
            let reason = if reason.is_empty() { String::new() } else { format!(" \"{reason}\"") };
            format!("closed {code}{reason} after {}", span(open_for))
        }
        Cause::Dial(_) | Cause::Lost(_) | Cause::Unresponsive { .. } | Cause::Protocol(_) => {
            format!("{cause}; it had stood for {}", span(open_for))
        }
    };
    if known.ends && is_clouds(cause) && account.initialize != Some(Greeting::Answered) {
        // What waited for its answer has got an error, and an endpoint without tools leaves.
        return format!("{line}, as mcp-pipe takes no more requests");
    }
    let mut add = |text: String| {
        // Writing to a String does not fail.
        let _infallible = write!(line, "; {text}");
    };
    match account.initialize {
        Some(Greeting::Waits) => add(format!("initialize was not answered: server {name} {}", account.server)),
        Some(Greeting::Excused) if account.ended => add(format!(
            "mcp-pipe answered initialize with an error, because the server was not ready within {} s: server {name} {}; \
             what it says at its end, on stderr, mostly tells why",
            cloud::HOLD.as_secs(),
            account.server
        )),
        Some(Greeting::Excused) => add(format!(
            "mcp-pipe answered initialize with an error, because the server was not ready within {} s: server {name} {}; \
             raise startTimeout if it needs longer; if it never answers, it may not speak MCP on stdin and stdout",
            cloud::HOLD.as_secs(),
            account.server
        )),
        Some(Greeting::Refused | Greeting::Barred) => {
            add(format!("initialize was answered with an error, because server {name} {}", account.server))
        }
        None if account.answered == 0 => add("the endpoint had not asked for anything yet".into()),
        None | Some(Greeting::Answered) => {
            let oldest = account.unanswered.iter().max_by_key(|(_, age)| *age);
            if let Some((method, age)) = oldest {
                let n = account.unanswered.len();
                let requests = counted(n, "request");
                add(format!("{requests} {} unanswered, the oldest ({method}) for {}", was(n), span(*age)));
            } else {
                add("everything it asked was answered".into());
            }
        }
    }
    // What others may have done to a connection that we end is no guess worth making.
    if let Some(advice) = advice(cause, open_for, account, known).filter(|_| !(known.ends && is_clouds(cause))) {
        add(advice);
    }
    line
}

/// What the user can do, where our state points at something.
fn advice(cause: &Cause, open_for: Duration, account: &Account, known: &Known) -> Option<String> {
    if let (Cause::Closed { contested: true, .. }, true) = (cause, known.siblings) {
        return Some(SIBLINGS.to_owned());
    }
    let conversed = account.initialize.is_some() || account.answered > 0;
    if (cause.rejects_token() || is_clouds(cause) && !conversed)
        && let Some(expiry) = known.expiry()
    {
        return Some(expiry);
    }
    let meaning = cause.meaning(conversed).map(str::to_owned);
    if meaning.is_some() || !is_clouds(cause) {
        return meaning;
    }
    let patience = cloud::INITIALIZE.as_secs();
    let likely = known.limit();
    match account.initialize {
        // The endpoint closes because of the error. What can be done has been said.
        Some(Greeting::Excused | Greeting::Refused | Greeting::Barred) => None,
        Some(Greeting::Waits) if open_for >= LATE => Some(format!("the endpoint gives up after {patience} s")),
        Some(Greeting::Waits) => Some(format!("closed sooner than its {patience} s: {likely}; or maintenance")),
        Some(Greeting::Answered) if !account.unanswered.is_empty() => {
            Some("it closes when an answer or a ping takes too long".into())
        }
        // The endpoint has not seen any tools.
        None if account.answered == 0 => Some(format!(
            "so it is most likely not this server: {likely}; or a token that is good no longer, or maintenance"
        )),
        Some(Greeting::Answered) | None => {
            Some(format!("so it is most likely not this server: {likely}, too many tools, or maintenance"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::error::DialError;

    /// For a server that is alone.
    fn explain(cause: &Cause, open_for: Option<Duration>, account: &Account, name: &str) -> String {
        super::explain(cause, open_for, account, name, &Known::default())
    }

    fn closed(code: u16) -> Cause {
        Cause::Closed { code: Some(code), reason: String::new(), contested: false }
    }

    fn account(initialize: Option<Greeting>, answered: u64) -> Account {
        Account { initialize, answered, server: "had not answered initialize for 11.0 s".into(), ..Account::default() }
    }

    #[test]
    fn a_late_initialize_is_named_with_what_the_server_was_doing() {
        let line =
            explain(&closed(4004), Some(Duration::from_secs(10)), &account(Some(Greeting::Waits), 0), "calculator");
        assert_eq!(
            line,
            "closed 4004 after 10.0 s; initialize was not answered: server calculator had not answered initialize for 11.0 s; \
             the endpoint gives up after 10 s"
        );
    }

    #[test]
    fn an_initialize_that_we_answered_with_an_error_is_not_blamed_on_the_token() {
        let mut excused = account(Some(Greeting::Excused), 1);
        excused.server = "had not answered initialize for 9.0 s".into();
        let line = explain(&closed(4004), Some(Duration::from_secs(9)), &excused, "h");
        assert_eq!(
            line,
            "closed 4004 after 9.0 s; mcp-pipe answered initialize with an error, because the server was not ready within \
             9 s: server h had not answered initialize for 9.0 s; raise startTimeout if it needs longer; if it never \
             answers, it may not speak MCP on stdin and stdout"
        );
    }

    #[test]
    fn the_end_of_a_server_is_not_told_as_a_slow_start() {
        let mut excused = account(Some(Greeting::Excused), 1);
        (excused.server, excused.ended) = ("exited with code 1, next start in 4.9 s".into(), true);
        let line = explain(&closed(4004), Some(Duration::from_secs(9)), &excused, "ci");
        assert!(line.contains("server ci exited with code 1, next start in 4.9 s; what it says at its end"), "{line}");
        assert!(!line.contains("startTimeout"), "{line}");
    }

    #[test]
    fn what_follows_from_our_own_stop_is_blamed_on_nobody() {
        let known = Known { ends: true, ..Known::default() };
        for initialize in [Some(Greeting::Waits), Some(Greeting::Answered), None] {
            let after = Some(Duration::from_secs(2));
            let line = super::explain(&closed(4004), after, &account(initialize, 0), "h", &known);
            let blames =
                ["too many connections", "maintenance", "not answered"].iter().any(|words| line.contains(words));
            assert!(line.starts_with("closed 4004 after 2.0 s") && !blames, "{initialize:?}: {line}");
        }
    }

    #[test]
    fn a_server_that_a_person_has_stopped_is_not_said_to_be_slow() {
        let mut barred = account(Some(Greeting::Barred), 1);
        barred.server = "was stopped by command; mcp-pipe start 'my calc' brings it back".into();
        let line = explain(&closed(4004), Some(Duration::from_millis(1500)), &barred, "my calc");
        assert_eq!(
            line,
            "closed 4004 after 1.5 s; initialize was answered with an error, because server my calc was stopped by command; \
             mcp-pipe start 'my calc' brings it back"
        );
    }

    #[test]
    fn a_server_that_refuses_to_initialize_is_the_reason_and_nothing_else_is_guessed() {
        let mut refused = account(Some(Greeting::Refused), 1);
        refused.server = "refused to initialize: no licence".into();
        let line = explain(&closed(4004), Some(Duration::from_millis(20)), &refused, "h");
        assert_eq!(
            line,
            "closed 4004 after 20 ms; initialize was answered with an error, because server h refused to initialize: no licence"
        );
    }

    #[test]
    fn a_close_that_is_not_our_doing_is_said_to_be_none() {
        let line = explain(
            &closed(4004),
            Some(Duration::from_secs(3700)),
            &account(Some(Greeting::Answered), 9),
            "calculator",
        );
        assert!(line.starts_with("closed 4004 after 61 min; everything it asked was answered; "), "{line}");
        assert!(line.contains("too many connections"), "{line}");
    }

    #[test]
    fn unanswered_requests_are_counted_and_the_oldest_named() {
        let mut a = account(Some(Greeting::Answered), 3);
        a.unanswered =
            vec![("tools/call".into(), Duration::from_secs(70)), ("tools/list".into(), Duration::from_secs(2))];
        let line = explain(&closed(4004), Some(Duration::from_secs(90)), &a, "calculator");
        assert!(line.contains("2 requests were unanswered, the oldest (tools/call) for 70.0 s"), "{line}");
        a.unanswered.truncate(1);
        let line = explain(&closed(4004), Some(Duration::from_secs(90)), &a, "calculator");
        assert!(line.contains("1 request was unanswered"), "{line}");
    }

    #[test]
    fn a_place_that_is_taken_again_and_again_is_said_to_be_another_programs_doing() {
        let cause = Cause::Closed { code: Some(1000), reason: String::new(), contested: true };
        let line = explain(&cause, Some(Duration::from_secs(3)), &account(Some(Greeting::Answered), 9), "calculator");
        assert!(line.contains("keeps taking its place: end the other program"), "{line}");
        let once =
            explain(&closed(1000), Some(Duration::from_secs(3)), &account(Some(Greeting::Answered), 9), "calculator");
        assert!(!once.contains("keeps"), "{once}");
        let account = account(Some(Greeting::Answered), 9);
        let line = super::explain(
            &cause,
            Some(Duration::from_secs(3)),
            &account,
            "calculator",
            &Known { siblings: true, ..Known::default() },
        );
        assert!(line.contains("most likely that of another server here: \"mode\": \"auto\""), "{line}");
    }

    #[test]
    fn a_4004_whose_reason_is_about_the_token_is_not_explained_otherwise() {
        let cause = Cause::Closed { code: Some(4004), reason: "token has expired".into(), contested: false };
        let line = explain(&cause, Some(Duration::from_millis(20)), &account(None, 0), "h");
        assert_eq!(
            line,
            "closed 4004 \"token has expired\" after 20 ms; the endpoint had not asked for anything yet; by its words the endpoint \
             rejects the token; copy a fresh endpoint URL, with its token, from its console"
        );
    }

    #[test]
    fn a_regular_close_with_a_reason_of_its_own_is_quoted_and_accuses_nobody() {
        for reason in ["idle timeout", "连接空闲超时"] {
            let cause = Cause::Closed { code: Some(1000), reason: reason.into(), contested: false };
            let line = explain(&cause, Some(Duration::from_secs(3)), &account(Some(Greeting::Answered), 9), "h");
            assert_eq!(
                line,
                format!(
                    "closed 1000 \"{reason}\" after 3.0 s; everything it asked was answered; \
                     a regular close, for the reason that the endpoint gives"
                )
            );
        }
    }

    #[test]
    fn a_rejected_token_is_called_so() {
        let line = explain(&closed(1008), Some(Duration::from_millis(20)), &account(None, 0), "calculator");
        assert!(line.contains("had not asked for anything") && line.contains("token"), "{line}");
    }

    #[test]
    fn an_endpoint_that_has_conversed_is_not_said_to_be_none() {
        let conversed = account(Some(Greeting::Answered), 2);
        let line = explain(&closed(1003), Some(Duration::from_millis(20)), &conversed, "h");
        assert_eq!(line, "closed 1003 after 20 ms; everything it asked was answered");
        let line = explain(&closed(1003), Some(Duration::from_millis(20)), &account(None, 0), "h");
        assert!(line.contains("no MCP endpoint; compare its address"), "{line}");
    }

    #[test]
    fn what_the_endpoint_has_not_seen_is_no_reason() {
        let line = explain(&closed(4004), Some(Duration::from_millis(20)), &account(None, 0), "h");
        assert!(line.contains("too many connections") && !line.contains("tools"), "{line}");
        let line = explain(&closed(4004), Some(Duration::from_millis(20)), &account(Some(Greeting::Answered), 2), "h");
        assert!(line.contains("too many tools"), "{line}");
    }

    #[test]
    fn a_token_that_has_expired_is_the_reason_where_the_token_may_be_one() {
        let expired = |cause: &Cause, open_for, account: &Account, good_until| {
            let mut known = Known { good_until, ..Known::default() };
            known.after(cause, account, SystemTime::UNIX_EPOCH + Duration::from_secs(7300));
            super::explain(cause, open_for, account, "h", &known)
        };
        let (soon, unasked) = (Some(Duration::from_millis(20)), account(None, 0));
        let said = "the token expired 2 h 0 min ago, by what it says of itself; copy a fresh endpoint URL, with its token, from its console";
        assert_eq!(
            expired(&closed(4004), soon, &unasked, Some(100)),
            format!("closed 4004 after 20 ms; the endpoint had not asked for anything yet; {said}")
        );
        let reason = Cause::Closed { code: Some(4001), reason: "token expired".into(), contested: false };
        assert!(expired(&reason, soon, &unasked, Some(100)).ends_with(said));
        let status = DialError::Http { peer: "h:443".into(), status: 401, retry_after: None, body: String::new() };
        assert!(expired(&Cause::Dial(status), None, &unasked, Some(100)).ends_with(said));
        for (cause, account, good_until) in [
            (closed(4004), &unasked, Some(7301)),
            (closed(4004), &unasked, None),
            (closed(1011), &unasked, Some(100)),
            (closed(4004), &account(Some(Greeting::Answered), 2), Some(100)),
        ] {
            let line = expired(&cause, soon, account, good_until);
            assert!(!line.contains("expired"), "{line}");
        }
    }

    #[test]
    fn several_servers_that_are_refused_again_and_again_are_told_how_to_share() {
        let mut known = Known { siblings: true, ..Known::default() };
        let mut line = |initialize| {
            let account = account(initialize, u64::from(initialize == Some(Greeting::Answered)));
            let cause = closed(4004);
            known.after(&cause, &account, SystemTime::UNIX_EPOCH);
            super::explain(&cause, Some(Duration::from_secs(1)), &account, "h", &known)
        };
        let hint = "\"mode\": \"multiplex\" puts all of them on one connection";
        assert!(!line(None).contains(hint), "once may be maintenance");
        assert!(line(None).contains(hint) && line(Some(Greeting::Waits)).contains(hint));
        assert!(!line(Some(Greeting::Answered)).contains(hint), "mode auto sees to that");
        assert!(!line(None).contains(hint));
        let mut alone = Known { siblings: false, ..Known::default() };
        for _ in 0..3 {
            alone.after(&closed(4004), &account(None, 0), SystemTime::UNIX_EPOCH);
        }
        let line = super::explain(&closed(4004), Some(Duration::from_secs(1)), &account(None, 0), "h", &alone);
        assert!(!line.contains("multiplex"), "{line}");
    }
}
