//! The one place that starts processes, and the words for when that fails.

use std::env;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::limits;
use crate::config::{CommandSpec, Sought, WINDOWS_ENDS, first_line, shell_only};
use crate::disk::obstacle::{self, Obstacle};
use crate::error::FaultCode;
use crate::process::limits as system;

/// A started process.
#[cfg(unix)]
pub(super) type Child = tokio::process::Child;
/// A started process in a job object that ends with it (not verified on Windows).
#[cfg(windows)]
pub(super) type Child = Box<dyn process_wrap::tokio::ChildWrapper>;

/// Starts a server with all three pipes, in a process group of its own.
///
/// # Errors
/// One line for people: what is missing and what to do about it.
pub(super) fn spawn(spec: &CommandSpec) -> Result<Child, (FaultCode, String)> {
    if let Some(why) = cfg!(unix).then(|| not_found_by_env(spec)).flatten() {
        return Err((FaultCode::CommandNotFound, why));
    }
    if let Some((what, remedy)) = refused_limit(spec) {
        let why = format!("cannot start {} within its limits: {what}; {remedy}", spec.program);
        return Err((FaultCode::LimitReached, why));
    }
    let mut command = Command::new(&spec.program);
    command.args(&spec.args);
    // No pre_exec but for limits, and a PATH only where the config sets one: so std can use posix_spawn, which copies no page tables.
    for name in &spec.env_remove {
        command.env_remove(name);
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value.reveal())));
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    limits::set(&mut command, spec);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start(command).map_err(|error| (fault(spec, &error), explain(spec, &error)))
}

#[cfg(unix)]
fn start(mut command: Command) -> io::Result<Child> {
    command.process_group(0).spawn()
}

#[cfg(windows)]
fn start(command: Command) -> io::Result<Child> {
    use process_wrap::tokio::{CommandWrap, JobObject, KillOnDrop};
    CommandWrap::from(command).wrap(KillOnDrop).wrap(JobObject).spawn()
}

/// What kind of fault it is that a process could not be started.
fn fault(spec: &CommandSpec, error: &io::Error) -> FaultCode {
    if error.kind() == ErrorKind::NotFound || spec.cwd.as_ref().is_some_and(|cwd| !cwd.is_dir()) {
        FaultCode::CommandNotFound
    } else if system::is_reached(error) {
        FaultCode::LimitReached
    } else {
        FaultCode::CommandNotRunnable
    }
}

/// Why a process could not be started. The system's error alone ("No such file or directory") may be about the
/// program, its interpreter or the working directory.
fn explain(spec: &CommandSpec, error: &io::Error) -> String {
    let program = &spec.program;
    if let Some(cwd) = &spec.cwd
        && !cwd.is_dir()
    {
        let why = match obstacle::on_the_way(cwd) {
            Some(obstacle) => obstacle.told().0,
            None => "does not exist".to_owned(),
        };
        return format!("cannot start {program}: its working directory {} {why} (key `cwd`)", cwd.display());
    }
    if error.kind() == ErrorKind::NotFound {
        return missing(spec);
    }
    if error.kind() == ErrorKind::PermissionDenied
        && let Some(folder) = locked_folder(spec)
    {
        return format!("permission denied: {program} lies in {}, which may not be entered", folder.display());
    }
    if error.kind() == ErrorKind::PermissionDenied {
        let path = file_of(spec).unwrap_or_else(|| program.into());
        if path.is_dir() {
            return format!(
                "cannot start {program}: {} is a folder; name the program in it as `command`",
                path.display()
            );
        }
        if (Sought { program, path: "", ours: None, cwd: &folder(spec) }).is_script() {
            return no_program(spec);
        }
        let path = path.display();
        return format!(
            "permission denied: {path} is not an executable file; try `chmod +x {path}`, or name its interpreter as `command`"
        );
    }
    if error.raw_os_error() == Some(exec_format_error()) {
        return no_program(spec);
    }
    format!("cannot start {program}: {}", system::told(error))
}

/// Which of its limits a server may not have: what the system grants may be less than it was when the config was read.
fn refused_limit(spec: &CommandSpec) -> Option<(String, String)> {
    let of_files = spec.limits.open_files.and_then(system::refuses_open_files);
    let named = |key: &str, (what, remedy): (String, String)| (format!("{key} {what}"), remedy);
    let of_files = of_files.map(|refusal| named("openFiles", refusal));
    of_files.or_else(|| spec.limits.nice.and_then(system::refuses_nice).map(|refusal| named("nice", refusal)))
}

