//! What a running mcp-pipe is told to do, and the one channel on which it is told: by signals and on the control socket.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::sessions::ClientSession;
use crate::guest::Visitor;
use crate::router::TurnCommand;
use crate::server::wanted::ServerCommand;
use crate::words::{closest, listed};

/// Most orders that nobody has looked at yet. Each is looked at at once, and a person is slower.
const UNREAD: usize = 16;
/// Most names that are listed where a name is unknown.
const NAMES: usize = 20;

/// What a client orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase")]
pub(crate) enum Order {
    /// The server is to run and to take calls.
    Start {
        /// Its name.
        name: String,
    },
    /// The same, said of a paused server.
    Resume {
        /// Its name.
        name: String,
    },
    /// The server is to run in another process; or its connection, or an endpoint's, is to be made anew now.
    Restart {
        /// The server's name; or what an endpoint is called.
        name: String,
        /// Not the server but its connection.
        #[serde(default)]
        connection: bool,
    },
    /// The server is to run and to take no calls.
    Pause {
        /// Its name.
        name: String,
    },
    /// The server is to run no longer.
    Stop {
        /// Its name.
        name: String,
    },
    /// What the server has failed at is to count no more.
    Reset {
        /// Its name.
        name: String,
    },
    /// The server's turn is to begin, and not to end.
    Pin {
        /// Its name.
        name: String,
        /// Its turn is to end like others again.
        #[serde(default)]
        off: bool,
    },
    /// The config is to be read again.
    Reload,
    /// A client's session at the gateway is to end.
    EndSession {
        /// What it is called; all without.
        #[serde(default)]
        name: Option<String>,
    },
    /// The next server's turn is to begin.
    Next {
        /// On this endpoint; on all without.
        #[serde(default)]
        endpoint: Option<String>,
    },
}

/// An order that has been given, and what is to be waited for until it is carried out.
#[derive(Debug)]
pub(crate) struct Given {
    pub until: Until,
    /// Longest wait for that.
    pub within: Duration,
}

/// What is to be waited for.
#[derive(Debug)]
pub(crate) enum Until {
    /// That a server has become what the command wants. `number`: which command of all about this server it is.
    Server { name: Arc<str>, command: ServerCommand, number: u64 },
    /// That pipes have begun to dial, and then that the connections of these servers stand: those to the endpoint of this name, or all.
    Connected {
        begun: Vec<oneshot::Receiver<Result<String, String>>>,
        servers: Vec<Arc<str>>,
        endpoint: Option<Arc<str>>,
    },
    /// What pipes say of their turns.
    Turned(Vec<oneshot::Receiver<Result<String, String>>>),
    /// What the gateway says of the end of sessions.
    Ended(oneshot::Receiver<String>),
    /// That what is new or another one serves, or that it is clear that it doesn't. `told`: what has changed; `undone`: what could not be,
    /// each a line; `warnings`: what is doubtful in the config, each a line.
    Reloaded { told: String, undone: Vec<String>, warnings: Vec<String>, awaited: Awaited },
}

/// What is new or another one since a reload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Awaited {
    pub servers: Vec<Arc<str>>,
    /// The links that have been added since the status gave this number; `None`: no link.
    pub links: Option<u64>,
    /// Endpoints that get such a link.
    pub endpoints: Vec<Dialled>,
}

/// An endpoint that is dialled anew.
#[derive(Debug, Clone)]
pub(crate) struct Dialled {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    pub servers: Vec<Arc<str>>,
}

/// Why an order is not carried out, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotGiven {
    /// It names nothing, or what it names is not clear.
    Unclear(String),
    /// It can't be done.
    Impossible(String),
    /// The config has mistakes, which are told.
    Mistakes(String),
}

impl NotGiven {
    /// That there are no sessions.
    pub(crate) fn no_gateway() -> Self {
        let why = "this mcp-pipe has no gateway, so no client has a session; \"gateway\" in the config makes one";
        NotGiven::Impossible(why.into())
    }
}

