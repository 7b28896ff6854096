//! Sessions that go on in another process: another gateway with the same state folder.

use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::super::tests::{Ask, begin, call, get, initialize, keys, of, piece, post, spec, surviving, whole};
use super::super::{Gateway, Kept, Survival};
use crate::config::{GatewaySpec, SessionKey, sha256};

/// A gateway that keeps its sessions in a folder.
async fn gateway_in(dir: &Path, spec: GatewaySpec) -> Arc<Gateway> {
    let kept = Kept::open(Some(dir.to_path_buf()), Path::new("/config.json"), spec.session_key.as_ref()).await;
    surviving(spec, Survival { kept, ..Survival::default() })
}

fn ping(id: &str) -> Ask {
    post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).with("mcp-session-id", id)
}

fn delete(id: &str) -> Ask {
    get().by("DELETE").with("mcp-session-id", id)
}

/// A call at which the pipe ends the conversation.
fn die(id: &str) -> Ask {
    post(&call(1, "die")).with("mcp-session-id", id).with("accept", "application/json")
}

async fn status(gateway: &Gateway, ask: Ask) -> u16 {
    ask.send(gateway).await.status().as_u16()
}

#[tokio::test]
async fn a_session_goes_on_in_another_process_and_its_client_is_to_read_the_lists_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway_in(dir.path(), spec()).await;
    let id = begin(&first, "2025-11-25").await;
    let at_clock = post(&initialize("2025-06-18")).at("/mcp/my%20clock").send(&first).await;
    let of_clock = of(&at_clock, "mcp-session-id");
    let mut stream = post(&call(5, "slow")).with("mcp-session-id", &id).send(&first).await;
    let numbered = piece(&mut stream).await;
    let number = numbered.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    drop((stream, first));
    let second = gateway_in(dir.path(), spec()).await;
    let answer = post(&call(5, "slow")).with("mcp-session-id", &id).send(&second).await;
    assert_eq!(answer.status(), 200, "the id of a request that was under way before is free");
    drop(answer);
    let mut news = get().with("mcp-session-id", &id).with("last-event-id", &number).send(&second).await;
    let mut told = piece(&mut news).await;
    assert!(told.contains("notifications/tools/list_changed") && !told.contains("prompts/"), "{told}");
    // What came into a stream of this life is for nobody who asks for one of the other.
    let go = post(&call(6, "go")).with("mcp-session-id", &id).send(&second).await;
    assert!(whole(go).await.contains(r#""id":6"#));
    let mut again = get().with("mcp-session-id", &id).with("last-event-id", &number).send(&second).await;
    told.push_str(&piece(&mut again).await);
    assert!(!told.contains("late"), "{told}");
    let streams = told.lines().filter_map(|line| line.strip_prefix("id: ")?.split_once('-'));
    assert!(streams.into_iter().all(|(stream, _)| stream.parse::<u64>().unwrap() >= 1 << 24), "{told}");
    // Each is for its own address.
    assert_eq!(status(&second, ping(&of_clock)).await, 404);
    assert_eq!(status(&second, ping(&of_clock).at("/mcp/calc")).await, 404);
    assert_eq!(status(&second, ping(&of_clock).at("/mcp/my%20clock")).await, 200);
    let gone = ping(&of_clock).send(&second).await;
    let unknown = ping("unknown").send(&second).await;
    assert_eq!(whole(gone).await, whole(unknown).await, "nobody learns that it is good elsewhere");
    assert_eq!(second.turns.len(), 0);
}

#[tokio::test]
async fn what_has_ended_stays_so_in_every_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway_in(dir.path(), spec()).await;
    let ids = [begin(&first, "2025-06-18").await, begin(&first, "2025-06-18").await, begin(&first, "2025-06-18").await];
    assert_eq!(status(&first, delete(&ids[0])).await, 200);
    assert_eq!(status(&first, die(&ids[1])).await, 502);
    assert_eq!(status(&first, ping(&ids[1])).await, 404, "the pipe has ended it");
    let second = gateway_in(dir.path(), spec()).await;
    // An id that nobody has used yet in this process can be ended all the same, once.
    assert_eq!(status(&second, delete(&ids[2]).at("/mcp/calc")).await, 404);
    assert_eq!(status(&second, delete(&ids[2])).await, 200);
    assert_eq!(status(&second, delete(&ids[2])).await, 404);
    let third = gateway_in(dir.path(), spec()).await;
    for gateway in [&second, &third] {
        for id in &ids {
            assert_eq!(status(gateway, ping(id)).await, 404);
        }
        assert_eq!(gateway.sessions.len(), 0);
    }
}

#[tokio::test]
async fn a_session_that_nobody_uses_here_may_come_back_from_a_replica_that_has_the_key() {
    for (session_key, want) in [(None, 404), (Some(SessionKey([1; SessionKey::LENGTH])), 200)] {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway_in(dir.path(), GatewaySpec { session_key, ..spec() }).await;
        let id = begin(&gateway, "2025-06-18").await;
        let late = Instant::now() + Duration::from_secs(61);
        gateway.sessions.sweep(Duration::from_secs(60), late);
        assert_eq!(gateway.sessions.len(), 0);
        gateway.survival.kept.written().await;
        assert_eq!(status(&gateway, ping(&id)).await, want);
        assert_eq!(status(&gateway, delete(&id)).await, want);
        assert_eq!(status(&gateway, ping(&id)).await, 404);
    }
}

