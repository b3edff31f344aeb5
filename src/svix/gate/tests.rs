use super::Reason::{RateLimited, SvixUnavailable};
use super::*;
use std::time::UNIX_EPOCH;

const JITTER: f64 = 1.0;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn of<'a>(project: &'a str, event: &'a str) -> EventAtGate<'a> {
    EventAtGate { key: event, project }
}

/// Svix limits the rate of the project `dev`, and asks to wait for so many seconds. Returns the state to share.
fn limited(gate: &mut Gate, probe: bool, asked: Option<u64>, now: SystemTime) -> Option<Vec<u8>> {
    let asked = asked.map(Duration::from_secs);
    gate.failed(of("dev", "a"), probe, RateLimited, asked, JITTER, now)
}

/// Svix fails on this event of the project `dev`. Returns the state to share.
fn unavailable(gate: &mut Gate, event: &str, probe: bool, now: SystemTime) -> Option<Vec<u8>> {
    gate.failed(of("dev", event), probe, SvixUnavailable, None, JITTER, now)
}

/// Svix fails on this event of any project, which is not the probe.
fn fail(gate: &mut Gate, event: &str, project: &str, now: SystemTime) {
    let event = of(project, event);
    gate.failed(event, false, SvixUnavailable, None, JITTER, now);
}

fn closed_for(gate: &Gate, now: SystemTime) -> Option<u64> {
    gate.closed_for("dev", now).map(|shut| shut.rest.as_secs())
}

#[test]
fn a_rate_limit_closes_the_gate_for_as_long_as_svix_asks() {
    let mut gate = Gate::open();
    assert_eq!(gate.pass("dev", at(0)), Pass::Open);
    assert!(limited(&mut gate, false, Some(7), at(0)).is_some());
    let shut = Shut { reason: RateLimited, rest: Duration::from_secs(5), probing: false };
    assert_eq!(gate.pass("dev", at(2)), Pass::Closed(shut));
    assert_eq!(gate.pass("dev", at(7)), Pass::Probe);
}

#[test]
fn a_rate_limit_without_a_wait_closes_the_gate_longer_each_time_up_to_half_a_minute() {
    let mut gate = Gate::open();
    let mut waits = Vec::new();
    for _ in 0..7 {
        let wait = closed_for(&gate, at(0)).unwrap_or_default();
        waits.push(wait);
        assert!(limited(&mut gate, true, None, at(0)).is_some());
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30]);
}

#[test]
fn five_failures_in_a_row_close_the_gate_unless_all_are_of_one_event() {
    let mut gate = Gate::open();
    for failure in 0..20 {
        let news = unavailable(&mut gate, "poison", false, at(0)).is_some();
        assert_eq!(news, failure < 3, "only what counts is shared");
    }
    unavailable(&mut gate, "another", false, at(0));
    assert_eq!(closed_for(&gate, at(0)), None);
    unavailable(&mut gate, "another", false, at(0));
    assert_eq!(closed_for(&gate, at(0)), Some(1));
}

#[test]
fn failures_anywhere_are_one_run() {
    let mut shared = None;
    for event in ["a", "b", "c", "d", "e"] {
        let mut gate = Gate::open();
        gate.learn(shared.as_deref(), at(0));
        assert_eq!(closed_for(&gate, at(0)), None);
        shared = unavailable(&mut gate, event, false, at(0));
    }
    let mut gate = Gate::open();
    gate.learn(shared.as_deref(), at(0));
    assert_eq!(closed_for(&gate, at(0)), Some(1));
}

#[test]
fn a_success_ends_a_run_of_failures() {
    let mut gate = Gate::open();
    for event in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        unavailable(&mut gate, event, false, at(0));
        assert_eq!(closed_for(&gate, at(0)), None);
        if event == "d" {
            assert!(gate.answered("dev", false, at(0)).is_some(), "others may count on");
            assert_eq!(gate.answered("dev", false, at(0)), None, "nothing new");
        }
    }
}

#[test]
fn while_a_probe_is_on_its_way_the_gate_is_closed_for_other_events() {
    let mut gate = Gate::open();
    limited(&mut gate, false, Some(1), at(0));
    assert_eq!(gate.pass("dev", at(1)), Pass::Probe);
    gate.send_probe(Duration::from_secs(3), at(1));
    assert_eq!(closed_for(&gate, at(1)), Some(3));
    // A probe that never came back.
    assert_eq!(gate.pass("dev", at(4)), Pass::Probe);
}

