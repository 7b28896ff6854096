//! What surrounds mcp-pipe on this machine: limits, folders, ports, a container, and others who may be in the way. Looked at, and nothing is
//! changed.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::check::{Check, Fault, Found, Key};
use super::code::Code;
use super::facts::Facts;
use super::{CONFIG, DAEMON, FAULT};
use crate::config::{Config, MAX_CONFIG, Surroundings, sha256};
use crate::disk::read::{Accept, whole};
use crate::endpoint::is_loopback;
use crate::last_run::{self, Fate};
use crate::logging::utc;
use crate::net::port;
use crate::process::limits;
use crate::secrecy::Redactor;
use crate::words::{counted, listed};

const PORT: &str = "listen.port";

/// Files that a server takes: its three pipes, its endpoint's connection, and what is open for a moment.
const FILES_OF_SERVER: u64 = 6;
/// Files that mcp-pipe itself takes, and room for clients.
const FILES: u64 = 64;
/// Least room on a disk of which nothing is told.
#[cfg(unix)]
const ROOM: u64 = 16 << 20;

/// All that can be looked at here. `daemon`: the process of a mcp-pipe that runs with this config, whose ports are its own.
pub(super) fn checks(config: &Config, daemon: Option<u32>, redactor: &Redactor) -> Vec<Check> {
    let (mut checks, runs) = (Vec::new(), daemon.is_some());
    let mut add = |id, target: &str, found| checks.push(Check::new(Key::of(id, target), found));
    add("machine.files", "", files(config.servers.len() as u64, most_files(daemon)));
    let folders = [("machine.cache", &config.cache_dir), ("machine.state", &config.state_dir)];
    for (id, folder) in folders.into_iter().filter_map(|(id, folder)| Some((id, folder.as_ref()?))) {
        add(id, &folder.display().to_string(), self::folder(folder));
    }
    let container = container();
    if let Some(kind) = container {
        add("machine.container", "", Found::Good(format!("runs in a container ({kind})")));
    }
    if let Some(killed) = killed_for_memory(daemon) {
        let what = format!("the system has ended {} of this group because memory ran out", counted(killed, "process"));
        let remedy = "give it more memory (MemoryMax= of systemd, --memory of a container), or run fewer servers";
        add("machine.memory", "", Found::Odd { what, remedy: remedy.to_owned() });
    }
    if config.place.is_file() && is_mounted(&config.place) {
        let what =
            "is a mount of its own, so a new file that an editor or git puts in its place outside is not seen here";
        let remedy = "mount the folder in which it lies";
        add(
            "config.mount",
            &config.place.display().to_string(),
            Found::Odd { what: what.to_owned(), remedy: remedy.to_owned() },
        );
    }
    let listeners = [
        ("gateway", config.gateway.as_ref().map(|gateway| gateway.listen)),
        ("admin", config.admin.as_ref().map(|admin| admin.listen)),
    ];
    if let [(_, Some(gateway)), (_, Some(admin))] = listeners
        && gateway == admin
        && gateway.port() != 0
    {
        let what = format!("the gateway has {admin} as well, and only one can listen there");
        let remedy = "write another port for one of them (\"listen\")".to_owned();
        add("listen.both", "admin", Found::Bad(Fault { code: Code::PortTaken, what, remedy }));
    }
    for (name, listen) in listeners.into_iter().filter_map(|(name, listen)| Some((name, listen?))) {
        add(
            PORT,
            name,
            if runs { Found::Good(format!("{listen}, by the mcp-pipe that runs")) } else { self::port(listen) },
        );
        if is_loopback(listen.ip()) && container.is_some() {
            let what = format!("listens on {listen}: in a container nobody outside of it gets there");
            let remedy = format!("\"listen\": \"0.0.0.0:{}\" with an API key, and publish the port", listen.port());
            add("listen.reach", name, Found::Odd { what, remedy });
        }
    }
    if let Some(check) = others(runs) {
        add("machine.others", "", check);
    }
    if let Some(found) = config.state_dir.as_ref().and_then(|folder| before(folder, &config.place, redactor)) {
        add("daemon.before", "", found);
    }
    let after = |check: Check| {
        // A gateway that a reload could not move is not where the config says.
        let moved = (check.key == Key::of(PORT, "gateway")).then(|| Key::of(FAULT, "gateway"));
        check.after([Key::of(CONFIG, ""), Key::of(DAEMON, "")]).after(moved)
    };
    checks.into_iter().map(after).collect()
}

