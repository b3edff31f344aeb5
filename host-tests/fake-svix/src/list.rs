//! The list of an application's messages, page by page.

use std::time::SystemTime;

use crate::message::MessageOut;
use crate::page::Paging;
use crate::refusal::{Answer, Refusal};
use crate::request::ReceivedRequest;
use crate::store::Store;

#[derive(Debug)]
pub(crate) struct ListMessages<'a> {
    app: &'a str,
    paging: Paging,
    with_content: bool,
}

impl<'a> ListMessages<'a> {
    pub fn read(app: &'a str, request: &'a ReceivedRequest) -> Result<Self, Refusal> {
        Ok(Self {
            app,
            paging: Paging::read(request, "msg_")?,
            with_content: request.flag("with_content", true)?,
        })
    }

    pub fn execute(&self, store: &Store, now: SystemTime) -> Answer {
        store.application(self.app).ok_or(Refusal::ApplicationNotFound)?;
        let messages = store.messages_since(self.app, |message| self.paging.is_reached(message));
        let show = |message| MessageOut::new(message, self.with_content);
        Ok(self.paging.page(messages, Some(now), show))
    }
}
