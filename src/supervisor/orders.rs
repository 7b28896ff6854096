//! Takes each order, of signals and of the control socket, and hands it to the pipes that it is about.
//!
//! An order about a server only changes what is wanted of it ([`Goal`]); its pipe converges to that, and whoever gave the order waits
//! elsewhere. So nothing here takes time, and orders are taken one after the other, whoever gives them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::hub::HubHandle;
use super::roster::{Post, Roster};
use crate::config::{LeftOut, ServerSpec};
use crate::control::journal::ServerNews;
use crate::control::orders::{Given, Instruction, Known, NotGiven, Order, Sought, Until};
use crate::control::status::{ServerEntry, Status};
use crate::endpoint::Endpoint;
use crate::pipe::orders::{PipeOrder, Told};
use crate::process::stop::Stop;
use crate::router::TurnCommand;
use crate::server::wanted::{Goal, ServerCommand, Wanted};

/// Longest wait for the end of a process, with everything around it: the steps of the ladder take four seconds at worst.
const ENDING: Duration = Duration::from_secs(10);
/// Longest wait for a pipe to say something: each does at its next look.
const SAYING: Duration = Duration::from_secs(10);

/// All that orders may be about.
pub(super) struct Helm {
    servers: Vec<Subject>,
    roster: Roster,
    hub: HubHandle,
    /// The servers of the config that are not run.
    left_out: LeftOut,
    /// Which endpoints another daemon serves.
    status: Status,
}

/// A server, whoever runs it at present.
struct Subject {
    name: Arc<str>,
    endpoint: Option<Endpoint>,
    /// Longest time from its start to its answer to `initialize`.
    start_timeout: Duration,
    /// Longest time for one attempt to connect.
    connect_timeout: Duration,
    goal: watch::Sender<Goal>,
    status: ServerEntry,
}

impl Helm {
    pub(super) fn new(roster: Roster, hub: HubHandle, left_out: LeftOut, status: Status) -> Self {
        Helm { servers: Vec::new(), roster, hub, left_out, status }
    }

    /// Adds a server. Returns where its pipe reads what is wanted of it.
    pub(super) fn add(&mut self, spec: &ServerSpec, status: ServerEntry) -> watch::Receiver<Goal> {
        let (goal, wanted) = watch::channel(Goal::default());
        let (name, endpoint, start_timeout) = (spec.name.clone(), spec.endpoint.clone(), spec.start_timeout);
        let connect_timeout = spec.link.connect_timeout;
        self.servers.push(Subject { name, endpoint, start_timeout, connect_timeout, goal, status });
        wanted
    }

    /// The servers that are to run no more.
    pub(super) fn stopped(&self) -> Vec<Arc<str>> {
        let stopped = self.servers.iter().filter(|subject| subject.goal.borrow().wanted == Wanted::Stopped);
        stopped.map(|subject| subject.name.clone()).collect()
    }

