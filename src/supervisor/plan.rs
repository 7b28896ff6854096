//! What has to be done so that a changed config counts: pure.
//!
//! What counts for a server is what its process really gets, and for a link what it really dials and shows. So a variable that only
//! feeds an address restarts no server, and an edited comment does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{AdminSpec, Bounds, CommandSpec, GatewaySpec, LinkSpec, LogFileSpec, Mode, Reach, ServerSpec};
use crate::control::orders::Dialled;
use crate::endpoint::agent::Agent;
use crate::pipe::Limits;
use crate::sharing::layout::Group;
use crate::tools::ToolPolicy;
use crate::words::{listed, span};

/// Most names that are told of one kind of change.
const SHOWN: usize = 8;

/// The parts of a config that a reload compares.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) servers: Vec<ServerSpec>,
    pub(super) groups: Vec<Group>,
    pub(super) gateway: Option<Arc<GatewaySpec>>,
    pub(super) admin: Option<Arc<AdminSpec>>,
    pub(super) limits: Limits,
    pub(super) log_file: Option<LogFileSpec>,
    /// What counts from the start of a run to its end.
    pub(super) fixed: Vec<Fixed>,
}

/// A part of a config that counts from the start of a run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    /// By which key it is written, for a person.
    pub(super) key: &'static str,
    /// What it was at the start.
    pub(super) runs: String,
    /// What it is in the config.
    pub(super) written: String,
}

/// What a group is known by through all configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupKey {
    /// The endpoint of this name.
    Named(Arc<str>),
    /// The servers that have the endpoint of this agent for their own.
    Of(Agent, Mode),
}

impl GroupKey {
    pub(super) fn of(group: &Group) -> Self {
        group.name.clone().map_or(GroupKey::Of(group.agent, group.mode), GroupKey::Named)
    }
}

/// What becomes of a group.
#[derive(Debug)]
pub(super) enum GroupChange {
    /// It is no more.
    End(GroupKey),
    /// It is new, or so much another one that all its links are made anew once the old ones have ended.
    Begin(Group),
    /// It is the same with other servers, tools or ways to dial.
    Follow(Group),
}

/// What has to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Servers that are no more.
    pub(super) removed: Vec<Arc<str>>,
    /// Servers that are new.
    pub(super) added: Vec<ServerSpec>,
    /// Servers whose processes are to be others.
    pub(super) restarted: Vec<ServerSpec>,
    /// Servers of which only what we do with them has changed.
    pub(super) adjusted: Vec<ServerSpec>,
    pub(super) groups: Vec<GroupChange>,
    /// Whether the gateway is another one, or shows something else.
    pub(super) gateway: bool,
    /// Whether the admin address is another one, or has other terms.
    pub(super) admin: bool,
    /// Limits to keep to from now on, where they are others.
    pub(super) limits: Option<Limits>,
    /// What changes, for a person.
    pub(super) words: Vec<String>,
}

