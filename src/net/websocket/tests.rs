#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
use tokio_tungstenite::tungstenite::{Bytes, Message};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Message(String),
    NotText(Vec<u8>),
    TooLarge(u64),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
}

fn own(e: Event<'_>) -> Got {
    match e {
        Event::Message(t) => Got::Message(t.into()),
        Event::NotText(b) => Got::NotText(b.into()),
        Event::TooLarge(cut) => Got::TooLarge(cut.size),
        Event::Ping(p) => Got::Ping(p.into()),
        Event::Pong => Got::Pong,
        Event::Close { code, reason } => Got::Close(code, reason.into()),
    }
}

/// Feeds bytes as a socket gives them: into the spare room where that is offered.
fn read(max: usize, bytes: &[u8], chunk: usize) -> Result<Vec<Got>, Violation> {
    read_with(max, bytes, chunk, 0)
}

/// The same, for a taker who stops after each event whose number `halts` divides.
fn read_with(max: usize, bytes: &[u8], chunk: usize, halts: usize) -> Result<Vec<Got>, Violation> {
    let (mut ws, mut got, mut at) = (Incoming::new(max), Vec::new(), 0);
    let mut on = |e: Event<'_>| {
        got.push(own(e));
        if got.len().is_multiple_of(halts) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    while at < bytes.len() {
        let mut flow = if let Some((buf, room)) = ws.spare() {
            let n = room.min(bytes.len() - at);
            buf.extend_from_slice(&bytes[at..at + n]);
            at += n;
            ws.filled(&mut on)?
        } else {
            let n = chunk.min(bytes.len() - at);
            at += n;
            ws.feed(&bytes[at - n..at], &mut on)?
        };
        while flow.is_break() {
            flow = ws.resume(&mut on)?;
        }
        assert!(ws.rest.is_empty());
    }
    Ok(got)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut f = vec![first];
    match payload.len() {
        n @ 0..=125 => f.push(n as u8),
        n @ 126..=0xffff => {
            f.push(126);
            f.extend((n as u16).to_be_bytes());
        }
        n => {
            f.push(127);
            f.extend((n as u64).to_be_bytes());
        }
    }
    f.extend_from_slice(payload);
    f
}

#[test]
fn fragments_become_one_message_with_control_frames_between_them() {
    let bytes = [
        frame(0x01, "ä".as_bytes().split_at(1).0),
        frame(0x89, b"p"),
        frame(0x00, "ä".as_bytes().split_at(1).1),
        frame(0x8a, b""),
        frame(0x80, b"!"),
    ]
    .concat();
    assert_eq!(read(100, &bytes, 1).unwrap(), [Got::Ping(b"p".into()), Got::Pong, Got::Message("ä!".into())]);
}

#[test]
fn each_breach_of_the_rfc_has_its_close_code() {
    for (bytes, code) in [
        (frame(0xc1, b"x"), 1002),                                            // reserved bit
        (frame(0x83, b"x"), 1002),                                            // reserved opcode
        (frame(0x8b, b"x"), 1002),                                            // reserved control opcode
        (frame(0x09, b"x"), 1002),                                            // fragmented ping
        (frame(0x89, &[0; 126]), 1002),                                       // long ping
        (frame(0x80, b"x"), 1002),                                            // continuation of nothing
        ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),              // message inside a message
        (vec![0x81, 0x81, 0, 0, 0, 0, b'x'], 1002),                           // masked by the server
        (frame(0x81, b"\xff"), 1007),                                         // not UTF-8
        ([frame(0x01, b"\xff"), frame(0x80, b"x")].concat(), 1007),           // nor in fragments
        (frame(0x88, b"\x03"), 1002),                                         // half a close code
        (frame(0x88, &[&1006u16.to_be_bytes()[..], b"x"].concat()), 1002),    // a code that is never sent
        (frame(0x88, &[&1000u16.to_be_bytes()[..], b"\xff"].concat()), 1007), // a reason that is not UTF-8
        ([&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat(), 1009),         // no end in sight
    ] {
        assert_eq!(read(1000, &bytes, 3).unwrap_err().code, code, "{bytes:x?}");
    }
}

