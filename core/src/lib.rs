//! End-to-end encrypted teamwork without a server: chat, files, calendars and notes.

#![forbid(unsafe_code)]

mod store;

pub use store::{
    DirectoryLock, FailingStore, Fault, KEY_BYTES_MAX, MemoryStore, RawBatch, RawWrite, RedbStore, STORE_FORMAT,
    SealedStore, SledStore, Store, StoreError, StoreKind, UnknownStoreKind, VALUE_BYTES_MAX, WRITER_BATCHES_MAX,
    WRITER_COMMIT_BYTES_MAX, Writer, open_store,
};
