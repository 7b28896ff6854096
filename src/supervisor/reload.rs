//! Has another config count while everything runs, and touches only what has changed.
//!
//! What a plan takes away ends first, then what is new begins, and last the servers go that nobody shows any more: so an endpoint that
//! takes one connection never has two, and no call is cut off that can still be answered.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use super::plan::{Fixed, GroupChange, GroupKey, Plan, Wanted, plan};
use super::watch::Watch;
use super::{Applied, Reread, Supervisor, Working};
use crate::backoff::FLOOR;
use crate::config::{Config, LeaseSpec, without_made_up_key};
use crate::control::orders::{Awaited, Given, NotGiven, Until};
use crate::error::{Code, Place, Problem, Problems};
use crate::last_run;
use crate::pipe::Limits;
use crate::process::aside::aside;
use crate::process::systemd::Step;
use crate::sharing::layout::{Group, groups};

/// Longest time for which a change that was noticed without being told is told to whoever then asks for it.
const JUST_NOW: Duration = Duration::from_secs(10);
/// Longest wait for the process of a new server, besides its start.
const ENDING: Duration = Duration::from_secs(15);

/// How often systemd is told that a reload is over, where it has so much unread, and the pause between: it reads within milliseconds, and
/// waits for that.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(50);

/// What counts from the start of a run to its end. `before`: the same of the config before, if there was one.
pub(super) fn fixed(
    (cache, state): (Option<&Path>, Option<&Path>),
    lease: Option<&LeaseSpec>,
    before: &[Fixed],
) -> Vec<Fixed> {
    let state_key = "stateDir, as far as it is for sessions of MCP clients,";
    // As it is shown it has no secret in it, and a changed one would be passed over.
    let password = lease.and_then(|lease| lease.login.as_ref()).map(|(_, password)| {
        let mut hash = DefaultHasher::new();
        password.hash(&mut hash);
        hash.finish()
    });
    let all = [
        ("cacheDir", format!("{cache:?}")),
        (state_key, format!("{state:?}")),
        // Who had agreed on something by the old one would not hear of the new one.
        ("lease", format!("{lease:?} {password:?}")),
    ];
    let of = |(key, written): (&'static str, String)| {
        let runs = before.iter().find(|before| before.key == key).map_or(&written, |before| &before.runs).clone();
        Fixed { key, runs, written }
    };
    all.map(of).into()
}

/// Most bytes of a config that is looked at once more, whether it is empty: some line breaks.
const BLANK: u64 = 64;

/// Says of a config that was there at the start, and is gone or empty now, just that. Reads the file. What a person does at a start is no
/// remedy while the old config runs.
fn of_lost(mut problems: Problems, config: &Path) -> Problems {
    let is_blank = |file: &fs::Metadata| {
        file.is_file() && file.len() <= BLANK && fs::read(config).is_ok_and(|text| text.trim_ascii().is_empty())
    };
    let (code, what) = match fs::metadata(config) {
        Err(error) if error.kind() == ErrorKind::NotFound => (Code::FileMissing, "is gone"),
        Ok(file) if is_blank(&file) => (Code::NoServer, "is empty"),
        Ok(_) | Err(_) => {
            problems.mistakes.iter_mut().for_each(for_a_reload);
            return problems;
        }
    };
    let remedy = "bring it back, or stop mcp-pipe".to_owned();
    problems.mistakes =
        vec![Problem { place: Place::file(config.display().to_string()), code, what: what.to_owned(), remedy }];
    problems
}

/// Leaves in a mistake's remedy what helps while mcp-pipe runs: neither its environment nor its command line can change.
fn for_a_reload(mistake: &mut Problem) {
    mistake.remedy = if mistake.code == Code::NoServer {
        "add or enable one, or stop mcp-pipe".to_owned()
    } else if mistake.code == Code::EndpointMissing {
        "write MCP_ENDPOINT=wss://… in .env, or \"endpoint\" in the config; or stop mcp-pipe".to_owned()
    } else if let Some(remedy) = without_made_up_key(&mistake.remedy) {
        remedy
    } else {
        mistake.remedy.replace("in the environment or in .env", "in .env")
    };
}

impl Supervisor {
    /// Reads the config again, and has it count. `stale`: what of its files is known to have changed.
    pub(super) async fn reload(
        &mut self,
        reread: Option<&Reread>,
        watch: &mut Watch,
        stale: BTreeSet<PathBuf>,
    ) -> Result<Given, NotGiven> {
        let _unread = self.systemd.step(Step::Reload);
        let told = self.read_again(reread, watch, stale).await;
        for _ in 0..TRIES {
            if self.systemd.step(Step::Reloaded) {
                break;
            }
            sleep(AGAIN).await;
        }
        told
    }

