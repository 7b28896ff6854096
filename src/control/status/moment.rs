//! A moment, told to another process as the time from now: in milliseconds, of a moment in the past below zero.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer};
use tokio::time::Instant;

pub(super) fn serialize<S: Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(from_now(*at))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
    Ok(at(i64::deserialize(from)?))
}

fn from_now(at: Instant) -> i64 {
    let now = Instant::now();
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    if at > now { millis(at - now) } else { -millis(now - at) }
}

fn at(millis: i64) -> Instant {
    let (now, time) = (Instant::now(), Duration::from_millis(millis.unsigned_abs()));
    // A clock that began later knows no moment before.
    (if millis > 0 { now.checked_add(time) } else { now.checked_sub(time) }).unwrap_or(now)
}

/// The same where there may be none.
pub(super) mod maybe {
    use super::*;

    pub(in crate::control::status) fn serialize<S: Serializer>(at: &Option<Instant>, to: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => to.serialize_some(&from_now(*at)),
            None => to.serialize_none(),
        }
    }

    pub(in crate::control::status) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Instant>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(at))
    }
}
