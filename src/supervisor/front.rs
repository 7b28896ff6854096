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
use crate::gateway::listener::{Host, Listener};
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
    /// Ready when nobody listens any more; `None`: it was.
    closed: Option<oneshot::Receiver<()>>,
}

impl Open {
    /// Has nobody listen any more. What is under way goes on for a while.
    async fn close(&mut self) {
        self.ended.cancel();
        if let Some(closed) = self.closed.take() {
            let _closed = closed.await;
        }
    }

    /// Listens where a config says. Two addresses of one port can't be had at a time: for such a one nobody listens at the old any more.
    async fn place_of(&mut self, spec: &GatewaySpec) -> anyhow::Result<Listener> {
        if spec.listen.port() == self.spec.listen.port() && spec.listen.port() != 0 {
            Listener::check(spec.tls.as_ref()).await?;
            self.close().await;
        }
        Listener::bind(spec.listen, spec.tls.as_ref(), REMEDY).await
    }
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
                let kept = Kept::open(common.state.clone(), &common.config, spec.session_key.as_ref()).await;
                let survival = Survival { kept, stopping: common.run.stop.drain().clone() };
                let (reception, status) = (common.hub.reception(), common.status.clone());
                Arc::new(Gateway::new(&spec, servers, reception, status, survival))
            }
        };
        common.hub.open().await;
        common.run_all(servers.iter().map(|server| &server.name)).await;
        let (ended, (open, closed)) = (common.run.stop.drain().child_token(), oneshot::channel());
        tasks.spawn(listener.serve(
            Host::Gateway(gateway.clone()),
            (ended.clone(), open),
            common.run.limits.drain_timeout,
        ));
        if let Some(before) = self.0.replace(Open { gateway, spec, ended, closed: Some(closed) }) {
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
            self.end(common);
            return None;
        };
        let Some(open) = &mut self.0 else {
            return match Listener::bind(spec.listen, spec.tls.as_ref(), REMEDY).await {
                Ok(listener) => {
                    self.open((listener, spec.clone()), servers, common, tasks).await;
                    None
                }
                Err(why) => Some(told(format!("the gateway is not there: {why:#}"))),
            };
        };
        common.run_all(servers.iter().map(|server| &server.name)).await;
        let old = open.spec.clone();
        let (mut bound, mut wrong) = (None, None);
        if old.listen != spec.listen {
            match open.place_of(spec).await {
                Ok(listener) => bound = Some((listener, spec.clone())),
                Err(why) if open.closed.is_some() => wrong = Some(why),
                Err(why) => match Listener::bind(old.listen, old.tls.as_ref(), REMEDY).await {
                    Ok(listener) => (bound, wrong) = (Some((listener, old.clone())), Some(why)),
                    Err(again) => {
                        self.end(common);
                        return Some(told(format!("the gateway is not there any more: {why:#}; {again:#}")));
                    }
                },
            }
        }
        // What the config says of one address counts there only: it may let anybody in where nobody else comes.
        let counts = if wrong.is_none() { spec } else { &old };
        if bound.is_some() {
            open.close().await;
        }
        open.gateway.change(counts, servers).await;
        open.spec = counts.clone();
        if let Some(bound) = bound {
            self.open(bound, servers, common, tasks).await;
        }
        wrong.map(|why| told(format!("the gateway stays where it was, and as it was: {why:#}")))
    }

    /// Ends it, with its clients.
    fn end(&mut self, common: &Common) {
        if let Some(open) = self.0.take() {
            info!(event = "GATEWAY", "no MCP client is served any more");
            common.status.set_gateway(None);
            open.ended.cancel();
            open.gateway.end_all();
        }
    }
}

/// Notes what is wrong in the log.
fn told(what: String) -> String {
    error!(event = "ERROR_GATEWAY", "{what}");
    what
}
