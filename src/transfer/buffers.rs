//! The buffers of one value's parts, used again and again: what is given back to the allocator need not come back from it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// The buffers that are not in use.
#[derive(Default)]
pub(super) struct Buffers(Arc<Idle>);

type Idle = Mutex<Vec<Vec<u8>>>;

impl Buffers {
    /// A buffer, with what an earlier part has left in it if there was one: to clear it costs nothing, to fill it with zeros does.
    pub(super) fn take(&self) -> Vec<u8> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_default()
    }

    /// What was written to a buffer, which comes back when the last clone of these bytes is dropped.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, idle: Arc::downgrade(&self.0) })
    }
}

struct Lent {
    buffer: Vec<u8>,
    idle: Weak<Idle>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(idle) = self.idle.upgrade() else { return };
        let buffer = std::mem::take(&mut self.buffer);
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_reads_it_any_more() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[7; 1000]);
        let lent = buffers.lend(buffer);
        let clone = lent.slice(10..20);
        drop(lent);
        assert_eq!(buffers.take().capacity(), 0);
        assert_eq!(clone, [7; 10][..]);
        drop(clone);
        let again = buffers.take();
        assert_eq!(again, [7; 1000]);
    }

    #[test]
    fn what_is_lent_outlives_its_buffers() {
        let buffers = Buffers::default();
        let lent = buffers.lend(vec![7; 10]);
        drop(buffers);
        assert_eq!(lent, [7; 10][..]);
    }
}
