//! Recovery: the phrase, the encrypted export of an account, and the way back on a bare machine.
//!
//! Whoever has phrase and export gets back identity, spaces and everything that could be read where the export was made, at
//! once and offline. To write, the new device has to be let in by a member that it meets; until then what would write fails
//! with a retryable error ([`EngineError::Rejoining`](crate::EngineError::Rejoining)), and [`Event::Rejoined`](crate::Event::Rejoined)
//! says when that is over. It is a device of its own: it takes over neither the key nor the name in any document of the one
//! that was lost, which should be revoked.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use clave_engine::crypto::RecoveryPhrase;
use clave_engine::{
    ACCOUNT_MAGIC, AccountHead, AccountReader, AccountWriter, Batch, CircleId, ExportError, Identity, Keyspace,
};

use crate::node::{off_thread, seed_entropy, vault_of};
use crate::unfinished::Unfinished;
use crate::{Error, Node, NodeConfig, Progress, SealedStore};

/// Bytes that one write of a restore holds, as far as whole pieces allow.
const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// What a backup holds, and how many of those before it are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupPlan {
    /// Whether the content of files is in it, as far as it is here.
    pub with_files: bool,
    /// How many older ones are kept beside it.
    pub keep: u32,
}

/// An export that was made and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountExported {
    /// How long the file is.
    pub bytes: u64,
    /// How many records it holds.
    pub records: u64,
    /// What it says of itself.
    pub head: AccountHead,
}

