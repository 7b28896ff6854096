//! What a router has to say to the log, and the text of each such event.

use std::fmt;
use std::time::Duration;

use super::{Checked, Circuit, CountedCall, PeerId, ServerIndex};
use crate::tools::size::Size;
use crate::words::{counted, listed, span};

/// Whom a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A server.
    Server(ServerIndex),
    /// A peer.
    Peer(PeerId),
}

/// Something that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// Whom the note is about.
    pub about: About,
    /// The peer is a guest, and so a client for whoever reads the note: there is no endpoint where it is.
    pub of_guest: bool,
    /// What is to be said.
    pub what: What<'a>,
}

impl<'a> Note<'a> {
    /// A note about a server.
    pub fn of(server: ServerIndex, what: What<'a>) -> Self {
        Note { about: About::Server(server), of_guest: false, what }
    }

    /// A note about a peer.
    pub fn of_peer(peer: PeerId, what: What<'a>) -> Self {
        Note { about: About::Peer(peer), of_guest: false, what }
    }

    /// What the note calls whom it is about.
    fn who(&self) -> &'static str {
        match self.about {
            About::Server(_) => "server",
            About::Peer(_) if self.of_guest => "client",
            About::Peer(_) => "endpoint",
        }
    }

    /// The server that the note is about, if it is about one.
    pub fn server(&self) -> Option<ServerIndex> {
        match self.about {
            About::Server(server) => Some(server),
            About::Peer(_) => None,
        }
    }
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What<'a> {
    /// A line of a server's stdout that is no message.
    Noise {
        /// The line, untrusted.
        line: &'a [u8],
    },
    /// The endpoint sent something that is no message.
    NotMessage {
        /// Why not.
        why: String,
        /// Whether that was answered with an error, which happens a limited number of times.
        answered: bool,
        /// Whether it is the first that the endpoint has sent on its connection: it may send nothing else.
        first: bool,
    },
    /// The endpoint speaks no JSON-RPC, so it gets no more answers, and its connection is to be closed.
    Stranger {
        /// The endpoint's last words, untrusted.
        said: &'a [u8],
    },
    /// A message of a server could not be read; its request was answered with an error.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// The server sent an error that names no request, and it is not known to which it belongs.
    Nameless {
        /// The server's words.
        error: String,
        /// How many requests are under way there, or wait.
        requests: usize,
    },
    /// A message above the size limit was dropped.
    TooLarge {
        /// The message's length in bytes.
        size: u64,
        /// Whether its request could be answered with an error.
        answered: bool,
    },
    /// An answer that nobody waits for: too late, given twice, or never asked for.
    Unclaimed,
    /// A log message of the server that is for no peer: none has a call under way there, or several have.
    Logged {
        /// The message's parameters, untrusted.
        params: &'a [u8],
    },
    /// The server answered the endpoint's `initialize` (or ours in its name).
    Initialized {
        /// The server's name and version, as it gave them.
        identity: String,
    },
    /// We answered a server's own request, because the endpoint can't or doesn't.
    AnsweredForEndpoint {
        /// The request's method.
        method: String,
        /// Why the endpoint didn't get it or didn't answer.
        why: &'static str,
    },
    /// What is run as a server has asked what only clients ask.
    AskedAsClient {
        /// The request's method.
        method: String,
        /// What it was told.
        why: &'static str,
    },
    /// The server answered `initialize` with an error, or with nothing that can be read. Others that share its connection go on.
    Refused {
        /// What it did, in words that follow its name: its own words are their end.
        error: String,
    },
    /// The server did not list what it has, and is asked again.
    NotListed {
        /// The request.
        list: &'static str,
        /// The server's words, or ours.
        error: String,
    },
    /// Not all of a list of the server was read, so the rest is not published.
    ListCut {
        /// The request.
        list: &'static str,
        /// Why not.
        why: String,
    },
    /// Something that the server says of itself is not as MCP has it, and was mended for the endpoint.
    Odd {
        /// The request that the server answered.
        method: &'static str,
        /// What is odd.
        what: String,
    },
    /// An answer of the server is none that a strict client can read, and was mended.
    OddAnswer {
        /// The request that the server answered.
        method: String,
        /// What is odd, in words that follow "its answer".
        odd: &'static str,
    },
    /// The server answers with an error what it may be able to do where it is spoken to as one of the modern era.
    OtherEra,
    /// Not all items of the server's list fit into a message.
    ListTooLong {
        /// The request.
        list: &'static str,
        /// How many items of the server are left out.
        items: usize,
        /// The largest message, in bytes.
        max: usize,
    },
    /// Tools of the server are published under other names, because their own have characters that not every model takes.
    Renamed {
        /// For each tool the server's name and the endpoint's.
        tools: &'a [(Box<str>, Box<str>)],
    },
    /// The config says something about tools that does not fit those that the server has.
    DoubtfulTools {
        /// What doesn't fit, as a sentence.
        what: String,
    },
    /// The endpoint has read the list of tools.
    ToolsRead {
        /// The size of the answer.
        size: Size,
        /// How many tools there are, if the answer has all of them.
        count: Option<usize>,
    },
    /// A call was answered.
    Served {
        /// The call, and what the answer was.
        call: CountedCall<'a>,
        /// From our receiving the request to our sending the answer.
        took: Duration,
    },
    /// A call that the server had was answered with an error, as the server will not answer it any more.
    Lost(CountedCall<'a>),
    /// A call that no server had was answered with an error, or nobody waits for its answer.
    Unserved(CountedCall<'a>),
    /// The server has listed tools under these names.
    Listed {
        /// Its own names for them: all of a page, or of all pages.
        tools: &'a [&'a str],
        /// Whether a peer that has the server alone has read them, so that nothing is remembered of it.
        alone: bool,
    },
    /// A call that the server had is waited for no longer.
    Cut {
        /// What was called: the tool where the config limits its calls, else the method.
        what: &'a str,
        /// For how long it was waited for.
        lasted: Duration,
        /// Whether mcp-pipe ends, or its servers; else the time is over that the config gives.
        ends: bool,
        /// By which id others tell the call, if it carries one.
        trace: Option<&'a str>,
    },
    /// The calls beyond those that are told one by one.
    CutBesides {
        /// How many there are.
        calls: usize,
    },
    /// The server was called and has said nothing since, not even when it was asked for a sign of life.
    Silent {
        /// The length of the silence.
        lasted: Duration,
        /// The method of the first of the calls, if that is a known one.
        method: &'static str,
        /// Whether the silence is so long that the server counts as not healthy. A shorter silence was told before.
        failed: bool,
    },
    /// The silent server has said something after all.
    Heard {
        /// The length of the silence.
        lasted: Duration,
    },
    /// A call was answered with what the peer had got for the same before.
    GivenAgain,
    /// Whether a server is asked that gives no answers has changed.
    Circuit(Circuit),
    /// What has become of a health check of the server.
    Checked(Checked),
    /// How a server stands at an endpoint that sees it in turns.
    Seated {
        /// The server.
        server: ServerIndex,
        /// Whether the server has its turn.
        current: bool,
        /// Whether a turn of the server does not end by itself.
        pinned: bool,
    },
    /// A turn changes, or somebody asked for that.
    Turn {
        /// The server.
        server: ServerIndex,
        /// What happens, as a sentence about the server.
        what: String,
    },
}

