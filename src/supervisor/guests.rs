//! Peers that come by the control socket, or by this program's own standard input: what each is shown, also after the config has changed.

use std::sync::Arc;

use super::Common;
use crate::config::ServerSpec;
use crate::guest::Visitor;
use crate::mcp::era::Era;
use crate::pipe::membership::{Manner, NewGuest, Shown};

/// See the module's documentation.
pub(super) struct Guests {
    /// How all servers are shown.
    manner: Manner,
    /// What is shown of the servers to those that have come: to those of one server, or of all. Guests with the same have one view.
    shown: Vec<(Option<Arc<str>>, Arc<Shown>)>,
}

impl Guests {
    /// Nobody has come yet. `may_change`: whether other servers may come.
    pub(super) fn of(may_change: bool) -> Self {
        // The only server that there can be is shown as it is, with all that it says.
        Guests { manner: if may_change { Manner::Together } else { Manner::AsOne }, shown: Vec::new() }
    }

    /// Receives one that is to see all servers, or one of them, which run from now on. Returns the end at which the guest is; `None` if
    /// the hub takes none.
    pub(super) async fn receive(
        &mut self,
        server: Option<&str>,
        servers: &[ServerSpec],
        common: &Common,
    ) -> Option<Visitor> {
        if self.shown.is_empty() {
            common.hub.open().await;
        }
        let known = self.shown.iter().find(|(of, _)| of.as_deref() == server).map(|(_, shown)| shown.clone());
        let shown = match known {
            Some(shown) => shown,
            None => {
                let shown = Arc::new(self.shown_of(server, servers));
                self.shown.push((server.map(Arc::from), shown.clone()));
                shown
            }
        };
        common.run_all(shown.servers.iter().map(|(name, _)| name)).await;
        let name = server.map_or_else(|| "a client on stdio".into(), |server| format!("a client of {server} on stdio"));
        let guest = NewGuest { name: name.into(), shown, era: Era::Legacy };
        common.hub.reception().receive(guest).await
    }

    /// Has other servers count. Conversations about one that is no more are ended.
    pub(super) async fn change(&mut self, servers: &[ServerSpec], common: &Common) {
        for (name, before) in std::mem::take(&mut self.shown) {
            let is_there = name.as_ref().is_none_or(|name| servers.iter().any(|server| server.name == *name));
            let after = is_there.then(|| Arc::new(self.shown_of(name.as_deref(), servers)));
            if let Some(shown) = &after {
                common.run_all(shown.servers.iter().map(|(name, _)| name)).await;
                self.shown.push((name, shown.clone()));
            }
            common.hub.reception().show(before, after).await;
        }
    }

    /// What is shown to guests of one server, or of all.
    fn shown_of(&self, server: Option<&str>, servers: &[ServerSpec]) -> Shown {
        let sharing = servers.first().map(|server| server.sharing).unwrap_or_default();
        let is_seen = |spec: &&ServerSpec| server.map_or(!spec.bounds.stands_in, |name| *spec.name == *name);
        let seen = servers.iter().filter(is_seen).map(|spec| (spec.name.clone(), spec.tools.clone()));
        Shown {
            servers: seen.collect(),
            room: None,
            sharing,
            manner: if server.is_some() { Manner::AsOne } else { self.manner },
        }
    }
}