impl Node {
    /// As [`create`](Self::create); hands out the person's recovery phrase. Nobody keeps it but the person: it is shown this
    /// once, and whoever has it can bring devices in in their name.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub async fn create_with_phrase(
        config: NodeConfig,
        person_name: &str,
        device_name: &str,
    ) -> Result<(Self, RecoveryPhrase), Error> {
        let phrase = RecoveryPhrase::generate(&mut seed_entropy()?);
        let node = Self::restore_identity(config, &phrase, person_name, device_name).await?;
        Ok((node, phrase))
    }

    /// The person of a phrase with a new device, and without anything else: for when there is no export. Their spaces know
    /// the person, and not this device: link it to another one of theirs, or have an admin remove them and invite them anew.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub async fn restore_identity(
        config: NodeConfig,
        phrase: &RecoveryPhrase,
        person_name: &str,
        device_name: &str,
    ) -> Result<Self, Error> {
        let identity = Identity::of_phrase(phrase, person_name, device_name, &mut seed_entropy()?)?;
        let (config, store) = off_thread(config, vault_of).await?;
        if Identity::load(&*store)?.is_some() {
            return Err(Error::IdentityExists);
        }
        store.write(vec![identity.to_batch()])?;
        Self::start(config, identity, store).await
    }

    /// Writes all that this device has of the person's account into an encrypted file, while everything goes on: names,
    /// spaces and circles, who is in them, what was said, the keys to it, whom they verified and where devices can be
    /// reached. `with_files` also the content of files, as far as it is here; without, files can be fetched from others after
    /// a restore. Only the recovery phrase opens it. It appears complete and read back, or not at all.
    ///
    /// # Errors
    /// If the phrase is somebody else's, or the file cannot be written.
    pub async fn export_account(
        &self,
        path: &Path,
        phrase: &RecoveryPhrase,
        with_files: bool,
    ) -> Result<AccountExported, Error> {
        self.write_account(path, phrase, with_files, 0, |_| {}).await
    }

    /// Makes a backup: an [export of the account](Self::export_account) with the content of files, unless `plan` says
    /// otherwise. Backups that were at `path` before are kept as `path.1` (the newest) to `path.N`, so many as `plan` says, and
    /// move only once the new one is complete and read back. How far it is, is told in bytes written, and of about how many.
    /// Dropping the future cancels it, and leaves all as it was.
    ///
    /// # Errors
    /// Those of [`export_account`](Self::export_account); or if what is at `path` is no backup.
    pub async fn back_up(
        &self,
        path: &Path,
        phrase: &RecoveryPhrase,
        plan: BackupPlan,
        progress: impl FnMut(Progress),
    ) -> Result<AccountExported, Error> {
        expect_backup(path)?;
        self.write_account(path, phrase, plan.with_files, plan.keep, progress).await
    }

    async fn write_account(
        &self,
        path: &Path,
        phrase: &RecoveryPhrase,
        with_files: bool,
        keep: u32,
        mut progress: impl FnMut(Progress),
    ) -> Result<AccountExported, Error> {
        let words = phrase.words();
        let begin = move |engine: &mut clave_engine::Engine, now_ms| {
            // Compared where the identity is.
            let phrase = RecoveryPhrase::parse(&words).expect("these are the words of a phrase");
            engine.identity().check_phrase(&phrase)?;
            engine.begin_export(with_files, now_ms)
        };
        let (head, mut export) = self.command(begin).await?;
        let unfinished = Unfinished::beside(path)?;
        let file = BufWriter::new(unfinished.create_private()?);
        let failed = |error| unfinished.failed(error);
        let mut writer = AccountWriter::new(file, phrase, (&head, &export), seed_entropy()?).map_err(failed)?;
        let mut far = Progress { done_bytes: 0, total_bytes: self.status().await?.store_bytes };
        loop {
            let more = self
                .read(move |engine| {
                    let records = engine.export_more(&mut export)?;
                    Ok((export, records))
                })
                .await?;
            export = more.0;
            let Some(records) = more.1 else { break };
            for record in records {
                far.done_bytes += record.1.len() as u64;
                writer.add(record).map_err(failed)?;
            }
            far.total_bytes = far.total_bytes.max(far.done_bytes);
            progress(far);
        }
        let (records, file) = writer.finish().map_err(failed)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        drop(file);
        let (read, read_back) = read_through(unfinished.path(), phrase)?;
        if (&read, read_back) != (&head, records) {
            return Err(clave_engine::AccountError::Damaged.into());
        }
        rotate(path, keep)?;
        let bytes = unfinished.finish()?;
        Ok(AccountExported { bytes, records, head })
    }

    /// Restores an account from an export into a new directory, with a new device, and opens it. Everything in it can be
    /// read at once. Once the device meets a member of a space, it is let in there and can write again.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]; if the file is not of this phrase, damaged, or cut short: it is read to its end before
    /// anything is written.
    pub async fn restore_account(
        config: NodeConfig,
        phrase: &RecoveryPhrase,
        file: &Path,
        device_name: &str,
    ) -> Result<Self, Error> {
        read_through(file, phrase)?;
        let identity = open(file, phrase)?.identity(phrase, device_name, &mut seed_entropy()?)?;
        let (config, store) = off_thread(config, vault_of).await?;
        if Identity::load(&*store)?.is_some() {
            return Err(Error::IdentityExists);
        }
        let mut last = take_over(file, phrase, &store)?;
        last.extend(identity.to_batch());
        store.write(vec![last])?;
        let node = Self::start(config, identity, store).await?;
        node.rejoin(phrase).await?;
        Ok(node)
    }

    /// Writes this restored device into each circle in which that was not done yet, so that members let it in.
    /// [`restore_account`](Self::restore_account) does so; this is for when it was interrupted at its very end.
    ///
    /// # Errors
    /// If the phrase is somebody else's.
    pub async fn rejoin(&self, phrase: &RecoveryPhrase) -> Result<(), Error> {
        let words = phrase.words();
        self.command(move |engine, now_ms| {
            let phrase = RecoveryPhrase::parse(&words).expect("these are the words of a phrase");
            engine.recover(&phrase, now_ms)
        })
        .await
    }

    /// Takes another recovery phrase in place of the present one, made with [`RecoveryPhrase::generate`] or
    /// [`Node::draw_phrase`]. Show it first: from now on it is the only one that brings devices in, in each circle as soon as its
    /// members hear of it. Exports that were made before are opened by the former phrase still, and by no other, and bring
    /// nobody in any more: make a new one. Without an export only the person's very first phrase leads to their identity.
    ///
    /// # Errors
    /// If `former` is not the person's present phrase: whoever takes a device cannot change it.
    pub async fn change_phrase(&self, former: &RecoveryPhrase, next: &RecoveryPhrase) -> Result<(), Error> {
        let words = [former.words(), next.words()];
        self.command(move |engine, now_ms| {
            let [former, next] =
                words.map(|words| RecoveryPhrase::parse(&words).expect("these are the words of a phrase"));
            engine.change_phrase(&former, &next, now_ms)
        })
        .await
    }

    /// Whether this is the person's recovery phrase now.
    ///
    /// # Errors
    /// [`EngineError::OtherPhrase`](crate::EngineError::OtherPhrase) if it is not.
    pub async fn check_phrase(&self, phrase: &RecoveryPhrase) -> Result<(), Error> {
        let words = phrase.words();
        self.read(move |engine| {
            let phrase = RecoveryPhrase::parse(&words).expect("these are the words of a phrase");
            engine.identity().check_phrase(&phrase)
        })
        .await
    }

    /// A recovery phrase that nobody has had.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn draw_phrase() -> Result<RecoveryPhrase, Error> {
        Ok(RecoveryPhrase::generate(&mut seed_entropy()?))
    }

    /// Makes a circle that this restored device waits to be let into its own again, when nobody is left who could let it in:
    /// the person is alone there, and their other devices are lost. Those are revoked.
    ///
    /// # Errors
    /// [`EngineError::NotAlone`](crate::EngineError::NotAlone) if there are other people: they let it in.
    pub async fn begin_anew(&self, circle: CircleId) -> Result<(), Error> {
        self.command(move |engine, now_ms| engine.begin_anew(circle, now_ms)).await
    }

    /// The circles to which this device was restored and that have not let it in yet.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn rejoining(&self) -> Result<Vec<CircleId>, Error> {
        self.read(|engine| Ok(engine.rejoining().collect())).await
    }
}