#[test]
fn the_outcome_of_the_probe_decides() {
    let mut gate = Gate::open();
    limited(&mut gate, false, Some(1), at(0));
    gate.send_probe(Duration::from_secs(3), at(1));
    assert_eq!(gate.answered("dev", false, at(1)), None, "sent before it closed");
    assert_eq!(closed_for(&gate, at(1)), Some(3));

    let mut failed = gate.clone();
    assert!(unavailable(&mut failed, "a", true, at(1)).is_some());
    assert_eq!(closed_for(&failed, at(1)), Some(2), "the second time");

    assert!(gate.answered("dev", true, at(1)).is_some());
    assert_eq!(gate.pass("dev", at(1)), Pass::Open);
}

#[test]
fn an_attempt_sent_before_the_gate_closed_changes_it_only_for_a_longer_wait() {
    let mut gate = Gate::open();
    limited(&mut gate, false, Some(10), at(0));
    assert!(limited(&mut gate, false, None, at(0)).is_none());
    assert!(limited(&mut gate, false, Some(5), at(0)).is_none());
    for event in ["a", "b", "c", "d", "e", "f"] {
        assert!(unavailable(&mut gate, event, false, at(0)).is_none());
    }
    assert!(limited(&mut gate, false, Some(20), at(0)).is_some());
    assert_eq!(closed_for(&gate, at(0)), Some(20));
}

#[test]
fn late_answers_do_not_make_the_next_closing_longer() {
    let mut gate = Gate::open();
    for asked in [2, 4, 6] {
        assert!(limited(&mut gate, false, Some(asked), at(0)).is_some());
    }
    // This wait is hardly longer.
    assert!(limited(&mut gate, false, Some(7), at(0)).is_none());
    assert!(limited(&mut gate, true, None, at(6)).is_some());
    assert_eq!(closed_for(&gate, at(6)), Some(2));
}

#[test]
fn one_event_alone_can_not_keep_the_gate_closed() {
    let mut gate = Gate::open();
    limited(&mut gate, false, Some(1), at(0));
    let mut waits = Vec::new();
    for event in ["a", "b", "b", "b", "c"] {
        assert!(unavailable(&mut gate, event, true, at(0)).is_some());
        waits.extend(closed_for(&gate, at(0)));
    }
    assert_eq!(waits, [2, 4, 1, 1, 8]);
}

#[test]
fn a_failing_server_closes_the_gate_for_half_a_minute_at_most() {
    let mut gate = Gate::open();
    limited(&mut gate, false, Some(1), at(0));
    let asked = Some(Duration::from_mins(15));
    let event = of("dev", "a");
    gate.failed(event, true, SvixUnavailable, asked, JITTER, at(1));
    assert_eq!(closed_for(&gate, at(1)), Some(30));
}

#[test]
fn other_instances_learn_of_a_closing_and_of_its_end() {
    let (mut here, mut there) = (Gate::open(), Gate::open());
    let close = limited(&mut here, false, Some(9), at(0));
    there.learn(close.as_deref(), at(1));
    assert_eq!(closed_for(&there, at(1)), Some(8));

    there.send_probe(Duration::from_secs(1), at(9));
    let open = there.answered("dev", true, at(9));
    here.learn(open.as_deref(), at(9));
    assert_eq!(here.pass("dev", at(9)), Pass::Open);
    here.learn(close.as_deref(), at(9));
    assert_eq!(here.pass("dev", at(9)), Pass::Open, "older news change nothing");
}

#[test]
fn a_state_never_blocks_for_longer_than_its_own_time() {
    let mut far_ahead = Gate::open();
    let state = limited(&mut far_ahead, false, Some(u64::MAX), at(9_999));
    let mut gate = Gate::open();
    gate.learn(state.as_deref(), at(0));
    assert_eq!(gate.pass("dev", at(0)), Pass::Open, "from the future");
    gate.learn(state.as_deref(), at(9_999));
    assert_eq!(closed_for(&gate, at(9_999)), Some(60));

    let eternal = br#"{"version":1,"changed":1000000000,"closed":{"reason":"rate-limited","millis":18446744073709551615,"times":4294967295,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#;
    let mut gate = Gate::open();
    gate.learn(Some(eternal), at(0));
    assert_eq!(closed_for(&gate, at(0)), Some(60));
    assert_eq!(gate.pass("dev", at(60)), Pass::Probe);
    assert!(limited(&mut gate, true, None, at(60)).is_some());
}

