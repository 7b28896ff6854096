use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Message(String),
    Nameless(String),
    Noise(String),
    /// A lost message: its id, and whether it is a request.
    Lost(String, bool),
    TooLarge(u64),
    Habit(Habit),
}

/// A server's stdout, what is found in it, and a clock that a test moves.
struct Rig {
    stdout: Stdout,
    now: Instant,
    got: Vec<Got>,
    /// The taker stops after each find whose number this divides.
    halts: usize,
}

impl Rig {
    fn new(max: usize) -> Self {
        let now = Instant::now();
        Rig { stdout: Stdout::new(max, now), now, got: Vec::new(), halts: 0 }
    }

    /// Has something done with the stdout, and goes on as often as that takes.
    fn with(&mut self, act: impl FnOnce(&mut Stdout, Instant, &mut OnFound<'_>) -> ControlFlow<()>) {
        let Rig { stdout, now, got, halts } = self;
        let mut on = |found: Found<'_>| {
            note(got, found);
            if got.len().is_multiple_of(*halts) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut flow = act(stdout, *now, &mut on);
        while flow.is_break() {
            flow = stdout.resume(*now, &mut on);
        }
        assert!(!stdout.has_rest(), "something is left");
    }

    fn feed(&mut self, chunk: &[u8]) {
        self.with(|stdout, now, on| match stdout.spare() {
            Some(large) => {
                large.extend_from_slice(chunk);
                stdout.spared(now, on)
            }
            None => stdout.feed(chunk, now, on),
        });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.stdout.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.with(Stdout::on_deadline);
        }
        self.now = end;
    }

    fn end(&mut self) {
        self.pass(Duration::from_secs(3600));
        assert_eq!(self.stdout.deadline(), None, "it waits for something");
        self.with(Stdout::end);
    }

    fn messages(&self) -> Vec<&str> {
        self.got.iter().filter_map(|got| if let Got::Message(text) = got { Some(&**text) } else { None }).collect()
    }

    fn noise(&self) -> Vec<&str> {
        self.got.iter().filter_map(|got| if let Got::Noise(text) = got { Some(&**text) } else { None }).collect()
    }

    fn lost(&self) -> Vec<&str> {
        self.got.iter().filter_map(|got| if let Got::Lost(id, _) = got { Some(&**id) } else { None }).collect()
    }

    fn habits(&self) -> Vec<Habit> {
        let mut habits: Vec<Habit> =
            self.got.iter().filter_map(|got| if let Got::Habit(habit) = got { Some(*habit) } else { None }).collect();
        habits.dedup();
        habits
    }
}

fn note(got: &mut Vec<Got>, found: Found<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let found = match found {
        Found::Message { frame, envelope } => {
            assert_eq!(envelope::scan_one(frame).as_ref(), Some(envelope), "the envelope of another frame");
            assert!(!frame.contains(&b'\n') && std::str::from_utf8(frame).is_ok());
            Got::Message(text(frame))
        }
        Found::Noise(line) => Got::Noise(text(line)),
        Found::Nameless(error) => Got::Nameless(text(error)),
        Found::Lost(lost, line) => {
            if !line.is_empty() {
                got.push(Got::Noise(text(line)));
            }
            Got::Lost(text(lost.id), lost.method)
        }
        Found::TooLarge(cut) => Got::TooLarge(cut.size),
        Found::Habit(habit) => Got::Habit(habit),
        Found::Unanswered { .. } | Found::Renewed | Found::Caused { .. } | Found::Modern | Found::Odd { .. } => {
            panic!("only remote servers do so")
        }
    };
    got.push(found);
}

#[test]
fn control_characters_inside_of_texts_are_escaped_and_between_tokens_left() {
    let answer = |text: &str| format!("{{\"jsonrpc\":\"2.0\",\t\"id\":1,\"result\":{{\"x\\\"\":\"{text}\"}}}}");
    let rig = read(&format!("{}\n", answer("a\tb\x1b[1m\u{1}\\t\\\\")));
    assert_eq!(rig.messages(), [answer("a\\tb\\u001b[1m\\u0001\\t\\\\")]);
    assert!(rig.got.contains(&Got::Habit(Habit::Unescaped)));
    let plain = answer("ü");
    let rig = read(&format!("{plain}\n"));
    assert_eq!(rig.got, [Got::Message(plain)]);
}

#[test]
fn answers_in_utf16_are_read_where_every_other_byte_is_nul() {
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    for big in [false, true] {
        let text = format!("{answer}\r\n{answer}\n");
        let units = text.encode_utf16();
        let wide: Vec<u8> = units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect();
        let mut rig = Rig::new(1 << 20);
        rig.feed(&wide);
        rig.end();
        assert_eq!(rig.messages(), [answer, answer], "{big}: {:?}", rig.got);
        assert!(rig.got.contains(&Got::Habit(Habit::Wide)));
    }
}

#[test]
fn an_error_that_names_no_request_is_told_from_noise() {
    for error in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","error":"no","more":1}"#,
        r#"{"error":"no"}"#,
        r#"{"id":null,"result":null,"error":{}}"#,
    ] {
        assert_eq!(read(&format!("{error}\n")).got, [Got::Nameless(error.into())]);
    }
    let spread = "{\n \"jsonrpc\": \"2.0\",\n \"error\": \"no\"\n}\n";
    assert!(read(spread).got.iter().any(|got| matches!(got, Got::Nameless(_))));
    for noise in [
        r#"{"level":"error","error":"no"}"#,
        r#"{"error":null}"#,
        r#"ERROR {"jsonrpc":"2.0","error":"no"}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
    ] {
        assert_eq!(read(&format!("{noise}\n")).got, [Got::Noise(noise.into())]);
    }
}

