//! Reading a record.

use std::time::Duration;

use super::Record;
use crate::host::{self, store};

/// A record, if there is one that this version understands; read within `time`.
pub async fn read(name: &str, time: Duration) -> Result<Option<Record>, host::Error> {
    let bytes = store::get(name, time).await?;
    Ok(bytes.as_deref().and_then(Record::decode))
}
