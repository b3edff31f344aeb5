//! A proxy that can be cut as a network is: everything sent is lost, and neither side notices.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to one address until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: watch::Sender<SocketAddr>,
    is_cut: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.clone();
        let server = watch::Sender::new(server);
        let present = server.subscribe();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = *present.borrow();
                tokio::spawn(pass(client, server, cut.subscribe()));
            }
        });
        Ok(Self { address, server, is_cut, listening })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes new connections on to this address. Old connections stay where they are.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// Lets nothing through from now on.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets new connections through again. Old connections have lost data and stay dead.
    pub fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let mut way = None;
    if !*is_cut.borrow() {
        let Ok(connected) = TcpStream::connect(server).await else {
            return;
        };
        let server = way.insert(connected);
        // If TCP_NODELAY can't be set, the proxy is only slower.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::select! {
            biased;
            _ = is_cut.wait_for(|is_cut| *is_cut) => {}
            _ = copy_bidirectional(&mut client, server) => return,
        }
    }
    // Keep the connection open and drop what is sent: each end believes that the other one is
    // there.
    let _ = copy(&mut client, &mut sink()).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time;

    use super::*;

    /// A server that sends everything back.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        let exchange = async {
            stream.write_all(b"x").await?;
            stream.read_u8().await
        };
        let answer = time::timeout(Duration::from_millis(200), exchange).await;
        answer.is_ok_and(|answer| answer.is_ok())
    }

    #[tokio::test]
    async fn a_cut_drops_everything_and_closes_nothing() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(is_answered(&mut old).await);
        proxy.cut();
        assert!(!is_answered(&mut old).await);
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!is_answered(&mut new).await);
        proxy.heal();
        let mut newest = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(is_answered(&mut newest).await);
        assert!(!is_answered(&mut old).await);
    }
}
