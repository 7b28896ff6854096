//! What endpoints let through of the tools of their servers, compared with the tools that there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Hub;
use super::view::View;
use crate::router::{Note, Out, ServerIndex, What};
use crate::tools::Gate;

/// What the log was told of a gate.
#[derive(Debug)]
pub(super) struct Judged {
    gate: Arc<Gate>,
    /// The patterns that were said to cover no tool.
    told: BTreeSet<Box<str>>,
}

impl Hub {
    /// The tools of a server have been read: tells the log which patterns of the endpoints that show the server cover no tool, once
    /// for each gate and pattern. The views of an endpoint have the same gate.
    pub(super) fn judge_gates(&mut self, server: ServerIndex, out: &mut dyn Out) {
        let Hub { views, servers, peers, gates, .. } = self;
        let of_views: Vec<Arc<Gate>> = views.values().filter_map(|view| view.gate().cloned()).collect();
        gates.retain(|judged| of_views.contains(&judged.gate));
        let concerned = views.values().filter(|view| view.has(server)).filter_map(|view| view.gate().cloned());
        for gate in concerned.collect::<Vec<_>>() {
            let (mut known, mut tools, mut fitting) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for view in views.values_mut().filter(|view| view.gate() == Some(&gate)) {
                view.tell_gate(servers, (&mut known, &mut tools, &mut fitting));
            }
            let doubtful = gate.doubtful(&fitting, &known);
            let told = gates.iter().position(|judged| judged.gate == gate).map(|at| gates.swap_remove(at).told);
            let new: BTreeSet<Box<str>> = doubtful.difference(&told.unwrap_or_default()).cloned().collect();
            gates.push(Judged { gate: gate.clone(), told: doubtful });
            if new.is_empty() {
                continue;
            }
            let what = gate.doubts(&new, &tools);
            let is_its = |view: &View| view.gate() == Some(&gate) && view.has(server);
            let peer = peers.of_view(|view| views.get(view).is_some_and(is_its));
            match peer {
                Some(peer) => out.note(Note::of_peer(peer, What::DoubtfulTools { what })),
                None => out.note(Note::of(server, What::DoubtfulTools { what })),
            }
        }
    }
}
