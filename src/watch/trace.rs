//! The trace of a notification (W3C Trace Context). It is taken over from the sender, or begins here, and
//! goes on to Svix with the relay's own span.

use crate::event::arrival::Attributes;

/// The flags of a trace that begins here: it is recorded.
const SAMPLED: u8 = 0b01;

/// The flags that have a meaning. Others must not be passed on.
const KNOWN_FLAGS: u8 = 0b11;

/// The version of the headers that the relay writes.
const VERSION: &str = "00";

/// The length of a `traceparent` of that version, in bytes. Later versions may add to it.
const LENGTH: usize = 55;

/// The most members of a `tracestate`, and the longest name and value of one, in bytes.
const MAX_MEMBERS: usize = 32;
const MAX_PART: usize = 256;
const MAX_TENANT: usize = 241;
const MAX_SYSTEM: usize = 14;

/// A trace, and the relay's span in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: String,
    span_id: String,
    flags: u8,
    /// A `tracestate`: the notes of the sender's systems on the trace.
    state: Option<String>,
    /// Whether the trace began before the relay.
    continued: bool,
}

impl Trace {
    /// The trace that the request has brought, or else the one that the publisher has begun: Google's clients put it
    /// into these attributes.
    pub fn of_event(
        of_request: Option<Self>,
        attributes: &Attributes,
        random: &mut fastrand::Rng,
    ) -> Self {
        match of_request {
            Some(trace) if trace.continued => trace,
            _ => {
                let parent = attributes.get("googclient_traceparent");
                let state = attributes.get("googclient_tracestate").unwrap_or_default();
                Self::of(parent, state, random)
            }
        }
    }

    /// A new span in the trace of `traceparent`, or in a new trace if that is missing or invalid.
    pub fn of(traceparent: Option<&str>, tracestate: &str, random: &mut fastrand::Rng) -> Self {
        let parent = traceparent.and_then(parse);
        let continued = parent.is_some();
        let (id, flags) = parent.unwrap_or_else(|| {
            let (high, low) = (random.u64(..), random.u64(1..));
            (format!("{high:016x}{low:016x}"), SAMPLED)
        });
        Self {
            id,
            span_id: format!("{:016x}", random.u64(1..)),
            flags,
            state: state(tracestate).filter(|_| continued),
            continued,
        }
    }

    /// The headers of the relay's requests.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let Self { id, span_id, flags, .. } = self;
        let parent = format!("{VERSION}-{id}-{span_id}-{flags:02x}");
        let state = self.state.clone().map(|state| ("tracestate", state));
        [("traceparent", parent)].into_iter().chain(state).collect()
    }

    pub fn into_ids(self) -> (String, String) {
        (self.id, self.span_id)
    }
}

/// The trace's id and flags, if `traceparent` is valid. A later version begins like this one.
fn parse(traceparent: &str) -> Option<(String, u8)> {
    let known = traceparent.get(..LENGTH)?;
    let later = &traceparent[LENGTH..];
    let mut parts = known.split('-');
    let mut next = |length| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == length && part.bytes().all(hex))
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let [version, trace_id, parent_id, flags] = [next(2)?, next(32)?, next(16)?, next(2)?];
    let well_ended = match version {
        "ff" => false,
        VERSION => later.is_empty(),
        _ => later.is_empty() || later.starts_with('-'),
    };
    if !well_ended || is_zero(trace_id) || is_zero(parent_id) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((trace_id.to_owned(), flags & KNOWN_FLAGS))
}

/// A `tracestate`, without spaces and empty members. `None` if it is empty or invalid.
fn state(tracestate: &str) -> Option<String> {
    let members = tracestate.split(',').map(|member| member.trim_matches([' ', '\t']));
    let members: Vec<_> = members.filter(|member| !member.is_empty()).collect();
    let valid =
        (1..=MAX_MEMBERS).contains(&members.len()) && members.iter().all(|it| is_member(it));
    valid.then(|| members.join(","))
}

fn is_member(member: &str) -> bool {
    let in_value = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    let is_long = |part: &str| (1..=MAX_PART).contains(&part.len());
    member
        .split_once('=')
        .is_some_and(|(key, value)| is_key(key) && is_long(value) && value.bytes().all(in_value))
}