#[test]
fn a_binary_message_that_is_not_utf_8_is_no_breach_of_the_rfc() {
    let bytes = [
        frame(0x82, b"{\xff}"),
        frame(0x82, "{ä}".as_bytes()),
        frame(0x02, b"\xc3"),
        frame(0x89, b""),
        frame(0x80, b"\x28"),
        frame(0x02, "ä".as_bytes().split_at(1).0),
        frame(0x80, "ä".as_bytes().split_at(1).1),
        frame(0x81, b"on"),
    ]
    .concat();
    for chunk in [1, 100] {
        assert_eq!(
            read(100, &bytes, chunk).unwrap(),
            [
                Got::NotText(b"{\xff}".into()),
                Got::Message("{ä}".into()),
                Got::Ping(vec![]),
                Got::NotText(b"\xc3\x28".into()),
                Got::Message("ä".into()),
                Got::Message("on".into()),
            ]
        );
    }
}

#[test]
fn a_message_is_too_large_above_the_limit_and_not_at_it() {
    for (len, is_too_large) in [(99, false), (100, false), (101, true)] {
        let whole = frame(0x81, &vec![b'x'; len]);
        let fragments = [frame(0x01, b"x"), frame(0x00, &vec![b'x'; len - 2]), frame(0x80, b"x")].concat();
        let want = if is_too_large { Got::TooLarge(len as u64) } else { Got::Message("x".repeat(len)) };
        for bytes in [whole, fragments] {
            assert_eq!(read(100, &bytes, 7).unwrap(), std::slice::from_ref(&want), "{len}");
        }
    }
}

#[test]
fn a_message_above_the_limit_is_skipped_and_the_next_one_read() {
    let big = vec![b'x'; 300_000];
    let bytes = [
        frame(0x81, &big),
        frame(0x81, b"a"),
        frame(0x01, &[b'y'; 60]),
        frame(0x89, b""),
        frame(0x80, &[b'z'; 60]),
        frame(0x82, b"b"),
    ]
    .concat();
    for chunk in [1, 100, 65536] {
        let got = read(100, &bytes, chunk).unwrap();
        assert_eq!(
            got,
            [
                Got::TooLarge(300_000),
                Got::Message("a".into()),
                Got::Ping(vec![]),
                Got::TooLarge(120),
                Got::Message("b".into())
            ]
        );
    }
}

#[test]
fn a_promised_length_reserves_no_memory() {
    let mut ws = Incoming::new(1 << 30);
    ws.feed(&[0x81, 127, 0, 0, 0, 0, 0x20, 0, 0, 0, b'x'], &mut |_| ControlFlow::Continue(())).unwrap().is_continue();
    let (buf, room) = ws.spare().unwrap();
    assert!(buf.capacity() <= 2 * KEEP && room <= 2 * KEEP);
}

fn pong(payload: u32) -> Message {
    Message::Pong(Bytes::copy_from_slice(&payload.to_be_bytes()))
}

#[test]
fn every_ping_is_answered_while_the_line_is_free_however_many_come_at_once() {
    let mut out = Outgoing::default();
    for round in 0..5 {
        out.text(&[b"{}"]);
        (0..1000).for_each(|i: u32| out.pong(&(round + i).to_be_bytes()));
        let all: Vec<_> = [Message::text("{}")].into_iter().chain((0..1000).map(|i| pong(round + i))).collect();
        assert_eq!(written(&mut out), all);
        // The line is freed in two steps, the first of which leaves a part of a pong, or nothing but text behind.
        out.advance(if round % 2 == 0 { 5000 } else { 8 });
        out.advance(out.pending().len());
    }
}

#[test]
fn where_pongs_pile_up_only_the_last_ping_is_answered_besides_those_before_the_pile() {
    let mut out = Outgoing::default();
    let most = PONGS / 10 + 1; // a pong of four bytes takes ten
    for i in 0..100_000u32 {
        out.pong(&i.to_be_bytes());
    }
    let all = written(&mut out);
    assert_eq!(all[..most - 1], (0..most as u32 - 1).map(pong).collect::<Vec<_>>());
    assert_eq!(all[most - 1..], [pong(99_999)]);
    // A pong that is partly written can't be taken back, and a pong before a message is not the last.
    out.advance(out.pending().len() - 3);
    out.text(&[b"{}"]);
    out.pong(&1u32.to_be_bytes());
    out.pong(&2u32.to_be_bytes());
    let len = out.pending().len();
    assert_eq!(len, 3 + 8 + 10, "the pile is not gone, so the second replaces the first");
    out.advance(3 + 8);
    out.pong(&3u32.to_be_bytes());
    assert_eq!(written(&mut out), [pong(3)]);
    // The line is free again.
    out.advance(10);
    (0..3).for_each(|i: u32| out.pong(&i.to_be_bytes()));
    assert_eq!(written(&mut out), [pong(0), pong(1), pong(2)]);
}

