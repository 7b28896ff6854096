//! A program that prints something and ends: run once, within a time, with everything that it starts.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::spawn;
use super::stop::Group;
use crate::config::CommandSpec;
use crate::error::FaultCode;
use crate::process::guard::Guard;

/// What a program has printed, as far as it was kept, and how it ended.
pub(crate) struct Printed {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Why nothing of it counts.
pub(crate) enum Unprinted {
    /// It can't be started.
    NotStarted(FaultCode, String),
    /// It has not ended in time.
    TooLong,
    Unknown(io::Error),
}

/// Runs a program, with `input` on its standard input, which ends there. `most`: how many bytes are kept of what it prints, and of its stderr.
pub(crate) async fn run(
    spec: &CommandSpec,
    guard: Guard,
    input: &[u8],
    most: (usize, usize),
    patience: Duration,
) -> Result<Printed, Unprinted> {
    let mut child = spawn::spawn(spec).map_err(|(fault, why)| Unprinted::NotStarted(fault, why))?;
    #[cfg(unix)]
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    #[cfg(windows)]
    let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    // It ends with all that it has started, whatever becomes of this.
    let mut group = Group::of(child.id().unwrap_or_default(), guard);
    let work = async {
        let asking = async {
            // Beyond that nobody answers its questions. Whether it reads them is its own affair.
            if let Some(mut stdin) = stdin {
                let _unread = stdin.write_all(input).await;
            }
        };
        let ((), stdout, stderr) = tokio::join!(asking, read(stdout, most.0), read(stderr, most.1));
        (child.wait().await, stdout, stderr)
    };
    let (status, stdout, stderr) = timeout(patience, work).await.map_err(|_| Unprinted::TooLong)?;
    let _gone = group.is_gone();
    Ok(Printed { status: status.map_err(Unprinted::Unknown)?, stdout, stderr })
}

/// The first bytes that come. What comes behind is read as well: a program that can't write does not end.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let Some(mut from) = from else { return Vec::new() };
    let (mut kept, mut piece) = (Vec::new(), vec![0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..n.min(most - kept.len())]);
    }
    kept
}
