//! What becomes of the log when nobody reads it.

use serde_json::json;

use crate::harness::{FakeEndpoint, Setup, one_server, text_of, within};

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "that the log is not read meanwhile is what is tested")]
async fn a_log_that_nobody_reads_stops_no_call() {
    let endpoint = FakeEndpoint::bind().await;
    let daemon = Setup::new().config(&one_server(&endpoint, &[])).start("debug");
    let mut conn = endpoint.accept().await;
    conn.handshake().await;
    let held = daemon.hold_log();
    // Far more than a pipe holds.
    for id in 2..1000 {
        assert_eq!(text_of(&conn.call(id, "echo", json!({"text": "on"})).await), "on");
    }
    drop(held);
    // The first line for which there is room again is preceded by this.
    let said = async {
        loop {
            conn.call(0, "echo", json!({"text": "on"})).await;
            if let Some(lost) = daemon.log_lines().into_iter().find(|line| line["event"] == "LOG_LOST") {
                break lost;
            }
        }
    };
    let lost = within("what was lost to be said", said).await;
    assert!(lost["fields"]["lines"].as_u64().unwrap() > 100, "{lost}");
    daemon.stop_closing([&mut conn]).await;
}
