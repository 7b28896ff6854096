//! A stream between two parts of this program, with two ends, of which each reads what the other writes.
//!
//! Unlike [`tokio::io::duplex`] it keeps no memory for what has been read: of a thousand idle sessions each has once got a long list.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end. Dropped, the other end reads what is left, and writes nothing more.
#[derive(Debug)]
pub(crate) struct Passage {
    /// What goes to each end.
    ways: Arc<Mutex<[Way; 2]>>,
    /// Which end this is.
    end: usize,
    /// Most bytes that wait for an end.
    room: usize,
}

/// What goes to one end.
#[derive(Debug, Default)]
struct Way {
    waiting: VecDeque<u8>,
    /// Nothing more goes this way.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both ends of a new stream. `room`: most bytes that wait, each way.
pub(crate) fn passage(room: usize) -> (Passage, Passage) {
    let ways = Arc::<Mutex<[Way; 2]>>::default();
    (Passage { ways: ways.clone(), end: 0, room }, Passage { ways, end: 1, room })
}

impl Passage {
    fn ways(&self) -> MutexGuard<'_, [Way; 2]> {
        // Nothing panics while it is held.
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes whoever waits. What holds a way is let go before: a task that is woken may end, and drop its end.
fn wake(waits: Option<Waker>) {
    if let Some(waker) = waits {
        waker.wake();
    }
}

impl AsyncRead for Passage {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ways = self.ways();
        let Way { waiting, closed, reader, writer } = &mut ways[self.end];
        if waiting.is_empty() && !*closed {
            *reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = waiting.len().min(buf.remaining());
        let (front, back) = waiting.as_slices();
        let of_front = taken.min(front.len());
        buf.put_slice(&front[..of_front]);
        buf.put_slice(&back[..taken - of_front]);
        match taken == waiting.len() {
            true => *waiting = VecDeque::new(),
            false => drop(waiting.drain(..taken)),
        }
        let waits = writer.take();
        drop(ways);
        wake(waits);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Passage {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ways = self.ways();
        let Way { waiting, closed, reader, writer } = &mut ways[1 - self.end];
        if *closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let fits = bytes.len().min(self.room.saturating_sub(waiting.len()));
        if fits == 0 && !bytes.is_empty() {
            *writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        waiting.extend(&bytes[..fits]);
        let waits = reader.take();
        drop(ways);
        wake(waits);
        Poll::Ready(Ok(fits))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ways = self.ways();
        let way = &mut ways[1 - self.end];
        way.closed = true;
        let waits = way.reader.take();
        drop(ways);
        wake(waits);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut ways = self.ways();
        ways.iter_mut().for_each(|way| way.closed = true);
        let (waits_to_read, waits_to_write) = (ways[1 - self.end].reader.take(), ways[self.end].writer.take());
        drop(ways);
        wake(waits_to_read);
        wake(waits_to_write);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn held(one: &Passage) -> usize {
        one.ways().iter().map(|way| way.waiting.capacity()).sum()
    }

    #[tokio::test]
    async fn what_is_written_at_one_end_is_read_at_the_other_and_keeps_no_memory() {
        let (mut one, mut other) = passage(1000);
        let (mut into, sent): (_, Vec<u8>) = (Vec::new(), (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect());
        let writes = async {
            // Pieces of all lengths, which meet the end of the room wherever that is.
            for piece in sent.chunks(333) {
                one.write_all(piece).await.unwrap();
                assert!(held(&one) <= 2000);
            }
            one.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(writes, other.read_to_end(&mut into));
        assert_eq!((read.unwrap(), into == sent), (sent.len(), true));
        assert_eq!(held(&one), 0);
        other.write_all(b"ok").await.unwrap();
        let mut answer = [0; 2];
        one.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, held(&one)), (b"ok", 0));
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe, "after its end");
    }

    #[tokio::test]
    async fn an_end_that_is_dropped_is_noticed_by_whoever_waits_at_the_other() {
        let (mut one, mut other) = passage(4);
        one.write_all(b"last").await.unwrap();
        let waits = tokio::spawn(async move { (one.write(b"more").await.unwrap_err().kind(), one) });
        tokio::task::yield_now().await;
        let mut read = [0; 4];
        assert_eq!(other.read(&mut read[..0]).await.unwrap(), 0, "nobody is waited for who wants nothing");
        drop(other);
        let (error, mut one) = waits.await.unwrap();
        assert_eq!(error, io::ErrorKind::BrokenPipe);
        assert_eq!(one.read(&mut read).await.unwrap(), 0);

        let (one, mut other) = passage(4);
        let waits = tokio::spawn(async move { other.read(&mut [0; 4]).await });
        tokio::task::yield_now().await;
        drop(one);
        assert_eq!(waits.await.unwrap().unwrap(), 0);

        let (mut one, mut other) = passage(4);
        one.write_all(b"left").await.unwrap();
        drop(one);
        let mut left = String::new();
        other.read_to_string(&mut left).await.unwrap();
        assert_eq!(left, "left");
    }
}
