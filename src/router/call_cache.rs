//! Answers of a server's tools that are given again for a while, to whoever got them. Pure.
//!
//! What one peer was answered reaches no other: the same question may have another answer for somebody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::PeerId;
use crate::config::CacheSpec;

/// Most bytes that are kept of one server: some hundreds of answers of a usual size.
const MOST: usize = 1 << 20;

/// Largest answer that is kept, with its question, in bytes: so that one does not take the place of all others.
const LARGEST: usize = 64 << 10;

/// Estimated bytes that are kept for each answer besides its own.
const EACH: usize = 128;

/// What was asked: the tool and its arguments, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question(Box<[u8]>);

impl Question {
    /// Of a call with these parameters of a tool, by the server's own name. `None` where more is asked than for the result of a tool, such as
    /// for a task.
    pub(super) fn of(params: &[u8], tool: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct CallParams<'a> {
            #[serde(rename = "name")]
            _name: IgnoredAny,
            #[serde(borrow)]
            arguments: Option<&'a RawValue>,
            #[serde(rename = "_meta")]
            _meta: Option<IgnoredAny>,
        }
        let CallParams { arguments, .. } = serde_json::from_slice(params).ok()?;
        let arguments = arguments.map_or("{}", RawValue::get);
        Some(Question([tool, b"\0", arguments.as_bytes()].concat().into()))
    }

    /// Bytes that are kept for it.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug)]
struct Kept {
    result: Box<[u8]>,
    until: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct CallCache {
    spec: Arc<CacheSpec>,
    answers: BTreeMap<(PeerId, Question), Kept>,
    bytes: usize,
}

impl CallCache {
    pub(super) fn new(spec: Arc<CacheSpec>) -> Self {
        CallCache { spec, answers: BTreeMap::new(), bytes: 0 }
    }

    pub(super) fn spec(&self) -> &CacheSpec {
        &self.spec
    }

    /// Whether answers of a tool are kept.
    pub(super) fn covers(&self, tool: &[u8]) -> bool {
        str::from_utf8(tool).is_ok_and(|tool| self.spec.tools.iter().any(|glob| glob.matches(tool)))
    }

    /// The result that a peer got last, where that is not too old.
    pub(super) fn find(&self, peer: PeerId, question: &Question, now: Instant) -> Option<&[u8]> {
        // A key without a copy of the question would need a map of maps.
        let kept = self.answers.get(&(peer, question.clone()))?;
        (now < kept.until).then_some(&*kept.result)
    }

    /// Keeps a result that a peer has got.
    pub(super) fn keep(&mut self, peer: PeerId, question: Question, result: &[u8], now: Instant) {
        let cost = cost(&question, result);
        if cost > LARGEST {
            return;
        }
        self.forget(|_, kept| kept.until <= now);
        let kept = Kept { result: result.into(), until: now + self.spec.ttl };
        let size = question.size();
        if let Some(before) = self.answers.insert((peer, question), kept) {
            self.bytes -= size + before.result.len() + EACH;
        }
        self.bytes += cost;
        while self.bytes > MOST
            && let Some(oldest) = self.answers.values().map(|kept| kept.until).min()
        {
            self.forget(|_, kept| kept.until <= oldest);
        }
    }

    /// Forgets everything: the server may answer otherwise now.
    pub(super) fn clear(&mut self) {
        self.answers.clear();
        self.bytes = 0;
    }

    /// A peer is gone.
    pub(super) fn leave(&mut self, peer: PeerId) {
        self.forget(|of, _| of == peer);
    }

    fn forget(&mut self, is_meant: impl Fn(PeerId, &Kept) -> bool) {
        let bytes = &mut self.bytes;
        self.answers.retain(|(peer, question), kept| {
            let stays = !is_meant(*peer, kept);
            if !stays {
                *bytes -= cost(question, &kept.result);
            }
            stays
        });
    }
}

fn cost(question: &Question, result: &[u8]) -> usize {
    question.size() + result.len() + EACH
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use slotmap::SlotMap;

    use super::*;
    use crate::tools::Glob;

    fn cache() -> CallCache {
        CallCache::new(Arc::new(CacheSpec { tools: vec![Glob::new("get_*")], ttl: Duration::from_secs(10) }))
    }

    fn question(arguments: &str) -> Question {
        Question::of(format!(r#"{{"name":"published","arguments":{arguments}}}"#).as_bytes(), b"get_it").unwrap()
    }

    #[test]
    fn only_what_asks_for_a_result_and_nothing_else_is_a_question() {
        let of = |params: &str| Question::of(params.as_bytes(), b"t");
        assert_eq!(of(r#"{"name":"a"}"#), of(r#"{"name":"b","arguments":{},"_meta":{"progressToken":1}}"#));
        assert_ne!(of(r#"{"name":"a","arguments":{"x":1}}"#), of(r#"{"name":"a","arguments":{"x":2}}"#));
        for other in
            [r#"{"name":"a","task":{}}"#, r#"{"arguments":{}}"#, "[]", "", r#"{"name":"a","inputResponses":{}}"#]
        {
            assert_eq!(of(other), None, "{other}");
        }
        assert_ne!(Question::of(br#"{"name":"a"}"#, b"t"), Question::of(br#"{"name":"a"}"#, b"u"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_again_to_its_peer_alone_and_for_its_time() {
        let (mut cache, now) = (cache(), Instant::now());
        let mut peers: SlotMap<PeerId, ()> = SlotMap::with_key();
        let (a, b) = (peers.insert(()), peers.insert(()));
        assert!(cache.covers(b"get_it") && !cache.covers(b"set_it") && !cache.covers(&[0xff]));
        cache.keep(a, question("{}"), b"{\"content\":[]}", now);
        let later = now + Duration::from_secs(9);
        assert_eq!(cache.find(a, &question("{}"), later), Some(&b"{\"content\":[]}"[..]));
        assert_eq!(cache.find(b, &question("{}"), later), None);
        assert_eq!(cache.find(a, &question("{ }"), later), None);
        assert_eq!(cache.find(a, &question("{}"), now + Duration::from_secs(10)), None);
        cache.keep(b, question("{}"), b"{}", now);
        cache.leave(a);
        assert_eq!(
            (cache.find(a, &question("{}"), now), cache.find(b, &question("{}"), now)),
            (None, Some(&b"{}"[..]))
        );
        cache.clear();
        assert_eq!((cache.find(b, &question("{}"), now), cache.bytes), (None, 0));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_and_what_is_given_was_kept(
            steps in proptest::collection::vec((0..3_usize, 0..40_u32, 0..80_000_usize, 0..4_u64), 1..200),
        ) {
            let mut cache = cache();
            let mut now = Instant::now();
            let mut peers: SlotMap<PeerId, ()> = SlotMap::with_key();
            let peers: Vec<PeerId> = (0..3).map(|_| peers.insert(())).collect();
            let mut last = BTreeMap::new();
            for (peer, asked, size, seconds) in steps {
                now += Duration::from_secs(seconds);
                let asked = question(&asked.to_string());
                if let Some(found) = cache.find(peers[peer], &asked, now) {
                    prop_assert_eq!(Some(&found.len()), last.get(&(peer, asked.clone())));
                }
                cache.keep(peers[peer], asked.clone(), &vec![b'x'; size], now);
                if size + asked.size() + EACH <= LARGEST {
                    last.insert((peer, asked), size);
                }
                let kept: usize = cache.answers.iter().map(|((_, question), kept)| cost(question, &kept.result)).sum();
                prop_assert_eq!(kept, cache.bytes);
                prop_assert!(kept <= MOST);
            }
        }
    }
}