/// What comes on the channel.
#[derive(Debug)]
pub(crate) enum Instruction {
    /// A client's order.
    Order(Order, oneshot::Sender<Result<Given, NotGiven>>),
    /// A signal of this name, about turns.
    Signal(&'static str, TurnCommand),
    /// A signal of this name: the config is to be read again.
    Reload(&'static str),
    /// Which sessions there are at the gateway; `None`: there is no gateway.
    Sessions(oneshot::Sender<Option<Vec<ClientSession>>>),
    /// A guest comes that is to see the server of this name, or all.
    Receive(Option<String>, oneshot::Sender<Result<Visitor, NotGiven>>),
}

/// The end of the channel where orders are given. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(crate) struct Orders(mpsc::Sender<Instruction>);

impl Orders {
    /// The two ends of the channel.
    pub(crate) fn channel() -> (Orders, mpsc::Receiver<Instruction>) {
        let (sender, receiver) = mpsc::channel(UNREAD);
        (Orders(sender), receiver)
    }

    /// Gives an order. `Err` also where nobody takes orders any more.
    pub(crate) async fn give(&self, order: Order) -> Result<Given, NotGiven> {
        let (reply, given) = oneshot::channel();
        let nobody = |()| NotGiven::Impossible("mcp-pipe is stopping, and takes no orders".into());
        self.0.send(Instruction::Order(order, reply)).await.map_err(|_| nobody(()))?;
        given.await.unwrap_or_else(|_| Err(nobody(())))
    }

    /// Which sessions there are at the gateway.
    pub(crate) async fn sessions(&self) -> Result<Vec<ClientSession>, NotGiven> {
        let (reply, told) = oneshot::channel();
        let nobody = |()| NotGiven::Impossible("mcp-pipe is stopping, and tells nothing more".into());
        self.0.send(Instruction::Sessions(reply)).await.map_err(|_| nobody(()))?;
        told.await.map_err(|_| nobody(()))?.ok_or_else(NotGiven::no_gateway)
    }

    /// Has a guest received that is to see the server of this name, or all. Returns the end at which the guest is.
    pub(crate) async fn receive(&self, server: Option<String>) -> Result<Visitor, NotGiven> {
        let (reply, received) = oneshot::channel();
        let nobody = |()| NotGiven::Impossible("mcp-pipe is stopping, and takes nobody in".into());
        self.0.send(Instruction::Receive(server, reply)).await.map_err(|_| nobody(()))?;
        received.await.unwrap_or_else(|_| Err(nobody(())))
    }

    /// The same for a signal to read the config again.
    pub(crate) fn reload(&self, name: &'static str) {
        let _lost = self.0.try_send(Instruction::Reload(name));
    }

    /// Passes a signal on. Of signals that come faster than they are looked at some are lost.
    pub(crate) fn signal(&self, name: &'static str, command: TurnCommand) {
        let _lost = self.0.try_send(Instruction::Signal(name, command));
    }
}

impl Order {
    /// What is waited for once the order is given, in words that follow "waiting for".
    pub(super) fn awaited(&self) -> String {
        match self {
            Order::Start { name } | Order::Resume { name } => format!("{name} to serve"),
            Order::Restart { name, connection: false } => format!("{name} to serve again"),
            Order::Restart { name, connection: true } => format!("the new connection of {name}"),
            Order::Pause { name } => format!("{name} to be paused"),
            Order::Stop { name } => format!("the end of {name}"),
            Order::Reset { name } => format!("{name} to be asked again"),
            Order::Pin { name, .. } => format!("the turn of {name}"),
            Order::Next { .. } => "the next turn".to_owned(),
            Order::Reload => "the new config to run".to_owned(),
            Order::EndSession { .. } => "the end of sessions".to_owned(),
        }
    }
}

/// What a name was to be the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    Server,
    Endpoint,
    Either,
}

/// The names that there are.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub servers: Vec<&'a str>,
    /// What endpoints are called.
    pub endpoints: Vec<&'a str>,
    /// Servers that are not run, as the config disables them.
    pub disabled: &'a [String],
    /// Servers that are not run, as no endpoint shows them.
    pub unshown: &'a [String],
}

