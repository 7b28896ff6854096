//! systemd, or whoever else has started this process and wants to be told by systemd's protocol (sd_notify(3)): how far a run is, and that
//! its loop goes round.
//!
//! Messages are few and small, and nobody waits for the one who reads them: a message that finds no room is not told, and what has to be told
//! is tried again by whoever tells it.

use std::time::Duration;

/// The variables by which systemd tells a process of itself. They are for this process alone: a server that had them could speak in its name,
/// or take its sockets.
pub(crate) const VARIABLES: &[&str] = &[
    NOTIFY_SOCKET,
    WATCHDOG_USEC,
    WATCHDOG_PID,
    LISTEN_FDS,
    LISTEN_PID,
    LISTEN_FDNAMES,
    "LISTEN_PIDFDID",
    CREDENTIALS,
];
/// Where messages go to.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// How many sockets are handed over, to which process, and what they are called.
pub(super) const LISTEN_FDS: &str = "LISTEN_FDS";
pub(super) const LISTEN_PID: &str = "LISTEN_PID";
pub(super) const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// The folder with the credentials that systemd gives a process.
pub(crate) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Within which time the watchdog wants to be fed, and of which process.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How far a run is, as systemd has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is up that is waited for.
    Ready,
    /// The config is read again.
    Reload,
    /// It counts, or has mistakes.
    Reloaded,
    /// The run ends.
    Stop,
}

impl Stage {
    /// The stage after a step; `None`: the step is none just now, and there is nothing to tell.
    fn after(self, step: Step) -> Option<Stage> {
        match (self, step) {
            (Stage::Starting, Step::Ready) | (Stage::Reloading, Step::Reloaded) => Some(Stage::Ready),
            (Stage::Ready, Step::Reload) => Some(Stage::Reloading),
            (Stage::Starting | Stage::Ready | Stage::Reloading, Step::Stop) => Some(Stage::Stopping),
            // A config that is read again before all is up makes nothing ready.
            (Stage::Starting, Step::Reload | Step::Reloaded)
            | (Stage::Ready, Step::Ready | Step::Reloaded)
            | (Stage::Reloading, Step::Ready | Step::Reload)
            | (Stage::Stopping, Step::Ready | Step::Reload | Step::Reloaded | Step::Stop) => None,
        }
    }
}

/// Within which time the watchdog of a process wants to be fed, from what the variables hold. `None`: there is none, or it watches another
/// process.
fn watchdog(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let micros: u64 = micros?.parse().ok()?;
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    (micros > 0 && is_ours).then(|| Duration::from_micros(micros))
}

