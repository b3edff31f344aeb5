//! The gate as this instance knows it: read it from the store, and write what an operator changes.
//!
//! [`crate::svix::gate`] decides.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::host::change::{WRITES, write_until_seen};
use crate::host::clock::{self, Stopwatch};
use crate::host::{self, store};
use crate::svix::gate::{self, Gate, Shut, Standing};

/// For how long an instance goes by what it has read of the gate.
const FRESH: Duration = Duration::from_millis(20);

thread_local! {
    /// The gate as this instance knows it.
    pub(super) static GATE: RefCell<Gate> = const { RefCell::new(Gate::open()) };
    /// When the knowledge was last read from the store.
    static LEARNED: Cell<Option<Stopwatch>> = const { Cell::new(None) };
}

/// Reads the gate from the store, unless this instance has just done so. If that fails, the instance goes
/// by what it knows.
pub async fn refresh() {
    let fresh = LEARNED.get().is_some_and(|since| since.elapsed() < FRESH);
    if !fresh {
        let _ = learn(store::TIMEOUT).await;
    }
}

/// Takes over what the store holds of the gate, if it is newer. Returns what the store holds.
pub(super) async fn learn(time: Duration) -> Result<Option<Vec<u8>>, host::Error> {
    let begun = Stopwatch::start();
    let stored = store::get(gate::NAME, time).await?;
    LEARNED.set(Some(begun));
    GATE.with_borrow_mut(|gate| gate.learn(stored.as_deref(), clock::now()));
    Ok(stored)
}

/// Opens the gate for every instance: an operator knows that Svix is well.
pub async fn open() -> Result<(), host::Error> {
    learn(store::TIMEOUT).await?;
    // Until the store has it, the others keep the gate closed, and so does this instance.
    let state = GATE.with_borrow(Gate::clone).open_now(clock::now());
    store::set(gate::NAME, &state, store::TIMEOUT).await?;
    GATE.with_borrow_mut(|gate| gate.learn(Some(&state), clock::now()));
    Ok(())
}

/// Whether an operator holds the project, as this instance knows it.
pub fn holds(project: &str) -> bool {
    GATE.with_borrow(|gate| gate.holds(project))
}

/// The projects that operators hold, as this instance knows them.
pub fn held() -> Vec<String> {
    GATE.with_borrow(|gate| gate.held().to_vec())
}

/// Holds a project for every instance, or lets it go. `false` if too many are held.
pub async fn hold(project: &str, hold: bool) -> Result<bool, host::Error> {
    write_until_seen("hold the project", WRITES, async || {
        // Read the store, not this instance's memory: an older state may have replaced the one with the change.
        let stored = learn(store::TIMEOUT).await?;
        if gate::holds(stored.as_deref(), project) == hold {
            return Ok(Some(true));
        }
        let state = GATE.with_borrow(Gate::clone).hold(project, hold, clock::now());
        let Some(state) = state else {
            return Ok(Some(false));
        };
        store::set(gate::NAME, &state, store::TIMEOUT).await?;
        Ok(None)
    })
    .await
}

/// How the gate is closed for all events, as this instance knows it. `None` if it is open, or closed for one project
/// alone.
pub fn closed() -> Option<Shut> {
    GATE.with_borrow(|gate| gate.closed_for_all(clock::now()))
}

/// The gate as the store knows it.
pub async fn standing() -> Result<Standing, host::Error> {
    learn(store::TIMEOUT).await?;
    Ok(GATE.with_borrow(|gate| gate.standing(clock::now())))
}
