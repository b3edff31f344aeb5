//! The stdout and stderr of the component, and the host's own remarks. They go to the streams of
//! the process, or into memory, where tests read them.

use std::io::Write as _;

use bytes::Bytes;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::OutputStream as _;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// More than any test prints. A guest that prints more traps.
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
    pub fn inherited() -> Self {
        Self(None)
    }

    pub fn captured() -> Self {
        let pipe = || MemoryOutputPipe::new(CAPACITY);
        Self(Some(Captured {
            stdout: pipe(),
            stderr: pipe(),
        }))
    }

    /// The lines that the component has printed so far; empty if the output isn't captured.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|captured| lines(&captured.stdout))
            .unwrap_or_default()
    }

    /// The lines on stderr, with the host's own remarks.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|captured| lines(&captured.stderr))
            .unwrap_or_default()
    }

    /// Writes a remark of the host as one line to stderr.
    pub(crate) fn remark(&self, text: &str) {
        let line = format!("host: {}\n", text.replace('\n', " "));
        // If the remark can't be written, it is lost: there is no other place for it.
        match &self.0 {
            Some(captured) => drop(captured.stderr.clone().write(Bytes::from(line))),
            None => drop(std::io::stderr().write_all(line.as_bytes())),
        }
    }

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