#[test]
fn a_flood_of_pings_holds_no_more_however_the_socket_takes_it() {
    let mut out = Outgoing::default();
    for i in 0..200_000u32 {
        out.pong(&i.to_be_bytes());
        if i % 3 == 0 {
            out.advance(7);
        }
    }
    assert!(out.pending().len() <= PONGS + 200_000 / 3 * 7, "{}", out.pending().len());
    assert!(out.buf.len() <= 2 * (PONGS + KEEP), "{}", out.buf.len());
    let end = out.pending().len();
    out.advance(end - 10);
    let last = written(&mut out);
    assert!(last.is_empty() || last == [pong(199_999)], "{last:?}");
}

#[test]
fn nothing_follows_a_close_frame() {
    let mut out = Outgoing::default();
    out.close(1000, "");
    out.text(&[b"{}"]);
    out.pong(b"x");
    assert!(matches!(written(&mut out)[..], [Message::Close(_)]));
    out.clear();
    out.text(&[b"{}"]);
    assert_eq!(written(&mut out), [Message::text("{}")], "a new connection begins anew");
}

/// What tungstenite, as the server, makes of the bytes.
fn written(out: &mut Outgoing) -> Vec<Message> {
    let bytes = std::io::Cursor::new(out.pending().to_vec());
    let mut server = WebSocket::from_raw_socket(bytes, Role::Server, None);
    std::iter::from_fn(|| server.read().ok()).collect()
}

#[test]
fn what_was_sent_does_not_pile_up_in_front_of_what_was_not() {
    let mut out = Outgoing::default();
    for _ in 0..1000 {
        out.text(&[&[b'x'; 10_000]]);
        let n = out.pending().len().min(10_000);
        out.advance(n);
    }
    assert!(out.buf.len() < 200_000, "{}", out.buf.len());
    let n = out.pending().len();
    out.advance(n);
    assert!(out.buf.capacity() <= KEEP);
}

proptest! {
    #[test]
    fn tungstenite_reads_what_we_write(texts in prop::collection::vec("\\PC{0,300}", 0..8), cut in 0usize..300) {
        let mut out = Outgoing::default();
        for t in &texts {
            let cut = t.floor_char_boundary(cut.min(t.len()));
            out.text(&[&t.as_bytes()[..cut], &t.as_bytes()[cut..]]);
        }
        prop_assert_eq!(written(&mut out), texts.into_iter().map(Message::text).collect::<Vec<_>>());
    }

    #[test]
    fn we_read_what_tungstenite_writes_however_it_is_cut(lens in prop::collection::vec(prop_oneof![0usize..200, 65_000usize..140_000], 0..6), chunk in 1usize..70_000, halts in 0usize..4) {
        let mut server = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Server, None);
        for n in &lens {
            server.send(Message::text("é".repeat(*n))).unwrap();
            server.send(Message::Ping(Bytes::new())).unwrap();
        }
        server.close(None).unwrap();
        let _ = server.flush();
        let bytes = server.get_ref().get_ref().clone();
        let mut want: Vec<Got> = lens.iter().flat_map(|n| [Got::Message("é".repeat(*n)), Got::Ping(vec![])]).collect();
        want.push(Got::Close(None, String::new()));
        prop_assert_eq!(read_with(1 << 20, &bytes, chunk, halts).unwrap(), want);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk in 1usize..50, halts in 0usize..3) {
        let _ = read_with(64, &bytes, chunk, halts);
    }
}

#[test]
fn what_a_guest_has_taken_keeps_no_memory() {
    let mut out = Outgoing::lines();
    out.text(&[&[b'x'; 1000]]);
    out.advance(500);
    assert_eq!(out.pending().len(), 501, "the rest, and the end of the line");
    out.advance(501);
    assert_eq!((out.pending(), out.buf.capacity()), (&b""[..], 0));
}
