//! Tokens to and from Automerge's rich text, in the conventions of Automerge's own editors (the basic schema of
//! automerge-prosemirror): a block marker is a map with `type`, `parents`, `attrs` and `isEmbed`; marks have the names
//! `strong`, `em`, `code` and `link`. Besides, this schema has the mark `strike`, task items (`attrs.checked`), the
//! start of a list (`attrs.start`), the language of a code block (`attrs.language`), rules and HTML.

use automerge::hydrate::{self, Map};
use automerge::iter::Span;
use automerge::marks::{ExpandMark, Mark, MarkSet};
use automerge::transaction::Transactable;
use automerge::{AutoCommit, AutomergeError, ObjId, ObjType, PatchAction, ReadDoc, ScalarValue, Value};

use super::model::{BlockKind, Container, Head, Image, Link, Marks, NESTING_MAX, Token, Tokens};
use crate::ChangeHash;

const PARAGRAPH: &str = "paragraph";
const HEADING: &str = "heading";
const UNORDERED_ITEM: &str = "unordered-list-item";
const ORDERED_ITEM: &str = "ordered-list-item";
const CODE_BLOCK: &str = "code-block";
const QUOTE: &str = "blockquote";
const RULE: &str = "horizontal-rule";
const HTML: &str = "html";
const IMAGE: &str = "image";

/// A mark by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// Bold.
    Strong,
    /// Italic.
    Em,
    /// Struck out.
    Strike,
    /// Code.
    Code,
    /// Raw HTML.
    Html,
    /// A link.
    Link,
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Strong, Self::Em, Self::Strike, Self::Code, Self::Html, Self::Link];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Em => "em",
            Self::Strike => "strike",
            Self::Code => "code",
            Self::Html => "html",
            Self::Link => "link",
        }
    }

    /// Whether what is typed at its end is marked too: emphasis grows, a link does not.
    pub(super) fn expand(self) -> ExpandMark {
        match self {
            Self::Strong | Self::Em | Self::Strike => ExpandMark::After,
            Self::Code | Self::Html | Self::Link => ExpandMark::None,
        }
    }

    /// The Automerge value that says this mark of these.
    pub(super) fn value(self, marks: &Marks) -> Option<ScalarValue> {
        let on = match self {
            Self::Strong => marks.strong,
            Self::Em => marks.em,
            Self::Strike => marks.strike,
            Self::Code => marks.code,
            Self::Html => marks.html,
            Self::Link => {
                let link = marks.link.as_ref()?;
                return Some(serde_json::to_string(link).expect("two strings are JSON").into());
            }
        };
        on.then(|| true.into())
    }
}

fn marks_of(set: &MarkSet) -> Marks {
    let mut marks = Marks::default();
    for (name, value) in set.iter() {
        let on = !matches!(value, ScalarValue::Null | ScalarValue::Boolean(false));
        match name {
            "strong" => marks.strong = on,
            "em" => marks.em = on,
            "strike" => marks.strike = on,
            "code" => marks.code = on,
            "html" => marks.html = on,
            // Plain addresses were once the custom.
            "link" => {
                marks.link = value.as_str().filter(|text| !text.is_empty()).map(|text| {
                    serde_json::from_str(text).unwrap_or_else(|_| Link { href: text.to_owned(), title: String::new() })
                })
            }
            _ => {}
        }
    }
    marks
}

/// Reads a text, as it is or as it was at some heads. One token is one position.
pub(super) fn read(doc: &AutoCommit, text: &ObjId, at: Option<&[ChangeHash]>) -> Result<Tokens, AutomergeError> {
    let heads = at.map(automerge_heads);
    let spans = match &heads {
        None => doc.spans(text)?,
        Some(heads) => doc.spans_at(text, heads)?,
    };
    let mut tokens = Tokens::default();
    for span in spans {
        match span {
            Span::Text { text, marks } => {
                tokens.push_text(&text, &marks.map(|set| marks_of(&set)).unwrap_or_default());
            }
            Span::Block(map) => {
                let token = block_token(&map);
                let marks = match token {
                    Token::Image(_) => marks_of(&doc.get_marks(text, tokens.len(), heads.as_deref())?),
                    _ => Marks::default(),
                };
                tokens.push(token, &marks);
            }
        }
    }
    Ok(tokens)
}

