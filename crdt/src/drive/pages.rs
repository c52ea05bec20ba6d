//! A drive cut into pages, a folder to each or to several, so that what lies in a folder can be told without the document.
//!
//! Where a file lies in a large folder's pages follows from its id, so a file that changes changes one page.

use std::collections::BTreeMap;

use prost::Message as _;

use super::record::{NodeId, VersionId, VersionRecord};
use super::{Drive, Node, Version};
use crate::{Actor, CrdtError};

/// About how many files and folders stand on one page.
const PAGE_NODES: usize = 256;

/// Names a page of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderPage {
    /// The folder; the root and the trash are folders.
    pub folder: NodeId,
    /// Which of its pages, from 0.
    pub number: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePage {
    /// How many pages the folder has, if this is the first.
    #[prost(uint32, tag = "1")]
    pages: u32,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<WireNode>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireNode {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    trashed: bool,
    /// Empty if it was not itself thrown away.
    #[prost(bytes = "vec", tag = "4")]
    trashed_from: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    author: Vec<u8>,
    /// The current version of a file, then those in conflict with it.
    #[prost(message, repeated, tag = "6")]
    versions: Vec<WireVersion>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireVersion {
    #[prost(uint64, tag = "1")]
    counter: u64,
    #[prost(bytes = "vec", tag = "2")]
    actor: Vec<u8>,
    /// A [`VersionRecord`] that replaces nothing.
    #[prost(bytes = "vec", tag = "3")]
    file: Vec<u8>,
}

impl Drive<'_> {
    /// The pages that [`folder_of_pages`] answers from.
    #[must_use]
    pub fn pages(&self) -> BTreeMap<FolderPage, Vec<u8>> {
        let tree = self.tree();
        let mut pages: BTreeMap<FolderPage, WirePage> = BTreeMap::new();
        let folders = tree.nodes().map(|node| node.id).filter(NodeId::is_folder);
        for folder in folders.chain([NodeId::ROOT, NodeId::TRASH]) {
            let nodes = tree.list(folder).unwrap_or_default();
            let count = nodes.len().div_ceil(PAGE_NODES).next_power_of_two();
            let count = u32::try_from(count).unwrap_or(1 << 31);
            pages.insert(FolderPage { folder, number: 0 }, WirePage { pages: count, nodes: Vec::new() });
            for node in nodes {
                let page = FolderPage { folder, number: page_of(node.id, count) };
                pages.entry(page).or_default().nodes.push(written(node));
            }
        }
        pages.into_iter().map(|(name, page)| (name, page.encode_to_vec())).collect()
    }
}

/// What lies in a folder, in order of their names, from its pages; `None` if there is no such folder.
///
/// # Errors
///
/// [`CrdtError::DamagedSnapshot`] if a page is none, and those of `page`, which finds a page if there is one.
pub fn folder_of_pages<E: From<CrdtError>>(
    folder: NodeId,
    mut page: impl FnMut(FolderPage) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<Vec<Node>>, E> {
    let decode = |bytes: Vec<u8>| WirePage::decode(bytes.as_slice()).map_err(|_| CrdtError::DamagedSnapshot);
    let Some(first) = page(FolderPage { folder, number: 0 })? else { return Ok(None) };
    let first = decode(first)?;
    let mut nodes = first.nodes;
    for number in 1..first.pages {
        // One that nothing lies on is not there.
        if let Some(bytes) = page(FolderPage { folder, number })? {
            nodes.extend(decode(bytes)?.nodes);
        }
    }
    let nodes = nodes.into_iter().map(|node| read(node, folder).ok_or(CrdtError::DamagedSnapshot));
    let mut nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(nodes))
}

/// Ids are random but for the first bit.
fn page_of(id: NodeId, pages: u32) -> u32 {
    let [.., a, b, c, d] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d]) & (pages - 1)
}

fn written(node: &Node) -> WireNode {
    let versions = node.current.iter().chain(&node.conflicts).map(|version| WireVersion {
        counter: version.id.counter,
        actor: version.id.actor.as_bytes().to_vec(),
        file: VersionRecord::unbound(&version.file),
    });
    WireNode {
        id: node.id.as_bytes().to_vec(),
        name: node.name.clone(),
        trashed: node.trashed,
        trashed_from: node.trashed_from.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        author: node.author.as_bytes().to_vec(),
        versions: versions.collect(),
    }
}

fn read(node: WireNode, parent: NodeId) -> Option<Node> {
    let actor = |bytes: Vec<u8>| Some(Actor::from_bytes(bytes.try_into().ok()?));
    let version = |wire: WireVersion| {
        let (file, _) = VersionRecord::read(&wire.file)?;
        Some(Version { id: VersionId { counter: wire.counter, actor: actor(wire.actor)? }, file })
    };
    let mut versions = node.versions.into_iter().map(version).collect::<Option<Vec<_>>>()?.into_iter();
    let trashed_from = match node.trashed_from.is_empty() {
        true => None,
        false => Some(NodeId::from_bytes(node.trashed_from.try_into().ok()?)),
    };
    Some(Node {
        id: NodeId::from_bytes(node.id.try_into().ok()?),
        parent,
        name: node.name,
        trashed: node.trashed,
        trashed_from,
        author: actor(node.author)?,
        current: versions.next(),
        conflicts: versions.collect(),
    })
}