#[test]
fn clocks_that_differ_or_are_set_back_never_block_for_longer() {
    let mut ahead = Gate::open();
    let state = limited(&mut ahead, false, Some(9), at(4));
    let mut gate = Gate::open();
    gate.learn(state.as_deref(), at(0));
    gate.learn(state.as_deref(), at(3));
    assert_eq!(closed_for(&gate, at(3)), Some(6), "from when it was heard of");

    let mut gate = Gate::open();
    assert!(limited(&mut gate, false, Some(9), at(5_000)).is_some());
    assert_eq!(gate.pass("dev", at(0)), Pass::Probe, "set back");
    gate.send_probe(Duration::from_secs(3), at(0));
    assert_eq!(closed_for(&gate, at(1)), Some(2));
    let mut there = Gate::open();
    let open = limited(&mut there, false, Some(9), at(1));
    gate.learn(open.as_deref(), at(1));
    assert_eq!(closed_for(&gate, at(1)), Some(9), "what is new is heard of");
}

/// A gate that five failures of one project have closed.
fn closed_for_sick() -> Gate {
    let mut gate = Gate::open();
    for event in ["a", "b", "c", "d", "e"] {
        fail(&mut gate, event, "sick", at(0));
    }
    gate
}

#[test]
fn the_failures_of_one_project_make_only_its_events_wait() {
    let mut gate = closed_for_sick();
    assert!(matches!(gate.pass("sick", at(0)), Pass::Closed(_)));
    assert_eq!(gate.pass("dev", at(0)), Pass::Open);
    assert_eq!(gate.closed_for_all(at(0)), None);
    let project = Some("sick".to_owned());
    assert!(
        matches!(gate.standing(at(0)), Standing::Closed { project: known, .. } if known == project)
    );
    // Successes of others say nothing of it, and its own probe opens the gate.
    assert_eq!(gate.answered("dev", false, at(0)), None);
    assert_eq!(gate.pass("sick", at(1)), Pass::Probe);
    gate.send_probe(Duration::from_secs(3), at(1));
    assert!(matches!(gate.pass("sick", at(1)), Pass::Closed(_)));
    assert_eq!(gate.pass("dev", at(1)), Pass::Open);
    assert!(gate.answered("sick", true, at(1)).is_some());
    assert_eq!(gate.standing(at(1)), Standing::Open);
}

#[test]
fn the_successes_of_others_do_not_end_the_run_of_one_project() {
    let mut gate = Gate::open();
    for (number, event) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        assert_eq!(gate.pass("sick", at(0)), Pass::Open, "{event}");
        fail(&mut gate, event, "sick", at(0));
        let news = gate.answered("dev", false, at(0)).is_some();
        assert_eq!(news, number == 0, "only the first is shared");
    }
    assert!(matches!(gate.pass("sick", at(0)), Pass::Closed(_)));
    assert_eq!(gate.closed_for_all(at(0)), None);
}

#[test]
fn the_run_of_one_project_is_never_added_to_that_of_others() {
    let mut gate = Gate::open();
    for event in ["a", "b", "c", "d"] {
        fail(&mut gate, event, "sick", at(0));
    }
    gate.answered("dev", false, at(0));
    fail(&mut gate, "x", "other", at(0));
    assert_eq!(gate.standing(at(0)), Standing::Open);
    assert!(gate.answered("other", false, at(0)).is_some());
    assert!(!gate.is_counting());
}

#[test]
fn failures_of_several_projects_close_the_gate_for_all() {
    let mut gate = Gate::open();
    for (event, project) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x"), ("e", "x")] {
        fail(&mut gate, event, project, at(0));
    }
    assert!(gate.closed_for_all(at(0)).is_some());
    assert!(matches!(gate.pass("z", at(0)), Pass::Closed(_)));
}

#[test]
fn five_failures_of_others_in_a_row_close_the_gate_for_all() {
    let mut gate = closed_for_sick();
    for (number, event) in ["f", "g", "h", "i", "k", "l", "m"].iter().enumerate() {
        assert_eq!(gate.pass("dev", at(0)), Pass::Open, "{event}");
        fail(&mut gate, event, "dev", at(0));
        if number == 1 {
            // A success between their failures begins a new run, and the closing stays as it is.
            assert!(gate.answered("dev", false, at(0)).is_some());
            assert_eq!(gate.closed_for("sick", at(0)).map(|shut| shut.rest.as_secs()), Some(1));
        }
    }
    assert!(matches!(gate.pass("dev", at(0)), Pass::Closed(_)));
    assert!(gate.closed_for_all(at(0)).is_some());
}

