//! Which tools of a server are published, and as what: the `tools`, `slim`, `timeout` and `maxResultBytes` of a config.

pub mod size;

use std::time::Duration;

use wildmatch::WildMatch;

/// A pattern for names: `*` stands for any text, `?` for one character.
#[derive(Debug, Clone, PartialEq)]
pub struct Glob(WildMatch);

impl Glob {
    /// Every text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Glob(WildMatch::new(pattern))
    }

    /// Whether it covers a name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

/// One server's rules. Patterns are matched against the server's own names of its tools; of several that match, the first counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolPolicy {
    /// Only these are published; all if empty.
    pub allow: Vec<Glob>,
    /// These are not, even if allowed.
    pub deny: Vec<Glob>,
    /// The server's own name → the name to publish.
    pub rename: Vec<(Box<str>, Box<str>)>,
    /// Another description for these.
    pub describe: Vec<(Glob, Box<str>)>,
    /// Publishes name, description and inputSchema only.
    pub slim: bool,
    /// How long a call may take before it is answered with an error.
    pub timeout: Option<Duration>,
    /// The same for some tools.
    pub timeouts: Vec<(Glob, Duration)>,
    /// The largest result, in bytes of its JSON; larger ones are cut.
    pub max_result: Option<usize>,
    /// The same for some tools.
    pub max_results: Vec<(Glob, usize)>,
}

impl ToolPolicy {
    /// Whether nothing is to be changed at all.
    pub fn is_untouched(&self) -> bool {
        *self == ToolPolicy::default()
    }
}
