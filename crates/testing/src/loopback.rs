//! Addresses for servers that other programs open, so that a test cannot bind them itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// As many addresses on loopback, which no other test uses: not even as the address of a client, which the
/// system chooses from the free ports of 127.0.0.1.
#[must_use]
pub fn unused_addresses(count: u16) -> Vec<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    (first..first + count).map(|port| SocketAddr::new(ip(), port)).collect()
}

/// An address of this process.
fn ip() -> IpAddr {
    if !cfg!(target_os = "linux") {
        // other systems have only one address of this network
        return Ipv4Addr::LOCALHOST.into();
    }
    // the id of a process has at most 22 bits
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, 128 | high, middle, low])
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn all_addresses_are_free_and_differ() {
        let mut all: Vec<_> = (0..3).flat_map(|_| unused_addresses(4)).collect();
        let open: Vec<_> = all
            .iter()
            .map(|address| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()))
            .collect();
        all.dedup();
        assert_eq!((all.len(), open.len()), (12, 12));
    }
}
