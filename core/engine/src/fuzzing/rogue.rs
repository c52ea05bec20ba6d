//! What a member's device can seal that keeps to no rule: its keys are real, nothing else has to be.

use clave_crypto::{
    Checkpoint, ContentKey, DeviceId, DeviceKey, Entropy, EpochId, Export, KeyId, NoisePublicKey, RosterChange,
};
use prost::Message as _;

use crate::circle::Circle;
pub use crate::circle::FalseBundle;
use crate::entry::{Body, Envelope};
use crate::proto::{entry, frame};
use crate::{CircleId, DocumentId, Engine, EntryId, OperationId};

/// Something to put into an entry.
#[derive(Clone, Debug)]
pub enum Said {
    /// An encoded membership operation, or anything.
    Operation(Vec<u8>),
    /// A commit.
    Commit {
        /// The epoch that it says to start from.
        parent: EpochId,
        /// The epoch that it says to lead to.
        epoch: EpochId,
        /// The commit itself.
        message: Vec<u8>,
        /// What it cites.
        operations: Vec<OperationId>,
        /// Whom it says to give a new leaf.
        renews: Vec<DeviceId>,
        /// Whom it says to add, and to remove.
        adds: Vec<DeviceId>,
        /// Likewise.
        removes: Vec<DeviceId>,
    },
    /// Keys.
    Keys {
        /// Each with the epoch that it is said to belong to.
        keys: Vec<(EpochId, [u8; 32])>,
        /// What their giver says to know.
        operations: Vec<OperationId>,
    },
    /// Changes to a document.
    Changes {
        /// Which.
        document: DocumentId,
        /// Of which kind, as a number.
        kind: u32,
        /// The changes.
        changes: Vec<Vec<u8>>,
    },
    /// A Welcome.
    Welcome {
        /// The Welcome itself.
        message: Vec<u8>,
        /// What it cites.
        operations: Vec<OperationId>,
    },
    /// A plea.
    Plea {
        /// The head that its author says to have.
        epoch: EpochId,
        /// How deep that is said to be.
        depth: u64,
        /// The keys that it asks for.
        tags: Vec<KeyId>,
        /// For a new leaf.
        key_package: Vec<u8>,
    },
    /// Bytes in place of an encoded body.
    Garbage(Vec<u8>),
}

/// A commit that was made and not filed anywhere.
pub struct Committed {
    /// What it leads to.
    pub checkpoint: Checkpoint,
    /// The content key there.
    pub key: ContentKey,
    /// The commit.
    pub message: Vec<u8>,
    /// For those whom it adds.
    pub welcome: Option<Vec<u8>>,
    /// Whom it adds.
    pub adds: Vec<DeviceId>,
    /// Whom it removes.
    pub removes: Vec<DeviceId>,
}

/// A sealed entry.
pub struct Sealed {
    /// Its id.
    pub id: EntryId,
    /// Names the key that it is sealed with.
    pub tag: KeyId,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A member's device key and content keys, out of its engine.
pub struct Rogue {
    /// Its circle.
    pub circle: CircleId,
    /// Its head.
    pub head: EpochId,
    device: DeviceKey,
    keys: Vec<(EpochId, ContentKey)>,
}

impl Rogue {
    /// Takes the keys of an engine; none if it is not in the circle.
    #[must_use]
    pub fn of(engine: &Engine, circle: CircleId) -> Option<Self> {
        let inside = engine.circles.get(&circle)?;
        let keys = inside.history().map(|(epoch, key)| (epoch, copy(key))).collect();
        Some(Self { circle, head: inside.group.head().epoch, device: engine.identity().device_key(), keys })
    }

    /// The device.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.device.id()
    }

    /// Its key.
    #[must_use]
    pub fn device(&self) -> &DeviceKey {
        &self.device
    }

    /// The epochs whose keys it holds.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochId> {
        self.keys.iter().map(|(epoch, _)| *epoch).collect()
    }

    /// The key of an epoch.
    #[must_use]
    pub fn key(&self, epoch: &EpochId) -> Option<ContentKey> {
        self.keys.iter().find(|(of, _)| of == epoch).map(|(_, key)| copy(key))
    }

    /// Seals something under a key as though `author` had said it; the signature is this device's, whoever that is.
    #[must_use]
    pub fn seal(
        &self,
        key: &ContentKey,
        author: DeviceId,
        said: Said,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Option<Sealed> {
        let circle = self.circle;
        // An operation is signed itself.
        if let (Said::Operation(bytes), true) = (&said, author == self.id()) {
            let body = Body::Operation(bytes.clone());
            return Envelope::seal(circle, &self.device, key, body, now_ms, entropy).ok().map(sealed);
        }
        let whole = self.whole(author, said);
        Envelope::seal_entry(circle, &self.device, key, whole, now_ms, entropy).ok().map(sealed)
    }

    /// Seals something to one device alone.
    #[must_use]
    pub fn seal_direct(
        &self,
        to: (DeviceId, &NoisePublicKey),
        said: Said,
        now_ms: u64,
        entropy: &mut Entropy,
    ) -> Option<Sealed> {
        let whole = self.whole(self.id(), said);
        Envelope::seal_direct_entry(self.circle, &self.device, to, whole, now_ms, entropy).ok().map(sealed)
    }

    fn whole(&self, author: DeviceId, said: Said) -> Vec<u8> {
        let (body, garbage) = match said {
            Said::Garbage(bytes) => (None, bytes),
            said => (Some(body(said)), Vec::new()),
        };
        let mut whole = entry::Entry { author: author.as_bytes().to_vec(), body }.encode_to_vec();
        whole.extend(garbage);
        whole
    }
}