    async fn read_again(
        &mut self,
        reread: Option<&Reread>,
        watch: &mut Watch,
        stale: BTreeSet<PathBuf>,
    ) -> Result<Given, NotGiven> {
        let Some(reread) = reread.cloned() else {
            let why = "with --local the config is read at the start only: restart mcp-pipe";
            return Err(NotGiven::Impossible(why.into()));
        };
        let by_itself = !stale.is_empty();
        // What has changed by now counts now, and not once more; what changes while the config is read counts later.
        *watch = Watch::of(watch.paths()).await;
        let (place, state) = (PathBuf::from(&self.common.place), self.common.state.clone());
        let known_good = move |place: &Path| Some(Arc::new(last_run::good(&state?, place)?.told(place)));
        let lost = move |problems| Problems { known_good: known_good(&place), ..of_lost(problems, &place) };
        let resolved = match aside(move || reread().map_err(lost)).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(problems)) => {
                self.common.status.reloaded(false);
                self.common.status.set_config_mistakes(problems.mistakes.clone());
                return Err(self.refuse(&problems));
            }
            Err(error) => {
                self.common.status.reloaded(false);
                error!(event = "ERROR_RELOAD", "the config can't be read again: {error}; the old one runs on");
                return Err(NotGiven::Impossible(format!("the config can't be read again: {error}")));
            }
        };
        self.common.status.set_config_mistakes(Vec::new());
        self.common.status.reloaded(true);
        self.common.run.redactor.add(resolved.secrets.iter().cloned());
        self.common.run.redactor.spare(resolved.names.iter().map(String::as_str));
        resolved.log(&self.common.run.redactor);
        let warnings: Vec<String> = resolved.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        let Config {
            servers,
            endpoints,
            gateway,
            admin,
            lease,
            inputs,
            left_out,
            drain_timeout,
            tool_budget,
            cache_dir,
            state_dir,
            log_file,
            written,
            ..
        } = resolved.config;
        self.common.status.leave_out(&left_out);
        self.helm.leave_out(left_out);
        if watch.paths() != inputs {
            *watch = Watch::of(inputs).await;
        }
        let dirs = (cache_dir.as_deref(), state_dir.as_deref());
        let fixed = fixed(dirs, lease.as_deref(), &self.wanted.fixed);
        let limits = Limits { drain_timeout, tool_budget };
        let new = Wanted { groups: groups(&servers, &endpoints), servers, gateway, admin, limits, log_file, fixed };
        let mut plan = plan(&self.wanted, &new, &stale, &self.helm.stopped());
        if std::mem::take(&mut self.refused) {
            info!(event = "CONFIG_RELOADED", "the config has no mistakes any more");
        }
        // It is new, or could not be when the config last asked for that.
        if self.front.is_elsewhere(new.gateway.as_ref()) {
            plan.move_gateway(new.gateway.as_ref());
        }
        if self.admin.is_elsewhere(new.admin.as_ref()) {
            plan.move_admin(new.admin.as_ref());
        }
        if plan.is_empty() {
            let _unheard = self.counts.send(written.map(|text| (text, Vec::new(), Instant::now())));
            let undone = self.note_undone(None).await;
            let just_now = self.applied.take().filter(|applied| applied.at.elapsed() <= JUST_NOW);
            let (told, awaited, within) = match just_now {
                Some(Applied { told, awaited, within, .. }) => (told, awaited, within),
                None => ("nothing changed".to_owned(), Awaited::default(), ENDING),
            };
            return Ok(Given { until: Until::Reloaded { told, undone, warnings, awaited }, within });
        }
        let told = format!("changed: {}", plan.words.join("; "));
        info!(event = "CONFIG_RELOADED", "{}", self.common.run.redactor.clean_all(&told));
        let new_ones = plan.added.iter().chain(&plan.restarted);
        let servers: Vec<Arc<str>> = new_ones.clone().map(|server| server.name.clone()).collect();
        let starting = new_ones.map(|server| server.start_timeout).max().unwrap_or_default();
        let links = Some(self.common.status.mark());
        let awaited = Awaited { servers, links, endpoints: plan.begun() };
        let within = starting + plan.connecting() + ENDING;
        let from = Instant::now();
        let wrong = self.apply(plan, &new).await;
        // Only now: what serves before that is the old one.
        let _unheard = self.counts.send(written.map(|text| (text, awaited.servers.clone(), from)));
        let undone = self.note_undone(wrong).await;
        // Which server an address means.
        new.servers.iter().for_each(|server| self.helm.change(server, false));
        self.wanted = new;
        self.applied =
            by_itself.then(|| Applied { at: Instant::now(), told: told.clone(), awaited: awaited.clone(), within });
        Ok(Given { until: Until::Reloaded { told, undone, warnings, awaited }, within })
    }

    /// Has the gateway read its files anew, and notes for `status` what it could not do, with what is `wrong` besides.
    async fn note_undone(&mut self, wrong: Option<String>) -> Vec<String> {
        let undone = wrong.into_iter().chain(self.front.renew().await).chain(self.admin.renew().await);
        let undone: Vec<String> = undone.collect();
        self.common.status.set_gateway_fault((!undone.is_empty()).then(|| undone.join("; ")));
        undone
    }

    /// The config has mistakes: they are told, and nothing changes.
    fn refuse(&mut self, problems: &Problems) -> NotGiven {
        // Its first line says that nothing was started.
        let told = self.common.run.redactor.clean_all(&problems.to_string()).into_owned();
        let told = told.split_once('\n').map_or(&*told, |(_, problems)| problems);
        let lines: Vec<&str> = told.lines().map(str::trim).collect();
        error!(event = "ERROR_RELOAD", "the config has mistakes, and the old one runs on: {}", lines.join(" "));
        self.refused = true;
        NotGiven::Mistakes(format!("the config has mistakes, and the old one runs on\n{told}"))
    }

    /// Returns what could not be done.
    async fn apply(&mut self, plan: Plan, new: &Wanted) -> Option<String> {
        let Plan { removed, added, restarted, adjusted, groups, gateway, admin: is_admin_other, limits, words: _ } =
            plan;
        if let Some(limits) = limits {
            // First: links that end are to end by these.
            self.common.run.limits = limits;
            self.common.hub.limit(limits).await;
        }
        for name in &removed {
            // It is still there for whoever calls it, until nobody is shown it any more.
            self.common.hub.start_no_more(name).await;
        }
        for spec in added {
            self.add(spec);
        }
        for (spec, is_another) in
            restarted.into_iter().map(|it| (it, true)).chain(adjusted.into_iter().map(|it| (it, false)))
        {
            let Some(mut entry) = self.common.entries.get(&spec.name) else { continue };
            let spec = Arc::new(spec);
            entry.spec = spec.clone();
            self.common.entries.put(entry);
            self.common.hub.change(spec.clone()).await;
            self.helm.change(&spec, is_another);
        }
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for change in groups {
            match change {
                GroupChange::End(key) => ended.extend(self.take(&key)),
                GroupChange::Begin(group) => {
                    ended.extend(self.take(&GroupKey::of(&group)));
                    begun.push(group);
                }
                GroupChange::Follow(group) => self.follow(group).await,
            }
        }
        let is_pause_due = !ended.is_empty() && !begun.is_empty();
        ended.iter().for_each(|crew| crew.ended.cancel());
        for crew in ended {
            // One that has ended by itself says nothing.
            let _gone = crew.gone.await;
        }
        if is_pause_due {
            // Some endpoints confuse a connection with the last one if it follows at once.
            sleep(FLOOR).await;
        }
        begun.into_iter().for_each(|group| self.begin(group));
        self.common.run_fallbacks(&new.servers).await;
        let mut wrong = None;
        if gateway {
            let Supervisor { common, front, tasks, .. } = self;
            wrong = front.change(new.gateway.as_ref(), &new.servers, common, tasks).await;
        }
        if is_admin_other {
            let Supervisor { common, admin, tasks, .. } = self;
            let of_admin = admin.change(new.admin.as_ref(), common, tasks).await;
            wrong = match (wrong, of_admin) {
                (Some(one), Some(other)) => Some(format!("{one}; {other}")),
                (one, other) => one.or(other),
            };
        }
        self.guests.change(&new.servers, &self.common).await;
        for name in removed {
            self.helm.remove(&name);
            self.common.entries.remove(&name);
            self.common.hub.remove(&name).await;
        }
        wrong
    }

    /// Takes a crew out of those at work.
    fn take(&mut self, key: &GroupKey) -> Option<Working> {
        let at = self.crews.iter().position(|crew| crew.key == *key)?;
        Some(self.crews.remove(at))
    }

    /// Tells a crew what its group is now, and waits until that is so.
    async fn follow(&mut self, group: Group) {
        let key = GroupKey::of(&group);
        let Some(crew) = self.crews.iter().find(|crew| crew.key == key) else { return };
        let (done, followed) = oneshot::channel();
        tokio::select! {
            sent = crew.changes.send((group, done)) => drop(sent),
            () = self.common.run.stop.drain().cancelled() => return,
        }
        tokio::select! {
            _followed = followed => {}
            () = self.common.run.stop.drain().cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Standby, TlsSpec};
    use crate::secrecy::Secret;

    #[test]
    fn another_password_of_a_lease_is_another_lease() {
        let lease = |password: &str| LeaseSpec {
            etcd: Vec::new(),
            ttl: Duration::from_secs(3),
            prefix: "/mcp-pipe/".to_owned(),
            node: None,
            standby: Standby::Cold,
            login: Some(("root".to_owned(), Secret::new(password))),
            tls: TlsSpec { ca_file: None, identity: None },
        };
        let before = fixed((None, None), Some(&lease("one")), &[]);
        let written = |password| fixed((None, None), Some(&lease(password)), &before);
        assert_eq!(written("one"), before);
        assert!(written("two").iter().any(|now| now.key == "lease" && now.written != now.runs));
    }
}
