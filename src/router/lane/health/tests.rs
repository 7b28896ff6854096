use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(30);

fn terms(tool: Option<&str>) -> HealthCheck {
    HealthCheck { every: EVERY, tool: tool.map(Arc::from), restart: true }
}

/// A check of a server that is ready since the first moment.
struct Rig {
    health: Health,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new(tool: Option<&str>) -> Self {
        let start = Instant::now();
        Rig { health: Health::new(terms(tool)), start, now: start }
    }

    /// Goes on to the next time at which something is due, and does that.
    fn next(&mut self, works: bool) -> Step {
        self.now = self.now.max(self.health.due(self.start));
        self.health.look(self.now, works, true)
    }

    /// The number of what is asked next.
    fn asks(&mut self, method: &str) -> u32 {
        match self.next(false) {
            Step::Ask(number, asked, _) => {
                assert_eq!(asked, method);
                number
            }
            other @ (Step::Wait | Step::Tell(_)) => panic!("{other:?}"),
        }
    }

    /// The server answers after a second.
    fn answers(&mut self, number: u32, answer: Answer<'_>) -> Step {
        self.now += SECOND;
        self.health.answered(number, answer, self.now)
    }

    fn seconds(&self) -> u64 {
        (self.now - self.start).as_secs()
    }
}

fn failed(step: &Step) -> (u32, &str) {
    match step {
        Step::Tell(Checked::Failed { failures, why }) => (failures.times, why),
        other @ (Step::Wait | Step::Ask(..) | Step::Tell(_)) => panic!("{other:?}"),
    }
}

fn well(after: Option<(u32, u64)>) -> Step {
    let after = after.map(|(times, seconds)| Failures { times, lasted: Duration::from_secs(seconds) });
    Step::Tell(Checked::Well { took: SECOND, after })
}

#[test]
fn a_server_that_answers_is_asked_again_and_again_whatever_it_answers() {
    let mut rig = Rig::new(None);
    for (answer, at) in [(Answer::Result(b"{}"), 31), (Answer::Error("Method not found (-32601)"), 61)] {
        let number = rig.asks("ping");
        assert_eq!(rig.answers(number, answer), well(None));
        assert_eq!(rig.seconds(), at);
    }
    // One question was asked once, and another answer to it means nothing.
    assert_eq!(rig.health.answered(1, Answer::Result(b"{}"), rig.now), Step::Wait);
}

#[test]
fn a_server_that_hangs_fails_each_time_and_is_not_asked_without_end() {
    let mut rig = Rig::new(None);
    for times in 1..10 {
        let step = rig.next(false);
        assert_eq!(matches!(step, Step::Ask(..)), times <= FAILURES, "{times}: {step:?}");
        let step = rig.next(false);
        assert_eq!(failed(&step), (times, "did not answer ping within 10.0 s, nor say anything else"));
        assert_eq!(rig.seconds(), u64::from(times) * 30 + 10);
    }
    // It answers the first question after all.
    assert_eq!(rig.health.answered(1, Answer::Result(b"{}"), rig.now), {
        let (took, lasted) = (250 * SECOND, 240 * SECOND);
        Step::Tell(Checked::Well { took, after: Some(Failures { times: 9, lasted }) })
    });
}

#[test]
fn a_server_that_works_is_busy_and_has_one_question() {
    let mut rig = Rig::new(None);
    let mut asked = 0;
    for _ in 0..10 {
        asked += usize::from(matches!(rig.next(true), Step::Ask(..)));
        assert_eq!(rig.next(true), Step::Tell(Checked::Busy { after: None }));
    }
    assert_eq!(asked, 1);
    // It works on nothing any more, and hangs.
    for times in 1..4 {
        let _ask = rig.next(false);
        assert_eq!(failed(&rig.next(false)).0, times);
    }
    // Once it works, it may answer late again: the row is broken.
    let _ask = rig.next(true);
    let after = Some(Failures { times: 3, lasted: 90 * SECOND });
    assert_eq!(rig.next(true), Step::Tell(Checked::Busy { after }));
    let _ask = rig.next(false);
    assert_eq!(failed(&rig.next(false)).0, 1);
}

#[test]
fn whatever_a_server_says_is_a_sign_of_life() {
    let mut rig = Rig::new(None);
    let _ask = rig.asks("ping");
    assert_eq!(rig.health.heard(rig.now), None);
    assert_eq!(rig.next(false), Step::Tell(Checked::Busy { after: None }), "it has said something meanwhile");
    let _ask = rig.asks("ping");
    assert_eq!(failed(&rig.next(false)).0, 1);
    rig.now += SECOND;
    let after = Some(Failures { times: 1, lasted: SECOND });
    assert_eq!(rig.health.heard(rig.now), Some(Checked::Busy { after }), "between two checks");
    assert_eq!(rig.health.heard(rig.now), None, "said once");
}

#[test]
fn a_server_that_reads_nothing_is_asked_nothing() {
    let mut rig = Rig::new(None);
    rig.now += EVERY;
    assert_eq!(rig.health.look(rig.now, true, false), Step::Wait);
    assert_eq!(rig.next(true), Step::Tell(Checked::Busy { after: None }));
}

