//! What a person reads when a run cannot go on (what happened, where, what to do), and the exit codes of all commands.
//!
//! | code | means |
//! |---|---|
//! | 0 | done, or stopped as asked |
//! | 1 | a call, a tool, a check or something unforeseen failed; `replay`: an answer differs; `health`: not serving; an order to a running mcp-pipe: not done |
//! | 2 | the command line is wrong, or the arguments of a call, or the file of `replay`; `status`, `logs`, orders: it names no server, or which mcp-pipe is meant is not clear |
//! | 3 | `status`, `logs`, orders: no mcp-pipe runs that could be asked |
//! | 78 | the config is wrong (`EX_CONFIG` of sysexits.h); nothing was started. `import`, `connect`: a file is no JSON; nothing was written |

mod code;
mod fault;
mod place;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

pub use code::{Code, What};
pub use fault::FaultCode;
pub use place::{Place, Spot};

use crate::secrecy::{Redactor, plain};

/// How the program ends. The table is at the top of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped as asked.
    Success = 0,
    /// A call, a tool or something unforeseen failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No mcp-pipe runs that could be asked.
    NoDaemon = 3,
    /// The config is wrong; nothing was started.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// One mistake or oddity in the config: where, what, and the remedy. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What kind of problem it is.
    pub code: Code,
    /// What is wrong, in words that continue the place: "is a number".
    pub what: String,
    /// What to do; may be empty where `what` says it.
    pub remedy: String,
}

impl Problem {
    /// A mistake at a place, with its remedy. Control characters of what they quote are shown by their numbers.
    pub fn new(place: impl Into<Place>, what: What, remedy: impl Into<String>) -> Self {
        let What { code, text } = what;
        // An excerpt of a text, with a mark below the place that is meant, has lines of its own.
        let cleaned = |line: &str| plain::line(line).replace('\t', "\\t");
        let on_one_line = |text: String| match text.contains(char::is_control) {
            true if text.ends_with('^') => text.split('\n').map(cleaned).collect::<Vec<_>>().join("\n"),
            true => cleaned(&text),
            false => text,
        };
        Problem { place: place.into(), code, what: on_one_line(text), remedy: on_one_line(remedy.into()) }
    }
}

/// On one line, for a log.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Every mistake of a config, at once. Nothing has been started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// What must be put right.
    pub mistakes: Vec<Problem>,
    /// What would have been logged besides.
    pub warnings: Vec<Problem>,
    /// That the target on the command line is neither a server nor a script: alone, no mistake of the config.
    pub target: Option<Problem>,
    /// The last config that ran, and how to see it. In one pointer: this is returned by many functions.
    pub known_good: Option<Arc<String>>,
}

impl Problems {
    /// The same problems without secrets, which may be in what they quote.
    pub fn cleaned(mut self, redactor: &Redactor) -> Self {
        for problem in self.mistakes.iter_mut().chain(&mut self.warnings).chain(&mut self.target) {
            let Problem { place, code: _, what, remedy } = problem;
            for text in place.texts_mut().into_iter().flatten().chain([what, remedy]) {
                *text = redactor.clean_all(text).into_owned();
            }
        }
        self
    }
}

impl Problems {
    /// Whether nothing is wrong but options, of which there may be several.
    fn are_of_the_command_line(&self) -> bool {
        !self.mistakes.is_empty() && self.mistakes.iter().all(|mistake| mistake.place.is_option())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |f: &mut fmt::Formatter<'_>, label: &str, problem: &Problem| {
            write!(f, "\n  {label}{}\n    {}", problem.place, problem.what)?;
            if problem.remedy.is_empty() { Ok(()) } else { write!(f, "\n    → {}", problem.remedy) }
        };
        match self.mistakes.len() {
            1 => f.write_str("the configuration has a mistake; nothing was started")?,
            n => write!(f, "the configuration has {n} mistakes; nothing was started")?,
        }
        self.mistakes.iter().try_for_each(|p| one(f, "", p))?;
        self.warnings.iter().try_for_each(|p| one(f, "warning: ", p))?;
        self.known_good.iter().try_for_each(|known_good| write!(f, "\n  {known_good}"))
    }
}

