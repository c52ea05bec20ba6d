//! Every key derivation label and every domain separator of Clave, in one place.
//!
//! Two uses never share a label. A label is part of the wire or storage format: changing one breaks compatibility.

/// What a signature is about. Each domain is prefixed to the message that is signed, so that a signature made for
/// one purpose is worthless for any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// A person certifies a device.
    DeviceCertificate,
    /// A person names their recovery key.
    RecoveryCertificate,
    /// A device accepts to be a person's: nobody can claim a device that is not theirs.
    DeviceConsent,
    /// A device signs an entry.
    Entry,
    /// A device signs an operation of a membership log.
    MembershipOperation,
    /// A device binds itself to an invitation handshake.
    InvitationHandshake,
    /// A person, by the recovery phrase, brings a new device in.
    Recovery,
    /// A person, by the recovery phrase, takes another one.
    RecoveryChange,
    /// A device offers a key, to be added by (`SealedSecret`, the test oracle for MLS).
    SealedKeyPackage,
    /// A device commits (`SealedSecret`).
    SealedCommit,
    /// A device welcomes others (`SealedSecret`).
    SealedWelcome,
    /// A device describes an epoch (`SealedSecret`).
    SealedGroupInfo,
    /// Who holds a mailbox's key proves it to a relay. What follows is as `clave_mailbox::proof` says.
    MailboxProof,
}

impl Domain {
    /// The separator itself.
    #[must_use]
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::DeviceCertificate => b"clave/1 sign device-certificate\0",
            Self::RecoveryCertificate => b"clave/1 sign recovery-certificate\0",
            Self::DeviceConsent => b"clave/1 sign device-consent\0",
            Self::Entry => b"clave/1 sign entry\0",
            Self::MembershipOperation => b"clave/1 sign membership-operation\0",
            Self::InvitationHandshake => b"clave/1 sign invitation-handshake\0",
            Self::Recovery => b"clave/1 sign recovery\0",
            Self::RecoveryChange => b"clave/1 sign recovery-change\0",
            Self::SealedKeyPackage => b"clave/1 sign sealed-key-package\0",
            Self::SealedCommit => b"clave/1 sign sealed-commit\0",
            Self::SealedWelcome => b"clave/1 sign sealed-welcome\0",
            Self::SealedGroupInfo => b"clave/1 sign sealed-group-info\0",
            Self::MailboxProof => b"clave/1 sign mailbox-proof\0",
        }
    }
}

/// What a hash names. Equal bytes hashed in two contexts have unrelated hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashContext {
    /// The id of an entry, from its sealed envelope.
    Entry,
    /// The id of an operation of a membership log, from its signed encoding.
    MembershipOperation,
    /// The id of a chunk of a file, from its ciphertext.
    Chunk,
    /// The id of a document that every member finds by itself, from its circle, kind and number.
    WellKnownDocument,
    /// A record of an audit, with the one before it.
    AuditRecord,
    /// A change of keys in an audit, with the one before it.
    AuditKeyChange,
    /// A device's place in the line of those who may mend a roster, from the epoch and the device.
    RepairOrder,
    /// A device's place in the line of those who may bundle a document, from the document and the device.
    BundleOrder,
    /// What a device lacks and where it is, from its epoch and the tags of the keys.
    Lacks,
    /// The tag of entries that are sealed to one device, from the circle and the device.
    DirectTag,
    /// The public name of a link between devices, from its secret.
    LinkId,
    /// The pre-shared key of a link between devices, from its secret. As secret as that.
    LinkKey,
    /// The name of a part of a view, from the document and the part.
    ViewPage,
    /// A person's devices, as one of them told the others something.
    OwnDevices,
}

impl HashContext {
    /// The context string of BLAKE3's key derivation mode.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Entry => "clave/1 hash entry",
            Self::MembershipOperation => "clave/1 hash membership-operation",
            Self::Chunk => "clave/1 hash chunk",
            Self::WellKnownDocument => "clave/1 hash well-known-document",
            Self::AuditRecord => "clave/1 hash audit-record",
            Self::AuditKeyChange => "clave/1 hash audit-key-change",
            Self::RepairOrder => "clave/1 hash repair-order",
            Self::BundleOrder => "clave/1 hash bundle-order",
            Self::Lacks => "clave/1 hash lacks",
            Self::DirectTag => "clave/1 hash direct-tag",
            Self::LinkId => "clave/1 hash link-id",
            Self::LinkKey => "clave/1 hash link-key",
            Self::ViewPage => "clave/1 hash view-page",
            Self::OwnDevices => "clave/1 hash own-devices",
        }
    }
}

/// A secret that the members of an epoch derive from it, each for one purpose (the MLS exporter, RFC 9420, 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Export {
    /// Seals the entries of the epoch. Outlives the group's state, in the keyring.
    ContentKey,
    /// Seals the commits that follow the epoch.
    CommitKey,
}

impl Export {
    /// The label itself.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ContentKey => "clave/1 content-key",
            Self::CommitKey => "clave/1 commit-key",
        }
    }
}