/// Whether nothing is at `path`, or a backup.
fn expect_backup(path: &Path) -> Result<(), Error> {
    let mut begins = [0; ACCOUNT_MAGIC.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut begins)) {
        Ok(()) if begins == *ACCOUNT_MAGIC => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(in_file(path, error.into())),
        _ => Err(clave_engine::AccountError::NotAnExport.into()),
    }
}

/// Makes room at `path`: what is there becomes number 1, that number 2, and so on; the last goes.
fn rotate(path: &Path, keep: u32) -> Result<(), Error> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    for number in (0..keep).rev() {
        match std::fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(in_file(path, error.into())),
            _ => {}
        }
    }
    Ok(())
}

/// Reads an export to its end, and checks all of it.
fn read_through(path: &Path, phrase: &RecoveryPhrase) -> Result<(AccountHead, u64), Error> {
    let mut reader = open(path, phrase)?;
    while reader.next_records().map_err(|error| in_file(path, error))?.is_some() {}
    Ok((reader.head().clone(), reader.records()))
}

/// Writes what is in an export into a store. What makes circles of it is handed back, to be written with the identity: what
/// a restore leaves behind that did not come to its end belongs to nothing.
fn take_over(path: &Path, phrase: &RecoveryPhrase, store: &SealedStore) -> Result<Batch, Error> {
    let mut reader = open(path, phrase)?;
    let (mut last, mut batch, mut bytes) = (Batch::default(), Batch::default(), 0);
    while let Some(records) = reader.next_records().map_err(|error| in_file(path, error))? {
        for (key, value) in records {
            if key.keyspace == Keyspace::Circles {
                last.put(key, value);
                continue;
            }
            bytes += value.len();
            batch.put(key, value);
        }
        if bytes >= WRITE_BYTES {
            store.write(vec![std::mem::take(&mut batch)])?;
            bytes = 0;
        }
    }
    store.write(vec![batch])?;
    Ok(last)
}

fn open(path: &Path, phrase: &RecoveryPhrase) -> Result<AccountReader<BufReader<File>>, Error> {
    let file = File::open(path).map_err(|error| in_file(path, error.into()))?;
    AccountReader::open(BufReader::new(file), phrase).map_err(|error| in_file(path, error))
}

fn in_file(path: &Path, error: ExportError) -> Error {
    match error {
        ExportError::Account(error) => Error::Account(error),
        ExportError::Io(source) => Error::File { path: path.display().to_string(), source },
        other => Error::File { path: path.display().to_string(), source: std::io::Error::other(other) },
    }
}
