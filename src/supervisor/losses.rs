//! What keeps the cache from being written: told to `status`, and tried again.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use crate::catalogue::Catalogue;
use crate::control::status::Status;

/// Time between two attempts to write what could not be written: somebody may have made room.
const AGAIN: Duration = Duration::from_secs(10);

/// Notes what keeps the cache from being written, whenever that changes, and tries it again meanwhile; for ever.
pub(super) async fn note(catalogue: &Catalogue, status: &Status) -> Infallible {
    let mut losses = catalogue.losses();
    loop {
        let loss = losses.borrow_and_update().clone();
        let is_lost = loss.is_some();
        status.set_loss(loss);
        tokio::select! {
            changed = losses.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await; // without a cache nothing is lost
                }
            }
            () = sleep(AGAIN), if is_lost => catalogue.write_again(),
        }
    }
}