/// Most tools of a server that are named in one line.
const SHOWN: usize = 8;

/// Longest part of each tool's name in that line, in bytes.
const BRIEF: usize = 64;

/// The beginning of a name that may be of any length.
fn brief(name: &str) -> &str {
    &name[..name.floor_char_boundary(BRIEF)]
}

/// The `rename` of a config that gives the first of these tools another name.
fn rename(tools: &[(Box<str>, Box<str>)]) -> String {
    let own = tools.first().map_or("", |(own, _)| brief(own));
    format!("\"rename\": {{{}: \"…\"}}", serde_json::Value::from(own))
}

/// What a silent server has not done, behind when and how it was called.
const SINCE: &str = " and has said nothing since, nor answered a ping: it may hang, or work on something long";

impl Note<'_> {
    /// The same without how long it lasts, for whoever reads it later.
    pub(crate) fn timeless(&self) -> String {
        let What::Silent { method, .. } = &self.what else { return self.to_string() };
        format!("was called ({method}){SINCE}")
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            // What it is that says this, and its text, are left to the caller, who knows how the server is reached and what may be seen.
            What::Noise { .. } => f.write_str("that is not JSON-RPC"),
            What::NotMessage { why, answered, first } => {
                let done = if *answered { "answered with an error" } else { "not answered" };
                let advice = match (*first, self.of_guest) {
                    (false, _) => "",
                    (true, true) => ". If that is all that comes, what has come here is no MCP client",
                    (true, false) => {
                        ". If that is all that comes, no MCP client is at the endpoint's address: compare it with the one in the \
                         endpoint's console"
                    }
                };
                let who = self.who();
                write!(f, "the {who} sent something that is no JSON-RPC message ({why}); {done}{advice}")
            }
            What::Stranger { .. } => f.write_str("what answers at the endpoint's address speaks no JSON-RPC"),
            What::Unreadable { why } => write!(
                f,
                "the server sent a message that is not JSON-RPC ({why}); the request that it belongs to was answered with an error"
            ),
            What::Nameless { error, requests } => {
                write!(f, "the server sent an error that names no request: {error}; ")?;
                match requests {
                    0 => f.write_str("none is under way"),
                    1 => f.write_str("it may be about a notification, and the request under way there waits on"),
                    n => write!(f, "{n} are under way there, and each waits on"),
                }
            }
            What::TooLarge { size, answered } => write!(
                f,
                "the {} sent a message of {size} bytes, above maxFrameSize; {}",
                self.who(),
                if *answered {
                    "its request was answered with an error"
                } else {
                    "dropped: its id could not be found, or nobody waits for it"
                },
            ),
            What::Unclaimed => write!(f, "dropped an answer of the {} that nobody waits for", self.who()),
            What::Logged { .. } => f.write_str("logged a message that is for no endpoint alone"),
            What::Initialized { identity } => write!(f, "initialized: {identity}"),
            What::AskedAsClient { method, why } => {
                write!(f, "what is to be a server sent {method}, and was answered with an error: {why}")
            }
            What::AnsweredForEndpoint { method, why } => {
                write!(f, "answered the server's {method} with an error: {why}")
            }
            What::Refused { error } => {
                write!(f, "the server {error}")
            }
            What::NotListed { list, error } => {
                write!(f, "the server did not answer {list}: {error}; what it has of that is not published yet")
            }
            What::ListCut { list, why } => {
                write!(f, "the server's answer to {list} was cut: {why}; what follows is not published")
            }
            What::Odd { method, what } => {
                write!(f, "in the server's answer to {method}, not all is as MCP has it, and was mended: {what}")
            }
            What::OddAnswer { method, odd } => {
                write!(f, "its answer to {method} {odd}; such answers are mended here, and other clients may not get them")
            }
            What::OtherEra => f.write_str(
                "could not make an answer of what its tool returned: a tool that asks for input in the middle of a call may work only where the \
                 server is spoken to by MCP 2026-07-28; write \"era\": \"modern\" in its entry",
            ),
            What::ListTooLong { list, items, max } => write!(
                f,
                "not all that the server offers fits into a message of {max} bytes (maxFrameSize): {items} of its items are left out of {list}; publish less by \"tools\", or set \"slim\": true"
            ),
            What::Renamed { tools } => {
                let shown: Vec<_> =
                    tools.iter().take(SHOWN).map(|(own, name)| format!("{} as {name}", brief(own))).collect();
                write!(
                    f,
                    "tools whose names not every assistant takes are published under others: {}; to choose a name, \
                     write {} in \"tools\"; where the endpoint takes letters of all scripts, \"names\": \"unicode\" keeps them",
                    listed(shown, tools.len()),
                    rename(tools),
                )
            }
            What::DoubtfulTools { what } => f.write_str(what),
            What::ToolsRead { size: Size { bytes, tokens }, .. } => {
                let (bytes, tokens) = (counted(*bytes, "byte"), counted(*tokens, "token"));
                write!(f, "the {} read the list of tools: {bytes}, about {tokens}", self.who())
            }
            What::Cut { what, lasted, ends: false, .. } => {
                write!(f, "{what} did not answer within {} (timeout); the call was cancelled", span(*lasted))
            }
            What::Cut { what, lasted, ends: true, .. } => {
                write!(f, "{what} had not answered for {} when the servers were ended; the call got an error", span(*lasted))
            }
            What::CutBesides { calls } => {
                write!(f, "{} more had not been answered then", counted(*calls, "call"))
            }
            What::Lost(_) => f.write_str("a call of the server was answered with an error in its place"),
            What::Unserved(call) => {
                write!(f, "{} has come to nothing: {}", String::from_utf8_lossy(call.method), call.outcome.as_str())
            }
            What::Listed { tools, .. } => write!(f, "listed {}", counted(tools.len(), "tool")),
            What::Served { call, took } => {
                write!(f, "{} answered in {}", String::from_utf8_lossy(call.method), span(*took))
            }
            What::Silent { lasted, method, .. } => {
                write!(f, "was called {} ago ({method}){SINCE}", span(*lasted))
            }
            What::Heard { lasted } => write!(f, "says something again, after {}", span(*lasted)),
            What::GivenAgain => f.write_str("answered a call with what was answered before (cache)"),
            What::Circuit(circuit) => circuit.fmt(f),
            What::Checked(checked) => checked.fmt(f),
            What::Seated { current, pinned, .. } => {
                f.write_str(if *current { "has its turn" } else { "waits for its turn" })?;
                f.write_str(if *pinned { ", and is pinned" } else { "" })
            }
            What::Turn { what, .. } => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_told_of_as_a_client_for_which_there_is_no_endpoint() {
        let garbage = || What::NotMessage { why: "not JSON at byte 0".into(), answered: true, first: true };
        for what in [garbage(), What::TooLarge { size: 9, answered: false }, What::Unclaimed] {
            let of_endpoint = Note::of_peer(PeerId::default(), what);
            assert!(of_endpoint.to_string().contains("the endpoint"), "{of_endpoint}");
            let of_guest = Note { of_guest: true, ..of_endpoint };
            let told = of_guest.to_string();
            assert!(told.contains("the client") && !told.contains("endpoint"), "{told}");
        }
        let told = Note { of_guest: true, ..Note::of_peer(PeerId::default(), garbage()) }.to_string();
        assert!(told.ends_with("If that is all that comes, what has come here is no MCP client"), "{told}");
    }
}
