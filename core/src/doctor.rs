//! Looks through a data directory, and mends what can be mended without loss.
//!
//! It works on the store, not on a running device: also when that cannot be opened any more. First each record has to
//! authenticate; then what the records say is compared ([`inspect_circle`]); then the device is opened for a try. A record that
//! is taken out is first copied into a file beside the store, which the report names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clave_engine::crypto::Mls;
use clave_engine::{Batch, CircleId, CircleReport, Engine, Identity, Key, Keyspace, StoreRead, inspect_circle};

use crate::node::{now_ms, open_vault, seed_entropy};
use crate::store::{HIDDEN_BYTES, Readable};
use crate::{Error, NodeConfig, RawBatch, SealedStore, StoreError};

/// What an examination found.
#[derive(Debug, Default)]
pub struct Examination {
    /// Records in the store.
    pub records: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// How many records of each kind do not authenticate: altered, or written under another key.
    pub damaged: BTreeMap<Keyspace, u64>,
    /// Packs in which no chunk of a file is any more, by number, with their sizes in bytes. Nothing is wrong with them: the next
    /// [collection](crate::Drive::collect) removes them.
    pub unused_packs: BTreeMap<u64, u64>,
    /// Circle by circle.
    pub circles: Vec<ExaminedCircle>,
    /// Whether there is an identity, which nothing else can make again.
    pub identity: bool,
    /// Why the device does not open, if it does not.
    pub unopened: Option<Error>,
    /// What was mended, if that was asked for and there was something.
    pub repaired: Option<Repair>,
}

/// One circle of an examination.
#[derive(Debug)]
pub struct ExaminedCircle {
    /// Which.
    pub id: CircleId,
    /// What was found.
    pub report: CircleReport,
}

/// What a repair did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Records taken out.
    pub removed: u64,
    /// Records made again.
    pub restored: u64,
    /// Where those that were taken out are.
    pub copies: Option<PathBuf>,
}

impl Examination {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
            && self.identity
            && self.unopened.is_none()
            && self.circles.iter().all(|circle| circle.report.findings.is_empty())
    }
}

/// Examines a data directory that no process has open, and with `repair` mends it: takes out records that do not
/// authenticate or are not what their names say, and makes again what the entries that are whole have in them. What other members
/// have comes again from them. Calls `progress` now and then.
///
/// # Errors
/// If the directory is in use, there is no device in it, the passphrase is missing or wrong, or the database as such cannot be
/// opened.
pub fn examine(config: &NodeConfig, repair: bool, mut progress: impl FnMut(u64)) -> Result<Examination, Error> {
    let store = open_vault(config)?;
    let mut found = look(&store, &mut progress)?;
    let mut done = Repair::default();
    // What was taken out may show what else is missing: an entry that is gone takes along what names it.
    for _ in 0..ROUNDS_MAX {
        // Without an identity nothing here is of use: rather than the records, it may be the vault that is another's.
        if !repair
            || !found.identity
            || (found.damaged_records.is_empty() && found.circles.iter().all(|(_, report)| report.repair.is_empty()))
        {
            break;
        }
        mend(&config.directory, &store, &found, &mut done)?;
        found = look(&store, &mut progress)?;
    }
    let unopened = open_for_a_try(&store).err();
    let mut damaged = BTreeMap::new();
    for (keyspace, _) in &found.damaged_records {
        *damaged.entry(*keyspace).or_default() += 1;
    }
    Ok(Examination {
        records: found.records,
        store_bytes: store.size_bytes()?,
        damaged,
        unused_packs: found.unused_packs,
        circles: found.circles.into_iter().map(|(id, report)| ExaminedCircle { id, report }).collect(),
        identity: found.identity,
        unopened,
        repaired: (done != Repair::default()).then_some(done),
    })
}

/// A repair shows at once what the one before it brought to light.
const ROUNDS_MAX: usize = 3;

/// What one look found.
struct Found {
    records: u64,
    damaged_records: Vec<(Keyspace, Vec<u8>)>,
    unused_packs: BTreeMap<u64, u64>,
    circles: Vec<(CircleId, CircleReport)>,
    identity: bool,
}

fn look(store: &SealedStore, progress: &mut impl FnMut(u64)) -> Result<Found, Error> {
    let (mut records, mut damaged_records) = (0_u64, Vec::new());
    for keyspace in Keyspace::ALL {
        store.store().scan(keyspace as u8, &[], &[], &mut |on_disk, value| {
            records += 1;
            if records.is_multiple_of(1_024) {
                progress(records);
            }
            if !store.authenticates(keyspace, on_disk, value) {
                damaged_records.push((keyspace, on_disk.to_vec()));
            }
            true
        })?;
    }
    let (lost, unused_packs) = store.examine_packs()?;
    damaged_records.extend(lost.into_iter().map(|on_disk| (Keyspace::Chunks, on_disk)));
    let readable = Readable::new(store);
    let mut circles = Vec::new();
    for id in circles_of(store, &damaged_records)? {
        circles.push((id, inspect_circle(&readable, id, progress)?));
    }
    let identity = Identity::load(&readable).is_ok_and(|identity| identity.is_some());
    Ok(Found { records, damaged_records, unused_packs, circles, identity })
}

