//! One check: a name, the meaning of its failure, and a function that runs it.

use std::fmt::Debug;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use tokio::time::{self, Instant};

use crate::report::{Report, Row};

/// The longest that a check may take. Some start the host several times.
const PATIENCE: Duration = Duration::from_mins(5);

pub struct Check<S> {
    /// The assumption of the relay.
    pub name: &'static str,
    /// The cost to the guarantee if the assumption doesn't hold.
    pub otherwise: &'static str,
    pub run: for<'a> fn(&'a mut S) -> BoxFuture<'a, Result<Outcome>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// Passed, with something worth knowing.
    Noted(String),
    /// Not run, for this reason.
    Skipped(&'static str),
    Failed(String),
}

/// The checks of one part: a function, a name, and the meaning of a failure.
macro_rules! checks {
    ($($run:path, $name:literal, $otherwise:literal;)*) => {
        &[$(crate::check::Check {
            name: $name,
            otherwise: $otherwise,
            run: |subject| Box::pin($run(subject)),
        }),*]
    };
}
pub(crate) use checks;

/// Fails unless two things are the same.
pub fn same<A, B>(what: &str, found: &A, expected: &B) -> Result<()>
where
    A: Debug + PartialEq<B> + ?Sized,
    B: Debug + ?Sized,
{
    ensure!(found == expected, "{what}: {found:?} instead of {expected:?}");
    Ok(())
}

/// Shows the progress, unless `quiet`.
pub fn tell(quiet: bool, line: &str) {
    if !quiet {
        // If stderr is closed, the line is lost.
        drop(writeln!(io::stderr(), "{line}"));
    }
}

/// Runs checks one after the other. Tells of each on stderr unless `quiet`. After a failed one, `recover`
/// ends what it has left behind, and may add to the finding; if that fails, the others are not run.
pub async fn run<S>(
    checks: &[Check<S>],
    subject: &mut S,
    recover: impl AsyncFn(&mut S) -> Result<Option<String>>,
    quiet: bool,
    report: &mut Report,
) -> Result<()> {
    for (number, check) in checks.iter().enumerate() {
        let start = Instant::now();
        let outcome = match time::timeout(PATIENCE, (check.run)(subject)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
            Err(_) => Outcome::Failed(format!("no end after {} s", PATIENCE.as_secs())),
        };
        let mut row = Row { name: check.name, otherwise: check.otherwise, outcome };
        let mut recovered = Ok(None);
        if let Outcome::Failed(finding) = &mut row.outcome {
            recovered = recover(subject).await;
            if let Ok(Some(more)) = &recovered {
                *finding = format!("{finding}; {more}");
            }
        }
        let (number, all) = (number + 1, checks.len());
        let (result, took) = (row.result(), start.elapsed().as_millis());
        let line = format!("{number}/{all} {}: {result} ({took} ms)", row.name);
        tell(quiet, &line);
        report.rows.push(row);
        recovered?;
    }
    Ok(())
}
