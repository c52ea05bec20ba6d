//! Cuts the public tree of a group into pieces of which the next epoch has most unchanged.
//!
//! A commit changes a leaf or two and the nodes above them, up to the root. So the tree (RFC 9420, 4.1) is cut into bands
//! of levels, and each band into subtrees: 8 leaves with the 7 parents above them, then 15 parents of four levels each. In
//! each band, one path to the root touches one subtree.
//!
//! openmls keeps a tree as a list of leaves (a power of two of them, many of them blank) and a list of the parents
//! between them, each in order: parent `n` stands between leaves `n` and `n + 1`, and is the higher the more trailing
//! ones `n` has. The types below are openmls's as far as their encoding goes; it keeps some of them to itself.

use std::collections::{BTreeMap, BTreeSet};

use openmls::prelude::LeafNode;
use serde::{Deserialize, Serialize};

use super::codec;
use crate::group::bytes::{Reader, put_blob};
use crate::{CryptoError, DeviceId};

/// The levels above the leaves that are in one piece with them, and those in each piece further up.
const FIRST_BAND_LEVELS: u32 = 3;
const BAND_LEVELS: u32 = 4;

/// More leaves than any tree here has.
const LEAVES_MAX: u32 = 1 << 24;

/// A parent node, blank or not.
#[derive(Serialize, Deserialize)]
struct Parent(Option<(Vec<u8>, Vec<u8>, Vec<u32>)>);

/// What a tree has beside its nodes: what openmls takes for a blank leaf and a blank parent, and the tree hash.
type Rest = (Option<LeafNode>, Parent, Vec<u8>);

/// A tree in pieces.
pub(crate) struct CutTree {
    /// How many leaves there are, blank ones too.
    pub(crate) leaf_count: u32,
    /// What belongs to no node.
    pub(crate) rest: Vec<u8>,
    /// The pieces, in an order that follows from the number of leaves.
    pub(crate) pieces: Vec<Vec<u8>>,
}

/// A band, and a subtree in it.
type Place = (u32, u32);

fn place_of_leaf(leaf: u32) -> Place {
    (0, leaf >> FIRST_BAND_LEVELS)
}

fn place_of_parent(parent: u32) -> Place {
    let level = (parent + 1).trailing_zeros() + 1;
    let band = level.saturating_sub(FIRST_BAND_LEVELS).div_ceil(BAND_LEVELS);
    (band, parent >> (FIRST_BAND_LEVELS + band * BAND_LEVELS))
}

/// Where the nodes of a tree are, leaves first.
fn places(leaf_count: u32) -> impl Iterator<Item = Place> {
    (0..leaf_count).map(place_of_leaf).chain((0..leaf_count - 1).map(place_of_parent))
}

fn malformed<E>(_: E) -> CryptoError {
    CryptoError::Malformed("checkpoint")
}

/// Takes a value from the front of `bytes`, and says what its encoding is.
fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<(T, &'a [u8]), CryptoError> {
    let before = *bytes;
    let value = codec::take(bytes).map_err(malformed)?;
    Ok((value, &before[..before.len() - bytes.len()]))
}

impl CutTree {
    /// Cuts a tree that openmls has stored.
    pub(crate) fn cut(tree: &[u8]) -> Result<Self, CryptoError> {
        let mut bytes = tree;
        let mut pieces: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
        let (leaf_count, _) = take::<u32>(&mut bytes)?;
        if !leaf_count.is_power_of_two() || leaf_count > LEAVES_MAX {
            return Err(malformed(()));
        }
        for leaf in 0..leaf_count {
            let (_, node) = take::<Option<LeafNode>>(&mut bytes)?;
            put_blob(pieces.entry(place_of_leaf(leaf)).or_default(), node);
        }
        let (parent_count, _) = take::<u32>(&mut bytes)?;
        if parent_count != leaf_count - 1 {
            return Err(malformed(()));
        }
        for parent in 0..parent_count {
            let (_, node) = take::<Parent>(&mut bytes)?;
            put_blob(pieces.entry(place_of_parent(parent)).or_default(), node);
        }
        let (_, rest) = take::<Rest>(&mut bytes)?;
        if !bytes.is_empty() {
            return Err(malformed(()));
        }
        Ok(Self { leaf_count, rest: rest.to_vec(), pieces: pieces.into_values().collect() })
    }

