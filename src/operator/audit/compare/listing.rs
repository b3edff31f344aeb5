//! Svix's list of a project's messages, each held against its record.

use std::collections::{BTreeMap, BTreeSet};

use super::{Comparison, Project, may_concern_one_thing};
use crate::api::problem::Problem;
use crate::event;
use crate::host::store;
use crate::operator::audit::batch::LAG;
use crate::operator::audit::findings::{Finding, Kind};
use crate::operator::audit::state::{MOST_LISTS, Progress, WaitingList, time};
use crate::records::{Delivered, Found, Record, storage};
use crate::svix::list::{self, Message};
use crate::svix::{self, Cause, message};
use crate::time::{age, unix_millis};

impl Comparison<'_> {
    /// Lists again what Svix has failed to list earlier. Returns whether nothing of that is left for now.
    pub async fn list_again(&mut self) -> Result<bool, Problem> {
        let now = self.now;
        let is_due = |it: &WaitingList| match now.duration_since(time(it.tried)) {
            Ok(age) => age >= LAG,
            // A clock that was ahead has written this.
            Err(_) => true,
        };
        while let Some(at) = self.waiting_lists.iter().position(is_due) {
            if self.is_over() {
                return Ok(false);
            }
            let mut list = self.waiting_lists.remove(at);
            let project = Project {
                name: &list.project,
                items: &BTreeMap::new(),
                after: time(list.after),
                before: time(list.before),
            };
            let mut progress =
                Progress { listed: false, iterator: list.iterator.take(), unseen: BTreeSet::new() };
            let result = self.run(&project, &mut progress).await;
            if !matches!(result, Ok(true)) {
                list.iterator = progress.iterator;
                // Svix refuses this list: the next slice must get past it.
                if let Err(Problem::Svix(svix::Error::Misconfigured(_) | svix::Error::Refused(_))) =
                    &result
                    && self.svix_answers
                {
                    list.tried = unix_millis(now);
                }
                self.waiting_lists.push(list);
                return result;
            }
        }
        Ok(true)
    }

    /// Holds each listed message against its record.
    pub(super) async fn list(
        &mut self,
        project: &Project<'_>,
        progress: &mut Progress,
    ) -> Result<bool, Problem> {
        let by_event: BTreeMap<_, _> =
            project.items.iter().map(|(name, item)| (item.svix_event_id.as_str(), name)).collect();
        while !progress.listed {
            if self.has_progress && self.listing.is_over() && progress.iterator.is_some() {
                return Ok(false);
            }
            self.see_whether_svix_answers().await;
            let iterator = progress.iterator.as_deref();
            let path = list::path(project.name, project.after, project.before, iterator);
            let answer = self.ask(&path).await;
            let page = match answer.and_then(|answer| list::classify(&answer)) {
                Ok(Some(page)) => page,
                Ok(None) => {
                    self.application_missing(project, &mut progress.unseen).await?;
                    break;
                }
                // A list that fails, or is unreadable or too large, holds up no other project: each record of
                // this one is looked up by itself, and the list comes again.
                Err(error) if self.svix_answers && may_concern_one_thing(&error) => {
                    self.let_list_wait(project, error)?;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let (messages, next) = (page.messages, page.next);
            let goes_on = next.is_some() && next != progress.iterator;
            let mut others = Vec::new();
            for message in messages {
                let Some(event_id) = message.event_id.as_deref() else {
                    continue;
                };
                if let Some(name) = by_event.get(event_id) {
                    let record = project.items.get(*name).map(|item| &item.record);
                    self.pair(project.name, name, record, &message, &mut progress.unseen).await?;
                } else if !message::is_mapped(event_id) {
                    let key = event::key(project.name, event_id);
                    others.push((Record::name(&key), message));
                }
            }
            self.compare_others(project.name, &others, &mut progress.unseen).await?;
            if next.is_some() && !goes_on {
                // This page leads to itself.
                self.let_list_wait(project, Cause::NotSvix(200).into())?;
                break;
            }
            progress.listed = !goes_on;
            progress.iterator = next;
        }
        progress.listed = true;
        Ok(true)
    }

    /// Notes that Svix doesn't list a project's messages. Fails if too many projects wait already.
    fn let_list_wait(
        &mut self,
        project: &Project<'_>,
        error: svix::Error,
    ) -> Result<(), svix::Error> {
        let mut list = WaitingList {
            project: project.name.to_owned(),
            after: unix_millis(project.after),
            before: unix_millis(project.before),
            tried: unix_millis(self.now),
            iterator: None,
        };
        let same = |it: &WaitingList| it.project == project.name;
        if let Some(at) = self.waiting_lists.iter().position(same) {
            list = list.with(&self.waiting_lists.remove(at));
        } else if self.waiting_lists.len() >= MOST_LISTS {
            return Err(error);
        }
        self.has_progress = true;
        self.waiting_lists.push(list);
        Ok(())
    }

    /// Reports one finding for all records of a project without an application.
    async fn application_missing(
        &mut self,
        project: &Project<'_>,
        unseen: &mut BTreeSet<String>,
    ) -> Result<(), Problem> {
        let is_delivered = |name: &String| {
            let item = project.items.get(name);
            item.is_some_and(|item| matches!(item.record, Record::Delivered(_)))
        };
        if unseen.iter().any(is_delivered) {
            let name = format!("application/{}", project.name);
            let kind = Kind::ApplicationMissing;
            let finding = Finding::new(kind, project.name, "", &name, Vec::new(), self.now);
            self.report(finding, None).await?;
        }
        unseen.retain(|name| !is_delivered(name));
        Ok(())
    }

    /// Holds messages against records that are not of this batch.
    async fn compare_others(
        &mut self,
        project: &str,
        others: &[(String, Message)],
        unseen: &mut BTreeSet<String>,
    ) -> Result<(), Problem> {
        let names: Vec<_> = others.iter().map(|(name, _)| name.clone()).collect();
        let found = store::get_all(&names).await;
        for ((name, message), bytes) in others.iter().zip(found) {
            let found = Found::of(bytes?.as_deref());
            if !matches!(found, Found::Unreadable(_)) {
                self.pair(project, name, found.record(), message, unseen).await?;
            }
        }
        Ok(())
    }

    /// Holds a message against the record of its event.
    async fn pair(
        &mut self,
        project: &str,
        name: &str,
        record: Option<&Record>,
        message: &Message,
        unseen: &mut BTreeSet<String>,
    ) -> Result<(), Problem> {
        let event_id = message.event_id.as_deref().unwrap_or_default();
        match record {
            Some(Record::Delivered(record)) if record.svix_message_id == message.id => {
                if !record.may_be_unsent() {
                    self.events += u64::from(unseen.remove(name));
                }
            }
            Some(Record::Delivered(delivered)) => self.doubled(name, delivered, message).await?,
            Some(Record::Unknown(unknown)) if unseen.contains(name) => {
                self.settle(name, unknown, &message.id).await?;
                unseen.remove(name);
            }
            // The record is settled just now, or another page names it.
            Some(Record::Unknown(_)) => self.compare_settled(name, message).await?,
            // A letter waits for an operator.
            Some(Record::DeadLettered(_)) => {}
            None if self.was_purged(message) => {}
            None => {
                let ids = vec![message.id.clone()];
                let finding =
                    Finding::new(Kind::Unrecorded, project, event_id, name, ids, self.now);
                let finding = self.pending(finding, &message.timestamp);
                self.report(finding, None).await?;
            }
        }
        Ok(())
    }

    /// Holds a further message against a record that was unknown when it was read.
    async fn compare_settled(&mut self, name: &str, message: &Message) -> Result<(), Problem> {
        match storage::read(name).await? {
            Some(Record::Delivered(record)) if record.svix_message_id != message.id => {
                self.doubled(name, &record, message).await
            }
            _ => Ok(()),
        }
    }

    async fn doubled(
        &mut self,
        name: &str,
        record: &Delivered,
        message: &Message,
    ) -> Result<(), Problem> {
        let ids = vec![record.svix_message_id.clone(), message.id.clone()];
        let (project, id) = (&record.project, &record.event_id);
        let finding = Finding::new(Kind::Doubled, project, id, name, ids, self.now);
        let record = Record::Delivered(record.clone());
        self.report(finding, Some(&record)).await
    }

    /// Whether the record of a message may be purged already.
    fn was_purged(&self, message: &Message) -> bool {
        age(&message.timestamp, self.now).is_none_or(|age| age >= self.config.record_retention)
    }
}