impl Known<'_> {
    /// What to tell about a name that nothing of what is `sought` has.
    pub(crate) fn unknown(&self, name: &str, sought: Sought) -> String {
        let shown = name.escape_debug();
        if self.disabled.iter().any(|other| other == name) {
            return format!("{shown} is disabled in the config, so this mcp-pipe does not run it; enable it there");
        }
        if self.unshown.iter().any(|other| other == name) {
            return format!(
                "{shown} is shown by no endpoint, so this mcp-pipe does not run it; name it in the \"servers\" of one in the config"
            );
        }
        let servers = || self.servers.iter().copied();
        let others = || self.endpoints.iter().copied().filter(|name| !self.servers.contains(name));
        let (what, names): (_, Vec<&str>) = match sought {
            Sought::Server => ("server", servers().collect()),
            Sought::Endpoint => ("endpoint", self.endpoints.clone()),
            Sought::Either => ("server or endpoint", servers().chain(others()).collect()),
        };
        let meant = closest(name, names.iter().copied()).map(|name| format!("did you mean {name}? "));
        let there_are = listed(names.iter().take(NAMES).collect(), names.len());
        if sought == Sought::Server && self.endpoints.contains(&name) {
            return format!("{shown} is an endpoint, and this takes a server; there are: {there_are}");
        }
        if name == "all" || name == "*" {
            let all = match sought {
                Sought::Server => "an order is about one server; to end or restart a whole mcp-pipe, end its process",
                Sought::Endpoint | Sought::Either => "leave the name out for all",
            };
            return format!("no {what} here is called \"{shown}\": {all}; there are: {there_are}");
        }
        let by_servers = sought == Sought::Endpoint && names.iter().any(|name| self.servers.contains(name));
        let by_servers = if by_servers { " (one without a name is called by its servers)" } else { "" };
        format!("no {what} here is called \"{shown}\"; {}there are: {there_are}{by_servers}", meant.unwrap_or_default())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_has_is_told_with_what_was_most_likely_meant() {
        let (disabled, unshown) = (["off".to_owned()], ["lost".to_owned()]);
        let known = Known {
            servers: vec!["calculator", "time"],
            endpoints: vec!["kitchen", "office"],
            disabled: &disabled,
            unshown: &unshown,
        };
        for (name, sought, said) in [
            (
                "calulator",
                Sought::Server,
                "no server here is called \"calulator\"; did you mean calculator? there are: calculator, time",
            ),
            ("kitchen", Sought::Server, "kitchen is an endpoint, and this takes a server; there are: calculator, time"),
            ("kitchem", Sought::Server, "no server here is called \"kitchem\"; there are: calculator, time"),
            (
                "all",
                Sought::Server,
                "no server here is called \"all\": an order is about one server; to end or restart a whole mcp-pipe, end its process; \
                 there are: calculator, time",
            ),
            (
                "kitchem",
                Sought::Endpoint,
                "no endpoint here is called \"kitchem\"; did you mean kitchen? there are: kitchen, office",
            ),
            (
                "kitchem",
                Sought::Either,
                "no server or endpoint here is called \"kitchem\"; did you mean kitchen? there are: calculator, time, kitchen, office",
            ),
            (
                "lost",
                Sought::Server,
                "lost is shown by no endpoint, so this mcp-pipe does not run it; name it in the \"servers\" of one in the config",
            ),
            ("off", Sought::Either, "off is disabled in the config, so this mcp-pipe does not run it; enable it there"),
        ] {
            assert_eq!(known.unknown(name, sought), said, "{name} {sought:?}");
        }
        let many: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
        let many = Known { servers: many.iter().map(String::as_str).collect(), endpoints: Vec::new(), ..known };
        assert!(
            many.unknown("\u{1b}[2J", Sought::Server)
                .starts_with("no server here is called \"\\u{1b}[2J\"; there are: s0, ")
        );
        assert!(many.unknown("zzz", Sought::Either).len() < 300);
    }

    #[tokio::test]
    async fn an_order_that_nobody_takes_is_told_and_not_waited_for() {
        let (orders, taken) = Orders::channel();
        let order = Order::Stop { name: "x".into() };
        drop(taken);
        assert!(
            matches!(orders.give(order.clone()).await.unwrap_err(), NotGiven::Impossible(why) if why.contains("stopping"))
        );
        let (orders, mut taken) = Orders::channel();
        let forget = async { drop(taken.recv().await) };
        let (given, ()) = tokio::join!(orders.give(order), forget);
        assert!(matches!(given.unwrap_err(), NotGiven::Impossible(_)));
        (0..100).for_each(|_| orders.signal("SIGUSR1", TurnCommand::Next)); // bounded
    }
}
