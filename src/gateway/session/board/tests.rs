use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mcp::envelope;

fn message(value: &serde_json::Value) -> (Bytes, Envelope) {
    let text = value.to_string();
    let e = envelope::scan_one(text.as_bytes()).unwrap();
    (Bytes::from(text), e)
}

fn answer(id: u8) -> serde_json::Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {}})
}

fn asking(id: u8) -> Asking {
    let token = Some(format!("\"p{id}\"").into_bytes().into());
    Asking { id: id.to_string().into_bytes().into(), token }
}

/// All that a stream has for its reader now, as text.
fn all(board: &mut Board, stream: StreamId) -> Vec<String> {
    let mut got = Vec::new();
    while let Next::Event((_, message)) = board.next(stream, Waker::noop()) {
        got.extend(message.map(|message| String::from_utf8(message.to_vec()).unwrap()));
    }
    got
}

/// What happens to a session.
#[derive(Debug, Clone)]
enum Step {
    Ask(u8, What),
    Listen,
    Answer(u8),
    Progress(u8),
    Question(u16),
    Change(u16),
    Read(u8),
    Leave(u8),
    Resume(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![Just(What::Call), Just(What::Answers)];
    prop_oneof![
        (0..6_u8, what).prop_map(|(id, what)| Step::Ask(id, what)),
        Just(Step::Listen),
        (0..6_u8).prop_map(Step::Answer),
        (0..6_u8).prop_map(Step::Progress),
        any::<u16>().prop_map(Step::Question),
        any::<u16>().prop_map(Step::Change),
        any::<u8>().prop_map(Step::Read),
        any::<u8>().prop_map(Step::Leave),
        any::<u8>().prop_map(Step::Resume),
    ]
}

proptest! {
    #[test]
    fn each_message_comes_once_and_an_answer_only_to_who_asked(steps in proptest::collection::vec(step(), 1..80)) {
        let mut board = Board::default();
        board.set_resuming(true);
        let now = Instant::now();
        let (mut streams, mut open) = (Vec::new(), HashMap::new());
        let (mut seen, mut number) = (BTreeSet::new(), 0);
        for step in steps {
            match step {
                Step::Ask(id, what) => match board.ask(what, vec![asking(id)]) {
                    Ok(stream) => {
                        prop_assert!(open.insert(id, stream).is_none(), "an id that is under way was taken again");
                        streams.push(stream);
                    }
                    Err(InUse) => prop_assert!(open.contains_key(&id)),
                },
                Step::Listen => streams.push(board.listen()),
                Step::Answer(id) => {
                    let (text, e) = message(&answer(id));
                    board.take(text, &e);
                    open.remove(&id);
                }
                Step::Progress(id) => {
                    number += 1;
                    let params = json!({"progressToken": format!("p{id}"), "progress": number});
                    let (text, e) = message(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
                    board.take(text, &e);
                }
                Step::Question(n) => {
                    number += 1;
                    let (text, e) = message(&json!({"jsonrpc": "2.0", "id": format!("{n}-{number}"), "method": "roots/list"}));
                    board.take(text, &e);
                }
                Step::Change(n) => {
                    number += 1;
                    let params = json!({"n": n, "number": number});
                    let (text, e) = message(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": params}));
                    board.take(text, &e);
                }
                Step::Read(at) if !streams.is_empty() => {
                    let stream = streams[usize::from(at) % streams.len()];
                    let has_begun = board.has_begun(stream, Waker::noop());
                    let read = all(&mut board, stream);
                    let is_over = matches!(board.next(stream, Waker::noop()), Next::End);
                    prop_assert!(read.is_empty() || has_begun, "whoever waits for its first message misses it");
                    prop_assert!(!is_over || has_begun, "whoever waits for its first message waits for ever");
                    for text in read {
                        // An answer may come with an id that was used before; all else is told apart by its number.
                        let is_answer = text.contains("\"result\"");
                        prop_assert!(is_answer || seen.insert(text.clone()), "{text} came twice");
                    }
                }
                Step::Leave(at) if !streams.is_empty() => {
                    let stream = streams[usize::from(at) % streams.len()];
                    // Whoever has seen all of a stream wants nothing of it again.
                    seen.extend(all(&mut board, stream));
                    board.leave(stream, now);
                }
                Step::Resume(at) if !streams.is_empty() => {
                    let stream = streams[usize::from(at) % streams.len()];
                    let _unknown = board.resume(stream, u64::MAX);
                }
                Step::Read(_) | Step::Leave(_) | Step::Resume(_) => {}
            }
        }
    }
}

#[test]
fn a_question_goes_to_the_only_call_and_else_to_a_get() {
    let mut board = Board::default();
    let question = |n: u32| message(&json!({"jsonrpc": "2.0", "id": n, "method": "elicitation/create"}));
    let (text, e) = question(1);
    board.take(text, &e);
    let call = board.ask(What::Call, vec![asking(1)]).unwrap();
    assert!(all(&mut board, call).is_empty(), "what has waited is for a GET");
    let (text, e) = question(2);
    board.take(text, &e);
    assert_eq!(all(&mut board, call).len(), 1);
    let other = board.ask(What::Call, vec![asking(2)]).unwrap();
    let news = board.listen();
    assert_eq!(all(&mut board, news).len(), 1, "the first one");
    let (text, e) = question(3);
    board.take(text, &e);
    assert_eq!([call, other, news].map(|stream| all(&mut board, stream).len()), [0, 0, 1]);
    // One that takes answers only gets nothing else.
    let mut board = Board::default();
    let plain = board.ask(What::Answers, vec![asking(1)]).unwrap();
    let (text, e) = question(4);
    board.take(text, &e);
    assert!(all(&mut board, plain).is_empty());
}

#[test]
fn what_waits_for_nobody_and_what_is_kept_is_bounded() {
    let mut board = Board::default();
    board.set_resuming(true);
    for n in 0..1000 {
        let (text, e) =
            message(&json!({"jsonrpc": "2.0", "id": n, "method": "x", "params": {"pad": "x".repeat(1000)}}));
        board.take(text, &e);
    }
    assert!(
        board.waiting.len() <= MAX_WAITING && board.waiting.iter().map(Bytes::len).sum::<usize>() <= MAX_WAITING_BYTES
    );
    // Streams that broke, each with an answer that nobody has fetched.
    let now = Instant::now();
    for id in 0..100 {
        let stream = board.ask(What::Call, vec![asking(id)]).unwrap();
        board.leave(stream, now);
        let (text, e) = message(&json!({"jsonrpc": "2.0", "id": id, "result": {"pad": "x".repeat(10_000)}}));
        board.take(text, &e);
    }
    let kept: usize =
        board.streams.values().flat_map(|stream| stream.kept.iter().chain(&stream.queue)).map(Event::size).sum();
    assert!(kept <= MAX_KEPT_BYTES + 11_000, "{kept}");
    board.tidy(now + KEPT);
    assert!(board.streams.is_empty());
    // A reader that is far behind is cut off.
    let mut board = Board::default();
    let slow = board.listen();
    for n in 0..3 {
        let (text, e) =
            message(&json!({"jsonrpc": "2.0", "id": n, "method": "x", "params": {"pad": "x".repeat(BEHIND)}}));
        board.take(text, &e);
    }
    assert_eq!(board.next(slow, Waker::noop()), Next::End);
}
