//! The programs whose servers can be taken over, and which can use ours: where each has its files, and how it writes them. Pure: what is
//! known of a program is data, and a system is an argument.

use std::path::{Path, PathBuf};

use crate::config::{Environment, Habits, Replaces};

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    Mac,
    Windows,
}

impl System {
    /// The one on which this runs.
    pub(crate) fn here() -> Self {
        match std::env::consts::OS {
            "macos" => System::Mac,
            "windows" => System::Windows,
            _ => System::Linux,
        }
    }
}

/// From where the path of a file starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// The user's folder.
    Home,
    /// Where programs with windows keep their files: another folder on each system.
    AppData,
    /// `~/.config`, or where `XDG_CONFIG_HOME` says, on each system.
    Config,
    /// The same, but on Windows that of programs with windows.
    ConfigOrAppData,
    /// The working directory, as the folder of a project.
    Project,
    /// The folder that a variable names.
    Folder(&'static str),
    /// The file that a variable names.
    File(&'static str),
}

use Root::{AppData, Config, ConfigOrAppData, File, Folder, Home, Project};

/// A program.
#[derive(Debug)]
pub(crate) struct Program {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it calls itself.
    pub(crate) title: &'static str,
    /// Its files, from its own to those of a project.
    files: &'static [(Root, &'static str)],
    pub(crate) habits: Habits,
}

/// A file of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// The folder of the project to which it belongs, if it belongs to one.
    pub(crate) folder: Option<PathBuf>,
}

const BRACES: Habits = Habits { replaces: Replaces::Braces, timeout: None };
const NOTHING: Habits = Habits { replaces: Replaces::Nothing, timeout: None };

