//! What devices and relays say to each other about mailboxes.
//!
//! A *mailbox* is where a relay keeps sealed entries and chunks for who was not there. Its name is an Ed25519 public key, and whoever
//! has the secret may read and write it: devices derive that from the keys of an epoch of a circle, so the relay learns neither
//! who nor what, and a device that was removed does not find the next one. This crate owns the messages ([`Request`], [`Reply`]), their bounds, how
//! ids are computed and what a proof signs. It does not know what a blob holds, has no keys, does no I/O and keeps no state. Devices (`clave-engine`) and
//! relays (`clave-relay`) use it, and nothing else of each other's. The protocol is told in `docs/relay-protocol.md`.
//!
//! ```
//! use clave_mailbox::{BlobId, Kind, Put, Request, request};
//!
//! let put = Put { mailbox: vec![7; 32].into(), kind: Kind::Entry.into(), blobs: vec![b"sealed".to_vec().into()] };
//! let request = Request { number: 1, body: Some(request::Body::Put(put)) };
//! let frame = clave_mailbox::encode(&request);
//! assert_eq!(clave_mailbox::decode::<Request>(&frame)?, request);
//! assert_ne!(BlobId::of(Kind::Entry, b"sealed"), BlobId::of(Kind::Chunk, b"sealed"));
//! # Ok::<(), clave_mailbox::Malformed>(())
//! ```

#![forbid(unsafe_code)]

use std::fmt;

use prost::Message;
/// What blobs are held in: cheap to clone.
pub use prost::bytes::Bytes;

mod proto {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/clave.mailbox.v1.rs"));
}

pub use proto::{
    Acknowledge, Blob, Blobs, Close, Delivery, Get, Hello, Item, Kind, Notice, Open, Opened, Opening, Position, Put,
    Reason, Reconcile, Refused, Reply, Request, State, Stored, Wake, Welcome, Woken, reply, request,
};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The name of the channel's libp2p protocol. Frames on it are as on the others: a length (4 bytes, big-endian), then the bytes.
pub const PROTOCOL: &str = "/clave/mailbox/1";

/// The longest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = (4 << 20) + (64 << 10);

/// The longest blob that any relay takes, in bytes.
pub const BLOB_BYTES_MAX: usize = 4 << 20;

/// How many bytes of blobs a frame with more than one blob has at most.
pub const BLOBS_FRAME_BYTES: usize = 512 << 10;

/// How many ids, blobs or positions a frame names at most.
pub const IDS_MAX: usize = 8_192;

/// How many mailboxes one request opens, closes or names at most.
pub const OPEN_MAX: usize = 512;

/// The longest message of a reconciliation, in bytes.
pub const RECONCILE_BYTES_MAX: usize = 256 << 10;

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;

/// The longest endpoint of a push subscription, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 1_024;

/// How many bytes a relay has on their way to a session that were not acknowledged, at most, besides one blob.
pub const DELIVERED_BYTES_MAX: usize = 4 << 20;

/// The length of ids, names of mailboxes and challenges, in bytes.
pub const ID_BYTES: usize = 32;

const PROOF_DOMAIN: &[u8] = b"clave/1 sign mailbox-proof\0";
// As in clave-crypto's `labels.rs`: a test of the engine shows that ids are those of entries and chunks.
const ENTRY_CONTEXT: &str = "clave/1 hash entry";
const CHUNK_CONTEXT: &str = "clave/1 hash chunk";

/// What a signature by a mailbox's key proves the right with: domain ‖ the relay's key ‖ the session's challenge ‖ the mailbox. So what one
/// relay is shown opens nothing at another, and nothing later.
#[must_use]
pub fn proof(relay: &[u8; ID_BYTES], challenge: &[u8; ID_BYTES], mailbox: &[u8; ID_BYTES]) -> Vec<u8> {
    [PROOF_DOMAIN, relay, challenge, mailbox].concat()
}

/// The id of a blob: that of the entry or chunk that it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; ID_BYTES]);

impl BlobId {
    /// The id of a blob of a kind.
    #[must_use]
    pub fn of(kind: Kind, bytes: &[u8]) -> Self {
        let context = match kind {
            Kind::Entry => ENTRY_CONTEXT,
            Kind::Chunk => CHUNK_CONTEXT,
        };
        Self(*blake3::Hasher::new_derive_key(context).update(bytes).finalize().as_bytes())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}{:02x}{:02x}…", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// A frame that is no message, or one out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame on the mailbox channel could not be read")]
pub struct Malformed;

/// A message that can be checked against the bounds above.
pub trait Checked: Message + Default {
    /// Whether every part of it has a length that it may have.
    fn is_within_bounds(&self) -> bool;
}

/// The frame of a message.
#[must_use]
pub fn encode(message: &impl Checked) -> Vec<u8> {
    message.encode_to_vec()
}

/// The message of a frame, within its bounds.
///
/// # Errors
/// If it is none.
pub fn decode<M: Checked>(frame: &[u8]) -> Result<M, Malformed> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(Malformed);
    }
    let message = M::decode(frame).map_err(|_| Malformed)?;
    if message.is_within_bounds() { Ok(message) } else { Err(Malformed) }
}

/// The ids in a field that holds them one after another.
pub fn ids(bytes: &[u8]) -> impl ExactSizeIterator<Item = [u8; ID_BYTES]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == ID_BYTES
}

