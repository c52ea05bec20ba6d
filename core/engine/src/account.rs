//! The encrypted export of an account: how its bytes are made and read, over any file.
//!
//! Owns the format: a head in clear that names nobody, then chunks, each sealed under the export key of the person's
//! recovery phrase and bound to its place, the last one marked. So a file that was altered, cut short, put together from two
//! or made under another phrase is told from a good one, and which of these it is. What is in it is for
//! [`Engine::export_more`](crate::Engine::export_more) to say.

use std::io::{self, Read, Write};

use clave_crypto::{DeviceId, Entropy, PersonId, PersonKey, RecoveryPhrase, VaultKey};
use prost::Message as _;
use zeroize::Zeroizing;

use crate::engine::AccountExport;
use crate::identity::{Identity, NameError, check_name};
use crate::proto::account as proto;
use crate::{Key, Keyspace};

/// The version of the format that this build writes, and the newest that it reads.
pub const ACCOUNT_VERSION: u16 = 1;

/// How an export begins.
pub const ACCOUNT_MAGIC: &[u8; 8] = b"CLAVEACC";

const ID_BYTES: usize = 16;
/// Magic, version, id, and what shows whether a phrase is the right one.
const HEAD_BYTES: usize = 8 + 2 + ID_BYTES + 16;
/// Bytes of records in one chunk, as far as whole records allow.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The greatest sealed chunk that is read: the greatest value that a store takes, and room for the rest.
const SEALED_BYTES_MAX: usize = 272 * 1024 * 1024;

/// What an export may hold. Not the device's key nor its checkpoints, so that no device and no leaf is ever there twice; nor
/// what belongs to conversations that end with the device.
const KEYSPACES: [Keyspace; 15] = [
    Keyspace::Circles,
    Keyspace::Entries,
    Keyspace::Held,
    Keyspace::Carried,
    Keyspace::Checkpoints,
    Keyspace::ContentKeys,
    Keyspace::Operations,
    Keyspace::KeyChanges,
    Keyspace::Documents,
    Keyspace::Snapshots,
    Keyspace::Changes,
    Keyspace::Authors,
    Keyspace::Addresses,
    Keyspace::Marks,
    Keyspace::Reads,
];

/// Why an export cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// It does not begin as one does.
    #[error("this file is not an export of an account: choose another")]
    NotAnExport,
    /// A newer version made it.
    #[error("this export was made by a newer version of Clave (format {0}): update, and try again")]
    TooNew(u16),
    /// It is sealed under another phrase.
    #[error("this export was made with another recovery phrase: check the phrase, or choose another file")]
    OtherPhrase,
    /// It ends too early.
    #[error("this export is cut short, as a copy is that was interrupted: copy it again, or choose an older one")]
    CutShort,
    /// Something in it was altered.
    #[error("this export is damaged: copy it again from where it was kept, or choose an older one")]
    Damaged,
}

/// Why an export could not be written or read: what is in the file, or the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// What is in the file.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountHead {
    /// Whose account it is.
    pub person: PersonId,
    /// How they were called.
    pub person_name: String,
    /// The device that made it.
    pub device: DeviceId,
    /// How that was called.
    pub device_name: String,
    /// When it was begun, in Unix milliseconds, by that device's clock.
    pub made_ms: u64,
    /// Whether the chunks of files are in it, as far as that device had them.
    pub with_files: bool,
}

/// A record of the engine's store.
pub type AccountRecord = (Key, Vec<u8>);

/// Writes an export.
pub struct AccountWriter<W> {
    out: W,
    key: VaultKey,
    id: [u8; ID_BYTES],
    entropy: Entropy,
    chunks: u64,
    records: u64,
    waiting: proto::Piece,
    waiting_bytes: usize,
}

