//! The programs that a service would not find, though this shell does.

use std::path::{Path, PathBuf};

use crate::config::{AuthSpec, CommandSpec, Reach, ServerSpec, first_line, is_executable};
use crate::words::{brief, quoted};

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

/// Why a program can't be started by the service, and what to write instead.
fn of_program(command: &CommandSpec, path: &str, shell: &str, hidden: &impl Fn(&Path) -> bool) -> Option<String> {
    let own = command.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.reveal());
    let (path, program) = (own.unwrap_or(path), &*command.program);
    let shown = brief(program);
    let Some(file) = found(program, path) else {
        return Some(match found(program, shell) {
            Some(file) if !Path::new(program).is_absolute() => elsewhere(&shown, &file),
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
    let in_folder = |file: &Path| command.cwd.as_ref().map_or_else(|| file.to_owned(), |cwd| cwd.join(file));
    let args = command.args.iter().map(|arg| in_folder(Path::new(arg))).filter(|arg| arg.exists());
    let seen = [in_folder(&file)].into_iter().chain(command.cwd.clone()).chain(args);
    if let Some(unseen) = seen.into_iter().find(|file| hidden(file)) {
        return Some(named(&unseen));
    }
    // A script that is found is of no use without what it runs with, as npx without node.
    let line = first_line(&in_folder(&file))?;
    let mut words = line.split_whitespace();
    let interpreter = match words.next()? {
        env if env.ends_with("/env") => words.find(|word| !word.starts_with('-'))?,
        interpreter => interpreter,
    };
    if let Some(found) = found(interpreter, path) {
        return hidden(&found).then(|| named(&found));
    }
    let told = match found(interpreter, shell) {
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

fn elsewhere(program: &str, file: &Path) -> String {
    format!(
        "{program} is in the PATH of this shell and not in that of the service; write \"command\": \"{}\"",
        file.display()
    )
}

/// The file of a program.
fn found(program: &str, path: &str) -> Option<PathBuf> {
    if program.contains('/') || Path::new(program).is_absolute() {
        return Some(PathBuf::from(program)).filter(|file| is_executable(file));
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}
