//! The storage that openmls works on for the length of one operation.
//!
//! It holds one group, so the group's id is no part of a key. Proposals, application secrets, PSKs and signature keys
//! are never stored: Clave uses none of those, and an attempt is an error.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openmls_traits::storage::{CURRENT_VERSION, Key, StorageProvider, traits};
use serde::Serialize;
use zeroize::Zeroizing;

use super::codec::{self, CodecError};
use crate::CryptoError;
use crate::group::bytes::{Reader, put_blob, put_count};

const V: u16 = CURRENT_VERSION;

/// What a value is of. The numbers are part of the storage format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Slot {
    JoinConfig = 1,
    Tree = 2,
    InterimTranscriptHash = 3,
    Context = 4,
    ConfirmationTag = 5,
    GroupState = 6,
    MessageSecrets = 7,
    OwnLeafIndex = 8,
    EpochSecrets = 9,
    EpochKeyPairs = 10,
    EncryptionKeyPair = 11,
    KeyPackage = 12,
}

/// A store of resumption PSKs as openmls writes it: room for none, none, and a cursor at none.
const NO_RESUMPTION_PSKS: &[u8] = &[0, 0, 0];

type Values = BTreeMap<(u8, Vec<u8>), Zeroizing<Vec<u8>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Scratch {
    values: RefCell<Values>,
}

impl Scratch {
    /// The version of the encoding: to be raised when it changes, or openmls changes what it stores.
    const VERSION: u8 = 1;

    /// All that is stored.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let values = self.values.borrow();
        let length: usize = values.iter().map(|((_, key), value)| 9 + key.len() + value.len()).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(5 + length));
        out.push(Self::VERSION);
        put_count(&mut out, values.len());
        for ((slot, key), value) in values.iter() {
            out.push(*slot);
            put_blob(&mut out, key);
            put_blob(&mut out, value);
        }
        out
    }

    /// Adds what another storage [held](Self::to_bytes).
    pub(super) fn fill(&self, bytes: &[u8], what: &'static str) -> Result<(), CryptoError> {
        let mut reader = Reader::new(bytes, what);
        if reader.array()? != [Self::VERSION] {
            return Err(reader.malformed());
        }
        let mut values = self.values.borrow_mut();
        for _ in 0..reader.count(9)? {
            let [slot] = reader.array()?;
            let key = reader.blob()?.to_vec();
            values.insert((slot, key), Zeroizing::new(reader.blob()?.to_vec()));
        }
        reader.end()
    }

    /// Drops everything but the group itself.
    pub(super) fn forget_key_packages(&self) {
        self.values.borrow_mut().retain(|(slot, _), _| *slot != Slot::KeyPackage as u8);
    }

    /// How large which value is.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> Vec<(u8, usize)> {
        self.values.borrow().iter().map(|((slot, key), value)| (*slot, key.len() + value.len())).collect()
    }

    fn put<T: Serialize + ?Sized>(&self, slot: Slot, key: Vec<u8>, value: &T) -> Result<(), CodecError> {
        let value = codec::to_bytes(value)?;
        self.values.borrow_mut().insert((slot as u8, key), value);
        Ok(())
    }

    fn get<T: serde::de::DeserializeOwned>(&self, slot: Slot, key: Vec<u8>) -> Result<Option<T>, CodecError> {
        self.values.borrow().get(&(slot as u8, key)).map(|value| codec::from_bytes(value)).transpose()
    }

    fn remove(&self, slot: Slot, key: Vec<u8>) -> Result<(), CodecError> {
        self.values.borrow_mut().remove(&(slot as u8, key));
        Ok(())
    }
}

/// The state of a checkpoint without its public tree, and the tree.
pub(crate) struct SplitState {
    pub(crate) rest: Zeroizing<Vec<u8>>,
    pub(crate) tree: Zeroizing<Vec<u8>>,
}

/// Splits the state of a checkpoint into its public tree and everything else, the secrets among it.
pub(crate) fn split_state(state: &[u8]) -> Result<SplitState, CryptoError> {
    let scratch = Scratch::default();
    scratch.fill(state, "checkpoint")?;
    let tree = scratch.values.borrow_mut().remove(&(Slot::Tree as u8, Vec::new()));
    Ok(SplitState { rest: scratch.to_bytes(), tree: tree.ok_or(CryptoError::Malformed("checkpoint"))? })
}

