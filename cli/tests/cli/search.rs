//! Finding what was written.

use serde_json::Value;

use crate::harness::two;

fn snippets(found: &Value) -> Vec<String> {
    let found = found["found"].as_array().unwrap().iter();
    found.map(|found| found["snippet"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_written_is_found_by_words_person_kind_and_time() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "我们明天开v2发布会"]);
    bob.ok(&["wait", "--messages", "1"]);
    bob.ok(&["chat", "send", "The Café at noon?"]);
    zoe.ok(&["wait", "--messages", "2"]);
    zoe.ok(&["note", "new", "会议记录", "--text", "Budget for the release"]);
    zoe.ok(&["cal", "add", "Release party", "--at", "2031-05-01 18:00", "--where", "Café Central"]);

    assert_eq!(snippets(&zoe.json(&["search", "发布会"])), ["我们明天开v2发布会"]);
    assert_eq!(snippets(&zoe.json(&["search", "布发"])), [""; 0]);
    let cafe = zoe.json(&["search", "cafe"]);
    assert_eq!(cafe["found"].as_array().unwrap().len(), 2);
    assert_eq!(snippets(&zoe.json(&["search", "cafe", "--from", "小明"])), ["The Café at noon?"]);
    assert_eq!(snippets(&zoe.json(&["search", "cafe", "--from", "Zoë"])), [""; 0]);
    assert_eq!(snippets(&zoe.json(&["search", "cafe", "--kind", "event"])), ["Release party\nCafé Central"]);
    assert_eq!(snippets(&zoe.json(&["search", "cafe", "--until", "2031-04-30"])), ["The Café at noon?"]);
    assert_eq!(zoe.json(&["search", "cafe", "--since", "2031-05-01"])["found"][0]["kind"], "event");
    assert_eq!(zoe.json(&["search", "会议"])["found"][0]["kind"], "note");

    // Said in words, with who and when; edited and withdrawn, it is found no more as it was.
    assert!(zoe.ok(&["search", "noon"]).contains("小明"));
    bob.ok(&["chat", "edit", "last", "The bar at one"]);
    assert_eq!(snippets(&bob.json(&["search", "noon"])), [""; 0]);
    assert_eq!(snippets(&bob.json(&["search", "bar"])), ["The bar at one"]);
    bob.ok(&["chat", "withdraw", "last"]);
    assert!(bob.ok(&["search", "bar"]).contains("Nothing here has these words"));

    let failed = zoe.fails(&["search", "…"]);
    assert_eq!(failed.exit, 2);
    assert!(failed.words.contains("there is nothing to search for"));
    assert_eq!(zoe.fails(&["search", "x", "--since", "yesterday"]).exit, 2);
}

#[test]
fn what_is_said_in_a_circle_is_found_there() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["circle", "create", "Budget"]);
    zoe.ok(&["chat", "send", "--circle", "Budget", "secret 数字"]);
    zoe.ok(&["chat", "send", "numbers for all"]);
    bob.ok(&["wait", "--messages", "1"]);
    assert_eq!(zoe.json(&["search", "数字"])["found"][0]["circle"], "Budget");
    assert_eq!(snippets(&zoe.json(&["search", "numbers", "--circle", "Budget"])), [""; 0]);
    assert_eq!(snippets(&bob.json(&["search", "secret"])), [""; 0]);
}
