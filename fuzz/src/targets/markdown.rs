//! Markdown from editors and files.

use clave_crdt::{Document, DocumentKind};

use super::document_change::reader;

const NOW_MS: u64 = 1_790_000_000_000;

fn import(text: &str) -> (Document, String) {
    let mut document = Document::new(DocumentKind::Note, reader());
    let mut note = document.note().expect("it is a note");
    note.import_markdown(text, NOW_MS).expect("it is not too large");
    let exported = note.markdown().expect("what was imported can be read");
    document.commit(NOW_MS);
    (document, exported)
}

/// Imports the bytes. What is exported then may lose what Markdown cannot say; after that nothing changes any more.
pub fn run(data: &[u8]) {
    let (mut document, exported) = import(&String::from_utf8_lossy(data));
    let saved = document.save().expect("nothing is uncommitted");
    Document::load(DocumentKind::Note, reader(), Some(&saved), &[] as &[&[u8]]).expect("what was saved loads");
    let (_, again) = import(&exported);
    assert_eq!(import(&again).1, again, "an export that is not imported as it was");
}

/// Some of each thing that Markdown has.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "# Title\n\nSome *soft*, **hard**, ~~gone~~ and `code` text, with a [link](https://example.org \"t\").\n",
        "- one\n- two\n  - three\n\n1. first\n2. second\n\n- [ ] open\n- [x] done\n",
        "> quoted\n> > twice\n\n```rust\nfn main() {}\n```\n\n---\n\n![image](a.png)\n",
        "<b>html</b> &amp; \\*escaped\\* | a | b |\n|---|---|\n| 1 | 2 |\n\nhard  \nbreak\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
