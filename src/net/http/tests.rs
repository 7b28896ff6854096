//! The client against sockets that answer as they are told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use futures_util::future::poll_fn;

use super::*;
use crate::net::error::DialError;

/// What a connection gets for each request that it reads; nothing: it is closed, with what has come unread.
type Answers = Vec<Vec<&'static str>>;

/// Serves one connection after the other, each with its own answers. Returns the port, and each request head with the number of its
/// connection.
fn serve(connections: Answers) -> (u16, mpsc::Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heads) = mpsc::channel();
    thread::spawn(move || {
        for (number, answers) in connections.into_iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            let told = told.clone();
            thread::spawn(move || {
                for answer in answers {
                    let Some(head) = read_request(&mut stream) else { return };
                    told.send((number, head)).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (port, heads)
}

/// A request's head, once its body has been read.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).map_or(0, |l| l.split("\r\n").next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; length]).unwrap();
    Some(head)
}

fn client(port: u16) -> (Client, RemoteUrl) {
    let url: RemoteUrl = format!("http://127.0.0.1:{port}/mcp?k=1").parse().unwrap();
    (Client::new(&url, TlsSpec::default(), Duration::from_secs(5)), url)
}

fn post(url: &RemoteUrl) -> Call {
    Call { method: Method::POST, url: url.clone(), headers: HeaderMap::new(), body: Bytes::from_static(b"{}") }
}

async fn body(mut reply: Reply) -> Result<String, HttpError> {
    let mut text = Vec::new();
    while let Some(chunk) = poll_fn(|cx| reply.poll_chunk(cx)).await {
        text.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(text).unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_whose_reply_has_ended_serves_the_next_request() {
    let (port, heads) = serve(vec![vec![OK, OK]]);
    let (client, url) = client(port);
    for _ in 0..2 {
        let reply = client.send(post(&url)).await.unwrap();
        assert_eq!((reply.status.as_u16(), body(reply).await.unwrap()), (200, "ok".to_owned()));
        let (number, head) = heads.recv().unwrap();
        assert_eq!(number, 0);
        assert!(
            head.starts_with("post /mcp?k=1 http/1.1\r\n") && head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n"))
        );
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing_and_no_request_is_written_twice() {
    let (port, heads) = serve(vec![vec![OK], vec![OK]]);
    let (client, url) = client(port);
    assert_eq!(body(client.send(post(&url)).await.unwrap()).await.unwrap(), "ok");
    // The first connection is closed by now, or is about to be.
    let again = client.send(post(&url)).await;
    let seen: Vec<usize> = heads.try_iter().map(|(number, _)| number).collect();
    match again {
        Ok(reply) => assert_eq!((body(reply).await.unwrap().as_str(), seen), ("ok", vec![0, 1])),
        // The request was on its way when the end came: the server may have read it.
        Err(error) => assert!(!error.is_unsent(), "{error}"),
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, url) = client(listener.local_addr().unwrap().port());
    let (told, ended) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        told.send(read_request(&mut stream)).unwrap();
    });
    assert_eq!(body(client.send(post(&url)).await.unwrap()).await.unwrap(), "ok");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(ended.try_recv().is_err(), "a moment later it is still there");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(None));
}

#[tokio::test]
async fn a_reply_that_is_dropped_closes_its_connection() {
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: a\n\n";
    let (port, heads) = serve(vec![vec![ENDLESS, OK], vec![OK]]);
    let (client, url) = client(port);
    let mut reply = client.send(post(&url)).await.unwrap();
    let first = poll_fn(|cx| reply.poll_chunk(cx)).await.unwrap().unwrap();
    assert_eq!(first, "data: a\n\n", "it does not wait for the end");
    drop(reply);
    assert_eq!(body(client.send(post(&url)).await.unwrap()).await.unwrap(), "ok");
    assert_eq!(heads.iter().take(2).map(|(number, _)| number).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_whether_the_server_may_have_acted() {
    let rows: &[(&[&str], &str)] = &[
        (&["HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok"], "lost in the middle of the answer"),
        (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"], "lost in the middle of the answer"),
        (&[""], "without an answer"),
        (&["SSH-2.0-OpenSSH_9.9\r\n\r\n"], "does not speak HTTP"),
    ];
    for (answers, want) in rows {
        let (port, _heads) = serve(vec![answers.to_vec()]);
        let (client, url) = client(port);
        let error = match client.send(post(&url)).await {
            Ok(reply) => body(reply).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(want) && !error.is_unsent(), "{error}");
    }
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let (port, _heads) = serve(vec![vec![head.leak()]]);
    let (client, url) = client(port);
    let error = client.send(post(&url)).await.unwrap_err().to_string();
    assert!(error.contains("the head of its answer is too large"), "{error}");
}

#[tokio::test]
async fn nobody_listens_or_the_address_is_elsewhere_and_nothing_is_sent() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (client, url) = client(port);
    let error = client.send(post(&url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Dial(DialError::Refused { .. })) && error.is_unsent(), "{error}");
    let other: RemoteUrl = "http://127.0.0.1:1/mcp".parse().unwrap();
    assert!(matches!(client.send(post(&other)).await, Err(HttpError::Elsewhere)));
}
