//! The endpoint of the gateway: tools dial in at one address, robots at another, and those with the same token find each other. The
//! addresses and their manners are those of the self-hosted endpoint server (`mcp-endpoint-server`), so what dials that can dial this.
//!
//! # Theory of operation
//!
//! A connection of tools is a server of the pipe that comes and goes ([`crate::config::Room`]), a robot is a guest, and what a guest of a token
//! is shown are the servers of that token. So handshakes, ids, merging, bounds and isolation are those of the pipe, and there is no second
//! router. What is here is who is let in, and what ends a connection that was: the end of the gateway or of its token.
//!
//! A connection that has died without a word is noticed by its silence. Where other tools come with the same token, it most likely is the
//! same machine, which has dialled again: all others are asked for a sign at once. Tools that say how new the lease is by which they dial
//! ([`EPOCH_HEADER`]) end those of older leases, and are turned away where there was a newer one.

pub(super) mod query;

use http::StatusCode;
use http::request::Parts;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::warn;

use super::Gateway;
use super::fence::{self, Pass};
use super::guesses::Source;
use super::refusal::{closed, full, full_of_tools, nowhere, too_many_guesses};
use super::reply::{self, Answer};
use super::socket::{Ends, Side, Talk, accept};
use super::tokens::{Meeting, Token};
use super::turned_away::{self, Refusal};
use crate::control::status::Caller;
use crate::endpoint::EPOCH_HEADER;
use crate::mcp::era::Era;
use crate::pipe::membership::NewGuest;

/// Most connections of tools with one token: each is a server of the pipe, whose tools every robot of the token is shown. The machines and
/// devices of a household are fewer; what comes beyond is a program that dials anew and never closes.
const MAX_TOOLS: usize = 32;

/// How a connection ends whose token is not known, as clients of the field expect.
const UNKNOWN: (CloseCode, &str) = (CloseCode::Policy, "this token is not known here");
/// The same where no token is shown.
const MISSING: (CloseCode, &str) = (CloseCode::Policy, "a token is missing: the address has to end with ?token=TOKEN");
/// How it ends when its token is known no more.
const REMOVED: (CloseCode, &str) = (CloseCode::Policy, "this token is not known here any more");
/// How that of tools ends whose lease has passed to others: as the self-hosted endpoint server has it, and in words by which a mcp-pipe knows
/// that another one has its place.
const OUTDONE: (CloseCode, &str) = (CloseCode::Normal, "a newer connection has shown a higher Mcp-Pipe-Epoch");

impl Gateway {
    /// Has other tokens count from now on.
    pub(super) async fn change_tokens(&self, before: &[Token], now: &[Token]) {
        for token in before {
            let after = now.iter().find(|other| other.meeting.room == token.meeting.room);
            if after.is_none() {
                token.end();
            }
            self.reception.show(token.shown.clone(), after.map(|token| token.shown.clone())).await;
        }
    }

    /// Answers a request for a connection at the endpoint, and serves that.
    pub(super) async fn endpoint(&self, tokens: &[Token], caller: Caller, head: Parts) -> Answer {
        if tokens.is_empty() {
            return nowhere();
        }
        let accepted = match accept(&head) {
            Ok(accepted) => accepted,
            Err(refused) => return *refused,
        };
        let query = head.uri.query().unwrap_or_default();
        let (hashes, now) = (query::hashes(query), Instant::now());
        let guess = head.extensions.get::<Source>().copied().filter(|_| !hashes.is_empty());
        if let Some(Err(wait)) = guess.map(|from| self.guesses.admit(from, &hashes, now)) {
            return too_many_guesses(&head.headers, wait);
        }
        let found = query::among(&hashes, tokens.iter().map(|token| &token.spec.hash));
        if let Some(from) = guess {
            self.guesses.note(from, &hashes, found.is_some(), now);
        }
        let Some(token) = found.map(|at| &tokens[at]) else {
            // That the connection stands first is what clients of the field expect.
            let (why, refusal) =
                if query::has_token(query) { (UNKNOWN, Refusal::Token) } else { (MISSING, Refusal::NoToken) };
            self.sockets.turn_away(head, why);
            turned_away::note(refusal, &self.status);
            return accepted;
        };
        let Meeting { room, count, over, came, fence: _ } = &token.meeting;
        let pass = match caller {
            Caller::Tools => match self.fenced(token, &head) {
                Ok(pass) => Some(pass),
                Err(refused) => return *refused,
            },
            Caller::Robot => None,
        };
        let (most, client) = match caller {
            Caller::Tools => (MAX_TOOLS, None),
            // No more than there may be clients of any kind.
            Caller::Robot => match self.place() {
                Some(client) => (usize::MAX, Some(client)),
                None => return full(None),
            },
        };
        let Some(counted) = self.status.count_caller(count, caller, most) else { return full_of_tools(MAX_TOOLS) };
        let (lines, side) = match caller {
            Caller::Tools => {
                // The others are asked before this one listens.
                came.send_replace(());
                (self.reception.come(room.clone()).await, Side::Tools(came.subscribe()))
            }
            Caller::Robot => {
                let name = format!("a robot of {}", room.name()).into();
                let guest = NewGuest { name, shown: token.shown.clone(), era: Era::Legacy };
                (self.receive_guest(guest).await, Side::Robot)
            }
        };
        let Some(lines) = lines else { return closed(None) };
        let over = over.clone();
        let ends = Some(Ends::when(async move {
            tokio::select! {
                () = over.cancelled() => REMOVED,
                () = outdone(pass) => OUTDONE,
            }
        }));
        let max_message = room.max_frame();
        let talk = Talk { lines, max_message, side, ends, until: None, bucket: None, connection: None };
        self.sockets.open(head, talk, (counted, client));
        accepted
    }

    /// Lets tools in whose lease is as new as any that was shown with their token, or who show none.
    fn fenced(&self, token: &Token, head: &Parts) -> Result<Pass, Box<Answer>> {
        let fence = &token.meeting.fence;
        let shown = fence::shown(&head.headers).map_err(|why| Box::new(reply::text(StatusCode::BAD_REQUEST, why)))?;
        if fence.is_first_without(shown) {
            warn!(
                event = "EPOCH_MISSING",
                "tools have come with the token of {}, without {EPOCH_HEADER}, which others show with it; they are let in, beside the others: if they are of a mcp-pipe with the same servers, its config lacks the `lease`",
                token.spec.name
            );
        }
        fence.pass(shown).map_err(|higher| {
            turned_away::note(Refusal::Epoch, &self.status);
            let why = format!("{EPOCH_HEADER} is too low: others have come with this token and {higher}, so its lease has passed to them");
            Box::new(reply::text(StatusCode::CONFLICT, why))
        })
    }
}

async fn outdone(pass: Option<Pass>) {
    match pass {
        Some(pass) => pass.outdone().await,
        None => std::future::pending().await,
    }
}
