//! All circles at a glance.

use crate::harness::{Device, two};

#[test]
fn the_inbox_says_what_is_new_until_it_is_read() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    assert!(bob.ok(&["inbox"]).contains("no messages yet"));
    zoe.ok(&["chat", "send", "你好"]);
    zoe.ok(&["chat", "send", "看看这个"]);
    bob.ok(&["wait", "--messages", "2"]);
    let inbox = bob.ok(&["inbox"]);
    assert!(inbox.contains("2 unread") && inbox.contains("Zoë: 看看这个"), "{inbox}");
    let first = bob.json(&["chat", "history"])["messages"][0]["id"].as_str().unwrap().to_owned();
    bob.ok(&["chat", "read", &first]);
    let item = bob.json(&["inbox"])["items"][0].clone();
    assert_eq!((item["unread"].as_u64(), item["messages"].as_u64()), (Some(1), Some(2)));
    assert_eq!(item["newest"]["text"], "看看这个");
    assert_eq!(bob.ok(&["chat", "read"]), "Read.\n");
    assert_eq!(bob.json(&["inbox"])["items"][0]["unread"], 0);
    // One's own are never unread.
    assert_eq!(zoe.json(&["inbox"])["items"][0]["unread"], 0);
}

#[test]
fn an_inbox_without_circles_says_how_to_begin() {
    let device = Device::new("Ada", "laptop");
    let inbox = device.ok(&["inbox"]);
    assert!(inbox.contains("clave space new NAME") && inbox.contains("clave join LINK"), "{inbox}");
}
