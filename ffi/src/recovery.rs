//! Recovery: the phrase, backups, open exports, and the way back on a bare machine. A phrase crosses as text of the language's own, which
//! it does not wipe: show it, and let go of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clave::{BackupPlan, RecoveryPhrase};

use crate::convert::parse;
use crate::session::Session;
use crate::{ClaveError, Node, NodeOptions, Transfer};

/// A recovery phrase that nobody has had: show it to the person, then hand it to [`Node::create_with_phrase`].
///
/// # Errors
/// If the operating system gives no randomness.
#[uniffi::export]
pub fn draw_phrase() -> Result<String, ClaveError> {
    Ok(clave::Node::draw_phrase()?.words().to_string())
}

#[uniffi::export]
impl Node {
    /// Creates the identity that a phrase stands for, with a first device, and opens it: for a phrase that was
    /// [drawn](draw_phrase) just now, or that of a person of whom there is no export.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if it is no phrase; those of [`create`](Self::create).
    #[uniffi::constructor]
    pub async fn create_with_phrase(
        options: NodeOptions,
        person_name: String,
        device_name: String,
        phrase: String,
    ) -> Result<Self, ClaveError> {
        let phrase = phrase_of(&phrase)?;
        let opening =
            async move { clave::Node::restore_identity(options.into(), &phrase, &person_name, &device_name).await };
        Ok(Self { session: Session::open(opening).await? })
    }

    /// Restores an account from a backup into a new directory, with a new device, and opens it. Everything in it can be read
    /// at once. Once the device meets a member of a space, it is let in there and can write again.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if the file is not of this phrase, damaged, or cut short; [`ClaveError::Identity`].
    #[uniffi::constructor]
    pub async fn restore_account(
        options: NodeOptions,
        phrase: String,
        file: String,
        device_name: String,
    ) -> Result<Self, ClaveError> {
        let phrase = phrase_of(&phrase)?;
        let opening = async move {
            clave::Node::restore_account(options.into(), &phrase, &PathBuf::from(file), &device_name).await
        };
        Ok(Self { session: Session::open(opening).await? })
    }

    /// Makes a backup of the account, encrypted to the phrase, while everything goes on. It appears complete and read back, or
    /// not at all; backups that were at `path` before are kept as `path.1` (the newest) to `path.N`, so many as `keep` says.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if it is no phrase. All else is told by the transfer.
    pub fn back_up(
        &self,
        path: String,
        phrase: String,
        with_files: bool,
        keep: u32,
    ) -> Result<Arc<Transfer>, ClaveError> {
        let (node, phrase) = (self.session.node().clone(), phrase_of(&phrase)?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            node.back_up(&PathBuf::from(path), &phrase, BackupPlan { with_files, keep }, progress).await?;
            Ok(Vec::new())
        }))
    }

    /// Writes everything that this device can read into a directory, in formats that any program reads (Markdown, iCalendar, JSON,
    /// plain files, Automerge) and in clear. The directory is made, or is empty, or holds such an export, which is brought up
    /// to date. For content that is not on this device it waits so long for somebody who has it, file by file. Its end gives
    /// the paths of the files whose content was not to be had.
    pub fn export_open(&self, directory: String, wait: Duration) -> Arc<Transfer> {
        let node = self.session.node().clone();
        Transfer::begin(&self.session, |progress| async move {
            let exported = node.export_open(&PathBuf::from(directory), wait, progress).await?;
            Ok(exported.missing.iter().map(|path| path.display().to_string()).collect())
        })
    }

    /// Whether this is the person's recovery phrase now.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if it is no phrase, or another.
    pub async fn check_phrase(&self, phrase: String) -> Result<(), ClaveError> {
        let (node, phrase) = (self.session.node().clone(), phrase_of(&phrase)?);
        self.session.run(async move { node.check_phrase(&phrase).await }).await
    }

    /// Takes another recovery phrase in place of the present one. Backups that were made before are opened by the former
    /// phrase still, and by no other: make a new one.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if `former` is not the person's present phrase.
    pub async fn change_phrase(&self, former: String, next: String) -> Result<(), ClaveError> {
        let (node, former, next) = (self.session.node().clone(), phrase_of(&former)?, phrase_of(&next)?);
        self.session.run(async move { node.change_phrase(&former, &next).await }).await
    }

    /// Writes this restored device into each circle in which that was not done yet, so that members let it in.
    /// [`restore_account`](Self::restore_account) does so; this is for when it was interrupted at its very end.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if it is no phrase, or somebody else's.
    pub async fn rejoin(&self, phrase: String) -> Result<(), ClaveError> {
        let (node, phrase) = (self.session.node().clone(), phrase_of(&phrase)?);
        self.session.run(async move { node.rejoin(&phrase).await }).await
    }

    /// The ids of the circles to which this device was restored and that have not let it in yet.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn rejoining(&self) -> Result<Vec<String>, ClaveError> {
        let node = self.session.node().clone();
        let circles = self.session.run(async move { node.rejoining().await }).await?;
        Ok(circles.iter().map(ToString::to_string).collect())
    }

    /// Makes a circle that this restored device waits to be let into its own again, when nobody is left who could let it in.
    ///
    /// # Errors
    /// [`ClaveError::Recovery`] if there are other people: they let it in.
    pub async fn begin_anew(&self, circle: String) -> Result<(), ClaveError> {
        let (node, circle) = (self.session.node().clone(), parse(&circle, "circle")?);
        self.session.run(async move { node.begin_anew(circle).await }).await
    }
}

fn phrase_of(text: &str) -> Result<RecoveryPhrase, ClaveError> {
    Ok(RecoveryPhrase::parse(text).map_err(clave::Error::Phrase)?)
}
