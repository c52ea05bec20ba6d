//! Blocks to Markdown.
//!
//! CommonMark has many places where a text would be read as something else, and some combinations of marks (`**注意：**请`)
//! that its delimiters cannot say at all. So the writer checks itself: each text is written as plainly as possible, read
//! back, and written with more care (escapes, then HTML tags) until it reads as it should.

use super::model::{Block, BlockKind, Container, HARD_BREAK, Image, Inline, Link, Marks, Token};
use super::parse::parse;

/// Writes Markdown. What Markdown cannot say (empty paragraphs, spaces around a line) is left out.
pub(super) fn write(blocks: &[Block]) -> String {
    let blocks = presentable(blocks);
    let mut rest = blocks.as_slice();
    let lines = lines_of(&tree(&mut rest, 0));
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

type Unit = (Token, Marks);

/// The blocks as Markdown can show them: without empty paragraphs and edge spaces, paragraphs cut at empty lines.
fn presentable(blocks: &[Block]) -> Vec<Block> {
    let mut shown = Vec::with_capacity(blocks.len());
    for block in blocks {
        match &block.kind {
            BlockKind::CodeBlock { .. } | BlockKind::Html | BlockKind::Rule => shown.push(block.clone()),
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
    format!("{prefix}{line}").trim_end_matches(' ').to_owned()
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

/// How carefully to write.
#[derive(Clone, Copy)]
struct Care {
    escapes: Escapes,
    tags: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Some,
    All,
}

/// The text of a block in the plainest writing that reads back as itself.
fn careful(block: &Block, lead: &str) -> String {
    let units = block.units();
    if units.iter().all(is_harmless) {
        return inline(&units, Care { escapes: Escapes::None, tags: false });
    }
    let in_item = matches!(block.kind, BlockKind::Item { .. });
    let reads_back = |text: &str| {
        let source = format!("{lead}{text}");
        let source = if in_item { format!("- {}", source.replace('\n', "\n  ")) } else { source };
        matches!(parse(&source).as_slice(), [read] if is_alike(&block.kind, &read.kind) && read.units() == units)
    };
    let mut written = String::new();
    for tags in [false, true] {
        for escapes in [Escapes::None, Escapes::Some, Escapes::All] {
            written = inline(&units, Care { escapes, tags });
            if reads_back(&written) {
                return written;
            }
        }
    }
    written
}

fn is_alike(wanted: &BlockKind, read: &BlockKind) -> bool {
    match (wanted, read) {
        (BlockKind::Item { checked, .. }, BlockKind::Item { checked: found, .. }) => checked == found,
        (wanted, read) => wanted == read,
    }
}

/// Letters and spaces mean nothing else in Markdown. Digits do, at the start of a line.
fn is_harmless(unit: &Unit) -> bool {
    let Token::Char(c) = unit.0 else { return false };
    (c.is_alphabetic() || matches!(c, ' ' | ',' | '，' | '。' | '？' | '！' | '：' | '、')) && unit.1.is_empty()
}

/// Units as Markdown: links outermost, emphasis inside, code innermost.
fn inline(units: &[Unit], care: Care) -> String {
    let mut out = String::new();
    for group in units.chunk_by(|a, b| a.1.link == b.1.link) {
        match &group[0].1.link {
            None => emphasised(group, care, &mut out),
            Some(link) => linked(link, group, care, &mut out),
        }
    }
    out
}

fn linked(link: &Link, units: &[Unit], care: Care, out: &mut String) {
    let text: String =
        units.iter().filter_map(|unit| if let Token::Char(c) = unit.0 { Some(c) } else { None }).collect();
    let bare = units.iter().all(|(_, marks)| *marks == Marks { link: marks.link.clone(), ..Marks::default() });
    let is_address = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() >= 2
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric())
    });
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '\\' | '&'));
    if bare && link.title.is_empty() && text == link.href && is_address && is_plain {
        out.push_str(&format!("<{text}>"));
        return;
    }
    out.push('[');
    emphasised(units, care, out);
    out.push_str(&format!("]({})", target(&link.href, &link.title)));
}

fn target(address: &str, title: &str) -> String {
    let address = address.replace('\n', "%0A").replace('\r', "%0D").replace('\\', "\\\\").replace('&', "\\&");
    let bracket = address.is_empty()
        || address.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | '<' | '>'));
    let address = match bracket {
        true => format!("<{}>", address.replace('<', "\\<").replace('>', "\\>")),
        false => address,
    };
    if title.is_empty() {
        return address;
    }
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{address} \"{}\"", title.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "\\&"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Emphasis {
    Strong,
    Em,
    Strike,
}

impl Emphasis {
    const ALL: [Self; 3] = [Self::Strong, Self::Em, Self::Strike];

    fn clear(self, marks: &mut Marks) {
        match self {
            Self::Strong => marks.strong = false,
            Self::Em => marks.em = false,
            Self::Strike => marks.strike = false,
        }
    }

