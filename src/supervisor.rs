//! Owns everything of a run: the hub, its servers, and who shows them to which endpoint.
//!
//! # Theory of operation
//!
//! All servers run in one pipe, the hub. Servers that share an agent are a group ([`crate::sharing::layout`]),
//! and each group is a task (`Crew`), which holds the agent's lock (`claim`) and has links in the hub made and ended. In mode
//! `auto` it also hears what becomes of these; when they prove that the agent takes one connection only, they are ended, and one
//! link with all the servers takes their place. Groups know nothing of each other.
//!
//! One task takes all orders, one after the other: those of signals and of the control socket, and what the files say from which
//! the config is made (`watch`). What a changed config asks for is decided by `plan`.

mod admin;
mod claim;
mod crew;
mod front;
mod good;
mod guests;
mod herald;
mod hub;
mod lock;
mod losses;
mod orders;
mod plan;
mod reload;
mod roster;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::admin::AdminFront;
use self::crew::{Crew, CrewOrders, Entries, Entry};
use self::front::Front;
use self::guests::Guests;
use self::herald::Herald;
use self::hub::HubHandle;
pub(crate) use self::lock::holder;
use self::orders::Helm;
use self::plan::{GroupKey, Wanted};
use self::roster::Roster;
use self::watch::Watch;
use crate::catalogue::Catalogue;
use crate::config::{Config, Resolved, ServerSpec, Standby};
use crate::control::Opened;
use crate::control::metrics::Metrics;
use crate::control::orders::{Awaited, Instruction, NotGiven, Order, Sought};
use crate::control::status::Status;
use crate::error::Problems;
use crate::gateway::listener::Listener;
use crate::guest::Visitor;
use crate::lease::Leases;
use crate::net::wake::WakeWatch;
use crate::pipe::orders::orders;
use crate::pipe::{Limits, Pipe, Run};
use crate::process::guard::Guard;
use crate::process::stop::Stop;
use crate::process::systemd::{Step, Systemd};
use crate::router::turns::Turns;
use crate::sharing::layout::{Group, groups};

/// What all groups have in common.
#[derive(Clone)]
struct Common {
    run: Run,
    status: Status,
    roster: Roster,
    hub: HubHandle,
    entries: Entries,
    /// Where the agents' locks are; none are taken if `None`.
    locks: Option<PathBuf>,
    /// Where the state folder is; nothing is kept if `None`.
    state: Option<PathBuf>,
    /// By which it is agreed on with other daemons who serves an agent, if it is.
    leases: Option<Leases>,
    config: PathBuf,
    /// The place of the config, by which another mcp-pipe tells a person who we are.
    place: String,
}

impl Common {
    /// Has servers run, whether or not an endpoint shows them.
    async fn run_all(&self, names: impl Iterator<Item = &Arc<str>>) {
        for name in names {
            if let Some(entry) = self.entries.get(name) {
                self.hub.ensure(&entry, &self.run).await;
            }
        }
    }

    /// Has those run that stand in for others, as nothing shows them; in a cold standby not before the others run.
    async fn run_fallbacks(&self, servers: &[ServerSpec]) {
        let is_cold = self.leases.as_ref().is_some_and(|leases| leases.standby == Standby::Cold);
        let stand_in = servers.iter().filter(|server| server.bounds.stands_in);
        let is_due = |server: &&ServerSpec| {
            let name = Some(&*server.name);
            let mut served = servers.iter().filter(|other| other.bounds.fallback.as_deref() == name);
            !is_cold || served.any(|other| self.hub.runs(&other.name))
        };
        self.run_all(stand_in.filter(is_due).map(|server| &server.name)).await;
    }

    /// Has a server run, and the one that stands in for it.
    async fn run_with_fallback(&self, entry: &Entry) {
        self.hub.ensure(entry, &self.run).await;
        self.run_all(entry.spec.bounds.fallback.iter()).await;
    }
}

/// Where a run is dialled from its start on, and what is told of it there.
pub(crate) struct Listening {
    /// The gateway's place, if there is one.
    pub gateway: Option<Listener>,
    /// The admin address, if there is one.
    pub admin: Option<Listener>,
    pub metrics: Arc<Metrics>,
}

/// Reads the config again, as it was read at the start. Blocks.
pub(crate) type Reread = Arc<dyn Fn() -> Result<Resolved, Problems> + Send + Sync>;

/// Who is told of a run as a whole.
pub(crate) struct Audience {
    /// Whoever has started this process.
    pub systemd: Systemd,
    /// What is listened on besides the gateway.
    pub opened: Opened,
}

