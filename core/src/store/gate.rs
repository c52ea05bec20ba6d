//! Many readers or one writer, where a reader may read again while it reads.
//!
//! `std::sync::RwLock` may deadlock on the second read of a thread when a writer waits between the two.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Readers go first: a writer waits until there is none.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    readers: usize,
    writing: bool,
}

impl Gate {
    /// Waits for a writer to finish, then keeps writers out until the pass is dropped.
    pub(super) fn read(&self) -> Pass<'_> {
        let mut state = self.wait_while(|state| state.writing);
        state.readers += 1;
        Pass { gate: self, writes: false }
    }

    /// Waits for all readers and writers to finish, then keeps them out until the pass is dropped.
    pub(super) fn write(&self) -> Pass<'_> {
        let mut state = self.wait_while(|state| state.writing || state.readers > 0);
        state.writing = true;
        Pass { gate: self, writes: true }
    }

    /// Like [`write`](Self::write), or `None` where that would wait.
    pub(super) fn try_write(&self) -> Option<Pass<'_>> {
        let mut state = self.state();
        if state.writing || state.readers > 0 {
            return None;
        }
        state.writing = true;
        Some(Pass { gate: self, writes: true })
    }

    fn wait_while(&self, busy: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state(), |state| busy(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counting does not panic, so a poisoned state is still right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to read or to write, until dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    writes: bool,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if self.writes {
            state.writing = false;
        } else {
            state.readers -= 1;
        }
        drop(state);
        self.gate.changed.notify_all();
    }
}
