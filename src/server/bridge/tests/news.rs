//! News that a modern server is asked for, at the edges: lost while another wish is under way, refused for one wish only, bounded.

use super::*;

fn subscribe(id: u64, uri: &str) -> Value {
    json!({"id": id, "method": "resources/subscribe", "params": {"uri": uri}})
}

fn unsubscribe(id: u64, uri: &str) -> Value {
    json!({"id": id, "method": "resources/unsubscribe", "params": {"uri": uri}})
}

#[test]
fn a_stream_that_is_lost_while_another_is_asked_for_is_replaced_by_that_and_told_as_changes() {
    let mut rig = Rig::listening(false);
    let first = rig.sent().to_string();
    let next = rig.line(subscribe(5, "a"))[0].1["id"].clone();
    rig.found(Found::Unanswered { id: first.as_bytes(), why: "cut" });
    assert_eq!(rig.bridge.listening.due(), Some(rig.now + Duration::from_secs(30)), "the next is still awaited");
    let done = rig.granted(&next, json!({"resourceSubscriptions": ["a"]}));
    assert_eq!((done.len(), &done[0].1["id"]), (3, &json!(5)), "{done:?}");
    assert_eq!(done[1].1["method"], "notifications/tools/list_changed");
    assert_eq!(
        (&done[2].1["method"], &done[2].1["params"]),
        (&json!("notifications/resources/updated"), &json!({"uri": "a"}))
    );
}

#[test]
fn a_wish_that_the_server_refuses_costs_no_news_that_it_gives_already() {
    let mut rig = Rig::listening(false);
    rig.line(subscribe(5, "a"));
    let done = rig.refuse(json!({"code": -32601, "message": "no"}));
    assert_eq!((done.len(), &done[0].1["error"]["code"]), (1, &json!(-32601)));
    assert_eq!(rig.bridge.listening.due(), Some(rig.now + Duration::from_secs(1)), "it may be asked something else");
    // What is wished for meanwhile waits for that.
    assert_eq!(rig.line(subscribe(6, "b")), []);
    assert_eq!(rig.after(1)[0].1["params"]["notifications"]["resourceSubscriptions"], json!(["b"]));
}

#[test]
fn a_request_for_news_that_ends_before_it_is_granted_is_no_refusal() {
    for ends in [
        |rig: &mut Rig| rig.answer(json!({})),
        |rig: &mut Rig| {
            let number = rig.sent();
            rig.said(json!({"method": "notifications/cancelled", "params": {"requestId": number}}))
        },
    ] {
        let mut rig = Rig::open(false);
        rig.line(json!({"method": "notifications/initialized"}));
        assert_eq!(ends(&mut rig), []);
        assert_eq!(rig.bridge.listening.due(), Some(rig.now + Duration::from_secs(1)));
        assert!(rig.bridge.pending.is_empty(), "{:?}", rig.bridge.pending);
    }
}

#[test]
fn a_grant_of_what_is_not_asked_for_changes_nothing() {
    let mut rig = Rig::listening(false);
    let number = rig.sent();
    assert_eq!(rig.granted(&json!(number + 99), json!({"toolsListChanged": true})), []);
    assert_eq!(rig.line(unsubscribe(5, "never followed")).len(), 1, "nothing is asked for anew");
}

#[test]
fn the_last_wish_that_is_taken_back_ends_the_stream() {
    let mut rig = Rig::offered(false, r#"{"resources":{"subscribe":true}}"#);
    assert_eq!(rig.line(json!({"method": "notifications/initialized"})), [], "there is nothing to ask for");
    let number = rig.line(subscribe(5, "a"))[0].1["id"].clone();
    rig.granted(&number, json!({"resourceSubscriptions": ["a"]}));
    let done = rig.line(unsubscribe(6, "a"));
    assert_eq!(
        (done.len(), &done[1].1["method"], &done[1].1["params"]["requestId"]),
        (2, &json!("notifications/cancelled"), &number)
    );
}

#[test]
fn nobody_follows_a_resource_where_the_server_tells_no_changes() {
    let mut rig = Rig::offered(false, r#"{"tools":{"listChanged":true}}"#);
    rig.line(json!({"method": "notifications/initialized"}));
    let done = rig.line(subscribe(5, "a"));
    assert_eq!((done.len(), &done[0].1["error"]["code"]), (1, &json!(-32601)));
}

#[test]
fn as_many_resources_are_followed_as_the_router_keeps() {
    let mut rig = Rig::listening(false);
    let first = rig.line(subscribe(5, &"x".repeat(2048)))[0].1["id"].clone();
    for id in 1..1000 {
        assert_eq!(rig.line(subscribe(10 + id, &format!("r{id}"))), [], "{id}");
    }
    let done = rig.line(subscribe(5000, "one more"));
    assert_eq!((done.len(), &done[0].1["error"]["code"]), (1, &json!(-32602)));
    let done = rig.granted(&first, json!({"resourceSubscriptions": ["x".repeat(2048)]}));
    assert_eq!(done.iter().filter(|(_, what)| what["id"] == 5 && what["result"].is_object()).count(), 1);
}

#[test]
fn a_server_whose_stream_stands_is_not_asked_whether_it_is_there() {
    let mut rig = Rig::listening(true);
    assert_eq!(rig.after(60), []);
}
