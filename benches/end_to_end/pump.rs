//! The baseline: what the job takes on tokio and tokio-tungstenite written plainly. No JSON is read, nothing is
//! supervised, nothing reconnects.
//!
//! Arguments: the endpoint, the child's program, how many of them.

use std::process::Stdio;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::echo;

pub(crate) const FLAG: &str = "--plain-pump";

pub(crate) fn main(args: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [address, child, count] = args else { panic!("address, child, count") };
    runtime.block_on(async {
        let mut pumps = tokio::task::JoinSet::new();
        for _ in 0..count.parse().unwrap() {
            pumps.spawn(pump(address.clone(), child.clone()));
        }
        pumps.join_all().await;
    });
}

async fn pump(address: String, child: String) {
    let mut child = Command::new(child)
        .arg(echo::FLAG)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let tcp = TcpStream::connect(&address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (socket, _) = client_async(format!("ws://{address}/"), tcp).await.unwrap();
    let (mut to_endpoint, mut from_endpoint) = socket.split();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::with_capacity(64 * 1024, child.stdout.take().unwrap()).lines();
    let down = async {
        while let Some(Ok(message)) = from_endpoint.next().await {
            if let Message::Text(text) = message {
                stdin.write_all(&[text.as_bytes(), b"\n"].concat()).await.unwrap();
            }
        }
    };
    let up = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if to_endpoint.send(Message::text(line)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
    }
}
