//! Every default of the config, such as those of `pingInterval`, `maxFrameSize` and `turn`; no other file has one. `--help` and
//! the README's tables are tested against them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::shared::Inherit;
use super::{LinkSpec, Mode, Names, Naming, Sharing};

/// The name of the config, which is in the working directory.
pub(crate) const CONFIG: &str = "mcp_config.json";
/// Lowest level that is logged without `--log-level`, and that for commands which print a result beside the log.
pub(crate) const LOG_LEVEL: LevelFilter = LevelFilter::INFO;
pub(crate) const LOG_LEVEL_BESIDE: LevelFilter = LevelFilter::WARN;
/// `connectTimeout`.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// `pingInterval`.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// `pingTimeout`.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// `maxBackoff`.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(600);
/// `startTimeout`.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// `maxFrameSize`, in bytes.
pub(crate) const MAX_FRAME_SIZE: usize = 16 << 20;
/// `drainTimeout`.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// `toolBudget`, in tokens.
pub(crate) const TOOL_BUDGET: usize = 8000;
/// What `mcp-pipe status --wait` waits: twice as long as a start may take, and then some for dialling.
pub(crate) const STATUS_WAIT: &str = "2m";
/// `turn`.
pub(crate) const TURN: Duration = Duration::from_secs(300);
/// `resync`.
pub(crate) const RESYNC: bool = true;
/// `keepListed`.
pub(crate) const KEEP_LISTED: bool = true;
/// `idle`.
pub(crate) const IDLE: Duration = Duration::from_secs(600);
/// `maxInstances`.
pub(crate) const MAX_INSTANCES: usize = 16;
/// `circuitBreaker.failures`: one may be chance, and a person who waits gives up after a few.
pub(crate) const BREAKER_FAILURES: usize = 5;
/// `circuitBreaker.openFor`.
pub(crate) const BREAKER_OPEN_FOR: Duration = Duration::from_secs(30);
/// `cache.ttl`.
pub(crate) const CALL_CACHE_TTL: Duration = Duration::from_secs(10);
/// `healthCheck.every`.
pub(crate) const HEALTH_EVERY: Duration = Duration::from_secs(30);
/// `healthCheck.restart`.
pub(crate) const HEALTH_RESTART: bool = false;
/// `lease.ttl`.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(10);
/// `lease.prefix`.
pub(crate) const LEASE_PREFIX: &str = "/mcp-pipe/";
/// `logFile.maxSize`, in bytes.
pub(crate) const LOG_FILE_SIZE: u64 = 10 << 20;
/// `logFile.keep`.
pub(crate) const LOG_FILES: usize = 3;
/// `gateway.listen`.
pub(crate) const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8765));
/// Where figures and health are told: the port is the one that exporters of OpenTelemetry have.
pub(crate) const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9464));
/// `gateway.sse`.
pub(crate) const SSE: bool = false;
/// `gateway.sessionIdle`.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(1800);
/// `gateway.maxSessions`.
pub(crate) const MAX_SESSIONS: usize = 1000;
/// `gateway.maxStreams`.
pub(crate) const MAX_STREAMS: usize = 16;
/// `gateway.maxHeld`.
pub(crate) const MAX_HELD: usize = 8;
/// `gateway.heldTimeout`: a person may have to be asked.
pub(crate) const HELD_TIMEOUT: Duration = Duration::from_secs(300);
/// `gateway.maxBody`, in bytes.
pub(crate) const MAX_BODY: usize = MAX_FRAME_SIZE;
/// `gateway.headerTimeout`.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// `gateway.maxConnections`.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// `gateway.maxConnectionsPerAddress`.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 256;
/// `gateway.apiKeys.capabilityUrl`.
pub(crate) const CAPABILITY_URL: bool = false;
/// `slim`.
pub(crate) const SLIM: bool = false;
/// `replicas`.
pub(crate) const REPLICAS: usize = 1;
/// `sticky`.
pub(crate) const STICKY: bool = false;
/// `pin`.
pub(crate) const PIN: bool = false;
/// `expandArgs` of an entry: a command line can be read by everybody on the machine.
pub(crate) const EXPAND_ARGS: bool = false;
/// `inheritEnv`.
pub(crate) static INHERIT_ENV: Inherit = Inherit::All;

/// Variables for servers in Python, unless the environment, `.env` or the server's entry says otherwise: to write each line at
/// once, which Python doesn't do towards a pipe, and in UTF-8, whatever the language of the system.
pub(crate) const PYTHON: [(&str, &str); 2] = [("PYTHONUNBUFFERED", "1"), ("PYTHONUTF8", "1")];