impl<W: Write> AccountWriter<W> {
    /// Begins an export under the key of `phrase`.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn new(
        mut out: W,
        phrase: &RecoveryPhrase,
        (head, export): (&AccountHead, &AccountExport),
        mut entropy: Entropy,
    ) -> io::Result<Self> {
        let (key, id) = (phrase.export_key(), entropy.bytes());
        out.write_all(ACCOUNT_MAGIC)?;
        out.write_all(&ACCOUNT_VERSION.to_be_bytes())?;
        out.write_all(&id)?;
        out.write_all(&key.hide(&id))?;
        let head = proto::Head {
            person: head.person.as_bytes().to_vec(),
            person_name: head.person_name.clone(),
            device: head.device.as_bytes().to_vec(),
            device_name: head.device_name.clone(),
            made_ms: head.made_ms,
            with_files: head.with_files,
            person_seed: export.person_seed.to_vec(),
        };
        let waiting = proto::Piece { head: Some(head), ..Default::default() };
        Ok(Self { out, key, id, entropy, chunks: 0, records: 0, waiting, waiting_bytes: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn add(&mut self, (key, value): AccountRecord) -> io::Result<()> {
        self.records += 1;
        self.waiting_bytes += value.len() + key.scope.len() + key.suffix.len();
        let (keyspace, scope, suffix) = (key.keyspace as u32, key.scope, key.suffix);
        self.waiting.records.push(proto::Record { keyspace, scope, suffix, value });
        if self.waiting_bytes >= CHUNK_BYTES { self.seal(false) } else { Ok(()) }
    }

    /// Ends the export. How many records it has, and what it was written to.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        self.waiting.tail = Some(proto::Tail { records: self.records });
        self.seal(true)?;
        self.out.flush()?;
        Ok((self.records, self.out))
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let piece = Zeroizing::new(std::mem::take(&mut self.waiting).encode_to_vec());
        self.waiting_bytes = 0;
        let sealed = self.key.seal(&mut self.entropy, &place(&self.id, self.chunks, last), &piece);
        self.chunks += 1;
        let length = u32::try_from(sealed.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.out.write_all(&[u8::from(last)])?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&sealed)
    }
}

/// Reads an export, chunk by chunk.
pub struct AccountReader<R> {
    from: R,
    key: VaultKey,
    id: [u8; ID_BYTES],
    head: AccountHead,
    person: Option<PersonKey>,
    chunks: u64,
    records: u64,
    /// Of the chunk that was read last.
    read: Vec<AccountRecord>,
    ended: bool,
}

impl<R: Read> AccountReader<R> {
    /// Opens an export with the phrase that it was made with.
    ///
    /// # Errors
    /// If it is none, or not of this phrase, or its beginning is damaged.
    pub fn open(mut from: R, phrase: &RecoveryPhrase) -> Result<Self, ExportError> {
        let mut clear = [0; HEAD_BYTES];
        match from.read_exact(&mut clear) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(AccountError::NotAnExport.into()),
            read => read?,
        }
        let (magic, rest) = clear.split_at(ACCOUNT_MAGIC.len());
        let (version, rest) = rest.split_at(2);
        let (id, check) = rest.split_at(ID_BYTES);
        if magic != ACCOUNT_MAGIC {
            return Err(AccountError::NotAnExport.into());
        }
        let version = u16::from_be_bytes(version.try_into().expect("two bytes were split off"));
        if version > ACCOUNT_VERSION {
            return Err(AccountError::TooNew(version).into());
        }
        let id: [u8; ID_BYTES] = id.try_into().expect("so many bytes were split off");
        let key = phrase.export_key();
        if version == 0 {
            return Err(AccountError::Damaged.into());
        }
        if key.hide(&id) != check {
            return Err(AccountError::OtherPhrase.into());
        }
        let (person, device) = (PersonId::from_bytes([0; 32]), DeviceId::from_bytes([0; 32]));
        let (person_name, device_name) = (String::new(), String::new());
        let head = AccountHead { person, person_name, device, device_name, made_ms: 0, with_files: false };
        let person = None;
        let mut reader = Self { from, key, id, head, person, chunks: 0, records: 0, read: Vec::new(), ended: false };
        reader.read_chunk()?;
        Ok(reader)
    }

    /// The person whose account it is, with a new device.
    ///
    /// # Errors
    /// If the name cannot be used.
    pub fn identity(
        &self,
        phrase: &RecoveryPhrase,
        device_name: &str,
        entropy: &mut Entropy,
    ) -> Result<Identity, NameError> {
        let person = self.person.as_ref().expect("an export that was opened has a head");
        let person = PersonKey::from_seed(person.seed().clone());
        Identity::of_person(person, phrase, &self.head.person_name, device_name, entropy)
    }

    /// What it says of itself.
    pub fn head(&self) -> &AccountHead {
        &self.head
    }

    /// How many records were read.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next records; none once all were read and the export was found to be whole.
    ///
    /// # Errors
    /// If it is damaged or cut short.
    pub fn next_records(&mut self) -> Result<Option<Vec<AccountRecord>>, ExportError> {
        while self.read.is_empty() && !self.ended {
            self.read_chunk()?;
        }
        let read = std::mem::take(&mut self.read);
        Ok((!read.is_empty()).then_some(read))
    }

    fn read_chunk(&mut self) -> Result<(), ExportError> {
        let mut frame = [0; 5];
        self.read_all(&mut frame)?;
        let [last, length @ ..] = frame;
        let length = u32::from_be_bytes(length) as usize;
        if last > 1 || length > SEALED_BYTES_MAX {
            return Err(AccountError::Damaged.into());
        }
        // Nobody has this allocate what is not there.
        let mut sealed = Vec::new();
        (&mut self.from).take(length as u64).read_to_end(&mut sealed)?;
        if sealed.len() < length {
            return Err(AccountError::CutShort.into());
        }
        let piece = self.key.open(&place(&self.id, self.chunks, last == 1), &sealed);
        let piece = piece.map_err(|_| AccountError::Damaged)?;
        let piece = proto::Piece::decode(piece.as_slice()).map_err(|_| AccountError::Damaged)?;
        let first = self.chunks == 0;
        self.chunks += 1;
        match piece.head {
            Some(head) if first => {
                let (head, person) = read_head(head).ok_or(AccountError::Damaged)?;
                (self.head, self.person) = (head, Some(person));
            }
            None if !first => {}
            _ => return Err(AccountError::Damaged.into()),
        }
        self.records += piece.records.len() as u64;
        self.read = piece.records.into_iter().map(read_record).collect::<Option<_>>().ok_or(AccountError::Damaged)?;
        let whole = match piece.tail {
            Some(tail) => last == 1 && tail.records == self.records,
            None => last == 0,
        };
        if !whole {
            return Err(AccountError::Damaged.into());
        }
        if last == 1 {
            self.ended = true;
            if self.from.read(&mut [0])? != 0 {
                return Err(AccountError::Damaged.into());
            }
        }
        Ok(())
    }

    fn read_all(&mut self, bytes: &mut [u8]) -> Result<(), ExportError> {
        match self.from.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(AccountError::CutShort.into()),
            read => Ok(read?),
        }
    }
}

