//! How endpoints begin, in a layout of one server and in one of several.

use serde_json::{Value, json};

use crate::harness::{Conn, Daemon, FakeEndpoint, Setup, everything, fixture_entry, multiplex, names};

/// A TypeScript server alone, untouched, and then as one of three. `None` where it isn't installed.
async fn layouts() -> Option<[(FakeEndpoint, Daemon); 2]> {
    let entry = everything()?;
    let several = ["one", "two"].map(|name| (name, fixture_entry(&[])));
    let alone = FakeEndpoint::bind().await;
    let mut config = multiplex(&alone, [("everything", entry.clone())]);
    config["mode"] = "per-server".into();
    let first = Setup::new().config(&config).start("info");
    let shared = FakeEndpoint::bind().await;
    let entries = [("everything", entry)].into_iter().chain(several);
    let second = Setup::new().config(&multiplex(&shared, entries)).start("info");
    Some([(alone, first), (shared, second)])
}

/// What each server of the layout has shows in its list, and it is the same for everybody.
fn check(list: &Value, several: bool) {
    let names = names(list);
    assert!(names.contains(&"get-sum"), "{names:?}");
    assert_eq!(names.contains(&"one__pid") && names.contains(&"two__pid"), several, "{names:?}");
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "each name once: {names:?}");
}

#[tokio::test]
async fn the_clouds_burst_is_answered_right_by_one_server_and_by_several() {
    let Some(layouts) = layouts().await else { return };
    for (several, (endpoint, daemon)) in layouts.into_iter().enumerate() {
        let mut conn = endpoint.accept().await;
        check(&conn.handshake().await, several == 1);
        for id in 2..5 {
            conn.send(json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).await;
        }
        // The cloud's extra members of params.
        let params = json!({"name": "get-sum", "arguments": {"a": 1, "b": 2}, "clientId": "c", "serialNumber": "7", "speakerId": null});
        conn.send(json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})).await;
        for id in (2..5).rev() {
            assert_eq!(conn.answer_to(id).await["result"], json!({}));
        }
        assert_eq!(conn.answer_to(5).await["result"]["content"][0]["text"], "The sum of 1 and 2 is 3.");
        daemon.stop_closing([&mut conn]).await;
    }
}

#[tokio::test]
async fn three_interleaved_robots_are_answered_right_by_one_server_and_by_several() {
    let Some(layouts) = layouts().await else { return };
    for (several, (endpoint, daemon)) in layouts.into_iter().enumerate() {
        let mut conn = endpoint.accept().await;
        let ids = ["0b9c7f7e-8f4b-4c4e-9d8b-0d6b6f6d2f11", "1b9c7f7e-8f4b-4c4e-9d8b-0d6b6f6d2f11", "2b9c7f7e"];
        for method in ["initialize", "notifications/initialized", "tools/list"] {
            for robot in ids {
                rob(&mut conn, robot, method).await;
            }
        }
        for robot in ids.into_iter().rev() {
            assert_eq!(conn.answer_to(format!("{robot}_n_1")).await["result"]["protocolVersion"], "2024-11-05");
            check(&conn.answer_to(format!("{robot}_n_2")).await, several == 1);
        }
        daemon.stop_closing([&mut conn]).await;
    }
}

async fn rob(conn: &mut Conn, robot: &str, method: &str) {
    let client = json!({"name": robot, "version": "1"});
    let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client});
    conn.send(match method {
        "initialize" => json!({"jsonrpc": "2.0", "id": format!("{robot}_n_1"), "method": method, "params": hello}),
        "tools/list" => json!({"jsonrpc": "2.0", "id": format!("{robot}_n_2"), "method": method, "params": null}),
        _ => json!({"jsonrpc": "2.0", "method": method}),
    })
    .await;
}

/// A TypeScript server never answers a request with it, and refuses a call with `"arguments": null`.
#[tokio::test]
async fn params_of_null_reach_no_typescript_server() {
    let Some(layouts) = layouts().await else { return };
    for (endpoint, daemon) in layouts {
        let mut conn = endpoint.accept().await;
        conn.handshake().await;
        for (id, method) in
            ["prompts/list", "resources/list", "resources/templates/list", "ping"].into_iter().enumerate()
        {
            conn.send(json!({"jsonrpc": "2.0", "id": format!("n{id}"), "method": method, "params": null})).await;
            assert!(conn.answer_to(format!("n{id}")).await["result"].is_object(), "{method}");
        }
        conn.send(json!({"jsonrpc": "2.0", "id": 7, "method": "vendor/unknown", "params": null})).await;
        assert!(conn.answer_to(7).await["error"]["code"].is_i64());
        assert!(conn.call(8, "get-env", Value::Null).await["result"]["content"].is_array());
        daemon.stop_closing([&mut conn]).await;
    }
}
