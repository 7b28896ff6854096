//! What is asked while a connection is about to be closed.

use super::*;
use crate::router::held::HOLD_BYTES;

fn refused(rig: &mut Rig) -> Vec<Value> {
    let said = rig.at_endpoint();
    let why = |frame: &Value| frame["error"]["message"].as_str().is_some_and(|why| why.contains("shutting down"));
    assert!(said.iter().all(why), "{said:?}");
    said.into_iter().map(|frame| frame["id"].clone()).collect()
}

/// A pair with a call under way at each server, whose endpoint is about to lose its connection: `alone` with the others going on.
fn leaving(alone: bool) -> Rig {
    let mut rig = Rig::pair();
    rig.endpoint(&call(1, "one"));
    rig.endpoint(&call(2, "two"));
    match alone {
        true => rig.router.drain_peer(rig.peer, &mut rig.sink),
        false => rig.router.drain(rig.now, &mut rig.sink),
    }
    rig
}

fn answer(rig: &mut Rig, server: ServerIndex) {
    let id = rig.at_server(server)[0]["id"].clone();
    rig.server(server, &json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string());
}

#[test]
fn what_is_asked_of_a_connection_that_ends_is_refused_together_with_its_end() {
    for alone in [true, false] {
        let mut rig = leaving(alone);
        answer(&mut rig, 0);
        assert_eq!(rig.at_endpoint().len(), 1);
        rig.endpoint(&call(3, "one"));
        rig.endpoint(r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"}"#);
        rig.pass(0);
        assert!(refused(&mut rig).is_empty(), "who is refused asks again, and that would cross the close");
        assert_eq!(rig.router.owed_to(rig.peer), 1, "what is kept does not put the close off");
        answer(&mut rig, 1);
        assert_eq!((rig.at_endpoint().len(), rig.router.in_flight()), (1, 0));
        rig.pass(5);
        assert!(refused(&mut rig).is_empty(), "the close is at hand");
        rig.router.part(rig.peer, &mut rig.sink);
        assert_eq!(refused(&mut rig), [3, 4]);
        rig.router.part(rig.peer, &mut rig.sink);
        assert!(refused(&mut rig).is_empty());
    }
}

#[test]
fn who_asks_while_something_slow_is_under_way_is_not_kept_for_long() {
    for alone in [true, false] {
        let mut rig = leaving(alone);
        rig.endpoint(&call(3, "one"));
        rig.pass(1);
        assert_eq!(refused(&mut rig), [3]);
        rig.endpoint(&call(4, "one"));
        rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#);
        rig.endpoint(&call(5, "one"));
        rig.router.on_link_down(rig.peer, rig.now, &mut rig.sink);
        rig.pass(2);
        assert!(refused(&mut rig).is_empty(), "nobody waits any more");
    }
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let mut rig = leaving(false);
    let large = |id: u64| call(id, &"x".repeat(HOLD_BYTES / 2));
    rig.endpoint(&large(3));
    rig.endpoint(&large(4));
    assert_eq!(refused(&mut rig), [4], "it is refused at once");
}