/// What stands at each position now: which position it had at some earlier heads, or that it came since. Commits.
pub(super) fn origins(
    doc: &mut AutoCommit,
    text: &ObjId,
    opened_at: &[ChangeHash],
    opened_len: usize,
) -> Result<Vec<Option<usize>>, AutomergeError> {
    let mut now: Vec<Option<usize>> = (0..opened_len).map(Some).collect();
    let heads = doc.get_heads();
    for patch in doc.diff_obj(text, &automerge_heads(opened_at), &heads, false)? {
        let came = |now: &mut Vec<_>, index: usize, len: usize| {
            let index = index.min(now.len());
            now.splice(index..index, std::iter::repeat_n(None, len));
        };
        match patch.action {
            _ if patch.obj != *text => {}
            PatchAction::SpliceText { index, value, .. } => came(&mut now, index, value.make_string().chars().count()),
            PatchAction::Insert { index, values } => came(&mut now, index, values.len()),
            PatchAction::DeleteSeq { index, length } => {
                let start = index.min(now.len());
                now.drain(start..start.saturating_add(length).min(now.len()));
            }
            _ => {}
        }
    }
    Ok(now)
}

pub(super) fn automerge_heads(heads: &[ChangeHash]) -> Vec<automerge::ChangeHash> {
    heads.iter().copied().map(automerge::ChangeHash).collect()
}

fn block_token(map: &Map) -> Token {
    let kind = string(map.get("type")).unwrap_or_default();
    let attrs = match map.get("attrs") {
        Some(hydrate::Value::Map(attrs)) => Some(attrs),
        _ => None,
    };
    let attr = |key| attrs.and_then(|attrs| attrs.get(key));
    if kind == IMAGE {
        let text = |key| string(attr(key)).unwrap_or_default();
        return Token::Image(Box::new(Image { src: text("src"), alt: text("alt"), title: text("title") }));
    }
    let mut parents = match map.get("parents") {
        Some(hydrate::Value::List(list)) => list.iter().filter_map(|item| string(Some(&item.value))).collect(),
        _ => Vec::new(),
    };
    let checked = || match attr("checked") {
        Some(hydrate::Value::Scalar(ScalarValue::Boolean(checked))) => Some(*checked),
        _ => None,
    };
    let number = |key| match attr(key) {
        Some(hydrate::Value::Scalar(value)) => value.as_i64(),
        _ => None,
    };
    let start = || number("start").and_then(|n| u32::try_from(n).ok());
    let kind = match kind.as_str() {
        PARAGRAPH => BlockKind::Paragraph,
        HEADING => BlockKind::Heading { level: number("level").unwrap_or(1).clamp(1, 6) as u8 },
        UNORDERED_ITEM => BlockKind::Item { ordered: false, start: None, checked: checked() },
        ORDERED_ITEM => BlockKind::Item { ordered: true, start: start(), checked: checked() },
        CODE_BLOCK => BlockKind::CodeBlock { language: string(attr("language")).unwrap_or_default() },
        RULE => BlockKind::Rule,
        HTML => BlockKind::Html,
        // Other tools mark the quotation and leave its first paragraph unsaid.
        QUOTE => {
            parents.push(QUOTE.to_owned());
            BlockKind::Paragraph
        }
        _ => BlockKind::Other { name: kind },
    };
    let parents = parents.into_iter().take(NESTING_MAX).map(container).collect();
    Token::Block(Box::new(Head { kind, parents }))
}

fn container(name: String) -> Container {
    match name.as_str() {
        UNORDERED_ITEM => Container::UnorderedItem,
        ORDERED_ITEM => Container::OrderedItem,
        QUOTE => Container::Quote,
        _ => Container::Other(name),
    }
}

fn container_name(container: &Container) -> &str {
    match container {
        Container::UnorderedItem => UNORDERED_ITEM,
        Container::OrderedItem => ORDERED_ITEM,
        Container::Quote => QUOTE,
        Container::Other(name) => name,
    }
}