/// Runs the pipes that serve the servers of `config`, until `stop`. Every task has ended when this returns.
///
/// What comes on `instructions` is carried out meanwhile. `reread`: where the config comes from; it stays as it is without.
pub(crate) async fn serve(
    config: Config,
    guard: Guard,
    status: Status,
    (mut instructions, reread): (mpsc::Receiver<Instruction>, Option<Reread>),
    (stop, audience): (Stop, Audience),
    Listening { gateway: listener, admin: admin_listener, metrics }: Listening,
) {
    let wakes = WakeWatch::new();
    let Config {
        servers,
        endpoints,
        left_out,
        place,
        drain_timeout,
        local,
        log_contents,
        cache_dir,
        state_dir: state,
        tool_budget,
        inputs,
        gateway,
        admin,
        lease,
        log_file,
        written,
        ..
    } = config;
    status.leave_out(&left_out);
    let (kept_in, ran) = (state.clone(), place.clone());
    let fixed = reload::fixed((cache_dir.as_deref(), state.as_deref()), lease.as_deref(), &[]);
    let limits = Limits { drain_timeout, tool_budget };
    // No locks for a local endpoint, which nobody else can serve.
    let locks = cache_dir.clone().filter(|_| !local);
    let ended = CancellationToken::new();
    let (leases, keeper) = match &lease {
        Some(lease) => {
            let told = (guard.clone(), status.clone());
            let (leases, kept) = Leases::new(lease, state.as_deref(), told, &stop, ended.clone()).await;
            (Some(leases), Some(kept))
        }
        None => (None, None),
    };
    let catalogue = Arc::new(Catalogue::at(cache_dir));
    let (kept, seen) = (catalogue.clone(), status.clone());
    let (now, remembering) = (stop.clone(), catalogue.clone());
    let (wake, redactor, tap) = (wakes.subscribe(), status.redactor().clone(), status.tap().clone());
    let besides = status.besides();
    let run = Run { guard, wake, stop, limits, log_contents, catalogue, redactor, tap, besides };
    let (roster, (sender, orders)) = (Roster::default(), orders());
    let (hub, config, entries) = (HubHandle::new(sender), place, Entries::default());
    let place = config.display().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(Pipe::of(Vec::new(), Vec::new(), Box::new(Turns::default()), run.clone()).obeying(orders).run());
    let helm = Helm::new(roster.clone(), hub.clone(), left_out, status.clone());
    let common = Common { run, status, roster, hub, entries, locks, state, leases, config, place };
    let wanted = Wanted { groups: groups(&servers, &endpoints), servers, gateway, admin, limits, log_file, fixed };
    let (counts, good) =
        good::counting(written.filter(|_| reread.is_some()).map(|text| (text, Vec::new(), Instant::now())));
    let (crews, front, guests) = (Vec::new(), Front::default(), Guests::of(reread.is_some()));
    let (Audience { systemd, opened }, has_gateway, told) = (audience, listener.is_some(), common.hub.clone());
    let admin = AdminFront::of(metrics);
    let mut supervisor = Supervisor {
        common,
        helm,
        wanted,
        front,
        admin,
        guests,
        crews,
        tasks,
        refused: false,
        applied: None,
        counts,
        systemd: systemd.clone(),
    };
    // Entries are added in the order of the config, which groups may change.
    supervisor.wanted.servers.clone().into_iter().for_each(|spec| supervisor.add(spec));
    if let Some(listening) = admin_listener.zip(supervisor.wanted.admin.clone()) {
        let Supervisor { common, admin, tasks, .. } = &mut supervisor;
        admin.open(listening, common, tasks);
    }
    // Before servers are started for others: they have to suit the gateway's clients.
    if let Some(listening) = listener.zip(supervisor.wanted.gateway.clone()) {
        let Supervisor { common, wanted, front, tasks, .. } = &mut supervisor;
        front.open(listening, &wanted.servers, common, tasks).await;
    }
    supervisor.wanted.groups.clone().into_iter().for_each(|group| supervisor.begin(group));
    supervisor.common.run_fallbacks(&supervisor.wanted.servers).await;
    let (watching, over) = (ended.clone(), ended.clone());
    let obeyed = async {
        let mut losses = pin!(losses::note(&kept, &seen));
        let mut watch = if reread.is_some() { Watch::of(inputs).await } else { Watch::default() };
        let mut is_told = false;
        loop {
            tokio::select! {
                Some(done) = supervisor.tasks.join_next() => {
                    if note_fault(done) {
                        // What is left serves nobody and would say that all is well: whoever watches over mcp-pipe starts another one.
                        seen.set_faulted();
                        now.advance();
                    }
                    if supervisor.tasks.is_empty() {
                        break;
                    }
                }
                Some(instruction) = instructions.recv() => match instruction {
                    Instruction::Order(Order::Reload, reply) if !now.drain().is_cancelled() => {
                        let told = supervisor.reload(reread.as_ref(), &mut watch, BTreeSet::new()).await;
                        let _gone = reply.send(told);
                    }
                    Instruction::Reload(name) if !now.drain().is_cancelled() => {
                        info!(event = "COMMAND", "{name}: the config is read again");
                        let _logged = supervisor.reload(reread.as_ref(), &mut watch, BTreeSet::new()).await;
                    }
                    Instruction::Receive(server, reply) if !now.drain().is_cancelled() => {
                        let _gone = reply.send(supervisor.receive(server.as_deref()).await);
                    }
                    Instruction::Order(Order::EndSession { name }, reply) if !now.drain().is_cancelled() => {
                        let Supervisor { front, tasks, .. } = &mut supervisor;
                        let _gone = reply.send(front.end_sessions(name.as_deref(), tasks));
                    }
                    Instruction::Sessions(reply) if !now.drain().is_cancelled() => {
                        let _gone = reply.send(supervisor.front.sessions());
                    }
                    other @ (Instruction::Order(..)
                    | Instruction::Signal(..)
                    | Instruction::Reload(_)
                    | Instruction::Sessions(_)
                    | Instruction::Receive(..)) => supervisor.helm.obey(other, &now),
                },
                () = now.drain().cancelled(), if !is_told => {
                    is_told = true;
                    seen.set_stopping();
                    let _unread = systemd.step(Step::Stop);
                }
                never = &mut losses => match never {},
                changed = watch.changed(), if reread.is_some() && !now.drain().is_cancelled() => {
                    let _logged = supervisor.reload(reread.as_ref(), &mut watch, changed).await;
                }
            }
        }
        ended.cancel();
    };
    let heralded = async {
        let herald = Herald { systemd: &systemd, status: &seen, hub: &told, stop: &now };
        tokio::select! {
            never = herald.tell(opened, has_gateway) => match never {},
            () = over.cancelled() => {}
        }
    };
    let keeping = ended.clone();
    let good = async {
        tokio::select! {
            never = good::keep(good, kept_in, &ran, &seen) => match never {},
            () = keeping.cancelled() => {}
        }
    };
    let leased = async {
        if let Some(keeper) = keeper {
            keeper.await;
        }
    };
    tokio::join!(obeyed, wakes.run(watching), heralded, good, leased);
    tokio::select! {
        () = remembering.finish() => {}
        () = now.now().cancelled() => {}
    }
}

