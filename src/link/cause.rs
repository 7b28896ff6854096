//! What the end of a connection (a close code such as 4004), or a dial that failed, means for the next attempt. Pure.
//!
//! Here is decided whether the endpoint needs time, a person, or nothing; in [`crate::backoff`], how long the wait is.
//! No cause ends the attempts: a program that runs for months has to be back when the fault is gone.

use std::fmt;
use std::time::Duration;

use crate::backoff::Pace;
use crate::error::FaultCode;
use crate::mcp::cloud;
use crate::net::error::DialError;
use crate::net::peer_text::bounded;

/// Why there is no connection, or none any more.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The dial failed.
    Dial(DialError),
    /// The endpoint closed the connection with a close frame.
    Closed {
        /// The close code (RFC 6455 section 7.4); `None` if the frame held none.
        code: Option<u16>,
        /// The endpoint's reason; untrusted, perhaps empty. Shown bounded and escaped. The caller takes
        /// the token out first ([`crate::net::peer_text::Redaction`]).
        reason: String,
        /// Whether another connection keeps taking this one's place ([`crate::backoff::Contest`]).
        contested: bool,
    },
    /// We closed the connection, for this reason, to make a new one at once: the endpoint is to see something new.
    Ours(&'static str),
    /// The connection ended without a close frame.
    Lost(String),
    /// Nothing came from the endpoint, not even the answer to a ping.
    Unresponsive {
        /// The length of the silence.
        silent: Duration,
    },
    /// The endpoint broke RFC 6455, and we closed the connection.
    Protocol(String),
    /// Nothing that came was JSON-RPC, and we closed the connection.
    Stranger {
        /// What came instead; untrusted. The caller takes the token out first.
        said: String,
    },
}

/// Whether another connection has taken the place of one that was closed, as far as the close tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// The endpoint gives another reason, such as an idle timeout, or closes with a code that is no regular one.
    Unlikely,
    /// A regular close without a reason.
    Possible,
    /// The endpoint says so, in known words (`cloud::TAKEOVER` and its like).
    Certain,
}

impl Cause {
    /// Whether another connection has taken the place of the one that ended.
    pub(crate) fn takeover(&self) -> Takeover {
        match self {
            Cause::Closed { code: Some(code::REGULAR), reason, .. } => match reason.trim() {
                "" => Takeover::Possible,
                reason if is_takeover(reason) => Takeover::Certain,
                _ => Takeover::Unlikely,
            },
            Cause::Closed { .. }
            | Cause::Dial(_)
            | Cause::Ours(_)
            | Cause::Lost(_)
            | Cause::Unresponsive { .. }
            | Cause::Protocol(_)
            | Cause::Stranger { .. } => Takeover::Unlikely,
        }
    }

