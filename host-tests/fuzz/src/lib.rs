//! The relay's modules that only compute, for the fuzz targets.
//!
//! They are included by path. The component is a cdylib, which nothing can depend on; as an rlib
//! besides, it would lose link-time optimisation and grow by a tenth. And this way nothing here can
//! call the host, which would abort natively. Part of them is unused by each target.

#[path = "../../../src/check.rs"]
pub mod check;
#[path = "../../../src/dead_letter.rs"]
pub mod dead_letter;
#[path = "../../../src/event.rs"]
pub mod event;
#[path = "../../../src/gate.rs"]
pub mod gate;
#[path = "../../../src/json.rs"]
pub mod json;
#[path = "../../../src/notification.rs"]
pub mod notification;
#[path = "../../../src/problem.rs"]
pub mod problem;
#[path = "../../../src/record.rs"]
pub mod record;
#[path = "../../../src/retry.rs"]
pub mod retry;
#[path = "../../../src/route.rs"]
pub mod route;
#[path = "../../../src/svix.rs"]
pub mod svix;
#[path = "../../../src/violation.rs"]
pub mod violation;

use std::time::{Duration, SystemTime};

/// The one time at which all of it happens, so that a finding is found again.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_443_162_123)
}
