//! Ports for servers that are ended and started again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the ports that Linux gives to outgoing connections, because such a connection could take
/// the port of a server while that is down.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// An address of this machine without a server. The port is independent of any seed: two soaks with
/// the same seed at the same time would take each other's port.
pub fn free() -> io::Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("there is no free port"))
}
