//! The unit of systemd: made of the one in `deploy/`, which people install by hand. Pure.

use std::path::{Path, PathBuf};

use super::{Described, seal, written};
use crate::error::Failure;

/// The unit by which all this is made: for the whole machine, with every lock that systemd has.
const TEMPLATE: &str = include_str!("../../deploy/mcp-pipe.service");
/// What a user's own unit has of that: the rest needs root, or is where a user's files are anyway.
const OF_USER: &[&str] = &[
    "Description",
    "StartLimitIntervalSec",
    "Type",
    "NotifyAccess",
    "TimeoutStartSec",
    "WatchdogSec",
    "ExecReload",
    "ExecStart",
    "EnvironmentFile",
    "WorkingDirectory",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "KillMode",
    "TimeoutStopSec",
    "OOMPolicy",
    "NoNewPrivileges",
    "UMask",
    "WantedBy",
];
/// How the line begins that says which config this is.
const CONFIG: &str = "# Config: ";

/// The unit of a service, of a `user` or of the machine.
///
/// # Errors
/// A path can't stand in a unit.
pub(super) fn unit(described: &Described, user: bool) -> Result<String, Failure> {
    let (program, config) = (written(&described.program)?, written(&described.config)?);
    let folder = written(described.config.parent().unwrap_or(Path::new("/")))?;
    let edit = if user { "systemctl --user edit mcp-pipe" } else { "systemctl edit mcp-pipe" };
    let mut text = format!("# {}; to change it: {edit}\n{CONFIG}{config}\n", seal::MARK);
    let path = described.path.as_ref().map(|path| format!("Environment={}\n", quoted(&format!("PATH={path}"), false)));
    let line = format!("{} --config {}", quoted(program, false), quoted(config, true));
    for written_line in TEMPLATE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((key, value)) = written_line.split_once('=') else {
            text.push_str(&format!("\n{written_line}\n"));
            continue;
        };
        if user && !OF_USER.contains(&key) {
            continue;
        }
        match key {
            "ExecStart" => {
                text.push_str(&format!("ExecStart={line}\n{}", path.as_deref().filter(|_| user).unwrap_or_default()))
            }
            "ExecReload" => {
                text.push_str(&format!(
                    "ExecReload={} reload --config {}\n",
                    quoted(program, false),
                    quoted(config, true)
                ));
            }
            "EnvironmentFile" => {
                if let Some(file) = &described.variables {
                    text.push_str(&format!("EnvironmentFile={}\n", written(file)?.replace('%', "%%")));
                }
            }
            "WorkingDirectory" => text.push_str(&format!("WorkingDirectory={}\n", folder.replace('%', "%%"))),
            "WantedBy" if user => text.push_str("WantedBy=default.target\n"),
            "Environment" if value.starts_with("PATH=") => {
                text.push_str(path.as_deref().unwrap_or(&format!("{written_line}\n")));
            }
            _ => text.push_str(&format!("{written_line}\n")),
        }
    }
    Ok(seal::sealed(&text))
}

/// The config of a unit that was made here.
pub(super) fn config_of(unit: &str) -> Option<PathBuf> {
    unit.lines().find_map(|line| line.strip_prefix(CONFIG)).map(PathBuf::from)
}

/// What a unit of the machine sets a variable to.
pub(super) fn of_machine(variable: &str) -> &'static str {
    let values = TEMPLATE.lines().filter_map(|line| line.strip_prefix("Environment="));
    values.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == variable).map_or("", |(_, value)| value)
}

/// A word in quotes, by the rules of systemd.service(5). The program itself is no word in which variables are replaced.
fn quoted(word: &str, is_argument: bool) -> String {
    let mut text = "\"".to_owned();
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            '$' if is_argument => text.push_str("$$"),
            c => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn described(config: &str) -> Described {
        Described { program: "/opt/m p/mcp-pipe".into(), config: config.into(), variables: None, path: None }
    }

    #[test]
    fn the_unit_of_the_machine_is_the_one_that_people_install_by_hand() {
        let mut described = described("/etc/mcp-pipe/mcp_config.json");
        described.program = "/usr/local/bin/mcp-pipe".into();
        described.variables = Some("/etc/mcp-pipe/env".into());
        let unit = unit(&described, false).unwrap();
        let plain = |text: &str| {
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(|line| line.replace('"', "").replace("=-", "=")).collect::<Vec<_>>()
        };
        let ours = plain(&unit).into_iter().map(|line| match line.strip_prefix("ExecReload=") {
            Some(_) => line.replace(" --config /etc/mcp-pipe/mcp_config.json", ""),
            None => line,
        });
        assert_eq!(ours.collect::<Vec<_>>(), plain(TEMPLATE), "but for how words are quoted");
        assert_eq!(config_of(&unit), Some(described.config));
        assert!(of_machine("PATH").starts_with("/usr/local/sbin:") && of_machine("HOME") == "/var/cache/mcp-pipe");
    }

    #[test]
    fn a_users_unit_has_nothing_that_only_root_may_say() {
        let described = Described { path: Some("/a b:/c".into()), ..described("/home/u/c.json") };
        let unit = unit(&described, true).unwrap();
        for line in [
            "WantedBy=default.target",
            "Type=notify",
            "Environment=\"PATH=/a b:/c\"",
            "ExecReload=\"/opt/m p/mcp-pipe\" reload --config \"/home/u/c.json\"",
        ] {
            assert!(unit.lines().any(|it| it == line), "{line}\n{unit}");
        }
        for key in ["DynamicUser", "ProtectHome", "CapabilityBoundingSet", "EnvironmentFile", "After=", "multi-user"] {
            assert!(!unit.contains(key), "{key}\n{unit}");
        }
    }

    #[test]
    fn odd_paths_stand_in_it_as_systemd_reads_them() {
        let unit = unit(&described("/a b/100%/\"q\"/$x\\y/c.json"), true).unwrap();
        assert!(unit.contains(r#"--config "/a b/100%%/\"q\"/$$x\\y/c.json""#), "{unit}");
        assert!(unit.contains("WorkingDirectory=/a b/100%%/\"q\"/$x\\y\n"), "{unit}");
        for odd in ["/a\nExecStart=/bin/evil/c.json", "/a\\/c.json"] {
            assert!(super::unit(&described(odd), true).is_err(), "{odd}");
        }
    }
}
