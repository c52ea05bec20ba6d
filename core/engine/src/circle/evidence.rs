//! What proves that a device does not keep to the rules, or that its key is in two hands: two signed acts of its own that no
//! device in order makes. It is evidence and no verdict: what follows from it is for people to say.
//!
//! Nothing is stored for it. Operations, commits and changes are kept anyway, and are shown here side by side; so it outlives
//! a restart, and reaches whoever hears of both acts.

use super::*;
use crate::membership::Equivocation;

/// Two acts of one device that contradict each other. Each is signed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The device.
    pub device: DeviceId,
    /// How it is called, or was.
    pub device_name: String,
    /// Whose it is.
    pub person: Option<clave_crypto::PersonId>,
    /// How they are called, or were.
    pub person_name: String,
    /// Whether it is still in.
    pub is_in: bool,
    /// What it did.
    pub acts: RivalActs,
}

/// Two acts of one device of which no device in order makes both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RivalActs {
    /// Two operations of the membership log, neither of which follows the other: the earliest such pair.
    Operations([OperationId; 2]),
    /// Two changes of the same keys.
    KeyChanges {
        /// The epoch that both start from.
        parent: EpochId,
        /// Where they lead to: the least two, if there are more.
        to: [EpochId; 2],
    },
    /// Several changes in one place of a document, as far as the document was looked at.
    Changes {
        /// Which document.
        document: DocumentId,
        /// Of which kind.
        kind: DocumentKind,
    },
}

impl Circle {
    /// The evidence that is here, by device.
    pub(crate) fn evidence(&mut self, desk: &mut Desk) -> Result<Vec<Evidence>, EngineError> {
        let mut found: BTreeMap<DeviceId, Vec<RivalActs>> = BTreeMap::new();
        for Equivocation { device, operations } in self.log.equivocations() {
            found.entry(device).or_default().push(RivalActs::Operations(operations));
        }
        let mut made: BTreeMap<(DeviceId, EpochId), BTreeSet<EpochId>> = BTreeMap::new();
        for (claim, _) in self.key_claims(desk)? {
            made.entry((claim.author, claim.parent)).or_default().insert(claim.epoch);
        }
        for ((device, parent), to) in made {
            if let [one, other, ..] = to.into_iter().collect::<Vec<_>>()[..] {
                found.entry(device).or_default().push(RivalActs::KeyChanges { parent, to: [one, other] });
            }
        }
        for (document, kind) in self.contested() {
            let actors: Vec<_> =
                self.document(document, kind, desk)?.equivocations().iter().map(|known| known.actor).collect();
            let stays = &self.log.membership().stays;
            for actor in actors {
                let device = stays.keys().find(|device| actor.belongs_to(device.as_bytes()));
                let acts = device.map(|device| found.entry(*device).or_default());
                acts.into_iter().for_each(|acts| acts.push(RivalActs::Changes { document, kind }));
            }
        }
        let told = |(device, acts): (DeviceId, Vec<RivalActs>)| {
            let known = self.log.called_at(device, &self.log.heads());
            let (is_in, (person, person_name, device_name)) = (self.is_listed(&device), known);
            let evidence = move |acts| Evidence {
                device,
                device_name: device_name.clone(),
                person,
                person_name: person_name.clone(),
                is_in,
                acts,
            };
            acts.into_iter().map(evidence).collect::<Vec<_>>()
        };
        Ok(found.into_iter().flat_map(told).collect())
    }

    /// The documents in which changes wait, one of which may be for another in the same place.
    fn contested(&self) -> Vec<(DocumentId, DocumentKind)> {
        self.documents.iter().filter(|(_, record)| record.waiting > 0).map(|(name, _)| *name).collect()
    }
}
