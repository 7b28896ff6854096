//! HTTP+SSE without a socket, in front of a pipe that is played.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::super::tests::{Ask, call, gateway_of, get, initialize, of, piece, post, spec, whole};
use super::*;
use crate::config::GatewaySpec;

fn gateway() -> Arc<Gateway> {
    gateway_of(GatewaySpec { sse: true, ..spec() })
}

/// A stream, and the address that its first event has.
async fn begin(gateway: &Gateway, path: &'static str) -> (Answer, String) {
    let mut stream = get().at(path).send(gateway).await;
    assert_eq!((stream.status().as_u16(), &*of(&stream, "content-type")), (200, "text/event-stream"));
    let first = piece(&mut stream).await;
    let address = first.strip_prefix("event: endpoint\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
    (stream, address.to_owned())
}

fn to(address: &str, message: &serde_json::Value) -> Ask {
    post(message).at(format!("/{}", address.trim_start_matches("../")).leak())
}

#[tokio::test]
async fn everything_of_a_session_comes_on_its_stream() {
    let gateway = gateway();
    for (path, seen) in [("/sse", "calc+my clock"), ("/sse/my%20clock", "my clock")] {
        let (mut stream, address) = begin(&gateway, path).await;
        let answer = to(&address, &initialize("2024-11-05")).send(&gateway).await;
        assert_eq!((answer.status().as_u16(), whole(answer).await), (202, "Accepted\n".to_owned()));
        let said = piece(&mut stream).await;
        assert!(
            said.starts_with("event: message\ndata: {") && said.contains(&format!("\"seen\":\"{seen}\"")),
            "{said}"
        );
        to(&address, &call(1, "ask")).send(&gateway).await;
        let mut said = String::new();
        while !said.contains("elicitation/create") {
            said += &piece(&mut stream).await;
        }
        assert!(said.contains("notifications/progress"), "{said}");
        to(&address, &json!({"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}})).send(&gateway).await;
        assert!(piece(&mut stream).await.contains("\"told\":{\"action\":\"accept\"}"));
        to(&address, &call(2, "change")).send(&gateway).await;
        assert!(piece(&mut stream).await.contains("list_changed"));
    }
}

#[tokio::test]
async fn the_request_id_of_a_post_goes_on_with_its_message() {
    let gateway = gateway();
    let (mut stream, address) = begin(&gateway, "/sse").await;
    let answer = to(&address, &call(1, "meta")).with("x-request-id", "r-1").send(&gateway).await;
    assert_eq!((answer.status().as_u16(), &*of(&answer, "x-request-id")), (202, "r-1"));
    assert!(piece(&mut stream).await.contains(r#""meta":{"mcp-pipe/requestId":"r-1","progressToken":1}"#));
}

#[tokio::test]
async fn the_session_ends_with_its_stream_and_the_stream_with_the_conversation() {
    let gateway = gateway();
    gateway.status.set_gateway(Some("http://localhost/mcp".to_owned()));
    let clients_told = || gateway.status.read().gateway.unwrap().clients;
    let (stream, address) = begin(&gateway, "/sse").await;
    assert_eq!(clients_told(), 1);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(to(&address, &ping).send(&gateway).await.status(), 202);
    drop(stream);
    assert_eq!(to(&address, &ping).send(&gateway).await.status(), 404);
    let (stream, address) = begin(&gateway, "/sse").await;
    assert_eq!(to(&address, &call(1, "die")).send(&gateway).await.status(), 202);
    assert_eq!(whole(stream).await, "");
    assert_eq!(to(&address, &ping).send(&gateway).await.status(), 404);
    assert_eq!((gateway.sse.len(), clients_told()), (0, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_told_by_its_status() {
    let gateway = gateway();
    let (_stream, address) = begin(&gateway, "/sse").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let says = |body: &str| Ask { body: body.to_owned(), ..to(&address, &ping) };
    let id = address.split_once('=').unwrap().1;
    for (at, (status, ask)) in [
        (202, to(&address, &ping)),
        (202, to(&format!("messages?x=y&sessionId={id}"), &ping)),
        (400, to("messages", &ping)),
        (400, to("messages?sessionId=", &ping)),
        (400, to("messages?session_id=x", &ping)),
        (400, to(&format!("{address}&sessionId={id}"), &ping)),
        (404, to("messages?sessionId=unknown", &ping)),
        (400, says("")),
        (400, says("{")),
        (400, says("[]")),
        (400, says(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#)),
        (400, says(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#)),
        (400, says(r#"{"jsonrpc":"2.0","id":1}"#)),
        (413, says(&format!("\"{}\"", "x".repeat(100_000)))),
        (415, to(&address, &ping).with("content-type", "text/plain")),
        (405, to(&address, &ping).by("GET")),
        (405, get().at("/sse").by("POST")),
        (403, to(&address, &ping).with("origin", "http://evil.example")),
        (403, get().at("/sse").with("host", "evil.example")),
        (404, get().at("/sse/Calc")),
        // Not an id of the other transport, nor the other way round.
        (404, post(&ping).with("mcp-session-id", id)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(ask.send(&gateway).await.status(), status, "row {at}");
    }
    let mut streams = Vec::new();
    for _ in 1..spec().max_sessions {
        streams.push(begin(&gateway, "/sse").await);
    }
    assert_eq!(get().at("/sse").send(&gateway).await.status(), 503, "no more than may be");
    assert_eq!(post(&initialize("2025-06-18")).send(&gateway).await.status(), 503, "whichever the transport");
}

#[tokio::test]
async fn it_is_offered_only_where_the_config_says_so() {
    let gateway = gateway_of(spec());
    for path in ["/sse", "/sse/calc", "/messages?sessionId=x"] {
        assert_eq!(get().at(path).send(&gateway).await.status(), 404, "{path}");
    }
    assert!(!whole(get().at("/").send(&gateway).await).await.contains("/sse"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_say_has_a_comment_now_and_then() {
    let gateway = gateway();
    let (mut stream, _) = begin(&gateway, "/sse").await;
    let begun = Instant::now();
    let mut waited =
        async || tokio::time::timeout(Duration::from_secs(60), http_body_util::BodyExt::frame(stream.body_mut())).await;
    for round in 1..=3 {
        let frame = waited().await.unwrap().unwrap().unwrap().into_data().unwrap();
        assert_eq!((&*frame, begun.elapsed().as_secs()), (&b": still here\n\n"[..], 15 * round));
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let gateway = gateway();
    let (stream, address) = begin(&gateway, "/sse").await;
    let long = json!({"jsonrpc": "2.0", "id": "x".repeat(50_000), "method": "ping"});
    let mut told = 0;
    while to(&address, &long).send(&gateway).await.status() == 202 && told < 1000 {
        told += 1;
        tokio::task::yield_now().await;
    }
    // What was there is read, and nothing else.
    let said = whole(stream).await;
    assert!(said.len() < 3 << 20, "{}", said.len());
    assert_eq!(gateway.sse.len(), 0);
}

#[test]
fn the_address_for_messages_is_told_so_that_what_a_proxy_puts_before_it_stays() {
    for (path, want) in [
        ("/sse", "messages?sessionId=x"),
        ("/sse/", "../messages?sessionId=x"),
        ("/sse/calc", "../messages?sessionId=x"),
        ("/sse/calc/", "../../messages?sessionId=x"),
    ] {
        assert_eq!(address(path, "x"), want, "{path}");
        for prefix in ["", "/pipe", "/a/b"] {
            // RFC 3986 section 5.2, as far as it is needed here.
            let mut base: Vec<&str> = path.split('/').collect();
            base.pop();
            let mut rest = want;
            while let Some(above) = rest.strip_prefix("../") {
                (rest, _) = (above, base.pop());
            }
            assert_eq!(format!("{prefix}{}/{rest}", base.join("/")), format!("{prefix}/messages?sessionId=x"));
        }
    }
}
