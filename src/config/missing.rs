//! What to write for a program that is not there or can't be started: the same words before a start and after one.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{command, windows};
use crate::disk::joined;
use crate::disk::read::open;
use crate::words::{brief, closest};

/// Programs that start servers, so that another name may be a slip of one, and what stands behind one is no server.
pub(crate) const LAUNCHERS: &[&str] = &[
    "bash", "bun", "bunx", "cargo", "deno", "docker", "dotnet", "env", "go", "java", "node", "npm", "npx", "php",
    "pipx", "pnpm", "podman", "python", "python3", "ruby", "sh", "uv", "uvx", "yarn",
];

/// Endings of scripts, each with the program that runs one, and the arguments before the script.
const SCRIPTS: &[(&str, &str, &[&str])] = &[
    (".py", "python", &[]),
    (".js", "node", &[]),
    (".mjs", "node", &[]),
    (".cjs", "node", &[]),
    (".ts", "npx", &["-y", "tsx"]),
    (".rb", "ruby", &[]),
    (".php", "php", &[]),
    (".sh", "sh", &[]),
];

/// Most of a file that is looked at for a `#!` line, in bytes: as much as Linux reads of one.
const HEAD: usize = 256;

/// What is wrong with a script of which no interpreter is named.
pub(crate) const NO_PROGRAM: &str = "neither a program nor a script with a #! line";

/// A program that could not be found or started.
pub(crate) struct Sought<'a> {
    /// The program as it is written, or its whole path.
    pub(crate) program: &'a str,
    /// The `PATH` in which it is looked for.
    pub(crate) path: &'a str,
    /// The `PATH` of mcp-pipe itself, where the server's entry sets another one.
    pub(crate) ours: Option<&'a str>,
    /// The folder in which the server starts.
    pub(crate) cwd: &'a Path,
}

impl Sought<'_> {
    /// What most likely helps where there is no such program.
    pub(crate) fn remedy_for_missing(&self) -> String {
        if let Some(remedy) = shell_only(self.program) {
            return remedy.to_owned();
        }
        if let Some(remedy) = self.remedy_for_script() {
            return remedy;
        }
        let is_there = |name: &&str| command::on_path(command::with_fallback(name, self.path), self.path);
        let launchers = || LAUNCHERS.iter().copied();
        let is_known = launchers().any(|launcher| launcher == self.program);
        if let Some(remedy) = self.remedy_for_path() {
            return remedy;
        }
        let meant = closest(self.program, launchers().filter(is_there)).filter(|_| !is_known);
        let remedy = meant.map_or_else(|| install(self.program).to_owned(), |meant| format!("did you mean {meant}?"));
        match self.ours {
            Some(_) => format!("{remedy}; only the PATH that its entry sets is searched"),
            None => remedy,
        }
    }

    /// What to write where the entry's own `PATH` is to blame.
    fn remedy_for_path(&self) -> Option<String> {
        let ours = self.ours?;
        let as_shells = ["$PATH", "%PATH%"].into_iter().find(|variable| self.path.contains(variable));
        if let Some(variable) = as_shells {
            return Some(format!(
                "the PATH that its entry sets counts, and {variable} is not replaced there: write ${{PATH}} for it"
            ));
        }
        let is_there = command::on_path(command::with_fallback(self.program, ours), ours);
        is_there.then(|| {
            "the PATH that its entry sets is the only one that counts, and mcp-pipe's own has it: write \
             \"PATH\": \"/what/you/add:${PATH}\""
                .to_owned()
        })
    }

    /// Whether the program is a script that can't be started by itself, as it has no `#!` line.
    pub(crate) fn is_script(&self) -> bool {
        is_script(self.program) && self.file().is_some_and(|file| first_line(&file).is_none())
    }

    /// What to write where the program is a file in the server's folder: started by its name, only programs of the PATH are
    /// found.
    fn remedy_for_script(&self) -> Option<String> {
        let file = self.file()?;
        let program = brief(self.program);
        let has_line = first_line(&file).is_some();
        match (is_script(self.program), has_line) {
            (true, false) => Some(format!("it is {NO_PROGRAM}; {}", self.remedy_for_interpreter())),
            // One that is found by its name alone was looked for in the PATH only.
            _ if command::is_path(self.program) => None,
            (_, true) if !command::is_executable(&file) => Some(format!(
                "for the file in its folder write \"./{program}\", and make it executable: chmod +x; or {}",
                self.remedy_for_interpreter()
            )),
            (_, true) => Some(format!("for the file in its folder write \"./{program}\"")),
            (false, false) if command::is_executable(&file) => {
                Some(format!("for the file in its folder write \"./{program}\""))
            }
            (false, false) => None,
        }
    }

    /// How to name the interpreter of a script.
    pub(crate) fn remedy_for_interpreter(&self) -> String {
        let interpreter = SCRIPTS.iter().find(|(ending, ..)| self.program.ends_with(ending));
        let Some((_, program, before)) = interpreter else {
            return "name its interpreter as `command` and the script in `args`".to_owned();
        };
        let script = Path::new(self.program);
        let script = script.strip_prefix(self.cwd).unwrap_or(script).display().to_string();
        let args: Vec<&str> = before.iter().copied().chain([script.as_str()]).collect();
        format!("name its interpreter: \"command\": \"{program}\", \"args\": {args:?}")
    }

    fn file(&self) -> Option<PathBuf> {
        Some(joined(self.cwd, self.program)).filter(|file| file.is_file())
    }
}