/// That looking at this machine takes longer than anybody waits.
pub(super) fn hangs() -> Check {
    let what = "a folder or a disk does not answer, so this machine was not looked at".to_owned();
    let remedy =
        "see that the network drives are there on which the config, the cache and the state folder are".to_owned();
    Check::new(Key::of("machine.disk", ""), Found::Odd { what, remedy })
}

/// How the last mcp-pipe with this config ended that runs no more.
fn before(folder: &Path, config: &Path, redactor: &Redactor) -> Option<Found> {
    let last = last_run::read(folder, config).ok()??.before?;
    let what = format!("the run before {}", last.told(redactor));
    let odd = |remedy: &str| Found::Odd { what: what.clone(), remedy: remedy.to_owned() };
    Some(match last.fate() {
        Fate::Runs | Fate::Ended => Found::Good(what),
        Fate::Failed => odd("see what it says; mcp-pipe run says it again"),
        Fate::Panicked => odd("that is a fault of mcp-pipe: report it, with mcp-pipe doctor --bundle FILE"),
        Fate::Died => {
            odd("see who has killed it: the kernel's log where memory ran out (journalctl -k), else a service manager")
        }
        Fate::WentDown => odd("nothing, if the machine was restarted; else see its power and its kernel's log"),
    })
}

/// The same with the last lines of its log, for whoever helps.
pub(super) fn last_words(folder: &Path, config: &Path, redactor: &Redactor) -> Option<String> {
    let last = last_run::read(folder, config).ok()??.before?;
    let lines: Vec<&str> = last.lines().collect();
    Some(format!("the run before {}\n{}\n", last.told(redactor), lines.join("\n")))
}

/// What of this machine may be otherwise on another.
pub(super) fn facts(config: Option<&Path>, surroundings: &Surroundings) -> Facts {
    let path = surroundings.env.get("PATH").unwrap_or_default();
    let hash = config
        .and_then(|file| whole(file, MAX_CONFIG, Accept::Files).ok())
        .map(|text| sha256(&String::from_utf8_lossy(&text)));
    Facts {
        at: utc(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        container: container().map(str::to_owned),
        // So much tells files apart, and does not help to guess what is in one.
        config: hash.map(|hash| hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()),
        path: std::env::split_paths(path).map(|folder| folder.display().to_string()).collect(),
        environment: surroundings.env.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect(),
        ..Facts::default()
    }
}

/// The newest of the files that this machine itself has written: its clock was there at least once.
pub(super) fn newest(config: Option<&Path>) -> Option<(String, SystemTime)> {
    let files = config.map(Path::to_owned).into_iter().chain(std::env::current_exe());
    let changed = |file: PathBuf| {
        let at = file.metadata().ok()?.modified().ok()?;
        Some((file.display().to_string(), at))
    };
    files.filter_map(changed).max_by_key(|(_, at)| *at)
}

/// What a process has in /proc: whatever is asked about is the mcp-pipe that runs, else we ourselves.
#[cfg(unix)]
fn of_process(daemon: Option<u32>, file: &str) -> Option<String> {
    let process = daemon.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    std::fs::read_to_string(format!("/proc/{process}/{file}")).ok()
}

/// How many files may be open; `None`: as many as one likes, `Err`: that can't be found out.
#[cfg(unix)]
fn most_files(daemon: Option<u32>) -> Result<Option<u64>, &'static str> {
    use rustix::process::{Resource, getrlimit};
    if daemon.is_none() {
        return Ok(getrlimit(Resource::Nofile).current);
    }
    let limits = of_process(daemon, "limits").ok_or("those of the mcp-pipe that runs are not to be seen")?;
    Ok(limit_of(&limits))
}

