//! What devices and relays say to each other about mailboxes: frames from anybody, on both sides.

use clave_mailbox::{
    Bytes, Checked, FRAME_BYTES_MAX, Hello, Kind, Open, Opening, Put, Reply, Request, Stored, Wake, reply, request,
};

/// Reads the bytes as a request, and as a reply.
pub fn run(data: &[u8]) {
    read::<Request>(data);
    read::<Reply>(data);
}

fn read<M: Checked + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(message) = clave_mailbox::decode::<M>(data) else { return };
    assert!(data.len() <= FRAME_BYTES_MAX && message.is_within_bounds());
    // What is written may be longer than what was read only by fields that were named more than once.
    let frame = clave_mailbox::encode(&message);
    assert!(frame.len() > FRAME_BYTES_MAX || clave_mailbox::decode::<M>(&frame) == Ok(message), "it is not read back");
}

/// One of the kinds of request that a device begins with, and a reply.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mailbox = Bytes::from(vec![1; 32]);
    let opening = Opening { mailbox: mailbox.clone(), signature: vec![2; 64].into(), after: 3, follow: true };
    let bodies = [
        request::Body::Hello(Hello { version: 1, token: Bytes::from_static(b"token") }),
        request::Body::Open(Open { mailboxes: vec![opening] }),
        request::Body::Put(Put { mailbox, kind: Kind::Chunk.into(), blobs: vec![Bytes::from_static(b"sealed")] }),
        request::Body::Wake(Wake {
            id: vec![4; 16].into(),
            endpoint: "https://push.example".into(),
            ..Wake::default()
        }),
    ];
    let requests = (1..).zip(bodies).map(|(number, body)| clave_mailbox::encode(&Request { number, body: Some(body) }));
    let stored = Reply { number: 1, body: Some(reply::Body::Stored(Stored { new: 1 })) };
    requests.chain([clave_mailbox::encode(&stored)]).collect()
}