    /// What a close frame means and what to do, where the code tells that. What 4004 means, only the link's own state tells.
    ///
    /// `conversed`: the endpoint has asked for something as an MCP client does, so address and token were right at first.
    pub(crate) fn meaning(&self, conversed: bool) -> Option<&'static str> {
        let Cause::Closed { code: Some(code), contested, .. } = self else { return None };
        if self.misses_token() {
            return Some(NO_TOKEN);
        }
        Some(match *code {
            code::REGULAR if *contested => {
                "another connection with this token or agent keeps taking its place: end the other program that uses it (a second \
                 mcp-pipe, perhaps on another machine), or use the endpoint of another agent here. Until then this one holds back"
            }
            code::REGULAR => match self.takeover() {
                Takeover::Certain => "another connection with the same token or agent has taken its place",
                Takeover::Possible => {
                    "a regular close; another connection with the same token may have taken its place"
                }
                Takeover::Unlikely if self.is_about_token() => BY_ITS_WORDS,
                Takeover::Unlikely => "a regular close, for the reason that the endpoint gives",
            },
            1001 => "the endpoint is shutting down or restarting",
            1002 => {
                "by its words mcp-pipe broke the WebSocket protocol, as a proxy on the way may have done; dial without one, or update the \
                 endpoint's program"
            }
            // An endpoint that has conversed takes text messages, and needs no extension for that.
            code::UNSUPPORTED | code::EXTENSION if conversed => return self.is_about_token().then_some(BY_ITS_WORDS),
            code::UNSUPPORTED => {
                "the endpoint takes no text messages, which MCP is made of, so it is most likely no MCP endpoint; compare its address \
                 with the one in the endpoint's console"
            }
            1007 => "the endpoint could not read a message as text; a server here may have written what is no UTF-8",
            code::EXTENSION => {
                "the endpoint insists on an extension of WebSocket that mcp-pipe has not; switch that off at the endpoint"
            }
            1014 => "a gateway before the endpoint got no good answer from it; it is dialled again",
            code::POLICY if conversed && !self.is_about_token() => {
                "by a rule of the endpoint's own, which the connection has met with only now; if that comes again and again, the token may \
                 be good no longer: copy a fresh endpoint URL, with its token, from its console"
            }
            _ if conversed && self.rejects_token() => {
                "the endpoint took the token at first and rejects it now, so it may have expired or been taken back; copy a fresh \
                 endpoint URL, with its token, from its console"
            }
            code::POLICY
            | code::UNAUTHORIZED
            | code::FORBIDDEN
            | code::REGISTERED_UNAUTHORIZED
            | code::REGISTERED_FORBIDDEN => {
                "it rejects the token; copy a fresh endpoint URL, with its token, from its console"
            }
            code::TOO_BIG => "a message was larger than the endpoint takes",
            1011 => "the endpoint had an internal error, or missed our answer to its ping",
            code::RESTART => "the endpoint is restarting",
            code::TRY_LATER => "the endpoint is overloaded and asks to come back later",
            _ if self.is_about_token() => BY_ITS_WORDS,
            code::PRIVATE.. if *code != cloud::CLOSE => {
                "a code of the endpoint's own, which its operator or documentation explains"
            }
            cloud::CLOSE => return None,
            _ => "a code that says nothing about the cause; the log or the operator of the endpoint may",
        })
    }

    /// What kind of fault it is; `None` if it is none.
    pub(crate) fn fault(&self) -> Option<FaultCode> {
        if self.rejects_token() {
            return Some(FaultCode::EndpointUnauthorized);
        }
        Some(match self {
            Cause::Dial(error) => error.fault(),
            Cause::Closed { contested: true, .. } => FaultCode::EndpointContested,
            Cause::Closed { code: Some(cloud::CLOSE), .. } => FaultCode::Endpoint4004,
            Cause::Closed { .. } => FaultCode::EndpointClosed,
            Cause::Ours(_) => return None,
            Cause::Lost(_) => FaultCode::EndpointLost,
            Cause::Unresponsive { .. } => FaultCode::EndpointHalfOpen,
            Cause::Protocol(_) | Cause::Stranger { .. } => FaultCode::EndpointNotMcp,
        })
    }

    /// Whether the endpoint says, by its code or in its words, that it does not take the token.
    pub(crate) fn rejects_token(&self) -> bool {
        match self {
            Cause::Closed { code: Some(code), .. } => {
                matches!(
                    *code,
                    code::POLICY
                        | code::UNAUTHORIZED
                        | code::FORBIDDEN
                        | code::REGISTERED_UNAUTHORIZED
                        | code::REGISTERED_FORBIDDEN
                ) || self.is_about_token()
            }
            Cause::Dial(DialError::Http { status, .. }) => matches!(status, 401 | 403),
            Cause::Closed { code: None, .. }
            | Cause::Dial(_)
            | Cause::Ours(_)
            | Cause::Lost(_)
            | Cause::Unresponsive { .. }
            | Cause::Protocol(_)
            | Cause::Stranger { .. } => false,
        }
    }

    /// Whether the endpoint's reason speaks of the token or of a right, in words that are common.
    fn is_about_token(&self) -> bool {
        // "replaced by another connection with this token" rejects none.
        self.takeover() != Takeover::Certain && self.says_one_of(&TOKEN_WORDS)
    }

    /// Whether the endpoint says that there is no token, which is not to say that it does not like the one that it got.
    fn misses_token(&self) -> bool {
        self.is_about_token() && self.says_one_of(&MISSING_WORDS)
    }

    fn says_one_of(&self, words: &[&str]) -> bool {
        let Cause::Closed { reason, .. } = self else { return false };
        let reason = reason.to_lowercase();
        words.iter().any(|word| reason.contains(word))
    }
}