/// See the module's documentation. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct Systemd {
    #[cfg(unix)]
    told: Option<std::sync::Arc<unix::Told>>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Whoever the variables name. Nobody where they name none, or one that can't be told anything, which is logged.
    ///
    /// `variable`: what a variable holds.
    pub fn named(variable: impl Fn(&str) -> Option<String>) -> Self {
        let watchdog =
            watchdog(variable(WATCHDOG_USEC).as_deref(), variable(WATCHDOG_PID).as_deref(), std::process::id());
        let Some(socket) = variable(NOTIFY_SOCKET).filter(|socket| !socket.is_empty()) else {
            return Systemd::default();
        };
        #[cfg(unix)]
        match unix::Told::at(&socket) {
            Ok(told) => return Systemd { told: Some(std::sync::Arc::new(told)), watchdog },
            Err(why) => tracing::warn!(
                event = "SYSTEMD",
                "{NOTIFY_SOCKET} names a socket at which nothing can be told ({why}): whoever has started mcp-pipe does not learn that \
                 it is ready"
            ),
        }
        let _nobody = (socket, watchdog);
        Systemd::default()
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        #[cfg(unix)]
        return self.told.is_some();
        #[cfg(not(unix))]
        false
    }

    /// Within which time its watchdog wants to be fed, if there is one.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells of a step, unless it is none just now. False: that found no room, and the step is not taken.
    pub(crate) fn step(&self, step: Step) -> bool {
        #[cfg(unix)]
        if let Some(told) = &self.told {
            return told.step(step);
        }
        let _nobody = step;
        true
    }

    /// Tells in a line how the run stands. False: that found no room.
    pub(crate) fn describe(&self, line: &str) -> bool {
        self.say(&format!("STATUS={line}"))
    }

    /// Feeds the watchdog.
    pub(crate) fn feed(&self) {
        let _again_soon = self.say("WATCHDOG=1");
    }

    /// Asks for so much time from now on, as long as the run is starting.
    pub(crate) fn ask_for(&self, time: Duration) {
        let _again_soon = self.say(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    fn say(&self, text: &str) -> bool {
        #[cfg(unix)]
        if let Some(told) = &self.told {
            return told.say(text);
        }
        let _nobody = text;
        true
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::{Mutex, PoisonError};

    use rustix::time::{ClockId, clock_gettime};

    use super::{Stage, Step};

    /// Whoever is told.
    #[derive(Debug)]
    pub(super) struct Told {
        socket: UnixDatagram,
        /// Held while it is told, so that steps are told in their order.
        stage: Mutex<Stage>,
    }

    impl Told {
        /// The one who reads at this socket: a path, or behind `@` the name of one that has no file.
        pub(super) fn at(name: &str) -> io::Result<Self> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address(name)?)?;
            Ok(Told { socket, stage: Mutex::new(Stage::Starting) })
        }

        pub(super) fn step(&self, step: Step) -> bool {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(next) = stage.after(step) else { return true };
            let is_said = match next {
                Stage::Starting => true,
                Stage::Ready => self.say("READY=1"),
                Stage::Reloading => self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros())),
                Stage::Stopping => self.say("STOPPING=1"),
            };
            if is_said {
                *stage = next;
            }
            is_said
        }

        pub(super) fn say(&self, text: &str) -> bool {
            match self.socket.send(text.as_bytes()) {
                Ok(_) => true,
                Err(error) => {
                    tracing::debug!(event = "SYSTEMD", "not told {text:?}: {error}");
                    // One that is gone is told nothing more; a full socket is read some time.
                    error.kind() != io::ErrorKind::WouldBlock
                }
            }
        }
    }

    fn address(name: &str) -> io::Result<SocketAddr> {
        #[cfg(target_os = "linux")]
        if let Some(name) = name.strip_prefix('@') {
            return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
        }
        if name.starts_with('/') {
            return SocketAddr::from_pathname(name);
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor a name behind @"))
    }

    /// The time by the clock that systemd compares with its own, in microseconds.
    fn monotonic_micros() -> i64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_steps_that_follow_are_told() {
        use Step::{Ready, Reload, Reloaded, Stop};
        let last = |steps: &[Step]| {
            let take = |stage: Stage, step: &Step| stage.after(*step).unwrap_or(stage);
            steps.iter().fold(Stage::Starting, take)
        };
        for (steps, stage) in [
            (&[][..], Stage::Starting),
            (&[Ready], Stage::Ready),
            (&[Reload, Reloaded], Stage::Starting),
            (&[Reload, Ready, Reloaded], Stage::Ready),
            (&[Ready, Reload], Stage::Reloading),
            (&[Ready, Reload, Reload, Ready], Stage::Reloading),
            (&[Ready, Reload, Reloaded], Stage::Ready),
            (&[Ready, Reload, Stop, Reloaded, Ready], Stage::Stopping),
            (&[Stop, Ready], Stage::Stopping),
        ] {
            assert_eq!(last(steps), stage, "{steps:?}");
        }
        assert_eq!(Stage::Stopping.after(Stop), None);
    }

    #[test]
    fn the_watchdog_counts_where_it_is_of_this_process() {
        let some = Some(Duration::from_secs(30));
        assert_eq!(watchdog(Some("30000000"), None, 7), some);
        assert_eq!(watchdog(Some("30000000"), Some("7"), 7), some);
        for (micros, pid) in [(None, Some("7")), (Some("30000000"), Some("8")), (Some("0"), None), (Some("x"), None)] {
            assert_eq!(watchdog(micros, pid, 7), None, "{micros:?} {pid:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_who_does_not_read_holds_up_nobody_and_a_step_that_finds_no_room_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let systemd = Systemd::named(|name| (name == NOTIFY_SOCKET).then(|| path.to_str().unwrap().to_owned()));
        assert!(systemd.is_there() && systemd.watchdog().is_none());
        let mut told = 0;
        while systemd.describe("x") {
            told += 1;
        }
        assert!(!systemd.step(Step::Ready));
        let mut text = [0; 64];
        for _ in 0..told {
            assert_eq!(socket.recv(&mut text).unwrap(), "STATUS=x".len());
        }
        assert!(systemd.step(Step::Ready));
        let length = socket.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");
        assert!(!Systemd::named(|_| Some("relative".to_owned())).is_there());
    }
}
