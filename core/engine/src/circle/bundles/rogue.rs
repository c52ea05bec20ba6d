//! Bundles that no honest device makes: for the simulator.

use super::choose::choose;
use super::gather::Job;
use super::*;

/// What is wrong with a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FalseBundle {
    /// Nothing; but it leaves out much.
    Partial,
    /// A change in somebody else's name, signed by nobody.
    Forged,
    /// The last change of an author is proven by another's signature.
    Swapped,
    /// An author goes unproven.
    Unproven,
    /// It unpacks to more than anybody takes.
    Oversized,
}

impl FalseBundle {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Partial, Self::Forged, Self::Swapped, Self::Unproven, Self::Oversized];
}

impl Circle {
    /// A bundle of the first segment of the chat, as far as its entries are here, with something wrong with it.
    pub(crate) fn false_bundle(&self, how: FalseBundle, desk: &mut Desk) -> Option<Envelope> {
        let name = (DocumentId::well_known(self.id, DocumentKind::Timeline, 0), DocumentKind::Timeline);
        let mut job = Job::of(name, self.documents.get(&name)?, false);
        let mut found = Vec::new();
        let all = self.index.page((0, EntryId::from_bytes([0; 32])), u32::MAX, usize::MAX, desk).ok()?;
        for (_, id) in all {
            found.extend(self.find(&id, &mut job, desk).ok()?);
        }
        if how == FalseBundle::Partial {
            found.truncate(found.len().div_ceil(2));
        }
        let said: Vec<_> = found.into_iter().map(|found| found.said).collect();
        let (bundle, mut proofs) = choose(name.1, &job.changes, &said)?;
        let mut packed = bundle.pack().ok()?;
        match how {
            FalseBundle::Partial => {}
            FalseBundle::Forged => {
                let last = bundle.changes().last()?;
                let all: Vec<_> = bundle.changes().iter().map(|(_, bytes)| bytes).collect();
                let mut document = clave_crdt::Document::load(name.1, last.0.actor, None, &all).ok()?;
                document.timeline().ok()?.post(desk.now_ms, [7; 6], &clave_crdt::Draft::text("forged")).ok()?;
                let forged = document.commit(desk.now_ms)?;
                let mut changes = bundle.changes().to_vec();
                changes.push((clave_crdt::inspect_change(&forged).ok()?, forged));
                packed = Bundle::new(name.1, changes).ok()?.pack().ok()?;
                let number = bundle.tips().keys().position(|actor| *actor == last.0.actor)?;
                proofs[number].changes = vec![bundle.changes().len()];
            }
            FalseBundle::Swapped => {
                let other = proofs.last()?.signature;
                proofs.first_mut()?.signature = other;
            }
            FalseBundle::Unproven => drop(proofs.pop()),
            // Many changes, and nothing of any.
            FalseBundle::Oversized => packed = vec![0; crate::ENTRY_BYTES_MAX / 2],
        }
        let hour = proofs.iter().map(|proof| proof.hour).max().unwrap_or(0);
        Envelope::seal_alike(self.id, self.head_key(), Body::Bundle(proof::body(name, packed, &proofs)), hour).ok()
    }
}
