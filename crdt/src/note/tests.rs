use proptest::prelude::*;

use super::*;
use crate::Actor;

const NOW_MS: u64 = 1_790_000_000_000;

fn note(author: u8) -> Document {
    Document::new(DocumentKind::Note, Actor::new([author; 32], [0; 4], 0))
}

fn note_of(markdown: &str) -> Document {
    let mut document = note(1);
    document.note().unwrap().import_markdown(markdown, NOW_MS).unwrap();
    document
}

fn copy(document: &mut Document, author: u8) -> Document {
    document.fork(Actor::new([author; 32], [0; 4], 0)).unwrap()
}

/// Gives each of two documents what the other has.
fn sync(a: &mut Document, b: &mut Document) {
    let changes = |document: &mut Document| -> Vec<Vec<u8>> {
        document.changes().unwrap().into_iter().map(|(_, bytes)| bytes).collect()
    };
    let (from_a, from_b) = (changes(a), changes(b));
    assert_eq!(a.apply(&from_b).unwrap().refused, vec![]);
    assert_eq!(b.apply(&from_a).unwrap().refused, vec![]);
    assert_eq!(a.heads(), b.heads());
}

/// Markdown that is already as this crate writes it.
const CANONICAL: &[&str] = &[
    "",
    "plain\n",
    "# 标题\n\n正文，有**重点**和*强调*，也有`代码`。\n",
    "# One\n\n###### Six\n",
    "a\nb\nc\n",
    "hard\\\nbreak\n",
    "- a\n- b\n  - b1\n  - b2\n    1. deep\n    2. deeper\n- c\n",
    "1. one\n\n2. two\n\n   more of two\n\n3. three\n",
    "7. seven\n8. eight\n",
    "- [ ] 待办\n- [x] done\n  - [ ] nested\n",
    "- a\n\n1. b\n",
    "> quoted\n> more\n>\n> - item\n>\n> > deeper\n",
    "- item\n\n  > quote in item\n\n  ```rust\n  fn main() {}\n\n  let x = 1;\n  ```\n",
    "```\n\n indented\n```\n",
    "````md\n```\ninner\n```\n````\n",
    "---\n\nafter a rule\n",
    "[link](https://example.org/a) and <https://example.org/b>\n",
    "[titled](https://example.org \"A \\\"title\\\"\") [*em* in `link`](x)\n",
    "[paren](<a(b> c.md>) tail\n",
    "![alt text](pic.png \"title\") inline\n",
    "[![badge](b.svg)](https://example.org)\n",
    "~~struck~~ ***both*** **bold with *em* inside**\n",
    "``code with ` tick`` and `` ` ``\n",
    "snake_case 2 * 3 < 4 & a # b [not a link] 5. no list\n",
    "\\# not a heading\n",
    "\\- not a list\n",
    "1\\. not a list\n",
    "\\[x]: undefined\n",
    "<strong>注意：</strong>请看\n",
    "<div>\nkept *as is*\n</div>\n\npara with <kbd>html</kbd>\n",
    "- \\[ ] not a task\n",
    "emoji 👩‍👩‍👧 and é combining\n",
    "-\n  # heading first in item\n",
];

#[test]
fn canonical_markdown_survives_a_note_unchanged() {
    for markdown in CANONICAL {
        let expected = match markdown.trim_end() {
            "" => String::new(),
            text => format!("{text}\n"),
        };
        let mut document = note_of(markdown);
        assert_eq!(document.note().unwrap().markdown().unwrap(), expected);
    }
}

