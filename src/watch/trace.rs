//! The trace of a notification (W3C Trace Context, version 00). It is taken over from the sender, or
//! begins here, and goes on to Svix with the relay's own span.

/// The flags of a trace that begins here: it is recorded.
const SAMPLED: u8 = 0b01;

/// The flags that have a meaning. Others must not be passed on.
const KNOWN_FLAGS: u8 = 0b11;

/// A trace, and the relay's span in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: String,
    span_id: String,
    flags: u8,
}

impl Trace {
    /// A new span in the trace of `traceparent`, or in a new trace if that is missing or invalid.
    pub fn of(traceparent: Option<&str>, random: &mut fastrand::Rng) -> Self {
        let (id, flags) = traceparent.and_then(parse).unwrap_or_else(|| {
            let (high, low) = (random.u64(..), random.u64(1..));
            (format!("{high:016x}{low:016x}"), SAMPLED)
        });
        let span_id = format!("{:016x}", random.u64(1..));
        Self { id, span_id, flags }
    }

    /// The `traceparent` of the relay's requests.
    pub fn header(&self) -> String {
        let Self { id, span_id, flags } = self;
        format!("00-{id}-{span_id}-{flags:02x}")
    }

    pub fn into_ids(self) -> (String, String) {
        (self.id, self.span_id)
    }
}

/// The trace's id and flags, if `traceparent` is valid.
fn parse(traceparent: &str) -> Option<(String, u8)> {
    let mut parts = traceparent.split('-');
    let mut next = |length| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts
            .next()
            .filter(|part| part.len() == length && part.bytes().all(hex))
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let [version, trace_id, parent_id, flags] = [next(2)?, next(32)?, next(16)?, next(2)?];
    if version != "00" || is_zero(trace_id) || is_zero(parent_id) || parts.next().is_some() {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((trace_id.to_owned(), flags & KNOWN_FLAGS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn of(traceparent: Option<&str>) -> Trace {
        Trace::of(traceparent, &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn a_valid_traceparent_goes_on_in_a_new_span() {
        let trace = of(Some(GIVEN));
        assert_eq!(trace.id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span_id, "00f067aa0ba902b7");
        let header = format!("00-{}-{}-00", trace.id, trace.span_id);
        assert_eq!(trace.header(), header, "not sampled there, nor here");
        let flags = |flags| of(Some(&format!("{}{flags}", &GIVEN[..53]))).flags;
        assert_eq!((flags("01"), flags("ff")), (1, 3));
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
            &GIVEN.replacen("00", "01", 1),
            &GIVEN.replacen("00", "ff", 1),
            &GIVEN.to_uppercase(),
            &GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            &GIVEN.replace("00f067aa0ba902b7", &zeros[..16]),
            &GIVEN.replace("4bf9", "+bf9"),
            &GIVEN.replace("4bf92f", "4bfä"),
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
            let trace = of(Some(nonsense));
            assert_eq!(trace.flags, SAMPLED);
            assert!(parse(&trace.header()).is_some(), "{}", trace.header());
        }
    }

    #[test]
    fn every_trace_and_every_span_has_an_id_of_its_own() {
        let mut random = fastrand::Rng::with_seed(1);
        let [one, other] = [(); 2].map(|()| Trace::of(None, &mut random));
        assert_ne!(one.id, other.id);
        assert_ne!(one.span_id, other.span_id);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
