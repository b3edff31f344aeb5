//! One project: its records against its messages in Svix, in both directions.
//!
//! Svix lists the project's messages page by page. Each is held against its record. A record whose message
//! was not in the list is looked up by itself: the message may be stored long before its record, or at
//! another time by Svix's clock. So is a message that Svix may have stored without ever sending it.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, SystemTime};

use super::batch::{Item, LAG};
use super::board::Board;
use super::findings::{Finding, Kind};
use super::state::{MOST_LISTS, Progress, WaitingList, time};
use crate::api::problem::Problem;
use crate::config::Config;
use crate::conversation::Conversation;
use crate::event;
use crate::host::deadline::Deadline;
use crate::host::store;
use crate::host::{self, clock};
use crate::records::{Delivered, Found, Record, Unknown, journal, storage};
use crate::svix::endpoints::{self, Endpoint};
use crate::svix::list::{self, Message};
use crate::svix::message;
use crate::svix::{self, Answer, Cause, application};
use crate::time::{age, parse_rfc3339, unix_millis};

/// How long a slice goes on with the list of one project: a list that breaks off costs lookups.
const LISTING: Duration = Duration::from_secs(3);

/// After what time a slice begins nothing new.
const SLICE: Duration = Duration::from_secs(1);

/// A project that isn't there, by which Svix shows that it answers.
const NO_PROJECT: &str = "svix-relay-audit";

/// For how long a record is put off because Svix doesn't show whether it has sent the message.
const PUT_OFF: Duration = Duration::from_hours(24);

/// For how long Svix keeps a message.
const SVIX_RETENTION: Duration = Duration::from_hours(90 * 24);

/// The comparisons of one slice.
pub struct Comparison<'a> {
    config: &'a Config,
    conversation: Conversation<'a>,
    slice: Deadline,
    listing: Deadline,
    now: SystemTime,
    /// Whether Svix has answered, or a batch is done. Then the next slice begins at another place, and a failure may be
    /// of one thing.
    pub is_begun: bool,
    /// The records that a later slice compares: a page of the journal will name them again.
    put_off: Vec<String>,
    /// How many these were in all.
    pub put_off_in_all: u64,
    /// Whether the slice has put a record off that could not be looked up.
    has_put_off: bool,
    /// The lists that Svix has failed to show, this time or before.
    pub lists: Vec<WaitingList>,
    /// How many records were found in Svix.
    pub events: u64,
    /// How many unknown records were settled.
    pub settled: u64,
    /// How many findings are new.
    pub found: u64,
    /// A project, and its endpoints.
    known_endpoints: (String, Vec<Endpoint>),
    /// Read with the first finding.
    board: Option<Board>,
}

/// A project at work.
pub struct Project<'a> {
    pub name: &'a str,
    pub items: &'a BTreeMap<String, Item>,
    /// Messages stored at this time or later, and before the other, are listed.
    pub after: SystemTime,
    pub before: SystemTime,
}

impl<'a> Comparison<'a> {
    pub fn new(
        config: &'a Config,
        deadline: Deadline,
        now: SystemTime,
        lists: Vec<WaitingList>,
    ) -> Self {
        Self {
            config,
            conversation: Conversation::behind_the_gate(config, deadline),
            slice: Deadline::new(deadline.since, SLICE),
            listing: Deadline::new(deadline.since, LISTING),
            now,
            is_begun: false,
            put_off: Vec::new(),
            put_off_in_all: 0,
            has_put_off: false,
            lists,
            events: 0,
            settled: 0,
            found: 0,
            known_endpoints: (String::new(), Vec::new()),
            board: None,
        }
    }

    /// Whether the slice begins nothing new.
    pub fn is_over(&self) -> bool {
        self.is_begun && self.slice.is_over()
    }

    async fn ask(&mut self, path: &str) -> Result<Answer, svix::Error> {
        let answer = self.conversation.get(path).await?;
        self.is_begun = true;
        Ok(answer)
    }

    /// Compares a project, as far as the time allows. Returns whether it is done; `progress` keeps what is.
    pub async fn run(
        &mut self,
        project: &Project<'_>,
        progress: &mut Progress,
    ) -> Result<bool, Problem> {
        let mut unseen: BTreeSet<_> = progress.unseen.drain(..).collect();
        let result = self.list(project, progress, &mut unseen).await;
        let result = match result {
            Ok(true) => self.look_up(project, &mut unseen).await,
            other => other,
        };
        let put_off = mem::take(&mut self.put_off);
        self.put_off_in_all += put_off.len() as u64;
        let noted = append(&put_off).await;
        if noted.is_err() {
            unseen.extend(put_off);
        }
        progress.unseen.extend(unseen);
        noted?;
        result
    }

    /// Lists again what Svix has failed to list earlier. Returns whether nothing of that is left for now.
    pub async fn list_again(&mut self) -> Result<bool, Problem> {
        let lag = u64::try_from(LAG.as_millis()).unwrap_or(u64::MAX);
        let now = unix_millis(self.now);
        // One that was tried in the future was tried by a clock that was ahead.
        let is_due = |it: &WaitingList| it.tried > now || it.tried <= now.saturating_sub(lag);
        while let Some(at) = self.lists.iter().position(is_due) {
            if self.is_over() {
                return Ok(false);
            }
            let mut list = self.lists.remove(at);
            let project = Project {
                name: &list.project,
                items: &BTreeMap::new(),
                after: time(list.after),
                before: time(list.before),
            };
            let mut progress = Progress {
                listed: false,
                iterator: list.iterator.take(),
                unseen: Vec::new(),
            };
            let result = self.run(&project, &mut progress).await;
            if !matches!(result, Ok(true)) {
                list.iterator = progress.iterator;
                self.lists.push(list);
                return result;
            }
        }
        Ok(true)
    }

