//! What a text is made of, for finding it: words, and single characters where words are not set apart.
//!
//! The text is taken cluster by cluster (UAX #29); each is folded: compatibility forms, case, and the marks that people leave
//! out when they type (accents, Arabic and Hebrew vowels) go. Then a run of letters and digits is a word. In scripts
//! that set no spaces (Chinese, Japanese, Thai, …), and in Korean, whose endings stick to the word, each character is
//! a word of its own: what follows what tells words from there. An emoji is a word, without its skin tone.

use std::collections::BTreeMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// The longest word that is told from others by all of it, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// How finely a character's follower is told in its term.
const FOLLOWERS: u32 = 16;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Folded.
    pub(super) text: String,
    /// Whether it is one character of a script without spaces.
    pub(super) dense: bool,
    /// Where it stands, in bytes.
    pub(super) range: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Dense,
    Emoji,
    /// Belongs to what it stands at, if anything.
    Mark,
    Ignored,
    Separator,
}

/// The words of a text, in order.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found = Words { words: Vec::new(), open: None };
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        // Most of most texts, done without tables.
        if bytes[at].is_ascii() && bytes.get(at + 1).is_none_or(u8::is_ascii) {
            let byte = bytes[at].to_ascii_lowercase();
            if byte.is_ascii_alphanumeric() {
                found.letter(byte.into(), at..at + 1)
            } else {
                found.end()
            }
            at += 1;
            continue;
        }
        let cluster = text[at..].graphemes(true).next().unwrap_or_default();
        found.cluster(cluster, at..at + cluster.len());
        at += cluster.len();
    }
    found.end();
    found.words
}

/// The terms of an index under which a text is found, and how often it has each.
///
/// A word is its own term. A character of a dense script is a term with a hash of what follows it: so two characters that stand
/// together are told from two that do not (most of the time: the text tells for sure), one character is the
/// beginning of all of its terms, and there are not as many terms as there are pairs of characters.
pub(super) fn terms(words: &[Word]) -> BTreeMap<Vec<u8>, u32> {
    let mut terms = BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        *terms.entry(term(word, words.get(place + 1))).or_default() += 1;
    }
    terms
}

pub(super) fn term(word: &Word, next: Option<&Word>) -> Vec<u8> {
    let mut term = word.text.as_bytes().to_vec();
    if word.dense {
        let follower = next.and_then(|next| next.text.chars().next());
        // Fibonacci hashing; 0 is the end of the text.
        let hash = |c: char| (c as u32).wrapping_mul(0x9e37_79b1) >> (32 - FOLLOWERS.ilog2());
        term.push(follower.map_or(0, |c| 1 + hash(c) as u8));
    }
    term
}

struct Words {
    words: Vec<Word>,
    open: Option<Word>,
}

impl Words {
    fn letter(&mut self, c: char, at: Range<usize>) {
        let word = self.open.get_or_insert_with(|| Word { text: String::new(), dense: false, range: at.clone() });
        word.range.end = at.end;
        if word.text.len() + c.len_utf8() <= WORD_BYTES_MAX {
            word.text.push(c);
        }
    }

    fn end(&mut self) {
        self.words.extend(self.open.take());
    }

    fn whole(&mut self, text: String, dense: bool, range: Range<usize>) {
        self.end();
        self.words.push(Word { text, dense, range });
    }

    fn cluster(&mut self, cluster: &str, at: Range<usize>) {
        let folded = fold(cluster);
        if folded.chars().next().map(class) == Some(Class::Emoji) {
            let text: String = folded.chars().take(WORD_BYTES_MAX / 4).collect();
            return self.whole(text, false, at);
        }
        for c in folded.chars() {
            match class(c) {
                Class::Letter => self.letter(c, at.clone()),
                Class::Mark if self.open.is_some() => self.letter(c, at.clone()),
                Class::Dense => self.whole(c.to_string(), true, at.clone()),
                Class::Mark | Class::Ignored => {}
                Class::Separator | Class::Emoji => self.end(),
            }
        }
    }
}

