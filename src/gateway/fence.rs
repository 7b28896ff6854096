//! How new the lease is that lets tools dial: of those that come with one token the newest counts, and what is older is turned away, or
//! closed. Whoever says nothing of a lease takes no part in that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use tokio::sync::watch;

use crate::endpoint::EPOCH_HEADER;

/// The highest epoch that was shown with one token: a number for each token of the config, so that nobody who dials makes it more.
#[derive(Debug, Clone, Default)]
pub(super) struct Fence(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    highest: watch::Sender<Option<u64>>,
    /// Whether it was told that some show none where others do.
    said: AtomicBool,
}

/// That a connection may be.
#[derive(Debug)]
pub(super) struct Pass {
    shown: Option<u64>,
    highest: watch::Receiver<Option<u64>>,
}

impl Fence {
    /// Lets a connection in that shows this, and none any more that shows less.
    ///
    /// # Errors
    /// A higher one was shown, which is returned.
    pub(super) fn pass(&self, shown: Option<u64>) -> Result<Pass, u64> {
        let mut refused = None;
        self.0.highest.send_if_modified(|highest| match highest_with(*highest, shown) {
            Ok(now) => std::mem::replace(highest, now) != now,
            Err(higher) => {
                refused = Some(higher);
                false
            }
        });
        refused.map_or_else(|| Ok(Pass { shown, highest: self.0.highest.subscribe() }), Err)
    }

    /// Whether a connection that shows this is the first that shows nothing where others did.
    pub(super) fn is_first_without(&self, shown: Option<u64>) -> bool {
        let is_beside = shown.is_none() && self.0.highest.borrow().is_some();
        is_beside && !self.0.said.swap(true, Ordering::Relaxed)
    }
}

impl Pass {
    /// Ready when a higher one was shown.
    pub(super) async fn outdone(mut self) {
        let is_outdone = |highest: &Option<u64>| self.shown.is_some() && *highest > self.shown;
        if self.highest.wait_for(is_outdone).await.is_err() {
            // Nobody comes with this token any more.
            std::future::pending().await
        }
    }
}

/// The highest epoch once this was shown.
///
/// # Errors
/// It is too low for that: the highest.
fn highest_with(highest: Option<u64>, shown: Option<u64>) -> Result<Option<u64>, u64> {
    match (highest, shown) {
        (Some(highest), Some(shown)) if shown < highest => Err(highest),
        (highest, shown) => Ok(highest.max(shown)),
    }
}

/// The epoch that a request shows, if it shows any.
///
/// # Errors
/// What it shows is none.
pub(super) fn shown(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut values = headers.get_all(EPOCH_HEADER).iter();
    let (first, second) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let epoch = first.to_str().ok().filter(is_number).and_then(|text| text.parse().ok());
    match epoch {
        Some(epoch) if second.is_none() => Ok(Some(epoch)),
        _ => Err(format!("{EPOCH_HEADER} has to be one decimal number of 64 bits, or to be left out")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use futures_util::FutureExt as _;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_epoch_is_one_decimal_number_and_nothing_else_is_taken_for_one() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(EPOCH_HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            shown(&headers)
        };
        for (values, want) in [
            (&[][..], None),
            (&["0"], Some(0)),
            (&["17"], Some(17)),
            (&["007"], Some(7)),
            (&["18446744073709551615"], Some(u64::MAX)),
        ] {
            assert_eq!(with(values), Ok(want), "{values:?}");
        }
        let wrong =
            [&[""][..], &["+1"], &["-1"], &["1.0"], &["1e3"], &["0x1"], &["1 "], &["1,2"], &["\u{664}"], &["1", "1"]];
        for values in wrong.into_iter().chain([&["18446744073709551616"][..]]) {
            let why = with(values).unwrap_err();
            assert!(why.starts_with("Mcp-Pipe-Epoch has to be"), "{values:?}: {why}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_let_in_after_a_higher_one_and_whoever_is_outdone_learns_of_it(
            all in prop::collection::vec(prop::option::weighted(0.8, prop_oneof![0..5u64, any::<u64>()]), 0..20)
        ) {
            let fence = Fence::default();
            let (mut highest, mut inside, mut was_told) = (None, Vec::new(), false);
            for shown in all {
                let is_beside = shown.is_none() && highest.is_some();
                prop_assert_eq!(fence.is_first_without(shown), is_beside && !was_told);
                was_told |= is_beside;
                match fence.pass(shown) {
                    Err(higher) => prop_assert!(Some(higher) == highest && shown.is_some() && shown < highest),
                    Ok(pass) => {
                        prop_assert!(shown.is_none() || shown >= highest);
                        highest = highest.max(shown);
                        inside.push((shown, Box::pin(pass.outdone())));
                    }
                }
                for (shown, outdone) in &mut inside {
                    prop_assert_eq!(outdone.now_or_never().is_some(), shown.is_some() && *shown < highest);
                }
                inside.retain(|(shown, _)| shown.is_none() || *shown >= highest);
            }
        }
    }

    #[test]
    fn whoever_is_inside_stays_where_the_token_is_no_more() {
        let fence = Fence::default();
        let pass = fence.pass(Some(1)).unwrap();
        drop(fence);
        assert!(pass.outdone().now_or_never().is_none(), "what ends it then is told otherwise");
    }
}