/// The circles, also those whose record is damaged: what it says is that it is there.
fn circles_of(store: &SealedStore, damaged: &[(Keyspace, Vec<u8>)]) -> Result<Vec<CircleId>, Error> {
    let mut ids = Vec::new();
    Readable::new(store).scan_suffixes(Keyspace::Circles, &[], &[], &mut |suffix| {
        ids.extend(CircleId::try_from(suffix).ok());
        true
    })?;
    let named = damaged.iter().filter(|(keyspace, _)| *keyspace == Keyspace::Circles);
    for suffix in named.filter_map(|(_, on_disk)| on_disk.get(HIDDEN_BYTES..)) {
        ids.extend(CircleId::try_from(suffix).ok().filter(|id| !ids.contains(id)));
    }
    Ok(ids)
}

/// Whether a device could be opened over the store. What it would write is not written.
fn open_for_a_try(store: &Arc<SealedStore>) -> Result<(), Error> {
    let identity = Identity::load(&**store)?.ok_or(Error::NoIdentity)?;
    Engine::open(identity, Box::new(Mls), store.clone(), seed_entropy()?, now_ms()).map(drop)?;
    Ok(())
}

/// Takes out what is damaged, having copied it, and puts in what can be made again: in one commit.
fn mend(directory: &Path, store: &SealedStore, found: &Found, done: &mut Repair) -> Result<(), Error> {
    let (mut out, mut batch) = (Vec::new(), Batch::default());
    for (keyspace, on_disk) in &found.damaged_records {
        match keyspace {
            // Its name says all that it says.
            Keyspace::Circles => batch.extend(circle_record(on_disk)),
            // Nothing can be had for it: it stays, for a backup of it may turn up.
            Keyspace::Meta => continue,
            _ => {}
        }
        out.push((store.table_of(*keyspace), on_disk.clone()));
    }
    for (_, report) in &found.circles {
        batch.extend(report.repair.clone());
        let removed = report.repair.writes.iter().filter(|(_, value)| value.is_none());
        out.extend(removed.map(|(key, _)| (store.table_of(key.keyspace), store.disk_key(key))));
    }
    if out.is_empty() && batch.is_empty() {
        return Ok(());
    }
    let copied = copy_out(directory, store, &out)?;
    let mut raw = RawBatch::default();
    for (keyspace, on_disk) in &out {
        raw.remove(*keyspace as u8, on_disk.clone());
    }
    done.removed += out.len() as u64;
    done.restored += batch.writes.iter().filter(|(_, value)| value.is_some()).count() as u64;
    done.copies = copied.or(done.copies.take());
    raw.writes.extend(store.sealed(batch).writes);
    store.store().apply(&[raw])?;
    Ok(())
}

fn circle_record(on_disk: &[u8]) -> Batch {
    let mut batch = Batch::default();
    let id = on_disk.get(HIDDEN_BYTES..).and_then(|suffix| CircleId::try_from(suffix).ok());
    if let Some(id) = id {
        batch.put(Key::new(Keyspace::Circles, [], id.as_bytes()), Vec::new());
    }
    batch
}

/// Writes records, as they are on disk, into a file of the data directory: a line each, keyspace, key and value in
/// hexadecimal.
fn copy_out(directory: &Path, store: &SealedStore, records: &[(Keyspace, Vec<u8>)]) -> Result<Option<PathBuf>, Error> {
    if records.is_empty() {
        return Ok(None);
    }
    let path = directory.join("taken-out");
    let mut file = File::options().create(true).append(true).open(&path).map_err(StoreError::from)?;
    let mut out = BufWriter::new(&mut file);
    let mut line = String::new();
    for (keyspace, on_disk) in records {
        let Some(value) = store.store().get(*keyspace as u8, on_disk)? else { continue };
        line.clear();
        let _ = write!(line, "{} ", *keyspace as u8);
        hexadecimal(&mut line, on_disk);
        line.push(' ');
        hexadecimal(&mut line, &value);
        line.push('\n');
        out.write_all(line.as_bytes()).map_err(StoreError::from)?;
    }
    out.flush().map_err(StoreError::from)?;
    drop(out);
    file.sync_all().map_err(StoreError::from)?;
    #[cfg(unix)]
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(StoreError::from)?;
    Ok(Some(path))
}

fn hexadecimal(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
}