impl Default for Sharing {
    fn default() -> Self {
        Sharing {
            mode: Mode::default(),
            naming: Naming::default(),
            names: Names::default(),
            turn: TURN,
            resync: RESYNC,
        }
    }
}

impl Default for LinkSpec {
    fn default() -> Self {
        LinkSpec {
            headers: Vec::new(),
            subprotocol: None,
            ca_file: None,
            connect_timeout: CONNECT_TIMEOUT,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
            max_backoff: MAX_BACKOFF,
            epoch: None,
        }
    }
}

/// Variables without which programs don't start, or not as their user expects: a server inherits these in any case.
pub(crate) const NEEDED: &[&str] = &[
    "HOME",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    // Windows.
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
    "WINDIR",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::config::keys;
    use crate::config::units::{self, word};
    use crate::config::{EraChoice, Handshake, Share, Standby};

    /// A default, and how a person writes it.
    enum Written {
        Time(Duration),
        Size(usize),
        Text(String),
    }

    impl Written {
        fn is(&self, text: &str) -> bool {
            match self {
                Written::Time(time) => units::duration(text) == Ok(*time),
                Written::Size(size) => units::frame_size(text) == Ok(*size),
                Written::Text(want) => want == text,
            }
        }
    }

    /// Every key that has a default of its own.
    fn all() -> Vec<(&'static str, Written)> {
        let text = |value: &dyn ToString| Written::Text(value.to_string());
        let handshake = match Handshake::default() {
            Handshake::Answer => "answer",
            Handshake::Relay => "relay",
        };
        vec![
            ("connectTimeout", Written::Time(CONNECT_TIMEOUT)),
            ("pingInterval", Written::Time(PING_INTERVAL)),
            ("pingTimeout", Written::Time(PING_TIMEOUT)),
            ("maxBackoff", Written::Time(MAX_BACKOFF)),
            ("startTimeout", Written::Time(START_TIMEOUT)),
            ("maxFrameSize", Written::Size(MAX_FRAME_SIZE)),
            ("drainTimeout", Written::Time(DRAIN_TIMEOUT)),
            ("turn", Written::Time(TURN)),
            ("toolBudget", text(&TOOL_BUDGET)),
            ("resync", text(&RESYNC)),
            ("keepListed", text(&KEEP_LISTED)),
            ("instances", text(&word(&Share::default()))),
            ("idle", Written::Time(IDLE)),
            ("maxInstances", text(&MAX_INSTANCES)),
            ("slim", text(&SLIM)),
            ("pin", text(&PIN)),
            ("replicas", text(&REPLICAS)),
            ("sticky", text(&STICKY)),
            ("expandArgs", text(&EXPAND_ARGS)),
            ("inheritEnv", text(&matches!(INHERIT_ENV, Inherit::All))),
            ("mode", text(&word(&Mode::default()))),
            ("naming", text(&word(&Naming::default()))),
            ("names", text(&word(&Names::default()))),
            ("handshake", text(&handshake)),
            ("era", text(&word(&EraChoice::default()))),
        ]
    }

    /// Those of the gateway's keys.
    fn of_gateway() -> Vec<(&'static str, Written)> {
        let text = |value: &dyn ToString| Written::Text(value.to_string());
        vec![
            ("listen", text(&LISTEN)),
            ("sse", text(&SSE)),
            ("sessionIdle", Written::Time(SESSION_IDLE)),
            ("maxSessions", text(&MAX_SESSIONS)),
            ("maxStreams", text(&MAX_STREAMS)),
            ("maxHeld", text(&MAX_HELD)),
            ("heldTimeout", Written::Time(HELD_TIMEOUT)),
            ("maxBody", Written::Size(MAX_BODY)),
            ("headerTimeout", Written::Time(HEADER_TIMEOUT)),
            ("maxConnections", text(&MAX_CONNECTIONS)),
            ("maxConnectionsPerAddress", text(&MAX_CONNECTIONS_PER_ADDRESS)),
            ("apiKeys.capabilityUrl", text(&CAPABILITY_URL)),
        ]
    }

    /// Those of the keys of `healthCheck`.
    fn of_health_check() -> [(&'static str, Written); 2] {
        [("every", Written::Time(HEALTH_EVERY)), ("restart", Written::Text(HEALTH_RESTART.to_string()))]
    }

    #[test]
    fn the_tables_of_health_checks_tell_their_keys_and_defaults() {
        let (source, docs) = (include_str!("health.rs"), include_str!("../../docs/OPERATING.md"));
        for (text, begin) in [(source, "//! | `"), (docs, "| `")] {
            let lines = text.lines().filter(|line| line.starts_with(begin));
            let rows = lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
            let rows: Vec<_> = rows.filter(|cells| keys::HEALTH_CHECK.contains(&cells[1])).collect();
            assert_eq!(rows.iter().map(|cells| cells[1]).collect::<Vec<_>>(), keys::HEALTH_CHECK);
            for (key, default) in of_health_check() {
                let told = rows.iter().find(|cells| cells[1] == key).map(|cells| cells[cells.len() - 3]);
                assert!(told.is_some_and(|told| default.is(told)), "{key}: {told:?}");
            }
        }
    }

    /// Those of the keys of `lease`.
    fn of_lease() -> [(&'static str, Written); 3] {
        let text = |text: &str| Written::Text(text.to_owned());
        [
            ("ttl", Written::Time(LEASE_TTL)),
            ("prefix", text(LEASE_PREFIX)),
            ("standby", text(&word(&Standby::default()))),
        ]
    }

    #[test]
    fn the_tables_of_leases_tell_their_keys_and_defaults() {
        for text in [include_str!("lease.rs"), include_str!("../../docs/LEASES.md")] {
            let lines = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| `"));
            let rows = lines.map(|line| line.trim_end_matches(" |").split(" | ").collect::<Vec<_>>());
            let keys_of = |cell: &str| cell.split(", ").map(|key| key.trim_matches('`').to_owned()).collect::<Vec<_>>();
            let rows = rows.map(|cells| (keys_of(cells[0]), cells));
            let rows: Vec<_> = rows.filter(|(keys, _)| keys::LEASE.contains(&&*keys[0])).collect();
            assert_eq!(rows.iter().flat_map(|(keys, _)| keys).collect::<Vec<_>>(), keys::LEASE);
            for (key, default) in of_lease() {
                let told = rows.iter().find(|(keys, _)| keys[0] == key).map(|(_, cells)| cells[2].trim_matches('`'));
                assert!(told.is_some_and(|told| default.is(told)), "{key}: {told:?}");
            }
        }
    }

    /// Those of a `logFile`'s keys.
    fn of_log_file() -> [(&'static str, String); 2] {
        [("maxSize", format!("{}MiB", LOG_FILE_SIZE >> 20)), ("keep", LOG_FILES.to_string())]
    }

    #[test]
    fn the_table_of_a_log_file_tells_its_defaults() {
        for (key, default) in of_log_file() {
            let row = include_str!("log_file.rs").lines().find(|line| line.starts_with(&format!("//! | `{key}` |")));
            let told = row.and_then(|row| row.split('|').nth(3)).map(|cell| cell.trim().trim_matches('`'));
            assert_eq!(told, Some(&*default), "{key}");
        }
    }

    #[test]
    fn the_tables_of_the_gateway_tell_its_keys_and_their_defaults() {
        let source = (include_str!("gateway/written.rs"), "//! | `");
        for (text, begin) in [source, (include_str!("../../docs/GATEWAY.md"), "| `")] {
            let rows: Vec<Vec<&str>> = text
                .lines()
                .filter(|line| line.starts_with(begin))
                .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
                .collect();
            let keys: Vec<&str> = rows.iter().map(|cells| cells[1]).collect();
            assert_eq!(
                keys,
                [keys::GATEWAY, keys::API_KEY, keys::JWT, keys::ENDPOINT_TOKEN, keys::GATEWAY_TLS].concat(),
                "the tables that begin {begin}"
            );
            for (key, default) in of_gateway() {
                let key = key.rsplit('.').next().unwrap_or_default();
                let told = rows.iter().find(|cells| cells[1] == key).map(|cells| cells[3]);
                assert!(told.is_some_and(|told| default.is(told)), "{key}: {told:?} in the table that begins {begin}");
            }
        }
    }

    /// Those of the keys that bound the harm of a server.
    fn of_bounds() -> Vec<(&'static str, Written)> {
        vec![
            ("circuitBreaker.failures", Written::Text(BREAKER_FAILURES.to_string())),
            ("circuitBreaker.openFor", Written::Time(BREAKER_OPEN_FOR)),
            ("cache.ttl", Written::Time(CALL_CACHE_TTL)),
        ]
    }

    #[test]
    fn the_tables_of_what_bounds_a_server_tell_its_keys_and_their_defaults() {
        let source = (include_str!("bounds.rs"), "//! | `");
        for (text, begin) in [source, (include_str!("../../docs/BOUNDS.md"), "| `")] {
            let cells =
                |line: &'static str| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>();
            let rows: Vec<Vec<&str>> = text.lines().filter(|line| line.starts_with(begin)).map(cells).collect();
            for key in keys::CIRCUIT_BREAKER.iter().chain(keys::CACHE) {
                assert!(rows.iter().any(|cells| cells[1] == *key), "{key} in the table that begins {begin}");
            }
            for (key, default) in of_bounds() {
                let key = key.rsplit('.').next().unwrap_or_default();
                let told = rows.iter().find(|cells| cells[1] == key).map(|cells| cells[3]);
                assert!(told.is_some_and(|told| default.is(told)), "{key}: {told:?} in the table that begins {begin}");
            }
        }
    }

    const TABLES: [(&str, &str); 2] = [(include_str!("file.rs"), "//! | `"), (include_str!("../../README.md"), "| `")];

    /// The rows of a table of keys: the key, and what stands for its default.
    fn rows<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let cells = |line: &'a str| line.split('|').map(|cell| cell.trim()).collect::<Vec<_>>();
        let rows = text.lines().filter(move |line| line.starts_with(begin)).map(cells);
        let where_is = ["T", "S", "TS", "top", "server", "both"];
        let rows = rows.filter(move |cells| cells.len() == 7 && where_is.contains(&cells[2]));
        rows.map(|cells| (cells[1].split('`').nth(1).unwrap_or_default(), cells[4].trim_matches('`')))
    }

    #[test]
    fn the_tables_of_the_source_and_of_the_readme_tell_the_defaults_that_there_are() {
        for (text, begin) in TABLES {
            for (key, default) in all() {
                let told = rows(text, begin).find(|(of, _)| *of == key).map(|(_, told)| told);
                assert!(told.is_some_and(|told| default.is(told)), "{key}: {told:?} in the table that begins {begin}");
            }
            for (key, told) in rows(text, begin).filter(|(key, _)| all().iter().all(|(of, _)| of != key)) {
                let is_value = told.contains(|c: char| c.is_ascii_digit()) || ["true", "false"].contains(&told);
                assert!(!is_value, "{key} has the default {told} in a table, and none here");
            }
            assert!(rows(text, begin).count() > 25, "the table that begins {begin} was found");
        }
    }

    #[test]
    fn every_default_of_this_file_is_looked_for_in_the_tables() {
        let lines: Vec<&str> = include_str!("defaults.rs").lines().collect();
        let described = lines.windows(2).filter(|pair| pair[1].starts_with("pub(crate) ")).filter_map(|pair| {
            let rest = pair[0].strip_prefix("/// `")?;
            rest.split('`').next()
        });
        let described: Vec<&str> = described.collect();
        assert!(described.len() >= 14, "{described:?}");
        for key in described {
            let known = match key.split_once('.') {
                Some(("gateway", key)) => of_gateway().iter().any(|(of, _)| *of == key),
                Some(("healthCheck", key)) => of_health_check().iter().any(|(of, _)| *of == key),
                Some(("lease", key)) => of_lease().iter().any(|(of, _)| *of == key),
                Some(("logFile", key)) => of_log_file().iter().any(|(of, _)| *of == key),
                Some(_) | None => all().iter().chain(&of_bounds()).any(|(of, _)| *of == key),
            };
            assert!(known, "{key}");
        }
    }

    #[test]
    fn help_and_the_other_pages_tell_the_same() {
        let help = cli::parse(["mcp-pipe".into(), "--help".into()]).map(|_| ()).map_err(|help| help.to_string());
        let help = help.err().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        for (option, key) in [
            ("--start-timeout", "startTimeout"),
            ("--max-frame-size", "maxFrameSize"),
            ("--drain-timeout", "drainTimeout"),
            ("--max-backoff", "maxBackoff"),
            ("--mode", "mode"),
        ] {
            let told = help.split_once(option).and_then(|(_, rest)| rest.split_once("[default: ")?.1.split_once(']'));
            let default = all().into_iter().find(|(of, _)| *of == key).map(|(_, default)| default);
            assert!(default.zip(told).is_some_and(|(default, (told, _))| default.is(told)), "{option}: {told:?}");
        }
        assert!(help.contains(&format!("[default: {CONFIG} in the working directory]")), "{help}");
        assert!(help.contains(&format!("[env: MCP_LOG_LEVEL, RUST_LOG] [default: {LOG_LEVEL}]")), "{help}");
        let trouble = include_str!("../../TROUBLESHOOTING.md");
        let seconds = |time: Duration| format!("({} s by default)", time.as_secs());
        for (key, time) in [("startTimeout", START_TIMEOUT), ("maxBackoff", MAX_BACKOFF)] {
            assert!(trouble.contains(&format!("`{key}` {}", seconds(time))), "{key} in TROUBLESHOOTING.md");
        }
        let minutes = TURN.as_secs() / 60;
        assert!(include_str!("../../docs/SCALING.md").contains(&format!("`\"turn\"` ({minutes} minutes by default")));
        assert!(include_str!("../../README.md").contains(&format!("in turns of {minutes} minutes")));
    }
}
