//! The writing side of `sqlite`. Every commit waits for the disk, so all waiting writes share one commit (a
//! *group commit*) and return after it. A write that comes alone starts at once; writes that come during
//! its commit go together. After a commit with several writes, the next one waits a moment for further
//! writes. After any other commit, no write waits for others.

use std::iter;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;
use tokio::task;

use super::connection::{GET, closing, is_busy};
use super::files::Files;
use crate::lock::lock;
use crate::store::LABEL;
use crate::store::write::{Error, Result, Write, increment};

pub(super) const SET: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (store, key) DO UPDATE SET value = ?3";
const DELETE: &str = "DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2";

/// How long a commit waits for further writes if the last one had several.
const GATHERING: Duration = Duration::from_millis(2);

/// The only writer. Clones share it.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    files: Arc<Files>,
    connection: Mutex<Connection>,
    queue: Mutex<Queue>,
    commits: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Job>,
    /// Whether a `Drain` runs, which also takes the jobs that are added now.
    draining: bool,
}

struct Job {
    write: Write,
    answer: oneshot::Sender<Result<i64>>,
}

impl Writer {
    pub(super) fn new(connection: Connection, files: Arc<Files>) -> Self {
        Self(Arc::new(Shared {
            files,
            connection: Mutex::new(connection),
            queue: Mutex::default(),
            commits: AtomicU64::new(0),
        }))
    }

    pub(super) fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    pub(super) async fn write(&self, write: Write) -> Result<i64> {
        let (answer, answered) = oneshot::channel();
        let must_start = {
            let mut queue = lock(&self.0.queue);
            queue.waiting.push(Job { write, answer });
            !mem::replace(&mut queue.draining, true)
        };
        if must_start {
            // Use a blocking thread of tokio: while it works, paused time stands still, so that in
            // tests no timeout fires before the disk is done.
            let drain = Drain::new(self.0.clone());
            task::spawn_blocking(move || drain.run());
        }
        answered.await.unwrap_or_else(|_| Err(closing()))
    }
}

/// One run of the writer, until no job waits.
struct Drain {
    shared: Arc<Shared>,
    done: bool,
}

impl Drain {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, done: false }
    }

    fn run(mut self) {
        while let Some(jobs) = self.next() {
            let is_crowded = jobs.len() > 1;
            self.commit(jobs);
            if is_crowded {
                thread::sleep(GATHERING);
            }
        }
    }

    /// All waiting jobs. If there are none, the run ends within the same lock, so that the next
    /// write knows that it must start another run.
    fn next(&mut self) -> Option<Vec<Job>> {
        let mut queue = lock(&self.shared.queue);
        let jobs = mem::take(&mut queue.waiting);
        self.done = jobs.is_empty();
        queue.draining = !self.done;
        (!self.done).then_some(jobs)
    }

    fn commit(&self, jobs: Vec<Job>) {
        let mut connection = lock(&self.shared.connection);
        match self.transaction(&mut connection, &jobs) {
            Ok(results) => answer(jobs, results.into_iter().map(Ok)),
            // No job can be written now: a transaction for each would only take longer.
            Err(CommitError::Busy(error)) => answer(jobs, iter::repeat(Err(error))),
            Err(CommitError::Other(error)) if jobs.len() == 1 => answer(jobs, [Err(error)]),
            // One job may be at fault: commit each alone, so that the others succeed.
            Err(CommitError::Other(_)) => {
                for job in jobs {
                    let job = [job];
                    let result = self.transaction(&mut connection, &job);
                    answer(job, [result.map(|results| results[0]).map_err(Error::from)]);
                }
            }
        }
    }

    /// Makes all changes or none.
    fn transaction(
        &self,
        connection: &mut Connection,
        jobs: &[Job],
    ) -> std::result::Result<Vec<i64>, CommitError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(apply(&transaction, &job.write)?);
        }
        transaction.commit()?;
        // Check after the commit: it may have gone to a file that was deleted before.
        self.shared.files.check()?;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(results)
    }
}

impl Drop for Drain {
    /// A runtime that ends may drop a run before it starts. Then its callers are gone, and the next
    /// write must start another run.
    fn drop(&mut self) {
        if !self.done {
            *lock(&self.shared.queue) = Queue::default();
        }
    }
}

fn answer(jobs: impl IntoIterator<Item = Job>, results: impl IntoIterator<Item = Result<i64>>) {
    for (job, result) in jobs.into_iter().zip(results) {
        // Sending fails if the guest was dropped meanwhile.
        drop(job.answer.send(result));
    }
}

fn apply(connection: &Connection, write: &Write) -> std::result::Result<i64, CommitError> {
    match write {
        Write::Set(pairs) => {
            let mut set = connection.prepare_cached(SET)?;
            for (key, value) in pairs {
                set.execute(params![LABEL, key, value])?;
            }
            Ok(0)
        }
        Write::Delete(keys) => {
            let mut delete = connection.prepare_cached(DELETE)?;
            for key in keys {
                delete.execute([LABEL, key])?;
            }
            Ok(0)
        }
        Write::Increment { key, delta } => {
            let mut get = connection.prepare_cached(GET)?;
            let counter = get.query_row([LABEL, key], |row| row.get::<_, Vec<u8>>(0));
            let sum = increment(counter.optional()?.as_deref(), *delta)?;
            let mut set = connection.prepare_cached(SET)?;
            set.execute(params![LABEL, key, sum.to_le_bytes()])?;
            Ok(sum)
        }
    }
}

/// Why a transaction failed.
enum CommitError {
    /// Another process has locked the file.
    Busy(Error),
    Other(Error),
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        if is_busy(&error) { Self::Busy(error.into()) } else { Self::Other(error.into()) }
    }
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<CommitError> for Error {
    fn from(failure: CommitError) -> Self {
        let (CommitError::Busy(error) | CommitError::Other(error)) = failure;
        error
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::MutexGuard;

    use super::{Connection, Drain, Writer, lock};

    impl Writer {
        /// The writer's connection. While a test holds it, writes wait.
        pub(in super::super) fn connection(&self) -> MutexGuard<'_, Connection> {
            lock(&self.0.connection)
        }

        /// Lets the writer believe that a runtime has ended after a write had started a run.
        pub(in super::super) fn lose_a_run(&self) {
            lock(&self.0.queue).draining = true;
            drop(Drain::new(self.0.clone()));
        }
    }
}
