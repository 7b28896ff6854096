//! The kinds of problems, each with a code that stays the same in all versions: programs go by the code, people by the words.

use std::fmt;

/// A kind of problem, and how it is called.
macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])+ $name,)+
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// The code as programs read it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// There is no such file.
    FileMissing = "file-missing",
    /// The file can't be read.
    FileUnreadable = "file-unreadable",
    /// The file is no text in UTF-8.
    Encoding = "encoding",
    /// The file is no JSON.
    Syntax = "syntax",
    /// The key is none that mcp-pipe knows.
    UnknownKey = "unknown-key",
    /// The key, or the server, stands in another place than where it belongs.
    Misplaced = "misplaced",
    /// The key is known and does nothing here.
    NoEffect = "no-effect",
    /// The same is said twice.
    Duplicate = "duplicate",
    /// Something that is needed is not there.
    MissingKey = "missing-key",
    /// The value is of another type: a number in the place of a text.
    WrongType = "wrong-type",
    /// The value is of the right type and can't be used.
    WrongValue = "wrong-value",
    /// The name of a server, a tool or a variable can't be used.
    WrongName = "wrong-name",
    /// Two places contradict each other.
    Contradiction = "contradiction",
    /// A server is reached over the network, which this version can't do.
    RemoteServer = "remote-server",
    /// No server can run.
    NoServer = "no-server",
    /// A variable is set nowhere.
    UnsetVariable = "unset-variable",
    /// A variable is empty where something is needed.
    EmptyVariable = "empty-variable",
    /// A reference to a variable is not replaced where it stands.
    NotReplaced = "not-replaced",
    /// A variable does nothing where it is set, or not what was meant.
    Variable = "variable",
    /// A line of a `.env` file can't be read, or not as it was meant.
    EnvLine = "env-line",
    /// A variable holds an endpoint, and so is kept from servers.
    Withheld = "withheld",
    /// No endpoint is named.
    EndpointMissing = "endpoint-missing",
    /// What is named is no endpoint.
    EndpointInvalid = "endpoint-invalid",
    /// Several endpoints are named, and one counts.
    EndpointDisputed = "endpoint-disputed",
    /// The endpoint lets nobody in without a token.
    TokenMissing = "token-missing",
    /// The token has expired, by what it says of itself.
    TokenExpired = "token-expired",
    /// The token is a word that stands elsewhere, too, so that it can't be kept out of sight.
    TokenWeak = "token-weak",
    /// A file with a secret can be read or changed by everybody on this machine.
    Exposed = "exposed",
    /// A folder or file that is named is not there.
    PathMissing = "path-missing",
    /// The placeholder text of an example was left in.
    Placeholder = "placeholder",
    /// The program that a server starts is not there.
    ProgramMissing = "program-missing",
    /// Something makes sense on another system only.
    OtherSystem = "other-system",
    /// Several servers are served to one agent.
    AgentShared = "agent-shared",
    /// A tool is published under another name than its own.
    NameChanged = "name-changed",
    /// The target is neither a server nor a script nor a program.
    Target = "target",
    /// An argument of the command line, or a variable in its place, can't be used.
    Argument = "argument",
}

impl Code {
    /// A problem of this kind, in words that continue its place.
    pub fn says(self, text: impl Into<String>) -> What {
        What { code: self, text: text.into() }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong: its kind, and the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    pub(super) code: Code,
    pub(super) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_of_a_kind_and_told_in_the_docs() {
        let docs = include_str!("../../docs/VALIDATE.md");
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows: Vec<&str> = rows.filter(|code| Code::ALL.iter().any(|known| known.as_str() == *code)).collect();
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(rows, all, "each once and in this order");
        for code in all {
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
        }
    }
}
