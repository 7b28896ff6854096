//! The admin address of a run: there as long as the config has one.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Common;
use crate::config::AdminSpec;
use crate::control::metrics::Metrics;
use crate::gateway::admin::Admin;
use crate::gateway::listener::{Host, Listener};

/// What to do where it can't move by a reload.
const REMEDY: &str = "free it and run mcp-pipe reload, or name another one in `listen` of `admin`";

/// See the module's documentation.
pub(super) struct AdminFront {
    metrics: Arc<Metrics>,
    open: Option<Open>,
}

struct Open {
    admin: Arc<Admin>,
    spec: Arc<AdminSpec>,
    ended: CancellationToken,
    /// Ready when nobody listens any more.
    closed: oneshot::Receiver<()>,
}

impl Open {
    /// Has nobody listen any more.
    async fn close(self) {
        self.ended.cancel();
        let _closed = self.closed.await;
    }
}

impl AdminFront {
    /// It is nowhere yet.
    pub(super) fn of(metrics: Arc<Metrics>) -> Self {
        AdminFront { metrics, open: None }
    }

    /// Answers whoever dials `listener`.
    pub(super) fn open(
        &mut self,
        (listener, spec): (Listener, Arc<AdminSpec>),
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) {
        let admin = Arc::new(Admin::new(&spec, self.metrics.clone()));
        let (ended, (open, closed)) = (common.run.stop.drain().child_token(), oneshot::channel());
        let serving =
            listener.serve(Host::Admin(admin.clone()), (ended.clone(), open), common.run.limits.drain_timeout);
        tasks.spawn(serving);
        self.open = Some(Open { admin, spec, ended, closed });
    }

    /// Reads the files of its encryption anew. Returns what is wrong.
    pub(super) async fn renew(&self) -> Option<String> {
        let failed = self.open.as_ref()?.admin.encrypt_anew().await.err()?;
        Some(told(format!("the certificate of the admin address that was read before still counts: {failed:#}")))
    }

    /// Whether it listens elsewhere than a config says, or nowhere.
    pub(super) fn is_elsewhere(&self, spec: Option<&Arc<AdminSpec>>) -> bool {
        self.open.as_ref().map(|open| open.spec.listen) != spec.map(|spec| spec.listen)
    }

    /// Has another config count. Returns what is wrong.
    pub(super) async fn change(
        &mut self,
        spec: Option<&Arc<AdminSpec>>,
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) -> Option<String> {
        let before = self.open.take();
        let Some(spec) = spec else {
            let open = before?;
            info!(event = "ADMIN", "figures and health are told nowhere any more");
            open.close().await;
            return None;
        };
        match before {
            Some(mut open) if open.spec.listen == spec.listen => {
                open.admin.change(spec);
                open.spec = spec.clone();
                self.open = Some(open);
                None
            }
            Some(open) => self.move_to(spec, open, common, tasks).await,
            None => match bind(spec).await {
                Ok(listener) => {
                    self.open((listener, spec.clone()), common, tasks);
                    None
                }
                Err(why) => Some(told(format!("the admin address is not there: {why:#}"))),
            },
        }
    }

    /// Has it be elsewhere, or where it is if that can't be.
    async fn move_to(
        &mut self,
        spec: &Arc<AdminSpec>,
        open: Open,
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) -> Option<String> {
        let old = open.spec.clone();
        // Two addresses of one port can't be had at a time.
        let (bound, open) = if spec.listen.port() == old.listen.port() && spec.listen.port() != 0 {
            open.close().await;
            (bind(spec).await, None)
        } else {
            (bind(spec).await, Some(open))
        };
        match (bound, open) {
            (Ok(listener), before) => {
                self.open((listener, spec.clone()), common, tasks);
                if let Some(before) = before {
                    before.close().await;
                }
                None
            }
            (Err(why), Some(before)) => {
                self.open = Some(before);
                Some(told(format!("the admin address stays where it was: {why:#}")))
            }
            (Err(why), None) => match bind(&old).await {
                Ok(listener) => {
                    self.open((listener, old), common, tasks);
                    Some(told(format!("the admin address stays where it was: {why:#}")))
                }
                Err(again) => Some(told(format!("the admin address is not there any more: {why:#}; {again:#}"))),
            },
        }
    }
}

async fn bind(spec: &AdminSpec) -> anyhow::Result<Listener> {
    Listener::bind(spec.listen, spec.tls.as_ref(), REMEDY).await
}

/// Notes what is wrong in the log.
fn told(what: String) -> String {
    error!(event = "ERROR_ADMIN", "{what}");
    what
}