/// What leads from one config to another. `stale`: files of certificate authorities that hold something else now. `stopped`:
/// servers that run no more, as a person wants it.
pub(super) fn plan(old: &Wanted, new: &Wanted, stale: &BTreeSet<PathBuf>, stopped: &[Arc<str>]) -> Plan {
    let mut plan = Plan::default();
    for server in &old.servers {
        if !new.servers.iter().any(|other| other.name == server.name) {
            plan.removed.push(server.name.clone());
        }
    }
    for server in &new.servers {
        match old.servers.iter().find(|other| other.name == server.name) {
            None => plan.added.push(server.clone()),
            Some(before) if gets(before) != gets(server) => plan.restarted.push(server.clone()),
            Some(before) if treated(before) != treated(server) => plan.adjusted.push(server.clone()),
            Some(_) => {}
        }
    }
    let names = |servers: &[ServerSpec]| servers.iter().map(|server| server.name.to_string()).collect();
    plan.tell(["is gone", "are gone"], plan.removed.iter().map(ToString::to_string).collect());
    plan.tell(["is new", "are new"], names(&plan.added));
    let (stay, restarted): (Vec<_>, Vec<_>) =
        plan.restarted.iter().cloned().partition(|server: &ServerSpec| stopped.contains(&server.name));
    let before = |server: &ServerSpec| old.servers.iter().find(|other| other.name == server.name);
    let (by_environment, by_entry): (Vec<_>, Vec<_>) =
        restarted.into_iter().partition(|server| before(server).is_some_and(|before| is_same_command(before, server)));
    plan.tell(
        ["is restarted, as its entry has changed", "are restarted, as their entries have changed"],
        names(&by_entry),
    );
    plan.tell(
        ["is restarted, as its environment has changed", "are restarted, as their environment has changed"],
        names(&by_environment),
    );
    let adjusted = |is_other: fn(&ServerSpec, &ServerSpec) -> bool| {
        let is_one = |server: &&ServerSpec| before(server).is_some_and(|before| is_other(before, server));
        plan.adjusted.iter().filter(is_one).map(|server| server.name.to_string()).collect::<Vec<_>>()
    };
    let waited_for = adjusted(|before, server| before.start_timeout != server.start_timeout);
    let listed = adjusted(|before, server| before.keep_listed != server.keep_listed);
    let shared = adjusted(|before, server| before.instances != server.instances);
    fn own(server: &ServerSpec) -> Bounds {
        Bounds { stands_in: false, ..server.bounds.clone() }
    }
    let bounded = adjusted(|before, server| own(before) != own(server));
    let hidden = adjusted(|before, server| server.bounds.stands_in && !before.bounds.stands_in);
    let shown_again = adjusted(|before, server| !server.bounds.stands_in && before.bounds.stands_in);
    let checked = adjusted(|before, server| before.health_check != server.health_check);
    let logged = adjusted(|before, server| before.log_file != server.log_file);
    plan.tell(["has another startTimeout", "have another startTimeout"], waited_for);
    plan.tell(["has another keepListed", "have another keepListed"], listed);
    plan.tell(["is shared otherwise", "are shared otherwise"], shared);
    plan.tell(
        ["has another circuitBreaker, fallback or cache", "have another circuitBreaker, fallback or cache"],
        bounded,
    );
    plan.tell(["is a fallback now, and shown nowhere", "are fallbacks now, and shown nowhere"], hidden);
    plan.tell(["is no fallback any more, and shown", "are no fallbacks any more, and shown"], shown_again);
    plan.tell(["has another healthCheck", "have another healthCheck"], checked);
    plan.tell(["has another logFile", "have other logFiles"], logged);
    plan.tell(["has another entry, and stays stopped", "have other entries, and stay stopped"], names(&stay));
    for group in &old.groups {
        let key = GroupKey::of(group);
        if !new.groups.iter().any(|other| GroupKey::of(other) == key) {
            plan.groups.push(GroupChange::End(key));
            // Servers that are served elsewhere, or gone, are told of as that.
            let is_told = |name: &Arc<str>| {
                new.groups.iter().any(|other| shows(other).contains(name)) || plan.removed.contains(name)
            };
            if group.name.is_some() || !shows(group).iter().all(is_told) {
                plan.words.push(format!("{} is no more", group.names()));
            }
        }
    }
    for group in &new.groups {
        let key = GroupKey::of(group);
        let label = group.names();
        match old.groups.iter().find(|other| GroupKey::of(other) == key) {
            None => {
                let was_served = |name: &Arc<str>| {
                    old.groups.iter().any(|other| other.name.is_none() && shows(other).contains(name))
                };
                let anew = group.name.is_none() && shows(group).iter().all(was_served);
                let what = if anew { "is connected anew" } else { "is served" };
                // The group is known by agent and mode, of which one is another now.
                let is_of_agent = |other: &&Group| {
                    other.name.is_none()
                        && other.agent == group.agent
                        && shows(other).iter().any(|name| shows(group).contains(name))
                };
                let why = match (anew, old.groups.iter().find(is_of_agent)) {
                    (false, _) => "",
                    (true, Some(before)) if before.mode != group.mode => ", as its mode has changed",
                    (true, Some(_) | None) => ", as its address has changed",
                };
                plan.words.push(format!("{label} {what}, {}{why}", mode(group)));
                plan.groups.push(GroupChange::Begin(group.clone()));
            }
            Some(before) if is_another(before, group) || is_stale(group, stale) => {
                let others = shown(before, group).map_or_else(String::new, |others| format!(", and {others}"));
                let why = match before {
                    _ if before.agent != group.agent => ", as its address has changed",
                    _ if before.mode != group.mode => ", as its mode has changed",
                    _ if is_stale(group, stale) => ", as its certificates have changed",
                    // Turns begin anew with any change, which is told with its servers.
                    _ => "",
                };
                plan.words.push(format!("{label} is connected anew, {}{why}{others}", mode(group)));
                plan.groups.push(GroupChange::Begin(group.clone()));
            }
            Some(before) if parts(before) != parts(group) => {
                let dials = |group: &Group| group.servers.iter().map(dialled).collect::<Vec<_>>();
                let words = match (dials(before) == dials(group) && before.link == group.link, shown(before, group)) {
                    // What is left is who has the endpoint while turns are taken.
                    (true, _) => format!("{label} {}", treats(before, group).as_deref().unwrap_or("has another pin")),
                    (false, Some(others)) => {
                        let more = treats(before, group).map_or_else(String::new, |more| format!(", and {more}"));
                        format!("{} {others}{more}", seen_as(before, group))
                    }
                    (false, None) if shows(before) != shows(group) => {
                        format!("{} shows its servers in another order", seen_as(before, group))
                    }
                    (false, None) => format!("{label} is dialled otherwise"),
                };
                plan.words.push(words);
                plan.groups.push(GroupChange::Follow(group.clone()));
            }
            Some(_) => {}
        }
    }
    plan_gateway(&mut plan, old, new, stale);
    match (&old.admin, &new.admin) {
        (Some(before), Some(now)) if before != now && before.listen == now.listen => {
            plan.admin = true;
            plan.words.push("the admin address has other terms".to_owned());
        }
        (before, now) if before.as_ref().map(|it| it.listen) != now.as_ref().map(|it| it.listen) => {
            plan.move_admin(now.as_ref());
        }
        _ => {}
    }
    if new.log_file != old.log_file {
        // Whoever has read the config has seen to it.
        plan.words.push(match &new.log_file {
            Some(file) => format!("the log is written to {} as well", file.path.display()),
            None => "the log is written to no file any more".to_owned(),
        });
    }
    if new.limits != old.limits {
        plan.limits = Some(new.limits);
        let Limits { drain_timeout, tool_budget } = new.limits;
        let drain =
            (drain_timeout != old.limits.drain_timeout).then(|| format!("drainTimeout is {}", span(drain_timeout)));
        let budget = (tool_budget != old.limits.tool_budget).then(|| format!("toolBudget is {tool_budget}"));
        plan.words.extend(drain.into_iter().chain(budget));
    }
    let changed = new.fixed.iter().zip(&old.fixed).filter(|(now, before)| now.written != before.written);
    let (again, later): (Vec<&Fixed>, Vec<&Fixed>) =
        changed.map(|(now, _)| now).partition(|now| now.written == now.runs);
    for (fixed, what) in
        [(again, "says again what counts since the start"), (later, "will count when mcp-pipe is started anew")]
    {
        let keys: Vec<&str> = fixed.iter().map(|fixed| fixed.key).collect();
        plan.words.extend((!keys.is_empty()).then(|| format!("{} {what}", keys.join(", "))));
    }
    plan
}