/// The limit on open files that counts, of `/proc/PID/limits` (proc(5)).
#[cfg(unix)]
fn limit_of(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(not(unix))]
fn most_files(_daemon: Option<u32>) -> Result<Option<u64>, &'static str> {
    Err("this system has no such limit")
}

fn files(servers: u64, most: Result<Option<u64>, &str>) -> Found {
    let limit = match most {
        Ok(Some(limit)) => limit,
        Ok(None) => return Found::Good("no limit on open files".to_owned()),
        Err(why) => return Found::Skipped(why.to_owned()),
    };
    let needed = FILES + servers * FILES_OF_SERVER;
    if limit >= needed {
        return Found::Good(format!("{limit} open files at most"));
    }
    let what = format!("{limit} open files at most; {} want {needed} or so", counted(servers as usize, "server"));
    Found::Odd { what, remedy: "raise it: ulimit -n, LimitNOFILE= of systemd".to_owned() }
}

/// Whether something can be kept in a folder, which need not be there yet.
#[cfg(unix)]
fn folder(folder: &Path) -> Found {
    use rustix::fs::{Access, access, statvfs};
    let odd = |what: String, remedy: &str| Found::Odd { what, remedy: remedy.to_owned() };
    let Some(there) = folder.ancestors().find(|at| at.exists()) else { return Found::Skipped(String::new()) };
    let named = if there == folder { String::new() } else { format!(", as {} is", there.display()) };
    if !there.is_dir() {
        return odd(format!("can't be made: {} is no folder", there.display()), "name another one in the config");
    }
    if access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return odd(
            format!("can't be written to{named}"),
            "let mcp-pipe's user write there, or name another folder in the config",
        );
    }
    let Ok(disk) = statvfs(there) else { return Found::Good("can be written to".to_owned()) };
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    if left < ROOM || (disk.f_files > 0 && disk.f_favail == 0) {
        return odd(
            format!("its disk is full: {} left", room(left)),
            "make room, or name another folder in the config",
        );
    }
    Found::Good(format!("can be written to; {} left", room(left)))
}

/// Room on a disk.
#[cfg(unix)]
fn room(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_000 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

#[cfg(not(unix))]
fn folder(_folder: &Path) -> Found {
    Found::Skipped("not looked at on this system".to_owned())
}

/// Whether an address can be listened on.
fn port(listen: SocketAddr) -> Found {
    match TcpListener::bind(listen) {
        Ok(_) => Found::Good(format!("{listen} is free")),
        Err(error) => {
            let holder = port::holder(listen).filter(|_| error.kind() == std::io::ErrorKind::AddrInUse);
            let why = holder.map_or_else(|| limits::told(&error), |holder| format!("{holder}, listens there"));
            let remedy = "end that program, or write another port into the config (\"listen\")".to_owned();
            Found::Bad(Fault { code: Code::PortTaken, what: format!("{listen} can't be listened on: {why}"), remedy })
        }
    }
}

/// In what kind of container this is.
#[cfg(target_os = "linux")]
fn container() -> Option<&'static str> {
    let is = |file: &str| Path::new(file).exists();
    if is("/.dockerenv") {
        Some("Docker")
    } else if is("/run/.containerenv") {
        Some("Podman")
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Some("Kubernetes")
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
fn container() -> Option<&'static str> {
    None
}

/// How many processes of its control group the system has ended because memory ran out.
#[cfg(target_os = "linux")]
fn killed_for_memory(daemon: Option<u32>) -> Option<usize> {
    let events = std::fs::read_to_string(events_of(&of_process(daemon, "cgroup")?)?).ok()?;
    killed(&events)
}

/// Where the events of a group's memory are told, by `/proc/PID/cgroup` (cgroups(7)): of cgroup v1 where that has memory, else of v2.
#[cfg(target_os = "linux")]
fn events_of(groups: &str) -> Option<String> {
    let places = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let of_v1 = places().find(|(what, _)| what.split(',').any(|one| one == "memory"));
    let of_v1 = of_v1.map(|(_, place)| format!("/sys/fs/cgroup/memory{place}/memory.oom_control"));
    let of_v2 = || places().find(|(what, _)| what.is_empty());
    of_v1.or_else(|| of_v2().map(|(_, place)| format!("/sys/fs/cgroup{place}/memory.events")))
}

/// How many were ended, by these events.
#[cfg(target_os = "linux")]
fn killed(events: &str) -> Option<usize> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok().filter(|killed| *killed > 0)
}

