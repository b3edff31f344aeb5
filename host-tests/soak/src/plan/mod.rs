//! The whole soak as a list of phases, drawn from the seed alone.

pub mod phase;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use self::phase::{End, Phase, Weather, faults, is_slow, kind};
use fake_svix::Fault;

/// How often a relay is ended with SIGTERM.
const TERMINATIONS: usize = 2;

/// Some ends are followed by a second one within this time, while the relay is still starting.
const DOUBLE: Duration = Duration::from_millis(400);

/// A soak of at least so many events is a long one.
const MANY: usize = 5_000;

/// The numbers of phases, and their lengths.
struct Size {
    /// The length of a phase with faults, in milliseconds.
    bad: RangeInclusive<u64>,
    /// The length of a calm phase, in milliseconds.
    good: RangeInclusive<u64>,
    /// How many faults of one kind have a phase each, and how many statuses.
    of_one_kind: usize,
    statuses: usize,
    /// How often Svix is down, and how often all faults are mixed.
    outages: usize,
    mixtures: usize,
}

const LONG: Size = Size {
    bad: 250..=1_000,
    good: 150..=600,
    of_one_kind: usize::MAX,
    statuses: usize::MAX,
    outages: 3,
    mixtures: 3,
};

const SHORT: Size =
    Size { bad: 120..=350, good: 60..=200, of_one_kind: 1, statuses: 4, outages: 1, mixtures: 1 };

pub fn is_long(events: usize) -> bool {
    events >= MANY
}

/// One phase, in which nothing fails and everything is published at once.
pub fn calm(events: usize) -> Vec<Phase> {
    vec![Phase {
        weather: Weather::Calm,
        share: 0.0,
        duration: Duration::ZERO,
        events,
        publishing: Duration::ZERO,
        ends: Vec::new(),
    }]
}

/// Draws the phases: `events` in total, and at least `kills` kills.
pub fn phases(events: usize, kills: usize, random: &mut Rng) -> Vec<Phase> {
    let size = if is_long(events) { &LONG } else { &SHORT };
    let mut phases = Vec::new();
    for weather in weathers(size, random) {
        phases.push(phase(weather, &size.bad, random));
        phases.push(phase(Weather::Calm, &size.good, random));
    }
    spread_events(&mut phases, events, random);
    let kills = kills + random.usize(..=kills / 4);
    spread_ends(&mut phases, kills, random);
    phases
}

fn weathers(size: &Size, random: &mut Rng) -> Vec<Weather> {
    let mut faults = faults();
    random.shuffle(&mut faults);
    // Leave out the race, which only posts can meet, and slow faults, which would stop everything.
    let mixed =
        faults.iter().filter(|fault| **fault != Fault::RaceToCreateApplication && !is_slow(fault));
    let mixture = Weather::Faults(mixed.cloned().collect());

    let mut weathers = vec![Weather::Down; size.outages];
    weathers.extend(std::iter::repeat_n(mixture, size.mixtures));
    let mut counts = HashMap::new();
    for fault in faults {
        let count = counts.entry(kind(&fault)).or_insert(0);
        *count += 1;
        let most = match fault {
            Fault::Status { .. } => size.statuses,
            _ => size.of_one_kind,
        };
        if *count <= most {
            weathers.push(Weather::Faults(vec![fault]));
        }
    }
    random.shuffle(&mut weathers);
    weathers
}

fn phase(weather: Weather, millis: &RangeInclusive<u64>, random: &mut Rng) -> Phase {
    let (least, most) = match &weather {
        Weather::Faults(faults) if faults.iter().any(is_slow) => (0.1, 0.3),
        _ => (0.3, 1.0),
    };
    let duration = Duration::from_millis(random.u64(millis.clone()));
    Phase {
        weather,
        share: least + (most - least) * random.f64(),
        duration,
        events: 0,
        // From a burst to an even stream of events.
        publishing: duration.mul_f64(random.f64()),
        ends: Vec::new(),
    }
}

