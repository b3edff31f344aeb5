//! Passes every request on to Svix and its reply back: the benchmark's upper limit, with nothing
//! done between the two hops.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Parser;
use http::Request;
use http::uri::{Authority, Scheme};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// The allocator of `serve`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    /// Host and port.
    #[arg(long)]
    svix: Authority,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let svix = Arc::new(options.svix);
    let listener = TcpListener::bind(options.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, svix) = (client.clone(), svix.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut uri = request.uri().clone().into_parts();
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = Some(Authority::clone(&svix));
            if let Ok(uri) = uri.try_into() {
                *request.uri_mut() = uri;
            }
            let client = client.clone();
            async move { client.request(request).await }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}