/// Whether a reason says, in words that are known, that another connection has taken the place.
fn is_takeover(reason: &str) -> bool {
    let lower = reason.to_lowercase();
    let alone = lower.trim_matches(|c: char| !c.is_alphanumeric());
    cloud::TAKEOVER.iter().any(|words| reason.contains(words))
        || cloud::TAKEOVER_ENGLISH.iter().any(|words| lower.contains(words))
        || cloud::TAKEOVER_ALONE.contains(&alone)
}

/// What a reason means that speaks of the token.
const BY_ITS_WORDS: &str =
    "by its words the endpoint rejects the token; copy a fresh endpoint URL, with its token, from its console";

/// What a reason means by which the endpoint has got no token.
const NO_TOKEN: &str =
    "by its words the endpoint got no token; copy the endpoint URL as a whole, with its token, from its console";

/// Words of reasons that miss what they speak of, in lower case.
const MISSING_WORDS: [&str; 7] =
    ["missing", "no token", "without a token", "not provided", "缺少", "未提供", "отсутствует"];

/// Words of reasons that are about the token or a right, in lower case: English, Chinese, Russian.
const TOKEN_WORDS: [&str; 12] = [
    "token",
    "unauthori",
    "not authori",
    "authenticat",
    "forbidden",
    "credential",
    "jwt",
    "令牌",
    "未授权",
    "认证",
    "鉴权",
    "токен",
];

/// Close codes that say something about the next attempt (RFC 6455 section 7.4.1, the IANA registry of close codes).
pub(crate) mod code {
    /// Also the code of the self-hosted endpoint when another connection takes the place; see [`super::Takeover`].
    pub(crate) const REGULAR: u16 = 1000;
    pub(crate) const UNSUPPORTED: u16 = 1003;
    pub(super) const EXTENSION: u16 = 1010;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
    pub(super) const TRY_LATER: u16 = 1013;
    /// From the registry, with the meaning of HTTP's 401 and 403.
    pub(super) const REGISTERED_UNAUTHORIZED: u16 = 3000;
    pub(super) const REGISTERED_FORBIDDEN: u16 = 3003;
    /// The first code that is free for applications (RFC 6455 section 7.4.2).
    pub(super) const PRIVATE: u16 = 4000;
    /// By a wide-spread convention 4000 and a status of HTTP.
    pub(super) const UNAUTHORIZED: u16 = 4401;
    pub(super) const FORBIDDEN: u16 = 4403;
}

/// Longest `Retry-After` that is kept: a wrong date must not silence a server for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Longest wait for a fault on this machine: without a network a dial costs the endpoint nothing, and a laptop should be back
/// soon.
const MAX_LOCAL: Duration = Duration::from_secs(60);
/// Shortest wait after 4004, which mostly is a limit on connections or maintenance: the cloud needs a moment to forget the old
/// connection.
const AFTER_CLOUD: Duration = Duration::from_secs(1);
/// Shortest wait after a message that was too big: the same one may well come again.
const AFTER_TOO_BIG: Duration = Duration::from_secs(5);
/// Shortest wait after a restart of the endpoint, as RFC 6455 section 7.2.3 proposes after an abnormal closure.
const AFTER_RESTART: Duration = Duration::from_secs(5);
/// Shortest wait where the endpoint asks for time without a figure: 1013, 429.
const AFTER_TRY_LATER: Duration = Duration::from_secs(10);

/// How to go on after `cause`.
pub(crate) fn pace(cause: &Cause) -> Pace {
    match cause {
        Cause::Dial(error) => after_dial(error),
        Cause::Closed { code, .. } => match *code {
            Some(cloud::CLOSE) if !cause.is_about_token() => Pace::EVEN.at_least(AFTER_CLOUD),
            Some(code::POLICY | code::UNAUTHORIZED | code::FORBIDDEN) => Pace::STEEP,
            Some(code::REGISTERED_UNAUTHORIZED | code::REGISTERED_FORBIDDEN | code::UNSUPPORTED) => Pace::STEEP,
            Some(code::PRIVATE..) if cause.is_about_token() => Pace::STEEP,
            Some(code::TOO_BIG) => Pace::STEEP.at_least(AFTER_TOO_BIG),
            Some(code::RESTART) => Pace::EVEN.at_least(AFTER_RESTART),
            Some(code::TRY_LATER) => Pace::EVEN.at_least(AFTER_TRY_LATER),
            Some(_) | None => Pace::EVEN,
        },
        Cause::Ours(_) | Cause::Lost(_) | Cause::Unresponsive { .. } => Pace::EVEN,
        Cause::Protocol(_) | Cause::Stranger { .. } => Pace::STEEP,
    }
}