/// Those that tell of a lost message's text and those of noise come in one order or another.
fn sorted(mut got: Vec<Got>) -> Vec<Got> {
    got.sort_by_key(|got| format!("{got:?}"));
    got
}

/// All that is found in a text, after which the stdout ends.
fn read(text: &str) -> Rig {
    let mut rig = Rig::new(1 << 20);
    rig.feed(text.as_bytes());
    rig.end();
    rig
}

fn answer(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"a {{\"b\": [1]}} ä"}}]}}}}"#)
}

fn pretty(id: u32) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(&answer(id)).unwrap()).unwrap()
}

#[test]
fn text_around_an_answer_goes_to_the_log_and_the_answer_on() {
    let one = &*answer(1);
    for (before, behind) in [
        ("Working... ", ""),
        ("", " done"),
        ("10%\r50%\r100%\r", ""),
        ("\x1b[32mINFO\x1b[0m \x1b[2K\r", "\x1b[0m"),
        ("[INFO] [1/3] [12] [2024-01-01T12:00:00] ", ""),
        ("{x} {'a': 1} {\"a\":1} [1,2] ", " {} [] {\"id\":7}"),
        ("a \"quoted {\" text: ", ""),
        ("{\"", ""),
        ("[", ""),
        ("{\"a\":{\"b\":[", ""),
        ("id: 7, ", " id: 8}"),
        ("\u{2028}ä ", "\u{2028}ö"),
        ("<", ">"),
        ("[1,", ""),
        ("\"", "\""),
        ("data: ", ""),
    ] {
        let rig = read(&format!("{before}{one}{behind}\n"));
        assert_eq!(rig.messages(), [one], "{before:?} {behind:?}: {:?}", rig.got);
        assert_eq!(rig.lost(), [""; 0], "{before:?} {behind:?}");
        let noise: Vec<_> = [before, behind].into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(rig.noise(), noise, "{before:?} {behind:?}");
        assert_eq!(rig.habits(), [], "{before:?} {behind:?}");
    }
}

#[test]
fn invisible_characters_before_an_answer_are_not_reported() {
    let one = &*answer(1);
    for before in ["\0", "\0\0 \t", "\u{feff}", " \u{feff}", "\r", "\u{2028}", "\x07"] {
        let rig = read(&format!("{before}{one}{before}\n"));
        assert_eq!((rig.messages(), rig.got.len()), (vec![one], 1), "{before:?}: {:?}", rig.got);
    }
}

#[test]
fn each_of_several_answers_on_a_line_goes_on() {
    let (one, two, three) = (&*answer(1), &*answer(2), &*answer(3));
    for between in ["", ",", " ", "\r", "\0", "\u{2028}", " and ", "\x1b[0m"] {
        let rig = read(&format!("{one}{between}{two}{between}{three}\n"));
        assert_eq!(rig.messages(), [one, two, three], "{between:?}");
        assert_eq!(rig.habits(), [Habit::Crowded]);
    }
    let rig = read(&format!("{one}\r{two}\r{three}\r"));
    assert_eq!(rig.messages(), [one, two, three], "`\\r` ends each line");
}

