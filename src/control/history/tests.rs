use proptest::prelude::*;

use super::words::of;
use super::*;

const MIN: u64 = 60_000;
/// A moment of some day: 2026-01-02 12:00:00.
const NOON: u64 = 1_767_355_200_000;

/// A row with what a server did from each moment on, in milliseconds after [`NOON`].
fn row(spans: &[(u64, Doing, &str)]) -> Row {
    let mut row = Row { present: true, ..Row::default() };
    for (at, doing, why) in spans {
        row.note(*doing, why, NOON + at);
    }
    row
}

fn doings(row: &Row) -> Vec<(Doing, u32)> {
    row.spans.iter().map(|span| (span.doing, span.times)).collect()
}

#[test]
fn a_crash_loop_is_one_line_whatever_comes_in_between() {
    let mut row = row(&[(0, Doing::Starting, ""), (1000, Doing::Serving, "")]);
    let mut at = MIN;
    for life in 0..10_000 {
        row.note(Doing::Down, "exited with code 1", NOON + at);
        row.note(Doing::Starting, "", NOON + at + 500);
        if life % 2 == 0 {
            row.note(Doing::Serving, "", NOON + at + 600);
        }
        at += 1000;
    }
    assert_eq!(doings(&row), [(Doing::Starting, 1), (Doing::Serving, 1), (Doing::Down, 10_000), (Doing::Starting, 1)]);
    assert_eq!((row.spans[2].served, row.dropped), (5_000 * 400, 0));
    let (served, known) = row.share(NOON + at);
    assert_eq!((served, known), (MIN - 1000 + 5_000 * 400, at));
}

#[test]
fn lives_that_were_of_use_and_other_reasons_stay_apart() {
    use Doing::{Down, Failing, Serving, Starting, Stopped};
    for (spans, want) in [
        // A life of a minute is no part of a loop.
        (vec![(0, Down, "x"), (1, Starting, ""), (2, Serving, ""), (2 + MIN, Down, "x")], vec![1, 1, 1, 1]),
        (vec![(0, Down, "x"), (1, Starting, ""), (2, Serving, ""), (1 + MIN, Down, "x")], vec![1, 1, 1, 1]),
        (vec![(0, Down, "x"), (1, Starting, ""), (2, Serving, ""), (MIN, Down, "x")], vec![2]),
        (vec![(0, Down, "x"), (1, Starting, ""), (2, Down, "y")], vec![1, 1, 1]),
        // What a person did is never hidden.
        (vec![(0, Down, "x"), (1, Stopped, ""), (2, Starting, ""), (3, Down, "x")], vec![1, 1, 1, 1]),
        (vec![(0, Failing, "x"), (1, Down, "x"), (2, Starting, ""), (3, Serving, ""), (4, Failing, "x")], vec![2]),
        (vec![(0, Starting, ""), (1, Serving, ""), (2, Starting, ""), (3, Serving, "")], vec![1, 1, 1, 1]),
    ] {
        let times: Vec<u32> = row(&spans).spans.iter().map(|span| span.times).collect();
        assert_eq!(times, want, "{spans:?}");
    }
}

#[test]
fn what_is_too_much_is_dropped_and_told_and_what_is_old_is_forgotten() {
    let mut row = Row::default();
    for n in 0..500 {
        row.note(Doing::Down, &format!("exited with code {n}"), NOON + n);
    }
    assert_eq!((row.spans.len(), row.dropped), (MOST, 300));
    assert!(
        of(&Told { name: "a".into(), now: NOON + 1000, row: row.clone() }, |_| "12:00:00".into())
            .contains("  300 earlier lines not kept: there were too many\n")
    );
    row.note(Doing::Serving, "", NOON + WINDOW);
    row.age(NOON + WINDOW + 400);
    assert_eq!(row.spans.len(), 100 + 1, "those that ended within the last day");
    row.age(NOON + 3 * WINDOW);
    assert_eq!(doings(&row), [(Doing::Serving, 1)], "what lasts on is kept");
    assert_eq!(row.share(NOON + 3 * WINDOW), (WINDOW, WINDOW));
    assert!(row.note(Doing::Down, &"é".repeat(WHY), NOON + 3 * WINDOW));
    assert!(row.spans.back().is_some_and(|last| last.why.len() <= WHY));
    assert!(!row.note(Doing::Down, &"é".repeat(WHY), NOON + 3 * WINDOW), "the same again");
}

#[test]
fn a_server_that_is_gone_is_forgotten_after_a_day() {
    let mut all = Histories::default();
    all.add("a");
    all.add("b");
    assert!(all.note("a", Doing::Serving, "", NOON) && all.note("b", Doing::Serving, "", NOON));
    assert!(!all.note("c", Doing::Serving, "", NOON), "one of another run");
    all.remove("b", NOON + MIN);
    let names = |all: &mut Histories, now| all.read(None, now).into_iter().map(|told| told.name).collect::<Vec<_>>();
    assert_eq!(names(&mut all, NOON + WINDOW), ["a".into(), "b".into()]);
    assert_eq!(names(&mut all, NOON + WINDOW + MIN), ["a".into()]);
    // The same after a restart without it.
    let mut again = Histories::default();
    again.restore(all, (NOON + 2 * WINDOW, NOON + 2 * WINDOW + MIN), "");
    assert_eq!(doings(&again.read(Some("a"), NOON + 2 * WINDOW + MIN)[0].row), [(Doing::Serving, 1), (Doing::Away, 1)]);
    assert!(names(&mut again, NOON + 3 * WINDOW).is_empty());
}

