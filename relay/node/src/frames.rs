//! Messages as they stand on the wire: with their length in front.

use clave_mailbox::{Bytes, Delivery, Item, Reply, encode, reply};

use crate::store::{MailboxId, StoredEntry};

/// A reply as it is written: its length (4 bytes, big-endian), then itself.
pub(crate) fn framed(reply: &Reply) -> Bytes {
    let message = encode(reply);
    let length = u32::try_from(message.len()).expect("replies are within FRAME_BYTES_MAX");
    [&length.to_be_bytes()[..], &message].concat().into()
}

/// The delivery of one entry, as it is written to everyone.
pub(crate) fn delivery(mailbox: MailboxId, entry: &StoredEntry) -> Bytes {
    let item = Item { position: entry.position, bytes: entry.bytes.clone() };
    let delivery = Delivery { mailbox: Bytes::copy_from_slice(&mailbox.0), entries: vec![item] };
    framed(&Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) })
}
