//! Notes.

use std::collections::{BTreeMap, btree_map::Entry};

use clave::{Circle, DocumentId, Event, Node, Note};
use tokio::sync::Mutex;

use super::circle::{Place, until_out};
use super::{next_event, parse_heads, pick};
use crate::failure::Failure;
use crate::reply::{self, Reply, hex};
use crate::request::Splice;
use crate::wire::Out;

pub(super) async fn create(circle: &Circle, title: &str, markdown: &str) -> Result<Reply, Failure> {
    let note = circle.create_note(title).await?;
    if !markdown.is_empty() {
        note.append_markdown(markdown).await?;
    }
    shown(&note).await
}

pub(super) async fn list(circle: &Circle) -> Result<Reply, Failure> {
    let title = |note: clave::NoteInfo| reply::NoteTitle { id: note.id.to_string(), title: note.title };
    Ok(Reply::Notes { notes: circle.notes().await?.into_iter().map(title).collect() })
}

pub(super) async fn show(circle: &Circle, note: &str) -> Result<Reply, Failure> {
    shown(&find(circle, note).await?).await
}

/// Never returns but by a failure: it goes on until the client has had enough.
pub(super) async fn watch(node: &Node, place: &Place, note: &str, out: &Out) -> Result<Reply, Failure> {
    let mut events = node.events();
    let visit = Visit::begin(find(&place.circle, note).await?).await?;
    let mut updates = visit.note.presence();
    loop {
        let present = tokio::select! {
            present = updates.next() => present?,
            out = until_out(&mut events, place) => return Err(out),
        };
        out.item(Reply::Present { present: present.into_iter().map(reply::Present::from).collect() }).await?;
    }
}

/// How many visits each note has from this process. Held while one is begun or ended, so that who comes at that instant is not hidden by who goes.
static VISITS: Mutex<BTreeMap<DocumentId, usize>> = Mutex::const_new(BTreeMap::new());

/// This person is seen in the note until the last of its visits is dropped, as what was asked is when the client hangs up.
struct Visit {
    note: Note,
}

impl Visit {
    async fn begin(note: Note) -> Result<Self, Failure> {
        let mut visits = VISITS.lock().await;
        *visits.entry(note.id()).or_default() += 1;
        let visit = Self { note };
        visit.note.set_selection(None).await?;
        Ok(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let note = self.note.clone();
        tokio::spawn(async move {
            let mut visits = VISITS.lock().await;
            let Entry::Occupied(mut of_note) = visits.entry(note.id()) else { return };
            *of_note.get_mut() -= 1;
            if *of_note.get() == 0 {
                of_note.remove();
                // If that fails the node is paused or stopped, and nobody is seen any more anyhow.
                let _ = note.leave().await;
            }
        });
    }
}

pub(super) async fn merge(circle: &Circle, note: &str, heads: &[String], markdown: &str) -> Result<Reply, Failure> {
    let note = find(circle, note).await?;
    note.edit_markdown(&parse_heads(heads)?, markdown).await?;
    shown(&note).await
}

pub(super) async fn text(circle: &Circle, note: &str) -> Result<Reply, Failure> {
    let note = find(circle, note).await?;
    let heads = note.snapshot().await?.heads;
    Ok(Reply::Text { text: note.text().await?, heads: heads.iter().map(hex).collect() })
}

pub(super) async fn splice(
    node: &Node,
    circle: &Circle,
    note: &str,
    at: &[String],
    splices: &[Splice],
) -> Result<Reply, Failure> {
    let at = parse_heads(at)?;
    let mut events = node.events();
    let note = loop {
        // It may still be on its way.
        match find(circle, note).await {
            Ok(note) if note.contains(at.clone()).await? => break note,
            Ok(_) => {}
            Err(failure) if failure.code == crate::failure::Code::NotFound => {}
            Err(failure) => return Err(failure),
        }
        next_event(&mut events, |event| matches!(event, Event::DocumentChanged { .. })).await?;
    };
    let splices = splices.to_vec();
    let heads = if at.is_empty() { note.splice(splices).await? } else { note.splice_at(at, splices).await? };
    Ok(Reply::Heads { heads: heads.iter().map(hex).collect() })
}

async fn shown(note: &Note) -> Result<Reply, Failure> {
    let snapshot = note.snapshot().await?;
    Ok(Reply::Note(reply::Note {
        id: note.id().to_string(),
        title: snapshot.title,
        markdown: snapshot.markdown,
        heads: snapshot.heads.iter().map(hex).collect(),
    }))
}

async fn find(circle: &Circle, asked: &str) -> Result<Note, Failure> {
    if let Ok(id) = asked.parse() {
        return Ok(circle.note(id).await?);
    }
    let found = pick(circle.notes().await?, asked, "note", |note| note.id.to_string(), |note| &note.title)?;
    Ok(circle.note(found.id).await?)
}