    fn is_on(self, marks: &Marks) -> bool {
        match self {
            Self::Strong => marks.strong,
            Self::Em => marks.em,
            Self::Strike => marks.strike,
        }
    }

    fn delimiter(self, tags: bool, opening: bool) -> &'static str {
        match (self, tags, opening) {
            (Self::Strong, false, _) => "**",
            (Self::Em, false, _) => "*",
            (Self::Strike, false, _) => "~~",
            (Self::Strong, true, true) => "<strong>",
            (Self::Strong, true, false) => "</strong>",
            (Self::Em, true, true) => "<em>",
            (Self::Em, true, false) => "</em>",
            (Self::Strike, true, true) => "<del>",
            (Self::Strike, true, false) => "</del>",
        }
    }
}

/// Opens and closes emphasis as it changes; what lasts longest opens first.
fn emphasised(units: &[Unit], care: Care, out: &mut String) {
    let mut open: Vec<Emphasis> = Vec::new();
    let mut at = 0;
    for run in units.chunk_by(|a, b| a.1 == b.1) {
        let marks = &run[0].1;
        while let Some(innermost) = open.last().copied()
            && open.iter().any(|emphasis| !emphasis.is_on(marks))
        {
            out.push_str(innermost.delimiter(care.tags, false));
            open.pop();
        }
        let mut opening: Vec<(usize, Emphasis)> = Emphasis::ALL
            .into_iter()
            .filter(|emphasis| emphasis.is_on(marks) && !open.contains(emphasis))
            .map(|emphasis| (units[at..].iter().take_while(|unit| emphasis.is_on(&unit.1)).count(), emphasis))
            .collect();
        opening.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        for (_, emphasis) in opening {
            out.push_str(emphasis.delimiter(care.tags, true));
            open.push(emphasis);
        }
        run_text(run, care, out);
        at += run.len();
    }
    for emphasis in open.into_iter().rev() {
        out.push_str(emphasis.delimiter(care.tags, false));
    }
}

/// Writes units of equal marks.
fn run_text(run: &[Unit], care: Care, out: &mut String) {
    for piece in run.chunk_by(|a, b| matches!((&a.0, &b.0), (Token::Char(_), Token::Char(_)))) {
        let marks = &piece[0].1;
        if let Token::Image(image) = &piece[0].0 {
            picture(image, care, out);
            continue;
        }
        let text: String =
            piece.iter().filter_map(|unit| if let Token::Char(c) = unit.0 { Some(c) } else { None }).collect();
        if marks.html {
            out.push_str(&text);
        } else if marks.code && care.tags {
            out.push_str("<code>");
            escape(&text, care.escapes, out);
            out.push_str("</code>");
        } else if marks.code {
            code_span(&text, out);
        } else {
            escape(&text, care.escapes, out);
        }
    }
}

fn picture(image: &Image, care: Care, out: &mut String) {
    out.push_str("![");
    escape(&image.alt.replace(['\n', HARD_BREAK], " "), care.escapes.max_some(), out);
    out.push_str(&format!("]({})", target(&image.src, &image.title)));
}

impl Escapes {
    fn max_some(self) -> Self {
        if self == Self::None { Self::Some } else { self }
    }
}

fn code_span(text: &str, out: &mut String) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let padded = text.starts_with('`') || text.ends_with('`') || (text.starts_with(' ') && text.ends_with(' '));
    let pad = if padded { " " } else { "" };
    out.push_str(&format!("{fence}{pad}{text}{pad}{fence}"));
}

/// Writes text so that it is read as text: not at all changed, or escaped where it commonly matters, or wherever it may.
fn escape(text: &str, escapes: Escapes, out: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let at_line_start = out.is_empty() || out.ends_with('\n');
        let after_number = || {
            let line = out.rsplit('\n').next().unwrap_or_default();
            !line.is_empty() && line.len() <= 9 && line.bytes().all(|byte| byte.is_ascii_digit())
        };
        let escaped = match escapes {
            Escapes::None => false,
            Escapes::All => c.is_ascii_punctuation(),
            Escapes::Some => match c {
                '\\' | '`' | '*' | '_' | '[' | '<' | '&' | '~' => true,
                '#' | '+' | '-' | '>' | '=' => at_line_start,
                '.' | ')' => after_number(),
                _ => false,
            },
        };
        match c {
            HARD_BREAK => out.push_str("\\\n"),
            // White space at the edge of a line would be dropped.
            ' ' | '\t' if escapes == Escapes::All && (at_line_start || matches!(chars.peek(), None | Some('\n'))) => {
                out.push_str(if c == ' ' { "&#32;" } else { "&#9;" });
            }
            '\n' if escapes == Escapes::All && (at_line_start || chars.peek().is_none()) => out.push_str("&#10;"),
            _ => {
                if escaped {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
}
