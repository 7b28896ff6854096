//! What may come next on a command line, by its definition. Pure.

use clap::{Arg, Command, ValueHint};

/// A word that may come next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// What it means; may be empty.
    pub(super) about: String,
    /// Not a word, but that any file may be named.
    pub(super) is_file: bool,
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Word { text, ..Word::default() }
    }
}

/// What depends on the servers that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Live {
    /// The name of one.
    Servers,
    /// The name of one that is reached over the network.
    Remote,
    /// A tool of this one.
    Tools(String),
}

/// What may come next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) words: Vec<Word>,
    pub(super) live: Option<Live>,
    /// The option at the beginning of the word, equals sign included, of which a value is asked for.
    pub(super) option: Option<String>,
}

/// Where a command line stands.
struct At<'a> {
    root: &'a Command,
    command: &'a Command,
    /// The words that are neither commands nor options.
    words: Vec<&'a str>,
    /// The option whose value comes next.
    option: Option<&'a Arg>,
    /// Behind `--`.
    is_line: bool,
}

/// What may come behind the words `before`, where `current` stands already.
pub(super) fn next(root: &Command, before: &[String], current: &str) -> Next {
    let mut at = At { root, command: root, words: Vec::new(), option: None, is_line: false };
    before.iter().for_each(|word| at.read(word));
    if let Some(option) = at.option {
        return at.value_of(option);
    }
    if at.is_line {
        return Next { words: vec![files()], ..Next::default() };
    }
    if let (Some((name, _)), true) = (current.split_once('='), current.starts_with("--")) {
        let option = at.options().find(|option| option.get_long() == Some(&name[2..]));
        let next = option.filter(|option| takes_value(option)).map(|option| at.value_of(option)).unwrap_or_default();
        return Next { option: Some(format!("{name}=")), ..next };
    }
    if current.starts_with('-') {
        return Next { words: at.options().filter_map(shown).chain([help()]).collect(), ..Next::default() };
    }
    let mut next = at.command.get_positionals().nth(at.words.len()).filter(|word| !word.is_hide_set());
    // What stands behind `--` only.
    next.take_if(|word| word.is_last_set());
    let mut next = next.map(|word| at.value_of(word)).unwrap_or_default();
    if std::ptr::eq(at.command, root) && at.words.is_empty() {
        let commands = root.get_subcommands().filter(|command| !command.is_hide_set());
        let named = |command: &Command| Word {
            text: command.get_name().to_owned(),
            about: command.get_about().map(ToString::to_string).unwrap_or_default(),
            is_file: false,
        };
        next.words.splice(..0, commands.map(named));
    }
    next
}

impl<'a> At<'a> {
    fn read(&mut self, word: &'a str) {
        if self.option.take().is_some() {
            return;
        }
        match word.strip_prefix('-') {
            _ if self.is_line => {}
            Some("-") => self.is_line = true,
            Some(option) if !option.is_empty() => {
                let is_it = |known: &&Arg| match option.strip_prefix('-') {
                    Some(long) => known.get_long() == Some(long),
                    None => known.get_short() == option.chars().next() && option.chars().count() == 1,
                };
                self.option =
                    self.options().find(is_it).filter(|known| takes_value(known) && !known.is_require_equals_set());
            }
            Some(_) | None => match self.command.find_subcommand(word) {
                Some(command) if std::ptr::eq(self.command, self.root) && self.words.is_empty() => {
                    self.command = command
                }
                Some(_) | None => self.words.push(word),
            },
        }
    }

    /// The options that count here: the command's own, and those of all commands where it says nothing else of them.
    fn options(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        let (root, command) = (self.root, self.command);
        let own = command.get_arguments().filter(|arg| !arg.is_positional());
        let is_new = move |arg: &&Arg| {
            !arg.is_positional()
                && arg.is_global_set()
                && command.get_arguments().all(|own| own.get_id() != arg.get_id())
        };
        let others = root.get_arguments().filter(is_new).filter(move |_| !std::ptr::eq(root, command));
        own.chain(others).filter(|arg| !arg.is_hide_set())
    }

