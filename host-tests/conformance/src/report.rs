//! The table at the end.

use std::fmt;

use crate::check::Outcome;

#[derive(Debug, Default)]
pub struct Report {
    /// The things that were checked, one a line.
    pub(crate) subjects: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub name: &'static str,
    pub otherwise: &'static str,
    pub outcome: Outcome,
}

impl Row {
    pub fn result(&self) -> String {
        match &self.outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Noted(note) => format!("ok: {note}"),
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
            Outcome::Failed(finding) => format!("FAILED: {finding}"),
        }
    }
}

impl Report {
    pub fn has_failed(&self) -> bool {
        !self.failed().is_empty()
    }

    /// The names of the failed checks.
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The names of the checks that were not run.
    pub fn skipped(&self) -> Vec<&'static str> {
        self.names(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    fn names(&self, of: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        let rows = self.rows.iter().filter(|row| of(&row.outcome));
        rows.map(|row| row.name).collect()
    }
}

impl fmt::Display for Report {
    /// A table in Markdown; nothing if no check was run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        for subject in &self.subjects {
            writeln!(f, "{subject}\n")?;
        }
        writeln!(f, "| the relay assumes | result | otherwise |\n| --- | --- | --- |")?;
        for row in &self.rows {
            // A finding may quote any answer.
            let result = row.result().replace('|', "\\|").replace(['\n', '\r'], " ");
            writeln!(f, "| {} | {result} | {} |", row.name, row.otherwise)?;
        }
        let (all, failed) = (self.rows.len(), self.failed().len());
        let skipped = self.skipped().len();
        writeln!(
            f,
            "\nchecks={all} ok={} failed={failed} skipped={skipped}",
            all - failed - skipped
        )
    }
}