    /// How many pieces a tree with so many leaves has.
    pub(crate) fn piece_count(leaf_count: u32) -> Result<usize, CryptoError> {
        if !leaf_count.is_power_of_two() || leaf_count > LEAVES_MAX {
            return Err(malformed(()));
        }
        let (mut count, mut levels) = (0, FIRST_BAND_LEVELS);
        let depth = leaf_count.trailing_zeros();
        loop {
            count += (leaf_count >> levels.min(depth)) as usize;
            if levels >= depth {
                return Ok(count);
            }
            levels += BAND_LEVELS;
        }
    }

    /// What was [cut](Self::cut), and the devices in it, sorted.
    pub(crate) fn join(&self) -> Result<(Vec<u8>, Vec<DeviceId>), CryptoError> {
        if Self::piece_count(self.leaf_count)? != self.pieces.len() {
            return Err(malformed(()));
        }
        // Every node has at least its length, so a forged number of leaves costs nothing.
        let bytes: usize = self.pieces.iter().map(Vec::len).sum();
        if bytes < 4 * self.leaf_count as usize {
            return Err(malformed(()));
        }
        let order: BTreeSet<Place> = places(self.leaf_count).collect();
        let mut readers: BTreeMap<Place, Reader<'_>> =
            order.into_iter().zip(self.pieces.iter().map(|piece| Reader::new(piece, "checkpoint"))).collect();

        let mut tree = codec::to_bytes(&self.leaf_count).map_err(malformed)?.to_vec();
        let mut devices = Vec::new();
        for (at, place) in places(self.leaf_count).enumerate() {
            let reader = readers.get_mut(&place).ok_or_else(|| malformed(()))?;
            let node = reader.blob()?;
            if at < self.leaf_count as usize
                && let Some(leaf) = codec::from_bytes::<Option<LeafNode>>(node).map_err(malformed)?
            {
                devices.push(super::device_of_leaf(&leaf)?);
            }
            if at == self.leaf_count as usize {
                tree.extend_from_slice(&codec::to_bytes(&(self.leaf_count - 1)).map_err(malformed)?);
            }
            tree.extend_from_slice(node);
        }
        for reader in readers.into_values() {
            reader.end()?;
        }
        if self.leaf_count == 1 {
            tree.extend_from_slice(&codec::to_bytes(&0u32).map_err(malformed)?);
        }
        tree.extend_from_slice(&self.rest);
        devices.sort_unstable();
        Ok((tree, devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_touches_one_piece_in_each_band() {
        for depth in 0..=11u32 {
            let leaf_count = 1 << depth;
            let distinct: BTreeSet<_> = places(leaf_count).collect();
            assert_eq!(
                CutTree::piece_count(leaf_count).expect("a power of two"),
                distinct.len(),
                "{leaf_count} leaves"
            );
            for leaf in 0..leaf_count {
                // The parent at a level above a leaf: its trailing ones say the level, its other bits where it is.
                let path = (1..=depth).map(|level| (leaf >> level << level) + (1 << (level - 1)) - 1);
                let touched: BTreeSet<_> = path.map(place_of_parent).chain([place_of_leaf(leaf)]).collect();
                let bands = 1 + depth.saturating_sub(FIRST_BAND_LEVELS).div_ceil(BAND_LEVELS);
                assert_eq!(touched.len() as u32, bands, "leaf {leaf} of {leaf_count}");
            }
        }
    }
}
