//! Keeps this daemon's lease, and what is bound to it: asks the engine, minds the time, and tells whoever serves an agent.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Standing;
use super::clock::{Moment, now, until};
use super::engine::{Engine, EngineError, Epoch, LeaseId, Release, Renewed, View};
use super::roll::{Begin, Roll};
use crate::control::status::Status;
use crate::endpoint::agent::LeaseKey;
use crate::process::guard::Guard;
use crate::words::{counted, span};

/// How long before the end of a lease all connections are cut. What lies between the engine's clock and ours must fit in, and what a busy
/// machine takes to close them.
const EARLY: Duration = Duration::from_secs(1);
/// How long before the end of a lease the watcher process kills a daemon whose connections may still be open.
const KILL: Duration = Duration::from_millis(500);
/// How long a daemon that has just begun waits for others that have begun with it before it takes agents, so that not all go to the first.
const SETTLING: Duration = Duration::from_secs(1);
/// Pause before another try where the engine was not reached.
const AGAIN: Duration = Duration::from_millis(300);
/// The same where it refused: a person has to put something right.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);
/// Most agents that are asked for at the same time: each takes a connection, where the engine speaks HTTP/1.1.
const AT_ONCE: usize = 8;
/// Longest time that giving back a lease may take at a stop: it runs out by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the keeper is asked by those who serve agents.
#[derive(Debug)]
pub(super) enum Ask {
    /// To get an agent, and to tell how it stands with that.
    Want { agent: LeaseKey, number: u64, tell: watch::Sender<Standing> },
    /// That no connection is open any more, and the agent not wanted by this one.
    Leave { agent: LeaseKey, number: u64 },
}

/// See the module's documentation.
pub(super) struct Keeper<E> {
    engine: Arc<E>,
    ttl: Duration,
    guard: Guard,
    status: Status,
    session: Session,
    roll: Roll,
    view: watch::Receiver<Option<View>>,
    /// What the engine is asked at present: as much as there are agents, and two.
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Before this no agent is taken.
    settled: Option<Moment>,
    /// No agent is taken any more.
    draining: bool,
    /// What the watcher process was last told.
    guarded: Option<Moment>,
    /// Why the lease can't be kept at present.
    trouble: Option<EngineError>,
    /// Why it can't be seen at present what others hold: no agent is taken without that.
    blind: Option<String>,
    /// Why an agent that is free was not got when it was last asked for.
    denied: Option<String>,
    /// All is to be given back, and nothing more to be done.
    finishing: bool,
}

/// How it stands with the lease itself.
#[derive(Debug)]
enum Session {
    /// There is none. The next one begins then.
    Absent { again: Moment },
    /// The engine is asked for one.
    Beginning,
    /// It lives.
    Live(Term),
    /// It counts for nothing any more. Once no connection is open, it is given back.
    Over(LeaseId),
    /// It is being given back.
    Ending,
}

/// A lease that lives.
#[derive(Debug, Clone, Copy)]
struct Term {
    lease: LeaseId,
    /// When it may end.
    end: Moment,
    /// When it is renewed next; `None` while it is.
    renew: Option<Moment>,
}

/// What has been done.
enum Done {
    Begun { sent: Moment, result: Result<Renewed, EngineError> },
    Renewed { lease: LeaseId, sent: Moment, held: Vec<(LeaseKey, Epoch)>, result: Result<Renewed, EngineError> },
    Acquired { lease: LeaseId, agent: LeaseKey, result: Result<Option<Epoch>, EngineError> },
    Released { lease: LeaseId, agent: LeaseKey, epoch: Epoch, result: Result<(), EngineError> },
    Left,
    GivenBack(Result<(), EngineError>),
}

impl<E: Engine> Keeper<E> {
    pub(super) fn new(engine: E, ttl: Duration, guard: Guard, status: Status) -> Self {
        Keeper {
            engine: Arc::new(engine),
            ttl,
            guard,
            status,
            session: Session::Absent { again: Moment::ZERO },
            roll: Roll::default(),
            view: watch::channel(None).1,
            work: FuturesUnordered::new(),
            settled: None,
            draining: false,
            guarded: None,
            trouble: None,
            blind: None,
            denied: None,
            finishing: false,
        }
    }