    /// Notes which servers of the config are not run.
    pub(super) fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
    }

    /// A server is gone for good.
    pub(super) fn remove(&mut self, name: &str) {
        self.servers.retain(|subject| *subject.name != *name);
    }

    /// What the config says of a server has changed. `is_another`: its process is to be another one, unless it is to run no more.
    pub(super) fn change(&mut self, spec: &ServerSpec, is_another: bool) {
        let Some(subject) = self.servers.iter_mut().find(|subject| subject.name == spec.name) else { return };
        subject.endpoint.clone_from(&spec.endpoint);
        subject.status.configured(spec);
        (subject.start_timeout, subject.connect_timeout) = (spec.start_timeout, spec.link.connect_timeout);
        if is_another {
            let goal = subject.goal.borrow().renewed();
            subject.status.ordered(goal);
            subject.goal.send_replace(goal);
            // A hub that has so much unread looks anyway.
            let _told = self.hub.try_tell(PipeOrder::Look);
        }
    }

    /// Carries out what comes.
    pub(super) fn obey(&self, instruction: Instruction, stop: &Stop) {
        match instruction {
            Instruction::Order(_, reply) if stop.drain().is_cancelled() => {
                let why = NotGiven::Impossible("mcp-pipe is stopping, and takes no orders".into());
                let _gone = reply.send(Err(why));
            }
            // Whoever has gone meanwhile has given the order all the same.
            Instruction::Order(order, reply) => drop(reply.send(self.take(order))),
            Instruction::Signal(name, command) => self.take_signal(name, command),
            Instruction::Receive(_, reply) => {
                let why = NotGiven::Impossible("mcp-pipe is stopping, and takes nobody in".into());
                let _gone = reply.send(Err(why));
            }
            // At the stop.
            Instruction::Reload(_) | Instruction::Sessions(_) => {}
        }
    }

    fn take_signal(&self, name: &'static str, command: TurnCommand) {
        let mut any = false;
        for post in self.roster.read().iter().filter(|post| post.takes_turns) {
            any = true;
            // A hub that has so many unread is told enough.
            let _told = self.hub.try_tell(PipeOrder::Turn(post.link, command, None));
        }
        if !any {
            warn!(event = "TURN", "{name}: no servers take turns here, so nothing is done");
        }
    }

    fn take(&self, order: Order) -> Result<Given, NotGiven> {
        match order {
            Order::Start { name } => self.command(&name, ServerCommand::Start),
            Order::Resume { name } => self.command(&name, ServerCommand::Resume),
            Order::Pause { name } => self.command(&name, ServerCommand::Pause),
            Order::Stop { name } => self.command(&name, ServerCommand::Stop),
            Order::Reset { name } => self.command(&name, ServerCommand::Reset),
            Order::Restart { name, connection: false } if self.subject(&name).is_some() => {
                self.command(&name, ServerCommand::Restart)
            }
            Order::Restart { name, .. } => self.redial(&name),
            Order::Reload => Err(NotGiven::Impossible("mcp-pipe is stopping, and takes no orders".into())),
            Order::EndSession { .. } => Err(NotGiven::no_gateway()),
            Order::Pin { name, off } => self.pin(&name, off),
            Order::Next { endpoint } => self.next(endpoint.as_deref()),
        }
    }

    fn subject(&self, name: &str) -> Option<&Subject> {
        self.servers.iter().find(|subject| *subject.name == *name)
    }

    fn known(&self, name: &str) -> Result<&Subject, NotGiven> {
        self.subject(name).ok_or_else(|| self.unknown(name, Sought::Server))
    }

    /// What to tell about a name that nothing here has.
    pub(super) fn unknown(&self, name: &str, sought: Sought) -> NotGiven {
        if sought != Sought::Server
            && let Some(why) = self.status.standby(name)
        {
            return NotGiven::Impossible(format!("{name} is not connected here: {why}"));
        }
        let posts = self.roster.read();
        // An endpoint without a name is called by its servers.
        let own = self.servers.iter().filter(|subject| sought == Sought::Endpoint && subject.endpoint.is_some());
        let mut endpoints: Vec<&str> = own.map(|subject| &*subject.name).collect();
        // A server's own name means its process: a connection is then called by its address, as `status` lists it.
        let addresses: Vec<String> = match sought {
            Sought::Either => posts.iter().filter(|post| post.name.is_none()).filter_map(Post::address).collect(),
            Sought::Server | Sought::Endpoint => Vec::new(),
        };
        let named = posts.iter().filter_map(|post| post.name.as_deref());
        for name in named.chain(addresses.iter().map(String::as_str)) {
            if !endpoints.contains(&name) {
                endpoints.push(name);
            }
        }
        let servers = self.servers.iter().map(|subject| &*subject.name).collect();
        let LeftOut { disabled, unshown } = &self.left_out;
        NotGiven::Unclear(Known { servers, endpoints, disabled, unshown }.unknown(name, sought))
    }

    fn command(&self, name: &str, command: ServerCommand) -> Result<Given, NotGiven> {
        let subject = self.known(name)?;
        let goal = subject.goal.borrow().after(command);
        // The number first: whoever waits must not take an older state for what follows.
        subject.status.ordered(goal);
        subject.goal.send_replace(goal);
        let what = told(command);
        info!(event = "COMMAND", server = name, number = goal.number, wanted = ?goal.wanted, "{what}, by command");
        if self.hub.runs(name) {
            // A hub that has so much unread looks anyway.
            let _told = self.hub.try_tell(PipeOrder::Look);
        } else {
            // Nobody runs it at present; the hub reads what is wanted before it starts anything.
            let stopped = goal.wanted == Wanted::Stopped;
            subject.status.write(&subject.name, if stopped { ServerNews::Halted } else { ServerNews::Begins });
            subject.status.heeded(goal.number);
            match goal.wanted {
                Wanted::Running => {
                    let why = "nothing runs it just now (mcp-pipe status says why); what you said counts as soon as something does";
                    return Err(NotGiven::Impossible(format!("{name}: {why}")));
                }
                Wanted::Paused | Wanted::Stopped => {}
            }
        }
        let within = match command {
            ServerCommand::Start | ServerCommand::Resume | ServerCommand::Restart => subject.start_timeout + ENDING,
            ServerCommand::Pause | ServerCommand::Stop | ServerCommand::Reset => ENDING,
        };
        Ok(Given { until: Until::Server { name: subject.name.clone(), command, number: goal.number }, within })
    }

    fn redial(&self, name: &str) -> Result<Given, NotGiven> {
        let posts = self.posts_of(name, Sought::Either)?;
        let mut begun = Vec::new();
        for post in &posts {
            let (reply, told) = oneshot::channel();
            self.send(PipeOrder::Redial(post.link, reply))?;
            begun.push(told);
            let (names, whose) = (post.names(), if post.servers.len() == 1 { "its" } else { "their" });
            info!(event = "COMMAND", servers = ?names, "{whose} connection is to be made anew, by command");
        }
        let mut servers: Vec<Arc<str>> = Vec::new();
        for server in posts.iter().flat_map(|post| post.servers.iter()) {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        let endpoint = posts.first().and_then(|post| post.name.clone());
        let endpoint = endpoint.filter(|_| posts.iter().all(|post| post.name == posts[0].name));
        if endpoint.is_none() && posts.iter().any(|post| post.name.is_some()) {
            // One server's connections to several endpoints: others on these may have more that are left alone.
            servers.retain(|server| **server == *name);
        }
        let times = self
            .servers
            .iter()
            .filter(|subject| servers.contains(&subject.name))
            .map(|subject| subject.connect_timeout);
        let within = times.max().unwrap_or_default() + SAYING;
        Ok(Given { until: Until::Connected { begun, servers, endpoint }, within })
    }

    fn pin(&self, name: &str, off: bool) -> Result<Given, NotGiven> {
        let subject = self.known(name)?;
        let (mut told, mut elsewhere) = (Vec::new(), None);
        for post in self.roster.read() {
            let Some(index) = post.servers.iter().position(|server| *server == subject.name) else { continue };
            if !post.takes_turns {
                elsewhere = Some(post);
                continue;
            }
            let command = if off { TurnCommand::Unpin(index) } else { TurnCommand::Pin(index) };
            told.push(self.turn(&post, command)?);
        }
        if told.is_empty() {
            elsewhere.map_or(Ok(()), |post| taking_turns(&post, name))?;
            return Err(NotGiven::Impossible(format!("{name} has no connection to take turns on just now")));
        }
        Ok(Given { until: Until::Turned(told), within: SAYING })
    }

    fn next(&self, endpoint: Option<&str>) -> Result<Given, NotGiven> {
        let posts = match endpoint {
            Some(name) => self.posts_of(name, Sought::Endpoint)?,
            None => self.roster.read().into_iter().filter(|post| post.takes_turns).collect(),
        };
        if posts.is_empty() {
            let why = "no servers take turns here; \"mode\": \"sequential\" has servers of an endpoint do that";
            return Err(NotGiven::Impossible(why.into()));
        }
        if let Some(name) = endpoint {
            posts.iter().try_for_each(|post| taking_turns(post, name))?;
        }
        let told = posts.iter().map(|post| self.turn(post, TurnCommand::Next)).collect::<Result<_, _>>()?;
        Ok(Given { until: Until::Turned(told), within: SAYING })
    }

    fn turn(&self, post: &Post, command: TurnCommand) -> Result<oneshot::Receiver<Told>, NotGiven> {
        let (reply, told) = oneshot::channel();
        self.send(PipeOrder::Turn(post.link, command, Some(reply)))?;
        Ok(told)
    }

    fn send(&self, order: PipeOrder) -> Result<(), NotGiven> {
        let busy = || NotGiven::Impossible("it has more orders than it can read just now; try again".into());
        self.hub.try_tell(order).then_some(()).ok_or_else(busy)
    }

    /// The links to the endpoint of this name. `sought`: what the command takes.
    fn posts_of(&self, name: &str, sought: Sought) -> Result<Vec<Post>, NotGiven> {
        let mut posts = self.roster.read();
        let is_named = |post: &Post| post.name.as_deref() == Some(name);
        // One server's own connection there, as the log calls it.
        let is_it = |post: &Post| post.name.is_some() && post.label() == name;
        if posts.iter().any(|post| is_named(post) || is_it(post)) {
            posts.retain(|post| is_named(post) || is_it(post));
            return Ok(posts);
        }
        // What is about connections is about all of a server's, to whichever endpoints.
        if sought == Sought::Either && self.subject(name).is_some() {
            posts.retain(|post| post.servers.iter().any(|server| **server == *name));
            return connected(posts, name);
        }
        // An endpoint with a name is called by that, and one without by its servers: no name is used for both.
        let of_servers = self.servers.iter().filter_map(|subject| Some((&subject.name, subject.endpoint.as_ref()?)));
        let mut callers: Vec<(&Arc<str>, &Endpoint)> = of_servers.collect();
        for caller in posts.iter().filter_map(|post| Some((post.name.as_ref()?, post.endpoint.as_ref()?))) {
            if !callers.contains(&caller) {
                callers.push(caller);
            }
        }
        let labels: Vec<_> = posts.iter().map(|post| (post.label(), &*post.servers)).collect();
        let servers = match meant(name, callers.iter().copied(), &labels) {
            Meant::One(servers) => servers,
            Meant::Several(callers) => {
                let is_name = |caller: &Arc<str>| posts.iter().any(|post| post.name.as_ref() == Some(caller));
                return Err(NotGiven::Unclear(several(&callers, is_name)));
            }
            Meant::Nothing => return Err(self.unknown(name, sought)),
        };
        drop((callers, labels));
        let is_named = |post: &Post| post.name.as_ref().is_some_and(|name| servers.contains(name));
        posts.retain(|post| is_named(post) || post.serves(&servers));
        connected(posts, name)
    }
}

