//! Erasing: the payload of one event, or all that the relay and Svix hold of a project that has left.
//!
//! No list leads from a project to its records. So a slice reads letters by their number, and then records by the
//! journal, and deletes those of the project. The application goes last: until then, an event that comes again
//! is still found in Svix.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::request::{Check, OperatorRequest};
use super::{audit, purge};
use crate::api::problem::Problem;
use crate::api::query::{Name, Query};
use crate::api::reply::Success;
use crate::api::table;
use crate::event;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::{self, store};
use crate::identifier;
use crate::letters::{self, ledger};
use crate::records::{Found, Record, Unreadable, endpoints, journal, storage};
use crate::svix::{application, message};
use crate::violation::Violation;

/// After what time a slice takes up nothing more.
const SLICE: Duration = Duration::from_secs(1);

/// How many records are read at once.
const STEP: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Erased<'a> {
    project: &'a str,
    event_id: &'a str,
    payload: &'static str,
    /// Whether a dead letter was deleted.
    dead_letter: bool,
}

/// The outcome of a deletion in Svix, which may have had nothing to delete.
fn outcome(deleted: bool) -> &'static str {
    if deleted { "erased" } else { "absent" }
}

/// Deletes the payload of an event: in Svix, and in its dead letter. The record stays, if there still is one.
pub async fn event(request: &mut OperatorRequest<'_>, name: &Name) -> Result<Success, Problem> {
    let Name { project, event_id } = name;
    request.entry.set_event(project, event_id);
    if identifier::check_project(project).is_err() {
        return Err(table::NO_RECORD.into());
    }
    let record_name = Record::name(&event::key(project, event_id));
    let record = storage::read(&record_name).await?;
    let has_record = record.is_some();
    // Svix may have the message, whatever the record says: it keeps messages for longer. An event's id stands for
    // its message.
    let svix_event_id = message::event_id(event_id).into_owned();
    let mut messages = audit::messages_of(&record_name).await?;
    messages.insert(svix_event_id);
    let letter = record.as_ref().and_then(Record::dead_letter);
    if let Some(Record::Delivered(record)) = record {
        messages.insert(record.svix_message_id);
    }
    let mut conversation = request.conversation();
    let mut deleted = false;
    for message in messages {
        let path = message::content_path(project, &message);
        let answer = conversation.delete(&path).await?;
        deleted |= answer.no_content()?;
    }
    let discarded = match letter {
        Some(number) => ledger::discard(number).await?,
        None => false,
    };
    let dead_letter = ledger::erase(&record_name).await? || discarded;
    if !(has_record || deleted || dead_letter) {
        return Err(table::NO_RECORD.into());
    }
    let erased = Erased { project, event_id, payload: outcome(deleted), dead_letter };
    Ok(Success::document("erased", &erased))
}

#[derive(Debug, Default, Serialize)]
struct ProjectErased {
    /// How many records this slice has deleted.
    records: usize,
    /// How many dead letters it has deleted.
    letters: usize,
    /// The `after` of the next request. `None` at the end.
    next: Option<String>,
    /// `None` before the end.
    application: Option<&'static str>,
    done: bool,
}

/// Deletes the next records and letters of a project, and at the end its application in Svix.
pub async fn project(
    request: &mut OperatorRequest<'_>,
    project: &str,
    query: &Query,
) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    Check::of(project).end(Some(()))?;
    let after = query.after()?;
    let place = Place::parse(&after);
    let invalid = || Violation::new("after", "must be the next of the last answer");
    let place = place.ok_or_else(invalid)?;
    let mut slice = Slice {
        project,
        deadline: Deadline::new(request.deadline.since, SLICE),
        erased: ProjectErased::default(),
    };
    let next = slice.run(place).await?;
    let mut erased = slice.erased;
    // The last request is about the application alone: the counts of the others must not get lost if Svix fails.
    if next.is_none() {
        endpoints::forget(project).await?;
        audit::forget(project).await?;
        let mut conversation = request.conversation();
        let answer = conversation.delete(&application::path(project)).await?;
        let deleted = answer.no_content()?;
        erased.application = Some(outcome(deleted));
        erased.done = true;
    }
    erased.next = next.map(|place| place.to_string());
    let (records, letters) = (erased.records, erased.letters);
    request.entry.message = format!("erased: {records} records, {letters} letters");
    Ok(Success::document("project-erased", &erased))
}