    /// What an option or a word may be.
    fn value_of(&self, arg: &Arg) -> Next {
        let possible = if takes_value(arg) { arg.get_possible_values() } else { Vec::new() };
        let word = |value: &clap::builder::PossibleValue| Word {
            text: value.get_name().to_owned(),
            about: value.get_help().map(ToString::to_string).unwrap_or_default(),
            is_file: false,
        };
        let live = match (self.command.get_name(), arg.get_id().as_str()) {
            ("login" | "logout", "server") => Some(Live::Remote),
            ("status" | "restart", "name") | ("tap", "pattern") | ("next", "on") => Some(Live::Servers),
            (_, "server" | "target") => Some(Live::Servers),
            ("call", "tool") => self.words.first().map(|server| Live::Tools((*server).to_owned())),
            _ => None,
        };
        // Scripts can be run as well.
        let is_file = matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
            || arg.get_id() == "target"
            || (["call", "replay"].contains(&self.command.get_name()) && arg.get_id() == "server");
        Next { words: possible.iter().map(word).chain(is_file.then(files)).collect(), live, option: None }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn files() -> Word {
    Word { is_file: true, ..Word::default() }
}

fn help() -> Word {
    Word { text: "--help".to_owned(), about: "Print help".to_owned(), is_file: false }
}

/// An option as a word.
fn shown(option: &Arg) -> Option<Word> {
    let about = option.get_help().map(ToString::to_string).unwrap_or_default();
    Some(Word { text: format!("--{}", option.get_long()?), about, is_file: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn asked(line: &str) -> Next {
        let mut before: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = before.pop().unwrap_or_default();
        next(&cli::whole(), &before, &current)
    }

    fn texts(next: &Next) -> Vec<&str> {
        next.words.iter().map(|word| if word.is_file { "<file>" } else { &*word.text }).collect()
    }

    #[test]
    fn each_place_has_what_may_stand_there() {
        let tools = |server: &str| Some(Live::Tools(server.to_owned()));
        for (line, live, some, none) in [
            ("", Some(Live::Servers), &["restart", "call", "<file>"][..], &["--config"][..]),
            ("restart ", Some(Live::Servers), &[], &["restart", "<file>"]),
            ("restart --config x ", Some(Live::Servers), &[], &["<file>"]),
            ("restart --config ", None, &["<file>"], &[]),
            ("--config=", None, &["<file>"], &[]),
            ("stop x ", None, &[], &["stop"]),
            ("call ", Some(Live::Servers), &["<file>"], &[]),
            ("call time ", tools("time"), &[], &["<file>"]),
            ("call --log-level debug time ", tools("time"), &[], &[]),
            ("call time get ", None, &[], &[]),
            ("login ", Some(Live::Remote), &[], &[]),
            ("logs -n ", None, &[], &["<file>"]),
            ("logs -n 5 ", Some(Live::Servers), &[], &[]),
            ("logs -f ", Some(Live::Servers), &[], &[]),
            ("status --wait ", Some(Live::Servers), &[], &[]),
            ("stdio --server ", Some(Live::Servers), &[], &["<file>"]),
            ("test --suite ", None, &["smoke", "protocol"], &[]),
            ("test --suite=", None, &["smoke", "protocol"], &[]),
            ("config ", None, &["show", "schema"], &[]),
            ("import --from ", None, &["cursor", "xiaozhi-client", "<file>"], &[]),
            ("import --from=", None, &["cursor", "<file>"], &[]),
            ("cache clear ", Some(Live::Servers), &[], &[]),
            ("-- ", None, &["<file>"], &[]),
            ("status --", None, &["--json", "--config", "--help"], &["--local", "--endpoint"]),
            ("--", None, &["--local", "--endpoint", "--config"], &["--json"]),
            ("run ", Some(Live::Servers), &["<file>"], &["run"]),
        ] {
            let next = asked(line);
            let texts = texts(&next);
            assert_eq!(next.live, live, "{line}: {texts:?}");
            assert!(some.iter().all(|text| texts.contains(text)), "{line}: {texts:?}");
            assert!(!none.iter().any(|text| texts.contains(text)), "{line}: {texts:?}");
        }
        assert_eq!(asked("test --suite=s").option.as_deref(), Some("--suite="));
    }

    /// A command that takes a server under a name that is not known above would be forgotten.
    #[test]
    fn every_command_about_a_server_is_given_servers() {
        let root = cli::whole();
        for command in root.get_subcommands() {
            for word in command.get_positionals().filter(|word| !word.is_hide_set()) {
                let shown: Vec<&str> = word.get_value_names().unwrap_or_default().iter().map(|name| &**name).collect();
                if shown.iter().any(|name| name.to_lowercase().contains("server") || *name == "TARGET") {
                    let index =
                        command.get_positionals().position(|it| it.get_id() == word.get_id()).unwrap_or_default();
                    let line = [command.get_name().to_owned()].into_iter().chain((0..index).map(|_| "x".to_owned()));
                    let live = next(&root, &line.collect::<Vec<_>>(), "").live;
                    assert!(matches!(live, Some(Live::Servers | Live::Remote)), "{} {shown:?}", command.get_name());
                }
            }
        }
    }
}
