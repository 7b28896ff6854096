//! The gateway of a run: there as long as the config has one, at the address that it names.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Common;
use crate::config::{GatewaySpec, ServerSpec};
use crate::control::orders::{Given, NotGiven, Until};
use crate::control::sessions::ClientSession;
use crate::gateway::listener::Listener;
use crate::gateway::{Gateway, Kept, Survival};
use crate::words::counted;

/// What to do where the gateway can't move by a reload, which takes no options of the command line.
const REMEDY: &str = "free it and run mcp-pipe reload, or name another one in `listen` of `gateway`";
/// Longest wait for the note of what has ended: twice what the gateway waits for it.
const NOTED: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Front(Option<Open>);

struct Open {
    gateway: Arc<Gateway>,
    spec: Arc<GatewaySpec>,
    ended: CancellationToken,
    /// Ready when nobody listens any more.
    closed: oneshot::Receiver<()>,
}

impl Front {
    /// Serves clients that dial `listener`, by all servers, which run from now on.
    pub(super) async fn open(
        &mut self,
        (listener, spec): (Listener, Arc<GatewaySpec>),
        servers: &[ServerSpec],
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) {
        let gateway = match &self.0 {
            // It moves to another address.
            Some(open) => open.gateway.clone(),
            None => {
                let kept = Kept::open(common.state.clone(), &common.config).await;
                let survival = Survival { kept, stopping: common.run.stop.drain().clone() };
                let (reception, status) = (common.hub.reception(), common.status.clone());
                Arc::new(Gateway::new(&spec, servers, reception, status, survival))
            }
        };
        common.hub.open().await;
        common.run_all(servers.iter().map(|server| &server.name)).await;
        let (ended, (open, closed)) = (common.run.stop.drain().child_token(), oneshot::channel());
        tasks.spawn(listener.serve(gateway.clone(), (ended.clone(), open), common.run.limits.drain_timeout));
        if let Some(before) = self.0.replace(Open { gateway, spec, ended, closed }) {
            before.ended.cancel();
        }
    }

    /// The sessions of its clients; `None`: there is no gateway.
    pub(super) fn sessions(&self) -> Option<Vec<ClientSession>> {
        Some(self.0.as_ref()?.gateway.conversations())
    }

    /// Ends the session of this name, or all.
    pub(super) fn end_sessions(&self, name: Option<&str>, tasks: &mut JoinSet<()>) -> Result<Given, NotGiven> {
        let gateway = self.0.as_ref().ok_or_else(NotGiven::no_gateway)?.gateway.clone();
        let ended = gateway.end_conversations(name).map_err(NotGiven::Unclear)?;
        let words = format!("{} ended", counted(ended, "session"));
        info!(event = "COMMAND", "{words}, by command");
        let (told, until) = oneshot::channel();
        tasks.spawn(async move {
            gateway.noted().await;
            let _gone = told.send(words);
        });
        Ok(Given { until: Until::Ended(until), within: NOTED })
    }

    /// Reads the files of its encryption anew: they may hold something else, whatever the config says. Returns what is wrong.
    pub(super) async fn renew(&self) -> Option<String> {
        let failed = self.0.as_ref()?.gateway.encrypt_anew().await.err()?;
        Some(told(format!("the gateway's certificate that was read before still counts: {failed:#}")))
    }

    /// Whether it listens elsewhere than a config says, or nowhere.
    pub(super) fn is_elsewhere(&self, spec: Option<&Arc<GatewaySpec>>) -> bool {
        self.0.as_ref().map(|open| open.spec.listen) != spec.map(|spec| spec.listen)
    }

    /// Has another config count. Returns what is wrong.
    pub(super) async fn change(
        &mut self,
        spec: Option<&Arc<GatewaySpec>>,
        servers: &[ServerSpec],
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) -> Option<String> {
        let Some(spec) = spec else {
            if let Some(open) = self.0.take() {
                info!(event = "GATEWAY", "no MCP client is served any more");
                common.status.set_gateway(None);
                open.ended.cancel();
                open.gateway.end_all();
            }
            return None;
        };
        let before = self.0.as_ref().map(|open| open.spec.listen);
        if let Some(open) = &mut self.0 {
            common.run_all(servers.iter().map(|server| &server.name)).await;
            open.gateway.change(spec, servers).await;
            // It listens where it did, until it listens elsewhere.
            open.spec = Arc::new(GatewaySpec { listen: open.spec.listen, ..(**spec).clone() });
        }
        if before == Some(spec.listen) {
            return None;
        }
        // Two addresses of one port can't be had at a time.
        let is_in_the_way = before.is_some_and(|before| before.port() == spec.listen.port() && before.port() != 0);
        if let Some(open) = self.0.as_mut().filter(|_| is_in_the_way) {
            open.ended.cancel();
            let _closed = (&mut open.closed).await;
        }
        let stays = if before.is_some() { "the gateway stays where it was" } else { "the gateway is not there" };
        let mut wrong = None;
        let old = self.0.as_ref().map(|open| open.spec.clone()).filter(|_| is_in_the_way);
        for spec in [Some(spec.clone()), old].into_iter().flatten() {
            match Listener::bind(&spec, REMEDY).await {
                Ok(listener) => {
                    self.open((listener, spec), servers, common, tasks).await;
                    return wrong;
                }
                Err(why) => wrong = Some(told(format!("{stays}: {why:#}"))),
            }
        }
        wrong
    }
}

/// Notes what is wrong in the log.
fn told(what: String) -> String {
    error!(event = "ERROR_GATEWAY", "{what}");
    what
}
