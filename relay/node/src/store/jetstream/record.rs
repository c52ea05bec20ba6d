//! What a blob is in the stream: one message, on its mailbox's subject.
//!
//! The subject is `<stream>.e.<mailbox>` for an entry and `<stream>.c.<mailbox>` for a chunk, the message's id names mailbox, kind and blob. The payload is
//! the blob itself, or nothing if it lies in the object store: then a header names the object.

use async_nats::{HeaderMap, jetstream::message::PublishMessage};
use clave_mailbox::{BlobId, Bytes, Kind};

use crate::{hex, store::MailboxId};

/// What it is.
const ID: &str = "Clave-Id";

/// When it was put, in seconds since 1970.
const AT: &str = "Clave-At";

/// Where a blob lies that is not in the message: the object's number and its length in bytes.
const OBJECT: &str = "Clave-Object";

/// The server's own: how long a payload is that was left out.
const BYTES: &str = "Nats-Msg-Size";

/// What the stream says of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) mailbox: MailboxId,
    pub(super) kind: Kind,
    pub(super) id: BlobId,
    /// Since 1970.
    pub(super) seconds: u32,
    pub(super) bytes: u32,
    /// The number of its object; 0: it is in the message. Each put has another, so that removing one object never takes another put's.
    pub(super) object: u64,
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::Entry => 'e',
        Kind::Chunk => 'c',
    }
}

/// Where blobs of a kind for a mailbox are published.
pub(super) fn subject(stream: &str, mailbox: MailboxId, kind: Kind) -> String {
    format!("{stream}.{}.{}", letter(kind), hex::encode(&mailbox.0))
}

/// All subjects of a stream.
pub(super) fn subjects(stream: &str) -> Vec<String> {
    ['e', 'c'].map(|letter| format!("{stream}.{letter}.*")).into()
}

impl Record {
    /// The name of its object, if it is in one.
    pub(super) fn object_name(&self) -> Option<String> {
        let name = || format!("{}/{}.{:016x}", hex::encode(&self.mailbox.0), hex::encode(&self.id.0), self.object);
        (self.object > 0).then(name)
    }

    /// The message. The server is not asked to drop duplicates by id (`Nats-Msg-Id`): the index does, for ever and the same at every relay.
    pub(super) fn message(&self, payload: Bytes) -> PublishMessage {
        let id = format!("{}{}{}", letter(self.kind), hex::encode(&self.id.0), hex::encode(&self.mailbox.0));
        let mut headers = HeaderMap::new();
        headers.insert(ID, id);
        headers.insert(AT, self.seconds.to_string());
        if self.object > 0 {
            headers.insert(OBJECT, format!("{:016x}{}", self.object, self.bytes));
        }
        PublishMessage::build().payload(payload).headers(headers)
    }

    /// What a message says; `None` if it is not one of ours.
    pub(super) fn read(headers: &HeaderMap, payload_bytes: usize) -> Option<Self> {
        let id = headers.get(ID)?.as_str();
        let kind = match id.as_bytes().first()? {
            b'e' => Kind::Entry,
            b'c' => Kind::Chunk,
            _ => return None,
        };
        let (blob, mailbox) = (hex::decode(id.get(1..65)?)?, hex::decode(id.get(65..129)?)?);
        let seconds = headers.get(AT)?.as_str().parse().ok()?;
        let (object, bytes) = match headers.get(OBJECT) {
            Some(object) => {
                let (number, length) = object.as_str().split_at_checked(16)?;
                (u64::from_str_radix(number, 16).ok().filter(|number| *number > 0)?, length.parse().ok()?)
            }
            // Without its payload, a message has a header that says how long that is.
            None => match headers.get(BYTES) {
                Some(length) => (0, length.as_str().parse().ok()?),
                None => (0, u32::try_from(payload_bytes).ok()?),
            },
        };
        Some(Self { mailbox: MailboxId(mailbox), kind, id: BlobId(blob), seconds, bytes, object })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_record_is_read() {
        let sound = || {
            let mut headers = HeaderMap::new();
            headers.insert(ID, format!("e{}{}", "0a".repeat(32), "0b".repeat(32)));
            headers.insert(AT, "1700000000");
            headers
        };
        let record = Record {
            mailbox: MailboxId([11; 32]),
            kind: Kind::Entry,
            id: BlobId([10; 32]),
            seconds: 1_700_000_000,
            bytes: 5,
            object: 0,
        };
        assert_eq!(Record::read(&sound(), 5), Some(record));
        let mut bare = sound();
        bare.insert(BYTES, "7");
        assert_eq!(Record::read(&bare, 0), Some(Record { bytes: 7, ..record }));
        let mut elsewhere = sound();
        elsewhere.insert(OBJECT, "00000000000000ff4096");
        let read = Record::read(&elsewhere, 0).unwrap();
        assert_eq!((read.object, read.bytes), (255, 4096));
        assert!(read.object_name().unwrap().ends_with(".00000000000000ff"));
        for (header, wrong) in [
            (AT, "soon"),
            (AT, "-1"),
            (OBJECT, "0"),
            (OBJECT, "00000000000000001"),
            (OBJECT, "ééééééééé"),
            (ID, "e00"),
            (ID, "ééé"),
            (ID, ""),
        ] {
            let mut headers = sound();
            headers.insert(header, wrong);
            assert_eq!(Record::read(&headers, 5), None, "{header} {wrong}");
        }
        assert_eq!(Record::read(&HeaderMap::new(), 5), None);
    }
}
