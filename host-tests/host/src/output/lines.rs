//! A guest's standard output or error, cut into lines for a queue. A guest never waits for it, and lines of
//! different instances never mix.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::queue::Queue;

/// A longer line is cut into several.
const LONGEST: usize = 64 << 10;

impl IsTerminal for Queue {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Queue {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines::new(self.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines::new(self.clone()))
    }
}

/// One stream of one instance.
struct Lines {
    queue: Queue,
    unfinished: Vec<u8>,
}

impl Lines {
    fn new(queue: Queue) -> Self {
        let unfinished = Vec::new();
        Self { queue, unfinished }
    }

    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.queue.push(&self.unfinished);
                self.unfinished.clear();
            } else if self.unfinished.len() > LONGEST {
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        self.unfinished.push(b'\n');
        self.queue.push(&self.unfinished);
        self.unfinished.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.unfinished.is_empty() {
            self.finish();
        }
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST)
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};

    use super::super::Format;
    use super::*;

    #[test]
    fn lines_of_several_instances_stay_whole() {
        let (mut reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, None, Format::Text);
        let [mut first, mut second] = [(); 2].map(|()| Lines::new(queue.clone()));
        first.push(b"fir");
        second.push(b"second\nthi");
        first.push(b"st\n");
        second.push(&vec![b'x'; LONGEST]);
        first.push(b"last");
        drop((first, second));
        let expected = format!("second\nfirst\nthi{}\nlast\n", "x".repeat(LONGEST));
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }
}