#[test]
fn other_writings_become_canonical() {
    for (source, expected) in [
        ("Title\n=====\n\n* a\n* b\n", "# Title\n\n- a\n- b\n"),
        ("a  \nb", "a\\\nb\n"),
        ("two\nlines\n===", "# two lines\n"),
        ("> <!-- open\n\nnext", "> ```html\n> <!-- open\n> ```\n\nnext\n"),
        ("    indented code", "```\nindented code\n```\n"),
        ("[ref]\n\n[ref]: https://example.org 'T'", "[ref](https://example.org \"T\")\n"),
        ("__strong__ _em_", "**strong** *em*\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("- a\n\n- b", "- a\n- b\n"),
        ("**bold **text", "**bold **text\n"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |\n"),
    ] {
        let mut document = note_of(source);
        let written = document.note().unwrap().markdown().unwrap();
        assert_eq!(written, expected, "{source:?}");
    }
}

#[test]
fn a_text_without_blocks_shows_as_paragraphs() {
    let mut document = note(1);
    document.note().unwrap().splice(0, 0, "one\ntwo\n\n\nthree  \n- four").unwrap();
    document.commit(NOW_MS);
    let note = document.note().unwrap();
    assert_eq!(note.markdown().unwrap(), "one\ntwo\n\nthree\n\\- four\n");
}

#[test]
fn a_text_without_blocks_keeps_its_shape_when_edited() {
    let mut document = note(1);
    document.note().unwrap().splice(0, 0, "one\n\n\ntwo  \nthree").unwrap();
    document.commit(NOW_MS);
    let opened = document.heads();
    let edited = "one!\n\nand two\nthree\n\n- four\n";
    document.note().unwrap().edit_markdown(&opened, edited, NOW_MS).unwrap();
    let note = document.note().unwrap();
    assert_eq!(note.text().unwrap(), "one!\n\n\nand two  \nthree\u{fffc}four");
    assert_eq!(note.markdown().unwrap(), edited);
}

#[test]
fn blocks_and_marks_are_automerges_own() {
    let mut document = note_of("## Hi\n\n- a **b**\n  - [x] [c](http://x)\n");
    let note = document.note().unwrap();
    assert_eq!(note.text().unwrap(), "\u{fffc}Hi\u{fffc}a b\u{fffc}c");
    let id = note.text.clone();
    let doc = document.automerge();
    let hydrated = |at: usize| {
        let (_, block) = doc.get(&id, at).unwrap().unwrap();
        let text = |key: &str| doc.get(&block, key).unwrap().map(|(value, _)| value.as_str().unwrap_or("?").to_owned());
        let (_, parents) = doc.get(&block, "parents").unwrap().unwrap();
        let parents: Vec<_> = doc.values(&parents).map(|(v, _)| v.as_str().unwrap().to_owned()).collect();
        (text("type").unwrap(), parents)
    };
    assert_eq!(hydrated(0), ("heading".to_owned(), vec![]));
    assert_eq!(hydrated(3), ("unordered-list-item".to_owned(), vec![]));
    assert_eq!(hydrated(7), ("unordered-list-item".to_owned(), vec!["unordered-list-item".to_owned()]));
    let mut marks: Vec<_> = doc
        .marks(&id)
        .unwrap()
        .iter()
        .map(|m| (m.start, m.name().to_owned(), m.value.as_str().map(str::to_owned)))
        .collect();
    marks.sort();
    assert_eq!(
        marks,
        [(6, "strong".to_owned(), None), (8, "link".to_owned(), Some(r#"{"href":"http://x","title":""}"#.to_owned()))]
    );
}

#[test]
fn positions_are_code_points_and_cursors_stay() {
    let mut alice = note(1);
    alice.note().unwrap().splice(0, 0, "你好👋世界").unwrap();
    alice.note().unwrap().splice(2, 1, "，").unwrap();
    alice.commit(NOW_MS);
    assert_eq!(alice.note().unwrap().text().unwrap(), "你好，世界");
    let cursor = alice.note().unwrap().cursor(3).unwrap();
    let end = alice.note().unwrap().cursor(5).unwrap();
    let mut bob = copy(&mut alice, 2);
    bob.note().unwrap().splice_many(&[(0, 0, "我说："), (3, 2, "")]).unwrap();
    let change = bob.commit(NOW_MS).unwrap();
    alice.apply(&[change]).unwrap();
    let note = alice.note().unwrap();
    assert_eq!(note.text().unwrap(), "我说：，世界");
    let cursor: Cursor = cursor.to_string().parse().unwrap();
    assert_eq!((note.position(&cursor).unwrap(), note.position(&end).unwrap()), (4, 6));
    for garbage in ["", "界", "x", "1@zz"] {
        assert!(garbage.parse::<Cursor>().is_err(), "{garbage}");
    }
}

#[test]
fn positions_beyond_the_end_are_refused() {
    let mut document = note_of("abc");
    let mut note = document.note().unwrap();
    let beyond = CrdtError::Invalid("this position is beyond the end of the text; read the text again");
    assert_eq!(note.splice(5, 0, "x"), Err(beyond.clone()));
    assert_eq!(note.splice(2, usize::MAX, ""), Err(beyond.clone()));
    assert_eq!(note.mark(2..9, MarkKind::Em), Err(beyond.clone()));
    assert_eq!(note.insert_block(9, BlockKind::Rule, &[]), Err(beyond.clone()));
    assert_eq!(note.cursor(9), Err(beyond));
    assert_eq!(note.set_block(1, BlockKind::Rule, &[]), Err(CrdtError::NotFound("block")));
    let long = "x".repeat(SPLICE_BYTES_MAX + 1);
    assert!(matches!(note.splice(0, 0, &long), Err(CrdtError::TooLarge { .. })));
    assert!(!document.is_edited());
}

#[test]
fn direct_edits_make_rich_text() {
    let mut document = note(1);
    let mut note = document.note().unwrap();
    note.set_title("周会").unwrap();
    note.insert_block(0, BlockKind::Item { ordered: false, start: None, checked: Some(false) }, &[]).unwrap();
    note.splice(1, 0, "call Bob").unwrap();
    note.mark(6..9, MarkKind::Strong).unwrap();
    note.link(1..5, Link { href: "tel:1".to_owned(), title: String::new() }).unwrap();
    assert_eq!(note.mark(1..5, MarkKind::Link), Err(CrdtError::Invalid("a link needs an address; say where it leads")));
    // Emphasis grows at its end, a link does not.
    note.splice(9, 0, "by").unwrap();
    note.splice(5, 0, "!").unwrap();
    assert_eq!(note.markdown().unwrap(), "- [ ] [call](tel:1)! **Bobby**\n");
    note.set_block(0, BlockKind::Item { ordered: false, start: None, checked: Some(true) }, &[]).unwrap();
    note.unmark(1..12, MarkKind::Strong).unwrap();
    assert_eq!(
        (note.title(), note.markdown().unwrap()),
        ("周会".to_owned(), "- [x] [call](tel:1)! Bobby\n".to_owned())
    );
}

#[test]
fn what_others_did_while_the_editor_was_open_survives() {
    let mut alice = note_of("# Agenda\n\nWe meet on Monday at ten.\n\n- tea\n- cake\n");
    let mut bob = copy(&mut alice, 2);
    let opened = bob.heads();
    alice
        .note()
        .unwrap()
        .edit_markdown(&opened, "# Agenda\n\nWe meet on Tuesday at ten.\n\n- tea\n- cake\n- [x] biscuits\n", NOW_MS)
        .unwrap();
    sync(&mut alice, &mut bob);
    bob.note()
        .unwrap()
        .edit_markdown(&opened, "## Agenda of May\n\nWe meet on Monday at **eleven**.\n\n- green tea\n- cake\n", NOW_MS)
        .unwrap();
    sync(&mut alice, &mut bob);
    let merged = "## Agenda of May\n\nWe meet on Tuesday at **eleven**.\n\n- green tea\n- cake\n- [x] biscuits\n";
    assert_eq!(alice.note().unwrap().markdown().unwrap(), merged);
}

#[test]
fn what_markdown_does_not_show_survives_an_edit() {
    let mut alice = note_of("one\n\ntwo\n");
    let mut note = alice.note().unwrap();
    note.splice(4, 0, "  ").unwrap();
    note.insert_block(6, BlockKind::Paragraph, &[]).unwrap();
    note.insert_block(7, BlockKind::Other { name: "poll".to_owned() }, &[Container::Other("aside".to_owned())])
        .unwrap();
    note.splice(8, 0, "tea?").unwrap();
    let text = note.text.clone();
    let comment = automerge::marks::Mark::new("comment:7".to_owned(), true, 1, 3);
    alice.automerge_mut().mark(&text, comment, automerge::marks::ExpandMark::None).unwrap();
    alice.commit(NOW_MS);
    let shown = alice.note().unwrap().markdown().unwrap();
    assert_eq!(shown, "one\n\n> tea?\n\ntwo\n");
    let opened = alice.heads();
    alice
        .note()
        .unwrap()
        .edit_markdown(&opened, &shown.replace("two", "two!").replace("one", "*one*"), NOW_MS)
        .unwrap();
    let blocks = alice.note().unwrap().blocks().unwrap();
    let kinds: Vec<_> = blocks.iter().map(|block| (block.kind.clone(), block.text())).collect();
    let other = BlockKind::Other { name: "poll".to_owned() };
    let paragraph = |text: &str| (BlockKind::Paragraph, text.to_owned());
    assert_eq!(kinds, [paragraph("one  "), paragraph(""), (other, "tea?".to_owned()), paragraph("two!")]);
    let marks: Vec<_> = alice.automerge().marks(&text).unwrap().iter().map(|mark| mark.name().to_owned()).collect();
    assert_eq!(marks, ["comment:7", "em"]);
    // An edit that changes nothing writes nothing.
    let heads = alice.heads();
    let same = alice.note().unwrap().markdown().unwrap();
    assert_eq!(alice.note().unwrap().edit_markdown(&heads, &same, NOW_MS).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_large_import_is_cut_into_pieces() {
    let paragraph = "这是一个很长的段落，with some Latin letters. ".repeat(200);
    let markdown = vec![paragraph.trim(); 100].join("\n\n") + "\n";
    let mut alice = note(1);
    let changes = alice.note().unwrap().import_markdown(&markdown, NOW_MS).unwrap();
    assert!(changes.len() > markdown.len() / IMPORT_PIECE_BYTES, "{}", changes.len());
    assert!(changes.iter().all(|change| change.len() < 3 * IMPORT_PIECE_BYTES));
    let mut bob = note(2);
    bob.apply(&changes).unwrap();
    assert_eq!(bob.note().unwrap().markdown().unwrap(), markdown);
    let opened = bob.heads();
    let deleted = bob.note().unwrap().edit_markdown(&opened, "gone\n", NOW_MS).unwrap();
    assert!(deleted.len() > 1);
    assert_eq!(bob.note().unwrap().markdown().unwrap(), "gone\n");
    let huge = "x".repeat(MARKDOWN_BYTES_MAX + 1);
    let refused = bob.note().unwrap().import_markdown(&huge, NOW_MS).unwrap_err();
    assert!(refused.to_string().starts_with("the Markdown takes 16777217 bytes"), "{refused}");
}

#[test]
fn a_member_cannot_take_the_text_away() {
    let mut alice = note_of("ours\n");
    let mut mallory = copy(&mut alice, 3);
    mallory.automerge_mut().put(ROOT, "text", 7).unwrap();
    mallory.automerge_mut().delete(ROOT, "title").unwrap_or_default();
    alice.apply(&[mallory.commit(NOW_MS).unwrap()]).unwrap();
    assert_eq!(alice.note().unwrap().markdown().unwrap(), "ours\n");
    alice.note().unwrap().import_markdown("still\n", NOW_MS).unwrap();
    assert_eq!(alice.note().unwrap().markdown().unwrap(), "ours\n\nstill\n");
}

#[test]
fn unknown_versions_are_named_as_such() {
    let mut document = note_of("x");
    let mut note = document.note().unwrap();
    let error = note.edit_markdown(&[[9; 32]], "y", NOW_MS).unwrap_err();
    assert_eq!(error.to_string(), "there is no such version of the note; it may not have arrived yet");
    assert!(note.markdown_at(&[]).is_err());
}

/// Markdown made of what tends to go wrong together.
fn markdown() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-c中文]{1,4}",
        8 => prop::sample::select(vec![
            " ", "  ", "\n", "\n\n", "*", "**", "_", "__", "~~", "`", "``", "[", "]", "(", ")", "](x)", "<", ">", "&amp;",
            "\\", "!", "#", "# ", "- ", "-", "1. ", "7)", "> ", "    ", "  ", "```\n", "---\n", "===\n", "[ ] ", "[x] ", "+ ",
            "<b>", "</b>", "<i>", "<div>", "<!--", "：", "“", "”", "é", "👩‍👩‍👧", "https://a.b", "<https://a.b>", "\t", "\u{a0}",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

#[derive(Clone, Debug)]
enum Edit {
    Splice(usize, usize, String),
    Mark(usize, usize, usize, bool),
    Block(usize, usize),
    Markdown(usize, String),
    Title(String),
    Sync(usize, usize),
}

fn edit() -> impl Strategy<Value = (usize, Edit)> {
    let edit = prop_oneof![
        4 => (any::<usize>(), 0..4usize, "[a-z世界 \n]{0,5}").prop_map(|(at, delete, text)| Edit::Splice(at, delete, text)),
        2 => (any::<usize>(), 0..5usize, 0..6usize, any::<bool>()).prop_map(|(at, len, kind, on)| Edit::Mark(at, len, kind, on)),
        2 => (any::<usize>(), 0..6usize).prop_map(|(at, kind)| Edit::Block(at, kind)),
        2 => (any::<usize>(), "[a-z*世\n# -]{0,6}").prop_map(|(at, text)| Edit::Markdown(at, text)),
        1 => "[a-z]{0,4}".prop_map(Edit::Title),
        2 => (0..3usize, 0..3usize).prop_map(|(a, b)| Edit::Sync(a, b)),
    ];
    (0..3usize, edit)
}

fn perform(document: &mut Document, edit: &Edit) {
    let mut note = document.note().unwrap();
    let len = note.len();
    match edit {
        Edit::Splice(at, delete, text) => {
            let at = at % (len + 1);
            note.splice(at, (*delete).min(len - at), text).unwrap();
        }
        Edit::Mark(at, count, kind, on) => {
            let at = at % (len + 1);
            let range = at..(at + count).min(len);
            match (MarkKind::ALL[*kind], on) {
                (kind, false) => note.unmark(range, kind).unwrap(),
                (MarkKind::Link, _) => note.link(range, Link { href: "x".to_owned(), ..Link::default() }).unwrap(),
                (kind, _) => note.mark(range, kind).unwrap(),
            }
        }
        Edit::Block(at, kind) => {
            let kinds = [
                (BlockKind::Paragraph, vec![Container::Quote]),
                (BlockKind::Heading { level: 2 }, vec![]),
                (BlockKind::Item { ordered: false, start: None, checked: Some(true) }, vec![]),
                (BlockKind::Item { ordered: true, start: None, checked: None }, vec![Container::UnorderedItem]),
                (BlockKind::CodeBlock { language: "rs".to_owned() }, vec![]),
                (BlockKind::Other { name: "poll".to_owned() }, vec![]),
            ];
            let (kind, parents) = kinds[*kind].clone();
            note.insert_block(at % (len + 1), kind, &parents).unwrap();
        }
        Edit::Markdown(at, text) => {
            // Against what was last committed, while there may be edits that were not.
            let heads = note.document.heads();
            let mut markdown = note.markdown_at(&heads).unwrap();
            let places: Vec<_> = markdown.char_indices().map(|(at, _)| at).chain([markdown.len()]).collect();
            markdown.insert_str(places[at % places.len()], text);
            note.edit_markdown(&heads, &markdown, NOW_MS).unwrap();
        }
        Edit::Title(title) => note.set_title(title).unwrap(),
        Edit::Sync(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn writing_and_reading_settles_at_once(source in markdown()) {
        let first = parse::parse(&source);
        let written = write::write(&first);
        let second = parse::parse(&written);
        let visible = |blocks: &[Block]| {
            blocks.iter().map(Block::text).collect::<String>().split_whitespace().collect::<String>()
        };
        prop_assert_eq!(visible(&first), visible(&second), "{}", written);
        // Marks too, but for emphasis on white space.
        let marked = |blocks: &[Block]| -> Vec<_> {
            write::presentable(blocks).iter().flat_map(Block::units).collect()
        };
        prop_assert_eq!(marked(&first), marked(&second), "{}", written);
        prop_assert_eq!(write::write(&second), written);
    }

    #[test]
    fn an_editor_leaves_what_it_says(before in markdown(), after in markdown()) {
        let mut document = note_of(&before);
        let opened = document.heads();
        document.note().unwrap().edit_markdown(&opened, &after, NOW_MS).unwrap();
        let expected = write::write(&parse::parse(&after));
        prop_assert_eq!(document.note().unwrap().markdown().unwrap(), expected);
    }

    #[test]
    fn replicas_converge(edits in prop::collection::vec(edit(), 1..40)) {
        let mut first = note_of("# 会议\n\nsome *text*\n\n- a\n- b\n");
        let (second, third) = (copy(&mut first, 2), copy(&mut first, 3));
        let mut replicas = [first, second, third];
        for (who, edit) in &edits {
            match edit {
                Edit::Sync(a, b) if a != b => {
                    let [a, b] = replicas.get_disjoint_mut([*a, *b]).unwrap();
                    a.commit(NOW_MS);
                    b.commit(NOW_MS);
                    sync(a, b);
                }
                edit => perform(&mut replicas[*who], edit),
            }
        }
        let [a, b, c] = &mut replicas;
        for replica in [&mut *a, &mut *b, &mut *c] {
            replica.commit(NOW_MS);
        }
        sync(a, b);
        sync(b, c);
        sync(a, c);
        let view = |document: &mut Document| {
            let note = document.note().unwrap();
            (note.title(), note.text().unwrap(), note.blocks().unwrap(), note.markdown().unwrap())
        };
        prop_assert_eq!(view(a), view(b));
        prop_assert_eq!(view(b), view(c));
    }
}

#[test]
fn an_editor_that_lags_behind_writes_at_what_it_saw() {
    let mut alice = note(1);
    alice.note().unwrap().splice(0, 0, "hello").unwrap();
    alice.commit(NOW_MS).unwrap();
    let seen = alice.heads();
    let mut bob = copy(&mut alice, 2);
    bob.note().unwrap().splice(0, 5, "goodbye").unwrap();
    let change = bob.commit(NOW_MS).unwrap();
    alice.apply(&[&change]).unwrap();

    // Alice's editor still shows "hello".
    let (written, version) = alice.note().unwrap().splice_at(&seen, &[(5, 0, " world"), (11, 0, "!")], NOW_MS).unwrap();
    assert_eq!(alice.note().unwrap().text().unwrap(), "goodbye world!");
    // The change does not depend on what Bob wrote: it is admitted where his change is not.
    let mut carol = note(3);
    let before = alice.changes().unwrap().remove(0).1;
    assert_eq!(carol.apply(&[&before, &written.unwrap()]).unwrap().refused, vec![]);
    assert_eq!(carol.heads(), version);
    assert_eq!(carol.note().unwrap().text().unwrap(), "hello world!");
    // And so on from that version, but not from before it.
    let (_, version) = alice.note().unwrap().splice_at(&version, &[(0, 1, "H")], NOW_MS).unwrap();
    sync(&mut alice, &mut bob);
    assert!(bob.note().unwrap().text().unwrap().ends_with(" world!"));
    let stale = alice.note().unwrap().splice_at(&seen, &[(0, 0, "x")], NOW_MS);
    assert!(matches!(stale, Err(CrdtError::Invalid(_))));
    let beyond = alice.note().unwrap().splice_at(&version, &[(99, 0, "x")], NOW_MS);
    assert!(matches!(beyond, Err(CrdtError::Invalid(_))));
    let elsewhere = alice.note().unwrap().splice_at(&[[9; 32]], &[(0, 0, "x")], NOW_MS);
    assert_eq!(elsewhere, Err(CrdtError::NotFound("earlier state of the document")));
    assert_eq!(alice.heads(), bob.heads(), "what failed left no trace");
}

#[test]
fn brackets_at_the_end_that_only_look_like_a_task_stay_text() {
    // Found by fuzzing: before the end of the text this is no task, before a line end it is one.
    let written = write::write(&parse::parse("- [x]"));
    assert_eq!(write::write(&parse::parse(&written)), written);
    assert_eq!(parse::parse(&written), parse::parse("- [x]"));
}

/// Others say where they are by cursors of their own making.
#[test]
fn a_cursor_of_anybodys_making_leads_to_a_place_in_the_text_or_nowhere() {
    let mut document = Document::new(DocumentKind::Note, Actor::new([1; 32], [0; 4], 0));
    let mut note = document.note().unwrap();
    note.set_title("四月").unwrap();
    note.splice(0, 0, "会议 notes").unwrap();
    document.commit(0);
    let note = document.note().unwrap();
    let honest = note.cursor(1).unwrap().to_string();
    let (counter, actor) = honest.split_once('@').unwrap();
    let actors = [actor, &actor[2..], &"ab".repeat(24), "", "00"];
    let counters = ["0", "1", counter, "99", "4294967295", "18446744073709551615", "-3", "-", "+1", ""];
    let made = counters.iter().flat_map(|counter| actors.iter().map(move |actor| format!("{counter}@{actor}")));
    let mut shown = 0;
    for text in made.chain(["s", "e", "-s", "-e", "@", "ss"].map(str::to_owned)) {
        let Ok(cursor) = text.parse::<Cursor>() else { continue };
        if let Ok(position) = note.position(&cursor) {
            assert!(position <= note.len(), "{text}");
            shown += 1;
        }
    }
    assert!(shown >= 3, "not even the honest one: {shown}");
}
