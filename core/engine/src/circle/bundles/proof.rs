//! Who wrote what is in a bundle: the last entry of each actor, made again from the bundle, and its signature.

use clave_crdt::{Actor, Bundle, Bundled};
use clave_crypto::{DeviceId, KeyId, Signature};
use prost::Message as _;

use super::Name;
use crate::entry::{Body, check_proof};
use crate::proto::entry as proto;
use crate::{CircleId, Refusal};

/// Bytes of a device's id that stand in an actor.
const IN_ACTOR: usize = 16;

/// What proves the changes of one actor.
pub(super) struct Proof {
    pub(super) author: DeviceId,
    pub(super) signature: Signature,
    pub(super) hour: u32,
    pub(super) tag: KeyId,
    /// What its entry held, as places in the bundle.
    pub(super) changes: Vec<usize>,
}

/// A proof as it stands in a bundle: whose it is follows from the bundle.
pub(super) struct Unnamed {
    rest: [u8; 16],
    proof: Proof,
}

/// Reads the proofs of a bundle.
pub(super) fn read(body: &proto::Bundle) -> Result<Vec<Unnamed>, Refusal> {
    let tags = body.tags.iter().map(|tag| KeyId::try_from(tag.as_slice()));
    let tags: Vec<KeyId> = tags.collect::<Result<_, _>>().map_err(|_| Refusal::Malformed)?;
    let read = |proof: &proto::Proof| {
        let tag = usize::try_from(proof.tag).ok().and_then(|place| tags.get(place));
        Some(Unnamed {
            rest: proof.author.as_slice().try_into().ok()?,
            proof: Proof {
                // Filled in once it is known whose it is.
                author: DeviceId::from_bytes([0; 32]),
                signature: Signature::try_from(proof.signature.as_slice()).ok()?,
                hour: proof.hour,
                tag: *tag?,
                changes: proof.changes.iter().map(|place| usize::try_from(*place).ok()).collect::<Option<_>>()?,
            },
        })
    };
    body.proofs.iter().map(read).collect::<Option<_>>().ok_or(Refusal::Malformed)
}

/// Puts each proof to the actor that it is of: there is one for each, it holds the actor's last change, and nothing by another
/// device.
pub(super) fn of_actors(proofs: Vec<Unnamed>, bundle: &Bundle) -> Result<Vec<Proof>, Refusal> {
    let (tips, changes) = (bundle.tips(), bundle.changes());
    if proofs.len() != tips.len() || tips.is_empty() {
        return Err(Refusal::Unproven);
    }
    let named = tips.into_iter().zip(proofs).map(|((actor, tip), Unnamed { rest, proof })| {
        let author = device_of(&actor, rest);
        let is_own =
            |place: &usize| changes.get(*place).is_some_and(|(info, _)| info.actor.belongs_to(author.as_bytes()));
        if !proof.changes.contains(&tip) || proof.changes.len() > changes.len() {
            return Err(Refusal::Unproven);
        }
        if !proof.changes.iter().all(is_own) {
            return Err(Refusal::ForeignActor);
        }
        Ok(Proof { author, ..proof })
    });
    named.collect()
}

/// Checks the signatures.
pub(super) fn check(circle: CircleId, name: Name, proofs: &[Proof], bundle: &Bundle) -> Result<(), Refusal> {
    for proof in proofs {
        if proof.tag.is_lasting() != super::documents::lasts(name.1) {
            return Err(Refusal::WrongKey);
        }
        let changes: Vec<&Bundled> = proof.changes.iter().map(|place| &bundle.changes()[*place]).collect();
        let entry = entry(name, &proof.author, &changes);
        check_proof(circle, (proof.hour, &proof.tag), &proof.author, &entry, &proof.signature)?;
    }
    Ok(())
}

/// The encoded `Entry` with which a device brings changes.
pub(super) fn entry((document, kind): Name, author: &DeviceId, changes: &[&Bundled]) -> Vec<u8> {
    let changes = proto::Changes {
        document: document.as_bytes().to_vec(),
        kind: kind.number().into(),
        changes: changes.iter().map(|(_, bytes)| bytes.clone()).collect(),
    };
    proto::Entry { author: author.as_bytes().to_vec(), body: Some(Body::Changes(changes)) }.encode_to_vec()
}

/// The body of a bundle. `proofs` are in order of actor.
pub(super) fn body((document, kind): Name, changes: Vec<u8>, proofs: &[Proof]) -> proto::Bundle {
    let mut tags: Vec<KeyId> = proofs.iter().map(|proof| proof.tag).collect();
    tags.sort_unstable();
    tags.dedup();
    let number = |place: usize| u32::try_from(place).expect("a bundle holds fewer");
    let written = |proof: &Proof| proto::Proof {
        author: proof.author.as_bytes()[IN_ACTOR..].to_vec(),
        signature: proof.signature.as_bytes().to_vec(),
        hour: proof.hour,
        tag: number(tags.binary_search(&proof.tag).expect("all tags are there")),
        changes: proof.changes.iter().map(|place| number(*place)).collect(),
    };
    proto::Bundle {
        document: document.as_bytes().to_vec(),
        kind: kind.number().into(),
        changes,
        proofs: proofs.iter().map(written).collect(),
        tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
    }
}

fn device_of(actor: &Actor, rest: [u8; 16]) -> DeviceId {
    let mut id = [0; 32];
    id[..IN_ACTOR].copy_from_slice(&actor.device_prefix());
    id[IN_ACTOR..].copy_from_slice(&rest);
    DeviceId::from_bytes(id)
}