fn after_dial(error: &DialError) -> Pace {
    match error {
        DialError::Dns { .. } | DialError::Unreachable { .. } => Pace { at_most: Some(MAX_LOCAL), ..Pace::EVEN },
        DialError::Http { status, retry_after, .. } => {
            let wish = retry_after.map(|d| d.min(MAX_RETRY_AFTER));
            match status {
                429 => Pace::EVEN.at_least(wish.unwrap_or(AFTER_TRY_LATER)),
                // Timeouts and the endpoint's own faults pass; any other status below 500 is about what we asked.
                408 | 425 | 500.. => Pace::EVEN.at_least(wish.unwrap_or_default()),
                _ => Pace::STEEP.at_least(wish.unwrap_or_default()),
            }
        }
        DialError::Refused { .. }
        | DialError::Timeout { .. }
        | DialError::Tls { .. }
        | DialError::Lost { .. }
        | DialError::Proxy { .. } => Pace::EVEN,
        DialError::Trust { .. }
        | DialError::Header { .. }
        | DialError::RedirectRefused { .. }
        | DialError::TooManyRedirects { .. }
        | DialError::NotWebSocket { .. }
        | DialError::ProxyRejected { .. }
        | DialError::ProxyUnusable { .. } => Pace::STEEP,
    }
}

/// Longest part of a close reason that is shown, in characters; a close frame holds at most 123 bytes (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;
/// Longest part of an I/O or protocol error that is shown, in characters.
const MAX_DETAIL: usize = 300;

impl fmt::Display for Cause {
    /// One line for a person, without the address and without what only the link's own state can tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Dial(error) => error.fmt(f),
            Cause::Closed { code, reason, .. } => {
                match code {
                    Some(code) => write!(f, "the endpoint closed the connection with {code}")?,
                    None => f.write_str("the endpoint closed the connection without a code")?,
                }
                if !reason.is_empty() {
                    write!(f, " \"{}\"", bounded(reason, MAX_REASON))?;
                }
                match self.meaning(false) {
                    Some(meaning) => write!(f, ": {meaning}"),
                    None => Ok(()),
                }
            }
            Cause::Ours(why) => write!(f, "mcp-pipe closed the connection, {why}"),
            Cause::Lost(error) => {
                write!(f, "the connection was lost without a goodbye ({})", bounded(error, MAX_DETAIL))
            }
            Cause::Unresponsive { silent } => write!(
                f,
                "nothing came from the endpoint for {:.0} s, not even the answer to a ping: the connection is dead",
                silent.as_secs_f64()
            ),
            Cause::Protocol(what) => {
                write!(f, "the endpoint broke the WebSocket protocol: {}", bounded(what, MAX_DETAIL))
            }
            Cause::Stranger { said } => write!(
                f,
                "what answers at the endpoint's address is no MCP client, it said \"{}\": the address is most likely wrong, \
                 compare it with the one in the endpoint's console",
                bounded(said, MAX_DETAIL)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: impl Into<Option<u16>>) -> Cause {
        Cause::Closed { code: code.into(), reason: String::new(), contested: false }
    }

    fn reasoned(code: u16, reason: &str) -> Cause {
        Cause::Closed { code: Some(code), reason: reason.into(), contested: false }
    }

    fn http(status: u16, retry_after: Option<u64>) -> Cause {
        Cause::Dial(DialError::Http {
            peer: "h:80".into(),
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: String::new(),
        })
    }

    fn local(climb: Pace) -> Pace {
        Pace { at_most: Some(MAX_LOCAL), ..climb }
    }