#[test]
fn the_closing_of_one_project_ends_while_others_fail() {
    let mut gate = closed_for_sick();
    for tenths in 1..=9 {
        let now = at(0) + Duration::from_millis(100 * tenths);
        fail(&mut gate, "poison", "dev", now);
        gate.answered("dev", false, now);
    }
    assert_eq!(gate.pass("sick", at(1)), Pass::Probe);
}

#[test]
fn a_rate_limit_is_for_all_whichever_project_meets_it() {
    let mut gate = closed_for_sick();
    let asked = Some(Duration::from_secs(7));
    limited(&mut gate, false, Some(7), at(0));
    assert_eq!(gate.closed_for_all(at(0)).map(|shut| shut.rest), asked);
    let mut gate = closed_for_sick();
    let event = of("sick", "a");
    gate.failed(event, true, RateLimited, asked, JITTER, at(1));
    assert_eq!(gate.closed_for_all(at(1)).map(|shut| shut.rest), asked);
}

#[test]
fn a_state_without_projects_is_read_as_a_closing_for_all() {
    let earlier = br#"{"version":1,"changed":1000000000,"closed":{"reason":"svix-unavailable","millis":5000,"times":1,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#;
    let mut gate = Gate::open();
    gate.learn(Some(earlier), at(0));
    assert!(gate.closed_for_all(at(0)).is_some());
    let mut there = Gate::open();
    let mut sick = closed_for_sick();
    there.learn(Some(&sick.send_probe(Duration::from_secs(3), at(1))), at(1));
    assert_eq!(there.pass("dev", at(1)), Pass::Open);
    assert!(matches!(there.pass("sick", at(1)), Pass::Closed(_)));
}

#[test]
fn a_held_project_stays_held_through_every_change() {
    let mut gate = closed_for_sick();
    assert!(gate.hold("dev", true, at(0)).is_some());
    assert_eq!(gate.closed_for("sick", at(0)).map(|shut| shut.rest.as_secs()), Some(1));
    fail(&mut gate, "f", "other", at(0));
    gate.answered("other", false, at(0));
    limited(&mut gate, false, Some(3), at(0));
    gate.send_probe(Duration::from_secs(1), at(3));
    gate.answered("sick", true, at(3));
    gate.open_now(at(3));
    let shared = gate.hold("more", true, at(3)).expect("room");
    let mut there = Gate::open();
    there.learn(Some(&shared), at(3));
    assert_eq!(there.held(), ["dev", "more"]);
    assert!(there.holds("dev") && !there.holds("sick"));
    there.hold("dev", false, at(4));
    there.hold("dev", false, at(4));
    assert_eq!(there.held(), ["more"]);
    assert_eq!(there.pass("dev", at(4)), Pass::Open, "a hold is no closing");
}

#[test]
fn a_hold_counts_whatever_the_clock_that_has_written_it() {
    let now = UNIX_EPOCH + Duration::from_hours(1);
    let later = now + Duration::from_secs(20);
    let held = Gate::open().hold("dev", true, now).expect("room");
    let mut ahead = Gate::open();
    ahead.open_now(later);
    ahead.learn(Some(&held), later);
    assert!(ahead.holds("dev"), "an older state");
    let held = Gate::open().hold("dev", true, later).expect("room");
    let mut behind = Gate::open();
    behind.learn(Some(&held), now);
    assert!(behind.holds("dev"), "a state from the future");
    let released = behind.hold("dev", false, now).expect("a state");
    behind.learn(Some(&released), now);
    assert!(!behind.holds("dev"));
}

#[test]
fn a_bounded_number_of_projects_is_held() {
    let mut gate = Gate::open();
    for number in 0..MAX_HELD {
        assert!(gate.hold(&number.to_string(), true, at(0)).is_some());
    }
    assert_eq!(gate.hold("more", true, at(0)), None);
    assert!(gate.hold("0", false, at(0)).is_some());
    assert!(gate.hold("more", true, at(0)).is_some());
}

#[test]
fn spreads_waits_by_a_quarter() {
    let wait = Duration::from_secs(8);
    assert_eq!(lengthened(wait, 0.0), wait);
    assert_eq!(lengthened(wait, 1.0), Duration::from_secs(10));
}
