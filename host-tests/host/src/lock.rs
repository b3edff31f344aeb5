//! Locking a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ignores poison. A panic leaves no change half done: an open transaction of SQLite rolls back, and every other
/// change is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
