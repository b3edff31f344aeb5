//! How one request of an instance lets another one go on.
//!
//! One task can wake another only through the host. A stream without contents is enough: when its
//! writer is dropped, the read at the other end returns, however the first task has ended.

use spin_sdk::wasip3::wit_bindgen::{StreamReader, StreamWriter};
use spin_sdk::wasip3::wit_stream;

/// Wakes the waiting request when dropped.
pub struct Wake(#[expect(dead_code, reason = "it is there to be dropped")] StreamWriter<u8>);

pub struct Sleep(StreamReader<u8>);

pub fn pair() -> (Wake, Sleep) {
    let (writer, reader) = wit_stream::new();
    (Wake(writer), Sleep(reader))
}

impl Sleep {
    pub async fn until_woken(mut self) {
        // The read brings no byte; it ends when the other side is dropped.
        self.0.read(Vec::with_capacity(1)).await;
    }
}
