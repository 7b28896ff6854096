//! A network for each daemon, in which etcd can be cut off while the endpoint goes on being reached.
//!
//! Each has a pair of virtual interfaces to the network of the tests; nothing of the machine's own network is touched, and nothing is left.
//! That needs root and `ip` (Debian's iproute2).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Addresses for documentation (RFC 5737): nobody's. Both are on the side of the tests.
pub(super) const ENDPOINT: &str = "192.0.2.1";
pub(super) const ETCD: &str = "192.0.2.2";

/// Where rules by which packets vanish stand among the others.
const BLACKHOLES: u32 = 100;

/// Which packets between etcd and a daemon vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    Both,
    /// Those to the daemon: etcd hears it renew its lease once more.
    Answers,
}

/// That of a daemon.
fn address(n: usize) -> String {
    format!("198.51.100.{}", n + 1)
}

/// A network namespace; it ends with its last process, thread and descriptor.
struct Network(File);

impl Network {
    /// A new one, which the calling thread is in from now on; why not, where that isn't allowed.
    #[expect(unsafe_code, reason = "rustix leaves it to the caller that no other thread minds")]
    fn new() -> Result<Self, String> {
        // SAFETY: the network namespace is the thread's own; no descriptor or memory is shared less than before.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|why| format!("no network namespace: {why}"))?;
        ip("link set lo up")?;
        Ok(Network(File::open("/proc/thread-self/ns/net").unwrap()))
    }

    fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs `ip` in the thread's namespace.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|why| format!("ip: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {said}")) }
}

/// The networks of daemons, and the one of the tests.
pub(super) struct Networks {
    of_tests: Network,
    of_daemons: Vec<Network>,
}

/// The network of one daemon.
pub(super) struct Place<'a> {
    of: &'a Networks,
    n: usize,
}

impl Networks {
    /// So many for daemons. The calling thread is in the one of the tests from now on.
    pub(super) fn joined(daemons: usize) -> Result<Self, String> {
        let of_daemons = (0..daemons).map(|_| Network::new()).collect::<Result<Vec<_>, _>>()?;
        let of_tests = Network::new()?;
        for (n, daemon) in of_daemons.iter().enumerate() {
            ip(&format!("link add far{n} type veth peer name near netns {}", daemon.path()))?;
            ip(&format!("link set far{n} up"))?;
            if n == 0 {
                ip(&format!("address add {ENDPOINT}/32 dev lo"))?;
                ip(&format!("address add {ETCD}/32 dev lo"))?;
                // Rules may stand before the one that takes in what comes to an address of ours.
                ip(&format!("rule add pref {} lookup local", BLACKHOLES + 1))?;
                ip("rule delete pref 0")?;
            }
            ip(&format!("route add {}/32 dev far{n}", address(n)))?;
            daemon.enter();
            let set = ip(&format!("address add {}/32 dev near", address(n)))
                .and_then(|()| ip("link set near up"))
                .and_then(|()| ip("route add 192.0.2.0/24 dev near"));
            of_tests.enter();
            set?;
        }
        Ok(Networks { of_tests, of_daemons })
    }

    pub(super) fn place(&self, n: usize) -> Place<'_> {
        Place { of: self, n }
    }
}

impl Place<'_> {
    /// Does something there.
    pub(super) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.of.of_daemons[self.n].enter();
        let done = work();
        self.of.of_tests.enter();
        done
    }

    /// Has packets vanish, or arrive again.
    pub(super) fn cut(&self, cut: Cut, is_cut: bool) {
        let what = if is_cut { "add" } else { "delete" };
        let rule = |from: &str, to: &str| {
            ip(&format!("rule {what} pref {BLACKHOLES} from {from} to {to} blackhole")).unwrap();
        };
        let daemon = address(self.n);
        rule(ETCD, &daemon);
        match cut {
            Cut::Both => rule(&daemon, ETCD),
            Cut::Answers => {}
        }
    }
}
