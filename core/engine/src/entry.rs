//! Entries: what is signed, sealed, stored, synced and relayed.
//!
//! Owns the envelope: its encoding, its bounds, its id, the order of signing and sealing. Does not know whether the
//! author may say what the entry says; that is for the membership log.

use clave_crypto::{
    ContentKey, DeviceId, DeviceKey, Domain, Entropy, HashContext, KeyId, NoisePublicKey, Salt, Signature, hash,
    open_from_device, pad, seal_to_device, unpad,
};
use prost::Message as _;

use crate::mutation::{Rule, off};
use crate::proto::entry as proto;
use crate::{CircleId, EntryId, Refusal};

pub(crate) use proto::entry::Body;

/// The greatest envelope that is accepted or made.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The envelope format this version writes, and the only one it reads.
pub const ENVELOPE_VERSION: u32 = 1;

/// An hour, in milliseconds.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// An envelope whose form was checked, its content not.
#[derive(Clone)]
pub(crate) struct Envelope {
    pub(crate) id: EntryId,
    pub(crate) hour: u32,
    pub(crate) tag: KeyId,
    salt: Salt,
    ciphertext: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// An entry whose seal and signature were checked.
pub(crate) struct Opened {
    /// Who signed it. None for an operation or a bundle: what is in them is signed, and who sealed it counts for nothing.
    pub(crate) author: Option<DeviceId>,
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
        let (hour, tag) = (hour_of(now_ms), key.key_id());
        let context = context(circle, hour, &tag);
        let (salt, ciphertext) = key.seal(entropy, &context, &signed(device, &context, body));
        Self::of_parts(hour, tag, salt, ciphertext)
    }

    /// Signs and seals an encoded `Entry`.
    pub(crate) fn seal_entry(
        circle: CircleId,
        device: &DeviceKey,
        key: &ContentKey,
        entry: Vec<u8>,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let (hour, tag) = (hour_of(now_ms), key.key_id());
        let context = context(circle, hour, &tag);
        let (salt, ciphertext) = key.seal(entropy, &context, &sign(device, &context, entry));
        Self::of_parts(hour, tag, salt, ciphertext)
    }

    /// Seals a body that names no author, so that all who seal the same under this key make the same envelope.
    pub(crate) fn seal_alike(circle: CircleId, key: &ContentKey, body: Body, hour: u32) -> Result<Self, Refusal> {
        let tag = key.key_id();
        let context = context(circle, hour, &tag);
        let (salt, ciphertext) = key.seal_alike(&context, &bare(body));
        Self::of_parts(hour, tag, salt, ciphertext)
    }

    /// Signs `body` and seals it to one device of the circle and nobody else. It travels and rests like any entry.
    pub(crate) fn seal_direct(
        circle: CircleId,
        device: &DeviceKey,
        recipient: (DeviceId, &NoisePublicKey),
        body: Body,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let (hour, tag, salt) = (hour_of(now_ms), direct_tag(circle, &recipient.0), entropy.bytes());
        let context = context(circle, hour, &tag);
        let signed = signed(device, &context, body);
        Self::of_direct(device, recipient.1, (hour, tag, salt), (&context, &signed), entropy)
    }

    /// Signs an encoded `Entry` and seals it to one device.
    pub(crate) fn seal_direct_entry(
        circle: CircleId,
        device: &DeviceKey,
        recipient: (DeviceId, &NoisePublicKey),
        entry: Vec<u8>,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let (hour, tag, salt) = (hour_of(now_ms), direct_tag(circle, &recipient.0), entropy.bytes());
        let context = context(circle, hour, &tag);
        let signed = sign(device, &context, entry);
        Self::of_direct(device, recipient.1, (hour, tag, salt), (&context, &signed), entropy)
    }

    fn of_direct(
        device: &DeviceKey,
        recipient: &NoisePublicKey,
        (hour, tag, salt): (u32, KeyId, Salt),
        (context, signed): (&[u8], &[u8]),
        entropy: &mut Entropy,
    ) -> Result<Self, Refusal> {
        let ciphertext = seal_to_device(device, recipient, &[context, &salt].concat(), &pad(signed), entropy);
        Self::of_parts(hour, tag, salt, ciphertext.map_err(|_| Refusal::Malformed)?)
    }

    /// Something that looks like an entry and that nobody can open.
    pub(crate) fn filler(hour: u32, tag: KeyId, bytes: &[u8; 256 + 16]) -> Self {
        Self::of_parts(hour, tag, Salt::default(), bytes.to_vec()).expect("it is small")
    }

    fn of_parts(hour: u32, tag: KeyId, salt: Salt, ciphertext: Vec<u8>) -> Result<Self, Refusal> {
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
        let context = context(circle, self.hour, &self.tag);
        let signed = key.open(&self.salt, &context, &self.ciphertext).map_err(|_| Refusal::BadSeal)?;
        check_signed(&signed, &context)
    }

