//! Lookups of messages that were not in the list.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Comparison, Project, may_concern_one_thing};
use crate::api::problem::Problem;
use crate::operator::audit::batch::Item;
use crate::operator::audit::findings::{Finding, Kind};
use crate::records::{Delivered, Record, Unknown};
use crate::svix::endpoints::{self, Endpoint};
use crate::svix::{self, Cause, list, message};
use crate::time::age;

/// For how long a record is put off because Svix doesn't show whether it has sent the message.
const PUT_OFF: Duration = Duration::from_hours(24);

/// For how long Svix keeps a message.
const SVIX_RETENTION: Duration = Duration::from_hours(90 * 24);

impl Comparison<'_> {
    /// Looks up the messages that were not in the list.
    pub(super) async fn look_up(
        &mut self,
        project: &Project<'_>,
        unseen: &mut BTreeSet<String>,
    ) -> Result<bool, Problem> {
        if !unseen.is_empty() {
            self.see_whether_svix_answers().await;
        }
        while let Some(name) = unseen.first().cloned() {
            if let Some(item) = project.items.get(&name) {
                if self.is_over() {
                    return Ok(false);
                }
                let result = match &item.record {
                    Record::Delivered(record) => self.confirm(&name, item, record).await,
                    Record::Unknown(record) => self.ask_again(&name, item, record).await,
                    Record::DeadLettered(_) => Ok(()),
                };
                match result {
                    // One record must not hold up all that follow: a later page brings it again. If a second one
                    // fails, Svix does.
                    Err(Problem::Svix(error)) if self.may_put_off(&error) => {
                        self.put_off.push(name.clone());
                        self.has_failed_lookup = true;
                        self.has_progress = true;
                    }
                    result => result?,
                }
            }
            unseen.remove(&name);
        }
        Ok(true)
    }

    /// Whether only this record failed, as far as the slice can tell.
    fn may_put_off(&self, error: &svix::Error) -> bool {
        self.svix_answers && !self.has_failed_lookup && may_concern_one_thing(error)
    }

    /// Looks up the message of a record.
    async fn confirm(
        &mut self,
        name: &str,
        item: &Item,
        record: &Delivered,
    ) -> Result<(), Problem> {
        // A clock that is ahead writes times that are still to come.
        let age = age(&record.delivered_at, self.now).unwrap_or_default();
        if age >= SVIX_RETENTION {
            return Ok(());
        }
        let id = &record.svix_message_id;
        let answer = self.ask(&message::lookup_path(&record.project, id)).await?;
        let kind = match list::classify_held(&answer, id)? {
            None => Kind::Missing,
            Some(stored_at) => match self.is_unsent(record, &stored_at).await {
                Ok(true) => Kind::Unsent,
                Err(error) if !may_concern_one_thing(&error) => return Err(error.into()),
                Err(_) if age < PUT_OFF => {
                    self.put_off.push(name.to_owned());
                    return Ok(());
                }
                Ok(false) | Err(_) => {
                    self.events += 1;
                    return Ok(());
                }
            },
        };
        let finding =
            Finding::new(kind, &record.project, &record.event_id, name, vec![id.clone()], self.now);
        self.report(finding, Some(&item.record)).await
    }

    /// Whether Svix has tried no endpoint with a message that one of them surely takes.
    async fn is_unsent(
        &mut self,
        record: &Delivered,
        stored_at: &str,
    ) -> Result<bool, svix::Error> {
        if !record.may_be_unsent() {
            return Ok(false);
        }
        let project = &record.project;
        let path = endpoints::destinations_path(project, &record.svix_message_id);
        let tried = self.endpoints(&path).await?;
        if tried.is_none_or(|tried| !tried.is_empty()) {
            return Ok(false);
        }
        if self.known_endpoints.0 != *project {
            let all = self.endpoints(&endpoints::endpoints_path(project)).await?;
            self.known_endpoints = (project.clone(), all.unwrap_or_default());
        }
        let mut all = self.known_endpoints.1.iter();
        Ok(all.any(|endpoint| endpoint.surely_takes(&record.event_type, stored_at)))
    }

    /// The first page of a list of endpoints. `None` if Svix doesn't show it.
    async fn endpoints(&mut self, path: &str) -> Result<Option<Vec<Endpoint>>, svix::Error> {
        let answer = self.ask(path).await;
        match answer.and_then(|answer| endpoints::classify_list(&answer)) {
            Ok(page) => Ok(page.map(|page| page.data)),
            // With this token, or in this version, Svix never shows it.
            Err(
                svix::Error::Refused(_)
                | svix::Error::Misconfigured(_)
                | svix::Error::Unavailable { cause: Cause::NoSuchPath, .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks up the message of an unknown record, since no sender has come back.
    async fn ask_again(
        &mut self,
        name: &str,
        item: &Item,
        record: &Unknown,
    ) -> Result<(), Problem> {
        let path = message::lookup_path(&record.project, &item.svix_event_id);
        let answer = self.ask(&path).await?;
        if let Some(id) = message::classify_lookup(&answer, &item.svix_event_id)? {
            return self.settle(name, record, &id).await;
        }
        let finding = Finding::new(
            Kind::Unsettled,
            &record.project,
            &record.event_id,
            name,
            Vec::new(),
            self.now,
        );
        let last = record.last_attempt_at.as_ref();
        let finding = self.pending(finding, last.unwrap_or(&record.first_attempt_at));
        self.report(finding, Some(&item.record)).await
    }
}
