//! The text of a block as Markdown.

use super::super::model::{Block, BlockKind, HARD_BREAK, Image, Link, Marks, Token};
use super::super::parse::parse;
use super::Unit;

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
pub(super) fn careful(block: &Block, lead: &str) -> String {
    let units = block.units();
    if units.iter().all(is_harmless) {
        return inline(&units, Care { escapes: Escapes::None, tags: false });
    }
    let in_item = matches!(block.kind, BlockKind::Item { .. });
    let reads_back = |text: &str| {
        let source = format!("{lead}{text}");
        let source = if in_item { format!("- {}", source.replace('\n', "\n  ")) } else { source };
        // What is written ends with a line end, and `[x]` means something else before one.
        let source = source + "\n";
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
pub(super) enum Emphasis {
    Strong,
    Em,
    Strike,
}

impl Emphasis {
    pub(super) const ALL: [Self; 3] = [Self::Strong, Self::Em, Self::Strike];

    pub(super) fn clear(self, marks: &mut Marks) {
        match self {
            Self::Strong => marks.strong = false,
            Self::Em => marks.em = false,
            Self::Strike => marks.strike = false,
        }
    }

    pub(super) fn is_on(self, marks: &Marks) -> bool {
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