fn fold(cluster: &str) -> String {
    let mut folded = String::with_capacity(cluster.len());
    for c in cluster.nfkd().filter(|c| !is_left_out(*c)).flat_map(char::to_lowercase) {
        match plain(c) {
            Some(plain) => folded.push_str(plain),
            None => folded.push(c),
        }
    }
    // Decomposed once more: a lower-case letter may have a mark that its capital has not.
    folded.nfkd().filter(|c| !is_left_out(*c)).nfc().collect()
}

/// Marks that people leave out, variants that look alike.
fn is_left_out(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}'
        | '\u{5c4}'..='\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}')
}

/// Letters that decompose into nothing, as they are typed without their keys.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ħ' => "h",
        'ı' => "i",
        'ς' => "σ",
        _ => return None,
    })
}

fn class(c: char) -> Class {
    match c {
        // Thai, Lao, Tibetan, Myanmar, Hangul's letters, Khmer; then kana, Bopomofo, Han, Yi, Hangul, and Han again.
        '\u{e00}'..='\u{fff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3041}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
        | '々'
        | '〆'
        | '〇'
            if c.is_alphanumeric() || is_combining_mark(c) =>
        {
            Class::Dense
        }
        '\u{1f000}'..='\u{1faff}'
        | '\u{2600}'..='\u{27bf}'
        | '\u{231a}'..='\u{231b}'
        | '\u{23e9}'..='\u{23fa}'
        | '\u{2b05}'..='\u{2b55}'
        | '\u{203c}'
        | '\u{2049}'
        | '\u{3030}'
        | '\u{303d}' => Class::Emoji,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => Class::Ignored,
        _ if c.is_alphanumeric() => Class::Letter,
        _ if is_combining_mark(c) => Class::Mark,
        _ => Class::Separator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_of_many_scripts() {
        for (text, expected) in [
            ("Hello, World!", vec!["hello", "world"]),
            ("Café déjà-vu naïve", vec!["cafe", "deja", "vu", "naive"]),
            (
                "STRASSE Straße ﬁne Øre Łódź İstanbul ılık",
                vec!["strasse", "strasse", "fine", "ore", "lodz", "istanbul", "ilik"],
            ),
            ("Ёлка ёлка Й", vec!["елка", "елка", "и"]),
            ("ΟΔΟΣ οδός", vec!["οδοσ", "οδοσ"]),
            ("l'équipe can’t", vec!["l", "equipe", "can", "t"]),
            ("مُحَمَّد كـــتاب", vec!["محمد", "كتاب"]),
            ("हिन्दी में", vec!["हिन्दी", "में"]),
            ("v2发布会", vec!["v2", "发", "布", "会"]),
            ("会议记录.md", vec!["会", "议", "记", "录", "md"]),
            ("ＡＢＣ１２３ ﾊﾟﾝ", vec!["abc123", "パ", "ン"]),
            ("회의록을", vec!["회", "의", "록", "을"]),
            ("東京タワー", vec!["東", "京", "タ", "ワ", "ー"]),
            ("ภาษา", vec!["ภ", "า", "ษ", "า"]),
            ("3.14 1️⃣ ①", vec!["3", "14", "1", "1"]),
            ("ok👍🏽👍 👩‍👩‍👧", vec!["ok", "👍", "👍", "👩‍👩‍👧"]),
            ("co\u{ad}operate", vec!["cooperate"]),
            ("--- …", vec![]),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_are_where_words_stand() {
        let text = "Le Café\u{301} 发布 x";
        let parts: Vec<&str> = words(text).into_iter().map(|word| &text[word.range]).collect();
        assert_eq!(parts, ["Le", "Café\u{301}", "发", "布", "x"]);
    }

    #[test]
    fn a_long_word_is_cut_and_its_range_is_not() {
        let text = "a".repeat(1_000);
        let long = &words(&text)[0];
        assert_eq!((long.text.len(), long.range.clone()), (WORD_BYTES_MAX, 0..1_000));
    }

    #[test]
    fn one_character_begins_all_of_its_terms() {
        let of = |text: &str| terms(&words(text)).into_keys().collect::<Vec<_>>();
        let together = of("发布");
        assert!(together.iter().any(|term| term.starts_with("发".as_bytes()) && term.len() == 4));
        assert_ne!(of("发布"), of("布发"));
        assert_eq!(of("word"), [b"word"]);
    }
}
