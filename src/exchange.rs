//! One request at hand, from its headers to its line in the log.

use std::borrow::Cow;

use spin_sdk::wasip3::http::types::{Method, Request};

use crate::host::clock::Stopwatch;
use crate::host::http::Headers;
use crate::host::server::Incoming;
use crate::watch::entry::Entry;

pub struct Exchange {
    pub method: Cow<'static, str>,
    pub headers: Headers,
    pub body: Incoming,
    /// Started when the request came in.
    pub since: Stopwatch,
    /// The line that the request will leave.
    pub entry: Entry,
}

impl Exchange {
    pub fn of(request: Request) -> Self {
        let since = Stopwatch::start();
        let method = method_name(request.get_method());
        let (headers, body) = Incoming::of(request);
        Self { method, headers, body, since, entry: Entry::default() }
    }
}

fn method_name(method: Method) -> Cow<'static, str> {
    let name = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return Cow::Owned(name),
    };
    Cow::Borrowed(name)
}
