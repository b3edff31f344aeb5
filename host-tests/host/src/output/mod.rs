//! The stdout and stderr of the component, and the host's own remarks. They go to the streams of
//! the process, each through a `queue`, or into memory, where tests read them.

mod lines;
mod queue;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::{Map, Value};
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
    Inherited { stdout: Queue, stderr: Queue, format: Format },
    Captured(Captured),
}

/// The form of the host's own lines. The component's lines are JSON in any case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For collectors: an object on each line, with `severity` and `message`
    Json,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
}

impl Format {
    /// A line, with its line break.
    fn line(self, severity: Severity, text: &str) -> String {
        match self {
            Self::Text => format!("{text}\n"),
            Self::Json => json(severity, text.trim(), Map::new()),
        }
    }
}

/// A line with further fields.
fn json(severity: Severity, message: &str, fields: Map<String, Value>) -> String {
    let severity = match severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
    };
    let mut line = Map::new();
    line.insert("severity".to_owned(), severity.into());
    line.insert("message".to_owned(), message.into());
    line.extend(fields);
    format!("{}\n", Value::Object(line))
}

#[derive(Clone)]
struct Captured {
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Output {
    /// Writes to the streams of the process, in threads of their own.
    pub fn inherited(format: Format) -> Self {
        let stderr = Queue::start(io::stderr(), None, format);
        let stdout = Queue::start(io::stdout(), Some(stderr.clone()), format);
        Self(Streams::Inherited { stdout, stderr, format })
    }

    pub fn captured() -> Self {
        let pipe = || MemoryOutputPipe::new(CAPACITY);
        Self(Streams::Captured(Captured { stdout: pipe(), stderr: pipe() }))
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
        let line = format!("host: {}", text.replace('\n', " "));
        self.say(Severity::Warning, &line);
    }

    /// Writes a line to stderr.
    pub(crate) fn say(&self, severity: Severity, line: &str) {
        self.write(&self.format().line(severity, line));
    }

    /// Writes `lines` for people, or `message` with `fields` for collectors, to stderr.
    pub(crate) fn tell(&self, lines: &[String], message: &str, fields: Map<String, Value>) {
        match self.format() {
            Format::Text => {
                for line in lines {
                    self.write(&Format::Text.line(Severity::Info, line));
                }
            }
            Format::Json => self.write(&json(Severity::Info, message, fields)),
        }
    }

    fn format(&self) -> Format {
        match &self.0 {
            Streams::Inherited { format, .. } => *format,
            Streams::Captured(_) => Format::Text,
        }
    }

    fn write(&self, line: &str) {
        match &self.0 {
            Streams::Inherited { stderr, .. } => stderr.push(line.as_bytes()),
            // Writing fails only beyond the capacity, which no test reaches.
            Streams::Captured(captured) => {
                drop(captured.stderr.clone().write(Bytes::from(line.to_owned())));
            }
        }
    }

    /// How many lines were dropped, because their reader had stalled.
    pub(crate) fn dropped(&self) -> u64 {
        match &self.0 {
            Streams::Inherited { stdout, stderr, .. } => stdout.dropped() + stderr.dropped(),
            Streams::Captured(_) => 0,
        }
    }

    /// Blocks until all lines are with the readers of the process, but no longer than `patience` for
    /// each stream.
    pub(crate) fn flush(&self, patience: Duration) {
        if let Streams::Inherited { stdout, stderr, .. } = &self.0 {
            stdout.flush(patience);
            stderr.flush(patience);
        }
    }

    pub(crate) fn attach(&self, wasi: &mut WasiCtxBuilder) {
        match &self.0 {
            Streams::Inherited { stdout, stderr, .. } => {
                wasi.stdout(stdout.clone()).stderr(stderr.clone());
            }
            Streams::Captured(captured) => {
                wasi.stdout(captured.stdout.clone()).stderr(captured.stderr.clone());
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
    String::from_utf8_lossy(&pipe.contents()).lines().map(str::to_owned).collect()
}
