//! A list that changes, and an endpoint that reads it only when a connection is new.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, fixture_entry, multiplex, names, text_of};

/// Longer than an endpoint may take to read a changed list.
const LONG: Duration = Duration::from_secs(7);

async fn start() -> (FakeEndpoint, Daemon, Conn) {
    let endpoint = FakeEndpoint::bind().await;
    let entries = ["a", "b"].map(|name| (name, fixture_entry(&[])));
    let mut config = multiplex(&endpoint, entries);
    config["naming"] = "prefix".into();
    let daemon = Setup::new().config(&config).start("info");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    (endpoint, daemon, conn)
}

async fn grow(conn: &mut Conn, id: u64, name: &str) {
    assert_eq!(text_of(&conn.call(id, "a__grow", json!({"name": name})).await), format!("grown by {name}"));
    conn.other("notifications/tools/list_changed").await;
}

/// Fails at anything but pings, and if the connection ends.
async fn expect_quiet(conn: &mut Conn, endpoint: &FakeEndpoint) {
    tokio::select! {
        frame = conn.expect_frame() => panic!("{frame}"),
        () = endpoint.expect_nobody_for(LONG) => {}
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_a_changed_list_gets_one_new_connection_when_nothing_is_under_way() {
    let (endpoint, daemon, mut conn) = start().await;
    conn.send_call(2, "b__sleep", json!({"ms": LONG.as_millis() as u64})).await;
    grow(&mut conn, 3, "new").await;
    grow(&mut conn, 4, "newer").await;
    // It would panic if the connection were cut under the call.
    conn.answer_to(2).await;
    let close = conn.wait_for_close().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 1000, "{close}");

    let mut conn = endpoint.accept().await;
    let list = conn.handshake().await;
    assert!(names(&list).contains(&"a__new") && names(&list).contains(&"a__newer"), "{list}");
    assert_eq!(text_of(&conn.call(2, "a__new", json!({})).await), "new");
    expect_quiet(&mut conn, &endpoint).await;
    assert_eq!(endpoint.accepted(), 2);
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn an_endpoint_that_reads_a_changed_list_keeps_its_connection() {
    let (endpoint, daemon, mut conn) = start().await;
    grow(&mut conn, 2, "new").await;
    conn.send(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})).await;
    assert!(names(&conn.answer_to(3).await).contains(&"a__new"));
    expect_quiet(&mut conn, &endpoint).await;
    daemon.stop_closing([&mut conn]).await;
}

#[tokio::test]
async fn a_list_that_is_the_same_is_not_worth_a_word() {
    let (endpoint, daemon, mut conn) = start().await;
    assert_eq!(text_of(&conn.call(2, "a__touch", Value::Null).await), "nothing has changed");
    // The same list after another start.
    let exit = conn.call(3, "b__exit", json!({"code": 3})).await;
    assert!(exit["error"].is_object(), "{exit}");
    assert_eq!(text_of(&conn.call(4, "b__echo", json!({"text": "back"})).await), "back");
    expect_quiet(&mut conn, &endpoint).await;
    daemon.stop_closing([&mut conn]).await;
}