/// What becomes of the gateway, and of clients on stdio.
fn plan_gateway(plan: &mut Plan, old: &Wanted, new: &Wanted, stale: &BTreeSet<PathBuf>) {
    let shown = |wanted: &Wanted| {
        let shown = wanted.servers.iter().filter(|it| !it.bounds.stands_in);
        shown.map(|it| (it.name.clone(), it.tools.clone())).collect::<Vec<_>>()
    };
    let files = new
        .gateway
        .as_ref()
        .and_then(|spec| spec.tls.as_ref())
        .map(|tls| [Some(&tls.cert_file), Some(&tls.key_file), tls.client_ca_file.as_ref()].into_iter().flatten());
    let is_stale = files.is_some_and(|mut files| files.any(|file| stale.contains(file)));
    let names = old.servers.first().zip(new.servers.first());
    let is_renamed = names.is_some_and(|(before, now)| {
        (before.sharing.naming, before.sharing.names) != (now.sharing.naming, now.sharing.names)
    });
    let what = match (&old.gateway, &new.gateway) {
        (None, None) if is_renamed && plan.words.is_empty() => Some("clients on stdio see tools under other names"),
        (None, None) => return,
        (Some(_), None) => Some("the gateway is no more"),
        (None, Some(_)) => Some("the gateway is new"),
        (Some(before), Some(now)) if is_otherwise(before, now) => Some("the gateway has other terms"),
        (Some(before), Some(now)) if before.listen != now.listen => None,
        (Some(_), Some(_)) if is_stale => Some("the gateway has another certificate"),
        (Some(_), Some(_)) if is_renamed => Some("the gateway shows its tools under other names"),
        // What servers there are is told of these, and what endpoints are shown is told of them.
        (Some(_), Some(_)) if shown(old) != shown(new) && !plan.words.is_empty() => None,
        (Some(_), Some(_)) if shown(old) != shown(new) => {
            let is_there = |it| shown(old).contains(it);
            let is_order = shown(new).iter().all(is_there);
            let of_tools = "the gateway shows other tools, or calls them otherwise";
            Some(if is_order { "the gateway shows its servers in another order" } else { of_tools })
        }
        (Some(_), Some(_)) => return,
    };
    plan.gateway = true;
    plan.words.extend(what.map(str::to_owned));
    if let (Some(before), Some(now)) = (&old.gateway, &new.gateway)
        && before.listen != now.listen
    {
        plan.move_gateway(Some(now));
    }
}