/// The public name of a content key.
pub(crate) const CONTENT_KEY_ID: &str = "clave/1 derive content-key-id";
/// The lasting key of an epoch, from its content key.
pub(crate) const LASTING_KEY: &str = "clave/1 derive lasting-key";
/// The public name of a lasting key.
pub(crate) const LASTING_KEY_ID: &str = "clave/1 derive lasting-key-id";
/// The seed of the key of an epoch's mailbox at relays, from its lasting key.
pub(crate) const MAILBOX_KEY: &str = "clave/1 derive mailbox-key";
/// The seed of the key of the mailbox for what is sealed to one device, from the circle and the device.
pub(crate) const DIRECT_MAILBOX_KEY: &str = "clave/1 derive direct-mailbox-key";
/// The seed of the key of an invitation's mailbox, from the secret of its link.
pub(crate) const INVITATION_MAILBOX_KEY: &str = "clave/1 derive invitation-mailbox-key";
/// The salt of one entry.
pub(crate) const ENTRY_SALT: &str = "clave/1 derive entry-salt";
/// The salt of an entry that all who make it make alike.
pub(crate) const ENTRY_SALT_OF_CONTENT: &str = "clave/1 derive entry-salt-of-content";
/// The key of one entry (HKDF).
pub(crate) const ENTRY_KEY: &str = "clave/1 derive entry-key";
/// The salt and the key (HKDF) of what is said in passing.
pub(crate) const PASSING_SALT: &str = "clave/1 derive passing-salt";
pub(crate) const PASSING_KEY: &str = "clave/1 derive passing-key";
/// The key of one chunk.
pub(crate) const CHUNK_KEY: &str = "clave/1 derive chunk-key";
/// The key from which those of a vault's records derive.
pub(crate) const VAULT_RECORDS: &str = "clave/1 derive vault-records";
/// The salt of one record of a vault.
pub(crate) const VAULT_SALT: &str = "clave/1 derive vault-salt";
/// The key that hides names in a vault.
pub(crate) const VAULT_NAMES: &str = "clave/1 derive vault-names";
/// The key, stretched from a passphrase, that wraps a vault key.
pub(crate) const VAULT_WRAPPING: &str = "clave/1 derive vault-wrapping";
/// The checksum of a vault key that is kept in clear.
pub(crate) const VAULT_CHECKSUM: &str = "clave/1 derive vault-checksum";
/// The X25519 key of a device, from its seed (HKDF).
pub(crate) const DEVICE_NOISE_KEY: &str = "clave/1 derive device-noise-key";
/// What a verification exchange agrees on before it starts, what its initiator commits to, and what both then compare.
pub(crate) const SAS_CONTEXT: &str = "clave/1 derive sas-context";
pub(crate) const SAS_COMMITMENT: &str = "clave/1 derive sas-commitment";
pub(crate) const SAS_OUTPUT: &str = "clave/1 derive sas-output";
/// What two see who have shaken hands with the code of a link, from the handshake hash.
pub(crate) const SAS_LINK: &str = "clave/1 derive sas-link";
/// Starts what is hashed to a person's half of a safety number.
pub(crate) const SAFETY_NUMBER: &str = "clave/1 hash safety-number";
/// What derives from the entropy of a recovery phrase: the seed of the person's identity key, that of the recovery key,
/// the key of an account export.
pub(crate) const RECOVERY_PERSON_SEED: &str = "clave/1 derive recovery-person-seed";
pub(crate) const RECOVERY_KEY_SEED: &str = "clave/1 derive recovery-key-seed";
pub(crate) const RECOVERY_EXPORT_KEY: &str = "clave/1 derive recovery-export-key";
/// Starts the prologue of an interactive handshake.
pub(crate) const NOISE_HANDSHAKE: &str = "clave/1 noise handshake\0";
/// Starts the prologue of a message sealed to one device.
pub(crate) const NOISE_TO_DEVICE: &str = "clave/1 noise to-device\0";
/// Starts the prologue of a message sealed to one device under a secret that both have.
pub(crate) const NOISE_LETTER: &str = "clave/1 noise letter\0";
/// BLAKE3 context: an epoch's id from its authenticator.
pub(crate) const EPOCH_ID: &str = "clave/1 derive epoch-id";
/// BLAKE3 context: the id of a blob of a checkpoint from its content.
pub(crate) const CHECKPOINT_BLOB: &str = "clave/1 hash checkpoint-blob";
/// BLAKE3 context: the ephemeral key of one HPKE encryption from an operation's seed and the encryption's inputs.
pub(crate) const HPKE_EPHEMERAL: &str = "clave/1 derive hpke-ephemeral";
/// BLAKE3 contexts of `SealedSecret`: what names a key package, what a commit says in clear, the secret of an epoch,
/// what proves to have it, what is exported from it.
pub(crate) const SEALED_REFERENCE: &str = "clave/1 derive sealed-reference";
pub(crate) const SEALED_HEADER: &str = "clave/1 derive sealed-header";
pub(crate) const SEALED_EPOCH_SECRET: &str = "clave/1 derive sealed-epoch-secret";
pub(crate) const SEALED_AUTHENTICATOR: &str = "clave/1 derive sealed-authenticator";
pub(crate) const SEALED_EXPORT: &str = "clave/1 derive sealed-export";

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_uses_share_a_label() {
        // Over the file itself, so that no label can be forgotten here.
        let labels: Vec<&str> =
            include_str!("labels.rs").split('"').filter(|text| text.starts_with(concat!("clave", "/1 "))).collect();
        let distinct = std::collections::BTreeSet::from_iter(&labels);
        assert!(labels.len() > 15);
        assert_eq!(distinct.len(), labels.len());
    }
}