/// Spreads the events in proportion to the phases' lengths, as a steady publisher would.
fn spread_events(phases: &mut [Phase], events: usize, random: &mut Rng) {
    let weights: Vec<f64> =
        phases.iter().map(|phase| phase.duration.as_secs_f64() * (0.5 + random.f64())).collect();
    let total: f64 = weights.iter().sum();
    let mut left = events;
    for (phase, weight) in phases.iter_mut().zip(&weights) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a number of events"
        )]
        let share = (events as f64 * weight / total) as usize;
        phase.events = share.max(1).min(left);
        left -= phase.events;
    }
    if let Some(last) = phases.last_mut() {
        last.events += left;
    }
}

fn spread_ends(phases: &mut [Phase], kills: usize, random: &mut Rng) {
    let mut ends = vec![End::Killed; kills / 2];
    ends.extend(vec![End::KilledInFlight; kills - kills / 2]);
    ends.extend([End::Terminated; TERMINATIONS]);
    random.shuffle(&mut ends);
    // The first two phases begin the soak and the last two end it: nothing is killed in them.
    let eligible = 2..phases.len().saturating_sub(2).max(3);
    while let Some(end) = ends.pop() {
        let phase = &mut phases[random.usize(eligible.clone())];
        let at = phase.duration.mul_f64(random.f64());
        phase.ends.push((at, end));
        if random.u8(..4) == 0
            && let Some(second) = ends.pop()
        {
            let soon = DOUBLE.mul_f64(random.f64());
            phase.ends.push((at + soon, second));
        }
    }
    for phase in phases {
        phase.ends.sort_by_key(|(at, _)| *at);
    }
}

#[cfg(test)]
mod tests {
    use super::phase::KINDS;
    use super::*;

    fn drawn(seed: u64, events: usize, kills: usize) -> Vec<Phase> {
        phases(events, kills, &mut Rng::with_seed(seed))
    }

    #[test]
    fn every_event_is_published_and_the_relay_killed_often_enough() {
        for seed in 0..50 {
            for (events, wanted) in [(10_000, 10), (1_000, 3), (1, 0)] {
                let phases = drawn(seed, events, wanted);
                let published: usize = phases.iter().map(|phase| phase.events).sum();
                assert_eq!(published, events);
                let ends = phases.iter().flat_map(|phase| &phase.ends);
                let kills = ends.filter(|(_, end)| *end != End::Terminated).count();
                assert!((wanted..=wanted + wanted / 4).contains(&kills), "{kills}");
            }
        }
    }

    #[test]
    fn every_kind_of_fault_has_a_phase_of_its_own() {
        let phases = drawn(1, 10_000, 10);
        for fault in faults() {
            let alone = Weather::Faults(vec![fault]);
            assert!(phases.iter().any(|phase| phase.weather == alone));
        }
        for seed in 0..50 {
            let phases = drawn(seed, 1_000, 3);
            for kind in &KINDS[1..] {
                let is_alone = |phase: &Phase| {
                    matches!(&phase.weather, Weather::Faults(faults)
                        if faults.len() == 1 && super::kind(&faults[0]) == *kind)
                };
                assert!(phases.iter().any(is_alone), "{kind}");
            }
        }
    }

    #[test]
    fn calm_comes_after_every_storm() {
        let phases = drawn(1, 10_000, 10);
        let (bad, good): (Vec<_>, Vec<_>) =
            phases.chunks(2).map(|pair| (pair[0].weather.clone(), pair[1].weather.clone())).unzip();
        assert!(bad.contains(&Weather::Down) && !bad.contains(&Weather::Calm));
        assert!(good.iter().all(|weather| *weather == Weather::Calm));
    }

    #[test]
    fn the_same_seed_draws_the_same_phases() {
        assert_eq!(drawn(1, 10_000, 10), drawn(1, 10_000, 10));
        assert_ne!(drawn(1, 10_000, 10), drawn(2, 10_000, 10));
    }

    #[test]
    fn the_length_of_a_soak_is_bounded() {
        for (events, bound) in [(10_000, 60), (1_000, 20)] {
            let phases = drawn(3, events, 10);
            let time: Duration = phases.iter().map(|phase| phase.duration).sum();
            assert!(time < Duration::from_secs(bound), "{time:?}");
        }
    }
}
