//! The program of `bearerCommand`: it prints a token, and ends.

use std::time::Duration;

use super::token;
use crate::config::CommandSpec;
use crate::error::FaultCode;
use crate::process::guard::Guard;
use crate::secrecy::Redactor;
use crate::server::printed::{self, Printed, Unprinted};
use crate::words::span;

/// Longest time that the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of its stderr that are read, and most characters that are shown.
const MAX_STDERR: usize = 16 * 1024;
const SHOWN: usize = 200;

/// What the program prints. An error is the end of a sentence that begins with the program.
pub(super) async fn run(spec: &CommandSpec, guard: Guard, redactor: &Redactor) -> Result<String, (FaultCode, String)> {
    let failed = |why: String| Err((FaultCode::RemoteToken, why));
    let Printed { status, stdout, stderr } =
        match printed::run(spec, guard, &[], (token::MAX + 1, MAX_STDERR), PATIENCE).await {
            Ok(printed) => printed,
            Err(Unprinted::NotStarted(fault, why)) => {
                return Err((fault, format!("can't be started: {}", by_our_key(&why))));
            }
            Err(Unprinted::TooLong) => return failed(format!("has not ended within {}", span(PATIENCE))),
            Err(Unprinted::Unknown(error)) => return failed(format!("can't be waited for: {error}")),
        };
    if !status.success() {
        let words = redactor.shown(&String::from_utf8_lossy(&stderr), SHOWN);
        let words = if words.is_empty() { String::new() } else { format!("; its stderr: {words}") };
        return failed(format!("has failed ({status}){words}"));
    }
    String::from_utf8(stdout).or_else(|_| failed("prints no text".to_owned()))
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
