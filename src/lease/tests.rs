//! Keepers against an engine in memory, by a clock that stands still unless all wait: never two at the same time, whatever fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, EngineError, Holder, LeaseId, Release, Renewed, View};
use super::keeper::{Ask, Keeper};
use super::roll::Roll;
use super::{Epoch, Leases, Standing};
use crate::config::Standby;
use crate::control::status::Status;
use crate::endpoint::agent::LeaseKey;
use crate::process::guard::Guard;

const TTL: Duration = Duration::from_secs(3);
/// How long a request that gets no answer is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What all daemons see.
#[derive(Default)]
struct World {
    revision: u64,
    leases: BTreeMap<LeaseId, Instant>,
    view: View,
    epochs: BTreeMap<LeaseKey, Epoch>,
    /// Who has a connection of each agent open.
    open: BTreeMap<LeaseKey, usize>,
}

impl World {
    /// What has run out is gone.
    fn expire(&mut self) {
        let now = Instant::now();
        self.leases.retain(|_, end| *end > now);
        let leases: Vec<LeaseId> = self.leases.keys().copied().collect();
        self.view.nodes.retain(|lease, _| leases.contains(lease));
        self.view.agents.retain(|_, holder| leases.contains(&holder.lease));
    }
}

/// The way of one daemon to the engine.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// Nothing gets through.
    cut: bool,
    /// What is asked is done, and the answer does not arrive.
    deaf: bool,
    /// What is asked is done, but to say what others hold.
    blind: bool,
    /// The same, but to give agents away.
    full: bool,
    takes: Duration,
}

#[derive(Clone)]
struct Fake {
    world: Arc<Mutex<World>>,
    way: Arc<Mutex<Way>>,
    node: Arc<str>,
}

impl Fake {
    async fn ask<T>(&self, work: impl FnOnce(&mut World) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let way = *self.way.lock().unwrap();
        let lost = || EngineError::Unreachable("no answer".to_owned());
        if way.cut {
            sleep(PATIENCE).await;
            return Err(lost());
        }
        sleep(way.takes / 2).await;
        let done = {
            let mut world = self.world.lock().unwrap();
            world.expire();
            work(&mut world)
        };
        sleep(way.takes / 2).await;
        if way.deaf { Err(lost()) } else { done }
    }
}

impl Engine for Fake {
    async fn acquire(&self, lease: LeaseId, agent: LeaseKey) -> Result<Option<Epoch>, EngineError> {
        let (node, way) = (self.node.clone(), *self.way.lock().unwrap());
        self.ask(|world| {
            if way.full {
                return Err(EngineError::Unreachable("database space exceeded".to_owned()));
            }
            if !world.leases.contains_key(&lease) {
                return Err(EngineError::Over);
            }
            match world.view.agents.get(&agent) {
                Some(holder) if holder.lease == lease => Ok(world.epochs.get(&agent).copied()),
                Some(_) => Ok(None),
                None => {
                    world.revision += 1;
                    world.epochs.insert(agent, world.revision);
                    world.view.agents.insert(agent, Holder { lease, node, since: world.revision });
                    Ok(Some(world.revision))
                }
            }
        })
        .await
    }

    async fn renew(&self, lease: Option<LeaseId>, held: Vec<(LeaseKey, Epoch)>) -> Result<Renewed, EngineError> {
        let node = self.node.clone();
        self.ask(|world| {
            let end = Instant::now() + TTL;
            let lease = match lease {
                Some(lease) if world.leases.contains_key(&lease) => lease,
                Some(_) => return Err(EngineError::Over),
                None => {
                    world.revision += 1;
                    let lease = LeaseId(world.revision.cast_signed());
                    world.view.nodes.insert(lease, node);
                    lease
                }
            };
            world.leases.insert(lease, end);
            let is_ours = |(agent, epoch): &(LeaseKey, Epoch)| {
                world.view.agents.get(agent).is_some_and(|holder| holder.lease == lease)
                    && world.epochs.get(agent) == Some(epoch)
            };
            let missing = held.iter().filter(|held| !is_ours(held)).map(|(agent, _)| *agent).collect();
            Ok(Renewed { lease, ttl: TTL, missing })
        })
        .await
    }

    async fn release(&self, lease: LeaseId, what: Release) -> Result<(), EngineError> {
        self.ask(|world| {
            match what {
                Release::Agent(agent, epoch) => {
                    if world.epochs.get(&agent) == Some(&epoch) {
                        world.view.agents.remove(&agent);
                    }
                }
                Release::Node => {
                    world.view.nodes.remove(&lease);
                }
                Release::All => {
                    world.leases.remove(&lease);
                    world.expire();
                }
            }
            Ok(())
        })
        .await
    }

