//! A server as a child process: its three pipes, and its end.
//!
//! # Theory of operation
//!
//! A process runs until its leader exits or closes a pipe that it should read or write, or until [`Process::stop`] is
//! called. Each of these puts the process on the ladder (close stdin → TERM the group → KILL the group). The process is over
//! when three things have happened: the leader is reaped, nobody of its group is left, and stdout and stderr have ended, so
//! that no answer already written is lost. Something that left the group and holds the pipes open is waited for only until
//! the step's grace is over.
//!
//! Reads go to one buffer that all servers of the thread share; an idle server holds no memory for reading.
//!
//! stdout is looked at whenever the process is polled, stderr and the leader's exit only when they woke the task. Of stderr a little is read at a time ([`OF_STDERR`]), and the rest once all else that
//! is ready has had its turn: each line takes longer than a message does, and a call of another server must not wait for a thousand of them.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use super::exit;
use super::limits::{Met, Watch};
use super::spawn::Child;
use super::stderr::{Noted, Stderr};
use super::stdout::{OnFound, Stdout};
use super::stop::{Group, Step};
use crate::chunk::{poll_chunk, poll_part};
use crate::config::LimitsSpec;
use crate::error::FaultCode;
use crate::frame::LineOut;
use crate::process::guard::Guard;
use crate::secrecy::Redactor;
use crate::wakers::Wakers;

/// Most reads in a row from one pipe before others have their turn.
const READS: usize = 2;
/// Most bytes of one read from stderr: some ten lines.
const OF_STDERR: usize = 1024;
/// Longest time that what is left of a group may take after TERM once its leader is gone.
const SWEEP: Duration = Duration::from_secs(1);
/// Most looks at stdout after its group is gone and had its time: at 128 KiB each they are twice what a pipe holds, unless root has
/// widened it. What something outside the group writes there may have no end.
const LAST_LOOKS: u32 = 16;
/// Time until the first look whether a group whose leader is gone is empty, since nothing reports that. Each further look
/// comes after twice as long, as a look isn't cheap.
const LOOK: Duration = Duration::from_millis(10);

/// The wakers of a process beside that of its stdout.
const STDERR: usize = 0;
const EXIT: usize = 1;

/// A running process, or one that is ending.
pub(super) struct Process {
    pid: u32,
    leader: Leader,
    group: Group,
    stdin: Option<ChildStdin>,
    /// `None` once stdout has ended, as with stderr.
    stdout: Option<ChildStdout>,
    said: Stdout,
    /// Whether nothing at all has come of stdout.
    is_mute: bool,
    /// A timer for the deadline of `said`, if there is or was one. The timer may fire too early, so that it need not be
    /// moved with each read.
    still: Option<Pin<Box<Sleep>>>,
    stderr: Option<ChildStderr>,
    noted: Stderr,
    wakers: Wakers,
    /// `None` while nothing is wrong.
    ladder: Option<Ladder>,
    /// What the process did that we ended it for.
    fault: Option<Cow<'static, str>>,
    /// Whether we ended it for that, and it went on otherwise.
    is_condemned: bool,
    /// Whether it was told to end while nothing was wrong with it.
    is_told: bool,
    limits: LimitsSpec,
    /// Whether it keeps to them; `None` where nothing has to be looked at.
    watch: Option<Watch>,
    /// What it held above them, for which it was ended.
    held: Option<String>,
}

enum Leader {
    Alive(Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send>>),
    /// How the leader ended, and whether we had signalled it by then. `status` is `None` if it could not be had.
    Exited {
        status: Option<ExitStatus>,
        signalled: bool,
    },
}

struct Ladder {
    step: Step,
    /// When the next step is due.
    until: Instant,
    /// How long after the next look at the group the one after that comes.
    look: Duration,
    /// Looks at stdout that are left after the last step.
    last_looks: u32,
    /// Fires at the next look or step.
    timer: Pin<Box<Sleep>>,
}

