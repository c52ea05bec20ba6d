//! Names of files that any file system takes, from names that people gave.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

/// The longest name, in bytes: what the narrowest usual file system takes (ext4 under eCryptfs: 143), less a number.
const NAME_BYTES_MAX: usize = 135;

/// The names that Windows keeps for devices, with any extension.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Hands out names of one folder, each once.
#[derive(Default)]
pub(super) struct Names {
    /// As file systems compare them that know neither case nor how a character is composed.
    taken: BTreeSet<String>,
}

impl Names {
    /// A name like `name`, with `ending` (`.md`, say), that is no other's here.
    pub(super) fn take(&mut self, name: &str, ending: &str) -> String {
        let safe = safe(name, ending.len());
        let (stem, extension) = match safe.rfind('.') {
            Some(at) if ending.is_empty() && at > 0 => safe.split_at(at),
            _ => (safe.as_str(), ending),
        };
        let numbered = |n: usize| if n < 2 { format!("{stem}{extension}") } else { format!("{stem} ({n}){extension}") };
        let mut candidates = (1..).map(numbered);
        let free = candidates.find(|name| self.taken.insert(name.nfc().collect::<String>().to_lowercase()));
        free.expect("there is always another number")
    }
}

fn safe(name: &str, ending_bytes: usize) -> String {
    let mut safe: String = name.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    // Windows drops these, and two names become one. `.` and `..` are gone with them.
    safe.truncate(safe.trim_end_matches(['.', ' ']).len());
    let first = safe.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    if safe.is_empty() || RESERVED.contains(&first.as_str()) {
        safe.insert(0, '_');
    }
    shorten(safe, NAME_BYTES_MAX - ending_bytes)
}

/// Cuts the middle out, so that an extension stays.
fn shorten(name: String, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name;
    }
    let extension = name.rfind('.').map(|at| &name[at..]).filter(|extension| extension.len() <= 16).unwrap_or_default();
    let kept = name.floor_char_boundary(bytes_max - extension.len());
    format!("{}{extension}", name[..kept].trim_end_matches(['.', ' ']))
}

fn is_safe(c: char) -> bool {
    let separates = matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    // These show a name in another order than it has.
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !separates && !turns && !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_gave_become_names_of_files() {
        for (given, name) in [
            ("会议记录.md", "会议记录.md"),
            ("Café Kollektiv", "Café Kollektiv"),
            ("..", "_"),
            (".", "_"),
            ("", "_"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("a/b\\c:d", "a_b_c_d"),
            ("CON", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("trailing. . ", "trailing"),
            ("tab\tline\n", "tab_line_"),
            ("\u{202e}gpj.exe", "_gpj.exe"),
            (".profile", ".profile"),
        ] {
            assert_eq!(Names::default().take(given, ""), name, "{given:?}");
        }
    }

    #[test]
    fn no_two_are_one_on_any_file_system() {
        let mut names = Names::default();
        assert_eq!(names.take("Plan.md", ""), "Plan.md");
        assert_eq!(names.take("plan.MD", ""), "plan (2).MD");
        assert_eq!(names.take("caf\u{e9}", ".md"), "caf\u{e9}.md");
        assert_eq!(names.take("cafe\u{301}", ".md"), "cafe\u{301} (2).md");
        assert_eq!(names.take("?", ""), "_");
        assert_eq!(names.take("*", ""), "_ (2)");
    }

    #[test]
    fn long_names_are_cut_between_characters_and_keep_their_ending() {
        let name = Names::default().take(&format!("{}.pdf", "会".repeat(200)), "");
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("会.pdf"), "{name}");
        let name = Names::default().take(&"记".repeat(200), ".md");
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("记.md"), "{name}");
    }
}
