//! What goes into a bundle, of the entries there are. It follows from the set of entries, whoever looks at them.

use std::collections::{BTreeMap, BTreeSet};

use clave_crdt::{Bundle, Bundled, ChangeHash, DocumentKind};
use clave_crypto::{DeviceId, KeyId, Signature};

use super::proof::Proof;

/// How often a bundle is made smaller because an actor's last change is not proven by itself, before it is given up.
const ROUNDS_MAX: usize = 16;

/// An entry that brought changes, or what another bundle says of one.
pub(super) struct Said {
    pub(super) author: DeviceId,
    pub(super) signature: Signature,
    pub(super) hour: u32,
    pub(super) tag: KeyId,
    /// What it held, in its order.
    pub(super) changes: Vec<ChangeHash>,
}

/// The changes that can be proven, as many as there are, and the proof of each actor in order of actor. Of several proofs of
/// one change that counts which is least by hour, tag and signature.
pub(super) fn choose(
    kind: DocumentKind,
    changes: &BTreeMap<ChangeHash, Bundled>,
    said: &[Said],
) -> Option<(Bundle, Vec<Proof>)> {
    let mut without = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let bundle = Bundle::most(kind, changes.values().cloned(), &without);
        let places: BTreeMap<ChangeHash, usize> =
            bundle.changes().iter().enumerate().map(|(place, (info, _))| (info.hash, place)).collect();
        let mut best = BTreeMap::<ChangeHash, &Said>::new();
        for one in said.iter().filter(|one| one.changes.iter().all(|hash| places.contains_key(hash))) {
            for hash in &one.changes {
                let standing = best.entry(*hash).or_insert(one);
                if order(one) < order(standing) {
                    *standing = one;
                }
            }
        }
        let mut unproven = BTreeMap::new();
        for (info, _) in bundle.changes() {
            let since = unproven.entry(info.actor).or_insert_with(Vec::new);
            if best.contains_key(&info.hash) { since.clear() } else { since.push(info.hash) }
        }
        let before = without.len();
        without.extend(unproven.into_values().flatten());
        if without.len() == before {
            let proof = |place: usize| {
                let said = best[&bundle.changes()[place].0.hash];
                Proof {
                    author: said.author,
                    signature: said.signature,
                    hour: said.hour,
                    tag: said.tag,
                    changes: said.changes.iter().map(|hash| places[hash]).collect(),
                }
            };
            let proofs: Vec<Proof> = bundle.tips().into_values().map(proof).collect();
            return (!proofs.is_empty()).then_some((bundle, proofs));
        }
    }
    None
}

fn order(said: &Said) -> (u32, KeyId, &[u8]) {
    (said.hour, said.tag, said.signature.as_bytes())
}
