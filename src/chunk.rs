//! One read's worth of bytes, in a buffer that everything on the thread shares.
//!
//! Idle servers and links hold no memory for reading: 100 of them cost what one costs.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Most bytes of one read: as many as a pipe holds on Linux, so that one read empties it.
const SCRATCH: usize = 64 * 1024;

/// Reads once and hands the bytes to `on`. Returns how many there were; none: the end.
pub(crate) fn poll_chunk(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    on: &mut dyn FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    poll_part(from, cx, SCRATCH, on)
}

/// The same with at most so many bytes, for what takes its time with them.
pub(crate) fn poll_part(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    most: usize,
    on: &mut dyn FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    thread_local! {
        static FREE: Cell<Option<Box<[MaybeUninit<u8>]>>> = const { Cell::new(None) };
    }
    // The buffer is taken, not borrowed: should `on` come here again, that call makes a buffer of its own.
    let mut scratch = FREE.take().unwrap_or_else(|| Box::new_uninit_slice(SCRATCH));
    let mut buf = ReadBuf::uninit(&mut scratch[..most.min(SCRATCH)]);
    let read = Pin::new(from).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len());
    if !buf.filled().is_empty() {
        on(buf.filled());
    }
    FREE.set(Some(scratch));
    read
}
