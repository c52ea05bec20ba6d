//! What is shown of a text that was found.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

/// How many characters are shown before the first match, and in all.
const SNIPPET_CHARS: (usize, usize) = (40, 200);

/// The text around the first match; the matches in it; whether it was cut before and behind.
pub(super) fn snippet(text: &str, matches: &[Range<usize>]) -> (String, Vec<Range<usize>>, (bool, bool)) {
    let first = matches.first().map_or(0, |first| first.start);
    let before = text[..first].char_indices().rev().take(SNIPPET_CHARS.0).last().map_or(first, |(at, _)| at);
    let start = boundary(text, before);
    let end = text[start..].char_indices().nth(SNIPPET_CHARS.1).map_or(text.len(), |(at, _)| start + at);
    let end = boundary(text, end);
    let inside = |range: &Range<usize>| {
        let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
        (from < to).then(|| from - start..to - start)
    };
    let matches = matches.iter().filter_map(inside).collect();
    (text[start..end].to_owned(), matches, (start > 0, end < text.len()))
}

/// The first place from there on where no character is cut in two as people see it.
fn boundary(text: &str, mut at: usize) -> usize {
    while at < text.len() {
        if text.is_char_boundary(at) && GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0) == Ok(true) {
            return at;
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_shown_whole() {
        let (shown, matches, cut) = snippet("你好 world", &[0..6, 7..12]);
        assert_eq!((shown.as_str(), matches, cut), ("你好 world", vec![0..6, 7..12], (false, false)));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("{}发布会{}", "e\u{301}".repeat(300), "👩‍👩‍👧".repeat(300));
        let at = text.find("发").expect("it is there");
        let (shown, matches, cut) = snippet(&text, std::slice::from_ref(&(at..at + 9)));
        assert_eq!((&shown[matches[0].clone()], cut), ("发布会", (true, true)));
        assert!(shown.starts_with('e') && shown.ends_with('👧'));
    }
}
