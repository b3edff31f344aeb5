//! How one request of an instance lets another go on.
//!
//! One task can wake another only through the host, for which a stream without contents is enough:
//! when one end is dropped, the read at the other returns. That holds however the first task ends.

use spin_sdk::wasip3::wit_bindgen::{StreamReader, StreamWriter};
use spin_sdk::wasip3::wit_stream;

/// Lets the one who waits go on when it is dropped.
pub struct Wake(#[expect(dead_code, reason = "it is there to be dropped")] StreamWriter<u8>);

/// What one who waits holds.
pub struct Sleep(StreamReader<u8>);

/// Both ends.
pub fn pair() -> (Wake, Sleep) {
    let (writer, reader) = wit_stream::new();
    (Wake(writer), Sleep(reader))
}

impl Sleep {
    /// Waits for the other end to be dropped.
    pub async fn until_woken(mut self) {
        // It ends, and never brings anything.
        self.0.read(Vec::with_capacity(1)).await;
    }
}