#[cfg(not(target_os = "linux"))]
fn killed_for_memory(_daemon: Option<u32>) -> Option<usize> {
    None
}

/// Whether a file is the place of a mount (proc(5), `/proc/self/mountinfo`).
#[cfg(target_os = "linux")]
fn is_mounted(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Blanks are written as \040 there.
    let written = file.to_string_lossy().replace(' ', "\\040");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(&*written))
}

#[cfg(not(target_os = "linux"))]
fn is_mounted(_file: &Path) -> bool {
    false
}

/// Most processes that are named.
const SHOWN: usize = 5;

/// Other programs of the kind, which may use the same token.
#[cfg(target_os = "linux")]
fn others(runs: bool) -> Option<Found> {
    let ours = std::process::id();
    let all = std::fs::read_dir("/proc").ok()?.flatten();
    let mut found = Vec::new();
    for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != ours) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let name = |word: &[u8]| word.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        // The script after which this program is made, and its many copies.
        if words.iter().take(3).any(|word| name(word) == b"mcp_pipe.py") {
            found.push(format!("process {pid} (mcp_pipe.py)"));
        }
    }
    if found.is_empty() {
        return None;
    }
    let also = if runs { "as well" } else { "already" };
    let what =
        format!("{} may serve the same endpoint {also}", listed(found.iter().take(SHOWN).collect(), found.len()));
    Some(Found::Odd {
        what,
        remedy: "end it where it has the same token: most endpoints take one connection".to_owned(),
    })
}

#[cfg(not(target_os = "linux"))]
fn others(_runs: bool) -> Option<Found> {
    None
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_told_with_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let Found::Bad(fault) = port(taken.local_addr().unwrap()) else { panic!("it is taken") };
        assert!(fault.what.contains(&format!("process {}", std::process::id())), "{}", fault.what);
        assert_eq!(fault.code.as_str(), "port-taken");
        let free = taken.local_addr().unwrap();
        drop(taken);
        assert!(matches!(port(free), Found::Good(_)));
    }

    #[test]
    fn a_folder_is_looked_at_where_it_would_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a/b");
        assert!(matches!(folder(&missing), Found::Good(_)) && !missing.exists());
        std::fs::write(dir.path().join("a"), "").unwrap();
        let Found::Odd { what, .. } = folder(&missing) else { panic!("it can't be made") };
        assert!(what.contains("is no folder"), "{what}");
    }

    #[test]
    fn limits_and_groups_are_those_of_the_process_that_runs() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            32                   1048576              files     \n";
        assert_eq!(limit_of(limits), Some(32));
        assert_eq!(limit_of("Max open files            unlimited            unlimited            files"), None);
        let own = most_files(Some(std::process::id()));
        assert_eq!(own, most_files(None), "our own, by /proc");
        assert!(most_files(Some(u32::MAX)).is_err());
        let Found::Odd { what, .. } = files(2, Ok(Some(32))) else { panic!("too few") };
        assert_eq!(what, "32 open files at most; 2 servers want 76 or so");
        assert!(matches!(files(2, Ok(None)), Found::Good(_)) && matches!(files(2, Err("x")), Found::Skipped(_)));
        for (groups, want) in [
            ("0::/a.slice/b.service\n", Some("/sys/fs/cgroup/a.slice/b.service/memory.events")),
            ("5:cpu,memory:/docker/1\n0::/x\n", Some("/sys/fs/cgroup/memory/docker/1/memory.oom_control")),
            ("1:name=systemd:/x\n", None),
        ] {
            assert_eq!(events_of(groups).as_deref(), want, "{groups}");
        }
        assert_eq!(killed("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(killed("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"), None);
    }

    #[test]
    fn only_a_file_that_is_a_mount_is_one() {
        assert!(is_mounted(Path::new("/proc")));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_mounted(file.path()));
    }
}
