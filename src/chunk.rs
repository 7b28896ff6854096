//! One read's worth of bytes, in a buffer that everything on the thread shares.
//!
//! Idle servers and links hold no memory for reading: 100 of them cost what one costs.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// What a pipe holds on Linux: with one read it is empty.
const SCRATCH: usize = 64 * 1024;

/// Reads what is there and hands it to `on`. Zero bytes: the end.
pub fn poll_chunk(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    on: &mut dyn FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    thread_local! {
        static FREE: Cell<Option<Box<[MaybeUninit<u8>]>>> = const { Cell::new(None) };
    }
    // Taken, not borrowed: should `on` come here again, it gets a buffer of its own.
    let mut scratch = FREE.take().unwrap_or_else(|| Box::new_uninit_slice(SCRATCH));
    let mut buf = ReadBuf::uninit(&mut scratch);
    let read = Pin::new(from).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len());
    if !buf.filled().is_empty() {
        on(buf.filled());
    }
    FREE.set(Some(scratch));
    read
}
