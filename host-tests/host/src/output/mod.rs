//! The stdout and stderr of the component, and the host's own remarks. They go to the streams of
//! the process, each through a `queue`, or into memory, where tests read them.

mod lines;
mod queue;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::OutputStream as _;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use self::queue::Queue;

/// More than any test prints. A guest that prints more traps.
const CAPACITY: usize = 1 << 30;

/// The output of all instances of one host. Clones share it.
#[derive(Clone)]
pub struct Output(Streams);

#[derive(Clone)]
enum Streams {
    Inherited { stdout: Queue, stderr: Queue },
    Captured(Captured),
}

#[derive(Clone)]
struct Captured {
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Output {
    /// Writes to the streams of the process, in threads of their own.
    pub fn inherited() -> Self {
        let stderr = Queue::start(io::stderr(), None);
        let stdout = Queue::start(io::stdout(), Some(stderr.clone()));
        Self(Streams::Inherited { stdout, stderr })
    }

    pub fn captured() -> Self {
        let pipe = || MemoryOutputPipe::new(CAPACITY);
        Self(Streams::Captured(Captured {
            stdout: pipe(),
            stderr: pipe(),
        }))
    }

    /// The lines that the component has printed so far; empty if the output isn't captured.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.read(|captured| &captured.stdout)
    }

    /// The lines on stderr, with the host's own remarks.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.read(|captured| &captured.stderr)
    }

    fn read(&self, pipe: fn(&Captured) -> &MemoryOutputPipe) -> Vec<String> {
        match &self.0 {
            Streams::Inherited { .. } => Vec::new(),
            Streams::Captured(captured) => lines(pipe(captured)),
        }
    }

    /// Writes a remark of the host as one line to stderr.
    pub(crate) fn remark(&self, text: &str) {
        self.say(&format!("host: {}", text.replace('\n', " ")));
    }

    /// Writes a line to stderr.
    pub(crate) fn say(&self, line: &str) {
        let line = format!("{line}\n");
        match &self.0 {
            Streams::Inherited { stderr, .. } => stderr.push(line.as_bytes()),
            // Writing fails only beyond the capacity, which no test reaches.
            Streams::Captured(captured) => {
                drop(captured.stderr.clone().write(Bytes::from(line)));
            }
        }
    }

    /// Blocks until all lines are with the readers of the process, but no longer than `patience` for
    /// each stream.
    pub(crate) fn flush(&self, patience: Duration) {
        if let Streams::Inherited { stdout, stderr } = &self.0 {
            stdout.flush(patience);
            stderr.flush(patience);
        }
    }

    pub(crate) fn attach(&self, wasi: &mut WasiCtxBuilder) {
        match &self.0 {
            Streams::Inherited { stdout, stderr } => {
                wasi.stdout(stdout.clone()).stderr(stderr.clone());
            }
            Streams::Captured(captured) => {
                wasi.stdout(captured.stdout.clone())
                    .stderr(captured.stderr.clone());
            }
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output(…)")
    }
}

fn lines(pipe: &MemoryOutputPipe) -> Vec<String> {
    String::from_utf8_lossy(&pipe.contents())
        .lines()
        .map(str::to_owned)
        .collect()
}
