//! Notes: a title and a rich text, as Markdown or by position.
//!
//! The text is one Automerge text object, `text`, in the conventions of Automerge's rich text editors; the title is the
//! field `title` at the root, a plain string that the last writer wins. Positions count Unicode code points, a block
//! marker or an image being one.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use automerge::transaction::Transactable;
use automerge::{AutomergeError, CursorPosition, ObjId, ROOT, ReadDoc};

use crate::pieces::{IMPORT_PIECE_BYTES, Pieces};
use crate::{ChangeHash, CrdtError, Document, DocumentKind, kind};

mod merge;
mod model;
mod parse;
mod rich;
#[cfg(test)]
mod tests;
mod write;

use merge::Step;
pub use model::{Block, BlockKind, Container, HARD_BREAK, Image, Inline, Link, Marks, NESTING_MAX};
use model::{Head, Token, Tokens};
pub use rich::MarkKind;

/// The longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 1_024;
/// The longest text that one [`Note::splice`] inserts, in bytes. What is longer goes in by [`Note::import_markdown`].
pub const SPLICE_BYTES_MAX: usize = 1024 * 1024;
/// The longest Markdown that is taken in, in bytes.
pub const MARKDOWN_BYTES_MAX: usize = 16 * 1024 * 1024;

const TITLE: &str = "title";
const TEXT: &str = "text";
/// What an operation costs in a change besides the text in it, in bytes, roughly.
const OPERATION_BYTES: usize = 8;

/// A note, to read and to edit.
///
/// Edits gather until [`Document::commit`], but for [`import_markdown`](Self::import_markdown) and
/// [`edit_markdown`](Self::edit_markdown): these may be large, so they commit as they go and return the changes.
///
/// ```
/// use clave_crdt::{Actor, Document, DocumentKind};
///
/// # fn main() -> Result<(), clave_crdt::CrdtError> {
/// let mut alice = Document::new(DocumentKind::Note, Actor::new([1; 32], [0; 4], 0));
/// let mut bob = Document::new(DocumentKind::Note, Actor::new([2; 32], [0; 4], 0));
/// bob.apply(&alice.note()?.import_markdown("# 会议\n\n- [ ] buy tea\n", 0)?)?;
///
/// // Both edit at once, Bob in his editor.
/// let opened = bob.heads();
/// alice.note()?.splice(1, 0, "周一")?;
/// bob.apply(&[alice.commit(0).expect("there was an edit")])?;
/// bob.note()?.edit_markdown(&opened, "# 会议\n\n- [x] buy *green* tea\n", 0)?;
/// assert_eq!(bob.note()?.markdown()?, "# 周一会议\n\n- [x] buy *green* tea\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Note<'a> {
    document: &'a mut Document,
    text: ObjId,
}

/// A place in a text that stays with what it stands at, whatever others do. Its text form can be stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor(automerge::Cursor);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = CrdtError;

    fn from_str(text: &str) -> Result<Self, CrdtError> {
        const INVALID: CrdtError = CrdtError::Invalid("this is not a cursor; take one from the note");
        if text.is_empty() || !text.is_ascii() {
            return Err(INVALID);
        }
        // Automerge reads any number, and panics on one that is too great for an operation's when it looks for that.
        let of_operation = text.strip_prefix('-').unwrap_or(text).split_once('@');
        if of_operation.is_some_and(|(number, _)| number.parse::<u32>().is_err()) {
            return Err(INVALID);
        }
        automerge::Cursor::try_from(text).map(Self).map_err(|_| INVALID)
    }
}

impl Document {
    /// This document as a note.
    ///
    /// # Errors
    ///
    /// [`CrdtError::WrongKind`].
    pub fn note(&mut self) -> Result<Note<'_>, CrdtError> {
        self.expect_kind(DocumentKind::Note)?;
        Ok(Note { document: self, text: kind::genesis_object(DocumentKind::Note, TEXT) })
    }
}