/// Why the program ends other than by being done.
#[derive(Debug)]
pub enum Failure {
    /// The command line; `--help` and `--version` too, which print to stdout and succeed.
    Usage(clap::Error),
    /// A target that doesn't exist, or an option or variable that is about this program and not about servers.
    Option(Problem),
    /// The config.
    Config(Problems),
    /// A running mcp-pipe was to be asked, and it is not known which, or what about.
    Asking {
        /// The code for that.
        exit: Exit,
        /// What is the matter.
        what: String,
        /// What to do; may be empty where `what` says it.
        remedy: String,
    },
    /// Anything else, with its chain of causes.
    Run(anyhow::Error),
}

impl From<Problems> for Failure {
    fn from(mut problems: Problems) -> Self {
        match (problems.target.take(), problems.mistakes.as_slice()) {
            (Some(target), []) => Failure::Option(target),
            (None, [option]) if option.place.is_option() => Failure::Option(option.clone()),
            (target, _) => {
                problems.mistakes.extend(target);
                Failure::Config(problems)
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Problems>() {
            Ok(problems) => problems.into(),
            Err(error) => Failure::Run(error),
        }
    }
}

impl Failure {
    /// The code that the program ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(error) if error.exit_code() == 0 => Exit::Success,
            Failure::Usage(_) | Failure::Option(_) => Exit::Usage,
            Failure::Config(problems) if problems.are_of_the_command_line() => Exit::Usage,
            Failure::Config(_) => Exit::Config,
            Failure::Asking { exit, .. } => *exit,
            Failure::Run(_) => Exit::Failed,
        }
    }

    /// The failure as a person may see it, cleaned: an argument that is repeated may be a misplaced endpoint, and a server's
    /// words may steer a terminal.
    pub fn shown(&self, redactor: &Redactor) -> String {
        plain::lines(&redactor.clean_all(&self.to_string())).into_owned()
    }

    /// Tells it in the log, a line for each mistake, for whoever reads a log of JSON: a text amid such lines would be lost on them.
    pub fn log(&self, redactor: &Redactor) {
        let clean = |text: &str| redactor.clean_all(text).into_owned();
        let mistake = |problem: &Problem| {
            let (place, code) = (clean(&problem.place.to_string()), problem.code.as_str());
            tracing::error!(event = "ERROR_CONFIG", place, code, "{}", clean(&problem.to_string()));
        };
        match self {
            Failure::Option(problem) => mistake(problem),
            Failure::Config(problems) => {
                problems.mistakes.iter().for_each(mistake);
                for warning in &problems.warnings {
                    let (place, code) = (clean(&warning.place.to_string()), warning.code.as_str());
                    tracing::warn!(event = "CONFIG_WARNING", place, code, "{}", clean(&warning.to_string()));
                }
                if let Some(known_good) = &problems.known_good {
                    tracing::info!(event = "CONFIG_NOTE", "{}", clean(known_good));
                }
            }
            Failure::Usage(_) | Failure::Asking { .. } | Failure::Run(_) => {
                tracing::error!(event = "ERROR_FAILED", "{}", clean(self.to_string().trim_end()));
            }
        }
    }

