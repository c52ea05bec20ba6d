//! More segments of a chat than anybody has the patience to write: copies of one, in the store of a device that is closed.

use std::path::Path;

use clave::{SealedStore, StoreKind, open_store};
use clave_crdt::DocumentKind;
use clave_crypto::{Entropy, WrappedVaultKey};
use clave_engine::{CircleId, DocumentId, Key, Keyspace, StoreRead as _};

use super::WORKS;

/// Stores a segment so many times more: its changes and its snapshot, what is known of it, and what follows from it. (Opening reads
/// no entry and nothing of the search index, so there are none of these.)
pub fn of_segment(folder: &Path, circle: CircleId, segment: DocumentId, copies: u32) {
    let vault = std::fs::read(folder.join("vault")).expect(WORKS);
    let vault = WrappedVaultKey::from_bytes(&vault).and_then(|vault| vault.unlock(None)).expect("it is not locked");
    let store = open_store(folder, StoreKind::Redb).expect(WORKS);
    let store = SealedStore::new(store, vault, Entropy::from_seed([9; 32]));
    let name = |id: DocumentId| [id.as_bytes().as_slice(), &[DocumentKind::Timeline.number()]].concat();
    let scope = |id: DocumentId| [circle.as_bytes().to_vec(), name(id)].concat();
    let of_circle = [Keyspace::Documents, Keyspace::Views].map(|keyspace| {
        let record = store.read(&Key::new(keyspace, circle.as_bytes(), name(segment))).expect(WORKS);
        (keyspace, record.expect("it was followed"))
    });
    let mut of_segment = Vec::new();
    for keyspace in [Keyspace::Snapshots, Keyspace::Changes] {
        let mut visit = |suffix: &[u8], value: Vec<u8>| {
            of_segment.push((keyspace, suffix.to_vec(), value));
            true
        };
        store.scan(keyspace, &scope(segment), &[], &mut visit).expect(WORKS);
    }
    for copy in 0..copies {
        let id = DocumentId::from_bytes(*blake3::hash(&copy.to_be_bytes()).as_bytes().first_chunk().expect("16 of 32"));
        let records =
            of_circle.iter().map(|(keyspace, value)| (Key::new(*keyspace, circle.as_bytes(), name(id)), value));
        let content =
            of_segment.iter().map(|(keyspace, suffix, value)| (Key::new(*keyspace, scope(id), suffix), value));
        let batch = records.chain(content).map(|(key, value)| (key, Some(value.clone()))).collect();
        store.write(vec![batch]).expect(WORKS);
    }
}
