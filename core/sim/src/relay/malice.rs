//! A relay that betrays those who use it. It has no key of theirs: all that it can do is to give other things than it should,
//! or nothing.

use clave_mailbox::{self as wire, BlobId, Bytes, Item, Kind, Reply, reply};

use super::ModelRelay;
use crate::Random;

/// Of a thousand frames of a bad relay, so many are not what they should be.
const BETRAYED_PERMILLE: u64 = 200;

/// How a relay betrays those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malice {
    /// It keeps a third of what it was given from everybody for ever, and says that it has it.
    Withholds,
    /// It gives again what it gave, as though it were new, or says the same twice.
    Replays,
    /// It gives one thing for another.
    Swaps,
    /// It alters what it gives, or how it says it.
    Garbles,
    /// It leaves out answers, and breaks off.
    Stalls,
}

impl Malice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Withholds, Self::Replays, Self::Swaps, Self::Garbles, Self::Stalls];
}

impl<Client: Ord + Copy> ModelRelay<Client> {
    /// What a bad relay makes of the frames that an honest one would send.
    pub(crate) fn betray(&mut self, frames: Vec<(Client, Vec<u8>)>, random: &mut Random) -> Vec<(Client, Vec<u8>)> {
        let Some(malice) = self.malice else { return frames };
        let mut said = Vec::with_capacity(frames.len());
        for (who, frame) in frames {
            // What is withheld is so from everybody, always.
            if malice != Malice::Withholds && !random.permille(BETRAYED_PERMILLE) {
                said.push((who, frame));
                continue;
            }
            let honest = said.len();
            let reply = wire::decode::<Reply>(&frame).expect("its own words");
            match malice {
                Malice::Withholds => said.push((who, wire::encode(&withhold(reply)))),
                Malice::Replays if random.permille(300) => said.extend([(who, frame.clone()), (who, frame.clone())]),
                Malice::Replays => said.push((who, wire::encode(&repeat(reply)))),
                Malice::Swaps => said.push((who, wire::encode(&self.swap(reply, random)))),
                Malice::Garbles if random.permille(300) => said.push((who, flip(&frame, random).to_vec())),
                Malice::Garbles => said.push((who, wire::encode(&garble(reply, random)))),
                Malice::Stalls => {}
            }
            let is_as_it_was = said.len() == honest + 1 && said[honest].1 == frame;
            self.betrayals += u64::from(!is_as_it_was);
        }
        said
    }

    /// Gives what lies elsewhere, or in another order.
    fn swap(&self, mut reply: Reply, random: &mut Random) -> Reply {
        let all: Vec<Bytes> =
            self.mailboxes.values().flat_map(|held| held.entries.values()).map(|held| held.blob.clone()).collect();
        let any = |random: &mut Random| all.get(random.between(0..all.len().max(1) as u64) as usize).cloned();
        match &mut reply.body {
            Some(reply::Body::Delivery(delivery)) => {
                for item in &mut delivery.entries {
                    item.bytes = any(random).unwrap_or_default();
                }
            }
            Some(reply::Body::Blobs(blobs)) if random.permille(500) => blobs.blobs.reverse(),
            Some(reply::Body::Blobs(blobs)) => {
                for blob in &mut blobs.blobs {
                    *blob = wire::Blob { found: true, bytes: any(random).unwrap_or_default() };
                }
            }
            Some(reply::Body::Opened(opened)) => {
                for state in &mut opened.mailboxes {
                    (state.last, state.entries) = (random.between(0..1_000), random.between(0..3));
                }
            }
            _ => {}
        }
        reply
    }
}

/// Leaves out what is kept from everybody.
fn withhold(mut reply: Reply) -> Reply {
    let is_kept = |blob: &Bytes| BlobId::of(Kind::Entry, blob).0[0].is_multiple_of(3);
    match &mut reply.body {
        Some(reply::Body::Delivery(delivery)) => delivery.entries.retain(|item| !is_kept(&item.bytes)),
        Some(reply::Body::Blobs(blobs)) => {
            for blob in blobs.blobs.iter_mut().filter(|blob| is_kept(&blob.bytes)) {
                *blob = wire::Blob::default();
            }
        }
        _ => {}
    }
    reply
}

/// Gives everything once more, at positions that nothing has.
fn repeat(mut reply: Reply) -> Reply {
    if let Some(reply::Body::Delivery(delivery)) = &mut reply.body {
        let twice = |item: Item| {
            [Item { position: item.position, ..item.clone() }, Item { position: item.position + 1, ..item }]
        };
        delivery.entries = std::mem::take(&mut delivery.entries).into_iter().flat_map(twice).collect();
    }
    reply
}

/// Alters what is given.
fn garble(mut reply: Reply, random: &mut Random) -> Reply {
    match &mut reply.body {
        Some(reply::Body::Delivery(delivery)) => {
            delivery.entries.iter_mut().for_each(|item| item.bytes = flip(&item.bytes, random));
        }
        Some(reply::Body::Blobs(blobs)) => {
            blobs.blobs.iter_mut().for_each(|blob| blob.bytes = flip(&blob.bytes, random));
        }
        Some(reply::Body::Reconcile(step)) => step.message = flip(&step.message, random),
        _ => {}
    }
    reply
}

/// The same with another byte in one place.
fn flip(bytes: &[u8], random: &mut Random) -> Bytes {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let place = random.between(0..bytes.len() as u64) as usize;
        bytes[place] ^= 1 << random.between(0..8);
    }
    bytes.into()
}
