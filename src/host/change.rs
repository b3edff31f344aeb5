//! A change of a value that several instances replace. The store can't compare and swap: another instance may
//! write what it read before. So the value is read again later, and written once more if the change is missing.

use std::time::Duration;

use super::later::spread;
use super::{Error, clock, random, store};

/// The shortest wait before the value is read again. If the store is slow, the wait is twice the time of an answer,
/// since another instance reads the value before it writes it.
///
/// A write that lands after this reading may still undo the change unnoticed. Either a slow instance read the value
/// before the change. Or three writes overlap: the first undoes the change, the second was made with it and brings it
/// back before this reading, and the third was made from the first.
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
    Err(Error { what, reason: "other instances replaced it again and again".to_owned() })
}