/// What a chunk is bound to.
fn place(id: &[u8; ID_BYTES], chunk: u64, last: bool) -> Vec<u8> {
    [ACCOUNT_MAGIC.as_slice(), &ACCOUNT_VERSION.to_be_bytes(), id, &chunk.to_be_bytes(), &[u8::from(last)]].concat()
}

fn read_head(head: proto::Head) -> Option<(AccountHead, PersonKey)> {
    let person = PersonKey::from_seed(Zeroizing::new(head.person_seed.as_slice().try_into().ok()?));
    let read = AccountHead {
        person: PersonId::try_from(head.person.as_slice()).ok().filter(|id| *id == person.id())?,
        person_name: check_name(&head.person_name).ok()?.to_owned(),
        device: DeviceId::try_from(head.device.as_slice()).ok()?,
        device_name: check_name(&head.device_name).ok()?.to_owned(),
        made_ms: head.made_ms,
        with_files: head.with_files,
    };
    Some((read, person))
}

fn read_record(record: proto::Record) -> Option<AccountRecord> {
    let allowed = KEYSPACES.into_iter().chain([Keyspace::Chunks]);
    let keyspace = allowed.into_iter().find(|keyspace| *keyspace as u32 == record.keyspace)?;
    Some((Key::new(keyspace, record.scope, record.suffix), record.value))
}

#[cfg(test)]
mod tests;