/// Undoes [`split_state`].
pub(crate) fn join_state(rest: &[u8], tree: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let scratch = Scratch::default();
    scratch.fill(rest, "checkpoint")?;
    scratch.values.borrow_mut().insert((Slot::Tree as u8, Vec::new()), Zeroizing::new(tree));
    Ok(scratch.to_bytes())
}

fn key<K: Key<V>>(key: &K) -> Result<Vec<u8>, CodecError> {
    codec::to_bytes(key).map(|bytes| bytes.to_vec())
}

fn epoch_key<K: Key<V>>(epoch: &K, leaf_index: u32) -> Result<Vec<u8>, CodecError> {
    let mut out = key(epoch)?;
    out.extend_from_slice(&leaf_index.to_be_bytes());
    Ok(out)
}

fn unused<T>() -> Result<T, CodecError> {
    Err(CodecError::unsupported("what Clave does not use of MLS"))
}

/// A value of which the group has one.
macro_rules! one_per_group {
    ($($slot:ident: $entity:ident, $write:ident, $read:ident, $delete:ident;)*) => {
        $(
            fn $write<G: traits::GroupId<V>, E: traits::$entity<V>>(&self, _: &G, value: &E) -> Result<(), CodecError> {
                self.put(Slot::$slot, Vec::new(), value)
            }

            fn $read<G: traits::GroupId<V>, E: traits::$entity<V>>(&self, _: &G) -> Result<Option<E>, CodecError> {
                self.get(Slot::$slot, Vec::new())
            }

            fn $delete<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), CodecError> {
                self.remove(Slot::$slot, Vec::new())
            }
        )*
    };
}

impl StorageProvider<V> for Scratch {
    type Error = CodecError;

    one_per_group! {
        JoinConfig: MlsGroupJoinConfig, write_mls_join_config, mls_group_join_config, delete_group_config;
        Tree: TreeSync, write_tree, tree, delete_tree;
        InterimTranscriptHash: InterimTranscriptHash,
            write_interim_transcript_hash, interim_transcript_hash, delete_interim_transcript_hash;
        Context: GroupContext, write_context, group_context, delete_context;
        ConfirmationTag: ConfirmationTag, write_confirmation_tag, confirmation_tag, delete_confirmation_tag;
        MessageSecrets: MessageSecrets, write_message_secrets, message_secrets, delete_message_secrets;
        OwnLeafIndex: LeafNodeIndex, write_own_leaf_index, own_leaf_index, delete_own_leaf_index;
        EpochSecrets: GroupEpochSecrets, write_group_epoch_secrets, group_epoch_secrets, delete_group_epoch_secrets;
    }

