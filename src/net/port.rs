//! Who listens on a port of this machine, for whoever wants it and can't have it.

use std::net::SocketAddr;

/// The program that listens there, with its process, as far as the system tells us.
#[cfg(target_os = "linux")]
pub(crate) fn holder(address: SocketAddr) -> Option<String> {
    use std::fs;

    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_one = |pid: &u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    let pid = pids.find(has_one)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    Some(format!("{name}, process {pid}"))
}

/// The same, where nobody tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holder(_address: SocketAddr) -> Option<String> {
    None
}

/// The inodes of the sockets that listen on a port, in a table of the kernel (proc(5), `/proc/net/tcp`).
#[cfg(target_os = "linux")]
fn listening(table: &str, port: u16) -> Vec<String> {
    /// The state of a socket that listens.
    const LISTEN: &str = "0A";
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local, 16).is_ok_and(|local| local == port) && fields.get(3) == Some(&LISTEN);
        fields.get(9).filter(|_| is_it).map(|inode| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = holder(address).unwrap();
        assert!(told.ends_with(&format!(", process {}", std::process::id())), "{told}");
        drop(listener);
        assert_eq!(holder(address), None);
    }
}
