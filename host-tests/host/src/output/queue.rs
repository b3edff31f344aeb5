//! A queue of log lines before a stream whose reader may stall, with a thread that writes them. Adding a line
//! never waits: a line that doesn't fit is dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Format, Severity};
use crate::lock::lock;

/// How many bytes may wait: some 3,000 lines. As many may be with the writer.
pub(super) const CAPACITY: usize = 1 << 20;

/// How long a stream that would block is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// The lines that wait for one stream. Clones share them.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Since the last lines were taken.
    dropped: u64,
    dropped_before: u64,
    is_writing: bool,
}

impl Queue {
    /// Starts the thread that writes to `stream`. How many lines were dropped is said among the lines of
    /// `remarks`, or in the stream itself.
    pub fn start(
        mut stream: impl Write + Send + 'static,
        remarks: Option<Self>,
        format: Format,
    ) -> Self {
        let queue = Self(Arc::default());
        let shared = queue.0.clone();
        thread::spawn(move || {
            let mut has_told = false;
            loop {
                let (mut lines, dropped) = shared.next();
                if dropped > 0 {
                    let remark = format!(
                        "host: {dropped} lines of the log were dropped: their reader had stalled"
                    );
                    let remark = format.line(Severity::Warning, &remark);
                    match &remarks {
                        Some(remarks) => remarks.push(remark.as_bytes()),
                        None => lines.extend(remark.as_bytes()),
                    }
                }
                let Err(error) = write_all(&mut stream, &lines) else {
                    continue;
                };
                shared.count_lost(&lines);
                if let (Some(remarks), false) = (&remarks, has_told) {
                    has_told = true;
                    let remark = format!("host: lines of the log can't be written: {error}");
                    remarks.push(format.line(Severity::Error, &remark).as_bytes());
                }
            }
        });
        queue
    }

    /// Adds a whole line, or several, with their line breaks.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.lines.len() + line.len() > CAPACITY {
            state.dropped += 1;
        } else {
            state.lines.extend_from_slice(line);
            self.0.changed.notify_all();
        }
    }

    /// How many lines were dropped since the start, or could not be written.
    pub fn dropped(&self) -> u64 {
        let state = self.0.lock();
        state.dropped_before + state.dropped
    }

    /// Blocks until all lines are written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let state = self.0.lock();
        drop(self.0.changed.wait_timeout_while(state, patience, is_busy));
    }
}

/// Writes everything, also to a pipe that doesn't wait for its reader.
fn write_all(stream: &mut impl Write, mut lines: &[u8]) -> io::Result<()> {
    loop {
        let written = if lines.is_empty() {
            stream.flush().map(|()| None)
        } else {
            stream.write(lines).map(Some)
        };
        match written {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
            Ok(Some(length)) => lines = &lines[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

impl Shared {
    /// Counts lines that could not be written. Some of them may have been.
    fn count_lost(&self, lines: &[u8]) {
        let lost = lines.split(|byte| *byte == b'\n').count() - 1;
        self.lock().dropped_before += u64::try_from(lost).unwrap_or(u64::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for lines, and takes all of them, with the number of those that were dropped after them.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        let waiting = self.changed.wait_while(state, |state| state.lines.is_empty());
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        state.dropped_before += state.dropped;
        (mem::take(&mut state.lines), mem::take(&mut state.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A stream whose reader takes one write at a time, when it likes.
    struct Stalling {
        written: Sender<Vec<u8>>,
        go_on: Receiver<()>,
    }

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.written.send(bytes.to_vec());
            let _ = self.go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalling() -> (Stalling, Receiver<Vec<u8>>, Sender<()>) {
        let ((written, read), (read_on, go_on)) = (channel(), channel());
        (Stalling { written, go_on }, read, read_on)
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_counted_and_told_of() {
        let (stream, read, read_on) = stalling();
        let queue = Queue::start(stream, None, Format::Text);
        queue.push(b"first\n");
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), b"first\n");
        // The reader has stalled. Exactly so many lines find room.
        let line = [b'x'; 1024];
        for _ in 0..CAPACITY / line.len() + 3 {
            queue.push(&line);
        }
        assert_eq!(queue.dropped(), 3);
        read_on.send(()).unwrap();
        let next = read.recv_timeout(PATIENCE).unwrap();
        let (lines, remark) = next.split_at(CAPACITY);
        assert!(lines.iter().all(|byte| *byte == b'x'));
        let remark = String::from_utf8_lossy(remark);
        assert!(remark.starts_with("host: 3 lines of the log"), "{remark}");
        assert_eq!(queue.dropped(), 3);
    }

    #[test]
    fn the_number_of_dropped_lines_is_told_among_the_remarks() {
        let (stream, read, read_on) = stalling();
        let (remarks, told, _kept) = stalling();
        let queue =
            Queue::start(stream, Some(Queue::start(remarks, None, Format::Text)), Format::Text);
        queue.push(b"first\n");
        read.recv_timeout(PATIENCE).unwrap();
        queue.push(&vec![b'x'; CAPACITY]);
        queue.push(b"dropped\n");
        read_on.send(()).unwrap();
        assert_eq!(read.recv_timeout(PATIENCE).unwrap().len(), CAPACITY);
        let told = String::from_utf8(told.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert!(told.starts_with("host: 1 lines of the log"), "{told}");
    }

    /// A stream that would block first, then takes a byte, and is broken from then on.
    struct Breaking(u32);

    impl Breaking {
        fn next(&mut self) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(ErrorKind::WouldBlock.into()),
                2 => Ok(1),
                _ => Err(ErrorKind::BrokenPipe.into()),
            }
        }
    }

    impl Write for Breaking {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.next()
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A stream that takes everything, and breaks like [`Breaking`] when it is flushed.
    struct Unflushed(Breaking);

    impl Write for Unflushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.next().map(|_| ())
        }
    }

    /// Pushes two lines three times, and expects that so many can't be written.
    fn assert_lost(stream: impl Write + Send + 'static, lost: u64) {
        let (remarks, told, read_on) = stalling();
        let remarks = Queue::start(remarks, None, Format::Text);
        let queue = Queue::start(stream, Some(remarks.clone()), Format::Text);
        for _ in 0..3 {
            queue.push(b"a\nb\n");
            queue.flush(PATIENCE);
        }
        assert_eq!(queue.dropped(), lost);
        let told_of = String::from_utf8(told.recv_timeout(PATIENCE).unwrap()).unwrap();
        let remark = "host: lines of the log can't be written: broken pipe\n";
        assert_eq!(told_of, remark);
        drop(read_on);
        remarks.flush(PATIENCE);
        assert!(told.try_recv().is_err(), "told once");
    }

    #[test]
    fn lines_that_can_not_be_written_are_counted_and_told_of_once() {
        assert_lost(Breaking(0), 6);
    }

    #[test]
    fn lines_that_can_not_be_flushed_are_counted_and_told_of_once() {
        assert_lost(Unflushed(Breaking(0)), 4);
    }

    #[test]
    fn flushing_waits_for_all_lines_but_not_for_a_stalled_reader() {
        let (stream, read, read_on) = stalling();
        let queue = Queue::start(stream, None, Format::Text);
        queue.push(b"a\n");
        queue.flush(Duration::from_millis(1));
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), b"a\n");
        drop(read_on);
        queue.push(b"b\n");
        queue.flush(PATIENCE);
        assert_eq!(read.try_recv().unwrap(), b"b\n");
    }
}
