//! `mcp-pipe validate` and `mcp-pipe config`: what a config says, and what is wrong with it. Nothing is started, written or asked.

mod findings;

use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::anyhow;

use crate::config::options::CommandLine;
use crate::config::{self, Findings, Severity, Surroundings};
use crate::error::{Exit, Failure};
use crate::gateway;
use crate::logging;
use crate::secrecy::{Redactor, plain};
use findings::Report;

/// What is looked at, and how it is shown.
pub(crate) struct Look<'a> {
    pub(crate) line: &'a CommandLine<'a>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) redactor: &'a Redactor,
}

impl Look<'_> {
    /// What is to be said of the config. Its secrets are known to the redactor from then on.
    pub(crate) fn findings(&self) -> Findings {
        let mut found = config::validate(self.line, self.surroundings, SystemTime::now());
        match logging::check(self.line.options, self.surroundings.settings()) {
            Ok(oddity) => {
                oddity.into_iter().for_each(|odd| found.add(Severity::Warning, self.surroundings.placed(odd)))
            }
            Err(mistake) => found.add(Severity::Error, self.surroundings.placed(mistake)),
        }
        if let Some((place, tls)) = found.tls.take()
            && let Err(unusable) = gateway::check_tls(place, &tls)
        {
            found.add(Severity::Error, unusable);
        }
        self.redactor.add(found.secrets.iter().cloned());
        self.redactor.spare(found.names.iter().map(String::as_str));
        found
    }

    /// `mcp-pipe validate`: prints what is to be said of the config. Where that is `strict`, warnings count.
    ///
    /// # Errors
    /// The findings can't be written as JSON.
    pub(crate) fn validate(&self, strict: bool, json: bool) -> Result<Exit, Failure> {
        let found = self.findings();
        let report = Report::new(&found);
        print(&if json { as_json(&report, self.redactor)? } else { as_text(&report.words(), self.redactor) });
        Ok(report.exit(strict))
    }

    /// The config as it counts, in words.
    ///
    /// # Errors
    /// The mistakes of the config.
    pub(crate) fn shown(&self) -> Result<String, Failure> {
        let (mut shown, secrets) = config::show(self.line, self.surroundings)?;
        self.redactor.add(secrets);
        shown.clean(self.redactor);
        Ok(shown.words())
    }

    /// `mcp-pipe config show`: prints every value that counts.
    ///
    /// # Errors
    /// The mistakes of the config.
    pub(crate) fn show(&self, json: bool) -> Result<Exit, Failure> {
        let (mut shown, secrets) = config::show(self.line, self.surroundings)?;
        self.redactor.add(secrets);
        shown.clean(self.redactor);
        let nothing = &Redactor::default();
        print(&if json { as_json(&shown, nothing)? } else { as_text(&shown.words(), nothing) });
        Ok(Exit::Success)
    }
}

/// `mcp-pipe config schema`: prints what editors know of the config.
pub(crate) fn schema() -> Exit {
    print(&format!("{:#}\n", config::schema()));
    Exit::Success
}

/// A report as JSON in which no secret is and nothing steers a terminal.
fn as_json(report: &impl serde::Serialize, redactor: &Redactor) -> Result<String, Failure> {
    let mut value = serde_json::to_value(report).map_err(|error| anyhow!(error))?;
    redactor.clean_value(&mut value);
    Ok(plain::json(&format!("{value:#}\n")).into_owned())
}

/// The same of a text, line by line.
fn as_text(text: &str, redactor: &Redactor) -> String {
    text.lines().map(|line| format!("{}\n", plain::line(&redactor.clean_all(line)))).collect()
}

/// Prints on standard output.
pub(crate) fn print(text: &str) {
    // A reader that went away has seen enough.
    let _gone = io::stdout().lock().write_all(text.as_bytes());
}
