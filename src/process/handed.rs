//! The socket that systemd has opened for this process (sd_listen_fds(3)): it is there before the process and after it, so nobody who dials
//! is refused while mcp-pipe is started anew.

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;

use super::systemd::{LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID};

/// The name of the socket that is for the gateway, where systemd hands over several (`FileDescriptorName=`).
const GATEWAY: &str = "gateway";
/// The first descriptor that is handed over.
const FIRST: i32 = 3;

/// The socket of this process. It stays open whatever the config says, so that a gateway can come back to it.
static SOCKET: OnceLock<TcpListener> = OnceLock::new();

/// What systemd has handed over to a process, as far as it says so.
#[derive(Debug, PartialEq, Eq)]
struct Handed {
    /// All descriptors.
    all: std::ops::Range<i32>,
    /// The one that is for the gateway.
    chosen: i32,
}

/// What the variables say: how many there are, for which process, and what they are called. `None`: nothing is for this one.
fn handed(fds: Option<&str>, pid: Option<&str>, names: Option<&str>, own: u32) -> Option<Handed> {
    let count: i32 = fds?.parse().ok().filter(|count| (1..=1024).contains(count))?;
    let _is_ours = pid?.parse().ok().filter(|pid: &u32| *pid == own)?;
    let named = names.unwrap_or_default().split(':').take(count.unsigned_abs() as usize);
    let place = named.zip(0..).find(|(name, _)| *name == GATEWAY).map_or(0, |(_, place)| place);
    Some(Handed { all: FIRST..FIRST + count, chosen: FIRST + place })
}

/// Takes what systemd has handed over: no child gets it, and the gateway listens there. Returns where that is; `None`: there is nothing.
/// To be called once, before anything is opened.
///
/// `variable`: what a variable holds.
///
/// # Errors
/// What was handed over is no TCP socket that listens, in words for a person.
pub fn take(variable: impl Fn(&str) -> Option<String>) -> Result<Option<SocketAddr>, String> {
    let [fds, pid, names] = [LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES].map(variable);
    let handed = handed(fds.as_deref(), pid.as_deref(), names.as_deref(), std::process::id());
    let Some(handed) = handed else { return Ok(None) };
    let socket = own(&handed).map_err(|why| {
        let chosen = handed.chosen;
        format!(
            "systemd has handed over descriptor {chosen}, which is no TCP socket that listens ({why}); have the socket unit say \
             ListenStream= with an address and a port"
        )
    })?;
    let address = socket.local_addr().ok();
    let _taken_once = SOCKET.set(socket);
    Ok(address)
}

/// The socket once more, if it is at this address. `None`: it is elsewhere, or there is none.
pub(crate) fn at(address: SocketAddr) -> Option<std::io::Result<TcpListener>> {
    let socket = SOCKET.get().filter(|socket| socket.local_addr().is_ok_and(|own| own == address))?;
    Some(socket.try_clone())
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "descriptors that were open at the start are known by their numbers only")]
fn own(handed: &Handed) -> std::io::Result<TcpListener> {
    use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    for fd in handed.all.clone() {
        // SAFETY: the number is not -1, and a descriptor that is not open is only an error of the call.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl_setfd(fd, fcntl_getfd(fd)? | FdFlags::CLOEXEC)?;
    }
    // SAFETY: it is open, as was just seen, and whoever has started this process has given it to nobody else in here.
    let socket = unsafe { OwnedFd::from_raw_fd(handed.chosen) };
    let listens = rustix::net::sockopt::socket_acceptconn(&socket)?;
    let socket = TcpListener::from(socket);
    // Of another family it has no address that is one of TCP.
    socket.local_addr()?;
    if !listens {
        return Err(std::io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(not(unix))]
fn own(_handed: &Handed) -> std::io::Result<TcpListener> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_socket_counts_or_the_one_that_is_named_for_the_gateway() {
        let some = |all, chosen| Some(Handed { all, chosen });
        for (fds, pid, names, want) in [
            (Some("1"), Some("7"), None, some(3..4, 3)),
            (Some("2"), Some("7"), Some("admin:gateway"), some(3..5, 4)),
            (Some("2"), Some("7"), Some("a:b"), some(3..5, 3)),
            (Some("1"), Some("7"), Some("admin:gateway"), some(3..4, 3)),
            (Some("1"), Some("8"), None, None),
            (Some("1"), None, None, None),
            (None, Some("7"), None, None),
            (Some("0"), Some("7"), None, None),
            (Some("-1"), Some("7"), None, None),
            (Some("x"), Some("7"), None, None),
        ] {
            assert_eq!(handed(fds, pid, names, 7), want, "{fds:?} {pid:?} {names:?}");
        }
    }
}
