//! The findings that no operator has resolved, as the store holds them.
//!
//! There is a fixed number of slots, so no list of findings has to be kept. A finding looks for a free slot from
//! a place that follows from its id. So two audits at once seldom choose the same slot.

use std::time::SystemTime;

use super::findings::{Finding, Kind};
use crate::host::change::{WRITES, write_until_seen};
use crate::host::{self, store};
use crate::json;
use crate::records::Record;
use crate::watch;
use crate::watch::change::Change;
use crate::watch::metrics::Numbers;

/// How many findings the store holds at most.
const SLOTS: usize = 1_024;

/// The name of the number of findings of each kind, as the last review left them.
const NUMBERS: &str = "audit/numbers";

/// The name under which the numbers count findings that may still resolve themselves.
pub const PENDING: &str = "pending";

pub struct Board(Vec<Option<Finding>>);

impl Board {
    pub async fn read() -> Result<Self, host::Error> {
        let names: Vec<_> = (0..SLOTS).map(name).collect();
        let found = store::get_all(&names).await.into_iter();
        let slots = found.map(|bytes| Ok(bytes?.as_deref().and_then(Finding::decode)));
        slots.collect::<Result<_, _>>().map(Self)
    }

    /// All findings, oldest first.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut all: Vec<_> = self.0.into_iter().flatten().collect();
        all.sort_by(|one, other| (&one.found_at, &one.id).cmp(&(&other.found_at, &other.id)));
        all
    }

    pub fn find(&self, id: &str) -> Option<&Finding> {
        self.0.iter().flatten().find(|finding| finding.id == id)
    }

    /// The ids of a project's findings.
    pub fn of_project(&self, project: &str) -> Vec<String> {
        let findings = self.0.iter().flatten();
        let of_project = findings.filter(|finding| finding.project == project);
        of_project.map(|finding| finding.id.clone()).collect()
    }

    /// Stores a finding and leaves its line, unless it is known. Returns whether it is new. If no slot is free,
    /// the finding takes that of a pending or an unrecorded one, or is only in the log.
    pub async fn report(&mut self, finding: Finding) -> Result<bool, host::Error> {
        if self.find(&finding.id).is_some() {
            return Ok(false);
        }
        let slot = self.slot_for(&finding);
        if slot.is_none() || !finding.is_pending() {
            tell(&finding);
        }
        if let Some(slot) = slot {
            if let Some(held) = self.0[slot].as_ref().filter(|held| held.is_pending()) {
                // The finding that gives way may never resolve itself, and is only in the log from now on.
                tell(held);
            }
            self.put(slot, finding).await?;
        }
        Ok(true)
    }

    fn slot_for(&self, finding: &Finding) -> Option<usize> {
        let first = usize::from_str_radix(&finding.id[..4], 16).unwrap_or_default();
        let mut slots = (first..first + SLOTS).map(|slot| slot % SLOTS);
        let free = slots.clone().find(|slot| self.0[*slot].is_none());
        let is_pending = |slot: &usize| self.0[*slot].as_ref().is_some_and(Finding::is_pending);
        let gives_way = |slot: &usize| {
            let held = self.0[*slot].as_ref();
            is_pending(slot) || held.is_some_and(|held| held.kind == Kind::Unrecorded)
        };
        free.or_else(|| match finding.kind {
            _ if finding.is_pending() => None,
            // Another sender's messages fill the board with these.
            Kind::Unrecorded => slots.find(is_pending),
            _ => slots.find(gives_way),
        })
    }

    async fn put(&mut self, slot: usize, finding: Finding) -> Result<(), host::Error> {
        store::set(&name(slot), &json::encode(&finding), store::TIMEOUT).await?;
        self.0[slot] = Some(finding);
        Ok(())
    }

    pub async fn remove(&mut self, id: &str) -> Result<(), host::Error> {
        let of_id = |finding: &Finding| finding.id == id;
        if let Some(slot) = self.0.iter().position(|it| it.as_ref().is_some_and(of_id)) {
            store::delete("delete the finding", &name(slot)).await?;
            self.0[slot] = None;
        }
        Ok(())
    }

    /// Looks at every finding again. Removes a finding that its record has resolved, leaves the line of one that
    /// is no longer pending, and counts all that remain.
    async fn review(&mut self, now: SystemTime) -> Result<Numbers, host::Error> {
        let taken = self.0.iter().enumerate();
        let taken: Vec<_> =
            taken.filter_map(|(slot, finding)| Some((slot, finding.clone()?))).collect();
        let names: Vec<_> = taken.iter().map(|(_, it)| it.record_name.clone()).collect();
        let records = store::get_all(&names).await;
        for ((slot, finding), record) in taken.into_iter().zip(records) {
            let record = record?.as_deref().and_then(Record::decode);
            match finding.clone().reviewed(record.as_ref(), now) {
                Some(same) if same == finding => {}
                // Another audit has found the same meanwhile.
                Some(changed) if changed.id != finding.id && self.find(&changed.id).is_some() => {
                    self.remove(&finding.id).await?;
                }
                Some(changed) => {
                    tell(&changed);
                    self.put(slot, changed).await?;
                }
                None => self.remove(&finding.id).await?,
            }
        }
        let mut numbers: Numbers = Kind::ALL.map(|kind| (kind.name().to_owned(), 0)).into();
        for finding in self.0.iter().flatten() {
            let kind = if finding.is_pending() { PENDING } else { finding.kind.name() };
            *numbers.entry(kind.to_owned()).or_default() += 1;
        }
        Ok(numbers)
    }
}

