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
    let mut child =
        spawn::spawn(spec).map_err(|(fault, why)| (fault, format!("can't be started: {}", by_our_key(&why))))?;
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

/// Why a program can't be started, with the key by which it is named here: a server's is named by two.
fn by_our_key(why: &str) -> String {
    let of_two = [
        ("`command` and the script in `args`", "the first word of `bearerCommand` and the script as the second"),
        ("`command`", "`bearerCommand`"),
        ("into `args`, a text for each argument", "behind it, a text for each argument"),
        ("\"command\": \"", "\"bearerCommand\": [\""),
        ("\", \"args\": [", "\", "),
    ];
    of_two.into_iter().fold(why.to_owned(), |why, (theirs, ours)| why.replace(theirs, ours))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_program_cant_be_started_names_the_key_that_names_it_here() {
        for (why, want) in [
            (
                "install it, or write its whole path as `command`",
                "install it, or write its whole path as `bearerCommand`",
            ),
            (
                "name its interpreter: \"command\": \"python\", \"args\": [\"x.py\"]",
                "name its interpreter: \"bearerCommand\": [\"python\", \"x.py\"]",
            ),
            (
                "name the interpreter as `command` and the script in `args`",
                "name the interpreter as the first word of `bearerCommand` and the script as the second",
            ),
            (
                "`command` is the program only: put the rest into `args`, a text for each argument",
                "`bearerCommand` is the program only: put the rest behind it, a text for each argument",
            ),
        ] {
            assert_eq!(by_our_key(why), want);
        }
    }
}
