//! Whoever starts services on this system: where it has its files, which commands it knows, and what surrounds what it starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Described, launchd, refused, unit, windows};
use crate::config::Environment;
use crate::error::Failure;
use crate::secrecy::plain;

/// What systemd calls the service.
const UNIT: &str = "mcp-pipe.service";
/// The `PATH` that launchd gives.
const OF_LAUNCHD: &str = "/usr/bin:/bin:/usr/sbin:/sbin";
/// What the unit of the machine hides from the service (`ProtectHome`, `PrivateTmp`).
const HIDDEN: &[&str] = &["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
/// Longest words of a command that failed, in characters.
const LONGEST: usize = 400;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Systemd { user: bool },
    Launchd { user: bool },
    Windows,
}

/// Runs a command to its end. Returns what it printed.
///
/// # Errors
/// What it says of its failure.
pub(super) fn run(command: &[String]) -> Result<String, String> {
    let Some((program, args)) = command.split_first() else { return Ok(String::new()) };
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| plain::bounded(String::from_utf8_lossy(bytes).trim(), LONGEST);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.success(), text(&output.stderr), text(&output.stdout)) {
        (true, ..) => Ok(printed),
        (false, said, printed) if said.is_empty() => {
            Err(if printed.is_empty() { output.status.to_string() } else { printed })
        }
        (false, said, _) => Err(said),
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The folder that a variable names.
fn folder(env: &Environment, name: &str) -> Option<PathBuf> {
    env.filled(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The user's folder.
fn home(env: &Environment) -> Result<PathBuf, Failure> {
    let lost = || refused("there is no HOME, so there is no place for a service of this user", "set HOME");
    folder(env, "HOME").ok_or_else(lost)
}

impl Manager {
    /// That of this system, for a `user` or for the machine.
    ///
    /// # Errors
    /// Only root may do that.
    pub(super) fn of_this_system(user: bool) -> Result<Manager, Failure> {
        if cfg!(windows) {
            return Ok(Manager::Windows);
        }
        #[cfg(unix)]
        if !user && !rustix::process::geteuid().is_root() {
            return Err(Failure::Asking {
                exit: crate::error::Exit::Usage,
                what: "a service of the whole machine is installed by root".to_owned(),
                remedy: "sudo mcp-pipe service …, or one that runs as you: mcp-pipe service … --user".to_owned(),
            });
        }
        Ok(if cfg!(target_os = "macos") { Manager::Launchd { user } } else { Manager::Systemd { user } })
    }

    /// Whether the manager answers at all.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(super) fn check(self) -> Result<(), Failure> {
        let Manager::Systemd { user } = self else { return Ok(()) };
        let why = match run(&self.systemctl("show-environment")) {
            Ok(_) => return Ok(()),
            Err(why) => why,
        };
        let remedy = if user {
            "log in as that user by a session of systemd (ssh, a console; not sudo or su), or install it for the machine, as root without --user; \
             --dry-run shows what would be done"
        } else {
            "this system is not run by systemd, as most containers are not: start mcp-pipe by what starts programs here; --dry-run shows the unit"
        };
        Err(refused(format!("systemd does not answer ({why})"), remedy))
    }

    /// Where the definition of the service is, and its variables.
    ///
    /// # Errors
    /// There is no home.
    pub(super) fn places(self, env: &Environment) -> Result<(PathBuf, PathBuf), Failure> {
        let folder = |name: &str| folder(env, name);
        let home = || home(env);
        let variables = "mcp-pipe/service.env";
        Ok(match self {
            Manager::Systemd { user: false } => {
                (Path::new("/etc/systemd/system").join(UNIT), Path::new("/etc").join(variables))
            }
            Manager::Systemd { user: true } => {
                let config = folder("XDG_CONFIG_HOME").map_or_else(|| home().map(|home| home.join(".config")), Ok)?;
                (config.join("systemd/user").join(UNIT), config.join(variables))
            }
            Manager::Launchd { user: false } => (
                PathBuf::from("/Library/LaunchDaemons/mcp-pipe.plist"),
                Path::new("/Library/Application Support").join(variables),
            ),
            Manager::Launchd { user: true } => {
                let library = home()?.join("Library");
                (library.join("LaunchAgents/mcp-pipe.plist"), library.join("Application Support").join(variables))
            }
            Manager::Windows => {
                let local = folder("LOCALAPPDATA").ok_or_else(|| refused("there is no LOCALAPPDATA", "set it"))?;
                (local.join("mcp-pipe\\service.xml"), local.join("mcp-pipe\\service.env"))
            }
        })
    }

    /// The definition of a service.
    ///
    /// # Errors
    /// A path can't stand in it.
    pub(super) fn unit(self, described: &Described, env: &Environment) -> Result<String, Failure> {
        match self {
            Manager::Systemd { user } => unit::unit(described, user),
            Manager::Launchd { user: false } => launchd::plist(described, "/Library/Logs/mcp-pipe.log"),
            Manager::Launchd { user: true } => {
                let log = home(env)?.join("Library/Logs/mcp-pipe.log");
                launchd::plist(described, &log.display().to_string())
            }
            Manager::Windows => windows::task(described),
        }
    }

    /// Whether a service can be given variables by a file.
    pub(super) fn reads_variables(self) -> bool {
        self != Manager::Windows
    }

    /// The `PATH` of what it starts: that of a user's manager depends on the session, so it is asked; else what is usual.
    pub(super) fn path(self, env: &Environment) -> String {
        match self {
            Manager::Systemd { user } => {
                let told =
                    if user { run(&self.systemctl("show-environment")).unwrap_or_default() } else { String::new() };
                let told = told.lines().find_map(|line| line.strip_prefix("PATH="));
                told.unwrap_or(unit::of_machine("PATH")).to_owned()
            }
            Manager::Launchd { .. } => OF_LAUNCHD.to_owned(),
            Manager::Windows => env.get("PATH").unwrap_or_default().to_owned(),
        }
    }

    /// What surrounds a service besides its `PATH` and its variables.
    pub(super) fn environment(self, env: &Environment) -> Environment {
        let of_machine = [("HOME", unit::of_machine("HOME")), ("STATE_DIRECTORY", "/var/lib/mcp-pipe")];
        match self {
            Manager::Systemd { user: false } => of_machine.into_iter().collect(),
            Manager::Systemd { user: true } | Manager::Launchd { .. } => {
                let names = ["HOME", "USER", "LOGNAME", "SHELL", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"];
                names.into_iter().filter_map(|name| Some((name, env.get(name)?))).collect()
            }
            Manager::Windows => env.clone(),
        }
    }

    /// Whether the service is of the machine and has neither the rights nor the sight of whoever installs it.
    fn is_apart(self) -> bool {
        self == Manager::Systemd { user: false }
    }

    /// Whether the service could read a file.
    pub(super) fn reads(self, file: &Path) -> bool {
        !self.is_apart() || is_open(file)
    }

    /// Whether the unit hides a file from the service, or what a link of that name leads to.
    pub(super) fn is_hidden(self, file: &Path) -> bool {
        let real = file.canonicalize();
        let is_in =
            |folder: &&str| file.starts_with(folder) || real.as_ref().is_ok_and(|real| real.starts_with(folder));
        self.is_apart() && HIDDEN.iter().any(is_in)
    }

    /// That the service can start this program, and read the config.
    ///
    /// # Errors
    /// What it can't, and what to do.
    pub(super) fn reach(self, described: &Described) -> Result<(), Failure> {
        let Described { program, config, .. } = described;
        for (file, place) in [(program, "/usr/local/bin"), (config, "/etc/mcp-pipe")] {
            if self.is_hidden(file) {
                let what = format!(
                    "the unit hides {} from the service, as it does all homes and temporary files",
                    file.display()
                );
                return Err(refused(
                    what,
                    format!("put it elsewhere, such as {place}; or install for one user: --user"),
                ));
            }
            if !self.reads(file) {
                let what = format!("the service runs as a user of its own, which can't read {}", file.display());
                return Err(refused(
                    what,
                    "let others read it, and the folders on its way: chmod o+r, o+x; tokens stand better in variables",
                ));
            }
        }
        Ok(())
    }

    fn systemctl(self, line: &str) -> Vec<String> {
        let user = if self == (Manager::Systemd { user: true }) { "--user " } else { "" };
        words(&format!("systemctl {user}{line}"))
    }

    /// Where launchd has the service.
    #[cfg(unix)]
    fn domain(user: bool) -> String {
        if user { format!("gui/{}", rustix::process::getuid().as_raw()) } else { "system".to_owned() }
    }

    #[cfg(not(unix))]
    fn domain(_user: bool) -> String {
        String::new()
    }

    /// What starts the service, now and from now on, once its files are there.
    /// `unit`: its definition.
    pub(super) fn installing(self, unit: &Path) -> Vec<Vec<String>> {
        match self {
            Manager::Systemd { .. } => ["daemon-reload", "enable mcp-pipe.service", "restart mcp-pipe.service"]
                .map(|line| self.systemctl(line))
                .into(),
            Manager::Launchd { user } => {
                let domain = Self::domain(user);
                let of = |what: &str| words(&format!("launchctl {what} {domain}/{}", launchd::LABEL));
                let bootstrap = ["launchctl", "bootstrap", &domain, &unit.display().to_string()];
                // One that is there takes no other definition.
                let before = self.is_active().then(|| of("bootout"));
                let then = [of("enable"), bootstrap.map(str::to_owned).into(), of("kickstart")];
                before.into_iter().chain(then).collect()
            }
            Manager::Windows => {
                let create = ["schtasks", "/Create", "/F", "/TN", "mcp-pipe", "/XML", &unit.display().to_string()];
                vec![create.map(str::to_owned).into(), words("schtasks /Run /TN mcp-pipe")]
            }
        }
    }

    /// What ends the service, before its files are removed and after that.
    pub(super) fn uninstalling(self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        match self {
            Manager::Systemd { .. } => {
                (vec![self.systemctl("disable --now mcp-pipe.service")], vec![self.systemctl("daemon-reload")])
            }
            Manager::Launchd { user } => {
                (vec![words(&format!("launchctl bootout {}/{}", Self::domain(user), launchd::LABEL))], Vec::new())
            }
            Manager::Windows => {
                (vec![words("schtasks /End /TN mcp-pipe"), words("schtasks /Delete /F /TN mcp-pipe")], Vec::new())
            }
        }
    }

    /// How the service stands, in words.
    pub(super) fn standing(self) -> Vec<(&'static str, String)> {
        let told = |line: &str| run(&self.systemctl(line)).unwrap_or_else(|why| why).trim().to_owned();
        match self {
            Manager::Systemd { .. } => {
                vec![("at boot", told("is-enabled mcp-pipe.service")), ("now", told("is-active mcp-pipe.service"))]
            }
            Manager::Launchd { .. } | Manager::Windows => {
                vec![("now", if self.is_active() { "there".to_owned() } else { "not there".to_owned() })]
            }
        }
    }

    /// Whether it runs.
    pub(super) fn is_active(self) -> bool {
        match self {
            Manager::Systemd { .. } => run(&self.systemctl("is-active --quiet mcp-pipe.service")).is_ok(),
            Manager::Launchd { user } => {
                run(&words(&format!("launchctl print {}/{}", Self::domain(user), launchd::LABEL))).is_ok()
            }
            Manager::Windows => run(&words("schtasks /Query /TN mcp-pipe")).is_ok(),
        }
    }

    /// Whether it runs, and is started with the system.
    pub(super) fn is_up(self) -> bool {
        let is_enabled = match self {
            Manager::Systemd { .. } => run(&self.systemctl("is-enabled --quiet mcp-pipe.service")).is_ok(),
            Manager::Launchd { .. } | Manager::Windows => true,
        };
        is_enabled && self.is_active()
    }

    /// Where the service is asked, if that is another place than for others of its user.
    pub(super) fn control_socket(self) -> Option<PathBuf> {
        self.is_apart().then(|| PathBuf::from(unit::of_machine("MCP_CONTROL_SOCKET")))
    }

    /// What to do where it does not start.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Manager::Systemd { user: false } => {
                "what it said: journalctl -u mcp-pipe -n 50; mcp-pipe service uninstall takes it back"
            }
            Manager::Systemd { user: true } => {
                "what it said: journalctl --user -u mcp-pipe -n 50; mcp-pipe service uninstall --user takes it back"
            }
            Manager::Launchd { .. } => "what it said is in Library/Logs/mcp-pipe.log",
            Manager::Windows => "the Task Scheduler says more",
        }
    }

    /// What is good to know of it.
    pub(super) fn hints(self) -> &'static str {
        match self {
            Manager::Systemd { user: false } => {
                "mcp-pipe service status, systemctl reload mcp-pipe, journalctl -u mcp-pipe -f"
            }
            Manager::Systemd { user: true } => {
                "mcp-pipe service status --user, systemctl --user reload mcp-pipe, journalctl --user -u mcp-pipe -f. It ends with your last session, \
                 unless: loginctl enable-linger"
            }
            Manager::Launchd { .. } => "mcp-pipe service status; its log is in Library/Logs/mcp-pipe.log",
            Manager::Windows => "mcp-pipe service status",
        }
    }
}