    #[test]
    fn a_token_that_is_missing_is_not_told_to_be_rejected() {
        let whole = "a token is missing: the address has to end with ?token=TOKEN";
        for cause in [reasoned(1008, whole), reasoned(4004, "Token not provided"), reasoned(4401, "缺少 token")] {
            assert_eq!(cause.meaning(false), Some(NO_TOKEN), "{cause:?}");
            assert!(cause.rejects_token());
        }
        assert_eq!(reasoned(4401, "unknown token").meaning(false), closed(4401).meaning(false));
        assert_ne!(closed(4401).meaning(false), Some(NO_TOKEN));
    }

    #[test]
    fn each_cause_has_its_pace() {
        let secs = Duration::from_secs;
        let peer = || "h:80".to_owned();
        let reason = || "r".to_owned();
        for (cause, want) in [
            (closed(1000), Pace::EVEN),
            (closed(None), Pace::EVEN),
            (closed(4004), Pace::EVEN.at_least(secs(1))),
            (closed(1008), Pace::STEEP),
            (closed(4401), Pace::STEEP),
            (closed(4403), Pace::STEEP),
            (closed(4003), Pace::EVEN),
            (closed(1003), Pace::STEEP),
            (closed(3000), Pace::STEEP),
            (closed(3003), Pace::STEEP),
            (closed(3001), Pace::EVEN),
            (reasoned(4003, "Forbidden"), Pace::STEEP),
            (reasoned(4004, "token expired"), Pace::STEEP),
            (reasoned(4004, "Internal server error"), Pace::EVEN.at_least(secs(1))),
            (reasoned(1000, "token expired"), Pace::EVEN),
            (closed(1009), Pace::STEEP.at_least(secs(5))),
            (closed(1012), Pace::EVEN.at_least(secs(5))),
            (closed(1013), Pace::EVEN.at_least(secs(10))),
            (http(401, None), Pace::STEEP),
            (http(403, None), Pace::STEEP),
            (http(404, None), Pace::STEEP),
            (http(429, None), Pace::EVEN.at_least(secs(10))),
            (http(429, Some(42)), Pace::EVEN.at_least(secs(42))),
            (http(503, Some(42)), Pace::EVEN.at_least(secs(42))),
            (http(503, Some(1_000_000)), Pace::EVEN.at_least(secs(3600))),
            (http(502, None), Pace::EVEN),
            (http(500, None), Pace::EVEN),
            (http(408, None), Pace::EVEN),
            (http(425, Some(7)), Pace::EVEN.at_least(secs(7))),
            (http(407, None), Pace::STEEP),
            (http(409, Some(7)), Pace::STEEP.at_least(secs(7))),
            (Cause::Dial(DialError::Dns { host: peer(), reason: reason() }), local(Pace::EVEN)),
            (Cause::Dial(DialError::Unreachable { peer: peer(), reason: reason() }), local(Pace::EVEN)),
            (Cause::Dial(DialError::Refused { peer: peer() }), Pace::EVEN),
            (Cause::Lost("reset".into()), Pace::EVEN),
            (Cause::Unresponsive { silent: secs(40) }, Pace::EVEN),
            (Cause::Protocol("reserved bits".into()), Pace::STEEP),
            (Cause::Stranger { said: "{}".into() }, Pace::STEEP),
        ] {
            assert_eq!(pace(&cause), want, "{cause}");
        }
    }