/// Programs that download what they are to start, each with the words by one of which that begins; none: always.
const FETCHERS: &[(&str, &[&str])] = &[
    ("npx", &[]),
    ("uvx", &[]),
    ("bunx", &[]),
    ("npm", &["exec", "x"]),
    ("pnpm", &["dlx"]),
    ("yarn", &["dlx"]),
    ("bun", &["x"]),
    ("uv", &["run", "tool"]),
    ("pipx", &["run"]),
    ("docker", &["run"]),
    ("podman", &["run"]),
    ("deno", &["run"]),
    ("go", &["run"]),
    ("cargo", &["run"]),
];

/// The program that downloads the server of a command line at its first start, if there is one.
pub(crate) fn fetcher<'a>(program: &'a str, args: &[String]) -> Option<&'a str> {
    let name = Path::new(program).file_name()?.to_str()?;
    let (_, words) = FETCHERS.iter().find(|(fetcher, _)| *fetcher == name)?;
    let first = args.iter().find(|arg| !arg.starts_with('-'));
    (words.is_empty() || first.is_some_and(|first| words.contains(&first.as_str()))).then_some(name)
}

/// The command line that runs a script with its interpreter.
pub(crate) fn interpreted(script: &str, path: &str) -> Option<Vec<String>> {
    let (_, program, before) = SCRIPTS.iter().find(|(ending, ..)| script.ends_with(ending))?;
    let program = command::with_fallback(program, path);
    Some([program].into_iter().chain(before.iter().copied()).chain([script]).map(str::to_owned).collect())
}

/// Whether a file is a script by its name.
pub(crate) fn is_script(name: &str) -> bool {
    SCRIPTS.iter().any(|(ending, ..)| name.ends_with(ending))
}

/// The program that `env` is to find for a `#!` line such as `/usr/bin/env node`.
pub(crate) fn found_by_env(interpreter: &str) -> Option<&str> {
    let mut words = interpreter.split_whitespace();
    words.next().filter(|env| env.ends_with("/env"))?;
    words.find(|word| *word != "-S").filter(|word| !word.starts_with('-') && !word.contains('='))
}

/// The end of what [`first_line`] makes of a line that ends as lines do on Windows.
pub(crate) const WINDOWS_ENDS: &str = "\\r (the file has Windows line ends)";

/// The interpreter that a script's `#!` line names.
pub(crate) fn first_line(file: &Path) -> Option<String> {
    let mut head = [0; HEAD];
    let n = open(file).ok()?.read(&mut head).ok()?;
    let line = head[..n].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A script with Windows line ends asks for an interpreter whose name ends with a carriage return.
    Some(String::from_utf8_lossy(line).replace('\r', WINDOWS_ENDS).trim().to_owned())
}

/// What to write instead of a program's name of which a shell would have made something else.
pub(crate) fn shell_only(program: &str) -> Option<&'static str> {
    // A folder on the way may have a blank in its name: what is there is no command line.
    let missing = Path::new(program).ancestors().take_while(|path| !path.exists()).last();
    let there = missing.and_then(Path::parent).map_or(0, |there| there.as_os_str().len());
    if !cfg!(windows) && windows::is_place(program) {
        Some("that is a path of Windows, and this is another system: write the program's path here, or its name alone")
    } else if program.get(there..).is_some_and(|rest| rest.contains(char::is_whitespace)) {
        Some("`command` is the program only: put the rest into `args`, a text for each argument")
    } else if program.starts_with("~/") || program.contains("/~/") {
        Some("~ is not replaced here: write the whole path")
    } else {
        None
    }
}

/// How to get a program that is not there.
fn install(program: &str) -> &'static str {
    match program {
        // A whole path alone would not do: these are scripts, which Node.js runs.
        "npx" | "npm" | "pnpm" | "yarn" => {
            "install it, or write \"env\": {\"PATH\": \"/folder/of/it:${PATH}\"}, as node must be found there, too (`which` says the \
             folder): what nvm, fnm or volta set up in a shell is not on a daemon's PATH"
        }
        "node" | "bun" | "bunx" | "deno" => {
            "install it, or write its whole path (`which` says it): what nvm, fnm or volta set up in a shell is not on a daemon's PATH"
        }
        "uv" => {
            "install uv, or write its whole path (often ~/.local/bin/uv or ~/.cargo/bin/uv): a daemon's PATH lacks what a shell adds"
        }
        "pipx" => {
            "install pipx, or write its whole path (often ~/.local/bin/pipx): a daemon's PATH lacks what a shell adds"
        }
        "uvx" => {
            "install uv, or write the whole path (often ~/.local/bin/uvx or ~/.cargo/bin/uvx): a daemon's PATH lacks what a shell adds"
        }
        "python" | "python3" | "py" => {
            "install Python, or write the whole path of the interpreter (in a venv: .venv/bin/python)"
        }
        "wsl" | "wsl.exe" if !cfg!(windows) => {
            "that is a program of Windows, which starts others on Linux: name the one that it starts"
        }
        "cmd" | "cmd.exe" | "powershell" | "powershell.exe" => {
            "that is a program of Windows: name the one that it starts"
        }
        "docker" | "podman" => "install it, or write its whole path",
        _ => "install it, or write its whole path as `command`",
    }
}
