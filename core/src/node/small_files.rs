//! Fetches small files as they appear, so that they can be read offline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clave_engine::crdt::DocumentKind;
use clave_engine::{ChunkId, CircleId, DocumentId, Engine, EngineError, Event, FetchId, FileContent};
use tokio::sync::broadcast::{self, error::RecvError};

use super::{Inner, Node};

/// How long changes of drives are gathered before they are looked at.
const GATHERED: Duration = Duration::from_millis(500);
/// Files that are fetched at a time.
const FILES_MAX: usize = 1_000;
/// Bytes of files that are fetched at a time.
const BYTES_MAX: u64 = 64 << 20;

/// Watches the drives of a node until it is gone.
pub(super) async fn watch(node: Weak<Inner>, mut events: broadcast::Receiver<Event>) {
    let (mut changed, mut running) = (BTreeSet::<CircleId>::new(), BTreeMap::<FetchId, CircleId>::new());
    loop {
        // One fetch at a time in each circle; what changes meanwhile is looked at when it ends.
        let is_due = |circle: &CircleId| !running.values().any(|running| running == circle);
        let wait = if changed.iter().any(is_due) { GATHERED } else { Duration::MAX };
        let Ok(event) = tokio::time::timeout(wait, events.recv()).await else {
            let Some(inner) = node.upgrade() else { return };
            let node = Node { inner };
            for circle in changed.extract_if(.., |circle| is_due(circle)).collect::<Vec<_>>() {
                if let Some(fetch) = begin(&node, circle).await {
                    running.insert(fetch, circle);
                }
            }
            continue;
        };
        match event {
            Ok(Event::DocumentChanged { circle, kind: DocumentKind::Drive, .. }) => drop(changed.insert(circle)),
            Ok(Event::Fetched { fetch } | Event::FetchFailed { fetch }) => {
                // There may be more than was fetched at a time.
                changed.extend(running.remove(&fetch));
            }
            Err(RecvError::Lagged(_)) => changed.extend(std::mem::take(&mut running).into_values()),
            Err(RecvError::Closed) => return,
            Ok(_) => {}
        }
    }
}

/// Begins to fetch what is small and missing, if there is any.
async fn begin(node: &Node, circle: CircleId) -> Option<FetchId> {
    let bytes_max = node.inner.small_file_bytes_max.load(Relaxed);
    if bytes_max == 0 {
        return None;
    }
    let fetch = move |engine: &mut Engine, now: u64| -> Result<Option<FetchId>, EngineError> {
        let contents = missing(engine, circle, bytes_max)?;
        if contents.is_empty() { Ok(None) } else { engine.fetch(circle, contents, now).map(Some) }
    };
    match node.command(fetch).await {
        Ok(fetch) => fetch,
        Err(error) => {
            tracing::debug!(circle = %circle.short(), %error, "small files are not fetched");
            None
        }
    }
}

fn missing(engine: &mut Engine, circle: CircleId, bytes_max: u64) -> Result<Vec<FileContent>, EngineError> {
    let drive = DocumentId::well_known(circle, DocumentKind::Drive, 0);
    let tree = engine.document(circle, drive, DocumentKind::Drive)?.drive()?.tree();
    let (mut contents, mut bytes) = (Vec::new(), 0);
    for version in tree.files().filter_map(|node| node.current.as_ref()) {
        if version.file.bytes > bytes_max || contents.len() == FILES_MAX || bytes + version.file.bytes > BYTES_MAX {
            continue;
        }
        let content = FileContent {
            manifest: ChunkId::from_bytes(version.file.manifest),
            manifest_key: version.file.manifest_key,
            bytes: version.file.bytes,
            content_hash: version.file.blake3,
        };
        if !engine.has_content(circle, &content)? {
            bytes += content.bytes;
            contents.push(content);
        }
    }
    Ok(contents)
}
