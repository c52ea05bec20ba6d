//! Room in memory for what waits in a queue.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// What even an empty frame is counted as, so that the number of frames in a queue is bounded with their bytes.
const FRAME_COST_MIN_BYTES: usize = 1024;

/// A budget of bytes. Whoever queues something takes room for it first, in order of arrival, and keeps it until the
/// thing has left the queue.
#[derive(Clone)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    bytes_max: usize,
}

/// Room that was taken. Dropping it gives it back.
pub(crate) type Taken = OwnedSemaphorePermit;

/// There is no room now (`Full`), or there will never be again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// How many things fit at most: the length that a queue behind this room needs never to be full.
    pub(crate) fn slots(&self) -> usize {
        self.bytes_max / FRAME_COST_MIN_BYTES
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.bytes_max - self.free.available_permits()
    }

    /// Waits for room. Cancel-safe, but a caller who comes back queues at the end.
    pub(crate) async fn take(&self, bytes: usize) -> Result<Taken, NoRoom> {
        self.free.clone().acquire_many_owned(cost(bytes)).await.map_err(|_| NoRoom::Closed)
    }

    pub(crate) fn try_take(&self, bytes: usize) -> Result<Taken, NoRoom> {
        self.free.clone().try_acquire_many_owned(cost(bytes)).map_err(|error| match error {
            TryAcquireError::NoPermits => NoRoom::Full,
            TryAcquireError::Closed => NoRoom::Closed,
        })
    }

    /// Wakes everyone who waits: there will be no room any more.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}

fn cost(bytes: usize) -> u32 {
    u32::try_from(bytes.max(FRAME_COST_MIN_BYTES)).expect("a frame is far shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_bounded_in_bytes_and_in_things() {
        let room = Room::new(4096);
        let small: Vec<_> = (0..room.slots()).map(|_| room.try_take(1).unwrap()).collect();
        assert_eq!(room.used(), 4096);
        assert_eq!(room.try_take(0).unwrap_err(), NoRoom::Full);
        drop(small);
        let big = room.take(4000).await.unwrap();
        assert_eq!(room.used(), 4000);
        room.close();
        assert_eq!(room.take(1).await.unwrap_err(), NoRoom::Closed);
        drop(big);
    }
}
