//! Signed operations, their encoding and their ids.

use clave_crypto::{DeviceId, DeviceKey, Domain, Signature};
use prost::Message;

use super::action::Action;
use super::codec::proto;
use crate::OperationId;
use crate::mutation::{Rule, off};

/// The most bytes of an encoded operation.
pub const OPERATION_BYTES_MAX: usize = 256 * 1024;
/// The most operations that one directly follows.
pub const PARENTS_MAX: usize = 64;

/// Why an operation does not get into the log at all. Deliberately few: what is merely not allowed gets in and is
/// set aside, visibly, so that everybody holds the same graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// More than [`OPERATION_BYTES_MAX`].
    #[error("the operation is too long")]
    TooLong,
    /// Not an operation, or not in its one canonical encoding.
    #[error("the operation is malformed")]
    Malformed,
    /// The author did not sign it.
    #[error("the operation was not signed by its author")]
    BadSignature,
    /// It introduces a device without its person's certificate or its own consent, or names a recovery key that is not
    /// the person's.
    #[error("the operation introduces a device or a recovery key without its certificate or consent")]
    BadCertificate,
    /// A genesis, but not this circle's; or a genesis with parents, or something else without.
    #[error("the operation belongs to another circle")]
    OtherCircle,
    /// Nothing that it follows introduces its author.
    #[error("nothing before the operation introduces its author")]
    UnknownAuthor,
    /// It brings in a device by a recovery key that nothing before it names for that person, or was written by another
    /// device.
    #[error("the operation recovers a device without the person's recovery key")]
    BadRecovery,
    /// Too many operations wait for parents, most of them from this author.
    #[error("too many operations wait for others that did not arrive; sync and try again")]
    TooManyPending,
}

/// A signed step of the membership log. Always canonical; whether its signatures are good shows in
/// [`verify`](Self::verify), which the log calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    id: OperationId,
    author: DeviceId,
    parents: Vec<OperationId>,
    time_ms: u64,
    action: Action,
    signature: Signature,
}

impl Operation {
    /// Signs `action` as following exactly `parents`, written at `time_ms` by the author's clock. Checks nothing: an honest device calls
    /// [`Log::new_operation`](super::Log::new_operation).
    #[must_use]
    pub fn sign(author: &DeviceKey, mut parents: Vec<OperationId>, time_ms: u64, action: Action) -> Self {
        parents.sort_unstable();
        parents.dedup();
        // What others could not read has no effect here either.
        let (kind, payload) = action.encode();
        let action = Action::decode(kind, payload);
        let body = body(author.id(), &parents, time_ms, &action);
        let signature = author.sign(Domain::MembershipOperation, &body);
        let id = id(&envelope(body, &signature));
        Self { id, author: author.id(), parents, time_ms, action, signature }
    }

    /// Its id: the hash of its encoding.
    #[must_use]
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The device that signed it.
    #[must_use]
    pub fn author(&self) -> DeviceId {
        self.author
    }

    /// What it directly follows, ascending.
    #[must_use]
    pub fn parents(&self) -> &[OperationId] {
        &self.parents
    }

    /// When its author says that it was written, in Unix milliseconds. Clocks lie: for people to read only.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// What it does.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Its one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        envelope(body(self.author, &self.parents, self.time_ms, &self.action), &self.signature)
    }

    /// Reads an operation. Signatures are not checked here.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] or [`Refusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > OPERATION_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let operation = Self::read(bytes).ok_or(Refusal::Malformed)?;
        let ascending = operation.parents.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || operation.parents.len() > PARENTS_MAX || operation.encode() != bytes {
            return Err(Refusal::Malformed);
        }
        Ok(operation)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let operation = proto::Operation::decode(bytes).ok()?;
        let body = proto::Body::decode(operation.body.as_slice()).ok()?;
        Some(Self {
            id: id(bytes),
            author: DeviceId::try_from(body.author.as_slice()).ok()?,
            parents: body.parents.iter().map(|id| OperationId::try_from(id.as_slice()).ok()).collect::<Option<_>>()?,
            time_ms: body.time_ms,
            action: Action::decode(body.kind, body.payload),
            signature: Signature::try_from(operation.signature.as_slice()).ok()?,
        })
    }

    /// Checks the author's signature, and certificate and consent of every device and recovery key that is introduced.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`] or [`Refusal::BadCertificate`].
    pub fn verify(&self) -> Result<(), Refusal> {
        let body = body(self.author, &self.parents, self.time_ms, &self.action);
        let signed = self.author.verify(Domain::MembershipOperation, &body, &self.signature);
        if signed.is_err() && !off(Rule::OperationSigned) {
            return Err(Refusal::BadSignature);
        }
        let (person, devices) = self.action.introduces();
        if let Some((entry, recovery)) = person.and_then(|entry| Some((entry, entry.recovery.as_ref()?))) {
            recovery.verify(entry.person).map_err(|_| Refusal::BadCertificate)?;
        }
        if let Action::SetRecovery { person, recovery, .. } = &self.action {
            recovery.verify(*person).map_err(|_| Refusal::BadCertificate)?;
        }
        devices.iter().try_for_each(|device| device.verify().map_err(|_| Refusal::BadCertificate))
    }
}

fn body(author: DeviceId, parents: &[OperationId], time_ms: u64, action: &Action) -> Vec<u8> {
    let (kind, payload) = action.encode();
    let parents = parents.iter().map(|id| id.as_bytes().to_vec()).collect();
    proto::Body { author: author.as_bytes().to_vec(), parents, kind, payload, time_ms }.encode_to_vec()
}

fn envelope(body: Vec<u8>, signature: &Signature) -> Vec<u8> {
    proto::Operation { body, signature: signature.as_bytes().to_vec() }.encode_to_vec()
}

fn id(encoded: &[u8]) -> OperationId {
    OperationId::from_bytes(blake3::derive_key("clave/1 hash membership-operation", encoded))
}
