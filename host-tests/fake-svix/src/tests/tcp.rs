//! The fake over real sockets, where a reset can be told from a close.

use std::error::Error as _;
use std::io::ErrorKind;
use std::net::SocketAddr;

use http::StatusCode;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{Client, fake, message};
use crate::{FakeSvix, Fault};

async fn listening(fake: &FakeSvix) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(fake.clone().listen(listener));
    Ok(address)
}

async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
    Ok(Client::tcp(TcpStream::connect(address).await?).await)
}

/// The kind of the IO error below a client's error, if there is one.
fn io_error(error: &anyhow::Error) -> Option<ErrorKind> {
    let error = error.downcast_ref::<hyper::Error>()?;
    let io = error.source()?.downcast_ref::<std::io::Error>()?;
    Some(io.kind())
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_truncated_reply_is_closed() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let address = listening(&fake).await?;
    for (fault, expected) in [
        (Fault::ResetBeforeStoring, Some(ErrorKind::ConnectionReset)),
        (Fault::ResetAfterStoring, Some(ErrorKind::ConnectionReset)),
        (Fault::TruncatedReply, Some(ErrorKind::UnexpectedEof)),
        (Fault::GarbageBytes, None),
    ] {
        fake.script([fault.clone()]);
        let mut client = connect(address).await?;
        let error = client.post_with_key(&message("evt_1"), "key").await;
        let error = error.expect_err("no reply");
        assert_eq!(io_error(&error), expected, "{fault:?}: {error:?}");
    }
    let mut client = connect(address).await?;
    let answer = client.post_with_key(&message("evt_1"), "key").await?;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(fake.messages().len(), 1);
    Ok(())
}

#[tokio::test]
async fn while_down_new_connections_end_at_once() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let address = listening(&fake).await?;
    fake.set_down(true);
    let mut stream = TcpStream::connect(address).await?;
    let read = stream.read(&mut [0; 16]).await;
    let read = read.map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
    Ok(())
}
