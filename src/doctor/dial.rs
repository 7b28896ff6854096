//! A dial of an endpoint as a link makes it, on a person's word: whether the endpoint takes it, and whether it lets it stand.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::check::{Fault, Found};
use crate::config::LinkSpec;
use crate::endpoint::Endpoint;
use crate::link::cause::{Cause, code};
use crate::net::dial::{self, Dialed};
use crate::net::error::DialError;
use crate::net::peer_text::Redaction;
use crate::net::websocket::{Event, Incoming, Outgoing};
use crate::words::span;

/// How long the connection is looked at: an endpoint that does not take a token often says so by closing what it has opened.
const WATCHED: Duration = Duration::from_millis(1500);
/// How long an endpoint has to answer our goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// Time in which most endpoints take a connection that take one at all.
const FAIR: Duration = Duration::from_secs(5);
/// Largest message that is read. None is answered, so an endpoint says little.
const LARGEST: usize = 64 << 10;

/// Dials, and looks whether it stands, until then at most.
pub(super) async fn dial(endpoint: &Endpoint, spec: &LinkSpec, until: Instant) -> Found {
    let left = until.saturating_duration_since(Instant::now()).saturating_sub(WATCHED + GOODBYE);
    let hurried = LinkSpec { connect_timeout: spec.connect_timeout.min(left), ..spec.clone() };
    let ended = match dial::dial(endpoint, &hurried).await {
        Err(DialError::Timeout { .. }) if left < FAIR.min(spec.connect_timeout) => {
            let what = format!("has not taken the connection within {}, and there was no more time", span(left));
            let remedy = format!("mcp-pipe itself waits for {}: see what it says of this", span(spec.connect_timeout));
            return Found::Odd { what, remedy };
        }
        Ok(mut dialed) => {
            let redaction = Redaction::of(endpoint, spec);
            let ended = timeout(WATCHED, end(&mut dialed, &redaction)).await.ok();
            if ended.is_none() {
                // One that breaks off may be remembered for long, and be in the way of the next.
                let goodbye = async {
                    let mut out = Outgoing::default();
                    out.close(code::REGULAR, "");
                    if dialed.stream.write_all(out.pending()).await.is_ok() {
                        end(&mut dialed, &redaction).await;
                    }
                };
                let _unheard = timeout(GOODBYE, goodbye).await;
            }
            ended
        }
        Err(error) => Some(Cause::Dial(error)),
    };
    match ended.as_ref().and_then(|cause| Some((cause, cause.fault()?))) {
        Some((cause, fault)) => Found::Bad(Fault::of(fault, &cause.to_string())),
        None => Found::Good("takes the connection".to_owned()),
    }
}

/// Waits for the end of a connection, in which nothing is said.
async fn end(Dialed { stream, early }: &mut Dialed, redaction: &Redaction) -> Cause {
    let mut incoming = Incoming::new(LARGEST);
    let mut closed = None;
    let mut more = vec![0; LARGEST];
    loop {
        let flow = incoming.feed(early, &mut |event| match event {
            Event::Close { code, reason } => {
                closed = Some((code, redaction.shown(reason, LARGEST)));
                ControlFlow::Break(())
            }
            Event::Message(_) | Event::NotText(_) | Event::TooLarge(_) | Event::Ping(_) | Event::Pong => {
                ControlFlow::Continue(())
            }
        });
        if let Err(violation) = flow {
            return Cause::Protocol(violation.to_string());
        }
        if let Some((code, reason)) = closed {
            return Cause::Closed { code, reason, contested: false };
        }
        match stream.read(&mut more).await {
            Ok(0) => return Cause::Lost("it ended at once".to_owned()),
            Ok(n) => *early = more[..n].to_vec(),
            Err(error) => return Cause::Lost(error.to_string()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_never_answers_is_waited_for_only_as_long_as_there_is_time() {
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("ws://{}/", mute.local_addr().unwrap()).parse().unwrap();
        for (left, is_clear) in [(3, false), (11, true)] {
            let begun = Instant::now();
            let found = dial(&endpoint, &LinkSpec::default(), begun + Duration::from_secs(left)).await;
            assert!(begun.elapsed() <= Duration::from_secs(left), "{left}: {:?}", begun.elapsed());
            assert_eq!(matches!(found, Found::Bad(_)), is_clear, "{found:?}");
            assert_eq!(matches!(found, Found::Odd { .. }), !is_clear, "{found:?}");
        }
    }
}
