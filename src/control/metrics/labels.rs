//! The labels of all series, each set a type of its own.

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder};

use crate::control::status::Refusal;
use crate::router::{CallMethod, Outcome};

/// A series without labels.
pub(super) const NONE: [(&str, &str); 0] = [];

/// What is known by one name of a closed set.
macro_rules! named {
    ($($name:ty),+) => {
        $(impl EncodeLabelValue for Of<$name> {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                EncodeLabelValue::encode(&self.0.as_str(), encoder)
            }
        })+
    };
}

/// A member of a closed set as the value of a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<T>(pub(super) T);

named!(Outcome, CallMethod, Refusal);

/// What is about one server.
#[derive(Debug)]
pub(super) struct OfServer<'a> {
    pub(super) server: &'a str,
}

/// Whether a server is in a state.
#[derive(Debug)]
pub(super) struct ServerIs<'a> {
    pub(super) server: &'a str,
    pub(super) state: &'static str,
}

/// What has become of lives of a server, by why.
#[derive(Debug)]
pub(super) struct ByCause<'a> {
    pub(super) server: &'a str,
    pub(super) cause: &'static str,
}

/// Health checks of a server.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    pub(super) server: &'a str,
    pub(super) result: &'static str,
}

/// Calls; of no server in particular where that is empty, and of no tool as well.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    pub(super) server: &'a str,
    pub(super) method: Of<CallMethod>,
    pub(super) tool: &'a str,
    pub(super) outcome: Of<Outcome>,
}

/// How long calls took.
#[derive(Debug)]
pub(super) struct Durations<'a> {
    pub(super) server: &'a str,
    pub(super) method: Of<CallMethod>,
}

/// What is about one endpoint.
#[derive(Debug)]
pub(super) struct OfEndpoint<'a> {
    pub(super) endpoint: &'a str,
}

/// Links to an endpoint that are in a state.
#[derive(Debug)]
pub(super) struct Links<'a> {
    pub(super) endpoint: &'a str,
    pub(super) state: &'static str,
}

/// Attempts to connect that follow another connection, or another attempt.
#[derive(Debug)]
pub(super) struct Reconnects<'a> {
    pub(super) endpoint: &'a str,
    pub(super) cause: &'static str,
}

/// Who asks.
#[derive(Debug, EncodeLabelSet)]
pub(super) struct PeersOf {
    pub(super) kind: &'static str,
}

/// Who has come with a token of the gateway's endpoint.
#[derive(Debug)]
pub(super) struct Callers<'a> {
    pub(super) token: &'a str,
    pub(super) kind: &'static str,
}

/// Why requests were refused.
#[derive(Debug, EncodeLabelSet)]
pub(super) struct RefusedFor {
    pub(super) reason: Of<Refusal>,
}

/// What came of something.
#[derive(Debug, EncodeLabelSet)]
pub(super) struct CameTo {
    pub(super) result: &'static str,
}

/// Which program this is.
#[derive(Debug, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
}

/// Tells the labels of sets that hold names of the config, which a derive can't.
macro_rules! labels {
    ($($set:ident: $($label:ident),+;)+) => {
        $(impl EncodeLabelSet for $set<'_> {
            fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
                $((stringify!($label), self.$label).encode(encoder.encode_label())?;)+
                Ok(())
            }
        })+
    };
}

labels! {
    OfServer: server;
    ServerIs: server, state;
    ByCause: server, cause;
    Checks: server, result;
    Calls: server, method, tool, outcome;
    Durations: server, method;
    OfEndpoint: endpoint;
    Links: endpoint, state;
    Reconnects: endpoint, cause;
    Callers: token, kind;
}
