//! Why a request got no reply, in words that a person can act on.

use std::error::Error as _;
use std::io;

use crate::endpoint::Origin;
use crate::error::FaultCode;
use crate::net::error::DialError;
use crate::net::tls::words;

/// How the alert of TLS is spelled by which a server demands a certificate of its client (RFC 8446 section 6).
const CERTIFICATE_REQUIRED: &str = "certificate required";

/// A request that got no reply, or only a part of one. Nothing of the request is repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection came about.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended before any of the request was written.
    #[error(transparent)]
    Unsent(Box<HttpError>),
    /// The connection ended before the reply began.
    #[error("{peer} ended the connection without an answer ({reason})")]
    Lost {
        /// Who was asked.
        peer: String,
        /// What the system said.
        reason: String,
    },
    /// The connection ended in the middle of the reply.
    #[error("the connection was lost in the middle of the answer ({0})")]
    Cut(String),
    /// What answers does not speak HTTP as it should.
    #[error("{peer} does not speak HTTP as it should ({reason}); check scheme and port of the url")]
    NotHttp {
        /// Who was asked.
        peer: String,
        /// What was wrong.
        reason: String,
    },
    /// The address can't be written into a request.
    #[error("its address can't be written into a request")]
    BadAddress,
    /// The request is for another origin than the client's.
    #[error("that is another origin than the url's, and nothing that is meant for one is sent to another")]
    Elsewhere,
}

impl HttpError {
    pub(super) fn of(error: &hyper::Error, peer: &Origin) -> Self {
        let peer = peer.to_string();
        if error.is_parse() {
            let reason = if error.to_string().contains("too large") {
                "the head of its answer is too large"
            } else {
                "no HTTP answer"
            };
            return HttpError::NotHttp { peer, reason: reason.to_owned() };
        }
        HttpError::Lost { peer, reason: reason(error) }
    }

    pub(super) fn cut(error: &hyper::Error) -> Self {
        HttpError::Cut(reason(error))
    }

    /// What kind of fault it is.
    pub(crate) fn fault(&self) -> FaultCode {
        match self {
            HttpError::Dial(error) => error.fault_of_remote(),
            HttpError::Unsent(error) => error.fault(),
            HttpError::Lost { .. } | HttpError::Cut(_) => FaultCode::RemoteLost,
            HttpError::NotHttp { .. } => FaultCode::RemoteNotMcp,
            HttpError::BadAddress | HttpError::Elsewhere => FaultCode::RemoteHttp,
        }
    }

    /// Whether nothing of the request can have reached the server.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            HttpError::Dial(_) | HttpError::Unsent(_) | HttpError::BadAddress | HttpError::Elsewhere => true,
            HttpError::Lost { .. } | HttpError::Cut(_) | HttpError::NotHttp { .. } => false,
        }
    }
}

/// What the system said, or else what hyper says.
fn reason(error: &hyper::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let told = words::of_io(io);
            // By TLS 1.3 a server says so only when the client is through with its side.
            let remedy =
                if told.contains(CERTIFICATE_REQUIRED) { "; name one in its entry: certFile and keyFile" } else { "" };
            return told + remedy;
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "it was closed".to_owned();
    }
    error.to_string()
}
