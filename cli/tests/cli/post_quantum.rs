//! Post-quantum spaces and circles.

use crate::harness::{Device, third, two};

#[test]
fn a_post_quantum_space_says_so_and_works_like_any_other() {
    let zoe = Device::new("Zoë", "laptop");
    assert!(
        zoe.ok(&["space", "new", "四月", "--post-quantum"]).starts_with("The post-quantum space “四月” is founded")
    );
    assert!(zoe.ok(&["space", "show"]).contains("1 devices, by X-Wing (post-quantum)"));
    assert_eq!(zoe.json(&["space", "list"])["spaces"][0]["post_quantum"], true);
    assert!(!zoe.ok(&["policy"]).contains("post_quantum_circles"), "all of its circles are so anyway");
    assert!(zoe.ok(&["audit"]).contains("created the post-quantum circle “四月”"));

    let _zoe_runs = zoe.run();
    let bob = Device::new("Bob", "phone");
    let link = zoe.invite();
    let _bob_runs = bob.run();
    bob.ok(&["join", &link]);
    bob.ok(&["chat", "send", "over X-Wing"]);
    zoe.ok(&["wait", "--messages", "1"]);
    assert!(zoe.ok(&["chat", "history"]).contains("over X-Wing"));
    assert!(bob.ok(&["circle", "create", "Budget", "--with", "Zoë"]).starts_with("The post-quantum circle “Budget”"));
    zoe.ok(&["--circle", "Budget", "wait", "--members", "2"]);
}

#[test]
fn a_post_quantum_circle_waits_until_everybody_has_said_how() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let (carol, _carol_runs) = third(&zoe, &bob, "Carol", "tablet");
    let create = ["circle", "create", "Budget", "--with", "小明", "--post-quantum"];
    let failed = zoe.fails(&create);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("has published no post-quantum key in this space"), "{}", failed.words);
    assert!(failed.words.contains("set the policy post_quantum_circles to true"), "{}", failed.words);
    assert!(zoe.ok(&["circle", "list"]).contains("No circles yet"));

    let said = zoe.ok(&["policy", "set", "post-quantum-circles", "true"]);
    assert!(said.contains("every device says how it can be added to a post-quantum circle"), "{said}");
    zoe.ok(&["chat", "send", "policy is set"]);
    // Who has read that has the policy too, and what Bob answers comes after what his device published.
    bob.ok(&["wait", "--messages", "1"]);
    bob.ok(&["chat", "send", "seen"]);
    zoe.ok(&["wait", "--messages", "2"]);
    assert!(zoe.ok(&create).starts_with("The post-quantum circle “Budget” is founded (2 people)"));
    bob.ok(&["-c", "Budget", "wait", "--members", "2"]);
    bob.ok(&["-c", "Budget", "chat", "send", "between us"]);
    zoe.ok(&["-c", "Budget", "wait", "--messages", "1"]);
    assert_eq!(bob.json(&["circle", "list"])["circles"][0]["post_quantum"], true);
    assert!(bob.ok(&["circle", "list"]).contains("post-quantum"));
    assert!(zoe.ok(&["space", "show"]).lines().any(|line| line.starts_with("keys") && !line.contains("X-Wing")));
    assert!(carol.ok(&["circle", "list"]).contains("No circles yet"));
}
