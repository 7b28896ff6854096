//! `mcp-pipe test`: checks of servers, through whole pipes, for whoever writes them.
//!
//! # Theory of operation
//!
//! The servers are started as `tools` and `call` start them, each on an address of its own at the local endpoint, and examined at the
//! same time. What a check asks goes the way of every request: local endpoint → link → router → server. What cannot be seen from the endpoint
//! (how long `initialize` took, whether an answer came twice) is taken from the tap, and what a pipe knows of a server's process and
//! habits from its status. A check judges by answers and by what ended, not by times, but for `initialize`, for which endpoints
//! have a limit.
//!
//! A server that writes what it should not is tested as it is: what the config makes of its tools is left out here.

mod check;
mod examinee;
mod offer;
mod protocol;
mod record;
mod report;
mod schema;
mod smoke;

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use self::check::{Check, Examined, in_order};
pub(crate) use self::check::{Mark, Suite};
use self::examinee::{Examinee, Watched};
pub(crate) use self::offer::{names, schemas};
use crate::config::{Config, Instances, Mode, ServerSpec};
use crate::control::orders::{Order, Orders};
use crate::control::status::Status;
use crate::control::tap::Wish;
use crate::inspect::{Form, InspectError, Waiting, at_local_endpoint, catalogue, write};
use crate::local::Client;
use crate::process::stop::Stop;

/// Longest time for all checks of a server once it has started: some more than each of them may take where only one finds the server silent.
const CHECKS: Duration = Duration::from_mins(4);

/// What the checks need besides the config.
pub(crate) struct Exam<'a> {
    pub(crate) suite: Suite,
    pub(crate) form: Form,
    pub(crate) status: &'a Status,
    pub(crate) orders: &'a Orders,
}

impl Exam<'_> {
    /// Makes the checks of all servers of `config`, and prints what came of them. Returns whether all is well.
    ///
    /// `serve` runs the pipes until the stop; everything is printed before the servers are stopped.
    ///
    /// # Errors
    /// As [`InspectError`] says: none about a server, which are checks that fail.
    pub(crate) async fn run(
        self,
        mut config: Config,
        stop: Stop,
        serve: impl AsyncFnOnce(Config, Stop),
        out: &mut dyn Write,
    ) -> Result<bool, InspectError> {
        config.tool_budget = usize::MAX;
        config.servers.iter_mut().for_each(as_it_is);
        let (wanted, left_out) = (config.servers.clone(), config.left_out.disabled.clone());
        at_local_endpoint(config, &stop, serve, async |client| {
            let watched = Watched::by(self.status.tap().watch(Wish { pattern: None, contents: true }));
            let waiting = Waiting::default();
            let each = wanted.iter().map(|spec| self.examine(spec, &client, &watched, &waiting));
            let all = async {
                tokio::select! {
                    all = join_all(each) => all,
                    never = watched.follow() => match never {},
                }
            };
            let mut all = waiting.during(all, self.status).await;
            all.extend(left_out.iter().map(|name| {
                let disabled = "it is disabled in the config";
                Examined { name: name.clone(), checks: in_order(self.suite, Vec::new(), disabled) }
            }));
            let redactor = self.status.redactor();
            let text = match self.form {
                Form::Json => report::as_json(&all, redactor),
                Form::Table { width, colour } => report::render(&all, (width, colour), redactor),
            };
            write(out, &text)?;
            Ok(!all.iter().any(Examined::has_failed))
        })
        .await
    }

    /// Makes the checks of one server.
    async fn examine(&self, spec: &ServerSpec, client: &Client, watched: &Watched, waiting: &Waiting) -> Examined {
        let it = Examinee { spec, client, status: self.status, orders: self.orders, watched };
        let start = catalogue(client, self.status, waiting, spec).await;
        let start = start.as_ref().map(|_| ());
        let made = RefCell::new(vec![smoke::initialize(&it, start)]);
        let welcome = it.welcome().map(|(welcome, _)| welcome).filter(|welcome| !welcome.is_null());
        let because = match (start, welcome) {
            (Ok(()), Some(welcome)) => {
                let _over = waiting.begin_checks(it.name(), CHECKS);
                match timeout(CHECKS, self.checks(&it, &welcome, &made)).await {
                    Ok(()) => "it was not made".to_owned(),
                    Err(_) => {
                        let what = format!("the checks were not done after {} s", CHECKS.as_secs());
                        made.borrow_mut().push(Check::fail(self.next(&made), what, "answer each request in time"));
                        "there was no time left".to_owned()
                    }
                }
            }
            (Err(error), Some(_)) => {
                let remedy = "answer tools/list with a list, or with the error -32601 where there are no tools";
                made.borrow_mut().push(Check::fail("tools", error.to_string(), remedy));
                "its tools could not be read".to_owned()
            }
            (_, None) => "it does not answer initialize".to_owned(),
        };
        made.borrow_mut().extend(smoke::stdout(&it));
        // What does not come up is not to be started again and again while others are examined.
        let _stopping = self.orders.give(Order::Stop { name: it.name().to_owned() }).await;
        Examined { name: it.name().to_owned(), checks: in_order(self.suite, made.take(), &because) }
    }

    async fn checks(&self, it: &Examinee<'_>, welcome: &Value, made: &RefCell<Vec<Check>>) {
        let tools = smoke::all(it, welcome, made).await;
        if self.suite == Suite::Protocol {
            protocol::all(it, tools.as_deref(), made).await;
        }
    }

    /// The first check that was not made yet.
    fn next(&self, made: &RefCell<Vec<Check>>) -> &'static str {
        let made = made.borrow();
        let is_open = |id: &&str| *id != "stdout" && !made.iter().any(|check| check.id == *id);
        self.suite.checks().into_iter().find(is_open).unwrap_or("stop")
    }
}

/// A server as it is by itself, in one process, and alone on its connection.
fn as_it_is(server: &mut ServerSpec) {
    server.tools = Arc::default();
    server.sharing.mode = Mode::PerServer;
    server.instances = Instances::Shared;
    server.passes_pings = true;
}