fn sealed(envelope: Envelope) -> Sealed {
    let Envelope { id, tag, bytes, .. } = envelope;
    Sealed { id, tag, bytes }
}

fn body(said: Said) -> Body {
    match said {
        Said::Operation(bytes) => Body::Operation(bytes),
        Said::Commit { parent, epoch, message, operations, renews, adds, removes } => Body::Commit(entry::Commit {
            parent: parent.as_bytes().to_vec(),
            epoch: epoch.as_bytes().to_vec(),
            message,
            operations: operations.iter().map(|id| id.as_bytes().to_vec()).collect(),
            renews: renews.iter().map(|id| id.as_bytes().to_vec()).collect(),
            adds: adds.iter().map(|id| id.as_bytes().to_vec()).collect(),
            removes: removes.iter().map(|id| id.as_bytes().to_vec()).collect(),
            time_ms: 0,
            space: Vec::new(),
        }),
        Said::Keys { keys, operations } => Body::Keys(entry::KeyBundle {
            keys: keys
                .into_iter()
                .map(|(epoch, key)| entry::ContentKey {
                    epoch: epoch.as_bytes().to_vec(),
                    key: key.to_vec(),
                    lasting: false,
                })
                .collect(),
            operations: operations.iter().map(|id| id.as_bytes().to_vec()).collect(),
            given: Vec::new(),
            log: Vec::new(),
        }),
        Said::Changes { document, kind, changes } => {
            Body::Changes(entry::Changes { document: document.as_bytes().to_vec(), kind, changes })
        }
        Said::Welcome { message, operations, .. } => {
            let operations = operations.iter().map(|id| id.as_bytes().to_vec()).collect();
            Body::Welcome(entry::Welcome { message, operations })
        }
        Said::Plea { epoch, depth, tags, key_package, .. } => Body::Plea(entry::Plea {
            epoch: epoch.as_bytes().to_vec(),
            depth,
            tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
            key_package,
            operations: Vec::new(),
            astray: false,
        }),
        Said::Garbage(bytes) => Body::Operation(bytes),
    }
}

/// Makes a commit with the engine's own state and files it nowhere: on `parent`, or else on its head. Of `tries`, it is
/// the one whose epoch has the least id, as whoever wants to win the choice of the head would have it.
#[must_use]
pub fn commit(
    engine: &mut Engine,
    circle: CircleId,
    parent: Option<&Checkpoint>,
    change: &RosterChange,
    tries: usize,
    entropy: &mut Entropy,
) -> Option<Committed> {
    let (circle, desk) = engine.circle_mut(circle).ok()?;
    let parent = parent.unwrap_or_else(|| circle.group.head());
    let made = (0..tries.max(1)).filter_map(|_| desk.agreement.commit(&desk.device, parent, change, entropy).ok());
    let output = made.min_by_key(|output| output.checkpoint.epoch)?;
    let key = desk.agreement.export(&output.checkpoint, Export::ContentKey, circle.id.as_bytes()).ok()?;
    let key = ContentKey::from_bytes(key);
    let device_of = |package: &Vec<u8>| desk.agreement.inspect_key_package(package).ok().map(|info| info.device);
    let (adds, removes) = (change.add.iter().filter_map(device_of).collect(), change.remove.clone());
    let (checkpoint, message, welcome) = (output.checkpoint, output.message, output.welcome);
    Some(Committed { checkpoint, key, message, welcome, adds, removes })
}

/// A bundle of the chat with something wrong with it; none if there is too little to bundle.
#[must_use]
pub fn false_bundle(engine: &mut Engine, circle: CircleId, how: FalseBundle) -> Option<Sealed> {
    let (circle, desk) = engine.circle_mut(circle).ok()?;
    circle.false_bundle(how, desk).map(sealed)
}

/// A sync frame with entries.
#[must_use]
pub fn entries_frame(circle: CircleId, envelopes: Vec<Vec<u8>>) -> Vec<u8> {
    let entries = frame::Entries { circle: circle.as_bytes().to_vec(), envelopes };
    frame::Frame { body: Some(frame::frame::Body::Entries(entries)) }.encode_to_vec()
}

/// A sync frame that offers entries by their ids.
#[must_use]
pub fn have_frame(circle: CircleId, ids: &[EntryId]) -> Vec<u8> {
    let ids = ids.iter().flat_map(|id| id.as_bytes().iter().copied()).collect();
    let have = frame::EntryIds { circle: circle.as_bytes().to_vec(), ids };
    frame::Frame { body: Some(frame::frame::Body::Have(have)) }.encode_to_vec()
}

fn copy(key: &ContentKey) -> ContentKey {
    ContentKey::of_class(key.as_bytes().clone(), key.is_lasting())
}

/// The leaves of the head.
#[must_use]
pub fn leaves(engine: &Engine, circle: CircleId) -> Vec<DeviceId> {
    let head = |circle: &Circle| circle.group.head().leaves.clone();
    engine.circles.get(&circle).map(head).unwrap_or_default()
}
