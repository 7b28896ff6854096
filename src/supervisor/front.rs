//! The gateway of a run: there as long as the config has one, at the address that it names.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Common;
use crate::config::{GatewaySpec, ServerSpec};
use crate::gateway::Gateway;
use crate::gateway::listener::Listener;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Front(Option<Open>);

struct Open {
    gateway: Arc<Gateway>,
    spec: Arc<GatewaySpec>,
    ended: CancellationToken,
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
            None => Arc::new(Gateway::new(&spec, servers, common.hub.sender(), common.status.clone())),
        };
        common.hub.open().await;
        run_all(servers, common).await;
        let ended = common.run.stop.drain().child_token();
        tasks.spawn(listener.serve(gateway.clone(), ended.clone(), common.run.limits.drain_timeout));
        if let Some(before) = self.0.replace(Open { gateway, spec, ended }) {
            before.ended.cancel();
        }
    }

    /// Reads the files of its encryption anew: they may hold something else, whatever the config says.
    pub(super) async fn renew(&self) {
        if let Some(open) = &self.0
            && let Err(why) = open.gateway.encrypt_anew().await
        {
            error!(event = "ERROR_GATEWAY", "the certificate that was read before still counts: {why:#}");
        }
    }

    /// Has another config count.
    pub(super) async fn change(
        &mut self,
        spec: Option<&Arc<GatewaySpec>>,
        servers: &[ServerSpec],
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(spec) = spec else {
            if let Some(open) = self.0.take() {
                info!(event = "GATEWAY", "no MCP client is served any more");
                common.status.set_gateway(None);
                open.ended.cancel();
                open.gateway.end_all();
            }
            return;
        };
        let is_moved = self.0.as_ref().is_none_or(|open| open.spec.listen != spec.listen);
        if let Some(open) = &mut self.0 {
            run_all(servers, common).await;
            open.gateway.change(spec, servers).await;
            open.spec = spec.clone();
        }
        if is_moved {
            match Listener::bind(spec).await {
                Ok(listener) => self.open((listener, spec.clone()), servers, common, tasks).await,
                Err(why) => error!(event = "ERROR_GATEWAY", "{why:#}"),
            }
        }
    }
}

/// Has every server run, whether or not an endpoint shows it.
async fn run_all(servers: &[ServerSpec], common: &Common) {
    for server in servers {
        if let Some(entry) = common.entries.get(&server.name) {
            common.hub.ensure(&entry, &common.run.catalogue).await;
        }
    }
}