/// What is wrong with a file that the system can't start, such as a script without a `#!` line.
fn no_program(spec: &CommandSpec) -> String {
    let remedy = Sought { program: &spec.program, path: "", ours: None, cwd: &folder(spec) }.remedy_for_interpreter();
    format!(
        "cannot start {}: it is neither a program for this machine nor a script with a #! line; {remedy}",
        spec.program
    )
}

/// The folder in which a server starts.
fn folder(spec: &CommandSpec) -> PathBuf {
    spec.cwd.clone().or_else(|| env::current_dir().ok()).unwrap_or_default()
}

/// The folder on the way to the program, or to the working directory, that keeps us out.
fn locked_folder(spec: &CommandSpec) -> Option<PathBuf> {
    let program = is_path(&spec.program).then(|| spec.cwd.clone().unwrap_or_default().join(&spec.program));
    let folder = |path: PathBuf| match obstacle::on_the_way(&path) {
        Some(Obstacle::Folder(folder)) => Some(folder),
        Some(Obstacle::Target(_) | Obstacle::Gone(_) | Obstacle::Circle(_) | Obstacle::Home) | None => None,
    };
    program.into_iter().chain(spec.cwd.clone()).find_map(folder)
}

/// What exactly was not found.
fn missing(spec: &CommandSpec) -> String {
    let program = &spec.program;
    let Some(path) = file_of(spec) else {
        if is_path(program) {
            let whole = folder(spec).join(program);
            let hint = shell_only(program).map_or_else(String::new, |hint| format!("; {hint}"));
            return format!("cannot start {program}: there is no file {} (key `command`){hint}", whole.display());
        }
        let (path, ours) = (search_path(spec), env::var("PATH").unwrap_or_default());
        let ours = own_path(spec).map(|_| &*ours);
        let remedy = Sought { program, path: &path, ours, cwd: &folder(spec) }.remedy_for_missing();
        return format!("command not found: {program} (searched PATH={path}); {remedy}");
    };
    match first_line(&path) {
        Some(interpreter) => no_interpreter(&path, &interpreter),
        None => format!(
            "cannot start {}: the loader or a library it was built for is not on this system \
             (another libc or architecture?)",
            path.display()
        ),
    }
}

/// That what a script's first line asks for is not there.
fn no_interpreter(path: &Path, interpreter: &str) -> String {
    let remedy = if interpreter.ends_with(WINDOWS_ENDS) { "save it with the line ends of Unix" } else { "install it" };
    format!(
        "cannot start {}: its first line asks for {interpreter}, which is not there; \
         {remedy}, or name the interpreter as `command` and the script in `args`",
        path.display()
    )
}

/// Why a script with Windows line ends can't be started whose interpreter `env` looks for: `env` itself is there, and would only then not find
/// a name that ends with a carriage return.
fn not_found_by_env(spec: &CommandSpec) -> Option<String> {
    let path = file_of(spec)?;
    let line = first_line(&path)?;
    let mut words = line.strip_suffix(WINDOWS_ENDS)?.split_whitespace();
    // With an option (`env -S`) it takes the line apart, and white space at its end away.
    let is_name = words.next()?.ends_with("/env") && words.next().is_some_and(|word| !word.starts_with('-'));
    is_name.then(|| no_interpreter(&path, &line))
}

#[cfg(unix)]
fn exec_format_error() -> i32 {
    libc::ENOEXEC
}

/// `ERROR_BAD_EXE_FORMAT`.
#[cfg(windows)]
fn exec_format_error() -> i32 {
    193
}

fn is_path(program: &str) -> bool {
    program.contains(std::path::is_separator)
}

/// The `PATH` in which the program was looked for.
pub(crate) fn search_path(spec: &CommandSpec) -> String {
    own_path(spec).map(str::to_owned).or_else(|| env::var("PATH").ok()).unwrap_or_default()
}

/// The `PATH` that is set for the server alone.
fn own_path(spec: &CommandSpec) -> Option<&str> {
    spec.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.reveal())
}

