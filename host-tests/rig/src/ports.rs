//! Ports for servers that are ended and started again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the ports that Linux gives to outgoing connections, of which one could otherwise take
/// the server's port while it is down.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// An address of this machine at which nobody listens. It depends on no seed: two that run with the
/// same one at the same time would take each other's.
pub fn free() -> io::Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("there is no free port"))
}
