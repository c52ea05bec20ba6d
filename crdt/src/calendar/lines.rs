//! iCalendar as lines: unfolding, components, parameters, escapes, folding (RFC 5545 section 3.1, RFC 6868). Values are
//! not interpreted, so that whatever is not understood comes out as it went in.

use super::Problem;

/// How deep components nest.
const DEPTH_MAX: usize = 16;
/// How many problems are told.
const PROBLEMS_MAX: usize = 100;
/// How long a line is before it is folded, in bytes.
const FOLD_BYTES: usize = 75;

/// A content line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// In capitals.
    pub(super) name: String,
    /// What stands after the name: parameters, colon, value.
    pub(super) rest: Rest,
}

/// A property without its name, as it was written: `;TZID=Europe/Berlin:20260101T090000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Names in capitals, values as written, with their quotation marks.
    pub(super) params: Vec<(String, String)>,
    pub(super) value: String,
}

/// A component with what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    /// In capitals.
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
    pub(super) children: Vec<Component>,
    /// The number of its first line in the file, from 1.
    pub(super) at: usize,
}

impl Rest {
    pub(super) fn plain(value: &str) -> Self {
        Self { params: Vec::new(), value: value.to_owned() }
    }

    /// Reads what stands after a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut params = Vec::new();
        let mut rest = text;
        while let Some(after) = rest.strip_prefix(';') {
            let end = unquoted(after, &[';', ':'])?;
            let (name, value) = after[..end].split_once('=').unwrap_or((&after[..end], ""));
            params.push((name.trim().to_ascii_uppercase(), value.to_owned()));
            rest = &after[end..];
        }
        Some(Self { params, value: rest.strip_prefix(':')?.to_owned() })
    }

    /// A parameter's value without its quotation marks.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        let (_, raw) = self.params.iter().find(|(param, _)| param == name)?;
        Some(decode_param(raw))
    }

    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.params {
            text.push_str(&format!(";{name}={value}"));
        }
        text + ":" + &self.value
    }
}

impl Component {
    pub(super) fn line(&self, name: &str) -> Option<&Rest> {
        self.lines.iter().find(|line| line.name == name).map(|line| &line.rest)
    }

    /// The whole component, one unfolded line after the other.
    pub(super) fn write(&self) -> String {
        let mut out = format!("BEGIN:{}\n", self.name);
        for line in &self.lines {
            out.push_str(&format!("{}{}\n", line.name, line.rest.write()));
        }
        for child in &self.children {
            out.push_str(&child.write());
            out.push('\n');
        }
        out.push_str(&format!("END:{}", self.name));
        out
    }
}

/// Reads a file into its outermost components. What cannot be read is left out and told.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Vec<Component> {
    let mut done: Vec<Component> = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    for (at, text) in unfold(text) {
        let Some(line) = content_line(&text) else {
            tell(problems, at, "LINE", "this is not a line of iCalendar");
            continue;
        };
        let named = line.rest.value.trim().to_ascii_uppercase();
        match line.name.as_str() {
            "BEGIN" if open.len() >= DEPTH_MAX => tell(problems, at, &named, "components are nested too deep"),
            "BEGIN" => open.push(Component { name: named, at, ..Component::default() }),
            "END" => {
                let Some(depth) = open.iter().rposition(|component| component.name == named) else {
                    tell(problems, at, &named, "this ends what was not begun");
                    continue;
                };
                for lost in open.drain(depth + 1..) {
                    tell(problems, lost.at, &lost.name, "this component is not ended");
                }
                let component = open.pop().expect("rposition found it");
                open.last_mut().map_or(&mut done, |parent| &mut parent.children).push(component);
            }
            _ => match open.last_mut() {
                Some(component) => component.lines.push(line),
                None => tell(problems, at, &line.name, "this property is in no component"),
            },
        }
    }
    // A file that was cut off: what is whole in it counts.
    while let Some(lost) = open.pop() {
        tell(problems, lost.at, &lost.name, "this component is not ended");
        if lost.name == "VCALENDAR" {
            open.last_mut().map_or(&mut done, |parent| &mut parent.children).push(lost);
        }
    }
    done
}

pub(super) fn tell(problems: &mut Vec<Problem>, line: usize, component: &str, reason: &str) {
    if problems.len() < PROBLEMS_MAX {
        let component: String = component.chars().filter(|c| !c.is_control()).take(80).collect();
        problems.push(Problem { line, component, reason: reason.to_owned() });
    }
}

/// The logical lines with the numbers of their first physical ones.
fn unfold(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some((_, last))) => last.push_str(more),
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines.retain(|(_, line)| !line.trim().is_empty());
    lines
}

fn content_line(text: &str) -> Option<Line> {
    let end = text.find([';', ':'])?;
    let name = text[..end].trim().to_ascii_uppercase();
    // Control characters would break lines in two on the way out.
    if !is_name(&name) || text.contains(|c: char| c.is_control() && c != '\t') {
        return None;
    }
    Some(Line { name, rest: Rest::parse(&text[end..])? })
}

/// Whether this can be the name of a property.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads text that is one component and nothing else.
pub(super) fn whole(text: &str) -> Option<Component> {
    let mut problems = Vec::new();
    let mut components = read(text, &mut problems);
    (problems.is_empty() && components.len() == 1).then(|| components.remove(0))
}

/// Where one of these stands outside of quotation marks.
fn unquoted(text: &str, any: &[char]) -> Option<usize> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            c if !quoted && any.contains(&c) => return Some(at),
            _ => {}
        }
    }
    None
}

fn decode_param(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.trim().trim_matches('"').chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('^', Some(next @ ('n' | '\'' | '^'))) => {
                chars.next();
                text.push(match next {
                    'n' => '\n',
                    '\'' => '"',
                    _ => '^',
                });
            }
            _ => text.push(c),
        }
    }
    text
}

/// A parameter's value as it is written.
pub(super) fn encode_param(text: &str) -> String {
    let mut raw = String::new();
    for c in text.chars() {
        match c {
            '^' => raw.push_str("^^"),
            '"' => raw.push_str("^'"),
            '\n' => raw.push_str("^n"),
            c if c.is_control() => {}
            c => raw.push(c),
        }
    }
    if raw.contains([':', ';', ',']) { format!("\"{raw}\"") } else { raw }
}

/// A TEXT value as people read it (RFC 5545, 3.3.11).
pub(super) fn unescape(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(c @ ('\\' | ';' | ',')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => text.push('\\'),
            },
            c => text.push(c),
        }
    }
    text
}

/// A TEXT value as it is written.
pub(super) fn escape(text: &str) -> String {
    let mut raw = String::new();
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' => raw.push_str("\\n"),
            '\\' | ';' | ',' => raw.extend(['\\', c]),
            c if c.is_control() && c != '\t' => {}
            c => raw.push(c),
        }
    }
    raw
}

/// Appends unfolded lines, folded and with CRLF.
pub(super) fn fold(lines: &str, out: &mut String) {
    for line in lines.split('\n') {
        let mut room = FOLD_BYTES;
        for c in line.chars() {
            if c.len_utf8() > room {
                out.push_str("\r\n ");
                room = FOLD_BYTES - 1;
            }
            out.push(c);
            room -= c.len_utf8();
        }
        out.push_str("\r\n");
    }
}
