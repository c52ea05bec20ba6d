//! Two files in memory that can lose their power, be full, or fail: what is not synced is on the medium in part, in any order.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{Database, DatabaseError, StorageBackend};

use crate::store::redb::{builder, journal::DurableFile, place::Place};

/// What a disk writes at once, and what it may have written of several writes when the power goes.
const SECTOR_BYTES: usize = 512;

/// What happens at an operation (a write, or a sync) and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power goes: that operation is done in part, and nothing after it.
    Cut,
    /// That operation fails, with part of it done, and the next ones do not.
    Error,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// What is on the medium for certain.
    durable: Vec<u8>,
    /// Written since.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    database: File,
    journal: File,
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// Bytes that both files may have together.
    room: Option<usize>,
    chance: u64,
}

/// A computer's disk with a store on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium(Arc<Mutex<State>>);

impl State {
    /// Any number, the same for the same seed.
    fn chance(&mut self) -> u64 {
        // xorshift64*, which does not get away from zero.
        let mut x = self.chance.max(1);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.chance = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    /// Counts an operation; how it fails, if it does.
    fn operation(&mut self) -> Option<Fault> {
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if self.operations == at => Some(fault),
            Some((at, Fault::Cut)) if self.operations > at => Some(Fault::Cut),
            _ => None,
        }
    }

    fn has_room(&self, more: usize) -> io::Result<()> {
        let used = self.database.bytes.len() + self.journal.bytes.len();
        match self.room {
            Some(room) if used + more > room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn is_cut(&self) -> bool {
        self.fault.is_some_and(|(at, fault)| fault == Fault::Cut && self.operations >= at)
    }
}

fn gone() -> io::Error {
    io::Error::other("the medium failed")
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn get(file: &[u8], room: &mut [u8], offset: u64) -> io::Result<()> {
    let offset = usize::try_from(offset).unwrap();
    let bytes = file.get(offset..offset + room.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    room.copy_from_slice(bytes);
    Ok(())
}

impl Medium {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The fault comes with the so-manieth operation from now on, counted from 1.
    pub(super) fn fail(&self, operation: u64, fault: Fault, seed: u64) {
        let mut state = self.state();
        state.fault = Some((state.operations + operation, fault));
        state.chance = seed + 1;
    }

    /// Whether the fault has come.
    pub(super) fn failed(&self) -> bool {
        let state = self.state();
        state.fault.is_some_and(|(at, _)| state.operations >= at)
    }

    /// So many bytes more than there are now; `None`: any.
    pub(super) fn set_room(&self, more: Option<usize>) {
        let mut state = self.state();
        let used = state.database.bytes.len() + state.journal.bytes.len();
        state.room = more.map(|more| used + more);
    }

    /// The medium as somebody finds it who turns the power on again: of what was not synced, some sectors.
    pub(super) fn turned_on(&self) -> Self {
        let mut state = self.state();
        let mut file = std::mem::take(&mut state.database);
        for (offset, bytes) in std::mem::take(&mut file.unsynced) {
            for (at, sector) in (offset..).step_by(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)) {
                if state.chance().is_multiple_of(2) {
                    put(&mut file.durable, at, sector);
                }
            }
        }
        // The length is the file system's, which keeps it.
        file.durable.resize(file.bytes.len(), 0);
        file.bytes.clone_from(&file.durable);
        let journal = state.journal.clone();
        Self(Arc::new(Mutex::new(State { database: file, journal, ..State::default() })))
    }
}

impl Place for Medium {
    fn database(&self) -> Result<Database, DatabaseError> {
        builder(1 << 20).create_with_backend(Side(self.clone()))
    }

    fn journal(&self) -> io::Result<Box<dyn DurableFile>> {
        Ok(Box::new(Side(self.clone())))
    }
}

/// One of the files.
#[derive(Debug)]
struct Side(Medium);

impl DurableFile for Side {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().journal.bytes.len() as u64)
    }

    fn read(&self, room: &mut [u8], offset: u64) -> io::Result<()> {
        get(&self.0.state().journal.bytes, room, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let state = &mut *self.0.state();
        let offset = usize::try_from(offset).unwrap();
        let was_cut = state.is_cut();
        if state.operation().is_some() {
            // Torn: any of its sectors may be there.
            for (at, sector) in (offset..).step_by(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)) {
                if !was_cut && state.chance().is_multiple_of(2) {
                    put(&mut state.journal.bytes, at, sector);
                }
            }
            return Err(gone());
        }
        state.has_room((offset + bytes.len()).saturating_sub(state.journal.bytes.len()))?;
        put(&mut state.journal.bytes, offset, bytes);
        Ok(())
    }
}

impl StorageBackend for Side {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().database.bytes.len() as u64)
    }

    fn read(&self, offset: u64, room: &mut [u8]) -> io::Result<()> {
        let state = self.0.state();
        if state.is_cut() { Err(gone()) } else { get(&state.database.bytes, room, offset) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let state = &mut *self.0.state();
        if state.operation().is_some() {
            return Err(gone());
        }
        let length = usize::try_from(length).unwrap();
        state.has_room(length.saturating_sub(state.database.bytes.len()))?;
        state.database.bytes.resize(length, 0);
        state.database.durable.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.0.state();
        if state.operation().is_some() {
            return Err(gone());
        }
        let file = &mut state.database;
        file.unsynced.clear();
        file.durable.clone_from(&file.bytes);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.state();
        if state.operation().is_some() {
            return Err(gone());
        }
        let offset = usize::try_from(offset).unwrap();
        state.has_room((offset + bytes.len()).saturating_sub(state.database.bytes.len()))?;
        put(&mut state.database.bytes, offset, bytes);
        state.database.unsynced.push((offset, bytes.to_vec()));
        Ok(())
    }
}
