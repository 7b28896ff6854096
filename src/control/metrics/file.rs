//! The file into which figures are written now and then, as for the textfile collector of node_exporter.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;
use tracing::{error, info};

use super::{Format, Metrics};
use crate::disk::obstacle;
use crate::process::aside::aside;
use crate::process::stop::Stop;

/// Time between two writes: what Prometheus mostly leaves between two looks.
const EACH: Duration = Duration::from_secs(15);

/// Writes the figures until `ended`, and then takes the file away: nobody should take them for those of a mcp-pipe that runs.
pub(crate) async fn keep(path: PathBuf, metrics: Arc<Metrics>, ended: Stop) {
    let mut each = interval(EACH);
    let mut is_written = None;
    loop {
        tokio::select! {
            _ = each.tick() => {}
            () = ended.now().cancelled() => break,
        }
        let (page, to) = (metrics.page(Format::Classic).await, path.clone());
        let written = aside(move || write(&to, &page)).await.unwrap_or_else(Err);
        match written {
            Ok(()) if is_written == Some(false) => {
                info!(event = "METRICS_FILE", "figures are written again into {}", path.display())
            }
            Err(ref why) if is_written != Some(false) => {
                let told = obstacle::on_the_way(&path).map(|obstacle| obstacle.told().0);
                let why = told.unwrap_or_else(|| why.to_string());
                error!(
                    event = "ERROR_METRICS_FILE",
                    "figures can't be written into {}: {why}; tried again each {} s",
                    path.display(),
                    EACH.as_secs()
                );
            }
            Ok(()) | Err(_) => {}
        }
        is_written = Some(written.is_ok());
    }
    if is_written == Some(true) {
        // At the end nobody waits for a disk that takes long.
        let _left = aside(move || std::fs::remove_file(path)).await;
    }
}

/// Writes a file so that whoever reads it sees all of it, or all of the one before. Blocks.
fn write(path: &Path, page: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new();
    // The collector looks at names that end with .prom, and mostly is another user.
    new.prefix(".mcp-pipe-metrics-");
    #[cfg(unix)]
    new.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut new = new.tempfile_in(folder)?;
    new.write_all(page.as_bytes())?;
    new.persist(path).map(drop).map_err(|failed| failed.error)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::control::status::Status;

    #[tokio::test(start_paused = true)]
    async fn the_file_is_there_whole_until_the_end_and_then_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.prom");
        let (metrics, ended) = (Arc::new(Metrics::of(Status::default(), String::new())), Stop::new());
        let keeping = tokio::spawn(keep(path.clone(), metrics, ended.clone()));
        let page = loop {
            match std::fs::read_to_string(&path) {
                Ok(page) => break page,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert!(page.contains("mcp_pipe_ready 1.0\n") && page.ends_with('\n'), "{page}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        ended.advance();
        ended.advance();
        keeping.await.unwrap();
        assert!(!path.exists());
    }
}
