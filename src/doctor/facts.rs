//! What was found out about a machine and what runs on it, as far as two of them may differ: in the report for `--compare`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Facts of one side. What is missing was not looked at; what was looked for and is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Facts {
    /// When, in UTC.
    pub(super) at: String,
    /// Of mcp-pipe.
    pub(super) version: String,
    /// The operating system and the processor.
    pub(super) system: String,
    /// The kind of container, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    /// The beginning of the SHA-256 of the config file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<String>,
    /// The folders in which programs are looked for.
    pub(super) path: Vec<String>,
    /// The names of the variables that are set.
    pub(super) environment: BTreeSet<String>,
    /// The programs of the servers.
    pub(super) programs: BTreeMap<String, String>,
    /// How long each took to its answer to `initialize`, in seconds.
    pub(super) starts: BTreeMap<String, f64>,
    /// The addresses of hosts.
    pub(super) addresses: BTreeMap<String, BTreeSet<String>>,
    /// Through which proxy each endpoint and remote server is reached.
    pub(super) proxies: BTreeMap<String, String>,
    /// How far the clock of somebody who was asked is ahead of this machine's, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<i64>,
    /// The mcp-pipe that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) daemon: Option<String>,
    /// The codes of the root causes.
    pub(super) roots: Vec<String>,
}