    /// What is in the seal of an entry that was believed before: its signature is not checked again.
    pub(crate) fn reopen(&self, circle: CircleId, key: &ContentKey) -> Result<proto::SignedEntry, Refusal> {
        let context = context(circle, self.hour, &self.tag);
        let signed = key.open(&self.salt, &context, &self.ciphertext).map_err(|_| Refusal::BadSeal)?;
        proto::SignedEntry::decode(signed.as_slice()).map_err(|_| Refusal::Malformed)
    }

    /// The same for an entry that is sealed to this device.
    pub(crate) fn open_direct(&self, circle: CircleId, device: &DeviceKey) -> Result<Opened, Refusal> {
        let context = context(circle, self.hour, &self.tag);
        // Which Noise key sealed it says nothing: the signature inside does, as in every entry.
        let (_, padded) = open_from_device(device, &[context.as_slice(), &self.salt].concat(), &self.ciphertext)
            .map_err(|_| Refusal::BadSeal)?;
        let signed = unpad(padded.to_vec()).map_err(|_| Refusal::BadSeal)?;
        check_signed(&signed, &context)
    }
}

/// What names the entries that are sealed to one device of a circle, in place of a content key.
pub(crate) fn direct_tag(circle: CircleId, device: &DeviceId) -> KeyId {
    let tag = hash(HashContext::DirectTag, &[circle.as_bytes().as_slice(), device.as_bytes()].concat());
    KeyId::of_hash(&tag, false)
}

/// Whether others mean nothing without such an entry: they come first.
pub(crate) fn is_guide(body: &Body) -> bool {
    matches!(body, Body::Operation(_) | Body::Commit(_) | Body::Keys(_))
}

/// Whether a body holds its authors' signatures itself.
fn is_signed_within(body: &Body) -> bool {
    matches!(body, Body::Operation(_) | Body::Bundle(_))
}

/// What goes into the seal.
fn signed(device: &DeviceKey, context: &[u8], body: Body) -> Vec<u8> {
    if is_signed_within(&body) {
        return bare(body);
    }
    let author = device.id().as_bytes().to_vec();
    sign(device, context, proto::Entry { author, body: Some(body) }.encode_to_vec())
}

fn bare(body: Body) -> Vec<u8> {
    let entry = proto::Entry { author: Vec::new(), body: Some(body) }.encode_to_vec();
    proto::SignedEntry { entry, signature: Vec::new() }.encode_to_vec()
}

/// Checks that a device signed an encoded `Entry` in the context that its envelope had.
pub(crate) fn check_proof(
    circle: CircleId,
    (hour, tag): (u32, &KeyId),
    author: &DeviceId,
    entry: &[u8],
    signature: &Signature,
) -> Result<(), Refusal> {
    let context = context(circle, hour, tag);
    author.verify(Domain::Entry, &[context.as_slice(), entry].concat(), signature).map_err(|_| Refusal::BadSignature)
}

fn sign(device: &DeviceKey, context: &[u8], entry: Vec<u8>) -> Vec<u8> {
    let signature = device.sign(Domain::Entry, &[context, &entry].concat());
    proto::SignedEntry { entry, signature: signature.as_bytes().to_vec() }.encode_to_vec()
}

/// Reads what was in a seal, and checks that the author it names signed it in this context.
fn check_signed(signed: &[u8], context: &[u8]) -> Result<Opened, Refusal> {
    let signed = proto::SignedEntry::decode(signed).map_err(|_| Refusal::Malformed)?;
    let entry = proto::Entry::decode(signed.entry.as_slice()).map_err(|_| Refusal::Malformed)?;
    if entry.body.as_ref().is_some_and(is_signed_within) {
        // There is one way to say it.
        let bare = entry.author.is_empty() && signed.signature.is_empty();
        return entry.body.filter(|_| bare).map(|body| Opened { author: None, body }).ok_or(Refusal::Malformed);
    }
    let author = DeviceId::try_from(entry.author.as_slice()).map_err(|_| Refusal::Malformed)?;
    let signature = Signature::try_from(signed.signature.as_slice()).map_err(|_| Refusal::Malformed)?;
    let is_signed = author.verify(Domain::Entry, &[context, &signed.entry].concat(), &signature).is_ok();
    if !is_signed && !off(Rule::EntrySigned) {
        return Err(Refusal::BadSignature);
    }
    Ok(Opened { author: Some(author), body: entry.body.ok_or(Refusal::UnknownBody)? })
}

pub(crate) fn hour_of(now_ms: u64) -> u32 {
    u32::try_from(now_ms / HOUR_MS).unwrap_or(u32::MAX)
}

pub(crate) fn entry_id(bytes: &[u8]) -> EntryId {
    EntryId::from_bytes(hash(HashContext::Entry, bytes))
}

/// What an entry is bound to: the circle that it is said in, and what the envelope shows but the salt.
fn context(circle: CircleId, hour: u32, tag: &KeyId) -> Vec<u8> {
    [circle.as_bytes().as_slice(), &ENVELOPE_VERSION.to_be_bytes(), &hour.to_be_bytes(), tag.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
