//! The host around the component, and its processes in real time.

mod clients;
mod cluster;
mod conformance;
mod instances;
mod metrics;
mod process;
mod shortage;
mod soak;

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use host::{Host, HostBuilder, Manifest, Program};

use crate::support::{TOKEN, program};

fn builder() -> HostBuilder<'static> {
    let (program, manifest) = program();
    builder_for(program, manifest)
}

fn builder_for<'a>(program: &'a Program, manifest: &'a Manifest) -> HostBuilder<'a> {
    Host::builder(program, manifest)
        .variable("svix_token", TOKEN)
        .variable("svix_url", "http://svix.test")
}

/// A host that listens until `stop` is sent or dropped; then `all_ended` says whether all requests ended.
struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    all_ended: tokio::task::JoinHandle<bool>,
}

impl Listening {
    async fn start(host: Host) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let all_ended = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            host.listen(listener, stopped).await
        });
        Self { address, stop, all_ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Connects and sends these bytes.
    async fn send(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        stream
    }
}