    /// Tells a person on stderr (`--help` and `--version` on stdout). Where nobody reads any more, nothing happens.
    pub fn tell(&self, redactor: &Redactor) {
        match self {
            Failure::Usage(error) if self.exit() == Exit::Success => drop(error.print()),
            Failure::Usage(_) | Failure::Option(_) | Failure::Config(_) | Failure::Asking { .. } | Failure::Run(_) => {
                drop(std::io::stderr().lock().write_all(self.shown(redactor).as_bytes()));
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(error) => error.fmt(f),
            Failure::Option(problem) => {
                writeln!(f, "mcp-pipe: {} {}", problem.place, problem.what)?;
                if problem.remedy.is_empty() { Ok(()) } else { writeln!(f, "  → {}", problem.remedy) }
            }
            Failure::Config(problems) => writeln!(f, "mcp-pipe: {problems}"),
            Failure::Asking { what, remedy, .. } => {
                writeln!(f, "mcp-pipe: {what}")?;
                if remedy.is_empty() { Ok(()) } else { writeln!(f, "  → {remedy}") }
            }
            Failure::Run(error) => {
                writeln!(f, "mcp-pipe: {error}")?;
                error.chain().skip(1).try_for_each(|cause| writeln!(f, "  because {cause}"))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn mistakes_are_told_all_at_once_with_place_and_remedy() {
        let failure = Failure::from(Problems {
            mistakes: vec![
                Problem::new(
                    "mcp_config.json:7:15 mcpServers.a.args[1]",
                    Code::WrongValue.says("is a number, not a text"),
                    "write \"5\"",
                ),
                Problem::new("mcp_config.json:9:3 mcpServers.b", Code::WrongValue.says("has no command"), ""),
            ],
            warnings: vec![Problem::new("mcp_config.json:2:3 foo", Code::WrongValue.says("is not a known key"), "")],
            ..Problems::default()
        });
        assert_eq!(
            failure.to_string(),
            "mcp-pipe: the configuration has 2 mistakes; nothing was started\n  \
             mcp_config.json:7:15 mcpServers.a.args[1]\n    is a number, not a text\n    → write \"5\"\n  \
             mcp_config.json:9:3 mcpServers.b\n    has no command\n  \
             warning: mcp_config.json:2:3 foo\n    is not a known key\n"
        );
        assert_eq!(failure.exit(), Exit::Config);
    }

    #[test]
    fn a_wrong_target_is_the_command_lines_fault_unless_the_config_is_wrong_too() {
        let target = || Some(Problem::new("heath", Code::WrongValue.says("is nothing"), "did you mean health?"));
        let failure = Failure::from(Problems { target: target(), ..Problems::default() });
        assert_eq!(failure.to_string(), "mcp-pipe: heath is nothing\n  → did you mean health?\n");
        assert_eq!(failure.exit(), Exit::Usage);
        let mistakes = vec![Problem::new("mcp_config.json:9:3", Code::WrongValue.says("is wrong"), "")];
        let failure = Failure::from(Problems { target: target(), mistakes, ..Problems::default() });
        assert!(failure.to_string().contains("2 mistakes") && failure.to_string().contains("heath"), "{failure}");
        assert_eq!(failure.exit(), Exit::Config);
    }

    #[test]
    fn a_wrong_option_is_the_command_lines_fault_unless_the_config_is_wrong_too() {
        let option = || Problem::new("--endpoint", Code::WrongValue.says("is empty"), "write it");
        let of = |mistakes| Failure::from(Problems { mistakes, ..Problems::default() });
        let failure = of(vec![option()]);
        assert_eq!(failure.to_string(), "mcp-pipe: --endpoint is empty\n  → write it\n");
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(of(vec![option(), option()]).exit(), Exit::Usage);
        assert_eq!(
            of(vec![option(), Problem::new("mcp_config.json:9:3", Code::WrongValue.says("is wrong"), "")]).exit(),
            Exit::Config
        );
        assert_eq!(of(Vec::new()).exit(), Exit::Config);
    }

    #[test]
    fn a_chain_of_causes_is_told_line_by_line() {
        let error = Err::<(), _>(std::io::Error::other("address in use")).context("the status socket can't be opened");
        let failure = Failure::from(error.unwrap_err());
        assert_eq!(failure.to_string(), "mcp-pipe: the status socket can't be opened\n  because address in use\n");
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn problems_are_a_config_failure_also_inside_anyhow() {
        let failure = Failure::from(anyhow::Error::new(Problems::default()));
        assert_eq!(failure.exit(), Exit::Config);
    }

    #[test]
    fn what_clap_repeats_of_the_command_line_loses_its_token() {
        let line = ["mcp-pipe", "calculator", "wss://u:s3cret@h.example/mcp/?token=s3cret"];
        let failure = Failure::Usage(crate::cli::parse(line.map(Into::into)).unwrap_err());
        let text = failure.shown(&Redactor::default());
        assert!(text.contains("wss://…@h.example/mcp/?token=…'"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(failure.exit(), Exit::Usage);
        for wrong in
            ["h.example/mcp/?a=1&token=s3cret", "WSS:/h/?s3cret", "https://u:s3cret@h/", "--no-such-token=s3cret"]
        {
            let failure = Failure::Usage(crate::cli::parse(["mcp-pipe", "x", wrong].map(Into::into)).unwrap_err());
            let text = failure.shown(&Redactor::default());
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn what_others_said_steers_no_terminal_and_keeps_its_lines() {
        let redactor: Redactor = [crate::secrecy::Secret::new("s3cret")].into_iter().collect();
        let failure = Failure::Run(anyhow::anyhow!("the tool says:\r\n\ta\x1b[2Jb\u{9b}c\u{202e}d s3cret"));
        let want = "mcp-pipe: the tool says:\n\ta\\u{1b}[2Jb\\u{9b}c\\u{202e}d …\n";
        assert_eq!(failure.shown(&redactor), want);
    }
}