impl Process {
    /// Takes over a process that was just started.
    pub(super) fn new(
        mut child: Child,
        (max_frame, limits): (usize, LimitsSpec),
        guard: Guard,
        redactor: Redactor,
        now: Instant,
    ) -> Self {
        #[cfg(unix)]
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        #[cfg(windows)]
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let pid = child.id().unwrap_or_default();
        Process {
            pid,
            group: Group::of(pid, guard),
            leader: Leader::Alive(Box::pin(async move { child.wait().await })),
            stdin,
            stdout,
            said: Stdout::new(max_frame, now),
            is_mute: true,
            still: None,
            stderr,
            noted: Stderr::new(now.into_std(), redactor),
            wakers: Wakers::new(2),
            ladder: None,
            fault: None,
            is_condemned: false,
            is_told: false,
            limits,
            watch: Watch::over(pid, limits),
            held: None,
        }
    }

    /// The process id of the leader.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process runs and nothing is known to be wrong with it.
    pub(super) fn is_up(&self) -> bool {
        self.ladder.is_none()
    }

    /// How the process ended, in a few words; the last lines of its stderr, as one line; and what kind of fault that is, where one of its limits has come of it.
    pub(super) fn obituary(&self) -> (String, String, Option<FaultCode>) {
        let tail = self.noted.tail();
        if let Some(held) = &self.held {
            return (format!("was ended, as it {held}"), tail, Some(FaultCode::MemoryLimit));
        }
        // One that was told to end has not ended for want of anything.
        match Met::told_by(&tail, self.limits).filter(|_| !self.is_told && self.has_failed()) {
            Some(met) => (format!("{}, {}", self.why(), met.told()), tail, Some(met.fault())),
            None => (self.why(), tail, None),
        }
    }

    /// Whether the leader ended, and not well.
    fn has_failed(&self) -> bool {
        matches!(&self.leader, Leader::Exited { status: Some(status), .. } if !status.success())
    }

    /// Whether the leader went on after the end of its stdin, and was sent a signal.
    pub(super) fn was_signalled(&self) -> bool {
        match self.leader {
            Leader::Exited { signalled, .. } => signalled,
            Leader::Alive(_) => self.ladder.as_ref().is_some_and(|ladder| ladder.step != Step::Close),
        }
    }

    /// Drives everything but stdin. Ready when the process is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        read: bool,
        on: &mut OnFound<'_>,
        log: &mut dyn FnMut(Noted<'_>),
    ) -> Poll<()> {
        self.wakers.attach(cx);
        if self.wakers.take(STDERR) {
            self.poll_stderr(log);
        }
        // `None`: there is no room. After a stop the rest of what was read counts as unread.
        let mut more = None;
        if read
            && let ControlFlow::Continue(is_more) = self.poll_stdout(cx, now, on)
            && self.poll_still(cx, on).is_continue()
        {
            more = Some(is_more);
        }
        if read && self.said.is_paused() {
            cx.waker().wake_by_ref();
        }
        if self.wakers.take(EXIT) {
            self.poll_leader();
        }
        if self.ladder.is_none()
            && let Some(watch) = &mut self.watch
            && let Poll::Ready(held) = watch.poll(cx)
        {
            self.held = Some(held);
            self.climb(Step::Close);
        }
        if self.ladder.is_none() {
            if self.stdout.is_some() {
                return Poll::Pending;
            }
            // The server can never answer again. Mostly its exit is only an instant away.
            self.fail("closed its stdout");
        }
        ready!(self.poll_ladder(cx, more));
        self.noted.flush(Instant::now().into_std(), log);
        Poll::Ready(())
    }

