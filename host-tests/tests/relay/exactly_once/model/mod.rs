//! The model: after any commands in any order, each valid event is in Svix exactly once, and each invalid
//! one is a dead letter exactly once. Nothing else is anywhere, and an audit finds nothing.
//!
//! A case is a list of commands, so that proptest can shrink it. Time is simulated and all randomness has a
//! fixed seed, so that the same commands lead to the same end. The model ends where the guarantee ends
//! (NOTES.md). Events tell their true time, a request doesn't last for hours, and Svix doesn't deny a
//! message that it has.

mod cast;
mod command;
mod play;
mod verdict;

use std::env;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tokio::runtime::Builder;

use command::{Command, commands};
use play::{Play, Scene};

/// A few seconds' worth, unless `PROPTEST_CASES` asks for more.
const CASES: u32 = 300;

fn config() -> ProptestConfig {
    let config = ProptestConfig { max_shrink_iters: 5_000, ..ProptestConfig::default() };
    match env::var("PROPTEST_CASES") {
        Ok(_) => config,
        // The same cases run every time, so that no change fails for a case that it hasn't touched.
        Err(_) => ProptestConfig { cases: CASES, rng_seed: RngSeed::Fixed(1), ..config },
    }
}

/// Plays the commands to their end, in a world of their own.
fn play(scene: Scene, commands: Vec<Command>) -> Result<(), TestCaseError> {
    let runtime =
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let end = runtime.block_on(async {
        let world = scene.world();
        let mut play = Play::new(&world, scene);
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
    fn after_any_faults_each_event_is_one_message_or_one_dead_letter(
        nodes: bool,
        registers: bool,
        store_holds_up: bool,
        commands in commands(),
    ) {
        let scene = Scene { nodes, registers, store_holds_up };
        play(scene, commands)?;
    }
}