#[test]
fn an_answer_over_several_lines_goes_on_as_one_line() {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let one = pretty(1);
    for text in [
        format!("{one}\n"),
        one.replace('\n', "\r\n"),
        one.replace('\n', "\n\n \n"),
        one.replace("\n", "\n\t"),
        format!("here it is: {one}\n"),
        format!("{one} that was it\n"),
        format!("log\n{one}\nlog\n"),
        one.replace("\"id\": 1", "\"id\" \n:\n 1\n"),
        one.clone(),
    ] {
        let rig = read(&text);
        assert_eq!(rig.messages().into_iter().map(value).collect::<Vec<_>>(), [value(&one)], "{text}");
        assert_eq!(rig.lost(), [""; 0], "{text}");
        assert_eq!(rig.habits(), [Habit::Spread], "{text}");
    }
    let rig = read(&format!("{}\n{}\n{}\n{}\n", pretty(1), pretty(2), answer(3), pretty(4)));
    let ids: Vec<_> = rig.messages().into_iter().map(|text| value(text)["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(rig.noise(), [""; 0]);
}

#[test]
fn headers_of_language_servers_are_left_out() {
    let (one, two) = (&*answer(1), &*pretty(2));
    for headers in [
        |n: usize| format!("Content-Length: {n}\r\n\r\n"),
        |n: usize| format!("Content-Length: {n}\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n"),
        |n: usize| format!("content-type: x\r\ncontent-length:{n}\n\n"),
        |n: usize| format!("Content-Length: {}\r\n\r\n", n * 7 + 3), // wrong
        |_: usize| "Content-Length: 0\r\n\r\n".to_owned(),
    ] {
        let mut rig = Rig::new(1 << 20);
        for text in [one, two] {
            rig.feed(headers(text.len()).as_bytes());
            rig.feed(text.as_bytes());
            // Nothing follows until the answer has arrived.
            rig.pass(Duration::from_millis(50));
        }
        assert_eq!(rig.messages().len(), 2, "{:?}", rig.got);
        assert!(rig.noise().is_empty() && rig.lost().is_empty(), "{:?}", rig.got);
        assert!(rig.habits().contains(&Habit::Framed));
        rig.end();
        assert_eq!(rig.messages().len(), 2);
    }
}

#[test]
fn an_answer_without_the_end_of_its_line_is_not_waited_for() {
    let (one, two) = (&*answer(1), &*answer(2));
    for before in ["", "text ", "10%\r"] {
        let mut rig = Rig::new(1 << 20);
        rig.feed(format!("{before}{one}").as_bytes());
        assert!(rig.got.is_empty());
        rig.pass(STILL);
        assert_eq!(rig.messages(), [one], "{before:?}");
        assert_eq!(rig.habits(), [], "the end of the line may be late");
        rig.feed(b"\n");
        rig.feed(format!("{before}{two}").as_bytes());
        rig.pass(STILL);
        rig.feed(format!("{before}{one}").as_bytes());
        assert_eq!(rig.habits(), [Habit::Unended]);
        // By now it is known that this server leaves out line ends.
        rig.pass(Duration::ZERO);
        assert_eq!(rig.messages(), [one, two, one], "{before:?}");
        rig.end();
        assert_eq!(rig.messages().len(), 3);
    }
    // A line without a message is left alone until it ends, and comes as one piece.
    let mut rig = Rig::new(1 << 20);
    for piece in ["Lo", "ading", "… {", "2 of 3"] {
        rig.feed(piece.as_bytes());
        rig.pass(STILL * 2);
    }
    rig.feed(b"\n");
    assert_eq!(rig.got, [Got::Noise("Loading… {2 of 3".into())]);
    // A message that comes slowly does so as well.
    let mut rig = Rig::new(1 << 20);
    for piece in one.as_bytes().chunks(7) {
        rig.feed(piece);
        rig.pass(Duration::from_secs(30));
    }
    rig.feed(b"\n");
    assert_eq!(rig.got, [Got::Message(one.to_owned())]);
}

#[test]
fn a_batch_amid_text_is_taken_apart_like_one_alone() {
    let (one, two) = (&*answer(1), &*answer(2));
    for text in [
        format!("[{one},{two}]\n"),
        format!("batch: [{one},{two}]\n"),
        format!("[ {one}\n,\n{two} ] done\n"),
        format!("[\n{one},\n{two}\n]\n"),
        format!("[{one},{{}},{two}]\n"),
        format!("batch: [{one},{{}},{two}]\n"),
    ] {
        let rig = read(&text);
        assert_eq!(rig.messages(), [one, two], "{text}");
        assert!(!rig.habits().contains(&Habit::Crowded), "{text}");
    }
}

#[test]
fn a_message_inside_a_logs_json_is_not_handed_on() {
    let one = answer(1);
    let quoted = json!({"level": "debug", "msg": one}).to_string();
    for text in [
        quoted.clone(),
        format!("DEBUG {quoted}"),
        format!(r#"{{"level":"debug","msg":{one}}}"#),
        format!(r#"DEBUG {{"level":"debug","msg":{one}}}"#),
        format!(r#"["debug",{one}]"#),
        format!(r#"x ["debug",{one}]"#),
        format!(r#"[[{one}]]"#),
        format!(
            "{}\n",
            serde_json::to_string_pretty(&json!({"msg": serde_json::from_str::<Value>(&one).unwrap()})).unwrap()
        ),
        json!(one).to_string(),
        format!("sent {}", json!(one)),
        quoted[..quoted.len() - 20].to_owned(),
        "INFO {\"id\":1,\"result\":\"stored\"}".to_owned(),
        "INFO {\"id\":1,\"result\":\"sto".to_owned(),
    ] {
        let rig = read(&format!("{text}\n"));
        assert_eq!((rig.messages(), rig.lost()), (vec![], vec![]), "{text}: {:?}", rig.got);
        assert!(!rig.noise().is_empty());
    }
}

#[test]
fn what_a_server_was_asked_is_an_echo_amid_text_and_what_it_asks_is_not() {
    for (frame, is_asked) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#, false),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#, false),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, false),
        (r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#, true),
        (r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#, true),
        (r#"{"jsonrpc":"2.0","method":"notifications\/progress","params":{"progressToken":1,"progress":1}}"#, true),
    ] {
        let rig = read(&format!("<- {frame}\n"));
        assert_eq!(rig.messages().len(), usize::from(is_asked), "{frame}");
        assert_eq!(read(&format!("{frame}\n")).messages().len(), 1, "alone it is one: {frame}");
        assert!(rig.lost().is_empty());
    }
    assert!(
        read("x {\"jsonrpc\":\"2.0\",\"method\":\"notifications\\/progress\"}\n").messages()[0]
            .contains("notifications/progress")
    );
}

#[test]
fn an_answer_that_is_cut_is_lost_at_once_where_its_line_begins_with_it() {
    let (one, two) = (&*answer(1), &*answer(2));
    for (text, lost, messages) in [
        // The answer is cut by a line break, in a string and between two tokens.
        (format!("{}\nlog\n{}\n", &one[..60], &one[60..]), vec!["1"], vec![]),
        (format!("{}\nlog\n", &one[..33]), vec!["1"], vec![]),
        // The answer is cut by another message, on the same line and on the next.
        (format!("{}{two}\n{}\n", &one[..60], &one[60..]), vec!["1"], vec![two]),
        (format!("{}{two}\n{}\n", &one[..40], &one[40..]), vec!["1"], vec![two]),
        (format!("{}\n{two}\n", &one[..33]), vec!["1"], vec![two]),
        (format!("{}\n{two}\n", pretty(1).rsplit_once('\n').unwrap().0), vec!["1"], vec![two]),
        ("{\n  \"jsonrpc\": \"2.0\",\n  \"result\": {},\n  \"id\": 1\n]\n".to_owned(), vec!["1"], vec![]),
        // The answer holds what JSON doesn't have.
        (r#"{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}"#.to_owned() + "\n", vec!["1"], vec![]),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"x":'y'}}"#.to_owned() + "\n", vec!["1"], vec![]),
        (r#"{"jsonrpc":"2.0","result":{"x":NaN,"y":{}},"id":1}"#.to_owned() + "\n", vec!["1"], vec![]),
        // The answer is JSON, and none.
        (r#"{"jsonrpc":"2.0","id":1}"#.to_owned() + "\n", vec!["1"], vec![]),
        (r#"{"jsonrpc":"2.0","id":"a","result":1,"method":7}"#.to_owned() + "\n", vec!["\"a\""], vec![]),
        // Nobody knows which answer this is.
        (r#"{"jsonrpc":"2.0","id":12"#.to_owned() + "\n", vec![], vec![]),
        (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}"#.to_owned() + "\n", vec![], vec![]),
        (r#"{"jsonrpc":"2.0","resu"#.to_owned() + "\n", vec![], vec![]),
    ] {
        let mut rig = Rig::new(1 << 20);
        rig.feed(text.as_bytes());
        rig.feed(b"next\n");
        assert_eq!((rig.lost(), rig.messages()), (lost, messages), "{text}: {:?}", rig.got);
        rig.end();
    }
}

#[test]
fn each_of_many_answers_that_are_cut_amid_each_other_is_lost() {
    // From behind the id up to the text, which is where an answer breaks off by itself.
    let cuts = 34..85usize;
    for count in [3, 5, 10, 400] {
        for (first, step) in cuts.clone().flat_map(|first| [0, 13, 22].map(|step| (first, step))) {
            if count > 10 && first % 16 != 8 {
                continue;
            }
            let cut = |n: usize| cuts.start + (first - cuts.start + n * step) % cuts.len();
            let ids = 1000..1000 + count;
            let text: String = ids.clone().zip(0..).map(|(id, n)| answer(id)[..cut(n)].to_owned()).collect();
            for end in ["", "\n", "x\n", "\n]\n", "]\n"] {
                let mut rig = read(&format!("{text}{end}"));
                rig.got.retain(|got| matches!(got, Got::Lost(..)));
                let lost = sorted(rig.got);
                let all: Vec<_> = ids.clone().map(|id| Got::Lost(id.to_string(), false)).collect();
                assert_eq!(lost, all, "{text}{end}");
            }
        }
    }
    // The property test found this one.
    let text = [(1000, 56), (1001, 47), (1002, 34)].map(|(id, len)| answer(id)[..len].to_owned()).concat();
    let mut rig = Rig::new(1 << 20);
    text.as_bytes().chunks(1).for_each(|chunk| rig.feed(chunk));
    rig.end();
    assert_eq!(rig.lost(), ["1000", "1001", "1002"]);
    // Other objects that are open around an answer don't count, and what only a server's request or a log has is no answer's id.
    let text = format!("{}{}", r#"{"a":"#.repeat(300), &answer(7)[..50]);
    assert_eq!(read(&text).lost(), ["7"]);
    let text = format!("{}{}", &answer(1)[..50], r#"{"jsonrpc":"2.0","id":2,"method":"roots/list","params":{"x"#);
    assert_eq!(read(&text).lost(), ["1"]);
    let text = format!("{}{}", r#"{"id":5,"result":{"x":"#, &answer(6)[..50]);
    assert_eq!(read(&format!("log {text}")).lost(), ["6"]);
}

#[test]
fn a_request_of_a_server_that_is_cut_is_lost_as_a_request() {
    let text = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"roots/list\",\"params\":{\"a\nb\n";
    let rig = read(text);
    assert_eq!(
        rig.got.iter().filter(|got| matches!(got, Got::Lost(..))).collect::<Vec<_>>(),
        [&Got::Lost("7".into(), true)]
    );
    assert!(read(&format!("log: {text}")).lost().is_empty(), "that may be a log of what is asked");
}

#[test]
fn where_text_stands_before_an_answer_that_is_cut_the_answer_itself_has_time_to_come() {
    let one = answer(1);
    for text in [
        format!("sent {}…\n", &one[..60]),
        format!("sent {}\n", &one[..33]),
        "{'jsonrpc': '2.0', 'id': 1, 'result': {'content': []}}\n".to_owned(),
        "{ jsonrpc: '2.0', id: 1, result: { content: [ [Object] ] } }\n".to_owned(),
        "{\"id\":1,\"result\":{\"content\":[\nx\n".to_owned(),
        "{\n\"id\":1,\n\"result\":{}}\n".to_owned(),
        format!("{}\nlog\n{}\n", r#"{"jsonrpc":"2.0","result":{"content":"a"#, r#"b"},"id":1}"#),
        format!("log\n{}\n", r#"b"},"id":1,"jsonrpc":"2.0"}"#),
        format!("{{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":[{one}\nx\n"),
    ] {
        let mut rig = Rig::new(1 << 20);
        rig.feed(text.as_bytes());
        rig.feed(b"text\n");
        rig.pass(Duration::from_millis(1999));
        assert!(!rig.lost().contains(&"1"), "{text}: {:?}", rig.got);
        rig.pass(Duration::from_millis(1));
        assert!(rig.lost().contains(&"1"), "{text}: {:?}", rig.got);
        assert!(rig.messages().is_empty());
    }
    // Doubts are bounded: the oldest is reported when there are too many.
    let mut rig = Rig::new(1 << 20);
    (0..1000).for_each(|id| rig.feed(format!("sent {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\n\n").as_bytes()));
    rig.feed(b"x\n");
    let lost = rig.lost().len();
    assert!((900..1000).contains(&lost), "{lost}");
    rig.end();
    assert_eq!(rig.lost().len(), 1000);
}

#[test]
fn a_message_that_never_ends_is_given_up_after_a_while_and_when_another_comes() {
    let begun = pretty(1);
    let begun = begun.rsplit_once('\n').unwrap().0;
    let mut rig = Rig::new(1 << 20);
    rig.feed(format!("{begun}\n").as_bytes());
    rig.pass(Duration::from_millis(4999));
    assert!(rig.got.is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.lost(), ["1"]);
    rig.feed(format!("}}\n{}\n", answer(2)).as_bytes());
    assert_eq!((rig.messages(), rig.lost()), (vec![&*answer(2)], vec!["1"]));
    rig.end();
    // A line that doesn't end has more time.
    let mut rig = Rig::new(1 << 20);
    rig.feed(&answer(1).as_bytes()[..50]);
    rig.pass(Duration::from_secs(59));
    assert!(rig.lost().is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.lost(), ["1"]);
    // Text that begins like an array loses nobody's answer.
    let mut rig = Rig::new(1 << 20);
    rig.feed(b"tools: [\n");
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.noise(), ["tools: ", "["]);
    rig.feed(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"a\n{}\n", answer(2)).as_bytes());
    assert_eq!((rig.messages(), rig.lost()), (vec![&*answer(2)], vec!["1"]), "and concerns no line after it");
}

#[test]
fn a_message_above_the_limit_is_cut_wherever_it_stands() {
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#, "x".repeat(10_000));
    let spread = large.replace(',', ",\n");
    let (whole, two) = (large.len() as u64, answer(2));
    for (text, size) in [
        (large.clone(), whole),
        (format!("text {large}"), whole),
        (spread.clone(), whole + 2),
        (format!("text {spread} text"), whole + 2),
        (format!("{two}{large}{two}"), whole),
        (format!("[1]{large}"), whole),
    ] {
        for chunk in [1, 100, 5000, 1 << 20] {
            let mut rig = Rig::new(9_000);
            text.as_bytes().chunks(chunk).for_each(|chunk| rig.feed(chunk));
            rig.feed(format!("\n{two}\n").as_bytes());
            let sizes: Vec<_> = rig
                .got
                .iter()
                .filter_map(|got| if let Got::TooLarge(size) = got { Some(*size) } else { None })
                .collect();
            assert_eq!(sizes, [size], "{} in chunks of {chunk}", &text[..50]);
            assert_eq!(rig.messages().last(), Some(&&*two));
            rig.end();
            assert!(rig.lost().is_empty());
        }
    }
    // A log's JSON may be as large, and be followed by an answer.
    let mut rig = Rig::new(9_000);
    rig.feed(format!("{{\"level\":\"info\",\"msg\":\"{}\"}}{two}\n", "x".repeat(20_000)).as_bytes());
    assert_eq!(rig.messages(), [&*two]);
    // A message that never ends holds no more than the limit either.
    let mut rig = Rig::new(9_000);
    rig.feed(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[0\n");
    (0..5000).for_each(|_| rig.feed(b",[\"x\"]\n"));
    rig.pass(Duration::from_secs(5));
    assert!(matches!(rig.got[..], [Got::TooLarge(_)]), "{:?}", rig.got);
    let mut rig = Rig::new(9_000);
    rig.feed(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[0\n");
    (0..5000).for_each(|_| rig.feed(b",[\"x\"]\n"));
    rig.feed(format!("no\n{}\n", answer(2)).as_bytes());
    assert!(matches!(rig.got[..], [Got::TooLarge(_), Got::Noise(_), Got::Message(_)]), "{:?}", rig.got);
}

#[test]
fn an_answer_behind_megabytes_of_text_is_found_and_little_is_held() {
    for prefix in ["50 %\r", "[#### ] 50 %\r", "{", "[", "x", "[1,2]", "\u{1b}[1m"] {
        let mut rig = Rig::new(100_000);
        for _ in 0..20 {
            rig.feed(prefix.repeat(50_000 / prefix.len()).as_bytes());
        }
        rig.feed(answer(1).as_bytes());
        rig.feed(b"\n");
        assert_eq!(rig.messages(), [answer(1)], "{prefix:?}");
        rig.got.clear();
        rig.feed(format!("{}\n", answer(2)).as_bytes());
        assert_eq!(rig.got, [Got::Message(answer(2))], "{prefix:?}");
    }
}

#[test]
fn a_long_text_without_a_line_end_is_looked_at_in_pieces_of_64_kib() {
    let mut rig = Rig::new(1 << 20);
    rig.feed(&vec![b'x'; 1 << 20]);
    rig.feed(&vec![b'x'; 100_000]);
    let pieces: Vec<_> = rig.noise().iter().map(|piece| piece.len()).collect();
    assert_eq!(pieces, [vec![64 * 1024; 17], vec![100_000 - 64 * 1024]].concat());
}

#[test]
fn an_answer_whose_id_is_no_number_of_json_is_lost_at_once() {
    for id in ["06", "+6", "6.", " 06 ", ".6", "0x6", "6n"] {
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"id":7}}}}"#),
            format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{"content":[{{"id":7}}]}}}}"#),
            format!(r#"{{"jsonrpc":"2.0","result":{{}},"id" : {id}}}"#),
        ] {
            let mut rig = Rig::new(1 << 20);
            rig.feed(format!("{text}\n").as_bytes());
            assert_eq!((rig.lost(), rig.noise()), (vec![id.trim()], vec![&*text]), "{text}");
            rig.feed(format!("{}\n", answer(1)).as_bytes());
            rig.end();
            assert_eq!(rig.messages(), [answer(1)], "{text}");
        }
    }
    // What follows on the line, or is cut in the middle of the answer, is told apart from it.
    let (odd, two, three) = (r#"{"jsonrpc":"2.0","id":06,"result":{"method":"GET"}}"#, &*answer(2), &*answer(3));
    for (text, lost, messages) in [
        (format!("{odd} {two}\n"), vec!["06"], vec![two]),
        (format!("{odd}{two} {}{three}\n", odd.replace("06", "6.")), vec!["06", "6."], vec![two, three]),
        (format!("{}{two}\n", &odd[..28]), vec!["06"], vec![two]),
        (format!("{}{two}\n", &odd[..25]), vec!["06"], vec![two]),
        (format!("{}{}\n", &odd[..42], &two[..40]), vec!["06", "2"], vec![]),
        (format!("{}{}\n", &odd[..34], &two[..40]), vec!["06", "2"], vec![]),
        (odd.replace(',', ",\n") + "\n", vec!["06"], vec![]),
        (format!("{}\n{two}\n", &odd[..34]), vec!["06"], vec![two]),
        (r#"{"jsonrpc":"2.0","id":06,"method":"a"} {"id":5}"#.to_owned() + "\n", vec![], vec![]),
    ] {
        let rig = read(&text);
        assert_eq!((rig.lost(), rig.messages()), (lost, messages), "{text}: {:?}", rig.got);
    }
    for text in [
        r#"{"jsonrpc":"2.0","id":06,"method":"roots/list"}"#,
        r#"{"id":06,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":6_0,"result":{}}"#,
    ] {
        assert_eq!(read(&format!("{text}\n")).lost(), [""; 0], "{text}");
    }
    // Behind other text it may be a log's copy.
    let mut rig = Rig::new(1 << 20);
    rig.feed(b"sent {\"jsonrpc\":\"2.0\",\"id\":06,\"result\":{}}\n");
    assert_eq!(rig.lost(), [""; 0]);
    rig.end();
    assert_eq!(rig.lost(), ["06"]);
}

#[test]
fn a_line_of_megabytes_is_searched_piece_by_piece_and_nothing_in_it_is_lost() {
    for noise in ["{\\n", "[", "[1,2]", "{x} "] {
        let noise = noise.repeat(500_000 / noise.len());
        for line in [
            format!("{noise} {}{noise}", answer(1)),
            format!("{noise} {}", answer(1)),
            format!("{noise}\n{noise} {}{}", answer(1), answer(2)),
        ] {
            let mut rig = Rig::new(16 << 20);
            let Rig { stdout, now, got, .. } = &mut rig;
            let mut on = |found: Found<'_>| {
                note(got, found);
                ControlFlow::Continue(())
            };
            let unsearched = |stdout: &Stdout| stdout.later.text.len() - stdout.later.done;
            let mut flow = stdout.feed(format!("{line}\n{}\n", answer(3)).as_bytes(), *now, &mut on);
            let mut looks = 1;
            while flow.is_break() {
                let before = unsearched(stdout);
                assert!(stdout.is_paused() && before > 0);
                flow = stdout.resume(*now, &mut on);
                assert!(before <= PIECE || unsearched(stdout) == before - PIECE);
                looks += 1;
            }
            assert!(!stdout.is_paused() && looks >= line.len() / PIECE, "{looks} looks");
            rig.end();
            let answers = [answer(1), answer(2), answer(3)];
            assert_eq!(
                rig.messages(),
                answers.iter().filter(|a| **a == answer(3) || line.contains(&***a)).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn what_ends_amid_a_line_of_megabytes_is_searched_to_the_end_all_the_same() {
    for is_over in [true, false] {
        let mut rig = Rig::new(16 << 20);
        rig.feed(format!("{} {}", "x".repeat(500_000), answer(1)).as_bytes());
        rig.feed(&answer(2).as_bytes()[..24]);
        if is_over {
            rig.with(Stdout::end);
        } else {
            rig.pass(2 * WITHIN_LINE);
        }
        // Behind text the answer that is cut may be a log's copy.
        rig.pass(Duration::from_secs(3));
        assert_eq!((rig.messages(), rig.lost()), (vec![&*answer(1)], vec!["2"]));
    }
}

#[test]
fn an_answer_with_two_ids_is_lost_for_both_and_a_request_with_two_for_nobody() {
    let rig = read("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"result\":{}}\n");
    assert_eq!(rig.lost(), ["1", "2"], "{:?}", rig.got);
    let rig = read("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"roots/list\"}\n");
    assert_eq!(rig.lost(), [""; 0], "{:?}", rig.got);
    let rig = read("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\",\"method\":\"ping\"}\n");
    assert_eq!(rig.lost(), ["1"], "only one id can be meant: {:?}", rig.got);
}

#[test]
fn noise_needs_no_room_so_none_of_it_is_kept() {
    let mut rig = Rig::new(1 << 20);
    let (lines, answers) = ("1,\n".repeat(1000), format!("{},\n", answer(1)).repeat(3));
    rig.feed(format!("[\n{answers}{lines}").as_bytes());
    // It breaks off here, and is looked into: three messages, and each line of the rest for itself.
    let Rig { stdout, now, got, .. } = &mut rig;
    let mut stop = |found: Found<'_>| {
        note(got, found);
        if got.iter().any(|got| matches!(got, Got::Message(_))) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert!(stdout.feed(b"x\n", *now, &mut stop).is_break());
    assert_eq!(rig.messages().len(), 1);
    assert_eq!(rig.noise().iter().filter(|line| **line == "1,").count(), 1000);
    rig.with(Stdout::resume);
    assert_eq!(rig.messages().len(), 3);
    assert_eq!(rig.noise().iter().filter(|line| **line == "1,").count(), 1000);
}

#[test]
fn colours_and_nul_bytes_between_tokens_are_left_out() {
    let painted = "\x1b[1;39m{\x1b[0m\x1b[34;1m\"jsonrpc\"\x1b[0m\0: \x1b[32m\"2.0\"\x1b[0m,\"id\":\x1b[33m1\x1b[0m,\"result\":{}}\n";
    let rig = read(painted);
    assert_eq!(rig.messages().len(), 1);
    let message: Value = serde_json::from_str(rig.messages()[0]).unwrap();
    assert_eq!(message, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    // Where such an answer is cut, it is known which it was.
    let cut = painted.replace("{}}\n", "{\"a\":\x1b[1m");
    let rig = read(&format!("{cut}{}\n", &answer(2)[..40]));
    assert_eq!(rig.lost(), ["2", "1"], "{:?}", rig.got);
}

#[test]
fn bad_bytes_in_a_line_cost_no_answer() {
    let mut rig = Rig::new(1 << 20);
    rig.feed(b"\xff\xfe {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}\n");
    rig.feed(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"\xff\"}");
    rig.pass(STILL);
    assert_eq!(rig.messages().len(), 2);
    assert!(rig.messages().iter().all(|text| text.contains('\u{fffd}')));
    assert!(rig.habits().contains(&Habit::NotUtf8));
}

#[test]
fn text_made_to_be_slow_is_searched_fast() {
    // Each of these texts would take long minutes if a part of it was looked at again and again.
    for text in [
        "{\"a\":",
        "[",
        "{",
        "[[{\"",
        "[\"",
        "{\"a\":{}",
        "\"{",
        "{\"a{",
        "[1,{},",
        "\\\"{",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"a\":",
        "{\"id\":06,",
        "{\"jsonrpc\":1,\"id\":06,\"a\":\"{{{{{{{{{{{{",
    ] {
        let mut rig = Rig::new(1 << 23);
        rig.feed(text.repeat((1 << 18) / text.len()).as_bytes());
        rig.feed(b"\n");
        rig.end();
        assert!(rig.messages().is_empty());
    }
    // The same as one value that comes line by line.
    let mut rig = Rig::new(1 << 22);
    rig.feed(b"[\n");
    (0..25_000).for_each(|_| rig.feed(b"{\"a\":[1]},\n"));
    rig.feed(b"x\n");
    rig.end();
}

/// A piece of a stream, and what must become of it.
#[derive(Debug, Clone)]
enum Piece {
    /// Text that belongs to no message.
    Noise(String),
    /// An answer, perhaps over several lines.
    Answer { pretty: bool },
    /// The first so many bytes of an answer.
    Cut(usize),
    /// The first so many bytes of an answer over several lines.
    CutPretty(usize),
}

/// `noise`: what other text is made of. Signs that open something and signs that close something don't come together in one
/// stream: a message that noise makes a part of a whole object is no message of the stream.
fn any_stream(noise: &'static str, cuts: bool) -> impl Strategy<Value = Vec<Piece>> {
    let text = |text: &str| Just(Piece::Noise(text.to_owned()));
    let log = answer(5000);
    let piece = prop_oneof![
        3 => noise.prop_map(Piece::Noise),
        3 => text("\n"),
        1 => text("\r\n"),
        1 => text("\r"),
        1 => text("\0\u{feff}"),
        1 => text("\u{2028}"),
        1 => text("\x1b[1;32m"),
        1 => text("Content-Length: 77\r\n\r\n"),
        1 => text("\n[INFO] 12:30 "),
        6 => any::<bool>().prop_map(|pretty| Piece::Answer { pretty }),
        1 => (20..85usize).prop_map(move |len| if cuts { Piece::Cut(len) } else { Piece::Answer { pretty: true } }),
        1 => text(&json!({"level": "debug", "msg": &log}).to_string()),
        1 => text(&format!("{{\"msg\":{log}}}")),
        1 => text(&format!("[1,{log}]")),
    ];
    prop::collection::vec(piece, 1..14)
}

/// Each message either comes once or is known to be lost, and nothing else comes, however the stream is cut.
fn each_message_is_found(pieces: &[Piece], chunks: &[usize], pause: bool) -> Result<(), TestCaseError> {
    let (mut stream, mut whole, mut cut, mut id_is_cut) = (String::new(), Vec::new(), Vec::new(), false);
    for (piece, id) in pieces.iter().zip(1000..) {
        match piece {
            Piece::Noise(text) => stream += text,
            Piece::Answer { pretty: is_pretty } => {
                stream += &if *is_pretty { pretty(id) } else { answer(id) };
                whole.push(id);
            }
            Piece::Cut(len) | Piece::CutPretty(len) => {
                let text = if let Piece::Cut(_) = piece { answer(id) } else { pretty(id) };
                let part = &text[..text.floor_char_boundary(*len)];
                stream += part;
                // Where the id may have been cut too, nobody knows it.
                if part.contains("\"result") {
                    cut.push(id);
                }
                // A digit that follows such a part may make another answer's id of it.
                let ends_in_id = part.trim_end().ends_with(|c: char| c == ':' || c.is_ascii_digit());
                id_is_cut |= part.contains("\"id\"") && !part.contains("\"result") && ends_in_id;
            }
        }
    }
    let (mut rig, mut rest, mut chunks) = (Rig::new(1 << 20), stream.as_bytes(), chunks.iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(*chunks.next().unwrap_or(&1)));
        rig.feed(chunk);
        rest = after;
        if pause {
            rig.pass(STILL);
        }
    }
    rig.end();
    let ids: Vec<_> = rig.messages().iter().map(|text| serde_json::from_str::<Value>(text).unwrap()).collect();
    for message in &ids {
        let id = message["id"].as_u64().unwrap() as u32;
        prop_assert!(whole.contains(&id), "{id} is no message of {stream:?}");
        prop_assert_eq!(message, &serde_json::from_str::<Value>(&answer(id)).unwrap());
    }
    for id in whole {
        let count = ids.iter().filter(|message| message["id"] == id).count();
        let lost = rig.lost().contains(&&*id.to_string());
        prop_assert!(
            if count == 1 { !lost || id_is_cut } else { count == 0 && lost },
            "{id} came {count} times of {stream:?}: {:?}",
            rig.got
        );
    }
    for id in cut {
        prop_assert!(rig.lost().contains(&&*id.to_string()), "{id} is lost of {stream:?}: {:?}", rig.got);
    }
    // An answer that a log quotes is nobody's; a doubt about it harms nobody.
    Ok(())
}

/// Answers cut anywhere, and little else: what threads write that all print at once.
fn any_cuts() -> impl Strategy<Value = Vec<Piece>> {
    let noise = prop::sample::select(vec![
        "\n", "\r\n", "\r", " ", ",", ":", "\"", "[", "{", "06,", "-,", "null,", "1", "\0", "\x1b[1m", "\\",
    ]);
    let piece = prop_oneof![
        8 => (0..85usize).prop_map(Piece::Cut),
        4 => (0..150usize).prop_map(Piece::CutPretty),
        1 => any::<bool>().prop_map(|pretty| Piece::Answer { pretty }),
        2 => noise.prop_map(|noise| Piece::Noise(noise.to_owned())),
    ];
    prop::collection::vec(piece, 1..40)
}

fn any_chunks() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), Just(vec![2]), Just(vec![usize::MAX]), prop::collection::vec(1usize..200, 1..6)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn amid_many_answers_that_are_cut_each_is_found_or_known_to_be_lost(
        pieces in any_cuts(), chunks in any_chunks(), pause: bool,
    ) {
        each_message_is_found(&pieces, &chunks, pause)?;
    }

    #[test]
    fn amid_text_that_opens_whatever_it_likes_each_message_is_found_or_known_to_be_lost(
        pieces in any_stream("[ a-z{\\[\"\\\\:,0-9'.-]{1,12}", true), chunks in prop::collection::vec(1usize..200, 1..6), pause: bool,
    ) {
        each_message_is_found(&pieces, &chunks, pause)?;
    }

    #[test]
    fn amid_text_that_closes_whatever_it_likes_each_message_is_found_or_known_to_be_lost(
        pieces in any_stream("[ a-z}\\]\"\\\\:,0-9'.-]{1,12}", false), chunks in prop::collection::vec(1usize..200, 1..6), pause: bool,
    ) {
        each_message_is_found(&pieces, &chunks, pause)?;
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_the_limit(
        chunks in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60), "[ a{}\\[\\]\",:\\\\\n\r\0\x1b1]{0,60}".prop_map(String::into_bytes),
            Just(answer(1).into_bytes()), Just(b"\n".to_vec()),
        ], 0..60), max in 50..400usize, pause: bool,
    ) {
        let mut rig = Rig::new(max);
        for chunk in chunks {
            rig.feed(&chunk);
            if pause {
                rig.pass(STILL);
            }
            prop_assert!(rig.stdout.held() <= 2 * max + 200, "{}", rig.stdout.held());
        }
        rig.end();
        prop_assert!(rig.messages().iter().all(|message| message.len() <= max));
    }

    #[test]
    fn whoever_has_no_room_for_more_finds_the_same(
        chunks in prop::collection::vec(prop_oneof![
            1 => "[ a{}\\[\\]\",:\\\\\n\r\0\x1b1]{0,60}".prop_map(String::into_bytes),
            4 => (1..100u32, 1..6usize).prop_map(|(id, n)| answer(id).repeat(n).into_bytes()),
            1 => Just(pretty(3).into_bytes()), 3 => Just(b"\n".to_vec()),
        ], 0..40), max in 50..2000usize, pause: bool, halts in 1..4usize,
    ) {
        let found = |halts| {
            let mut rig = Rig { halts, ..Rig::new(max) };
            for chunk in &chunks {
                rig.feed(chunk);
                if pause {
                    rig.pass(STILL);
                }
            }
            rig.end();
            // What is for the log alone may come sooner.
            rig.got.into_iter().partition(|got| matches!(got, Got::Noise(_) | Got::Habit(_)))
        };
        let (told, passed): (Vec<Got>, Vec<Got>) = found(halts);
        let (told_at_once, passed_at_once) = found(0);
        prop_assert_eq!(passed, passed_at_once);
        prop_assert_eq!(sorted(told), sorted(told_at_once));
    }

    #[test]
    fn a_line_that_is_a_message_goes_on_as_it_was_written(
        ids in prop::collection::vec(1..100u32, 1..10), chunk in 1..100usize, between in prop::sample::select(vec!["", "log\n", "{}\n", "[INFO]\n"]),
    ) {
        let lines: Vec<_> = ids.into_iter().map(answer).collect();
        let mut rig = Rig::new(1 << 20);
        let text: String = lines.iter().map(|line| format!("{line}\n{between}")).collect();
        text.as_bytes().chunks(chunk).for_each(|chunk| rig.feed(chunk));
        prop_assert_eq!(rig.messages(), lines.iter().map(|line| &**line).collect::<Vec<_>>());
        rig.end();
        prop_assert!(rig.lost().is_empty() && rig.habits().is_empty());
    }
}