/// Reviews the findings, and writes how many there are. Another request may change some meanwhile, and write its own
/// numbers.
pub async fn review(now: SystemTime) -> Result<(), host::Error> {
    write_until_seen("count the findings", WRITES, async || {
        let counted = Board::read().await?.review(now).await?;
        if numbers().await? == counted {
            return Ok(Some(()));
        }
        store::set(NUMBERS, &json::encode(&counted), store::TIMEOUT).await?;
        Ok(None)
    })
    .await
}

fn name(slot: usize) -> String {
    format!("audit/finding/{slot}")
}

fn tell(finding: &Finding) {
    watch::change(Change::of_finding(
        finding.kind.name(),
        &finding.project,
        &finding.event_id,
        &finding.svix_message_ids,
    ));
}

/// How many findings the last review has left, by the name of their kind.
pub async fn numbers() -> Result<Numbers, host::Error> {
    let bytes = store::get(NUMBERS, store::TIMEOUT).await?;
    let numbers = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(numbers.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn finding(number: usize) -> Finding {
        let record = format!("record/{number}");
        let ids = vec!["msg_1".to_owned()];
        Finding::new(Kind::Unrecorded, "dev", "evt_1", &record, ids, UNIX_EPOCH)
    }

    #[test]
    fn every_slot_is_used_and_then_those_of_pending_findings() {
        let mut board = Board(vec![None; SLOTS]);
        for number in 0..SLOTS {
            let finding = finding(number);
            let slot = board.slot_for(&finding).expect("a slot");
            assert_eq!(board.0[slot], None);
            board.0[slot] = Some(finding);
        }
        assert_eq!(board.slot_for(&finding(SLOTS)), None);
        let pending = finding(7).pending(UNIX_EPOCH);
        let slot = board.0.iter().position(|it| it.as_ref().is_some_and(|it| it.id == pending.id));
        board.0[slot.expect("its slot")] = Some(pending.clone());
        assert_eq!(board.slot_for(&finding(SLOTS)), slot);
        assert_eq!(board.slot_for(&finding(SLOTS).pending(UNIX_EPOCH)), None);
        board.0[slot.expect("its slot")] = Some(finding(7));
        let mut missing = finding(SLOTS);
        missing.kind = Kind::Missing;
        let slot = board.slot_for(&missing).expect("another sender's");
        assert!(board.0[slot].is_some());
    }
}
