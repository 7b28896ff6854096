//! From a command, a script or a config entry to a program that can be started.
//!
//! A program that doesn't exist is no mistake here: `PATH` may change until the start, and the start reports a missing program.

use std::path::{Path, PathBuf};

use super::Environment;
use crate::disk::joined;

/// What a script is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

/// Where a script may be: the working directory, the config's folder, and `examples/` in both.
pub(crate) fn script_places(script: &str, cwd: &Path, base: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for folder in [cwd.to_path_buf(), base.to_path_buf(), cwd.join("examples"), base.join("examples")] {
        let place = joined(&folder, script);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// How to run a script, by its extension.
///
/// # Errors
/// Why the script can't be run, in words that continue its name.
pub(crate) fn for_script(script: &Path, env: &Environment) -> Result<Invocation, &'static str> {
    let shown = script.display().to_string();
    let extension = script.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let through = |program: String| Ok(Invocation { program, args: vec![shown.clone()] });
    match extension.as_str() {
        "py" => through(python(env)),
        "js" | "mjs" | "cjs" => through("node".to_owned()),
        _ if !is_executable(script) => Err("is neither a .py, .js, .mjs or .cjs file nor executable"),
        _ => Ok(Invocation { program: shown, args: Vec::new() }),
    }
}

/// Whether a script needs no more than its name to be run.
pub(crate) fn runs_alone(script: &str) -> bool {
    [".py", ".js", ".mjs", ".cjs"].iter().any(|ending| script.ends_with(ending))
}

/// The Python of the active virtual environment, else `python3`, else `python`.
fn python(env: &Environment) -> String {
    if let Some(venv) = env.filled("VIRTUAL_ENV") {
        let python = Path::new(venv).join(if cfg!(windows) { "Scripts\\python.exe" } else { "bin/python" });
        if is_executable(&python) {
            return python.display().to_string();
        }
    }
    let path = env.get("PATH").unwrap_or_default();
    let name = if !on_path("python3", path) && on_path("python", path) { "python" } else { "python3" };
    name.to_owned()
}

/// `python3` where `python` is not on `path` but `python3` is; else the program itself.
pub(crate) fn with_fallback<'a>(program: &'a str, path: &str) -> &'a str {
    if program == "python" && !on_path("python", path) && on_path("python3", path) { "python3" } else { program }
}

/// Whether a program is given by its place, not by a name to look up in `PATH`.
pub(crate) fn is_path(program: &str) -> bool {
    program.contains('/') || (cfg!(windows) && program.contains('\\'))
}

/// Whether a program of this name is in one of the folders of `path`.
pub(crate) fn on_path(name: &str, path: &str) -> bool {
    let names = if cfg!(windows) { vec![format!("{name}.exe"), format!("{name}.cmd")] } else { vec![name.to_owned()] };
    std::env::split_paths(path).any(|folder| names.iter().any(|name| is_executable(&folder.join(name))))
}

/// Whether a file is a program.
#[cfg(unix)]
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether a file is a program by its extension, as Windows sees it. Not verified on Windows.
#[cfg(not(unix))]
pub(crate) fn is_executable(file: &Path) -> bool {
    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    file.is_file() && ["exe", "cmd", "bat", "com"].contains(&extension.as_str())
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn executable(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn python_is_that_of_the_virtual_environment_then_python3_then_python() {
        let dir = tempfile::tempdir().unwrap();
        let (venv, bin) = (dir.path().join("venv"), dir.path().join("bin"));
        executable(&bin.join("python"));
        let env = |pairs: &[(&str, &Path)]| pairs.iter().map(|(n, v)| (*n, v.as_os_str())).collect::<Environment>();
        assert_eq!(python(&env(&[("PATH", &bin)])), "python");
        executable(&bin.join("python3"));
        assert_eq!(python(&env(&[("PATH", &bin)])), "python3");
        assert_eq!(python(&env(&[("PATH", &bin), ("VIRTUAL_ENV", &venv)])), "python3", "a stale variable");
        executable(&venv.join("bin/python"));
        assert_eq!(python(&env(&[("PATH", &bin), ("VIRTUAL_ENV", &venv)])), venv.join("bin/python").to_str().unwrap());
    }

    #[test]
    fn python_falls_back_to_python3_only_where_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(with_fallback("python", path), "python", "neither: the start says what was searched");
        executable(&dir.path().join("python3"));
        assert_eq!(with_fallback("python", path), "python3");
        assert_eq!(with_fallback("node", path), "node");
        executable(&dir.path().join("python"));
        assert_eq!(with_fallback("python", path), "python");
    }

    #[test]
    fn a_script_is_run_by_its_extension_or_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment::default();
        let run = |name: &str| for_script(&dir.path().join(name), &env);
        assert_eq!(run("a.py").unwrap().program, "python3");
        assert_eq!(run("a.mjs").unwrap().program, "node");
        executable(&dir.path().join("tool"));
        assert_eq!(run("tool").unwrap().program, dir.path().join("tool").to_str().unwrap());
        std::fs::write(dir.path().join("x.txt"), "").unwrap();
        assert!(run("x.txt").unwrap_err().contains("nor executable"));
    }
}