/// A run under way.
struct Supervisor {
    common: Common,
    helm: Helm,
    /// What the config says that counts.
    wanted: Wanted,
    crews: Vec<Working>,
    front: Front,
    admin: AdminFront,
    guests: Guests,
    /// The hub, the gateway and all crews.
    tasks: JoinSet<()>,
    /// The config was last found to have mistakes.
    refused: bool,
    /// When a changed file was last applied by itself, and what came of it.
    applied: Option<Applied>,
    /// The config that counts, as it is written.
    counts: good::Counts,
    systemd: Systemd,
}

/// What has come of a change of the config.
struct Applied {
    at: Instant,
    told: String,
    /// What is waited for by whoever asks, and for how long.
    awaited: Awaited,
    within: Duration,
}

/// A crew at work.
struct Working {
    key: GroupKey,
    changes: mpsc::Sender<(Group, oneshot::Sender<()>)>,
    ended: CancellationToken,
    /// Ready when the crew is no more.
    gone: oneshot::Receiver<()>,
}

impl Supervisor {
    /// Adds a server, which runs as soon as an endpoint is to show it.
    fn add(&mut self, spec: ServerSpec) {
        let status = self.common.status.add_server(&spec.name);
        status.configured(&spec);
        let goal = self.helm.add(&spec, status.clone());
        self.common.entries.put(Entry { spec: Arc::new(spec), status, goal });
    }

    /// Receives a guest that is to see all servers, or the one of this name. Returns the end at which the guest is.
    async fn receive(&mut self, server: Option<&str>) -> Result<Visitor, NotGiven> {
        let Supervisor { common, helm, wanted, guests, .. } = self;
        if let Some(name) = server.filter(|name| wanted.servers.iter().all(|server| *server.name != **name)) {
            return Err(helm.unknown(name, Sought::Server));
        }
        let received = guests.receive(server, &wanted.servers, common).await;
        received.ok_or_else(|| NotGiven::Impossible("mcp-pipe is stopping, or its servers are being changed".into()))
    }

    /// Has a group served.
    fn begin(&mut self, group: Group) {
        let key = GroupKey::of(&group);
        let ((changes, told), ended) = (mpsc::channel(1), CancellationToken::new());
        let (done, gone) = oneshot::channel();
        let (crew, orders) =
            (Crew::new(group, self.common.clone()), CrewOrders { changes: told, ended: ended.clone() });
        self.tasks.spawn(async move {
            crew.run(orders).await;
            let _nobody_waits = done.send(());
        });
        self.crews.push(Working { key, changes, ended, gone });
    }
}

/// One task has ended; one that panicked has ended as well. Returns whether it did.
fn note_fault(done: Result<(), JoinError>) -> bool {
    let Err(panic) = done else { return false };
    error!(event = "ERROR_PIPE", "a pipe ended by a fault of mcp-pipe itself, which stops now: {panic}");
    true
}