/// Whether anybody can read a file, by its rights and those of the folders on its way.
#[cfg(unix)]
fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let may = |path: &Path, bit: u32| path.metadata().is_ok_and(|found| found.permissions().mode() & bit != 0);
    let Ok(file) = file.canonicalize() else { return false };
    may(&file, 0o004) && file.ancestors().skip(1).all(|folder| may(folder, 0o001))
}

#[cfg(not(unix))]
fn is_open(file: &Path) -> bool {
    file.exists()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_a_user_is_in_the_home_that_is_given() {
        let env: Environment = [("HOME", "/Users/made-up"), ("PATH", "/made/up")].into_iter().collect();
        let described =
            Described { program: "/bin/mcp-pipe".into(), config: "/c.json".into(), variables: None, path: None };
        let launchd = Manager::Launchd { user: true };
        let plist = launchd.unit(&described, &env).unwrap();
        assert!(plist.contains("<string>/Users/made-up/Library/Logs/mcp-pipe.log</string>"), "{plist}");
        assert!(launchd.places(&env).unwrap().0.starts_with("/Users/made-up/Library"));
        assert_eq!(Manager::Windows.path(&env), "/made/up");
        let none = Environment::default();
        assert!(launchd.unit(&described, &none).is_err() && launchd.places(&none).is_err());
    }
}