/// Whether a gateway is another one in more than its address.
fn is_otherwise(before: &GatewaySpec, now: &GatewaySpec) -> bool {
    *before != GatewaySpec { listen: before.listen, ..now.clone() }
}

impl Plan {
    /// Has the gateway be where the config wants it, which may have been told.
    pub(super) fn move_gateway(&mut self, to: Option<&Arc<GatewaySpec>>) {
        self.gateway = true;
        let words = match to {
            Some(spec) => format!("the gateway is to listen on {}", spec.listen),
            None => "the gateway is no more".to_owned(),
        };
        if !self.words.contains(&words) {
            self.words.push(words);
        }
    }

    /// Has the admin address be where the config wants it.
    pub(super) fn move_admin(&mut self, to: Option<&Arc<AdminSpec>>) {
        self.admin = true;
        let words = match to {
            Some(spec) => format!("the admin address is {}", spec.listen),
            None => "there is no admin address any more".to_owned(),
        };
        if !self.words.contains(&words) {
            self.words.push(words);
        }
    }

    /// Tells what becomes of servers. `what`: of one, and of several.
    fn tell(&mut self, [one, several]: [&str; 2], names: Vec<String>) {
        if !names.is_empty() {
            let (what, n) = (if names.len() == 1 { one } else { several }, names.len());
            self.words.push(format!("{} {what}", listed(names.into_iter().take(SHOWN).collect(), n)));
        }
    }

    /// The endpoints that are dialled anew once their links of before have ended.
    pub(super) fn begun(&self) -> Vec<Dialled> {
        let begun = |change: &GroupChange| match change {
            GroupChange::Begin(group) => Some(Dialled { name: group.name.clone(), servers: shows(group) }),
            GroupChange::End(_) | GroupChange::Follow(_) => None,
        };
        self.groups.iter().filter_map(begun).collect()
    }

    /// Longest time for an attempt to connect to an endpoint that may be dialled anew.
    pub(super) fn connecting(&self) -> Duration {
        let groups = self.groups.iter().filter_map(|change| match change {
            GroupChange::Begin(group) | GroupChange::Follow(group) => Some(group),
            GroupChange::End(_) => None,
        });
        let links = groups.flat_map(|group| group.servers.iter().map(|(server, _)| &server.link).chain(&group.link));
        links.map(|link| link.connect_timeout).max().unwrap_or_default()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        let Plan { removed, added, restarted, adjusted, groups, gateway, admin, limits, words } = self;
        let servers = removed.len() + added.len() + restarted.len() + adjusted.len();
        servers + groups.len() + words.len() == 0 && limits.is_none() && !gateway && !admin
    }
}

/// What a server's process gets.
fn gets(server: &ServerSpec) -> impl PartialEq + use<'_> {
    (&server.reach, server.max_frame, server.handshake, server.era)
}

/// Whether two entries start the same program, in other surroundings, and are the same in all else.
fn is_same_command(before: &ServerSpec, server: &ServerSpec) -> bool {
    let (Reach::Command(old), Reach::Command(new)) = (&before.reach, &server.reach) else { return false };
    let rest = |server: &ServerSpec| (server.max_frame, server.handshake, server.era);
    let parts =
        |command: &CommandSpec| (command.program.clone(), command.args.clone(), command.cwd.clone(), command.limits);
    parts(old) == parts(new) && rest(before) == rest(server)
}