/// How far the erasing of a project has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The letter with this number.
    Letter(u64),
    /// A page of the journal.
    Page { day: u64, page: u64 },
    /// All letters and records.
    Store,
}

/// How [`Place::Store`] is written.
const STORE: &str = "store";

impl Place {
    /// Reads what [`fmt::Display`] has written. Nothing stands for the beginning.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Letter(0));
        }
        if text == STORE {
            return Some(Self::Store);
        }
        match text.split_once('.') {
            Some((day, page)) => {
                Some(Self::Page { day: day.parse().ok()?, page: page.parse().ok()? })
            }
            None => text.parse().ok().map(Self::Letter),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Letter(number) => write!(formatter, "{number}"),
            Self::Page { day, page } => write!(formatter, "{day}.{page}"),
            Self::Store => formatter.write_str(STORE),
        }
    }
}

/// A slice at work.
struct Slice<'a> {
    project: &'a str,
    deadline: Deadline,
    erased: ProjectErased,
}

impl Slice<'_> {
    /// Where the next slice begins. `None` if only Svix is left.
    async fn run(&mut self, place: Place) -> Result<Option<Place>, host::Error> {
        let (mut day, mut page) = match place {
            Place::Letter(number) => {
                let last = store::counter(letters::COUNTER).await?;
                for number in number.saturating_add(1)..=last {
                    self.letter(number).await?;
                    if self.deadline.is_over() {
                        return Ok(Some(Place::Letter(number)));
                    }
                }
                // The purge has deleted the records of earlier days.
                (purge::first_day().await?, 0)
            }
            Place::Page { day, page } => (day, page),
            Place::Store => return Ok(None),
        };
        let today = journal::day(clock::now());
        while day <= today {
            let pages = journal::pages(day).await?.unwrap_or_default();
            while page < pages {
                page += 1;
                self.page(day, page).await?;
                if self.deadline.is_over() {
                    return Ok(Some(Place::Page { day, page }));
                }
            }
            (day, page) = (day + 1, 0);
        }
        Ok(Some(Place::Store))
    }

    /// Deletes a letter of the project, and its record, unless the record says that the event is delivered, or a later
    /// version wrote it.
    async fn letter(&mut self, number: u64) -> Result<(), host::Error> {
        // This finds a letter whose discarding broke off, too.
        let Some((letter, found)) = ledger::with_record(number).await? else {
            return Ok(());
        };
        if letter.project.as_deref() != Some(self.project) {
            return Ok(());
        }
        let record = &letter.record_name;
        let mut names = letters::value_names(record, Some(number));
        if !matches!(found.record(), Some(Record::Delivered(_)))
            && !matches!(found, Found::Unreadable(Unreadable::Later))
        {
            names.insert(0, record.clone());
        }
        store::delete_many("erase the letter", &names).await?;
        self.erased.letters += 1;
        Ok(())
    }

    /// Deletes the project's records that a page names. The page stays for the purge.
    async fn page(&mut self, day: u64, page: u64) -> Result<(), host::Error> {
        let Some(page) = journal::page(day, page).await? else {
            return Ok(());
        };
        for names in page.names.chunks(STEP) {
            let mut due = Vec::new();
            for (bytes, name) in store::get_all(names).await.into_iter().zip(names) {
                let Some(record) = bytes?.as_deref().and_then(Record::decode) else {
                    continue;
                };
                // A letter that isn't discarded is erased by its number. A page may name a record twice.
                if record.project() == Some(self.project) && !due.contains(name) {
                    due.extend(letters::value_names(name, record.dead_letter()));
                    due.push(name.clone());
                    self.erased.records += 1;
                }
            }
            store::delete_many("erase the records", &due).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for place in
            [Place::Letter(0), Place::Letter(7), Place::Store, Place::Page { day: 20_780, page: 3 }]
        {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        assert_eq!(Place::parse(""), Some(Place::Letter(0)));
        for text in ["x", "-1", "7.", ".7", "1.2.3", " 7"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
