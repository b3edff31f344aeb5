//! The model: whatever happens, and in whatever order, in the end each valid event is in Svix
//! exactly once, each invalid one is a dead letter exactly once, and nothing else is anywhere.
//!
//! A case is a list of commands, so that proptest can shrink it; time is simulated and all
//! randomness has a fixed seed, so that the same commands lead to the same end. Where the guarantee
//! ends (NOTES.md), so does the model: events tell their true time, a request doesn't last for
//! hours, Svix doesn't deny a message that it has.

mod cast;
mod command;
mod play;
mod verdict;

use std::env;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tokio::runtime::Builder;

use command::{Command, commands};
use play::Play;

/// A few seconds' worth, unless `PROPTEST_CASES` asks for more.
const CASES: u32 = 300;

fn config() -> ProptestConfig {
    let config = ProptestConfig {
        max_shrink_iters: 5_000,
        ..ProptestConfig::default()
    };
    match env::var("PROPTEST_CASES") {
        Ok(_) => config,
        // The same cases in every run, so that no change fails for what it hasn't touched.
        Err(_) => ProptestConfig {
            cases: CASES,
            rng_seed: RngSeed::Fixed(1),
            ..config
        },
    }
}

/// Plays the commands to their end, in a world of their own.
fn play(nodes: bool, registers: bool, commands: Vec<Command>) -> Result<(), TestCaseError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let end = runtime.block_on(async {
        let world = Play::world(nodes, registers);
        let mut play = Play::new(&world);
        for command in commands {
            play.command(command).await?;
        }
        play.end().await
    });
    end.map_err(|error| TestCaseError::fail(error.to_string()))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_each_event_ends_where_it_belongs_exactly_once(
        nodes: bool,
        registers: bool,
        commands in commands(),
    ) {
        play(nodes, registers, commands)?;
    }
}