impl Note<'_> {
    /// The title; empty when nobody gave one.
    #[must_use]
    pub fn title(&self) -> String {
        match self.document.automerge().get(ROOT, TITLE) {
            Ok(Some((value, _))) => value.as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }

    /// Gives it a title. Of two given at once, one stands.
    ///
    /// # Errors
    ///
    /// [`CrdtError::TooLarge`] beyond [`TITLE_BYTES_MAX`].
    pub fn set_title(&mut self, title: &str) -> Result<(), CrdtError> {
        bounded("the title", title, TITLE_BYTES_MAX)?;
        if self.title() != title {
            self.document.automerge_mut().put(ROOT, TITLE, title).map_err(broken)?;
        }
        Ok(())
    }

    /// The text as it is, block markers and images as U+FFFC. Positions are places in it.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Internal`].
    pub fn text(&self) -> Result<String, CrdtError> {
        self.document.automerge().text(&self.text).map_err(broken)
    }

    /// The length of the text in code points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.document.automerge().length(&self.text)
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text as blocks.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Internal`].
    pub fn blocks(&self) -> Result<Vec<Block>, CrdtError> {
        Ok(self.tokens(None)?.blocks())
    }

    /// The text as Markdown (CommonMark with task lists and strikethrough).
    ///
    /// # Errors
    ///
    /// [`CrdtError::Internal`].
    pub fn markdown(&self) -> Result<String, CrdtError> {
        Ok(write::write(&self.blocks()?))
    }

    /// The text as Markdown, as it was at some heads.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if the heads are not in the document.
    pub fn markdown_at(&self, heads: &[ChangeHash]) -> Result<String, CrdtError> {
        self.expect_heads(heads)?;
        Ok(write::write(&self.tokens(Some(heads))?.blocks()))
    }

    /// Deletes some code points at a position and inserts others.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text, [`CrdtError::TooLarge`] beyond [`SPLICE_BYTES_MAX`].
    pub fn splice(&mut self, position: usize, delete: usize, insert: &str) -> Result<(), CrdtError> {
        bounded("the text", insert, SPLICE_BYTES_MAX)?;
        if position.checked_add(delete).is_none_or(|end| end > self.len()) {
            return Err(CrdtError::Invalid("this position is beyond the end of the text; read the text again"));
        }
        let delete = isize::try_from(delete).expect("a text in memory is shorter");
        self.document.automerge_mut().splice_text(&self.text, position, delete, insert).map_err(broken)
    }

    /// Several splices, each after the others: position, how many code points to delete, what to insert.
    ///
    /// # Errors
    ///
    /// As [`splice`](Self::splice); then those before the one that failed were done.
    pub fn splice_many(&mut self, splices: &[(usize, usize, &str)]) -> Result<(), CrdtError> {
        splices.iter().try_for_each(|(position, delete, insert)| self.splice(*position, *delete, insert))
    }

    /// As [`splice_many`](Self::splice_many), on the text as it was at some heads: what an editor does whose view lags
    /// behind. The change is merged at once; it builds on these heads alone, which have to include all that this author
    /// wrote before. Returns its bytes for others to [`Document::apply`], and the heads of the version it makes.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits, [`CrdtError::NotFound`] if the heads are not in the document,
    /// [`CrdtError::Invalid`] if they leave out what this author wrote; and as [`splice`](Self::splice). Then nothing
    /// was done.
    pub fn splice_at(
        &mut self,
        heads: &[ChangeHash],
        splices: &[(usize, usize, &str)],
        now_ms: u64,
    ) -> Result<(Option<Vec<u8>>, Vec<ChangeHash>), CrdtError> {
        let mut made = heads.to_vec();
        let change = self.document.edit_at(heads, now_ms, |earlier| {
            earlier.note()?.splice_many(splices)?;
            Ok(())
        })?;
        if let Some(change) = &change {
            made = vec![crate::inspect_change(change)?.hash];
        }
        Ok((change, made))
    }

    /// Begins a block at a position: what follows, up to the next block, is its text.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text.
    pub fn insert_block(&mut self, position: usize, kind: BlockKind, parents: &[Container]) -> Result<(), CrdtError> {
        self.expect_range(&(position..position))?;
        let head = Head { kind, parents: parents.iter().take(NESTING_MAX).cloned().collect() };
        let token = Token::Block(Box::new(head));
        rich::insert(self.document.automerge_mut(), &self.text, position, &token).map_err(broken)
    }

    /// Makes another kind of block of the one whose marker stands at a position (ticks off a task, say).
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if there is no block marker.
    pub fn set_block(&mut self, position: usize, kind: BlockKind, parents: &[Container]) -> Result<(), CrdtError> {
        let is_block = |note: &Self| note.tokens(None).map(|t| matches!(t.tokens.get(position), Some(Token::Block(_))));
        if !is_block(self)? {
            return Err(CrdtError::NotFound("block"));
        }
        let head = Head { kind, parents: parents.iter().take(NESTING_MAX).cloned().collect() };
        rich::update(self.document.automerge_mut(), &self.text, position, &head).map_err(broken)
    }

    /// Puts a mark on a range. For a link, see [`link`](Self::link).
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text or for a link.
    pub fn mark(&mut self, range: Range<usize>, kind: MarkKind) -> Result<(), CrdtError> {
        if kind == MarkKind::Link {
            return Err(CrdtError::Invalid("a link needs an address; say where it leads"));
        }
        self.set_mark(range, kind, Some(true.into()))
    }

    /// Makes a range a link.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text.
    pub fn link(&mut self, range: Range<usize>, link: Link) -> Result<(), CrdtError> {
        let marks = Marks { link: Some(link), ..Marks::default() };
        self.set_mark(range, MarkKind::Link, MarkKind::Link.value(&marks))
    }

    /// Takes a mark off a range.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text.
    pub fn unmark(&mut self, range: Range<usize>, kind: MarkKind) -> Result<(), CrdtError> {
        self.set_mark(range, kind, None)
    }

    fn set_mark(
        &mut self,
        range: Range<usize>,
        kind: MarkKind,
        value: Option<automerge::ScalarValue>,
    ) -> Result<(), CrdtError> {
        self.expect_range(&range)?;
        if range.is_empty() {
            return Ok(());
        }
        rich::set_mark(self.document.automerge_mut(), &self.text, kind, value, range.start, range.end).map_err(broken)
    }

    /// A cursor at a position. At the end of the text it stays at the end.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] beyond the end of the text.
    pub fn cursor(&self, position: usize) -> Result<Cursor, CrdtError> {
        self.expect_range(&(position..position))?;
        let position = if position == self.len() { CursorPosition::End } else { CursorPosition::Index(position) };
        self.document.automerge().get_cursor(&self.text, position, None).map(Cursor).map_err(broken)
    }

    /// Where a cursor is now. If what it stood at was deleted, it is at what came next.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if it belongs to another note or to a change that has not arrived.
    pub fn position(&self, cursor: &Cursor) -> Result<usize, CrdtError> {
        let position = self.document.automerge().get_cursor_position(&self.text, &cursor.0, None);
        position.map_err(|_| CrdtError::NotFound("place in the note"))
    }

    /// Appends Markdown to the text. A large one is cut into several changes of about [`IMPORT_PIECE_BYTES`]. Edits
    /// that were not committed become a change of their own.
    ///
    /// # Errors
    ///
    /// [`CrdtError::TooLarge`] beyond [`MARKDOWN_BYTES_MAX`].
    pub fn import_markdown(&mut self, markdown: &str, now_ms: u64) -> Result<Vec<Vec<u8>>, CrdtError> {
        bounded("the Markdown", markdown, MARKDOWN_BYTES_MAX)?;
        let edited = Tokens::of(&parse::parse(markdown));
        let mut pieces = Pieces::new(self.document, now_ms);
        let end = pieces.document.automerge().length(&self.text);
        let kept = std::iter::repeat_n(merge::Element { edited: None, shown: None }, end);
        let added = (0..edited.len()).map(|at| merge::Element { edited: Some(at), shown: None });
        let plan = merge::Plan {
            steps: vec![Step::Insert { at: end, edited: 0..edited.len() }],
            after: kept.chain(added).collect(),
        };
        carry_out(&mut pieces, &self.text, &plan, &Tokens::default(), &edited)?;
        Ok(pieces.finish())
    }

    /// Takes in the whole text as it came out of an editor that was opened with
    /// [`markdown_at`](Self::markdown_at)`(opened_at)`: what was changed there is changed here, character by character, and
    /// what others did meanwhile stays. Returns the changes, as [`import_markdown`](Self::import_markdown) does.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if the heads are not in the document, [`CrdtError::TooLarge`] beyond
    /// [`MARKDOWN_BYTES_MAX`].
    pub fn edit_markdown(
        &mut self,
        opened_at: &[ChangeHash],
        markdown: &str,
        now_ms: u64,
    ) -> Result<Vec<Vec<u8>>, CrdtError> {
        bounded("the Markdown", markdown, MARKDOWN_BYTES_MAX)?;
        self.expect_heads(opened_at)?;
        let edited = Tokens::of(&parse::parse(markdown));
        let opened = self.tokens(Some(opened_at))?;
        let shown = Tokens::of(&parse::parse(&write::write(&opened.blocks())));

        let mut pieces = Pieces::new(self.document, now_ms);
        let len = pieces.document.automerge().length(&self.text);
        let origins: Vec<Option<usize>> = if is_same(opened_at, &pieces.document.heads()) {
            (0..len).map(Some).collect()
        } else {
            rich::origins(pieces.document.automerge_mut(), &self.text, opened_at, opened.len()).map_err(broken)?
        };
        let origins = if origins.len() == len {
            origins
        } else {
            // Automerge reports nothing of a text that somebody cut off from the root. Then likeness must do.
            let now = rich::read(pieces.document.automerge(), &self.text, None).map_err(broken)?;
            merge::align(&opened.tokens, &now.tokens)
        };
        let plan = merge::plan(&opened, &shown, &edited, &origins);
        carry_out(&mut pieces, &self.text, &plan, &shown, &edited)?;
        Ok(pieces.finish())
    }

    fn tokens(&self, at: Option<&[ChangeHash]>) -> Result<Tokens, CrdtError> {
        rich::read(self.document.automerge(), &self.text, at).map_err(broken)
    }

    fn expect_heads(&self, heads: &[ChangeHash]) -> Result<(), CrdtError> {
        if !heads.is_empty() && heads.iter().all(|hash| self.document.contains(hash)) {
            Ok(())
        } else {
            Err(CrdtError::NotFound("version of the note"))
        }
    }

    fn expect_range(&self, range: &Range<usize>) -> Result<(), CrdtError> {
        if range.start <= range.end && range.end <= self.len() {
            Ok(())
        } else {
            Err(CrdtError::Invalid("this position is beyond the end of the text; read the text again"))
        }
    }
}

fn is_same(a: &[ChangeHash], b: &[ChangeHash]) -> bool {
    let mut sorted = a.to_vec();
    sorted.sort_unstable();
    sorted == b
}

fn bounded(what: &'static str, text: &str, limit: usize) -> Result<(), CrdtError> {
    if text.len() <= limit { Ok(()) } else { Err(CrdtError::TooLarge { what, bytes: text.len(), limit }) }
}

fn broken(_: AutomergeError) -> CrdtError {
    CrdtError::Internal("the text could not be read or changed")
}

fn carry_out(
    pieces: &mut Pieces<'_>,
    text: &ObjId,
    plan: &merge::Plan,
    shown: &Tokens,
    edited: &Tokens,
) -> Result<(), CrdtError> {
    // From the end, so that what is done does not move what is still to do.
    for step in plan.steps.iter().rev() {
        match step {
            Step::Insert { at, edited: range } => insert(pieces, text, *at, &edited.tokens[range.clone()])?,
            Step::Delete(range) => {
                for end in (range.start..range.end).rev().step_by(IMPORT_PIECE_BYTES / OPERATION_BYTES) {
                    let start = (end + 1).saturating_sub(IMPORT_PIECE_BYTES / OPERATION_BYTES).max(range.start);
                    let len = isize::try_from(end + 1 - start).expect("a text in memory is shorter");
                    pieces.document.automerge_mut().splice_text(text, start, len, "").map_err(broken)?;
                    pieces.spent((end + 1 - start) * OPERATION_BYTES);
                }
            }
            Step::Update { at, head } => {
                rich::update(pieces.document.automerge_mut(), text, *at, head).map_err(broken)?;
                pieces.spent(4 * OPERATION_BYTES);
            }
        }
    }
    set_marks(pieces, text, plan, shown, edited)
}

fn insert(pieces: &mut Pieces<'_>, text: &ObjId, at: usize, tokens: &[Token]) -> Result<(), CrdtError> {
    let mut at = at;
    for run in tokens.chunk_by(|a, b| matches!((a, b), (Token::Char(_), Token::Char(_)))) {
        if !matches!(run[0], Token::Char(_)) {
            rich::insert(pieces.document.automerge_mut(), text, at, &run[0]).map_err(broken)?;
            pieces.spent(8 * OPERATION_BYTES);
            at += 1;
            continue;
        }
        for piece in run.chunks(IMPORT_PIECE_BYTES / 4) {
            let chars: String =
                piece.iter().filter_map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect();
            pieces.document.automerge_mut().splice_text(text, at, 0, &chars).map_err(broken)?;
            pieces.spent(chars.len());
            at += piece.len();
        }
    }
    Ok(())
}

/// Sets and removes marks where the person did, and on what they inserted.
fn set_marks(
    pieces: &mut Pieces<'_>,
    text: &ObjId,
    plan: &merge::Plan,
    shown: &Tokens,
    edited: &Tokens,
) -> Result<(), CrdtError> {
    let now = rich::read(pieces.document.automerge(), text, None).map_err(broken)?;
    if now.len() != plan.after.len() {
        return Err(CrdtError::Internal("an edit that did not turn out as planned"));
    }
    for kind in MarkKind::ALL {
        let mut stretch: Option<(Range<usize>, Option<automerge::ScalarValue>)> = None;
        let mut stretches = Vec::new();
        for (at, element) in plan.after.iter().enumerate() {
            let Some(edited_at) = element.edited else { continue };
            if let Token::Block(_) = edited.tokens[edited_at] {
                stretches.extend(stretch.take());
                continue;
            }
            let wanted = kind.value(edited.marks(edited_at));
            let is_touched = element.shown.is_none_or(|shown_at| kind.value(shown.marks(shown_at)) != wanted);
            if !is_touched || kind.value(now.marks(at)) == wanted {
                stretches.extend(stretch.take());
                continue;
            }
            match &mut stretch {
                Some((range, value)) if *value == wanted => range.end = at + 1,
                _ => stretches.extend(stretch.replace((at..at + 1, wanted))),
            }
        }
        stretches.extend(stretch);
        for (range, value) in stretches {
            let doc = pieces.document.automerge_mut();
            rich::set_mark(doc, text, kind, value, range.start, range.end).map_err(broken)?;
            pieces.spent(4 * OPERATION_BYTES);
        }
    }
    Ok(())
}
