//! Connections: HTTP/1.1 with keep-alive over any stream, and the ways in which a connection
//! breaks.
//!
//! To cut a connection, the service returns an error. hyper then hands the stream back, and
//! anything can be written to it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::fake::FakeSvix;
use crate::helpers;
use crate::outcome::{Cut, Outcome, Then};
use crate::request::{ReceivedRequest, read_body};
use crate::trickle::Trickle;

/// The pause after a failed accept, for example if file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Body = Either<Full<Bytes>, Trickle>;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fake cuts this connection")
    }
}

impl Error for Cut {}

impl FakeSvix {
    /// Serves one stream until either side closes it.
    pub async fn serve_connection<IO>(&self, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        serve(self, io).await;
    }

    /// Serves all connections to `listener` forever. If the future is dropped, they end.
    pub async fn listen(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    // If TCP_NODELAY can't be set, replies are slower, not wrong.
                    let _ = stream.set_nodelay(true);
                    let fake = self.clone();
                    connections.spawn(async move { fake.serve_connection(stream).await });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn serve<IO>(fake: &FakeSvix, io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| Box::pin(answer(fake, request)));
    let mut connection = http1::Builder::new()
        // `answer` sets the date, by the fake's clock.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service);

    let cut = tokio::select! {
        biased;
        () = fake.is_down() => Some(Cut::Reset),
        served = &mut connection => {
            // Any other error means that the client is gone.
            served.err().and_then(|error| error.source()?.downcast_ref::<Cut>().cloned())
        }
    };

    let mut io = connection.into_parts().io.into_inner();
    match cut {
        Some(Cut::Reset) => reset(io),
        Some(Cut::CloseAfter(last_words)) => {
            // An error means that the client is gone.
            let _ = io.write_all(&last_words).await;
            let _ = io.shutdown().await;
        }
        // hyper has closed it already.
        None => {}
    }
}

/// Ends a connection abruptly: a TCP stream with a RST, any other one by dropping it.
fn reset<IO: 'static>(io: IO) {
    if let Some(tcp) = (&io as &dyn Any).downcast_ref::<TcpStream>() {
        // Setting it fails only if the stream is no longer connected.
        let _ = tcp.set_zero_linger();
    }
    drop(io);
}

async fn answer(fake: &FakeSvix, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = read_body(body, fake.body_limit()).await else {
        return Err(Cut::Reset);
    };
    let request = ReceivedRequest {
        method: parts.method,
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers,
        too_large: body.is_none(),
        body: body.unwrap_or_default(),
        at: fake.clock().now(),
    };
    let is_post = request.method == Method::POST;
    let outcome = if helpers::is_helper(&request.path) {
        Outcome::reply(helpers::answer(fake, &request))
    } else {
        fake.receive(request)
    };

    if !outcome.after.is_zero() {
        let _waiting = is_post.then(|| fake.shared.waiting_posts.clone());
        tokio::time::sleep(outcome.after).await;
    }
    let mut response = match outcome.then {
        Then::Reply(reply) => reply.map(|body| Either::Left(Full::new(body))),
        Then::Trickle(reply, over) => reply.map(|body| Either::Right(Trickle::new(body, over))),
        Then::Hang => std::future::pending().await,
        Then::Cut(cut) => return Err(cut),
    };
    let date = httpdate::fmt_http_date(fake.clock().now());
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().entry(DATE).or_insert(date);
    }
    Ok(response)
}
