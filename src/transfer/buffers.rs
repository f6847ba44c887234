//! The buffers of one value's parts, used again and again: what is given back to the allocator need not come back from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use crate::limits::{Flow, Held};

/// The buffers of a value that are not in use.
pub(super) struct Buffers {
    flow: Flow,
    idle: Arc<Idle>,
    /// Whether they wait for a stream of the caller's, which may need memory itself.
    of_stream: bool,
}

type Idle = Mutex<Vec<Buffer>>;

/// Memory of the client's, and what it may hold.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    /// What it may be filled with.
    length: u64,
    held: Vec<Held>,
}

impl Buffers {
    pub(super) fn of_file(flow: Flow) -> Self {
        Self { flow, idle: Arc::default(), of_stream: false }
    }

    pub(super) fn of_stream(flow: Flow) -> Self {
        Self { flow, idle: Arc::default(), of_stream: true }
    }

    /// A buffer for `length` bytes, with what an earlier part has left in it if there was one: to clear it costs nothing, to fill it
    /// with zeros does. Else when there is memory for it.
    pub(super) async fn take(&self, length: u64) -> Buffer {
        if let Some(buffer) = self.lock().pop_if(|buffer| buffer.length >= length) {
            return buffer;
        }
        // Who waits for memory has none in hand that it does not use.
        self.clear();
        let mut held = Vec::with_capacity(2);
        if self.of_stream {
            held.push(self.flow.stream_memory(length).await);
        }
        held.push(self.flow.memory(self.claim(length)).await);
        Buffer { bytes: Vec::new(), length, held }
    }

    /// Of the memory, a stream leaves some even where its parts are longer than all of it.
    fn claim(&self, length: u64) -> u64 {
        if self.of_stream { length.min(self.flow.most_for_streams()) } else { length }
    }

    /// Gives back what is not in use.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What was written to a buffer, which comes back when the last clone of these bytes is dropped, or goes when others want
    /// the memory.
    pub(super) fn lend(&self, buffer: Buffer) -> Bytes {
        Bytes::from_owner(Lent { buffer: Some(buffer), flow: self.flow.clone(), idle: Arc::downgrade(&self.idle) })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Buffer>> {
        lock(&self.idle)
    }
}

fn lock(idle: &Idle) -> MutexGuard<'_, Vec<Buffer>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// Gives back what it does not need, for what it holds is all.
    pub(super) fn shrink(&mut self) {
        self.length = self.bytes.len() as u64;
        self.held.iter_mut().for_each(|held| held.shrink(self.length));
    }
}

struct Lent {
    buffer: Option<Buffer>,
    flow: Flow,
    idle: Weak<Idle>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.bytes)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(buffer), Some(idle)) = (self.buffer.take(), self.idle.upgrade()) else { return };
        if !self.flow.memory_is_wanted() {
            lock(&idle).push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(buffers: &Buffers, length: u64) -> Bytes {
        let mut buffer = buffers.take(length).await;
        buffer.bytes.resize(length as usize, 7);
        buffers.lend(buffer)
    }

    #[tokio::test]
    async fn a_buffer_is_used_again_when_nobody_reads_it_any_more() {
        let buffers = Buffers::of_file(Flow::default());
        let lent = filled(&buffers, 1000).await;
        let clone = lent.slice(10..20);
        drop(lent);
        assert_eq!(buffers.take(10).await.bytes.capacity(), 0);
        assert_eq!(clone, [7; 10][..]);
        drop(clone);
        assert_eq!(buffers.take(500).await.bytes, [7; 1000]);
    }

    #[tokio::test]
    async fn what_is_lent_outlives_its_buffers() {
        let buffers = Buffers::of_stream(Flow::default());
        let lent = filled(&buffers, 10).await;
        drop(buffers);
        assert_eq!(lent, [7; 10][..]);
    }

    #[tokio::test]
    async fn memory_is_held_by_buffers_and_goes_with_them() {
        let flow = Flow::default();
        let held = || flow.scope().stats().memory_bytes;
        let buffers = Buffers::of_stream(flow.clone());
        let lent = [filled(&buffers, 1000).await, filled(&buffers, 1000).await];
        assert_eq!(held(), 2000);
        drop(lent);
        assert_eq!(held(), 2000);
        // A longer one needs another, and the others are not kept while it waits for that.
        let longer = filled(&buffers, 1001).await;
        assert_eq!(held(), 1001);
        drop(longer);
        buffers.clear();
        assert_eq!(held(), 0);
    }

    #[tokio::test]
    async fn a_buffer_that_others_wait_for_is_not_kept() {
        let flow = Flow::default();
        flow.scope().set(crate::Limits::default().memory_bytes(40 << 20)).unwrap();
        let buffers = Buffers::of_file(flow.clone());
        let lent = filled(&buffers, 40 << 20).await;
        let other = tokio::spawn({
            let flow = flow.another();
            async move { drop(flow.memory(10).await) }
        });
        while !flow.memory_is_wanted() {
            tokio::task::yield_now().await;
        }
        drop(lent);
        other.await.unwrap();
        assert_eq!(flow.scope().stats().memory_bytes, 0);
    }
}
