//! The figures of a run for whoever watches over it, in Prometheus' text formats.
//!
//! Nothing is kept here: each page is made of what is counted anyway (`figures`), of the state that follows from the journal (`status`), and of
//! what the system says of processes, which is looked up now and then only. All labels are names of the config, or out of closed sets, so that no
//! client and no server has the number of series grow; tools are bounded for each server (`figures`).

pub(crate) mod file;
mod labels;
mod process;
mod series;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::process::Machine;
use self::series::Snapshot;
use super::picture::Picture;
use super::protocol::Daemon;
use super::report::{Report, Sight};
use super::status::Status;
use crate::process::aside::aside;

/// Shortest time between two looks at the system's processes: each reads a file for every process of the machine.
const LOOKS: Duration = Duration::from_secs(5);

/// In which format figures are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// That of Prometheus (0.0.4).
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that is asked for by `Accept` (RFC 9110 section 12.5.1): OpenMetrics only where it is named, and wanted no less than the other.
    pub(crate) fn accepted(accept: &str) -> Self {
        let (mut open, mut classic) = (0.0_f32, 0.0_f32);
        for one in accept.split(',') {
            let mut parts = one.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let wish = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let wish = wish.map_or(1.0, |wish| wish.trim().parse::<f32>().unwrap_or(0.0));
            match &*kind {
                "application/openmetrics-text" => open = wish.max(open),
                "text/plain" | "text/*" | "*/*" => classic = wish.max(classic),
                _ => {}
            }
        }
        if open > 0.0 && open >= classic { Format::OpenMetrics } else { Format::Classic }
    }

    /// What the format is called in `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Classic => prometheus_text::CONTENT_TYPE,
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Metrics {
    status: Status,
    /// Which config, for whoever asks.
    config: String,
    since: SystemTime,
    /// What the system last said, and when.
    machine: Mutex<Option<(Instant, Arc<Machine>)>>,
}

impl Metrics {
    /// The figures of a run that begins now. `config`: the place of its config.
    pub(crate) fn of(status: Status, config: String) -> Self {
        let config = status.redactor().clean_all(&config).into_owned();
        Metrics { status, config, since: SystemTime::now(), machine: Mutex::default() }
    }

    /// The state of the run.
    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// All figures now.
    pub(crate) async fn page(&self, format: Format) -> String {
        let machine = self.machine().await;
        encode(Snapshot::take(&self.status, self.since, machine), format)
    }

    /// What `mcp-pipe status --json` tells.
    pub(crate) async fn report(&self) -> String {
        let machine = self.machine().await;
        let (daemon, picture) = (Daemon::of_config(self.config.clone()), Picture::take(&self.status, None));
        let sight =
            Sight { daemon: &daemon, picture: &picture, memory: &machine.groups, only: None, now: Instant::now() };
        // Nothing in it can't be written as JSON, and without a name that is asked for there is always a report.
        Report::of(&sight).and_then(|report| serde_json::to_string(&report).ok()).unwrap_or_default()
    }

    /// What the system says of processes, or said a moment ago.
    async fn machine(&self) -> Arc<Machine> {
        let known = self.machine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, machine)) = known
            && at.elapsed() < LOOKS
        {
            return machine;
        }
        let machine = Arc::new(aside(Machine::look).await.unwrap_or_default());
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), machine.clone()));
        machine
    }
}

fn encode(snapshot: Snapshot, format: Format) -> String {
    let mut registry = Registry::with_prefix("mcp_pipe");
    registry.register_collector(Box::new(snapshot));
    let mut page = String::new();
    // Writing to a String does not fail.
    let _infallible = match format {
        Format::Classic => prometheus_text::encode(&mut page, &registry),
        Format::OpenMetrics => text::encode(&mut page, &registry),
    };
    page
}

#[cfg(test)]
mod tests;
