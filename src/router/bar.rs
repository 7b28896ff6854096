//! A server that a person keeps from taking calls: the words for whoever calls it.

use std::borrow::Cow;

/// Why a server takes no calls, although nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// The server runs, stays listed, and goes on with what is under way.
    Paused,
    /// The server does not run, and is not about to.
    Stopped,
}

/// Methods that a paused server still takes: they are no work, or go on with work that had begun before.
const NO_WORK: &[&[u8]] = &[
    b"initialize",
    b"ping",
    b"logging/setLevel",
    b"resources/subscribe",
    b"resources/unsubscribe",
    b"tasks/get",
    b"tasks/result",
    b"tasks/cancel",
];

/// Whether a request is work for a server, and not only about it.
pub(super) fn is_work(method: &[u8]) -> bool {
    !(method.ends_with(b"/list") || NO_WORK.contains(&method))
}

impl Bar {
    /// Whether a request is refused.
    pub(super) fn refuses(self, method: &[u8]) -> bool {
        match self {
            Bar::Paused => is_work(method),
            Bar::Stopped => true,
        }
    }

    /// The error for a request to the server of this name, with the command that brings the server back.
    pub fn words(self, server: &str) -> String {
        let argument = argument(server);
        match self {
            Bar::Paused => {
                format!("server \"{server}\" is paused and takes no calls; mcp-pipe resume {argument} lets it go on")
            }
            Bar::Stopped => format!("server \"{server}\" {}", Self::stopped(server)),
        }
    }

    /// What has become of a stopped server, in words that follow its name.
    pub(super) fn stopped(server: &str) -> String {
        format!("was stopped by command; mcp-pipe start {} brings it back", argument(server))
    }
}

/// A server's name as a shell takes it for one word.
pub(crate) fn argument(name: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+.,:/@%".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("'{}'", name.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_server_is_asked_what_it_has_and_a_stopped_one_nothing() {
        for (method, paused) in [
            ("tools/call", true),
            ("prompts/get", true),
            ("resources/read", true),
            ("completion/complete", true),
            ("x/unknown", true),
            ("tools/list", false),
            ("resources/templates/list", false),
            ("resources/unsubscribe", false),
            ("logging/setLevel", false),
            ("tasks/result", false),
        ] {
            assert_eq!(Bar::Paused.refuses(method.as_bytes()), paused, "{method}");
            assert!(Bar::Stopped.refuses(method.as_bytes()));
        }
    }

    #[test]
    fn the_words_name_a_command_that_a_shell_takes() {
        assert!(Bar::Paused.words("calc").ends_with("; mcp-pipe resume calc lets it go on"));
        assert!(Bar::Stopped.words("my calc").ends_with("; mcp-pipe start 'my calc' brings it back"));
        for (name, word) in [("", "''"), ("-v", "'-v'"), ("it's", r"'it'\''s'"), ("büro", "büro"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(argument(name), word);
        }
    }
}