/// The links that there are for a name, of which there have to be some.
fn connected(posts: Vec<Post>, name: &str) -> Result<Vec<Post>, NotGiven> {
    if posts.is_empty() {
        let why = format!("nothing is connected for {name} just now; mcp-pipe status says why");
        return Err(NotGiven::Impossible(why));
    }
    Ok(posts)
}

/// What to tell about an address that several endpoints have, without what is secret: what each is called.
fn several(callers: &[Arc<str>], is_name: impl Fn(&Arc<str>) -> bool) -> String {
    let names = callers.iter().filter(|caller| is_name(caller)).count();
    let by = match names {
        0 => "by a server on it",
        n if n == callers.len() => "by its name",
        _ => "by its name, or by a server on it where it has none",
    };
    let callers = crate::words::listed(callers.iter().take(5).collect(), callers.len());
    format!("several endpoints look like that; call the one that is meant {by}: {callers}")
}

/// Refuses a command about turns where none are taken. `name`: what the command is about.
fn taking_turns(post: &Post, name: &str) -> Result<(), NotGiven> {
    let why = || format!("{name} takes no turns; \"mode\": \"sequential\" has the servers of an endpoint do that");
    post.takes_turns.then_some(()).ok_or_else(|| NotGiven::Impossible(why()))
}