/// All that are known, in the order in which they are asked.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "claude",
        title: "Claude Desktop",
        files: &[(AppData, "Claude/claude_desktop_config.json")],
        habits: NOTHING,
    },
    Program {
        name: "claude-code",
        title: "Claude Code",
        files: &[(Folder("CLAUDE_CONFIG_DIR"), ".claude.json"), (Home, ".claude.json"), (Project, ".mcp.json")],
        habits: BRACES,
    },
    Program {
        name: "cursor",
        title: "Cursor",
        files: &[(Home, ".cursor/mcp.json"), (Project, ".cursor/mcp.json")],
        habits: BRACES,
    },
    Program {
        name: "vscode",
        title: "VS Code",
        files: &[
            (AppData, "Code/User/mcp.json"),
            (AppData, "Code/User/settings.json"),
            (AppData, "Code - Insiders/User/mcp.json"),
            (Project, ".vscode/mcp.json"),
            (Project, ".vscode/settings.json"),
        ],
        habits: BRACES,
    },
    Program {
        name: "windsurf",
        title: "Windsurf",
        files: &[(Home, ".codeium/windsurf/mcp_config.json")],
        habits: BRACES,
    },
    Program {
        name: "cline",
        title: "Cline",
        files: &[
            (AppData, "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
            (Home, ".cline/data/settings/cline_mcp_settings.json"),
        ],
        habits: Habits { timeout: Some("s"), ..BRACES },
    },
    Program {
        name: "roo",
        title: "Roo Code",
        files: &[
            (AppData, "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
            (Project, ".roo/mcp.json"),
        ],
        habits: Habits { timeout: Some("s"), ..BRACES },
    },
    Program {
        name: "gemini",
        title: "Gemini CLI",
        files: &[(Home, ".gemini/settings.json"), (Project, ".gemini/settings.json")],
        habits: Habits { replaces: Replaces::Dollar, timeout: Some("ms") },
    },
    Program {
        name: "opencode",
        title: "opencode",
        files: &[
            (Config, "opencode/opencode.json"),
            (Config, "opencode/opencode.jsonc"),
            (Project, "opencode.json"),
            (Project, "opencode.jsonc"),
        ],
        habits: Habits { replaces: Replaces::Env, timeout: None },
    },
    Program {
        name: "lmstudio",
        title: "LM Studio",
        files: &[(Home, ".lmstudio/mcp.json"), (Home, ".cache/lm-studio/mcp.json")],
        habits: NOTHING,
    },
    Program {
        name: "zed",
        title: "Zed",
        files: &[(ConfigOrAppData, "zed/settings.json"), (Project, ".zed/settings.json")],
        habits: NOTHING,
    },
    Program {
        name: "copilot",
        title: "GitHub Copilot CLI",
        files: &[(Home, ".copilot/mcp-config.json")],
        habits: BRACES,
    },
    Program {
        name: "amazonq",
        title: "Amazon Q",
        files: &[(Home, ".aws/amazonq/mcp.json")],
        habits: Habits { timeout: Some("ms"), ..BRACES },
    },
    Program {
        name: "xiaozhi-client",
        title: "xiaozhi-client",
        files: &[(Folder("XIAOZHI_CONFIG_DIR"), "xiaozhi.config.json"), (Project, "xiaozhi.config.json")],
        habits: NOTHING,
    },
    Program {
        name: "mcphub",
        title: "mcphub",
        files: &[(File("MCPHUB_SETTING_PATH"), ""), (Project, "mcp_settings.json")],
        habits: BRACES,
    },
];

/// How a file is written of which nobody knows whose it is.
const ANY: Habits = BRACES;

/// The program of this name.
pub(crate) fn named(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

impl Program {
    /// Where its files are, if it is there: on this system, with this environment, in this working directory.
    pub(crate) fn places(&self, system: System, env: &Environment, cwd: &Path) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for (root, path) in self.files {
            let Some(path) = root.path(path, system, env, cwd) else { continue };
            if !places.iter().any(|place| place.path == path) {
                places.push(Place { path, folder: (*root == Project).then(|| cwd.to_path_buf()) });
            }
        }
        places
    }

    /// Its own file, where it is to be written: where a variable says, else of several the one that is there.
    pub(crate) fn own(&self, system: System, env: &Environment, exists: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
        let mut paths = Vec::new();
        // Into its settings VS Code puts servers no more.
        for (root, path) in self.files.iter().filter(|(_, path)| !path.ends_with("User/settings.json")) {
            let path = root.path(path, system, env, Path::new("")).filter(|_| *root != Project);
            if matches!(root, Folder(_) | File(_)) && path.is_some() {
                return path;
            }
            paths.extend(path);
        }
        paths.iter().find(|path| exists(path)).or(paths.first()).cloned()
    }
}

impl Root {
    /// Where a file is whose path starts here.
    fn path(self, path: &str, system: System, env: &Environment, cwd: &Path) -> Option<PathBuf> {
        let folder = self.folder(system, env, cwd)?;
        Some(if path.is_empty() { folder } else { folder.join(path) })
    }

    fn folder(self, system: System, env: &Environment, cwd: &Path) -> Option<PathBuf> {
        let home = || {
            let names = if system == System::Windows { ["USERPROFILE", "HOME"] } else { ["HOME", "USERPROFILE"] };
            names.iter().find_map(|name| env.filled(name)).map(PathBuf::from)
        };
        let config = || {
            let named = env.filled("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            named.or_else(|| Some(home()?.join(".config")))
        };
        let roaming =
            || env.filled("APPDATA").map(PathBuf::from).or_else(|| Some(home()?.join("AppData").join("Roaming")));
        match (self, system) {
            (Home, _) => home(),
            (AppData, System::Linux) | (Config, _) | (ConfigOrAppData, System::Linux | System::Mac) => config(),
            (AppData, System::Mac) => Some(home()?.join("Library").join("Application Support")),
            (AppData | ConfigOrAppData, System::Windows) => roaming(),
            (Project, _) => Some(cwd.to_path_buf()),
            (Folder(variable) | File(variable), _) => env.filled(variable).map(PathBuf::from),
        }
    }
}

/// Whose file this most likely is, by its name, and to which project it belongs. `None` for a file of unknown kind: its paths start
/// in its own folder.
pub(crate) fn of_file(path: &Path) -> (&'static str, Habits, Option<PathBuf>) {
    let all =
        || PROGRAMS.iter().flat_map(|program| program.files.iter().map(move |(root, known)| (program, *root, *known)));
    let ends = |known: &str| !known.is_empty() && path.ends_with(known);
    if let Some((program, ..)) = all().find(|(_, root, known)| *root != Project && known.contains('/') && ends(known)) {
        return (program.name, program.habits, None);
    }
    if let Some((program, _, known)) = all().find(|(_, root, known)| *root == Project && ends(known)) {
        let steps = Path::new(known).components().count();
        return (program.name, program.habits, path.ancestors().nth(steps).map(Path::to_path_buf));
    }
    let is_its_own = |known: &str| !COMMON.iter().any(|common| known.ends_with(common));
    let same = |known: &str| is_its_own(known) && Path::new(known).file_name() == path.file_name();
    match all().find(|(_, _, known)| same(known)) {
        Some((program, ..)) => (program.name, program.habits, None),
        None => ("file", ANY, path.parent().map(Path::to_path_buf)),
    }
}

/// Names of files that several programs have.
const COMMON: &[&str] = &["mcp.json", "settings.json", "mcp_settings.json", "mcp_config.json"];

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(name: &str, system: System, variables: &[(&str, &str)]) -> Vec<String> {
        let env: Environment = variables.iter().copied().collect();
        let places = named(name).map(|program| program.places(system, &env, Path::new("/p"))).unwrap_or_default();
        places.iter().map(|place| place.path.display().to_string().replace('\\', "/")).collect()
    }

    #[test]
    fn each_system_has_its_own_folders() {
        let home: &[_] = &[("HOME", "/home/u")];
        let windows: &[_] = &[("USERPROFILE", "C:/Users/u"), ("APPDATA", "C:/Users/u/AppData/Roaming")];
        for (name, system, variables, want) in [
            ("claude", System::Linux, home, "/home/u/.config/Claude/claude_desktop_config.json"),
            ("claude", System::Mac, home, "/home/u/Library/Application Support/Claude/claude_desktop_config.json"),
            ("claude", System::Windows, windows, "C:/Users/u/AppData/Roaming/Claude/claude_desktop_config.json"),
            ("vscode", System::Mac, home, "/home/u/Library/Application Support/Code/User/mcp.json"),
            ("vscode", System::Linux, &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], "/x/Code/User/mcp.json"),
            ("cursor", System::Windows, windows, "C:/Users/u/.cursor/mcp.json"),
            ("claude-code", System::Windows, windows, "C:/Users/u/.claude.json"),
            ("opencode", System::Windows, windows, "C:/Users/u/.config/opencode/opencode.json"),
            ("zed", System::Mac, home, "/home/u/.config/zed/settings.json"),
            ("zed", System::Windows, windows, "C:/Users/u/AppData/Roaming/zed/settings.json"),
            ("xiaozhi-client", System::Linux, home, "/p/xiaozhi.config.json"),
            ("mcphub", System::Linux, &[("MCPHUB_SETTING_PATH", "/m.json")], "/m.json"),
        ] {
            assert_eq!(paths(name, system, variables).first().map(String::as_str), Some(want), "{name} {system:?}");
        }
    }

    #[test]
    fn its_own_file_is_where_a_variable_says_else_the_one_that_is_there() {
        let env: Environment = [("HOME", "/home/u"), ("CLAUDE_CONFIG_DIR", "/c")].into_iter().collect();
        let home: Environment = [("HOME", "/home/u")].into_iter().collect();
        let none: &dyn Fn(&Path) -> bool = &|_| false;
        let second: &dyn Fn(&Path) -> bool = &|path| path.ends_with(".cline/data/settings/cline_mcp_settings.json");
        for (name, env, exists, want) in [
            ("claude-code", &env, none, Some("/c/.claude.json")),
            // It reads no other one then, whichever is there.
            ("claude-code", &env, &|path: &Path| path.starts_with("/home/u"), Some("/c/.claude.json")),
            ("claude-code", &home, none, Some("/home/u/.claude.json")),
            ("cline", &home, second, Some("/home/u/.cline/data/settings/cline_mcp_settings.json")),
            ("vscode", &home, &|path| path.ends_with("User/settings.json"), Some("/home/u/.config/Code/User/mcp.json")),
            ("cursor", &home, none, Some("/home/u/.cursor/mcp.json")),
            ("cursor", &Environment::default(), none, None),
        ] {
            let own = named(name).and_then(|program| program.own(System::Linux, env, exists));
            assert_eq!(own.as_deref(), want.map(Path::new), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_named_is_known_by_its_name() {
        for (path, want, folder) in [
            ("/p/.vscode/mcp.json", "vscode", Some("/p")),
            ("/p/.mcp.json", "claude-code", Some("/p")),
            ("/p/opencode.jsonc", "opencode", Some("/p")),
            ("/x/claude_desktop_config.json", "claude", None),
            ("/x/.codeium/windsurf/mcp_config.json", "windsurf", None),
            ("/h/.lmstudio/mcp.json", "lmstudio", None),
            ("/x/mine.json", "file", Some("/x")),
        ] {
            let (name, _, found) = of_file(Path::new(path));
            assert_eq!((name, found.as_deref()), (want, folder.map(Path::new)), "{path}");
        }
    }
}
