//! One project: its records against its messages in Svix, in both directions.
//!
//! Svix lists the project's messages page by page, and each is held against its record ([`listing`]). A record whose
//! message was not in the list is looked up by itself ([`lookup`]): the message may be stored long before its record,
//! or at another time by Svix's clock. So is a message that Svix may have stored without ever sending it.
//!
//! A list or a record that Svix fails to show must not hold up the others. The list waits in the audit's state, and the
//! record is put off: a page of the journal names it again. But if Svix answers nothing at all, the slice fails.

mod listing;
mod lookup;

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, SystemTime};

use super::batch::{Item, LAG};
use super::board::Board;
use super::findings::Finding;
use super::state::{Progress, WaitingList};
use crate::api::problem::Problem;
use crate::config::Config;
use crate::conversation::Conversation;
use crate::host::clock::{self, Stopwatch};
use crate::host::deadline::Deadline;
use crate::host::store;
use crate::records::{Found, Record, Unknown, journal, storage};
use crate::svix::endpoints::Endpoint;
use crate::svix::{self, Answer, Cause, application};
use crate::time::parse_rfc3339;

/// How long a slice goes on with the list of one project: a list that breaks off costs lookups.
const LISTING: Duration = Duration::from_secs(3);

/// After what time a slice begins nothing new.
const SLICE: Duration = Duration::from_secs(1);

/// The name of no project: any answer about it shows that Svix answers.
const NO_PROJECT: &str = "svix-relay-audit";

/// The comparisons of one slice.
pub struct Comparison<'a> {
    config: &'a Config,
    conversation: Conversation<'a>,
    deadline: Deadline,
    slice: Deadline,
    listing: Deadline,
    now: SystemTime,
    /// Whether the next slice begins further on than this one did: each slice does one thing at least.
    pub has_progress: bool,
    /// Whether Svix has answered in this slice. From then on, a failure may concern one list or record alone.
    svix_answers: bool,
    /// The lists that Svix has failed to show, this time or before.
    pub waiting_lists: Vec<WaitingList>,
    /// The records of the project at work that a later slice compares.
    put_off: Vec<String>,
    /// How many records the slice has put off.
    pub records_put_off: u64,
    /// Whether one of them is a record whose lookup failed.
    has_failed_lookup: bool,
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
        waiting_lists: Vec<WaitingList>,
    ) -> Self {
        Self {
            config,
            conversation: Conversation::behind_the_gate(config, deadline),
            deadline,
            slice: Deadline::new(deadline.since, SLICE),
            listing: Deadline::new(deadline.since, LISTING),
            now,
            has_progress: false,
            svix_answers: false,
            waiting_lists,
            put_off: Vec::new(),
            records_put_off: 0,
            has_failed_lookup: false,
            events: 0,
            settled: 0,
            found: 0,
            known_endpoints: (String::new(), Vec::new()),
            board: None,
        }
    }

    /// Whether the slice begins nothing new.
    pub fn is_over(&self) -> bool {
        self.has_progress && self.slice.is_over()
    }

    async fn ask(&mut self, path: &str) -> Result<Answer, svix::Error> {
        let answer = self.conversation.get(path).await?;
        self.svix_answers = true;
        self.has_progress = true;
        Ok(answer)
    }

    /// Compares a project, as far as the time allows. Returns whether it is done; `progress` keeps what is.
    pub async fn run(
        &mut self,
        project: &Project<'_>,
        progress: &mut Progress,
    ) -> Result<bool, Problem> {
        let result = match self.list(project, progress).await {
            Ok(true) => self.look_up(project, &mut progress.unseen).await,
            other => other,
        };
        let put_off = mem::take(&mut self.put_off);
        self.records_put_off += put_off.len() as u64;
        if let Err(error) = journal::append(&put_off).await {
            progress.unseen.extend(put_off);
            return Err(error.into());
        }
        result
    }

    /// Asks Svix for the application of no project. Half of the time at least stays for a list or a record that hangs.
    async fn see_whether_svix_answers(&mut self) {
        if !self.svix_answers {
            let time = self.config.svix.timeout.min(self.deadline.remaining() / 2);
            let deadline = Deadline::new(Stopwatch::start(), time);
            let mut conversation = Conversation::behind_the_gate(self.config, deadline);
            let answer = conversation.get(&application::path(NO_PROJECT)).await;
            self.svix_answers = answer.is_ok();
        }
    }

    /// The finding, pending for as long as Pub/Sub brings an event of that time again.
    fn pending(&self, finding: Finding, since: &str) -> Finding {
        let retention = self.config.pubsub_retention;
        let until = parse_rfc3339(since).and_then(|since| since.checked_add(retention));
        // A clock that was ahead must not keep a finding pending.
        let last = self.now + retention;
        match until.filter(|until| *until > self.now && *until <= last + LAG) {
            Some(until) => finding.pending(until.min(last)),
            None => finding,
        }
    }

    /// Writes that an event is delivered, unless its record has changed meanwhile.
    async fn settle(&mut self, name: &str, unknown: &Unknown, id: &str) -> Result<(), Problem> {
        if self.is_as_before(name, Some(&Record::Unknown(unknown.clone()))).await? {
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

/// Whether Svix may fail so about one list or record, and answer about others.
fn may_concern_one_thing(error: &svix::Error) -> bool {
    let svix::Error::Unavailable { cause, .. } = error else {
        return false;
    };
    matches!(
        cause,
        Cause::Status(_)
            | Cause::UnreadableAnswer
            | Cause::NotSvix(_)
            | Cause::UnknownError(_)
            | Cause::NoSuchPath
            | Cause::Timeout
            | Cause::Connection(_)
    )
}
