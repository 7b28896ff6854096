//! What is measured: processes that are started, dial our endpoint, and end with their [`Running`].

use std::fs::File;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::accept_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::echo::Trouble;
use crate::exchange::Exchange;
use crate::{echo, pump};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The child alone.
    Pipe,
    /// See [`crate::pump`].
    Plain,
    McpPipe,
}

impl Contender {
    /// In the order of the table's columns.
    pub(crate) const ALL: [Contender; 3] = [Contender::Pipe, Contender::Plain, Contender::McpPipe];
}

/// The files that contenders need.
pub(crate) struct Bench {
    binary: PathBuf,
    dir: TempDir,
    echo: PathBuf,
    pump: PathBuf,
}

/// A contender whose servers have all answered.
pub(crate) struct Running {
    pub(crate) exchanges: Vec<Exchange>,
    process: Option<Child>,
    /// From its start to the first answer of the last server; to the last connection if nothing was asked yet.
    pub(crate) ready: Duration,
}

impl Bench {
    pub(crate) fn new(binary: PathBuf) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Copies of this program: processes of the same file share memory, which would flatter the pump's.
        let copy = |name: &str| {
            let to = dir.path().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            std::fs::copy(std::env::current_exe().unwrap(), &to).unwrap();
            to
        };
        let (echo, pump) = (copy("echo"), copy("pump"));
        Bench { binary, dir, echo, pump }
    }

    pub(crate) fn start(&self, contender: Contender, servers: usize) -> Running {
        let began = Instant::now();
        if contender == Contender::Pipe {
            let exchanges = (0..servers).map(|_| self.pipe()).collect();
            return Running { exchanges, process: None, ready: began.elapsed() }.initialized(began);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let began = Instant::now();
        let process = if contender == Contender::Plain {
            Command::new(&self.pump)
                .args([pump::FLAG, &address, self.echo.to_str().unwrap(), &servers.to_string()])
                .spawn()
                .unwrap()
        } else {
            self.mcp_pipe(&json!({"mcpServers": self.servers(servers)}), &address)
        };
        self.dialled(process, &listener, servers, began).initialized(began)
    }

    /// The entries of so many echo servers.
    pub(crate) fn servers(&self, count: usize) -> Map<String, Value> {
        let server = |n: usize| json!({"command": self.echo, "args": [echo::FLAG, n.to_string()]});
        (0..count).map(|n| (format!("s{n}"), server(n))).collect()
    }

    /// The entry of one that gets into trouble at each call, and begins a diary of that.
    pub(crate) fn troubled(&self, trouble: Trouble) -> Value {
        let diary = self.file("diary");
        File::create(&diary).unwrap();
        json!({"command": self.echo, "args": [echo::FLAG, "bad", format!("{trouble:?}"), diary]})
    }

    /// What servers in trouble have noted: processes and moments.
    pub(crate) fn diary(&self) -> Vec<(u32, Duration)> {
        let diary = std::fs::read_to_string(self.file("diary")).unwrap();
        let noted = |line: &str| {
            let (process, moment) = line.split_once(' ').unwrap();
            (process.parse().unwrap(), Duration::from_micros(moment.parse().unwrap()))
        };
        diary.lines().map(noted).collect()
    }

    /// One that gets into trouble at each call, under nobody but us.
    pub(crate) fn alone(&self, trouble: Trouble) -> Command {
        let mut command = Command::new(&self.echo);
        command.args([echo::FLAG, "bad", &format!("{trouble:?}")]).arg(self.file("other-diary"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A file that is gone with the bench.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// mcp-pipe with this config, once it has dialled so often. Nothing is said yet.
    pub(crate) fn start_with(&self, config: &Value, connections: usize) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let process = self.mcp_pipe(config, &listener.local_addr().unwrap().to_string());
        self.dialled(process, &listener, connections, began)
    }

    fn dialled(&self, process: Child, listener: &TcpListener, connections: usize, began: Instant) -> Running {
        let mut running = Running { exchanges: Vec::new(), process: Some(process), ready: Duration::ZERO };
        for n in 0..connections {
            let Some(exchange) = socket(listener) else {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                panic!("{n} of {connections} connections came; mcp-pipe said: {log}");
            };
            running.exchanges.push(exchange);
        }
        running.ready = began.elapsed();
        running
    }

    fn mcp_pipe(&self, config: &Value, address: &str) -> Child {
        std::fs::write(self.config(), config.to_string()).unwrap();
        Command::new(&self.binary)
            .arg("--config")
            .arg(self.config())
            .current_dir(self.dir.path())
            .env("MCP_ENDPOINT", format!("ws://{address}/"))
            .env("MCP_CACHE_DIR", self.cache())
            .stdin(Stdio::null())
            .stderr(File::create(self.log()).unwrap())
            .spawn()
            .unwrap()
    }

    /// How long a shell waits for the tools of a server of the last config, once they are remembered.
    pub(crate) fn completion(&self) -> Duration {
        let start = Instant::now();
        loop {
            let began = Instant::now();
            let told = Command::new(&self.binary)
                .args(["__complete", "fish", "call", "s0", ""])
                .current_dir(self.dir.path())
                .env("MCP_CONFIG", self.config())
                .env("MCP_CACHE_DIR", self.cache())
                .output()
                .unwrap();
            let took = began.elapsed();
            if String::from_utf8_lossy(&told.stdout).contains("look_0") {
                return took;
            }
            assert!(start.elapsed() < PATIENCE, "no tool is remembered: {told:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// What mcp-pipe says, for when it does not dial.
    fn log(&self) -> PathBuf {
        self.file("mcp-pipe.log")
    }

    fn config(&self) -> PathBuf {
        self.file("mcp_config.json")
    }

    fn cache(&self) -> PathBuf {
        self.file("cache")
    }

    /// As if mcp-pipe had never run here.
    pub(crate) fn forget(&self) {
        if let Err(error) = std::fs::remove_dir_all(self.cache()) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }

    fn pipe(&self) -> Exchange {
        let mut child =
            Command::new(&self.echo).arg(echo::FLAG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Exchange::Pipe { stdin, stdout: BufReader::with_capacity(64 * 1024, stdout), waiting: Vec::new(), child }
    }
}

/// The next connection. Gives up when nobody dials: blocking for ever would hide a contender that can't start.
fn socket(listener: &TcpListener) -> Option<Exchange> {
    listener.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let tcp = loop {
        match listener.accept() {
            Ok((tcp, _)) => break tcp,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                sleep(Duration::from_micros(200));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
    };
    tcp.set_nonblocking(false).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    // As much at once as a pipe holds, and no limits of our own.
    let config = WebSocketConfig::default().read_buffer_size(64 * 1024).max_message_size(None).max_frame_size(None);
    Some(Exchange::Socket(Box::new(accept_with_config(tcp, Some(config)).unwrap())))
}

impl Running {
    fn initialized(mut self, began: Instant) -> Self {
        self.exchanges.iter_mut().for_each(Exchange::initialize);
        self.ready = began.elapsed();
        self
    }

    /// The contender's own process; a bare pipe has none.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }
}

impl Drop for Running {
    /// The children see their stdin end.
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