/// A name, or a tenant of a system.
fn is_key(key: &str) -> bool {
    let is_name = |name: &str, most: usize| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        name.len() <= most
            && name.bytes().next().is_some_and(plain)
            && name.bytes().all(|byte| plain(byte) || b"_-*/".contains(&byte))
    };
    match key.split_once('@') {
        None => is_name(key, MAX_PART),
        Some((tenant, system)) => is_name(tenant, MAX_TENANT) && is_name(system, MAX_SYSTEM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn of(traceparent: Option<&str>) -> Trace {
        Trace::of(traceparent, "", &mut fastrand::Rng::with_seed(1))
    }

    fn traceparent(trace: &Trace) -> String {
        trace.headers().remove(0).1
    }

    #[test]
    fn a_valid_traceparent_goes_on_in_a_new_span() {
        let trace = of(Some(GIVEN));
        assert!(trace.continued);
        assert_eq!(trace.id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span_id, "00f067aa0ba902b7");
        let header = format!("00-{}-{}-00", trace.id, trace.span_id);
        assert_eq!(traceparent(&trace), header, "not sampled there, nor here");
        let flags = |flags| of(Some(&format!("{}{flags}", &GIVEN[..53]))).flags;
        assert_eq!((flags("01"), flags("ff")), (1, 3));
    }

    #[test]
    fn goes_on_with_the_trace_of_a_later_version() {
        for later in ["01", "cc", "fe"] {
            let given = GIVEN.replacen("00", later, 1);
            for given in [given.clone(), format!("{given}-more-to-come")] {
                let trace = of(Some(&given));
                assert_eq!(trace.id, "4bf92f3577b34da6a3ce929d0e0e4736", "{given}");
                assert!(traceparent(&trace).starts_with("00-"), "{given}");
            }
            assert_eq!(parse(&format!("{given}.more")), None);
        }
    }

    #[test]
    fn an_invalid_traceparent_begins_a_new_trace() {
        let zeros = "0".repeat(32);
        for nonsense in [
            "",
            "-",
            &GIVEN[..52],
            &format!("{GIVEN}-00"),
            &format!(" {GIVEN}"),
            &GIVEN.replacen("00", "ff", 1),
            &GIVEN.replacen("00", "0.", 1),
            &GIVEN.to_uppercase(),
            &GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            &GIVEN.replace("00f067aa0ba902b7", &zeros[..16]),
            &GIVEN.replace("4bf9", "+bf9"),
            &GIVEN.replace("4bf92f", "4bfä"),
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
            let trace = of(Some(nonsense));
            assert!(!trace.continued);
            assert_eq!(trace.flags, SAMPLED);
            assert!(parse(&traceparent(&trace)).is_some());
        }
    }

    #[test]
    fn passes_on_the_state_of_a_valid_trace() {
        let passed = |parent, state: &str| {
            let trace = Trace::of(Some(parent), state, &mut fastrand::Rng::with_seed(1));
            trace.headers().into_iter().nth(1).map(|(_, state)| state)
        };
        let members = |number| {
            let members: Vec<_> = (0..number).map(|n| format!("k{n}=1")).collect();
            members.join(",")
        };
        let long = |length| format!("{}=1", "k".repeat(length));
        for (given, expected) in [
            ("foo=1", Some("foo=1".to_owned())),
            ("foo=1 \t,\t bar=2,,", Some("foo=1,bar=2".to_owned())),
            ("tenant@system=a:b/c;d", Some("tenant@system=a:b/c;d".to_owned())),
            ("foo=1,foo=2", Some("foo=1,foo=2".to_owned())),
            (&members(32), Some(members(32))),
            (&members(33), None),
            (&long(256), Some(long(256))),
            (&long(257), None),
            ("", None),
            ("foo", None),
            ("=1", None),
            ("foo=", None),
            ("foo=a=b", None),
            ("FOO=1", None),
            ("foo@=1", None),
            ("@foo=1", None),
            ("a@b@c=1", None),
            ("t@fifteen_letters=1", None),
            ("foo=\u{e4}", None),
        ] {
            assert_eq!(passed(GIVEN, given), expected, "{given}");
        }
        assert_eq!(passed("invalid", "foo=1"), None);
    }

    #[test]
    fn every_trace_and_every_span_has_an_id_of_its_own() {
        let mut random = fastrand::Rng::with_seed(1);
        let [one, other] = [(); 2].map(|()| Trace::of(None, "", &mut random));
        assert_ne!(one.id, other.id);
        assert_ne!(one.span_id, other.span_id);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = (parse(&text), state(&text));
        }
    }
}