    async fn watch(&self, view: watch::Sender<Option<View>>) -> EngineError {
        loop {
            if self.way.lock().unwrap().blind {
                return EngineError::Refused("permission denied".to_owned());
            }
            match self.ask(|world| Ok(world.view.clone())).await {
                Ok(now) => view.send_if_modified(|seen| seen.replace(now.clone()).is_none_or(|before| before != now)),
                Err(error) => return error,
            };
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A daemon that serves all agents that it gets.
struct Daemon {
    number: usize,
    fake: Fake,
    drain: CancellationToken,
    ended: CancellationToken,
    leases: Leases,
    status: Status,
    tasks: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// `closing`: how long it takes to close a connection.
    fn start(number: usize, world: &Arc<Mutex<World>>, agents: &[LeaseKey], closing: Duration) -> Self {
        let way = Arc::new(Mutex::new(Way { takes: Duration::from_millis(4), ..Way::default() }));
        let fake = Fake { world: world.clone(), way, node: format!("node-{number}").into() };
        let (asks, asked) = mpsc::unbounded_channel();
        let (leases, drain) = (Leases { asks, standby: Standby::Cold }, CancellationToken::new());
        let ended = CancellationToken::new();
        let status = Status::default();
        status.set_lease_node(&fake.node);
        let keeper = Keeper::new(fake.clone(), TTL, Guard::none(), status.clone());
        let mut tasks = vec![tokio::spawn(keeper.run(asked, drain.clone(), ended.clone()))];
        for agent in agents.iter().copied() {
            let (leases, world, drain) = (leases.clone(), world.clone(), drain.clone());
            tasks.push(tokio::spawn(async move {
                while !drain.is_cancelled() {
                    let mut place = leases.want(agent);
                    let held = async {
                        while !matches!(place.standing(), Standing::Held(_)) {
                            place.changed().await;
                        }
                    };
                    tokio::select! {
                        () = held => {}
                        () = drain.cancelled() => return,
                    }
                    let other = world.lock().unwrap().open.insert(agent, number);
                    assert_eq!(other, None, "{agent:?} is open at two daemons");
                    tokio::select! {
                        () = place.lost() => sleep(closing).await,
                        () = drain.cancelled() => {}
                    }
                    world.lock().unwrap().open.remove(&agent);
                }
            }));
        }
        Daemon { number, fake, drain, ended, leases, status, tasks }
    }

    /// It is gone at once, with all its connections.
    fn kill(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.fake.world.lock().unwrap().open.retain(|_, number| *number != self.number);
    }

    async fn stop(&mut self) {
        self.drain.cancel();
        let keeper = self.tasks.remove(0);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.ended.cancel();
        keeper.await.unwrap();
    }

    fn is_well(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Deaf,
    Slow(u16),
    Heal,
    Kill,
    Stop,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Cut),
        Just(Fault::Deaf),
        (1_u16..900).prop_map(Fault::Slow),
        Just(Fault::Heal),
        Just(Fault::Kill),
        Just(Fault::Stop)
    ]
}

const DAEMONS: usize = 3;

async fn play(faults: Vec<(Fault, usize, u64)>, closing: u64) {
    let world = Arc::<Mutex<World>>::default();
    let agents: Vec<LeaseKey> = (0..5).map(LeaseKey::made_up).collect();
    let start = |number| Daemon::start(number, &world, &agents, Duration::from_millis(closing));
    let mut daemons: Vec<Daemon> = (0..DAEMONS).map(start).collect();
    let mut number = DAEMONS;
    for (fault, of, after) in faults {
        sleep(Duration::from_millis(after)).await;
        let daemon = &mut daemons[of];
        let set = |daemon: &Daemon, way: Way| *daemon.fake.way.lock().unwrap() = way;
        let usual = Duration::from_millis(4);
        match fault {
            Fault::Cut => set(daemon, Way { cut: true, takes: usual, ..Way::default() }),
            Fault::Deaf => set(daemon, Way { deaf: true, takes: usual, ..Way::default() }),
            Fault::Slow(ms) => set(daemon, Way { takes: Duration::from_millis(ms.into()), ..Way::default() }),
            Fault::Heal => set(daemon, Way { takes: usual, ..Way::default() }),
            Fault::Kill | Fault::Stop => {
                if matches!(fault, Fault::Kill) {
                    daemon.kill();
                } else {
                    daemon.stop().await;
                }
                *daemon = start(number);
                number += 1;
            }
        }
        assert!(daemons.iter().all(Daemon::is_well), "a task has ended");
    }
    for daemon in &daemons {
        *daemon.fake.way.lock().unwrap() = Way { takes: Duration::from_millis(4), ..Way::default() };
    }
    // Whoever was late waits for the end of its lease once more.
    sleep(3 * TTL).await;
    assert_eq!(world.lock().unwrap().open.len(), agents.len(), "all are served again");
    for mut daemon in daemons {
        assert!(daemon.is_well());
        daemon.stop().await;
    }
    let mut world = world.lock().unwrap();
    assert!(world.open.is_empty() && world.view.agents.is_empty(), "all is given back");
    world.expire();
    assert!(world.leases.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_fails_no_agent_is_open_at_two_and_all_are_served_again(
        faults in proptest::collection::vec((fault(), 0..DAEMONS, 0_u64..4000), 0..25),
        closing in 0_u64..450,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(faults, closing));
    }
}

/// When the next connection of an agent is open, from now.
async fn taken(world: &Arc<Mutex<World>>, agent: LeaseKey, not_by: usize) -> Duration {
    let begun = Instant::now();
    while world.lock().unwrap().open.get(&agent).is_none_or(|by| *by == not_by) {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < 10 * TTL, "nobody takes it");
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_closes_a_second_early_and_another_takes_over_once_the_lease_is_over() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    let first = Daemon::start(0, &world, &[agent], Duration::ZERO);
    taken(&world, agent, 9).await;
    let second = Daemon::start(1, &world, &[agent], Duration::ZERO);
    sleep(TTL).await;
    assert_eq!(world.lock().unwrap().open[&agent], 0, "nothing moves that need not");
    first.fake.way.lock().unwrap().cut = true;
    let cut = Instant::now();
    while world.lock().unwrap().open.contains_key(&agent) {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(cut.elapsed() <= TTL - Duration::from_secs(1), "{:?}", cut.elapsed());
    taken(&world, agent, 0).await;
    assert!(cut.elapsed() <= TTL + Duration::from_millis(100), "{:?}", cut.elapsed());
    // Whoever comes back takes nothing.
    first.fake.way.lock().unwrap().cut = false;
    sleep(3 * TTL).await;
    assert_eq!(world.lock().unwrap().open[&agent], 1);
    assert!(first.is_well() && second.is_well());
}

#[tokio::test(start_paused = true)]
async fn who_stops_hands_over_at_once_and_an_agent_that_is_taken_away_is_closed() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    let mut first = Daemon::start(0, &world, &[agent], Duration::ZERO);
    taken(&world, agent, 9).await;
    let _second = Daemon::start(1, &world, &[agent], Duration::ZERO);
    sleep(TTL).await;
    first.stop().await;
    let took = taken(&world, agent, 0).await;
    assert!(took <= Duration::from_millis(50), "{took:?}");
    // By then its watch has shown it what it has.
    sleep(Duration::from_millis(100)).await;
    // Somebody removes the entry by hand, and takes it.
    {
        let mut world = world.lock().unwrap();
        world.revision += 1;
        let lease = LeaseId(world.revision.cast_signed());
        world.leases.insert(lease, Instant::now() + Duration::from_secs(100));
        let (revision, holder) = (world.revision, Holder { lease, node: "by hand".into(), since: world.revision });
        world.epochs.insert(agent, revision);
        world.view.agents.insert(agent, holder);
    }
    sleep(Duration::from_millis(100)).await;
    assert!(world.lock().unwrap().open.is_empty(), "a renewal at once has told");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_what_others_hold_says_why_it_takes_nothing() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    let daemon = Daemon::start(0, &world, &[agent], Duration::ZERO);
    let trouble = || daemon.status.read().lease.clone().unwrap().trouble;
    let see = |is_blind| daemon.fake.way.lock().unwrap().blind = is_blind;
    see(true);
    sleep(3 * TTL).await;
    assert_eq!(trouble().as_deref(), Some("permission denied"), "its renewals do not hide that");
    assert!(world.lock().unwrap().open.is_empty());
    see(false);
    taken(&world, agent, 9).await;
    assert_eq!(trouble(), None);
    see(true);
    sleep(TTL).await;
    assert_eq!(trouble().as_deref(), Some("permission denied"), "also where something was seen before");
    see(false);
    sleep(TTL).await;
    assert_eq!(trouble(), None);
    assert_eq!(world.lock().unwrap().open[&agent], 0, "what is held stays");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_get_what_is_free_says_why_until_it_has_it_or_another_one_has() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    let first = Daemon::start(0, &world, &[agent], Duration::ZERO);
    let trouble = |daemon: &Daemon| daemon.status.read().lease.clone().unwrap().trouble;
    let fill = |daemon: &Daemon, full| daemon.fake.way.lock().unwrap().full = full;
    fill(&first, true);
    sleep(2 * TTL).await;
    assert_eq!(trouble(&first).as_deref(), Some("database space exceeded"));
    let second = Daemon::start(1, &world, &[agent], Duration::ZERO);
    taken(&world, agent, 0).await;
    sleep(TTL).await;
    assert_eq!((trouble(&first), trouble(&second)), (None, None), "it is not free any more");
    fill(&second, true);
    sleep(TTL).await;
    assert_eq!(trouble(&second), None, "what it has it need not get");
}

#[test]
fn who_has_an_agent_is_told_only_by_whoever_has_a_lease() {
    let (agent, us, kitchen) = (LeaseKey::made_up(1), LeaseId(1), LeaseId(2));
    let (mut roll, (tell, told)) = (Roll::default(), watch::channel(Standing::Standby(None)));
    roll.want(agent, 1, tell);
    let mut view = View::default();
    view.agents.insert(agent, Holder { lease: kitchen, node: "kitchen".into(), since: 1 });
    let now = Duration::from_secs(1);
    roll.see(&view, Some(us), now);
    assert_eq!(*told.borrow(), Standing::Standby(Some("kitchen".into())));
    // Ours has ended, and what was seen last says what was.
    view.agents.insert(agent, Holder { lease: us, node: "us".into(), since: 1 });
    roll.see(&view, None, now);
    assert_eq!(*told.borrow(), Standing::Standby(None));
}

#[tokio::test]
async fn what_is_lost_before_anybody_heard_that_it_was_held_is_asked_for_anew() {
    let (asks, mut asked) = mpsc::unbounded_channel();
    let mut place = Leases { asks, standby: Standby::Cold }.want(LeaseKey::made_up(1));
    let Some(Ask::Want { number: first, tell, .. }) = asked.recv().await else { panic!("it is wanted") };
    tell.send_replace(Standing::Held(7));
    tell.send_replace(Standing::Lost);
    assert_eq!(place.standing(), Standing::Standby(None));
    let Some(Ask::Want { number: second, tell, .. }) = asked.recv().await else { panic!("it is wanted again") };
    assert!(matches!(asked.recv().await, Some(Ask::Leave { number, .. }) if number == first && number != second));
    // Whoever has heard that it is held hears that it is lost.
    tell.send_replace(Standing::Held(8));
    assert_eq!(place.standing(), Standing::Held(8));
    tell.send_replace(Standing::Lost);
    place.lost().await;
    assert!(asked.try_recv().is_err(), "the place is given up by whoever has closed");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_ours_that_counts_no_longer_is_nobody_elses() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    let first = Daemon::start(0, &world, &[agent], Duration::ZERO);
    taken(&world, agent, 9).await;
    first.fake.way.lock().unwrap().cut = true;
    // It is given up a second before its end, which the engine is not reached to tell.
    while world.lock().unwrap().open.contains_key(&agent) {
        sleep(Duration::from_millis(5)).await;
    }
    let mut place = first.leases.want(agent);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(place.standing(), Standing::Standby(None), "and not that we have it");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_take_nothing_are_not_waited_for_one_after_the_other_for_ever() {
    let (world, agent) = (Arc::<Mutex<World>>::default(), LeaseKey::made_up(1));
    {
        let mut world = world.lock().unwrap();
        for lease in (1000..1500).map(LeaseId) {
            world.leases.insert(lease, Instant::now() + Duration::from_secs(1000));
            world.view.nodes.insert(lease, lease.to_string().into());
        }
    }
    let _only = Daemon::start(0, &world, &[agent], Duration::ZERO);
    let took = taken(&world, agent, 9).await;
    assert!(took < 2 * TTL, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_begins_a_little_later_gets_its_share_all_the_same() {
    let (world, agents) = (Arc::<Mutex<World>>::default(), (0..20).map(LeaseKey::made_up).collect::<Vec<_>>());
    let _first = Daemon::start(0, &world, &agents, Duration::ZERO);
    sleep(Duration::from_millis(600)).await;
    let _second = Daemon::start(1, &world, &agents, Duration::ZERO);
    sleep(2 * TTL).await;
    let of_second = world.lock().unwrap().open.values().filter(|number| **number == 1).count();
    assert_eq!((of_second, world.lock().unwrap().open.len()), (10, 20));
}
