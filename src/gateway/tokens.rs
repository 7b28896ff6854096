//! The tokens of the endpoint, each with what it opens and with whoever has come with it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::fence::Fence;
use crate::config::{EndpointTokenSpec, GatewaySpec, Room, ServerSpec};
use crate::control::status::TokenCount;
use crate::pipe::membership::{Manner, Shown};

/// A token with what it opens.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) spec: EndpointTokenSpec,
    /// What its robots see: the servers of its room, and some of ours.
    pub(super) shown: Arc<Shown>,
    pub(super) meeting: Meeting,
}

/// Who has come with a token: the same for as long as the config has the token, whatever else changes.
#[derive(Debug, Clone)]
pub(super) struct Meeting {
    pub(super) room: Room,
    pub(super) count: Arc<TokenCount>,
    /// Cancelled when the token counts no more.
    pub(super) over: CancellationToken,
    /// Tells that tools have come.
    pub(super) came: watch::Sender<()>,
    /// How new a lease of tools has to be.
    pub(super) fence: Fence,
}

impl Token {
    /// The tokens of a config. `before`: those that counted before.
    pub(super) fn all_of(spec: &GatewaySpec, servers: &[ServerSpec], before: &[Token]) -> Vec<Token> {
        let is_ours = |server: &&ServerSpec| !server.bounds.stands_in && spec.endpoint_servers.contains(&server.name);
        let ours = servers.iter().filter(is_ours);
        let ours: Vec<_> = ours.map(|server| (server.name.clone(), server.tools.clone())).collect();
        let sharing = servers.first().map(|server| server.sharing).unwrap_or_default();
        let token = |token: &EndpointTokenSpec| {
            // Another name, or another place where it has none, makes it no other token.
            let same = before.iter().find(|other| other.spec.hash == token.hash).map(|same| &same.meeting);
            let meeting = match same {
                Some(same) if same.room.max_frame() == spec.max_frame => same.clone(),
                // Those that came are ended, and what they have shown still counts.
                same => {
                    let fence = same.map(|same| same.fence.clone()).unwrap_or_default();
                    Meeting { fence, ..Meeting::of(token, spec.max_frame) }
                }
            };
            let room = Some(meeting.room.clone());
            let shown = Shown { servers: ours.clone(), room, sharing, manner: Manner::Together };
            Token { spec: token.clone(), shown: Arc::new(shown), meeting }
        };
        spec.endpoint_tokens.iter().map(token).collect()
    }

    /// Ends all that came with it.
    pub(super) fn end(&self) {
        self.meeting.over.cancel();
    }
}

impl Meeting {
    fn of(token: &EndpointTokenSpec, max_frame: usize) -> Self {
        let room = Room::new(token.name.clone(), max_frame);
        let count = Arc::new(TokenCount::of(token.name.clone()));
        Meeting { room, count, over: CancellationToken::new(), came: watch::Sender::new(()), fence: Fence::default() }
    }
}

/// How many have come with each token.
pub(super) fn counts(tokens: &[Token]) -> Vec<Arc<TokenCount>> {
    tokens.iter().map(|token| token.meeting.count.clone()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::config::sha256;

    #[test]
    fn a_token_with_another_name_is_the_same_and_one_with_another_limit_is_not() {
        let token = |name: &str| EndpointTokenSpec { name: name.into(), hash: sha256("token-of-home") };
        let spec = |name: &str, max_frame| GatewaySpec {
            endpoint_tokens: vec![token(name)],
            max_frame,
            ..crate::gateway::tests::spec()
        };
        let before = Token::all_of(&spec("token 2", 1000), &[], &[]);
        let is_same = |spec: &GatewaySpec| Token::all_of(spec, &[], &before)[0].meeting.room == before[0].meeting.room;
        assert!(is_same(&spec("token 1", 1000)) && !is_same(&spec("token 2", 2000)));
        let _inside = before[0].meeting.fence.pass(Some(2)).unwrap();
        for after in [spec("token 1", 1000), spec("token 2", 2000)] {
            let after = Token::all_of(&after, &[], &before);
            assert_eq!(after[0].meeting.fence.pass(Some(1)).unwrap_err(), 2, "what was shown still counts");
        }
    }
}
