//! Text for a terminal: harmless, and as wide as it looks.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Makes what somebody else wrote harmless on one line: nothing in it moves the cursor, changes colours, or turns the
/// direction of what follows.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '␤' } else { harmless(c) }).collect()
}

/// As [`line()`], but line breaks and tabs stay.
pub(crate) fn lines(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { harmless(c) }).collect()
}

fn harmless(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('�'),
        '\x7f' => '␡',
        c if is_control(c) => '�',
        c => c,
    }
}

/// Control characters of a terminal, and those that turn the direction of text.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON that is harmless in a terminal too. Such characters stand only inside strings, where they can be escaped.
pub(crate) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) && c != '\n' {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text in exactly so many columns: cut with an ellipsis, or filled up with spaces.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// A text in at most so many columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide >= columns {
            break;
        }
        used += wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Rows with aligned columns, two spaces between them. The last column is not filled up.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let fill = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, columns)| fit(cell, *columns)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(fill).collect()
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        let hostile = "\x1b]0;owned\x07\x1b[2J\u{9b}31mred\r\u{202e}gnp.exe\x7f\u{85}";
        let shown = line(hostile);
        assert_eq!(shown, "␛]0;owned␇␛[2J�31mred␍�gnp.exe␡�");
        assert_eq!(lines("a\n\tb\x1b[0m"), "a\n\tb␛[0m");
        assert_eq!(line("two\nlines"), "two␤lines");
        // What people do write stays: combining marks, joined emoji, right-to-left scripts.
        for text in ["王小明 👩‍👩‍👧", "שלום", "e\u{301}"] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn json_is_harmless_and_means_the_same() {
        let hostile = "\x1b[2J\u{9b}31m\u{202e}x\n\"";
        let text = json(&serde_json::to_string(hostile).unwrap());
        assert!(!text.chars().any(is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn columns_line_up_whatever_the_script() {
        let rows = [["王小明", "在"], ["Zoë", "x"], ["👋", "y"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), ["王小明  在", "Zoë     x", "👋      y"]);
        assert_eq!(fit("王小明", 5), "王小…");
        assert_eq!(fit("王小明", 4), "王… ");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
    }
}