#[test]
fn a_tool_is_called_once_the_server_lists_it_and_its_failures_count() {
    let mut rig = Rig::new(Some("se\"lf"));
    let number = rig.asks("tools/list");
    let page = Answer::Result(br#"{"tools":[{"name":"other","inputSchema":{}}],"nextCursor":"2"}"#);
    assert_eq!(rig.answers(number, page), Step::Wait);
    let Step::Ask(number, "tools/list", params) = rig.next(false) else { panic!("the next page is read at once") };
    assert_eq!((params.as_slice(), rig.seconds()), (&br#"{"cursor":"2"}"#[..], 31));
    assert_eq!(rig.answers(number, Answer::Result(br#"{"tools":[{"name":"se\"lf","inputSchema":{}}]}"#)), Step::Wait);
    let Step::Ask(number, "tools/call", params) = rig.next(false) else { panic!("it is called at once") };
    assert_eq!((params.as_slice(), rig.seconds()), (&br#"{"name":"se\"lf","arguments":{}}"#[..], 32));
    assert!(rig.health.is_calling());
    assert_eq!(rig.answers(number, Answer::Result(b"{}")), well(None));
    assert!(!rig.health.is_calling());
    let number = rig.asks("tools/call");
    let failure = br#"{"content":[{"type":"text","text":"no database"}],"isError":true}"#;
    assert_eq!(
        failed(&rig.answers(number, Answer::ToolError(failure))),
        (1, "reports a failure of se\"lf: no database")
    );
    // That it says something does not mend the tool.
    assert_eq!(rig.health.heard(rig.now), None);
    let number = rig.asks("tools/call");
    let step = rig.answers(number, Answer::Error("Invalid params (-32602)"));
    assert_eq!(failed(&step), (2, "answered se\"lf with an error: Invalid params (-32602)"));
    let number = rig.asks("tools/call");
    assert_eq!(failed(&rig.answers(number, Answer::Lost("is gone"))), (3, "is gone"));
    let number = rig.asks("tools/call");
    assert_eq!(rig.answers(number, Answer::Result(b"{}")), well(Some((3, 90))));
    // Another life may list other tools.
    rig.health.reset();
    (rig.start, rig.now) = (rig.now, rig.now);
    let _ask = rig.asks("tools/list");
}

#[test]
fn a_tool_that_is_not_listed_is_never_called_and_that_is_no_failure() {
    let mut rig = Rig::new(Some("x"));
    for again in [false, true, true] {
        let number = rig.asks("tools/list");
        assert_eq!(
            rig.answers(number, Answer::Result(br#"{"tools":[]}"#)),
            Step::Tell(Checked::Unlisted { tool: "x".into(), again })
        );
    }
    let number = rig.asks("tools/list");
    assert_eq!(failed(&rig.answers(number, Answer::Error("no"))).1, "answered tools/list with an error: no");
    // Nor does a list without an end keep it busy for ever.
    let endless = Answer::Result(br#"{"tools":[],"nextCursor":"1"}"#);
    let (mut pages, mut number) = (1, rig.asks("tools/list"));
    while rig.answers(number, endless) == Step::Wait {
        (pages, number) = (pages + 1, rig.asks("tools/list"));
    }
    assert_eq!(pages, MAX_PAGES + 1);
}

#[derive(Debug, Clone)]
enum Happens {
    Time(u64),
    Answer(usize, bool),
    Heard,
    Rest,
    Reset,
    Works(bool),
}

proptest! {
    #[test]
    fn no_failure_without_silence_or_an_answer_that_says_so(
        happenings in prop::collection::vec(prop_oneof![
            6 => (0_u64..20).prop_map(Happens::Time),
            2 => (0_usize..3, any::<bool>()).prop_map(|(of, good)| Happens::Answer(of, good)),
            1 => Just(Happens::Heard),
            1 => Just(Happens::Rest),
            1 => Just(Happens::Reset),
            2 => any::<bool>().prop_map(Happens::Works),
        ], 1..200),
    ) {
        let mut rig = Rig::new(None);
        let (mut works, mut asked, mut row) = (false, Vec::new(), 0);
        // When the server last said something or worked, and since when the present check waits.
        let mut alive = rig.now;
        for happens in happenings {
            let step = match happens {
                Happens::Time(seconds) => {
                    rig.now += Duration::from_secs(seconds);
                    if works {
                        alive = rig.now;
                    }
                    if rig.health.due(rig.start) > rig.now {
                        continue;
                    }
                    let step = rig.health.look(rig.now, works, true);
                    if let Step::Tell(Checked::Failed { .. }) = &step {
                        prop_assert!(!works && rig.now - alive >= PATIENCE, "nothing came for long, and nothing was under way");
                    }
                    step
                }
                Happens::Answer(of, good) if of < asked.len() => {
                    alive = rig.now;
                    let heard = rig.health.heard(rig.now);
                    row = if heard.is_some() { 0 } else { row };
                    let answer = if good { Answer::Result(b"{}") } else { Answer::Lost("is lost") };
                    rig.health.answered(asked.remove(of), answer, rig.now)
                }
                Happens::Answer(..) => continue,
                Happens::Heard => {
                    alive = rig.now;
                    if rig.health.heard(rig.now).is_some() {
                        row = 0;
                    }
                    continue;
                }
                Happens::Rest => {
                    rig.health.rest();
                    continue;
                }
                Happens::Reset => {
                    rig.health.reset();
                    asked.clear();
                    row = 0;
                    continue;
                }
                Happens::Works(now) => {
                    // A call ends with an answer, or may be worked on still.
                    if works && !now && rig.health.heard(rig.now).is_some() {
                        row = 0;
                    }
                    if works || now {
                        alive = rig.now;
                    }
                    works = now;
                    continue;
                }
            };
            match step {
                Step::Wait => {}
                Step::Ask(number, ..) => {
                    asked.push(number);
                    prop_assert!(asked.len() <= UNANSWERED, "few questions are unanswered at a time");
                }
                Step::Tell(Checked::Failed { failures, .. }) => {
                    row += 1;
                    prop_assert_eq!(failures.times, row, "they count in a row");
                }
                Step::Tell(_) => row = 0,
            }
        }
    }
}
