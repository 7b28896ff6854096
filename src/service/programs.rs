//! The programs that a service would not find, though this shell does.

use std::path::{Path, PathBuf};

use super::wrapped::{self, Wrapped};
use crate::config::{AuthSpec, CommandSpec, Reach, ServerSpec, first_line, is_executable};
use crate::words::{brief, brief_path, quoted};

/// What of these servers a service could not start whose `PATH` is `path`, in words for a person. `shell`: where this shell looks;
/// `hidden`: whether the service can't see a file.
pub(super) fn missing(servers: &[ServerSpec], path: &str, shell: &str, hidden: impl Fn(&Path) -> bool) -> Vec<String> {
    let programs = servers.iter().filter_map(|server| {
        let command = match &server.reach {
            Reach::Command(command) => command,
            Reach::Remote(remote) => match &remote.auth {
                AuthSpec::BearerCommand(command) => command,
                AuthSpec::Headers | AuthSpec::Bearer(_) | AuthSpec::BearerFile(_) => return None,
                AuthSpec::ClientCredentials(_) | AuthSpec::Login(_) => return None,
            },
            Reach::Comer(_) => return None,
        };
        Some((&*server.name, command))
    });
    let told = |(name, command): (&str, &CommandSpec)| {
        of_program(command, path, shell, &hidden).map(|why| format!("{}: {why}", quoted(name)))
    };
    programs.filter_map(told).collect()
}

/// Why a command can't be started by the service, and what to write instead: its folder, its program, or what that only wraps.
fn of_program(command: &CommandSpec, path: &str, shell: &str, hidden: &impl Fn(&Path) -> bool) -> Option<String> {
    let own = command.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.reveal());
    let path = own.unwrap_or(path);
    if let Some(cwd) = command.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return Some(format!("its cwd, {}, is no folder here; create it, or correct the path", brief_path(cwd)));
    }
    let in_folder = |file: &Path| command.cwd.as_ref().map_or_else(|| file.to_owned(), |cwd| cwd.join(file));
    let args = command.args.iter().map(|arg| in_folder(Path::new(arg))).filter(|arg| arg.exists());
    let seen: Vec<PathBuf> = command.cwd.clone().into_iter().chain(args).collect();
    let line: Vec<String> = [&command.program].into_iter().chain(&command.args).cloned().collect();
    let first = Wrapped { program: command.program.clone(), path: None };
    let mut all = std::iter::once(first).chain(wrapped::programs(&line)).enumerate();
    all.find_map(|(n, Wrapped { program, path: own })| {
        let places = Places { path: own.as_deref().unwrap_or(path), shell, hidden };
        places.lack(&program, n == 0, &in_folder, &seen)
    })
}

/// Where programs are looked for.
struct Places<'a, H> {
    /// The `PATH` that counts.
    path: &'a str,
    shell: &'a str,
    hidden: &'a H,
}

impl<H: Fn(&Path) -> bool> Places<'_, H> {
    /// Why a program can't be started. `is_command`: it is the `command` itself; `seen`: what else it has to see.
    fn lack(
        &self,
        program: &str,
        is_command: bool,
        in_folder: &impl Fn(&Path) -> PathBuf,
        seen: &[PathBuf],
    ) -> Option<String> {
        let Places { path, shell, hidden } = *self;
        let shown = brief(program);
        let Some(file) = found(program, path) else {
            return Some(match found(program, shell) {
                Some(file) if !Path::new(program).is_absolute() => elsewhere(&shown, &file, is_command),
                Some(_) | None => format!(
                    "{shown} is no program here, nor in the PATH of this shell; install it, or write the path to it"
                ),
            });
        };
        let named = |file: &Path| {
            format!(
                "{} is in a folder that the unit hides from the service; move it elsewhere, or install for one user: --user",
                file.display()
            )
        };
        if let Some(unseen) = [in_folder(&file)].iter().chain(seen).find(|file| hidden(file)) {
            return Some(named(unseen));
        }
        // A script that is found is of no use without what it runs with, as npx without node.
        let line: Vec<String> = first_line(&in_folder(&file))?.split_whitespace().map(str::to_owned).collect();
        let Wrapped { program: interpreter, path: own } = wrapped::programs(&line).pop().or_else(|| {
            let program = line.iter().find(|word| !word.starts_with('-') && !wrapped::is_wrapper(word))?;
            Some(Wrapped { program: program.clone(), path: None })
        })?;
        if let Some(found) = found(&interpreter, own.as_deref().unwrap_or(path)) {
            return hidden(&found).then(|| named(&found));
        }
        let told = match found(&interpreter, shell) {
            Some(there) => {
                let folder = there.parent().unwrap_or(Path::new("/")).display();
                format!("{}; write \"env\": {{\"PATH\": \"{folder}:${{PATH}}\"}}", there.display())
            }
            None => "nowhere here; install it".to_owned(),
        };
        Some(format!(
            "{shown} ({}) runs with {interpreter}, which is not in the PATH of the service: it is {told}",
            file.display()
        ))
    }
}

fn elsewhere(program: &str, file: &Path, is_command: bool) -> String {
    let file = file.display();
    let write = if is_command { format!("\"command\": \"{file}\"") } else { format!("{file} in its place") };
    format!("{program} is in the PATH of this shell and not in that of the service; write {write}")
}

/// The file of a program.
fn found(program: &str, path: &str) -> Option<PathBuf> {
    if program.contains('/') || Path::new(program).is_absolute() {
        return Some(PathBuf::from(program)).filter(|file| is_executable(file));
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}
