//! Blocks to Markdown.
//!
//! CommonMark has many places where a text would be read as something else, and some combinations of marks (`**注意：**请`)
//! that its delimiters cannot say at all. So the writer checks itself: each text is written as plainly as possible, read
//! back, and written with more care (escapes, then HTML tags) until it reads as it should.

use super::model::{Block, BlockKind, Container, HARD_BREAK, Inline, Marks, Token};
use super::parse::ends_by_itself;

mod inline;

use inline::{Emphasis, careful};

/// Writes Markdown. What Markdown cannot say (empty paragraphs, spaces around a line) is left out.
pub(super) fn write(blocks: &[Block]) -> String {
    let blocks = presentable(blocks);
    let mut rest = blocks.as_slice();
    let lines = lines_of(&tree(&mut rest, 0));
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

type Unit = (Token, Marks);

/// The blocks as Markdown can show them: without empty paragraphs and edge spaces, paragraphs cut at empty lines.
pub(super) fn presentable(blocks: &[Block]) -> Vec<Block> {
    let mut shown = Vec::with_capacity(blocks.len());
    for block in blocks {
        match &block.kind {
            BlockKind::CodeBlock { .. } | BlockKind::Rule => shown.push(block.clone()),
            BlockKind::Html if ends_by_itself(&block.text()) => shown.push(block.clone()),
            BlockKind::Html => {
                let kind = BlockKind::CodeBlock { language: "html".to_owned() };
                shown.push(Block { kind, ..block.clone() });
            }
            BlockKind::Paragraph | BlockKind::Other { .. } => {
                for units in paragraphs(&block.units()) {
                    shown.push(with_units(BlockKind::Paragraph, &block.parents, &units));
                }
            }
            BlockKind::Heading { .. } => {
                let flat: Vec<Unit> = block.units().into_iter().map(on_one_line).collect();
                shown.push(with_units(block.kind.clone(), &block.parents, &trim(&flat)));
            }
            BlockKind::Item { ordered, .. } => {
                let mut texts = paragraphs(&block.units()).into_iter();
                shown.push(with_units(block.kind.clone(), &block.parents, &texts.next().unwrap_or_default()));
                let mut inside = block.parents.clone();
                inside.push(if *ordered { Container::OrderedItem } else { Container::UnorderedItem });
                shown.extend(texts.map(|units| with_units(BlockKind::Paragraph, &inside, &units)));
            }
        }
    }
    shown
}

fn with_units(kind: BlockKind, parents: &[Container], units: &[Unit]) -> Block {
    let mut block = Block { kind, parents: parents.to_vec(), content: Vec::new() };
    for (token, marks) in tidy(units) {
        match token {
            Token::Char(c) => block.push_text(c.encode_utf8(&mut [0; 4]), &marks),
            Token::Image(image) => block.content.push(Inline::Image { image: *image, marks }),
            Token::Block(_) => {}
        }
    }
    block
}

fn on_one_line((token, marks): Unit) -> Unit {
    match token {
        Token::Char('\n' | '\r' | HARD_BREAK) => (Token::Char(' '), marks),
        token => (token, marks),
    }
}

fn is_break(unit: &Unit) -> bool {
    matches!(unit.0, Token::Char('\n' | '\r' | HARD_BREAK))
}

fn is_space(unit: &Unit) -> bool {
    matches!(unit.0, Token::Char(' ' | '\t')) && !unit.1.code
}

/// Cuts units at empty lines, and trims every line.
fn paragraphs(units: &[Unit]) -> Vec<Vec<Unit>> {
    let mut all = Vec::new();
    let mut current: Vec<Unit> = Vec::new();
    for line in units.split_inclusive(is_break) {
        let (text, end) = match line.split_last() {
            Some((last, text)) if is_break(last) => (text, Some(last.clone())),
            _ => (line, None),
        };
        let text = trim(text);
        if text.is_empty() {
            all.push(std::mem::take(&mut current));
        } else {
            current.extend(text);
            current.extend(end);
        }
    }
    all.push(current);
    for paragraph in &mut all {
        while paragraph.last().is_some_and(is_break) {
            paragraph.pop();
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

fn trim(units: &[Unit]) -> Vec<Unit> {
    let start = units.iter().position(|unit| !is_space(unit)).unwrap_or(units.len());
    let end = units.iter().rposition(|unit| !is_space(unit)).map_or(start, |last| last + 1);
    units[start..end].to_vec()
}

/// Takes emphasis off the white space at its edges: it cannot be seen there, and delimiters cannot stand there.
fn tidy(units: &[Unit]) -> Vec<Unit> {
    let mut units = units.to_vec();
    for emphasis in Emphasis::ALL {
        for run in units.chunk_by_mut(|a, b| emphasis.is_on(&a.1) == emphasis.is_on(&b.1)) {
            let blank = |unit: &&mut Unit| matches!(unit.0, Token::Char(c) if c.is_whitespace()) && !unit.1.code;
            run.iter_mut().take_while(blank).for_each(|unit| emphasis.clear(&mut unit.1));
            run.iter_mut().rev().take_while(blank).for_each(|unit| emphasis.clear(&mut unit.1));
        }
    }
    units
}

enum Node<'a> {
    Leaf(&'a Block),
    Quote(Vec<Node<'a>>),
    List { ordered: bool, start: u32, items: Vec<(&'a Block, Vec<Node<'a>>)> },
}

/// Takes the blocks that stand at this depth or deeper off the front, as a tree.
fn tree<'a>(rest: &mut &'a [Block], depth: usize) -> Vec<Node<'a>> {
    let mut nodes: Vec<Node<'a>> = Vec::new();
    let outer: &[Container] = rest.first().map_or(&[], |block| &block.parents[..depth]);
    while let Some((block, after)) = rest.split_first() {
        if block.parents.get(..depth) != Some(outer) {
            break;
        }
        let inner = block.parents.get(depth);
        let ordered = matches!(inner, Some(Container::OrderedItem))
            || inner.is_none() && matches!(block.kind, BlockKind::Item { ordered: true, .. });
        match (inner, &block.kind) {
            (Some(Container::Quote | Container::Other(_)), _) => nodes.push(Node::Quote(tree(rest, depth + 1))),
            (Some(_), _) => {
                if let Some(Node::List { ordered: same, items, .. }) = nodes.last_mut()
                    && *same == ordered
                    && let Some((_, children)) = items.last_mut()
                {
                    children.extend(tree(rest, depth + 1));
                } else {
                    // Inside an item that is not there: the block stands for the item.
                    *rest = after;
                    nodes.push(Node::List { ordered, start: 1, items: vec![(block, Vec::new())] });
                }
            }
            (None, BlockKind::Item { start, .. }) => {
                *rest = after;
                match nodes.last_mut() {
                    Some(Node::List { ordered: same, items, .. }) if *same == ordered => {
                        items.push((block, Vec::new()));
                    }
                    _ => {
                        let start = start.unwrap_or(1).min(900_000_000);
                        nodes.push(Node::List { ordered, start, items: vec![(block, Vec::new())] });
                    }
                }
            }
            (None, _) => {
                *rest = after;
                nodes.push(Node::Leaf(block));
            }
        }
    }
    nodes
}

fn lines_of(nodes: &[Node<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for node in nodes {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        match node {
            Node::Leaf(block) => lines.extend(leaf(block)),
            Node::Quote(inside) => lines.extend(lines_of(inside).iter().map(|line| prefixed("> ", line))),
            Node::List { ordered, start, items } => lines.extend(list(*ordered, *start, items)),
        }
    }
    lines
}

fn prefixed(prefix: &str, line: &str) -> String {
    if line.is_empty() { prefix.trim_end().to_owned() } else { format!("{prefix}{line}") }
}

/// An item that has something besides its text and a list that can stand right under it.
fn is_loose(children: &[Node<'_>]) -> bool {
    match children {
        [] => false,
        [Node::List { ordered, start, items }] => {
            let clings = items.first().is_some_and(|(block, _)| !block.content.is_empty());
            !clings || (*ordered && *start != 1) || items.iter().any(|(_, children)| is_loose(children))
        }
        _ => true,
    }
}

fn list(ordered: bool, start: u32, items: &[(&Block, Vec<Node<'_>>)]) -> Vec<String> {
    let loose = items.iter().any(|(_, children)| is_loose(children));
    let mut lines = Vec::new();
    for (number, (block, children)) in (start..).zip(items) {
        if loose && !lines.is_empty() {
            lines.push(String::new());
        }
        let marker = if ordered { format!("{number}. ") } else { "- ".to_owned() };
        let indent = " ".repeat(marker.len());
        let own = leaf(block);
        if !own.is_empty() && !children.is_empty() && is_loose(children) {
            lines.extend(hang(&marker, &indent, &own));
            lines.push(String::new());
            lines.extend(lines_of(children).iter().map(|line| prefixed(&indent, line)));
        } else {
            // An empty item's first child begins on the line below: an empty line would end the item.
            let own = if own.is_empty() { vec![String::new()] } else { own };
            lines.extend(hang(&marker, &indent, &own));
            lines.extend(lines_of(children).iter().map(|line| prefixed(&indent, line)));
        }
    }
    lines
}

fn hang(marker: &str, indent: &str, lines: &[String]) -> Vec<String> {
    let prefixes = std::iter::once(marker).chain(std::iter::repeat(indent));
    prefixes.zip(lines).map(|(prefix, line)| prefixed(prefix, line)).collect()
}

fn leaf(block: &Block) -> Vec<String> {
    let lead = match &block.kind {
        BlockKind::CodeBlock { language } => return fenced(language, &block.text()),
        BlockKind::Html => return block.text().lines().map(str::to_owned).collect(),
        BlockKind::Rule => return vec!["---".to_owned()],
        BlockKind::Heading { level } => "#".repeat(usize::from((*level).clamp(1, 6))) + " ",
        BlockKind::Item { checked: Some(done), .. } => if *done { "[x] " } else { "[ ] " }.to_owned(),
        BlockKind::Item { .. } | BlockKind::Paragraph | BlockKind::Other { .. } => String::new(),
    };
    if block.content.is_empty() && !lead.starts_with('[') {
        let lead = lead.trim_end();
        return if lead.is_empty() { Vec::new() } else { vec![lead.to_owned()] };
    }
    let text = careful(block, &lead);
    (lead + &text).split('\n').map(str::to_owned).collect()
}

fn fenced(language: &str, text: &str) -> Vec<String> {
    let mark = if language.contains('`') { '~' } else { '`' };
    let longest = text.split(|c| c != mark).map(str::len).max().unwrap_or(0);
    let fence = String::from(mark).repeat(longest.max(2) + 1);
    let language = language.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("{fence}{language}")];
    if !text.is_empty() {
        lines.extend(text.split('\n').map(str::to_owned));
    }
    lines.push(fence);
    lines
}