    #[test]
    fn only_the_known_words_say_that_a_place_was_taken_and_only_silence_leaves_it_open() {
        for (code, reason, want) in [
            (Some(1000), "新连接替换", Takeover::Certain),
            (Some(1000), "新的连接取代了旧的", Takeover::Certain),
            (Some(1000), "", Takeover::Possible),
            (Some(1000), " \n", Takeover::Possible),
            (Some(1000), "replaced by a newer connection", Takeover::Certain),
            (Some(1000), "Replaced by another connection with the same token", Takeover::Certain),
            (Some(1000), "Duplicate connection", Takeover::Certain),
            (Some(1000), "Superseded.", Takeover::Certain),
            (Some(1000), "token replaced by a newer one", Takeover::Unlikely),
            (Some(1000), "replaced by version 2, restarting", Takeover::Unlikely),
            (Some(1000), "duplicate message id", Takeover::Unlikely),
            (Some(1000), "no new connections", Takeover::Unlikely),
            (Some(4004), "replaced by a newer connection", Takeover::Unlikely),
            (Some(1000), "idle timeout", Takeover::Unlikely),
            (Some(1000), "token expired", Takeover::Unlikely),
            (Some(1000), "令牌已过期", Takeover::Unlikely),
            (Some(1000), "连接空闲超时", Takeover::Unlikely),
            (Some(1000), "Токен истёк", Takeover::Unlikely),
            (Some(1001), "", Takeover::Unlikely),
            (Some(4004), "新连接替换", Takeover::Unlikely),
            (None, "", Takeover::Unlikely),
        ] {
            let cause = Cause::Closed { code, reason: reason.into(), contested: false };
            assert_eq!(cause.takeover(), want, "{cause}");
            let accuses = cause.meaning(false).is_some_and(|meaning| meaning.contains("another connection"));
            assert!(!(accuses && cause.rejects_token()), "{cause}");
            assert_eq!(accuses, want != Takeover::Unlikely, "{cause}");
            assert!(cause.to_string().contains(reason.trim()), "{cause}");
        }
        assert_eq!(Cause::Lost("新连接替换".into()).takeover(), Takeover::Unlikely);
    }

    #[test]
    fn every_close_and_every_status_comes_with_what_it_means() {
        for code in (1000..=1015).chain([2999, 3000, 3001, 4001, 4999]) {
            assert!(closed(code).meaning(false).is_some_and(|meaning| meaning.len() > 20), "{code}");
        }
        // What this one means, only the link's own state tells.
        assert_eq!(closed(cloud::CLOSE).meaning(false), None);
        assert!(closed(1003).to_string().contains("no MCP endpoint; compare its address"), "{}", closed(1003));
        for status in 200..600 {
            let said = http(status, None).to_string();
            assert!(said.contains(&format!("HTTP {status}: ")), "{said}");
        }
        assert!(http(302, None).to_string().contains("a redirect that doesn't say where to; check"));
    }

    #[test]
    fn every_rejection_says_token() {
        for cause in [
            closed(1008),
            closed(4401),
            closed(4403),
            closed(3000),
            reasoned(4001, "Unauthorized"),
            reasoned(1000, "令牌已过期"),
            http(401, None),
            http(403, None),
        ] {
            assert!(cause.to_string().contains("token"), "{cause}");
        }
    }

    #[test]
    fn what_only_an_endpoint_may_say_that_nothing_worked_for_is_not_said_of_one_that_has_conversed() {
        for code in (1000..=1015).chain([3000, 3003, 4001, 4401, 4403]) {
            let said = closed(code).meaning(true).unwrap_or_default();
            for wrong in ["no MCP endpoint", "an extension", "it rejects the token;"] {
                assert!(!said.contains(wrong), "{code}: {said}");
            }
        }
        assert_eq!(closed(1003).meaning(true), None);
        assert_eq!(reasoned(1003, "bad token").meaning(true), Some(BY_ITS_WORDS));
        let said = |cause: Cause| cause.meaning(true).unwrap_or_default();
        assert!(said(closed(1008)).contains("a rule of the endpoint's own"), "{}", said(closed(1008)));
        assert!(said(closed(4401)).contains("took the token at first"), "{}", said(closed(4401)));
        assert!(said(reasoned(1008, "token expired")).contains("took the token at first"));
    }

    #[test]
    fn a_hostile_close_reason_is_bounded_and_cannot_steer_a_terminal() {
        let reason = format!("\x1b[2J\r\n\u{202e}{}", "x".repeat(10_000));
        let shown = Cause::Closed { code: Some(4004), reason, contested: false }.to_string();
        assert!(shown.len() < 300, "{}", shown.len());
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }

    #[test]
    fn a_cause_reads_as_a_sentence() {
        let reason = "Internal server error".to_owned();
        let cause = Cause::Closed { code: Some(4004), reason, contested: false };
        assert_eq!(cause.to_string(), r#"the endpoint closed the connection with 4004 "Internal server error""#);
        let dead = Cause::Unresponsive { silent: Duration::from_secs(40) }.to_string();
        assert!(dead.contains("for 40 s"), "{dead}");
    }
}
