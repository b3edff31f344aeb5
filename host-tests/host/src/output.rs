//! Where the component's stdout and stderr go, and the host's own remarks with them: to the
//! process's streams, or into memory, where tests read them.

use std::io::Write as _;

use bytes::Bytes;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::OutputStream as _;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// More than any test prints; a guest that printed more would trap.
const CAPACITY: usize = 1 << 30;

/// The output of all instances of one host.
#[derive(Clone, Debug)]
pub struct Output(Option<Captured>);

#[derive(Clone, Debug)]
struct Captured {
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Output {
    /// The streams of this process.
    #[must_use]
    pub fn inherited() -> Self {
        Self(None)
    }

    /// Kept in memory.
    #[must_use]
    pub fn captured() -> Self {
        let pipe = || MemoryOutputPipe::new(CAPACITY);
        Self(Some(Captured {
            stdout: pipe(),
            stderr: pipe(),
        }))
    }

    /// What the component has printed so far, line by line; nothing when it isn't captured.
    #[must_use]
    pub fn stdout_lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|captured| lines(&captured.stdout))
            .unwrap_or_default()
    }

    /// The same for stderr, on which the host's own remarks are, too.
    #[must_use]
    pub fn stderr_lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|captured| lines(&captured.stderr))
            .unwrap_or_default()
    }

    /// A remark of the host: one line on stderr.
    pub(crate) fn remark(&self, text: &str) {
        let line = format!("host: {}\n", text.replace('\n', " "));
        // A remark that can't be written is lost; there is nowhere else to put it.
        match &self.0 {
            Some(captured) => drop(captured.stderr.clone().write(Bytes::from(line))),
            None => drop(std::io::stderr().write_all(line.as_bytes())),
        }
    }

    /// Gives these streams to an instance.
    pub(crate) fn attach(&self, wasi: &mut WasiCtxBuilder) {
        match &self.0 {
            Some(captured) => {
                wasi.stdout(captured.stdout.clone())
                    .stderr(captured.stderr.clone());
            }
            None => {
                wasi.inherit_stdout().inherit_stderr();
            }
        }
    }
}

fn lines(pipe: &MemoryOutputPipe) -> Vec<String> {
    String::from_utf8_lossy(&pipe.contents())
        .lines()
        .map(str::to_owned)
        .collect()
}
