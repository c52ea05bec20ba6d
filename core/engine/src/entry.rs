//! Entries: what is signed, sealed, stored, synced and relayed.
//!
//! Owns the envelope: its encoding, its bounds, its id, the order of signing and sealing. Does not know whether the
//! author may say what the entry says; that is for the membership log.

use clave_crypto::{ContentKey, DeviceId, DeviceKey, Domain, Entropy, HashContext, KeyId, Signature, hash};
use prost::Message as _;

use crate::proto::entry as proto;
use crate::{CircleId, EntryId, Refusal};

pub(crate) use proto::entry::Body;

/// The greatest envelope that is accepted or made.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The envelope format this version writes, and the only one it reads.
pub const ENVELOPE_VERSION: u32 = 1;

const HOUR_MS: u64 = 3_600_000;

/// An envelope whose form was checked, its content not.
#[derive(Clone)]
pub(crate) struct Envelope {
    pub(crate) id: EntryId,
    pub(crate) hour: u32,
    pub(crate) tag: KeyId,
    salt: [u8; 32],
    ciphertext: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// An entry whose seal and signature were checked.
pub(crate) struct Opened {
    pub(crate) author: DeviceId,
    pub(crate) body: Body,
}

impl Envelope {
    /// Checks the form of bytes from a peer or the store.
    pub(crate) fn decode(bytes: Vec<u8>) -> Result<Self, Refusal> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let envelope = proto::Envelope::decode(bytes.as_slice()).map_err(|_| Refusal::Malformed)?;
        if envelope.version != ENVELOPE_VERSION {
            return Err(Refusal::UnknownVersion);
        }
        // One content, one id: a second encoding of the same envelope must not pass for another entry.
        if envelope.encoded_len() != bytes.len() || envelope.encode_to_vec() != bytes {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            id: entry_id(&bytes),
            hour: envelope.hour,
            tag: KeyId::try_from(envelope.tag.as_slice()).map_err(|_| Refusal::Malformed)?,
            salt: envelope.salt.as_slice().try_into().map_err(|_| Refusal::Malformed)?,
            ciphertext: envelope.ciphertext,
            bytes,
        })
    }

    /// Signs and seals `body` under `key`.
    pub(crate) fn seal(
        circle: CircleId,
        device: &DeviceKey,
        key: &ContentKey,
        body: Body,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let (circle, author) = (circle.as_bytes().to_vec(), device.id().as_bytes().to_vec());
        let entry = proto::Entry { circle, author, body: Some(body) }.encode_to_vec();
        Self::seal_entry(device, key, entry, now_ms, entropy)
    }

    /// Signs and seals an encoded `Entry`.
    pub(crate) fn seal_entry(
        device: &DeviceKey,
        key: &ContentKey,
        entry: Vec<u8>,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let hour = u32::try_from(now_ms / HOUR_MS).unwrap_or(u32::MAX);
        let tag = key.key_id();
        let header = header(hour, &tag);
        let signature = device.sign(Domain::Entry, &[header.as_slice(), &entry].concat());
        let signed = proto::SignedEntry { entry, signature: signature.as_bytes().to_vec() }.encode_to_vec();
        let (salt, ciphertext) = key.seal(entropy, &header, &signed);
        let envelope = proto::Envelope {
            version: ENVELOPE_VERSION,
            hour,
            tag: tag.as_bytes().to_vec(),
            salt: salt.to_vec(),
            ciphertext: ciphertext.clone(),
        };
        let bytes = envelope.encode_to_vec();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        Ok(Self { id: entry_id(&bytes), hour, tag, salt, ciphertext, bytes })
    }

    /// Opens the seal and checks that the author it names signed it, for this circle and this epoch.
    pub(crate) fn open(&self, circle: CircleId, key: &ContentKey) -> Result<Opened, Refusal> {
        let header = header(self.hour, &self.tag);
        let signed = key.open(&self.salt, &header, &self.ciphertext).map_err(|_| Refusal::BadSeal)?;
        let signed = proto::SignedEntry::decode(signed.as_slice()).map_err(|_| Refusal::Malformed)?;
        let entry = proto::Entry::decode(signed.entry.as_slice()).map_err(|_| Refusal::Malformed)?;
        if entry.circle != circle.as_bytes() {
            return Err(Refusal::WrongCircle);
        }
        let author = DeviceId::try_from(entry.author.as_slice()).map_err(|_| Refusal::Malformed)?;
        let signature = Signature::try_from(signed.signature.as_slice()).map_err(|_| Refusal::Malformed)?;
        author
            .verify(Domain::Entry, &[header.as_slice(), &signed.entry].concat(), &signature)
            .map_err(|_| Refusal::BadSignature)?;
        Ok(Opened { author, body: entry.body.ok_or(Refusal::UnknownBody)? })
    }
}

pub(crate) fn entry_id(bytes: &[u8]) -> EntryId {
    EntryId::from_bytes(hash(HashContext::Entry, bytes))
}

fn header(hour: u32, tag: &KeyId) -> Vec<u8> {
    [&ENVELOPE_VERSION.to_be_bytes(), &hour.to_be_bytes(), tag.as_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests;
