//! Chunks that lie in packs: the database has where.

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::store::packs::Place;

/// The table of places.
const PLACES: u8 = Keyspace::ChunkPlaces as u8;
/// Bytes of chunks that are moved out of the database in one commit.
const MOVED_BYTES: usize = 16 << 20;

impl SealedStore {
    pub(super) fn packs_of(&self, keyspace: Keyspace) -> Option<&Packs> {
        self.packs.as_ref().filter(|_| is_ciphertext(keyspace))
    }

    /// Appends and syncs the chunks, then commits everything else and where they are.
    pub(super) fn write_with_chunks(&self, packs: &Packs, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut appending = packs.appending();
        let mut raw = Vec::with_capacity(batches.len());
        for batch in batches {
            let (chunks, rest): (Vec<_>, Vec<_>) =
                batch.writes.into_iter().partition(|(key, _)| is_ciphertext(key.keyspace));
            let mut records = self.sealed(Batch { writes: rest });
            for (key, chunk) in chunks {
                let on_disk = self.disk_key(&key);
                match chunk {
                    Some(chunk) => {
                        let place = packs.append(&mut appending, &chunk)?;
                        records.put(PLACES, on_disk.clone(), self.sealed_place(&on_disk, place));
                    }
                    None => records.remove(PLACES, on_disk),
                }
            }
            raw.push(records);
        }
        packs.sync(&mut appending)?;
        self.store.apply(&raw)
    }

    fn sealed_place(&self, on_disk: &[u8], place: Place) -> Vec<u8> {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        self.vault.seal(&mut entropy, &associated(Keyspace::ChunkPlaces, on_disk), &place.to_bytes())
    }

    fn opened_place(&self, on_disk: &[u8], value: &[u8]) -> Result<Place, StoreError> {
        let opened = self.vault.open(&associated(Keyspace::ChunkPlaces, on_disk), value);
        Place::from_bytes(&opened.map_err(|_| StoreError::Damaged)?)
    }

    pub(super) fn place(&self, on_disk: &[u8]) -> Result<Option<Place>, StoreError> {
        self.store.get(PLACES, on_disk)?.map(|value| self.opened_place(on_disk, &value)).transpose()
    }

    pub(super) fn chunk(&self, packs: &Packs, on_disk: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut known = None;
        loop {
            let Some(place) = self.place(on_disk)? else { return Ok(None) };
            match packs.read(place) {
                // Its pack was emptied between the two: it is elsewhere by now. If it is not, its pack was lost.
                Err(StoreError::Io(io::ErrorKind::NotFound)) if known == Some(place) => {
                    return Err(StoreError::Damaged);
                }
                Err(StoreError::Io(io::ErrorKind::NotFound)) => known = Some(place),
                chunk => return chunk.map(Some),
            }
        }
    }

