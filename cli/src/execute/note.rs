//! Notes.

use clave::{Event, Node, Note, Space};

use super::{next_event, parse_heads, pick};
use crate::failure::Failure;
use crate::reply::{self, Reply, hex};
use crate::request::Splice;

pub(super) async fn create(space: &Space, title: &str, markdown: &str) -> Result<Reply, Failure> {
    let note = space.create_note(title).await?;
    if !markdown.is_empty() {
        note.append_markdown(markdown).await?;
    }
    shown(&note).await
}

pub(super) async fn list(space: &Space) -> Result<Reply, Failure> {
    let title = |note: clave::NoteInfo| reply::NoteTitle { id: note.id.to_string(), title: note.title };
    Ok(Reply::Notes { notes: space.notes().await?.into_iter().map(title).collect() })
}

pub(super) async fn show(space: &Space, note: &str) -> Result<Reply, Failure> {
    shown(&find(space, note).await?).await
}

pub(super) async fn merge(space: &Space, note: &str, heads: &[String], markdown: &str) -> Result<Reply, Failure> {
    let note = find(space, note).await?;
    note.edit_markdown(&parse_heads(heads)?, markdown).await?;
    shown(&note).await
}

pub(super) async fn text(space: &Space, note: &str) -> Result<Reply, Failure> {
    let note = find(space, note).await?;
    let heads = note.snapshot().await?.heads;
    Ok(Reply::Text { text: note.text().await?, heads: heads.iter().map(hex).collect() })
}

pub(super) async fn splice(
    node: &Node,
    space: &Space,
    note: &str,
    at: &[String],
    splices: &[Splice],
) -> Result<Reply, Failure> {
    let at = parse_heads(at)?;
    let mut events = node.events();
    let note = loop {
        // It may still be on its way.
        match find(space, note).await {
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

async fn find(space: &Space, asked: &str) -> Result<Note, Failure> {
    if let Ok(id) = asked.parse() {
        return Ok(space.note(id).await?);
    }
    let found = pick(space.notes().await?, asked, "note", |note| note.id.to_string(), |note| &note.title)?;
    Ok(space.note(found.id).await?)
}