/// What a change of a group is told of: where its servers share a connection or not as the endpoint likes it, that is the endpoint.
fn seen_as(before: &Group, group: &Group) -> String {
    let (names, several) = (group.names(), before.servers.len().max(group.servers.len()) > 1);
    if group.mode == Mode::Auto && several { format!("the endpoint of {names}") } else { names.to_string() }
}

/// What a group does otherwise with the calls and tools of the servers that it goes on to show, in words that follow its label; `None` if it
/// does nothing otherwise.
fn treats(before: &Group, group: &Group) -> Option<String> {
    let known: BTreeMap<&str, &ServerSpec> = before.servers.iter().map(|(server, _)| (&*server.name, server)).collect();
    let differs = |is_other: &dyn Fn(&ServerSpec, &ServerSpec) -> bool| {
        let is_another = |server: &ServerSpec| known.get(&*server.name).is_some_and(|before| is_other(before, server));
        group.servers.iter().any(|(server, _)| is_another(server))
    };
    let shown = |policy: &ToolPolicy| ToolPolicy {
        timeout: None,
        timeouts: Vec::new(),
        max_result: None,
        max_results: Vec::new(),
        ..policy.clone()
    };
    let others: [(&str, bool); 7] = [
        ("shows other tools", differs(&|a, b| shown(&a.tools) != shown(&b.tools))),
        (
            "shows its tools under other names",
            differs(&|a, b| (a.sharing.naming, a.sharing.names) != (b.sharing.naming, b.sharing.names)),
        ),
        (
            "has another timeout",
            differs(&|a, b| (a.tools.timeout, &a.tools.timeouts) != (b.tools.timeout, &b.tools.timeouts)),
        ),
        (
            "has another maxResultBytes",
            differs(&|a, b| (a.tools.max_result, &a.tools.max_results) != (b.tools.max_result, &b.tools.max_results)),
        ),
        ("has another turn", differs(&|a, b| a.sharing.turn != b.sharing.turn)),
        ("has another resync", differs(&|a, b| a.sharing.resync != b.sharing.resync)),
        ("has another maxFrameSize", differs(&|a, b| a.max_frame != b.max_frame)),
    ];
    let told: Vec<&str> = others.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What we do with a server.
fn treated(server: &ServerSpec) -> impl PartialEq + use<'_> {
    (server.start_timeout, server.keep_listed, server.instances, &server.health_check, &server.log_file, &server.bounds)
}

/// Where a server is served, and how that is dialled.
fn dialled(
    (server, endpoint): &(ServerSpec, crate::endpoint::Endpoint),
) -> (Arc<str>, crate::endpoint::Endpoint, LinkSpec) {
    (server.name.clone(), endpoint.clone(), (*server.link).clone())
}

/// The servers that a group shows.
fn shows(group: &Group) -> Vec<Arc<str>> {
    group.servers.iter().map(|(server, _)| server.name.clone()).collect()
}

/// Which servers a group shows that the one before did not, and the other way round, in words that follow its label; `None` if there are
/// none.
fn shown(before: &Group, group: &Group) -> Option<String> {
    let (old, new) = (shows(before), shows(group));
    let without = |all: &[Arc<str>], others: &[Arc<str>]| {
        let names: Vec<String> = all.iter().filter(|name| !others.contains(name)).map(ToString::to_string).collect();
        let n = names.len();
        (n > 0).then(|| listed(names.into_iter().take(SHOWN).collect(), n))
    };
    match (without(&new, &old), without(&old, &new)) {
        (Some(came), Some(gone)) => Some(format!("shows {came} from now on, and no longer {gone}")),
        (Some(came), None) => Some(format!("shows {came} from now on")),
        (None, Some(gone)) => Some(format!("no longer shows {gone}")),
        (None, None) => None,
    }
}

/// Everything about a group that matters to its links.
fn parts(group: &Group) -> impl PartialEq + use<'_> {
    let each = |it @ (server, _): &(ServerSpec, _)| {
        (dialled(it), server.tools.clone(), server.sharing, server.max_frame, server.pin)
    };
    (&group.link, group.servers.iter().map(each).collect::<Vec<_>>())
}

