//! A store that fails when told to, for tests.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{RawBatch, Store, StoreError};

/// How a [`FailingStore`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The disk refuses the write: nothing is applied.
    Write,
    /// The write went through and the flush reports an error: all is applied, and the caller is told that it is not.
    Flush,
    /// The disk is full: nothing is applied.
    OutOfSpace,
    /// The disk is full, and the backend closed itself over it and cannot be opened: nothing is applied, nothing read.
    Closed,
}

/// Passes everything on to another store, and fails writes on countdown.
pub struct FailingStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Option<(u32, Fault)>>,
    closed: AtomicBool,
}

impl FailingStore {
    /// Puts itself in front of `inner`. Nothing fails yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Mutex::new(None), closed: AtomicBool::new(false) }
    }

    /// Lets `applies` more calls of [`Store::apply`] through and fails each one after them, until
    /// [`mend`](Self::mend).
    pub fn fail_after(&self, applies: u32, fault: Fault) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((applies, fault));
    }

    /// Fails no more.
    pub fn mend(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.closed.store(false, Ordering::Release);
    }

    fn readable(&self) -> Result<(), StoreError> {
        match *self.plan.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((0, Fault::Closed)) if self.closed.load(Ordering::Acquire) => Err(StoreError::OutOfSpace),
            _ => Ok(()),
        }
    }

    fn due(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (applies, fault) = plan.as_mut()?;
        if *applies == 0 {
            return Some(*fault);
        }
        *applies -= 1;
        None
    }
}

impl Store for FailingStore {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.readable()?;
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.readable()?;
        self.inner.scan(table, prefix, from, visit)
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        match self.due() {
            None => self.inner.apply(batches),
            Some(Fault::Write) => Err(StoreError::Io(io::ErrorKind::Other)),
            Some(Fault::Closed) => {
                self.closed.store(true, Ordering::Release);
                Err(StoreError::OutOfSpace)
            }
            Some(Fault::OutOfSpace) => Err(StoreError::OutOfSpace),
            Some(Fault::Flush) => {
                self.inner.apply(batches)?;
                Err(StoreError::Io(io::ErrorKind::Other))
            }
        }
    }

    fn compact(&self) -> Result<bool, StoreError> {
        self.inner.compact()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes()
    }
}