    fn write_group_state<E: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        _: &G,
        value: &E,
    ) -> Result<(), CodecError> {
        self.put(Slot::GroupState, Vec::new(), value)
    }

    fn group_state<E: traits::GroupState<V>, G: traits::GroupId<V>>(&self, _: &G) -> Result<Option<E>, CodecError> {
        self.get(Slot::GroupState, Vec::new())
    }

    fn delete_group_state<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), CodecError> {
        self.remove(Slot::GroupState, Vec::new())
    }

    fn write_encryption_epoch_key_pairs<G: traits::GroupId<V>, K: traits::EpochKey<V>, E: traits::HpkeKeyPair<V>>(
        &self,
        _: &G,
        epoch: &K,
        leaf_index: u32,
        key_pairs: &[E],
    ) -> Result<(), CodecError> {
        self.put(Slot::EpochKeyPairs, epoch_key(epoch, leaf_index)?, key_pairs)
    }

    fn encryption_epoch_key_pairs<G: traits::GroupId<V>, K: traits::EpochKey<V>, E: traits::HpkeKeyPair<V>>(
        &self,
        _: &G,
        epoch: &K,
        leaf_index: u32,
    ) -> Result<Vec<E>, CodecError> {
        Ok(self.get(Slot::EpochKeyPairs, epoch_key(epoch, leaf_index)?)?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<G: traits::GroupId<V>, K: traits::EpochKey<V>>(
        &self,
        _: &G,
        epoch: &K,
        leaf_index: u32,
    ) -> Result<(), CodecError> {
        self.remove(Slot::EpochKeyPairs, epoch_key(epoch, leaf_index)?)
    }

    fn write_encryption_key_pair<K: traits::EncryptionKey<V>, E: traits::HpkeKeyPair<V>>(
        &self,
        public_key: &K,
        key_pair: &E,
    ) -> Result<(), CodecError> {
        self.put(Slot::EncryptionKeyPair, key(public_key)?, key_pair)
    }

    fn encryption_key_pair<E: traits::HpkeKeyPair<V>, K: traits::EncryptionKey<V>>(
        &self,
        public_key: &K,
    ) -> Result<Option<E>, CodecError> {
        self.get(Slot::EncryptionKeyPair, key(public_key)?)
    }

    fn delete_encryption_key_pair<K: traits::EncryptionKey<V>>(&self, public_key: &K) -> Result<(), CodecError> {
        self.remove(Slot::EncryptionKeyPair, key(public_key)?)
    }

    fn write_key_package<K: traits::HashReference<V>, E: traits::KeyPackage<V>>(
        &self,
        hash_ref: &K,
        key_package: &E,
    ) -> Result<(), CodecError> {
        self.put(Slot::KeyPackage, key(hash_ref)?, key_package)
    }

    fn key_package<K: traits::HashReference<V>, E: traits::KeyPackage<V>>(
        &self,
        hash_ref: &K,
    ) -> Result<Option<E>, CodecError> {
        self.get(Slot::KeyPackage, key(hash_ref)?)
    }

    fn delete_key_package<K: traits::HashReference<V>>(&self, hash_ref: &K) -> Result<(), CodecError> {
        self.remove(Slot::KeyPackage, key(hash_ref)?)
    }

    // Proposals travel inside of commits only, and a device updates its leaf by committing.

    fn append_own_leaf_node<G: traits::GroupId<V>, E: traits::LeafNode<V>>(
        &self,
        _: &G,
        _: &E,
    ) -> Result<(), CodecError> {
        unused()
    }

    fn own_leaf_nodes<G: traits::GroupId<V>, E: traits::LeafNode<V>>(&self, _: &G) -> Result<Vec<E>, CodecError> {
        Ok(Vec::new())
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn queue_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>, E: traits::QueuedProposal<V>>(
        &self,
        _: &G,
        _: &R,
        _: &E,
    ) -> Result<(), CodecError> {
        unused()
    }

    fn queued_proposal_refs<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        _: &G,
    ) -> Result<Vec<R>, CodecError> {
        Ok(Vec::new())
    }

    fn queued_proposals<G: traits::GroupId<V>, R: traits::ProposalRef<V>, E: traits::QueuedProposal<V>>(
        &self,
        _: &G,
    ) -> Result<Vec<(R, E)>, CodecError> {
        Ok(Vec::new())
    }

    fn remove_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        _: &G,
        _: &R,
    ) -> Result<(), CodecError> {
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    // Signature keys are device keys, handed to each operation. There are no PSKs; whoever created a group would
    // otherwise keep those that resume its last 32 epochs, secrets of the past that nobody asks for.

    fn write_resumption_psk_store<G: traits::GroupId<V>, E: traits::ResumptionPskStore<V>>(
        &self,
        _: &G,
        _: &E,
    ) -> Result<(), CodecError> {
        Ok(())
    }

    fn resumption_psk_store<G: traits::GroupId<V>, E: traits::ResumptionPskStore<V>>(
        &self,
        _: &G,
    ) -> Result<Option<E>, CodecError> {
        codec::from_bytes(NO_RESUMPTION_PSKS).map(Some)
    }

    fn delete_all_resumption_psk_secrets<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn write_signature_key_pair<K: traits::SignaturePublicKey<V>, E: traits::SignatureKeyPair<V>>(
        &self,
        _: &K,
        _: &E,
    ) -> Result<(), CodecError> {
        unused()
    }

    fn signature_key_pair<K: traits::SignaturePublicKey<V>, E: traits::SignatureKeyPair<V>>(
        &self,
        _: &K,
    ) -> Result<Option<E>, CodecError> {
        Ok(None)
    }

    fn delete_signature_key_pair<K: traits::SignaturePublicKey<V>>(&self, _: &K) -> Result<(), CodecError> {
        Ok(())
    }

    fn write_psk<K: traits::PskId<V>, E: traits::PskBundle<V>>(&self, _: &K, _: &E) -> Result<(), CodecError> {
        unused()
    }

    fn psk<E: traits::PskBundle<V>, K: traits::PskId<V>>(&self, _: &K) -> Result<Option<E>, CodecError> {
        Ok(None)
    }

    fn delete_psk<K: traits::PskId<V>>(&self, _: &K) -> Result<(), CodecError> {
        Ok(())
    }
}