/// A command, as the beginning of a line of the log.
fn told(command: ServerCommand) -> &'static str {
    match command {
        ServerCommand::Start => "is to run",
        ServerCommand::Resume => "is to go on",
        ServerCommand::Restart => "is to be restarted",
        ServerCommand::Pause => "is to take no calls",
        ServerCommand::Stop => "is to stop",
        ServerCommand::Reset => "is to be asked again, whatever it has failed at",
    }
}

/// Which endpoint a text means.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    /// That of these servers.
    One(Vec<Arc<str>>),
    /// One of those of these servers: they look the same without what is secret.
    Several(Vec<Arc<str>>),
    Nothing,
}

/// The servers of one endpoint that a text joins, `a+b`: in any order, and whether they share a connection there or not.
fn joined<'a>(
    text: &str,
    servers: impl Iterator<Item = (&'a Arc<str>, &'a Endpoint)> + Clone,
) -> Option<Vec<Arc<str>>> {
    let (_, first) = text.split_once('+').and_then(|(first, _)| servers.clone().find(|(name, _)| ***name == *first))?;
    let of_word = |word: &str| {
        let (name, _) = servers.clone().find(|(name, endpoint)| ***name == *word && *endpoint == first)?;
        Some(name.clone())
    };
    text.split('+').map(of_word).collect()
}