#[test]
fn all_servers_together_are_bounded() {
    let mut all = Histories::default();
    let names: Vec<String> = (0..100).map(|n| format!("server-{n}")).collect();
    names.iter().for_each(|name| all.add(name));
    for n in 0..MOST as u64 {
        for name in &names {
            all.note(name, Doing::Down, &format!("{n}"), NOON + n);
        }
    }
    let spans: Vec<usize> = all.rows.values().map(|row| row.spans.len()).collect();
    assert_eq!(spans.iter().sum::<usize>(), MOST_OF_ALL);
    assert!(spans.iter().all(|spans| *spans == MOST_OF_ALL / 100), "none has more than another: {spans:?}");
    // Names that come and go by the thousand are no way around it.
    for n in 0..2 * MOST_GONE {
        let name = format!("gone-{n}");
        all.add(&name);
        all.note(&name, Doing::Starting, "", NOON + MIN);
        all.remove(&name, NOON + MIN);
    }
    assert!(all.rows.values().map(|row| row.spans.len()).sum::<usize>() <= MOST_OF_ALL);
    assert_eq!(all.rows.len(), 100 + MOST_GONE);
    assert!(names.iter().all(|name| all.rows.contains_key(&**name)), "those that are there have theirs");
}

#[test]
fn it_is_told_line_by_line() {
    let mut row = row(&[
        (0, Doing::Starting, ""),
        (1200, Doing::Serving, ""),
        (61 * MIN, Doing::Starting, ""),
        (61 * MIN + 1, Doing::Serving, ""),
        (90 * MIN, Doing::Failing, "did not answer ping"),
        (91 * MIN, Doing::Serving, ""),
        (100 * MIN, Doing::Paused, ""),
        (101 * MIN, Doing::Away, "it was killed"),
    ]);
    row.note(Doing::Down, "exited with code 1", NOON + 102 * MIN);
    row.note(Doing::Starting, "", NOON + 102 * MIN + 10);
    row.note(Doing::Down, "exited with code 1", NOON + 102 * MIN + 20);
    let told = Told { name: "a".into(), now: NOON + 13 * 60 * MIN, row };
    let clock = |at: u64| {
        let [hours, minutes, seconds] = [at / 3600 % 24, at / 60 % 60, at % 60];
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    };
    let want = "\
a: served 12.7 % of the last 13 h 0 min
  yesterday 12:00:00  1.2 s       starting
  yesterday 12:00:01  60 min      serving
  yesterday 13:01:00  1.0 ms      starting anew, as it was told to
  yesterday 13:01:00  28 min      serving
  yesterday 13:30:00  60.0 s      failing: did not answer ping
  yesterday 13:31:00  9 min       serving
  yesterday 13:40:00  60.0 s      paused by command
  yesterday 13:41:00  60.0 s      mcp-pipe did not run: it was killed
  yesterday 13:42:00  11 h 18 min down: exited with code 1, 2 times
";
    assert_eq!(of(&told, clock), want);
    let json = serde_json::to_value(words::Row::of(&told)).unwrap_or_default();
    assert_eq!((&json["spans"][4]["state"], &json["spans"][8]["times"]), (&"failing".into(), &2.into()), "{json}");
    assert_eq!((&json["served"], &json["knownSeconds"]), (&0.1269.into(), &46800.0.into()), "{json}");
}

#[test]
fn what_began_days_ago_is_not_told_by_its_hour() {
    let mut row = row(&[(0, Doing::Serving, "")]);
    let now = NOON + 5 * WINDOW + 60 * MIN;
    row.note(Doing::Down, "exited with code 1", now - 10 * MIN);
    let told = of(&Told { name: "a".into(), now, row }, |at| format!("{:02}:{:02}:00", at / 3600 % 24, at / 60 % 60));
    let lines: Vec<&str> = told.lines().skip(1).map(str::trim_end).collect();
    assert!(lines[0].starts_with("  earlier ") && !lines[0].contains(':') && lines[0].ends_with("serving"), "{told}");
    assert!(lines[1].contains("12:50:00") && lines[1].contains("down: exited"), "{told}");
}

proptest! {
    #[test]
    fn whatever_happens_it_is_bounded_in_order_and_served_no_longer_than_it_lasted(
        steps in prop::collection::vec((0_usize..10, 0_usize..3, 0_u64..200_000), 1..400),
    ) {
        const ALL: [Doing; 10] = [
            Doing::Starting, Doing::Serving, Doing::Silent, Doing::Failing, Doing::Refusing, Doing::Down, Doing::Paused,
            Doing::Stopped, Doing::Removed, Doing::Away,
        ];
        let (mut row, mut now) = (Row::default(), NOON);
        for (doing, why, later) in steps {
            now += later;
            // Set back now and then.
            let noted = if later % 7 == 0 { now - later.min(now - NOON) } else { now };
            row.note(ALL[doing], ["", "x", "y"][why], noted);
            prop_assert_eq!(row.spans.back().map(|last| last.doing), Some(ALL[doing]), "what it does now is the last");
        }
        prop_assert!(row.spans.len() <= MOST);
        prop_assert!(row.spans.iter().zip(row.spans.iter().skip(1)).all(|(a, b)| a.from <= b.from));
        let (served, known) = row.share(now);
        prop_assert!(served <= known && known <= WINDOW, "{served} {known}");
        let read: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap_or_default()).unwrap_or_default();
        prop_assert_eq!(read, row);
    }
}
