//! Asking the connected servers: their tools, and calls.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::connection::{Call, Line};
use super::{Catalogue, Presence, RpcError, Seat};

/// Most errors in a row that `tools/list` may be answered with before that counts as the answer: with the pauses between the
/// requests a server has six seconds to load what it lists.
const MAX_LIST_ERRORS: u32 = 3;

/// A handle to the servers at the local endpoint; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    seats: Arc<[Arc<Seat>]>,
}

/// Why a server gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum LocalError {
    /// No server of this name is registered.
    #[error("there is no server \"{0}\" at the local endpoint")]
    UnknownServer(String),
    /// The server was not connected, with its tools read, in time.
    #[error("server \"{server}\" did not show its tools within {} s: {why}", waited.as_secs())]
    NotReady {
        /// The server.
        server: String,
        /// How long we waited.
        waited: Duration,
        /// What is known of the cause.
        why: String,
    },
    /// The server goes on answering `tools/list` with an error.
    #[error("{}{error}", if error.ours { String::new() } else { format!("server \"{server}\" answered tools/list with an error: ") })]
    NotListed {
        /// The server.
        server: String,
        /// The last error.
        error: RpcError,
    },
    /// The call was sent and not answered in time, and has been cancelled at the server.
    #[error("server \"{server}\" did not answer within {} s; the call was cancelled", waited.as_secs())]
    NoAnswer {
        /// The server.
        server: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The connection ended with the call under way. A call is not repeated: it may have been carried out.
    #[error("the connection of server \"{0}\" ended while the call was under way")]
    Disconnected(String),
    /// The server, or the pipe in its name, answered with an error.
    #[error("{}{error}", if error.ours { String::new() } else { format!("server \"{server}\" answered with an error: ") })]
    Rpc {
        /// The server.
        server: String,
        /// The error.
        error: RpcError,
    },
}

impl Client {
    pub(super) fn new(seats: impl Iterator<Item = Arc<Seat>>) -> Self {
        Client { seats: seats.collect() }
    }

    /// What a server offers. Waits up to `patience` until the server is connected and its tools are read.
    ///
    /// # Errors
    /// [`LocalError::UnknownServer`], [`LocalError::NotReady`].
    pub(crate) async fn tools(&self, server: &str, patience: Duration) -> Result<Arc<Catalogue>, LocalError> {
        Ok(self.ready(server, patience).await?.0)
    }

    /// Calls a tool, as [`Client::request`] does.
    ///
    /// # Errors
    /// All of [`LocalError`].
    pub(crate) async fn call(
        &self,
        server: &str,
        tool: &str,
        arguments: Value,
        patience: Duration,
    ) -> Result<Value, LocalError> {
        self.request(server, "tools/call", json!({"name": tool, "arguments": arguments}), patience).await
    }

    /// Sends a request, without parameters where these are null, and gives it up at once: it is cancelled at the server, unless it
    /// was answered that fast.
    ///
    /// # Errors
    /// All of [`LocalError`] but [`LocalError::NoAnswer`] and [`LocalError::Rpc`].
    pub(crate) async fn request_and_cancel(
        &self,
        server: &str,
        method: &str,
        params: Value,
        patience: Duration,
    ) -> Result<(), LocalError> {
        let (_, line) = self.ready(server, patience).await?;
        let call = Call { method: method.to_owned(), params, answer: oneshot::channel().0 };
        match timeout(patience, line.calls.send(call)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LocalError::Disconnected(server.to_owned())),
        }
    }

    /// Sends a request, without parameters where these are null. Returns the `result` of the answer, as it came. Waits up to
    /// `patience` for the server to be connected, and as long again for the answer. A request that is given up, by this limit or by
    /// dropping the future, is cancelled at the server.
    ///
    /// # Errors
    /// All of [`LocalError`].
    pub(crate) async fn request(
        &self,
        server: &str,
        method: &str,
        params: Value,
        patience: Duration,
    ) -> Result<Value, LocalError> {
        let (_, line) = self.ready(server, patience).await?;
        // Declared before the channel, so dropped after it: the connection, when told, finds the channel closed.
        let _cancel = TellOnDrop(Arc::clone(&line.abandoned));
        let (answer, answered) = oneshot::channel();
        let call = Call { method: method.to_owned(), params, answer };
        let asking = async {
            line.calls.send(call).await.ok()?;
            answered.await.ok()
        };
        match timeout(patience, asking).await {
            Ok(Some(Ok(result))) => Ok(result),
            Ok(Some(Err(error))) => Err(LocalError::Rpc { server: server.to_owned(), error }),
            Ok(None) => Err(LocalError::Disconnected(server.to_owned())),
            Err(_) => Err(LocalError::NoAnswer { server: server.to_owned(), waited: patience }),
        }
    }

    async fn ready(&self, server: &str, patience: Duration) -> Result<(Arc<Catalogue>, Line), LocalError> {
        let seat = self.seats.iter().find(|seat| seat.server == server);
        let seat = seat.ok_or_else(|| LocalError::UnknownServer(server.to_owned()))?;
        let mut presence = seat.presence.subscribe();
        let settled = |presence: &Presence| match presence {
            Presence::Ready { .. } => true,
            Presence::Refusing { times, .. } => *times >= MAX_LIST_ERRORS,
            Presence::Away(_) => false,
        };
        let ready = timeout(patience, presence.wait_for(settled)).await;
        if let Ok(Ok(presence)) = ready
            && let Presence::Ready { catalogue, line } = &*presence
        {
            return Ok((Arc::clone(catalogue), line.clone()));
        }
        let why = match &*seat.presence.borrow() {
            Presence::Away(why) => (*why).to_owned(),
            Presence::Refusing { error, .. } => {
                let error = error.clone();
                return Err(LocalError::NotListed { server: server.to_owned(), error });
            }
            Presence::Ready { .. } => "its connection has ended".to_owned(),
        };
        Err(LocalError::NotReady { server: server.to_owned(), waited: patience, why })
    }
}

/// Tells a connection to look for calls that nobody waits for.
struct TellOnDrop(Arc<Notify>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