#[tokio::test]
async fn who_stops_mcp_pipe_ends_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway_in(dir.path(), spec()).await;
    let id = begin(&first, "2025-06-18").await;
    first.survival.stopping.cancel();
    // The pipe ends its conversations at a stop.
    assert_eq!(status(&first, die(&id)).await, 502);
    first.sweep();
    assert_eq!(first.sessions.len(), 0);
    let second = gateway_in(dir.path(), spec()).await;
    assert_eq!(status(&second, ping(&id)).await, 200);
}

#[tokio::test]
async fn requests_that_come_at_once_make_one_session_and_there_are_only_so_many_places() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway_in(dir.path(), GatewaySpec { max_sessions: 10, ..spec() }).await;
    let (id, other) = (begin(&first, "2025-06-18").await, begin(&first, "2025-06-18").await);
    let second = gateway_in(dir.path(), GatewaySpec { max_sessions: 1, ..spec() }).await;
    let asked = (0..20).map(|n| {
        let (gateway, id) = (second.clone(), id.clone());
        let message = json!({"jsonrpc": "2.0", "id": n, "method": "ping"});
        tokio::spawn(async move { status(&gateway, post(&message).with("mcp-session-id", &id)).await })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!((second.sessions.len(), second.turns.len()), (1, 0));
    let refused = ping(&other).send(&second).await;
    assert_eq!((refused.status().as_u16(), &*of(&refused, "retry-after")), (503, "5"));
    assert_eq!(status(&second, delete(&id)).await, 200);
    assert_eq!(status(&second, ping(&other)).await, 200, "it was only to wait");
    // One who goes away meanwhile leaves nothing behind.
    let third = gateway_in(dir.path(), spec()).await;
    let mut asking = Box::pin(ping(&other).send(&third));
    assert!(poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await);
    drop(asking);
    assert_eq!(third.turns.len(), 0);
    assert_eq!(status(&third, ping(&other)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_a_day_whatever_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway_in(dir.path(), spec()).await;
    let (id, other) = (begin(&gateway, "2025-06-18").await, begin(&gateway, "2025-06-18").await);
    let stream = get().with("mcp-session-id", &id).send(&gateway).await;
    let stream_of_other = get().with("mcp-session-id", &other).send(&gateway).await;
    advance(Duration::from_secs(24 * 3600 - 1)).await;
    gateway.sweep();
    assert_eq!(gateway.sessions.len(), 2);
    assert_eq!(status(&gateway, ping(&id)).await, 200);
    advance(Duration::from_secs(1)).await;
    assert_eq!(status(&gateway, ping(&id)).await, 404, "at once");
    gateway.sweep();
    assert_eq!(gateway.sessions.len(), 0);
    for stream in [stream, stream_of_other] {
        whole(stream).await;
    }
    // Whatever the other clock says.
    tokio::time::resume();
    gateway.survival.kept.written().await;
    let second = gateway_in(dir.path(), spec()).await;
    assert_eq!((status(&second, ping(&id)).await, status(&second, ping(&other)).await), (404, 404));
}

#[tokio::test]
async fn an_id_is_good_for_its_key_as_long_as_that_is_the_same_text() {
    let dir = tempfile::tempdir().unwrap();
    let spec = || GatewaySpec { api_keys: keys(), max_sessions: 10, ..spec() };
    let with = |ask: Ask, name: &str| ask.with("authorization", &format!("Bearer key-of-{name}-0123456"));
    let first = gateway_in(dir.path(), spec()).await;
    let answer = with(post(&initialize("2025-06-18")), "all").send(&first).await;
    let id = of(&answer, "mcp-session-id");
    let second = gateway_in(dir.path(), spec()).await;
    for other in ["path", "calc"] {
        assert_eq!(status(&second, with(ping(&id), other)).await, 404, "{other}");
        assert_eq!(status(&second, with(delete(&id), other)).await, 404, "{other}");
    }
    assert_eq!(status(&second, ping(&id)).await, 401);
    let mut changed = spec();
    changed.api_keys[1].hash = sha256("key-of-new-0123456");
    let third = gateway_in(dir.path(), changed).await;
    assert_eq!(status(&third, with(ping(&id), "new")).await, 404, "another key of the same name");
    let open = gateway_in(dir.path(), GatewaySpec { api_keys: Vec::new(), ..spec() }).await;
    assert_eq!(status(&open, ping(&id)).await, 404);
    assert_eq!(status(&second, with(ping(&id), "all")).await, 200);
}

#[tokio::test]
async fn without_the_key_or_by_a_client_that_says_too_much_a_session_is_this_process_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = gateway_in(dir.path(), spec()).await;
    let id = begin(&first, "2025-06-18").await;
    let mut hello: Value = initialize("2025-06-18");
    hello["params"]["capabilities"] = json!({"experimental": {"x": "x".repeat(4000)}});
    let answer = post(&hello).send(&first).await;
    let long = of(&answer, "mcp-session-id");
    assert!(long.len() < 64, "{long}");
    assert_eq!(status(&first, ping(&long)).await, 200);
    let second = gateway_in(dir.path(), spec()).await;
    assert_eq!((status(&second, ping(&long)).await, status(&second, ping(&id)).await), (404, 200));
    let entries = fs::read_dir(dir.path().join("mcp-pipe-state")).unwrap().map(|entry| entry.unwrap().path());
    let key = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "key")).unwrap();
    fs::remove_file(key).unwrap();
    let third = gateway_in(dir.path(), spec()).await;
    assert_eq!((status(&second, ping(&id)).await, status(&third, ping(&id)).await), (200, 404));
}
