//! The journal of 0.1.0, whose pages have numbers instead of days.

use crate::host::deadline::Deadline;
use crate::host::{self, store};
use crate::letters::index_name;
use crate::records::{Record, journal, storage};

/// The names of its counter, and of the number of the last page that is done.
const COUNTER: &str = "journal";
const CURSOR: &str = "journal/purged";

/// Names on today's pages what the old journal names. Returns whether that is done.
pub async fn adopt(deadline: Deadline) -> Result<bool, host::Error> {
    if !store::exists(COUNTER).await? {
        return Ok(true);
    }
    let pages = store::counter(COUNTER).await?;
    let done = store::get(CURSOR, store::TIMEOUT).await?;
    let done = done.and_then(|bytes| str::from_utf8(&bytes).ok()?.parse::<u64>().ok());
    for page in done.unwrap_or_default() + 1..=pages {
        let name = format!("journal/{page}");
        let bytes = store::get(&name, store::TIMEOUT).await?;
        if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            let mut names = Vec::new();
            for line in text.lines().skip(1) {
                let (name, letter) = line.split_once(' ').unwrap_or((line, ""));
                if let Ok(letter) = letter.parse() {
                    adopt_letter(name, letter).await?;
                }
                names.push(name.to_owned());
            }
            journal::append(&names).await?;
            store::delete("purge the journal", &name).await?;
        }
        store::set(CURSOR, page.to_string().as_bytes(), store::TIMEOUT).await?;
        if deadline.is_over() {
            return Ok(false);
        }
    }
    let names = [COUNTER, CURSOR].map(str::to_owned);
    store::delete_many("purge the journal", &names).await?;
    Ok(true)
}

/// Sees to a letter of 0.1.0 that a record may not name: such a letter would come back into sight once
/// the record is gone.
async fn adopt_letter(record: &str, number: u64) -> Result<(), host::Error> {
    let name = record;
    let record = storage::read(name).await?;
    match record.as_ref().and_then(Record::dead_letter) {
        Some(named) if named != number => {
            store::delete("delete the dead letter", &index_name(number)).await
        }
        Some(_) => Ok(()),
        None => match record {
            Some(Record::Delivered(mut delivered)) => {
                delivered.dead_letter = Some(number);
                let bytes = Record::Delivered(delivered).encode();
                store::set(name, &bytes, store::TIMEOUT).await
            }
            _ => Ok(()),
        },
    }
}