fn string(value: Option<&hydrate::Value>) -> Option<String> {
    match value? {
        hydrate::Value::Scalar(ScalarValue::Str(text)) => Some(text.to_string()),
        hydrate::Value::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Inserts a block marker or an image.
pub(super) fn insert(doc: &mut AutoCommit, text: &ObjId, at: usize, token: &Token) -> Result<(), AutomergeError> {
    let (name, parents, embed): (_, &[Container], _) = match token {
        Token::Block(head) => (type_name(&head.kind), &head.parents, false),
        Token::Image(_) => (IMAGE, &[], true),
        Token::Char(_) => return Ok(()),
    };
    let block = doc.split_block(text, at)?;
    doc.put(&block, "type", name)?;
    put_parents(doc, &block, parents)?;
    let attrs = doc.put_object(&block, "attrs", ObjType::Map)?;
    doc.put(&block, "isEmbed", embed)?;
    for (key, value) in attributes(token) {
        if let Some(value) = value {
            doc.put(&attrs, key, value)?;
        }
    }
    Ok(())
}

/// Makes the block marker at a position say something else. What this schema does not know in it stays.
pub(super) fn update(doc: &mut AutoCommit, text: &ObjId, at: usize, head: &Head) -> Result<(), AutomergeError> {
    let Some((Value::Object(ObjType::Map), block)) = doc.get(text, at)? else { return Ok(()) };
    let wanted = Token::Block(Box::new(head.clone()));
    let hydrate::Value::Map(now) = doc.hydrate(&block, None)? else { return Ok(()) };
    let Token::Block(old) = block_token(&now) else { return Ok(()) };
    doc.put(&block, "type", type_name(&head.kind))?;
    if old.parents != head.parents {
        put_parents(doc, &block, &head.parents)?;
    }
    let attrs = match doc.get(&block, "attrs")? {
        Some((Value::Object(ObjType::Map), attrs)) => attrs,
        _ => doc.put_object(&block, "attrs", ObjType::Map)?,
    };
    for key in ["level", "checked", "start", "language"] {
        let value = attributes(&wanted).into_iter().find(|(name, _)| *name == key).and_then(|(_, value)| value);
        match (value, doc.get(&attrs, key)?) {
            (Some(value), Some((Value::Scalar(now), _))) if *now == value => {}
            (Some(value), _) => doc.put(&attrs, key, value)?,
            (None, Some(_)) => doc.delete(&attrs, key)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn put_parents(doc: &mut AutoCommit, block: &ObjId, parents: &[Container]) -> Result<(), AutomergeError> {
    let list = doc.put_object(block, "parents", ObjType::List)?;
    for (index, parent) in parents.iter().enumerate() {
        doc.insert(&list, index, container_name(parent))?;
    }
    Ok(())
}

fn type_name(kind: &BlockKind) -> &str {
    match kind {
        BlockKind::Paragraph => PARAGRAPH,
        BlockKind::Heading { .. } => HEADING,
        BlockKind::Item { ordered: false, .. } => UNORDERED_ITEM,
        BlockKind::Item { ordered: true, .. } => ORDERED_ITEM,
        BlockKind::CodeBlock { .. } => CODE_BLOCK,
        BlockKind::Rule => RULE,
        BlockKind::Html => HTML,
        BlockKind::Other { name } => name,
    }
}

fn attributes(token: &Token) -> Vec<(&'static str, Option<ScalarValue>)> {
    let some = |text: &str| (!text.is_empty()).then(|| text.into());
    match token {
        Token::Char(_) => Vec::new(),
        Token::Image(image) => {
            vec![("src", Some(image.src.as_str().into())), ("alt", some(&image.alt)), ("title", some(&image.title))]
        }
        Token::Block(head) => match &head.kind {
            BlockKind::Heading { level } => vec![("level", Some(ScalarValue::Int(i64::from(*level))))],
            BlockKind::Item { start, checked, .. } => vec![
                ("start", start.map(|start| ScalarValue::Int(i64::from(start)))),
                ("checked", checked.map(ScalarValue::Boolean)),
            ],
            BlockKind::CodeBlock { language } => vec![("language", some(language))],
            _ => Vec::new(),
        },
    }
}

/// Puts a mark on a range, or takes it off.
pub(super) fn set_mark(
    doc: &mut AutoCommit,
    text: &ObjId,
    kind: MarkKind,
    value: Option<ScalarValue>,
    start: usize,
    end: usize,
) -> Result<(), AutomergeError> {
    match value {
        Some(value) => doc.mark(text, Mark::new(kind.name().to_owned(), value, start, end), kind.expand()),
        None => doc.unmark(text, kind.name(), start, end, kind.expand()),
    }
}