    pub(super) fn scan_places(
        &self,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], Place) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = self.hidden(Keyspace::Chunks, scope);
        let mut outcome = Ok(());
        self.store.scan(PLACES, &prefix, from, &mut |on_disk, value| match self.opened_place(on_disk, value) {
            Ok(place) => visit(&on_disk[HIDDEN_BYTES..], place),
            Err(error) => {
                outcome = Err(error);
                false
            }
        })?;
        outcome
    }

    /// Moves chunks that lie in the database to packs.
    pub(super) fn move_chunks_out(&self) -> Result<(), StoreError> {
        let Some(packs) = &self.packs else { return Ok(()) };
        loop {
            let (mut found, mut bytes) = (Vec::new(), 0);
            self.store.scan(Keyspace::Chunks as u8, &[], &[], &mut |on_disk, chunk| {
                bytes += chunk.len();
                found.push((on_disk.to_vec(), chunk.to_vec()));
                bytes < MOVED_BYTES
            })?;
            if found.is_empty() {
                return Ok(());
            }
            let (mut appending, mut records) = (packs.appending(), RawBatch::default());
            for (on_disk, chunk) in found {
                let place = packs.append(&mut appending, &chunk)?;
                records.put(PLACES, on_disk.clone(), self.sealed_place(&on_disk, place));
                records.remove(Keyspace::Chunks as u8, on_disk);
            }
            packs.sync(&mut appending)?;
            self.store.apply(&[records])?;
        }
    }

    /// Gives back to the file system what removed chunks held: empties each pack of which at most half is in use, and removes
    /// it. Writes of chunks wait for one pack at a time. Returns how many bytes were given back.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost.
    pub fn reclaim_chunks(&self) -> Result<u64, StoreError> {
        let Some(packs) = &self.packs else { return Ok(0) };
        let before = packs.size_bytes()?;
        {
            let mut appending = packs.appending();
            let used = self.used_bytes(None)?.0;
            let present = appending.pack();
            if packs.all()?.get(&present).is_some_and(|size| is_sparse(*size, used.get(&present))) {
                appending.begin_another();
            }
        }
        let sparse = {
            let appending = packs.appending();
            let used = self.used_bytes(None)?.0;
            let all = packs.all()?.into_iter().filter(|(pack, _)| *pack != appending.pack());
            all.filter(|(pack, size)| is_sparse(*size, used.get(pack))).map(|(pack, _)| pack).collect::<Vec<_>>()
        };
        for pack in sparse {
            let mut appending = packs.appending();
            let mut records = RawBatch::default();
            for (on_disk, place) in self.used_bytes(Some(pack))?.1 {
                let place = packs.append(&mut appending, &packs.read(place)?)?;
                records.put(PLACES, on_disk.clone(), self.sealed_place(&on_disk, place));
            }
            packs.sync(&mut appending)?;
            self.store.apply(&[records])?;
            packs.remove(&appending, pack)?;
        }
        Ok(before.saturating_sub(packs.size_bytes()?))
    }

    /// Which chunks have a place outside its pack, by their keys on disk, and the packs in which no chunk is, with their
    /// sizes. What does not authenticate is passed over.
    #[allow(clippy::type_complexity)]
    pub(crate) fn examine_packs(&self) -> Result<(Vec<Vec<u8>>, BTreeMap<u64, u64>), StoreError> {
        let Some(packs) = &self.packs else { return Ok(Default::default()) };
        let all = packs.all()?;
        let (mut lost, mut unused) = (Vec::new(), all.clone());
        self.store.scan(PLACES, &[], &[], &mut |on_disk, value| {
            if let Ok(place) = self.opened_place(on_disk, value) {
                let end = place.offset.checked_add(place.bytes.into());
                if end.is_none_or(|end| all.get(&place.pack).is_none_or(|size| end > *size)) {
                    lost.push(on_disk.to_vec());
                }
                unused.remove(&place.pack);
            }
            true
        })?;
        Ok((lost, unused))
    }

    /// How many bytes of each pack are in use, and all places in one of them.
    #[allow(clippy::type_complexity)]
    fn used_bytes(&self, of: Option<u64>) -> Result<(BTreeMap<u64, u64>, Vec<(Vec<u8>, Place)>), StoreError> {
        let (mut used, mut places, mut outcome) = (BTreeMap::<u64, u64>::new(), Vec::new(), Ok(()));
        self.store.scan(PLACES, &[], &[], &mut |on_disk, value| match self.opened_place(on_disk, value) {
            Ok(place) => {
                *used.entry(place.pack).or_default() += u64::from(place.bytes);
                if of == Some(place.pack) {
                    places.push((on_disk.to_vec(), place));
                }
                true
            }
            Err(error) => {
                outcome = Err(error);
                false
            }
        })?;
        outcome.map(|()| (used, places))
    }
}

fn is_sparse(size: u64, used: Option<&u64>) -> bool {
    used.copied().unwrap_or(0) * 2 <= size
}
