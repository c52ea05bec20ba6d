//! Panics of Automerge, contained.
//!
//! Automerge 0.12 panics on some bytes that no honest program writes. What it was working on is dropped with the panic, so
//! nothing half done is ever looked at. This needs `panic = "unwind"`.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` comes to; `None` if it panicked. `work` must not leave anything behind that is used afterwards.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