/// The file that is the program, whether or not it can be started.
pub(crate) fn file_of(spec: &CommandSpec) -> Option<PathBuf> {
    let program = Path::new(&spec.program);
    if is_path(&spec.program) {
        let path = spec.cwd.as_ref().map_or_else(|| program.to_owned(), |cwd| cwd.join(program));
        return path.exists().then_some(path);
    }
    env::split_paths(&search_path(spec)).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::config::LimitsSpec;
    use crate::endpoint::Secret;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn spec(program: impl Into<String>) -> CommandSpec {
        let limits = LimitsSpec::default();
        CommandSpec { program: program.into(), args: vec![], env: vec![], env_remove: vec![], cwd: None, limits }
    }

    fn refused(spec: &CommandSpec) -> String {
        let _runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = _runtime.enter();
        spawn(spec).map(|_| ()).unwrap_err().1
    }

    fn script(dir: &Path, text: &str, mode: u32) -> String {
        let path = dir.join("script");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_missing_program_names_the_path_that_was_searched_and_a_remedy() {
        let mut npx = spec("npx");
        npx.env.push(("PATH".into(), Secret::new("/nowhere:/neither")));
        let why = refused(&npx);
        assert!(why.starts_with("command not found: npx (searched PATH=/nowhere:/neither)"), "{why}");
        assert!(why.contains("nvm") || why.contains("mcp-pipe's own has it"), "{why}");
        let mut other = spec("surely-not-there");
        other.env.push(("PATH".into(), Secret::new("/nowhere")));
        let why = refused(&other);
        assert!(why.ends_with("only the PATH that its entry sets is searched"), "{why}");
        other.env[0].1 = Secret::new("$PATH:/nowhere");
        let why = refused(&other);
        assert!(why.ends_with("$PATH is not replaced there: write ${PATH} for it"), "{why}");
    }

    #[test]
    fn a_missing_file_is_named_with_its_whole_path() {
        let mut spec = spec("./server");
        spec.cwd = Some("/".into());
        assert!(refused(&spec).contains("there is no file /./server"), "{}", refused(&spec));
    }

    #[test]
    fn what_only_a_shell_takes_apart_is_said_to_be_none_of_ours() {
        for (program, want) in [
            ("surely-no-program examples/calculator.py", "put the rest into `args`"),
            ("./bin/no-program --flag", "put the rest into `args`"),
            ("/nowhere/~/bin/x", "write the whole path"),
            (r"C:\Python\python.exe", "write the program's path here, or its name alone"),
            ("C:/Program Files/x.exe", "write the program's path here, or its name alone"),
            ("powershell", "name the one that it starts"),
        ] {
            let why = refused(&spec(program));
            assert!(why.ends_with(want) || why.contains(want), "{why}");
        }
        assert!(!refused(&spec("./server")).contains("args"));
    }

    #[test]
    fn a_missing_working_directory_is_not_taken_for_a_missing_program() {
        let mut spec = spec("sh");
        spec.cwd = Some("/nowhere/at/all".into());
        let why = refused(&spec);
        assert!(why.contains("working directory /nowhere/at/all does not exist"), "{why}");
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let why = refused(&spec(script(dir.path(), "#!/opt/none/python\n", 0o755)));
        assert!(why.contains("asks for /opt/none/python") && why.contains("; install it, or name"), "{why}");
        // Also where it is `env` that would not find it.
        for line in ["#!/bin/sh\r\n", "#!/usr/bin/env python3\r\nprint(1)\r\n"] {
            let why = refused(&spec(script(dir.path(), line, 0o755)));
            let name = line.split('\r').next().unwrap().trim_start_matches("#!");
            assert!(why.contains(&format!("asks for {name}\\r (the file has Windows line ends)")), "{why}");
            assert!(why.contains("; save it with the line ends of Unix, or name"), "{why}");
        }
        let taken_apart = spec(script(dir.path(), "#!/usr/bin/env -S sh\r\n", 0o755));
        assert_eq!(not_found_by_env(&taken_apart), None);
    }

    #[test]
    fn a_file_that_is_not_executable_says_chmod() {
        let dir = tempfile::tempdir().unwrap();
        let why = refused(&spec(script(dir.path(), "#!/bin/sh\n", 0o644)));
        assert!(why.starts_with("permission denied") && why.contains("chmod +x"), "{why}");
    }

    #[test]
    fn a_folder_is_told_to_be_one() {
        let mut spec = spec("./sub");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        spec.cwd = Some(dir.path().to_owned());
        let why = refused(&spec);
        assert!(
            why.ends_with("/sub is a folder; name the program in it as `command`") && !why.contains("chmod"),
            "{why}"
        );
    }

    #[test]
    fn a_file_that_is_no_program_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let why = refused(&spec(script(dir.path(), "print(1)\n", 0o755)));
        assert!(why.contains("neither a program for this machine nor a script"), "{why}");
        // The same where it is not executable, or beside the config and not in the PATH.
        fs::write(dir.path().join("my.py"), "print(1)\n").unwrap();
        let whole = dir.path().join("my.py").to_str().unwrap().to_owned();
        for program in ["my.py".to_owned(), whole] {
            let why = refused(&CommandSpec { cwd: Some(dir.path().to_owned()), ..spec(program) });
            assert!(
                why.ends_with("with a #! line; name its interpreter: \"command\": \"python\", \"args\": [\"my.py\"]"),
                "{why}"
            );
        }
    }
}
