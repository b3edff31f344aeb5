//! A change of a value that several instances replace. The store can't compare and swap: another instance may
//! write what it read before. So the value is read again later, and written once more if the change is missing.

use std::time::Duration;

use super::later::spread;
use super::{Error, clock, random, store};

/// After what time the value is read again, at least. A write of another instance that lands later undoes the change
/// unnoticed: a slow one, or the last of three that overlap, of which the second had the change. A slow store takes
/// longer, since the other instance reads the value, and then writes it.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = store::TIMEOUT.saturating_mul(2);

/// How often a change is written before it is given up, unless the caller can try again.
pub const WRITES: u32 = 8;

/// Makes a change, which is in the store when this returns. `write` reads the value. If the change is missing, `write`
/// writes it and returns `None`. `Some` ends this: the change is there, or impossible. After `writes` writes the change
/// is given up.
pub async fn write_until_seen<T>(
    what: &'static str,
    writes: u32,
    mut write: impl AsyncFnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let mut random = random();
    for _ in 0..writes {
        if let Some(end) = write().await? {
            return Ok(end);
        }
        let wait = (store::took() * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        clock::sleep(spread(wait, &mut random)).await;
    }
    Err(Error {
        what,
        reason: "other instances replaced it again and again".to_owned(),
    })
}