    /// Keeps the lease until `ended`, and then until all is given back. `drain`: no agent is to be taken any more.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::UnboundedReceiver<Ask>,
        drain: CancellationToken,
        ended: CancellationToken,
    ) {
        let (seen, view) = watch::channel(None);
        // One is as good as many.
        let (tell, mut blind) = mpsc::channel(1);
        self.view = view;
        let (engine, again) = (self.engine.clone(), self.ttl / 6);
        let watching = async move {
            loop {
                let error = engine.watch(seen.clone()).await;
                debug!(event = "LEASE_WATCH", "what other daemons hold is not told at present: {error}");
                if let EngineError::Refused(why) = &error {
                    // Nothing that was seen before counts until this is put right, and what is seen then is news.
                    seen.send_replace(None);
                    let _told_before = tell.try_send(why.clone());
                }
                // A login costs etcd much time, also one that it refuses.
                sleep(again.max(pause(&error))).await;
            }
        };
        tokio::select! {
            () = self.keep(&mut asks, &mut blind, (drain, ended)) => {}
            never = watching => never,
        }
    }

    async fn keep(
        &mut self,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        blind: &mut mpsc::Receiver<String>,
        (drain, ended): (CancellationToken, CancellationToken),
    ) {
        loop {
            let next = self.advance(now());
            if self.finishing && matches!(self.session, Session::Absent { .. }) && !self.roll.may_be_open() {
                return;
            }
            tokio::select! {
                Some(ask) = asks.recv() => match ask {
                    Ask::Want { agent, number, tell } => {
                        self.roll.want(agent, number, tell);
                        self.look();
                    }
                    Ask::Leave { agent, number } => self.roll.leave(agent, number),
                },
                Some(done) = self.work.next() => self.take(done, now()),
                Ok(()) = self.view.changed() => self.look(),
                () = ended.cancelled(), if !self.finishing => (self.finishing, self.draining) = (true, true),
                Some(why) = blind.recv() => self.is_blind(why),
                () = drain.cancelled(), if !self.draining => {
                    self.draining = true;
                    if let Session::Live(Term { lease, .. }) = self.session {
                        // Nobody is to wait for us from now on.
                        let engine = self.engine.clone();
                        self.begin(async move {
                            let _told = engine.release(lease, Release::Node).await;
                            Done::Left
                        });
                    }
                }
                () = until(next) => {}
            }
        }
    }

    /// Compares what is wanted with what the engine has.
    fn look(&mut self) {
        let us = self.lease();
        let seen = self.view.borrow_and_update().as_ref().map(|view| self.roll.see(view, us, now()));
        // Somebody else may be about to dial, so what the majority says is not left to the next renewal. What is seen may be old.
        if let (Some(true), Session::Live(Term { renew: Some(at), .. })) = (seen, &mut self.session) {
            *at = Moment::ZERO;
        }
        if seen.is_some() && self.blind.take().is_some() {
            info!(event = "LEASE_ENGINE", "what other daemons hold can be seen again");
            self.tell_trouble();
        }
    }

    /// Gives back what is bound to our lease and nobody wants, as where the answer to somebody was lost who has gone since. What is seen may
    /// be old: what was given back already is given back once more. To be called now and then: each time there is as much to do again.
    fn clear(&self) {
        let Some(lease) = self.lease() else { return };
        let view = self.view.borrow();
        let ours = view.iter().flat_map(|view| &view.agents).filter(|(_, holder)| holder.lease == lease);
        for (agent, holder) in ours.filter(|(agent, _)| !self.roll.knows(**agent)) {
            let (engine, what) = (self.engine.clone(), Release::Agent(*agent, holder.since));
            self.begin(async move {
                let _told = engine.release(lease, what).await;
                Done::Left
            });
        }
    }

    /// The lease that lives.
    fn lease(&self) -> Option<LeaseId> {
        match self.session {
            Session::Live(Term { lease, .. }) => Some(lease),
            Session::Absent { .. } | Session::Beginning | Session::Over(_) | Session::Ending => None,
        }
    }

    fn begin(&self, work: impl Future<Output = Done> + Send + 'static) {
        self.work.push(Box::pin(work));
    }

    /// Does what is due now. Returns when something is due again.
    fn advance(&mut self, now: Moment) -> Moment {
        let far = now + Duration::from_secs(3600);
        if let Session::Live(term) = self.session
            && now + EARLY >= term.end
        {
            self.give_up(term.lease, "it could not be renewed in time", now);
        }
        if self.denied.is_some() && !self.roll.is_short() {
            self.is_denied(None);
        }
        for (agent, epoch) in self.roll.release() {
            match self.lease() {
                Some(lease) => {
                    let engine = self.engine.clone();
                    self.begin(async move {
                        let result = engine.release(lease, Release::Agent(agent, epoch)).await;
                        Done::Released { lease, agent, epoch, result }
                    });
                }
                // It ends with the lease, of which the engine is told, or which it has forgotten.
                None => self.roll.released(agent, now),
            }
        }
        let mut next = far;
        match &mut self.session {
            Session::Absent { again } if self.draining => *again = far,
            Session::Absent { again } if *again > now => next = *again,
            Session::Absent { .. } => {
                let engine = self.engine.clone();
                self.session = Session::Beginning;
                self.begin(async move {
                    let sent = super::clock::now();
                    Done::Begun { sent, result: engine.renew(None, Vec::new()).await }
                });
            }
            Session::Over(lease) if !self.roll.is_closing() => {
                let lease = *lease;
                self.give_back(lease);
            }
            Session::Live(term) => {
                if self.finishing && !self.roll.may_be_open() {
                    let lease = term.lease;
                    self.roll.lose_all(now);
                    self.give_back(lease);
                } else {
                    next = term.end - EARLY;
                    match term.renew {
                        Some(at) if at <= now => {
                            term.renew = None;
                            let lease = term.lease;
                            self.renew(lease);
                        }
                        Some(at) => next = next.min(at),
                        None => {}
                    }
                }
            }
            Session::Beginning | Session::Over(_) | Session::Ending => {}
        }
        match (self.lease(), self.settled) {
            (Some(lease), Some(first)) if first <= now && !self.draining => {
                let begin = Begin { first, rest: first + self.settling() };
                for agent in self.roll.ask(now, begin, AT_ONCE) {
                    let engine = self.engine.clone();
                    self.begin(
                        async move { Done::Acquired { lease, agent, result: engine.acquire(lease, agent).await } },
                    );
                }
                // What is due and was not asked for waits for an answer to another.
                next = next.min(self.roll.next(begin).filter(|at| *at > now).unwrap_or(far));
            }
            (Some(_), Some(first)) if !self.draining => next = next.min(first),
            _ => {}
        }
        self.guard();
        next
    }

    /// How long to wait for others that have begun with us, and to be waited for.
    fn settling(&self) -> Duration {
        SETTLING.max(self.ttl / 6)
    }

    /// Tells the watcher process until when connections may be open.
    fn guard(&mut self) {
        let at = match self.session {
            Session::Live(Term { end, .. }) => Some(end - KILL),
            // What was told counts until everything is closed.
            Session::Over(_) => self.guarded,
            Session::Absent { .. } | Session::Beginning | Session::Ending => None,
        };
        let at = at.filter(|_| self.roll.may_be_open());
        if self.guarded != at {
            self.guarded = at;
            self.guard.kill_at(at);
        }
    }

    fn renew(&self, lease: LeaseId) {
        let (engine, held): (_, Vec<_>) = (self.engine.clone(), self.roll.held().collect());
        self.begin(async move {
            let sent = super::clock::now();
            let result = engine.renew(Some(lease), held.clone()).await;
            Done::Renewed { lease, sent, held, result }
        });
    }

    fn give_back(&mut self, lease: LeaseId) {
        let engine = self.engine.clone();
        self.session = Session::Ending;
        self.begin(async move {
            let late = || EngineError::Unreachable("it has not answered in time".to_owned());
            let given = timeout(FAREWELL, engine.release(lease, Release::All)).await;
            Done::GivenBack(given.unwrap_or_else(|_| Err(late())))
        });
    }

    /// The lease counts for nothing any more: every connection is to be closed.
    fn give_up(&mut self, lease: LeaseId, why: &str, now: Moment) {
        self.session = Session::Over(lease);
        let lost = self.roll.lose_all(now);
        if lost > 0 {
            warn!(
                event = "LEASE_LOST",
                "the lease counts no longer, as {why}: connections are closed, of {}",
                counted(lost, "agent")
            );
        }
    }

    /// Takes what has been done.
    fn take(&mut self, done: Done, now: Moment) {
        match done {
            Done::Begun { sent, result: Ok(renewed) } => {
                self.session = Session::Live(Term::of(&renewed, sent));
                self.settled = self.settled.or(Some(now + self.settling()));
                self.is_well();
                self.look();
            }
            Done::Begun { result: Err(error), .. } => {
                self.session = Session::Absent { again: now + pause(&error) };
                self.is_troubled(&error, None);
            }
            Done::Renewed { lease, sent, held, result } if self.lease() == Some(lease) => match result {
                Ok(renewed) => {
                    for (agent, epoch) in held.into_iter().filter(|(agent, _)| renewed.missing.contains(agent)) {
                        // It may have been lost and got again meanwhile.
                        if self.roll.held().any(|held| held == (agent, epoch)) && self.roll.lose(agent) {
                            warn!(event = "LEASE_LOST", %agent, "somebody has taken an agent away at the engine: its connections are closed");
                        }
                    }
                    self.session = Session::Live(Term::of(&renewed, sent));
                    self.is_well();
                    self.clear();
                }
                Err(EngineError::Over) => self.give_up(lease, "the engine has ended it", now),
                Err(error) => {
                    let Session::Live(term) = &mut self.session else { return };
                    term.renew = Some(now + pause(&error));
                    let left = (term.end - EARLY).saturating_sub(now);
                    self.is_troubled(&error, Some(left));
                }
            },
            Done::Acquired { lease, agent, result } if self.lease() == Some(lease) => {
                let epoch = match result {
                    Ok(epoch) => {
                        self.is_denied(None);
                        epoch
                    }
                    Err(error) => {
                        debug!(event = "LEASE_ENGINE", %agent, "an agent was asked for, and {error}");
                        self.is_denied((error != EngineError::Over).then(|| error.to_string()));
                        None
                    }
                };
                // Before anybody hears of it, the watcher knows until when connections may be open: this task does not wait before that.
                self.roll.answered(agent, epoch, now);
                self.look();
            }
            Done::Released { lease, agent, epoch, result } if self.lease() == Some(lease) => {
                match result {
                    Ok(()) => self.roll.released(agent, now),
                    // Nobody else gets it before. The lease may live on for long.
                    Err(_) => {
                        let engine = self.engine.clone();
                        self.begin(async move {
                            sleep(AFTER_REFUSAL).await;
                            let result = engine.release(lease, Release::Agent(agent, epoch)).await;
                            Done::Released { lease, agent, epoch, result }
                        });
                    }
                }
                self.look();
            }
            Done::Renewed { .. } | Done::Acquired { .. } | Done::Released { .. } | Done::Left => {}
            Done::GivenBack(result) => {
                if let Err(error) = &result {
                    debug!(event = "LEASE_ENGINE", "the lease could not be given back, and ends by itself: {error}");
                }
                self.session = Session::Absent { again: now + if result.is_ok() { Duration::ZERO } else { AGAIN } };
            }
        }
    }

    /// The engine does what it is asked.
    fn is_well(&mut self) {
        if self.trouble.take().is_some() {
            info!(event = "LEASE_ENGINE", "the engine of leases answers again");
            self.tell_trouble();
        }
    }

    /// What others hold can't be seen.
    fn is_blind(&mut self, why: String) {
        if self.blind.as_ref() != Some(&why) {
            warn!(event = "LEASE_ENGINE", "no agent can be got, as what other daemons hold can't be seen: {why}");
            self.blind = Some(why);
            self.tell_trouble();
        }
    }

    /// A free agent is not got; `None`: one was, or nobody wants one any more.
    fn is_denied(&mut self, why: Option<String>) {
        if self.denied == why {
            return;
        }
        if let Some(why) = &why {
            warn!(event = "LEASE_ENGINE", "an agent that is free can't be got: {why}");
        }
        self.denied = why;
        self.tell_trouble();
    }

    fn tell_trouble(&self) {
        let trouble = self.trouble.as_ref().map(EngineError::to_string);
        self.status.set_lease_trouble(trouble.or_else(|| self.blind.clone()).or_else(|| self.denied.clone()));
    }

    /// The lease can't be kept. `left`: how long until connections are closed.
    fn is_troubled(&mut self, error: &EngineError, left: Option<Duration>) {
        let why = error.to_string();
        let before = self.trouble.replace(error.clone());
        self.tell_trouble();
        // One member after the other is asked, and each fails in its own words.
        if before.is_some_and(|before| std::mem::discriminant(&before) == std::mem::discriminant(error)) {
            return;
        }
        let then = match left {
            Some(left) if self.roll.may_be_open() => {
                format!("; unless it answers, connections are closed in {}", span(left))
            }
            Some(_) | None => "; no endpoint is dialled meanwhile".to_owned(),
        };
        warn!(event = "LEASE_ENGINE", "the lease can't be kept: {why}{then}");
    }
}

impl Term {
    fn of(renewed: &Renewed, sent: Moment) -> Self {
        Term { lease: renewed.lease, end: sent + renewed.ttl, renew: Some(sent + renewed.ttl / 3) }
    }
}

fn pause(error: &EngineError) -> Duration {
    match error {
        EngineError::Over | EngineError::Unreachable(_) => AGAIN,
        EngineError::Refused(_) => AFTER_REFUSAL,
    }
}
