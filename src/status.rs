//! What each pipe is doing, for whoever asks. Written by the pipes through handles, read by `admin`.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One pipe's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeStatus {
    /// The server's name.
    pub name: String,
    /// A connection stands.
    pub connected: bool,
    /// The server's process runs and has answered.
    pub serving: bool,
    /// Why not, in words; empty while all is well.
    pub trouble: String,
}

/// All pipes of a run, in the order of the config. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Vec<PipeStatus>>>);

/// One pipe's own entry.
#[derive(Debug, Clone)]
pub struct StatusEntry {
    of: Status,
    index: usize,
}

impl Status {
    /// Adds a pipe that has not begun yet.
    pub fn add(&self, name: &str) -> StatusEntry {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.push(PipeStatus { name: name.into(), trouble: "starting".into(), ..PipeStatus::default() });
        StatusEntry { of: self.clone(), index: pipes.len() - 1 }
    }

    /// What all pipes are doing now.
    pub fn read(&self) -> Vec<PipeStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StatusEntry {
    /// Changes the entry.
    pub fn set(&self, change: impl FnOnce(&mut PipeStatus)) {
        let mut pipes = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = pipes.get_mut(self.index) {
            change(entry);
        }
    }
}
