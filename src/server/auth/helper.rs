//! The program of `bearerCommand`: it prints a token, and ends.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::token;
use crate::config::CommandSpec;
use crate::error::FaultCode;
use crate::process::guard::Guard;
use crate::secrecy::Redactor;
use crate::server::spawn;
use crate::server::stop::Group;
use crate::words::span;

/// Longest time that the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of its stderr that are read, and most characters that are shown.
const MAX_STDERR: usize = 16 * 1024;
const SHOWN: usize = 200;

/// What the program prints. An error is the end of a sentence that begins with the program.
pub(super) async fn run(spec: &CommandSpec, guard: Guard, redactor: &Redactor) -> Result<String, (FaultCode, String)> {
    let mut child = spawn::spawn(spec).map_err(|(fault, why)| (fault, format!("can't be started: {why}")))?;
    #[cfg(unix)]
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    #[cfg(windows)]
    let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    // It ends with all that it has started, whatever becomes of this.
    let mut group = Group::of(child.id().unwrap_or_default(), guard);
    // Nobody answers its questions.
    drop(stdin);
    let work = async {
        let (said, words) = tokio::join!(read(stdout, token::MAX + 1), read(stderr, MAX_STDERR));
        (child.wait().await, said, words)
    };
    let failed = |why: String| Err((FaultCode::RemoteToken, why));
    let (status, said, words) = match timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => return failed(format!("has not ended within {}", span(PATIENCE))),
    };
    let _gone = group.is_gone();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            let words = redactor.shown(&String::from_utf8_lossy(&words), SHOWN);
            let words = if words.is_empty() { String::new() } else { format!("; its stderr: {words}") };
            return failed(format!("has failed ({status}){words}"));
        }
        Err(error) => return failed(format!("can't be waited for: {error}")),
    }
    String::from_utf8(said).or_else(|_| failed("prints no text".to_owned()))
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