    /// Notes that Svix doesn't list a project's messages. Fails if too many projects wait already.
    fn put_list_off(
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
        if let Some(at) = self.lists.iter().position(same) {
            list = list.with(&self.lists.remove(at));
        } else if self.lists.len() >= MOST_LISTS {
            return Err(error);
        }
        self.lists.push(list);
        Ok(())
    }

    /// Holds each listed message against its record.
    async fn list(
        &mut self,
        project: &Project<'_>,
        progress: &mut Progress,
        unseen: &mut BTreeSet<String>,
    ) -> Result<bool, Problem> {
        let by_event: BTreeMap<_, _> = project
            .items
            .iter()
            .map(|(name, item)| (item.svix_event_id.as_str(), name))
            .collect();
        while !progress.listed {
            if self.listing.is_over() && progress.iterator.is_some() {
                return Ok(false);
            }
            self.see_whether_svix_answers().await;
            let iterator = progress.iterator.as_deref();
            let path = list::path(project.name, project.after, project.before, iterator);
            let answer = self.ask(&path).await;
            let page = match answer.and_then(|answer| list::classify(&answer)) {
                Ok(Some(page)) => page,
                Ok(None) => {
                    self.application_missing(project, unseen).await?;
                    break;
                }
                // A list that fails, or is unreadable or too large, holds up no other project: each record of
                // this one is looked up by itself, and the list comes again.
                Err(error) if self.is_begun && is_of_one_thing(&error) => {
                    self.put_list_off(project, error)?;
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
                    self.pair(project.name, name, record, &message, unseen)
                        .await?;
                } else if !message::is_mapped(event_id) {
                    let key = event::key(project.name, event_id);
                    others.push((Record::name(&key), message));
                }
            }
            self.compare_others(project.name, &others, unseen).await?;
            if next.is_some() && !goes_on {
                // This page leads to itself.
                self.put_list_off(project, Cause::Unexpected(200).into())?;
                break;
            }
            progress.listed = !goes_on;
            progress.iterator = next;
        }
        progress.listed = true;
        Ok(true)
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
                self.pair(project, name, found.record(), message, unseen)
                    .await?;
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

    /// Looks up the messages that were not in the list.
    async fn look_up(
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
                        self.has_put_off = true;
                    }
                    result => result?,
                }
            }
            unseen.remove(&name);
        }
        Ok(true)
    }

    /// Any answer shows that a later failure is of one thing.
    async fn see_whether_svix_answers(&mut self) {
        if !self.is_begun {
            let _ = self.ask(&application::path(NO_PROJECT)).await;
        }
    }

    /// Whether the failure is of one record.
    fn may_put_off(&self, error: &svix::Error) -> bool {
        self.is_begun && !self.has_put_off && is_of_one_thing(error)
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
                Err(error) if !is_of_one_thing(&error) => return Err(error.into()),
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
        let finding = Finding::new(
            kind,
            &record.project,
            &record.event_id,
            name,
            vec![id.clone()],
            self.now,
        );
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
                | svix::Error::Unavailable {
                    cause: Cause::NoSuchPath,
                    ..
                },
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

    /// The finding, pending for as long as Pub/Sub brings an event of that time again.
    fn pending(&self, finding: Finding, since: &str) -> Finding {
        let until =
            parse_rfc3339(since).and_then(|since| since.checked_add(self.config.pubsub_retention));
        // A clock that was ahead must not keep a finding pending.
        let last = self.now.checked_add(self.config.pubsub_retention);
        match until.filter(|until| *until > self.now && Some(*until) <= last) {
            Some(until) => finding.pending(until),
            None => finding,
        }
    }

    /// Writes that an event is delivered, unless its record has changed meanwhile.
    async fn settle(&mut self, name: &str, unknown: &Unknown, id: &str) -> Result<(), Problem> {
        if self
            .is_as_before(name, Some(&Record::Unknown(unknown.clone())))
            .await?
        {
            let record = Record::Delivered(unknown.delivered(id.to_owned(), clock::now()));
            storage::write_alone(name, &record).await?;
            self.settled += 1;
        }
        Ok(())
    }

    /// Reports a finding, unless the record has changed meanwhile.
    async fn report(&mut self, finding: Finding, record: Option<&Record>) -> Result<(), Problem> {
        if !self.is_as_before(&finding.record_name, record).await? {
            return Ok(());
        }
        let mut board = match self.board.take() {
            Some(board) => board,
            None => Board::read().await?,
        };
        self.found += u64::from(board.report(finding).await?);
        self.board = Some(board);
        Ok(())
    }

    async fn is_as_before(&self, name: &str, record: Option<&Record>) -> Result<bool, Problem> {
        let found = storage::find(name, store::TIMEOUT).await?;
        Ok(!matches!(found, Found::Unreadable(_)) && found.record() == record)
    }
}

/// Lets a later audit compare the records.
async fn append(names: &[String]) -> Result<(), host::Error> {
    for names in names.chunks(journal::PAGE) {
        journal::append(names).await?;
    }
    Ok(())
}

/// Whether Svix may fail so about one thing, and answer about others.
fn is_of_one_thing(error: &svix::Error) -> bool {
    let svix::Error::Unavailable { cause, .. } = error else {
        return false;
    };
    matches!(
        cause,
        Cause::Status(_)
            | Cause::UnreadableAnswer
            | Cause::Unexpected(_)
            | Cause::Unforeseen(_)
            | Cause::NoSuchPath
            | Cause::Timeout
            | Cause::Connection(_)
    )
}