    /// Writes what the server takes now. Ready when nothing is left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut LineOut) -> Poll<()> {
        while !out.is_empty() {
            let Some(stdin) = &mut self.stdin else { return Poll::Pending };
            match ready!(Pin::new(stdin).poll_write(cx, out.pending())) {
                Ok(n) if n > 0 => out.advance(n),
                Ok(_) | Err(_) => {
                    if self.ladder.is_none() {
                        self.fail("closed its stdin");
                    }
                    self.stdin = None;
                    // The ladder's timer has yet to be polled.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Begins the ladder, or goes to its last step. To be followed by a poll.
    pub(super) fn stop(&mut self, now: bool) {
        match &self.ladder {
            None => {
                self.is_told = true;
                self.climb(if now { Step::Kill } else { Step::Close });
            }
            Some(ladder) if now && ladder.step != Step::Kill => self.climb(Step::Kill),
            Some(_) => {}
        }
    }

    /// Ends the process because of what others have found. To be followed by a poll.
    pub(super) fn condemn(&mut self, fault: Cow<'static, str>) {
        self.is_condemned |= self.ladder.is_none();
        self.fail(fault);
    }

    /// Begins the ladder because of something that the process did. To be followed by a poll.
    fn fail(&mut self, fault: impl Into<Cow<'static, str>>) {
        if self.ladder.is_none() {
            self.fault = Some(fault.into());
            self.climb(Step::Close);
        }
    }

    fn climb(&mut self, step: Step) {
        self.stdin = None;
        match step {
            Step::Close => {}
            Step::Term => self.group.term(),
            Step::Kill => {
                self.group.kill();
                #[cfg(windows)]
                self.abandon();
            }
        }
        let (now, exited) = (Instant::now(), matches!(self.leader, Leader::Exited { .. }));
        let until = now + if exited { step.grace().min(SWEEP) } else { step.grace() };
        let first = if exited && !self.group.is_known_gone() { now + LOOK } else { until };
        self.ladder =
            Some(Ladder { step, until, look: LOOK, last_looks: LAST_LOOKS, timer: Box::pin(sleep_until(first)) });
    }

    /// Dropping the handle ends the job.
    #[cfg(windows)]
    fn abandon(&mut self) {
        self.leader = Leader::Exited { status: None, signalled: true };
    }

    /// Reads a bounded part of what is there. Whether there may be more.
    fn poll_stdout(&mut self, cx: &mut Context<'_>, now: Instant, on: &mut OnFound<'_>) -> ControlFlow<(), bool> {
        self.said.resume(now, on)?;
        for _ in 0..READS {
            let Some(stdout) = &mut self.stdout else { return ControlFlow::Continue(false) };
            let mut flow = ControlFlow::Continue(());
            let read = match self.said.spare() {
                Some(large) => {
                    let read = poll_read_buf(Pin::new(stdout), cx, large);
                    if let Poll::Ready(Ok(n)) = read
                        && n > 0
                    {
                        flow = self.said.spared(now, on);
                    }
                    read
                }
                None => poll_chunk(stdout, cx, &mut |chunk| flow = self.said.feed(chunk, now, on)),
            };
            match read {
                // After a read that did not fill its buffer this costs no system call, and registers the waker.
                Poll::Pending => return ControlFlow::Continue(false),
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.is_mute = false;
                    flow?;
                }
                Poll::Ready(Ok(_) | Err(_)) => {
                    self.stdout = None;
                    self.said.end(now, on)?;
                    return ControlFlow::Continue(false);
                }
            }
        }
        cx.waker().wake_by_ref();
        ControlFlow::Continue(true)
    }

    /// Looks at the part of stdout that stands still.
    fn poll_still(&mut self, cx: &mut Context<'_>, on: &mut OnFound<'_>) -> ControlFlow<()> {
        while let Some(due) = self.said.deadline() {
            let timer = self.still.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let now = Instant::now();
            if now < due {
                timer.as_mut().reset(due);
            } else {
                self.still = None;
                self.said.on_deadline(now, on)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn poll_stderr(&mut self, log: &mut dyn FnMut(Noted<'_>)) {
        let cx = &mut Context::from_waker(self.wakers.waker(STDERR));
        let (Some(stderr), noted) = (&mut self.stderr, &mut self.noted) else { return };
        match poll_part(stderr, cx, OF_STDERR, &mut |chunk| noted.feed(chunk, Instant::now().into_std(), log)) {
            Poll::Pending => {}
            Poll::Ready(Ok(n)) if n > 0 => {
                // Wakes us once the sockets and pipes have been looked at, not before.
                let _pending = pin!(yield_now()).poll(cx);
            }
            Poll::Ready(Ok(_) | Err(_)) => self.stderr = None,
        }
    }

    fn poll_leader(&mut self) {
        let cx = &mut Context::from_waker(self.wakers.waker(EXIT));
        let Leader::Alive(exit) = &mut self.leader else { return };
        let Poll::Ready(status) = exit.as_mut().poll(cx) else { return };
        let step = self.ladder.as_ref().map(|ladder| ladder.step);
        let signalled = matches!(step, Some(Step::Term | Step::Kill));
        self.leader = Leader::Exited { status: status.ok(), signalled };
        // Whatever the leader left behind is to go as well: `npx` is gone, `node` under it is not.
        self.group.is_gone();
        self.climb(if step == Some(Step::Kill) { Step::Kill } else { Step::Term });
    }

    /// `more`: whether stdout may hold more than was just read. `None`: it may not be read.
    fn poll_ladder(&mut self, cx: &mut Context<'_>, more: Option<bool>) -> Poll<()> {
        loop {
            let exited = matches!(self.leader, Leader::Exited { .. });
            let has_said_all = self.has_said_all();
            if exited && self.group.is_known_gone() && has_said_all && self.stderr.is_none() {
                return Poll::Ready(());
            }
            let Some(ladder) = &mut self.ladder else { return Poll::Pending };
            // A leader's exit and the end of a pipe wake us, too.
            ready!(ladder.timer.as_mut().poll(cx));
            let (now, gone) = (Instant::now(), exited && self.group.is_gone());
            if now < ladder.until {
                let next = if gone { ladder.until } else { ladder.until.min(now + ladder.look) };
                ladder.timer.as_mut().reset(next);
                ladder.look *= 2;
            } else if gone {
                return match more {
                    // What the group wrote is still in its pipe.
                    None if !has_said_all => Poll::Pending,
                    Some(true) if ladder.last_looks > 0 => {
                        ladder.last_looks -= 1;
                        Poll::Pending
                    }
                    // Something outside the group holds a pipe.
                    None | Some(_) => Poll::Ready(()),
                };
            } else if let Some(step) = ladder.step.next() {
                self.climb(step);
            } else {
                // The process hangs in the kernel, with a KILL waiting for it.
                return Poll::Ready(());
            }
        }
    }

    /// Whether all that came of stdout has been handed on.
    fn has_said_all(&self) -> bool {
        self.stdout.is_none() && !self.said.has_rest()
    }

    /// Whether nothing has come of stdout, and stderr tells of a server for HTTP.
    pub(super) fn seems_for_http(&self) -> bool {
        self.is_mute && self.noted.tells_of_http()
    }

    fn why(&self) -> String {
        let (status, signalled) = match &self.leader {
            Leader::Exited { status, signalled } => (status.as_ref(), *signalled),
            Leader::Alive(_) => return "could not be killed: it hangs in the kernel".to_owned(),
        };
        match (&self.fault, status) {
            (Some(fault), _) if signalled => format!("{fault}, but went on running, and was stopped"),
            (Some(fault), Some(_)) if self.is_condemned => format!("{fault}, and was ended"),
            (None, Some(status)) if signalled => exit::words_of_stopped(*status),
            // One that we have told to end need not have got to its first word.
            (_, Some(status)) if self.is_mute && !self.is_told => exit::words_of_mute(*status),
            (_, Some(status)) => exit::words(*status),
            (Some(fault), None) => fault.clone().into_owned(),
            (None, None) => "ended".to_owned(),
        }
    }
}
