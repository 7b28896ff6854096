//! `mcp-pipe validate` and `mcp-pipe config`: what a config says, and what is wrong with it. Nothing is started, written or asked.

mod findings;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use httpdate::fmt_http_date;

use crate::catalogue::{self, Cleared};
use crate::config::options::CommandLine;
use crate::config::{self, Findings, Kept, Outline, Resolved, Severity, Surroundings};
use crate::error::{Exit, Failure};
use crate::gateway;
use crate::last_run::{self, Good};
use crate::logging;
use crate::process::stdout::print;
use crate::secrecy::{Redactor, plain};
use crate::words::{counted, quoted, size};
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

    /// `mcp-pipe cache clear`: has what this server said forgotten, or what all said.
    ///
    /// # Errors
    /// The mistakes of the config, or why something can't be removed.
    pub(crate) fn clear(&self, server: Option<&str>) -> Result<Exit, Failure> {
        let (cache_dir, state_dir, place, spec) = match server {
            Some(_) => {
                let Resolved { config, secrets, names, .. } = config::resolve(self.line, self.surroundings)?;
                self.redactor.add(secrets);
                self.redactor.spare(names.iter().map(String::as_str));
                (config.cache_dir, config.state_dir, config.place, config.servers.into_iter().next())
            }
            // All of it is forgotten whatever the config says, and also where there is none.
            None => {
                let config::Outline { cache_dir, state_dir, place, .. } = config::outline(self.line, self.surroundings);
                (cache_dir, state_dir, place, None)
            }
        };
        let (spec, Some(dir)) = (spec.as_ref(), &cache_dir) else {
            print(
                "nothing is remembered here: there is no cache (--cache-dir, MCP_CACHE_DIR or \"cacheDir\" says none, or there is no HOME)\n",
            );
            return Ok(Exit::Success);
        };
        let cleared = catalogue::clear(dir, spec).context("the cache can't be cleared")?;
        let about = spec.map_or("all servers and endpoints".to_owned(), |spec| quoted(&spec.name));
        let mut text = format!("{}\n", told(cleared.as_ref(), dir, &about));
        let runs = state_dir.as_deref().and_then(|state| last_run::read(state, &place).ok()??.now);
        if runs.is_some() && cleared.as_ref().is_some_and(|cleared| cleared.files > 0) {
            text.push_str(
                "a mcp-pipe runs with this config: it goes on with what it knows, and writes down only what a server says that is new\n",
            );
        }
        print(&as_text(&text, self.redactor));
        match cleared.and_then(|cleared| cleared.left.into_iter().next()) {
            Some((file, error)) => {
                Err(anyhow!("{file}: {error}").context("not all of the cache can be removed").into())
            }
            None => Ok(Exit::Success),
        }
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

    /// `mcp-pipe config show`: prints every value that counts; or `last_good`: of the last config that ran.
    ///
    /// # Errors
    /// The mistakes of the config.
    pub(crate) fn show(&self, last_good: bool, json: bool) -> Result<Exit, Failure> {
        let good = last_good.then(|| of_last_run(self.line, self.surroundings).1).flatten();
        if last_good && good.is_none() {
            let why = "no config is kept that has run here: one is, in the state folder, as soon as a server serves (not with --local)";
            return Err(anyhow!(why).into());
        }
        let line = CommandLine { text: good.as_ref().map(|good| &good.text), commands: Vec::new(), ..*self.line };
        let (mut shown, secrets) = config::show(&line, self.surroundings)?;
        if let Some(Good { since, file, .. }) = good {
            shown.is_kept(Kept { since: fmt_http_date(since), file });
        }
        self.redactor.add(secrets);
        shown.clean(self.redactor);
        let nothing = &Redactor::default();
        print(&if json { as_json(&shown, nothing)? } else { as_text(&shown.words(), nothing) });
        Ok(Exit::Success)
    }
}

/// The config file, and what is kept of it.
fn of_last_run(line: &CommandLine<'_>, surroundings: &Surroundings) -> (PathBuf, Option<Good>) {
    let place = surroundings.place();
    if place.exists() && !place.is_file() {
        // It comes from a program, which gives it once.
        return (place, None);
    }
    let line = CommandLine { commands: Vec::new(), ..*line };
    let Outline { place, state_dir, .. } = config::outline(&line, surroundings);
    let good = state_dir.and_then(|state| last_run::good(&state, &place));
    (place, good)
}

/// What to tell, beside the mistakes of a config, of the last one that ran.
pub(crate) fn known_good(line: &CommandLine<'_>, surroundings: &Surroundings) -> Option<String> {
    let (config, good) = of_last_run(line, surroundings);
    good.map(|good| good.told(&config))
}

/// What to tell of a cache in this folder of which `about` was forgotten.
fn told(cleared: Option<&Cleared>, dir: &Path, about: &str) -> String {
    match cleared {
        Some(Cleared { files, bytes, .. }) if *files > 0 => {
            format!("{} of {about} removed ({}) from {}", counted(*files, "file"), size(*bytes), dir.display())
        }
        Some(_) | None => format!("nothing is remembered of {about} in {}", dir.display()),
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
