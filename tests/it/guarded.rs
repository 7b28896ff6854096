//! A program with a guard and some children, to be ended with `kill -9`.
//!
//!     guarded PROGRAM [ARG…] [-- PROGRAM [ARG…]]…
//!
//! Prints the process id of each child on a line of its own once it runs, then goes on for ever.

use std::future::poll_fn;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mcp_pipe::config::{Bounds, CommandSpec, Handshake, Instances, LimitsSpec, LinkSpec, Reach, ServerSpec, Sharing};
use mcp_pipe::process::guard::Guard;
use mcp_pipe::secrecy::Redactor;
use mcp_pipe::server::{Server, ServerEvent};

fn main() -> io::Result<()> {
    let guard = Guard::start()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut servers: Vec<Server> = args
        .split(|arg| arg == "--")
        .filter(|command| !command.is_empty())
        .enumerate()
        .map(|(n, command)| Server::new(Arc::new(spec(n, command)), guard.clone(), Redactor::default(), None))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(poll_fn(|cx| {
        for server in &mut servers {
            let mut up = false;
            let _ = server.poll(cx, tokio::time::Instant::now(), true, &mut |event| {
                up |= matches!(event, ServerEvent::Up { .. });
                ControlFlow::Continue(())
            });
            if let (true, Some(pid)) = (up, server.pid()) {
                writeln!(io::stdout(), "{pid}")?;
            }
        }
        Poll::Pending
    }))
}

fn spec(n: usize, command: &[String]) -> ServerSpec {
    ServerSpec {
        log_file: None,
        name: format!("server{n}").into(),
        reach: Reach::Command(CommandSpec {
            program: command[0].clone(),
            args: command[1..].to_vec(),
            env: Vec::new(),
            env_remove: Vec::new(),
            cwd: None,
            limits: LimitsSpec::default(),
        }),
        endpoint: None,
        link: Arc::new(LinkSpec {
            headers: Vec::new(),
            subprotocol: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(1),
            max_backoff: Duration::from_secs(1),
            epoch: None,
        }),
        hello: None,
        handshake: Handshake::Answer,
        passes_pings: false,
        era: None,
        start_timeout: Duration::from_secs(1),
        sharing: Sharing::default(),
        pin: false,
        keep_listed: true,
        instances: Instances::Shared,
        health_check: None,
        bounds: Bounds::default(),
        tools: Arc::default(),
        max_frame: 1 << 20,
    }
}