fn are_ids(bytes: &[u8], max: usize) -> bool {
    bytes.len().is_multiple_of(ID_BYTES) && bytes.len() / ID_BYTES <= max
}

impl Checked for Request {
    fn is_within_bounds(&self) -> bool {
        use request::Body;
        let body = match &self.body {
            None => false,
            Some(Body::Hello(hello)) => hello.token.len() <= TOKEN_BYTES_MAX,
            Some(Body::Open(open)) => {
                let sound = |opening: &Opening| is_id(&opening.mailbox) && opening.signature.len() == 64;
                open.mailboxes.len() <= OPEN_MAX && open.mailboxes.iter().all(sound)
            }
            Some(Body::Close(close)) => are_ids(&close.mailboxes, OPEN_MAX),
            Some(Body::Put(put)) => {
                let sound = |blob: &Bytes| !blob.is_empty() && blob.len() <= BLOB_BYTES_MAX;
                is_id(&put.mailbox)
                    && Kind::try_from(put.kind).is_ok()
                    && put.blobs.len() <= IDS_MAX
                    && put.blobs.iter().all(sound)
            }
            Some(Body::Get(get)) => {
                are_ids(&get.mailboxes, OPEN_MAX) && Kind::try_from(get.kind).is_ok() && are_ids(&get.ids, IDS_MAX)
            }
            Some(Body::Reconcile(reconcile)) => reconcile.is_within_bounds(),
            Some(Body::Acknowledge(acknowledge)) => {
                acknowledge.positions.len() <= IDS_MAX
                    && acknowledge.positions.iter().all(|position| is_id(&position.mailbox))
            }
            Some(Body::Wake(wake)) => {
                wake.id.len() == 16
                    && wake.endpoint.len() <= ENDPOINT_BYTES_MAX
                    && matches!((wake.p256dh.len(), wake.auth.len()), (0, 0) | (65, 16))
                    && are_ids(&wake.mailboxes, OPEN_MAX)
            }
        };
        self.number > 0 && body
    }
}

impl Checked for Reply {
    fn is_within_bounds(&self) -> bool {
        use reply::Body;
        match &self.body {
            // Of a later version: not for us, and not wrong.
            None | Some(Body::Stored(_) | Body::Notice(_) | Body::Woken(_) | Body::Refused(_)) => true,
            Some(Body::Welcome(welcome)) => {
                is_id(&welcome.challenge) && welcome.generation.len() == 16 && matches!(welcome.wake_key.len(), 0 | 65)
            }
            Some(Body::Opened(opened)) => {
                opened.mailboxes.len() <= OPEN_MAX && opened.mailboxes.iter().all(|state| is_id(&state.mailbox))
            }
            Some(Body::Blobs(blobs)) => {
                blobs.blobs.len() <= IDS_MAX && blobs.blobs.iter().all(|blob| blob.bytes.len() <= BLOB_BYTES_MAX)
            }
            Some(Body::Reconcile(reconcile)) => reconcile.is_within_bounds(),
            Some(Body::Delivery(delivery)) => {
                is_id(&delivery.mailbox)
                    && delivery.entries.len() <= IDS_MAX
                    && delivery.entries.iter().all(|item| item.bytes.len() <= BLOB_BYTES_MAX)
            }
        }
    }
}

impl Reconcile {
    fn is_within_bounds(&self) -> bool {
        is_id(&self.mailbox) && self.message.len() <= RECONCILE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: request::Body) -> Request {
        Request { number: 1, body: Some(body) }
    }

    #[test]
    fn what_is_out_of_its_bounds_is_malformed() {
        let mailbox = Bytes::from(vec![1; 32]);
        let put = |mailbox: &Bytes, kind, bytes: usize| {
            request(request::Body::Put(Put { mailbox: mailbox.clone(), kind, blobs: vec![vec![0; bytes].into()] }))
        };
        for (message, sound) in [
            (put(&mailbox, 0, 1), true),
            (put(&mailbox, 1, BLOB_BYTES_MAX), true),
            (put(&mailbox, 2, 1), false),
            (put(&mailbox, 0, 0), false),
            (put(&mailbox, 0, BLOB_BYTES_MAX + 1), false),
            (put(&vec![1; 31].into(), 0, 1), false),
            (request(request::Body::Close(Close { mailboxes: vec![0; 33].into() })), false),
            (request(request::Body::Hello(Hello { version: 1, token: vec![0; TOKEN_BYTES_MAX + 1].into() })), false),
            (Request { number: 0, ..put(&mailbox, 0, 1) }, false),
            (Request { number: 1, body: None }, false),
        ] {
            assert_eq!(decode::<Request>(&encode(&message)).is_ok(), sound, "{message:?}");
        }
        assert_eq!(decode::<Reply>(&vec![0; FRAME_BYTES_MAX + 1]), Err(Malformed));
        assert_eq!(decode::<Reply>(b"\xff\xff"), Err(Malformed));
    }

    #[test]
    fn a_proof_is_for_one_relay_one_session_and_one_mailbox() {
        let message = proof(&[1; 32], &[2; 32], &[3; 32]);
        assert!(message.starts_with(b"clave/1 sign mailbox-proof\0"));
        assert_eq!(message.len(), PROOF_DOMAIN.len() + 96);
    }
}
