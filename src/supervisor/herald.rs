//! What systemd is told of a run: when it is up, how it stands, and that its loop goes round.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::hub::HubHandle;
use crate::control::Opened;
use crate::control::readiness;
use crate::control::status::Status;
use crate::process::stop::Stop;
use crate::process::systemd::{Step, Systemd};

/// Time between two requests for more time while servers start: systemd waits for none longer than it was told, and a server may have a long
/// `startTimeout`. Twice that is asked for, so that one late request costs nothing.
const PATIENCE: Duration = Duration::from_secs(15);
/// Shortest time between two lines on how the run stands: a person reads no faster.
const BETWEEN: Duration = Duration::from_secs(1);
/// Pause before something that found no room is told again.
const AGAIN: Duration = Duration::from_millis(100);

/// See the module's documentation.
pub(super) struct Herald<'a> {
    pub systemd: &'a Systemd,
    pub status: &'a Status,
    pub hub: &'a HubHandle,
    pub stop: &'a Stop,
}

impl Herald<'_> {
    /// Tells all that, for ever. `opened`: what is listened on besides the gateway; `has_gateway`: there is to be one.
    pub(super) async fn tell(&self, opened: Opened, has_gateway: bool) -> Infallible {
        if self.systemd.is_there() {
            tokio::join!(self.announce(opened, has_gateway), self.describe(), self.feed());
        }
        pending().await
    }

    /// Tells that the run is up, once it is, unless it is stopped before.
    async fn announce(&self, opened: Opened, has_gateway: bool) {
        let up = async {
            opened.wait().await;
            // What `wait_for` returns holds a lock, so it is dropped at once.
            drop(self.status.changes().wait_for(|all| readiness::is_started(all, has_gateway)).await);
        };
        let asking = async {
            loop {
                self.systemd.ask_for(2 * PATIENCE);
                sleep(PATIENCE).await;
            }
        };
        tokio::select! {
            () = up => {}
            () = asking => {}
            () = self.stop.drain().cancelled() => return,
        }
        while !self.systemd.step(Step::Ready) {
            sleep(AGAIN).await;
        }
    }

    /// Tells how the run stands, whenever that is something else.
    async fn describe(&self) {
        let (mut changes, mut told) = (self.status.changes(), String::new());
        loop {
            let line = readiness::line(&changes.borrow_and_update());
            let is_new = line != told;
            if is_new && !self.systemd.describe(&line) {
                changes.mark_changed();
            } else {
                told = line;
            }
            sleep(BETWEEN).await;
            if changes.changed().await.is_err() {
                pending::<()>().await; // can't be: the status holds a sender
            }
        }
    }

    /// Feeds the watchdog twice as often as it wants, each time after the pipe of all servers has answered: a loop that hangs feeds nothing.
    async fn feed(&self) {
        let Some(most) = self.systemd.watchdog() else { return pending().await };
        let mut beats = interval(most / 2);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.hub.beat().await;
            self.systemd.feed();
        }
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use tokio::sync::mpsc;

    use super::*;
    use crate::pipe::orders::PipeOrder;

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_does_not_answer_leaves_the_watchdog_unfed() {
        const MOST: Duration = Duration::from_secs(30);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let fed = || {
            let mut text = [0; 64];
            std::iter::from_fn(|| socket.recv(&mut text).ok()).count()
        };
        let systemd = Systemd::named(|name| match name {
            "NOTIFY_SOCKET" => Some(path.to_str()?.to_owned()),
            "WATCHDOG_USEC" => Some(MOST.as_micros().to_string()),
            _ => None,
        });
        let (orders, mut told) = mpsc::channel(4);
        let (status, hub, stop) = (Status::default(), HubHandle::new(orders), Stop::new());
        let herald = Herald { systemd: &systemd, status: &status, hub: &hub, stop: &stop };
        let life = async {
            sleep(10 * MOST).await;
            assert_eq!(fed(), 0, "the pipe hangs");
            // It goes on for a while.
            for _ in 0..4 {
                let PipeOrder::Beat(reply) = *told.recv().await.unwrap() else { panic!("nothing else is ordered") };
                reply.send(()).unwrap();
            }
            sleep(10 * MOST).await;
            assert_eq!(fed(), 4);
            drop(told);
            sleep(MOST).await;
            assert!(fed() >= 2, "a pipe that has ended is no reason to end the program before it has ended by itself");
        };
        tokio::select! {
            () = life => {}
            () = herald.feed() => panic!("it never ends"),
        }
    }
}