/// Whether a group is so much another one that its links can't become those of the other. Turns begin anew with a new link.
fn is_another(before: &Group, group: &Group) -> bool {
    before.agent != group.agent
        || before.mode != group.mode
        || group.mode == Mode::Sequential && parts(before) != parts(group)
}

/// Whether a group is dialled with certificates that have changed.
fn is_stale(group: &Group, stale: &BTreeSet<PathBuf>) -> bool {
    let links = group.servers.iter().map(|(server, _)| &server.link).chain(&group.link);
    links.filter_map(|link| link.ca_file.as_ref()).any(|file| stale.contains(file))
}

fn mode(group: &Group) -> String {
    format!("in mode {}", crate::config::units::word(&group.mode))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::backoff::FLOOR;
    use crate::config::{Instances, Naming, PerPeer};
    use crate::sharing::layout::groups;
    use crate::tools::{Glob, ToolPolicy};

    const LIMITS: Limits = Limits { drain_timeout: Duration::from_secs(5), tool_budget: 8000 };

    fn server(name: &str, token: &str) -> ServerSpec {
        let mut spec = ServerSpec::sample(name, "python", &["x.py"]);
        spec.endpoint = Some(format!("wss://h/?token={token}").parse().unwrap());
        spec
    }

    fn wanted(servers: &[ServerSpec]) -> Wanted {
        Wanted {
            servers: servers.to_vec(),
            groups: groups(servers, &[]),
            gateway: None,
            admin: None,
            limits: LIMITS,
            log_file: None,
            fixed: Vec::new(),
        }
    }

    /// What a plan does, in short.
    fn done(old: &[ServerSpec], new: &[ServerSpec]) -> (Vec<String>, Vec<String>) {
        let plan = plan(&wanted(old), &wanted(new), &BTreeSet::new(), &[]);
        let named = |what: &str, servers: &[ServerSpec]| -> Vec<String> {
            servers.iter().map(|server| format!("{what} {}", server.name)).collect()
        };
        let mut servers: Vec<String> = plan.removed.iter().map(|name| format!("- {name}")).collect();
        servers.extend(named("+", &plan.added).into_iter().chain(named("!", &plan.restarted)));
        servers.extend(named("~", &plan.adjusted));
        let group = |change: &GroupChange| match change {
            GroupChange::End(_) => "end".to_owned(),
            GroupChange::Begin(group) => format!("begin {}", group.names()),
            GroupChange::Follow(group) => format!("follow {}", group.names()),
        };
        assert_eq!(plan.is_empty(), servers.is_empty() && plan.groups.is_empty());
        (servers, plan.groups.iter().map(group).collect())
    }

    #[test]
    fn other_names_reach_also_those_who_come_by_themselves() {
        let gateway = Some(Arc::new(crate::gateway::tests::spec()));
        let (mut before, mut after) = (server("a", "x"), server("a", "x"));
        (before.sharing.naming, after.sharing.naming) = (Naming::Auto, Naming::Prefix);
        // An endpoint with names of its own is not concerned.
        let of = |server: &ServerSpec, gateway: &Option<Arc<GatewaySpec>>| Wanted {
            groups: Vec::new(),
            gateway: gateway.clone(),
            ..wanted(std::slice::from_ref(server))
        };
        for (gateway, told) in [
            (&gateway, "the gateway shows its tools under other names"),
            (&None, "clients on stdio see tools under other names"),
        ] {
            let plan = |new| plan(&of(&before, gateway), &of(new, gateway), &BTreeSet::new(), &[]);
            assert_eq!(plan(&after).words, [told]);
            assert!(plan(&before).is_empty());
        }
    }

    #[test]
    fn what_changes_for_clients_of_the_gateway_alone_is_told() {
        let gateway = Some(Arc::new(crate::gateway::tests::spec()));
        let (a, b) = (server("a", "x"), server("b", "x"));
        let of = |servers: &[ServerSpec]| Wanted { groups: Vec::new(), gateway: gateway.clone(), ..wanted(servers) };
        let tools = Arc::new(ToolPolicy { deny: vec![Glob::new("x")], ..ToolPolicy::default() });
        let before = of(&[a.clone(), b.clone()]);
        for (now, told) in [
            ([b.clone(), a.clone()], "the gateway shows its servers in another order"),
            ([a, ServerSpec { tools, ..b }], "the gateway shows other tools, or calls them otherwise"),
        ] {
            assert_eq!(plan(&before, &of(&now), &BTreeSet::new(), &[]).words, [told]);
        }
        let terms = GatewaySpec { max_sessions: 7, ..(**gateway.as_ref().unwrap()).clone() };
        let moved = |spec: &GatewaySpec| GatewaySpec { listen: "127.0.0.1:81".parse().unwrap(), ..spec.clone() };
        let of = |spec| Wanted { gateway: Some(Arc::new(spec)), ..before.clone() };
        let (other, at) = ("the gateway has other terms", "the gateway is to listen on 127.0.0.1:81");
        for (now, told) in [
            (of(terms.clone()), vec![other]),
            (of(moved(gateway.as_ref().unwrap())), vec![at]),
            (of(moved(&terms)), vec![other, at]),
        ] {
            let mut plan = plan(&before, &now, &BTreeSet::new(), &[]);
            assert_eq!(plan.words, told);
            // Where it is not is told once.
            if told.contains(&at) {
                plan.move_gateway(now.gateway.as_ref());
            }
            assert_eq!(plan.words, told);
        }
        let mut plan = Plan::default();
        plan.move_gateway(gateway.as_ref());
        assert!(plan.words[0].starts_with("the gateway is to listen on ") && !plan.is_empty(), "{:?}", plan.words);
    }

    #[test]
    fn only_what_changed_is_touched() {
        let (a, b, c) = (server("a", "x"), server("b", "y"), server("c", "x"));
        let old = [a.clone(), b.clone(), c.clone()];
        let with = |change: fn(&mut ServerSpec)| {
            let mut b = b.clone();
            change(&mut b);
            done(&old, &[a.clone(), b, c.clone()])
        };
        let told = |servers: &[&str], groups: &[&str]| -> (Vec<String>, Vec<String>) {
            (servers.iter().map(ToString::to_string).collect(), groups.iter().map(ToString::to_string).collect())
        };
        assert_eq!(done(&old, &old), told(&[], &[]));
        assert_eq!(with(|b| b.command_mut().args.push("-v".into())), told(&["! b"], &[]));
        assert_eq!(with(|b| b.keep_listed = false), told(&["~ b"], &[]));
        let per_peer = |b: &mut ServerSpec| b.instances = Instances::PerPeer(PerPeer { idle: FLOOR, most: 2 });
        assert_eq!(with(per_peer), told(&["~ b"], &[]));
        assert_eq!(
            with(|b| b.tools = Arc::new(ToolPolicy { deny: vec![Glob::new("x")], ..ToolPolicy::default() })),
            told(&[], &["follow b"])
        );
        assert_eq!(with(|b| Arc::make_mut(&mut b.link).headers.clear()), told(&[], &[]));
        assert_eq!(
            with(|b| Arc::make_mut(&mut b.link).ping_interval *= 2),
            told(&[], &["follow b"]),
            "and its one link is made anew"
        );
        assert_eq!(with(|b| b.endpoint = Some("wss://h/?token=z".parse().unwrap())), told(&[], &["end", "begin b"]));
        assert_eq!(with(|b| b.sharing.mode = Mode::Multiplex), told(&[], &["end", "begin b"]));
        assert_eq!(done(&old, &[a.clone(), c.clone()]), told(&["- b"], &["end"]));
        assert_eq!(done(&old[..2], &old), told(&["+ c"], &["follow a+c"]));
        assert_eq!(done(&old, &old[..2]), told(&["- c"], &["follow a"]));
    }

    #[test]
    fn a_change_names_the_servers_that_come_and_go_and_the_limits_that_are_others() {
        let (a, b, c) = (server("a", "x"), server("b", "x"), server("c", "x"));
        let words = |old: &Wanted, new: &Wanted| plan(old, new, &BTreeSet::new(), &[]).words;
        let before = wanted(&[a.clone(), b.clone()]);
        assert_eq!(
            words(&before, &wanted(&[a.clone(), c.clone()])),
            ["b is gone", "c is new", "the endpoint of a+c shows c from now on, and no longer b"]
        );
        assert_eq!(
            words(&before, &wanted(std::slice::from_ref(&a))),
            ["b is gone", "the endpoint of a no longer shows b"]
        );
        let more = wanted(&[a.clone(), b.clone(), c.clone()]);
        assert_eq!(words(&before, &more), ["c is new", "the endpoint of a+b+c shows c from now on"]);
        assert_eq!(
            words(&before, &wanted(&[b.clone(), a.clone()])),
            ["the endpoint of b+a shows its servers in another order"]
        );
        let tools = Arc::new(ToolPolicy { deny: vec![Glob::new("x")], ..ToolPolicy::default() });
        let fewer = ServerSpec { tools, ..a.clone() };
        assert_eq!(
            words(&before, &wanted(&[fewer, b.clone(), c.clone()])),
            ["c is new", "the endpoint of a+b+c shows c from now on, and shows other tools"]
        );
        let slow = ServerSpec { keep_listed: false, ..a.clone() };
        assert_eq!(words(&before, &wanted(&[slow, b.clone()])), ["a has another keepListed"]);
        let patient = ServerSpec { start_timeout: Duration::from_secs(7), ..a.clone() };
        assert_eq!(words(&before, &wanted(&[patient, b.clone()])), ["a has another startTimeout"]);
        let own = ServerSpec { instances: Instances::PerPeer(PerPeer { idle: FLOOR, most: 2 }), ..a.clone() };
        assert_eq!(words(&before, &wanted(&[own, b.clone()])), ["a is shared otherwise"]);
        let policy = |policy: ToolPolicy| {
            let a = ServerSpec { tools: Arc::new(policy), ..a.clone() };
            words(&before, &wanted(&[a, b.clone()]))
        };
        let timeout = Some(Duration::from_secs(3));
        assert_eq!(policy(ToolPolicy { timeout, ..ToolPolicy::default() }), ["a+b has another timeout"]);
        let max_result = Some(4096);
        assert_eq!(policy(ToolPolicy { max_result, ..ToolPolicy::default() }), ["a+b has another maxResultBytes"]);
        assert_eq!(
            policy(ToolPolicy { timeout, slim: true, ..ToolPolicy::default() }),
            ["a+b shows other tools, has another timeout"]
        );
        let surrounded = |server: &ServerSpec| {
            let mut server = server.clone();
            server.command_mut().env.push(("X".to_owned(), crate::secrecy::Secret::new("1")));
            server
        };
        let mut both = surrounded(&b);
        both.command_mut().args.push("-v".into());
        assert_eq!(
            words(&before, &wanted(&[surrounded(&a), both])),
            ["b is restarted, as its entry has changed", "a is restarted, as its environment has changed"]
        );
        let moved = |token, mode| {
            let mut a = server("a", token);
            a.sharing.mode = mode;
            words(&wanted(&[server("a", "x")]), &wanted(&[a]))
        };
        assert_eq!(moved("y", Mode::Auto), ["a is connected anew, in mode auto, as its address has changed"]);
        assert_eq!(moved("x", Mode::Multiplex), ["a is connected anew, in mode multiplex, as its mode has changed"]);
        let limits = Limits { drain_timeout: Duration::from_secs(9), ..LIMITS };
        let told = plan(&before, &Wanted { limits, ..before.clone() }, &BTreeSet::new(), &[]);
        assert_eq!((told.words, told.limits), (vec!["drainTimeout is 9.0 s".to_owned()], Some(limits)));
        let fixed = |dir: &str| {
            let fixed = Fixed { key: "cacheDir", runs: "a".to_owned(), written: dir.to_owned() };
            Wanted { fixed: vec![fixed], ..before.clone() }
        };
        assert_eq!(words(&fixed("a"), &fixed("b")), ["cacheDir will count when mcp-pipe is started anew"]);
        assert_eq!(words(&fixed("b"), &fixed("a")), ["cacheDir says again what counts since the start"]);
        assert!(words(&fixed("b"), &fixed("b")).is_empty());
    }

    #[test]
    fn certificates_that_changed_have_their_endpoints_dialled_anew_and_no_others() {
        let (a, mut b) = (server("a", "x"), server("b", "y"));
        Arc::make_mut(&mut b.link).ca_file = Some("/ca.pem".into());
        let wanted = wanted(&[a, b]);
        let plan = plan(&wanted, &wanted, &BTreeSet::from(["/ca.pem".into()]), &[]);
        assert_eq!(plan.words, ["b is connected anew, in mode auto, as its certificates have changed"]);
        assert!(matches!(&plan.groups[..], [GroupChange::Begin(_)]));
    }
}