/// Finds the endpoint that is called by its name or that of a server on it, by several of them as the log has it (`a+b`), or by its
/// address, which may lack what is secret. `labels`: of each connection what the log calls it, and its servers.
fn meant<'a>(
    text: &str,
    servers: impl Iterator<Item = (&'a Arc<str>, &'a Endpoint)> + Clone,
    labels: &[(String, &[Arc<str>])],
) -> Meant {
    if let Some((name, _)) = servers.clone().find(|(name, _)| ***name == *text) {
        return Meant::One(vec![name.clone()]);
    }
    if let Some((_, servers)) = labels.iter().find(|(label, _)| label == text) {
        return Meant::One(servers.to_vec());
    }
    if let Some(servers) = joined(text, servers.clone()) {
        return Meant::One(servers);
    }
    let whole = text.parse::<Endpoint>().ok();
    let named = |servers: Vec<(&Arc<str>, &Endpoint)>| servers.into_iter().map(|(name, _)| name.clone()).collect();
    let same: Vec<_> = servers.clone().filter(|(_, endpoint)| whole.as_ref() == Some(*endpoint)).collect();
    if !same.is_empty() {
        return Meant::One(named(same));
    }
    // As it is shown, or without all that is behind the path.
    let looks_like = |endpoint: &Endpoint| {
        let shown = endpoint.to_string();
        shown == text || shown.split('?').next() == Some(text)
    };
    let alike: Vec<_> = servers.filter(|(_, endpoint)| looks_like(endpoint)).collect();
    match alike.first() {
        None => Meant::Nothing,
        Some((_, first)) if alike.iter().all(|(_, endpoint)| endpoint == first) => Meant::One(named(alike)),
        Some(_) => Meant::Several(named(alike)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn where_several_endpoints_look_alike_it_is_said_by_what_each_is_called() {
        let callers: [Arc<str>; 2] = ["k".into(), "a".into()];
        for (named, by) in [
            (&[][..], "by a server on it: k, a"),
            (&["k", "a"], "by its name: k, a"),
            (&["k"], "by its name, or by a server on it where it has none: k, a"),
        ] {
            let said = several(&callers, |caller| named.contains(&&**caller));
            assert!(said.ends_with(&format!("call the one that is meant {by}")), "{said}");
        }
    }

    #[test]
    fn an_endpoint_is_called_by_a_server_by_all_of_them_or_by_its_address() {
        let servers: Vec<(Arc<str>, Endpoint)> = [
            ("a", "wss://h/mcp/?token=one"),
            ("b", "wss://h/mcp/?token=one"),
            ("c", "wss://h/mcp/?token=two"),
            ("d", "wss://other/?token=one"),
        ]
        .map(|(name, endpoint)| (name.into(), endpoint.parse().unwrap()))
        .into();
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
        let both = names(&["a", "b"]);
        let labels = [("a+b".to_owned(), &*both)];
        let meant = |text: &str| super::meant(text, servers.iter().map(|(name, endpoint)| (name, endpoint)), &labels);
        for (text, want) in [
            ("c", Meant::One(names(&["c"]))),
            ("a", Meant::One(names(&["a"]))),
            ("a+b", Meant::One(names(&["a", "b"]))),
            ("wss://h/mcp/?token=one", Meant::One(names(&["a", "b"]))),
            (&*servers[0].1.to_string(), Meant::Several(names(&["a", "b", "c"]))),
            ("wss://h/mcp/", Meant::Several(names(&["a", "b", "c"]))),
            (&*servers[3].1.to_string(), Meant::One(names(&["d"]))),
            ("e", Meant::Nothing),
            ("b+a", Meant::One(names(&["b", "a"]))),
            ("a+c", Meant::Nothing),
            ("a+e", Meant::Nothing),
            ("a+", Meant::Nothing),
            ("wss://h/mcp/?token=three", Meant::Nothing),
            ("", Meant::Nothing),
        ] {
            assert_eq!(meant(text), want, "{text}");
        }
    }
}
