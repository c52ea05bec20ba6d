//! Files: folders in one go, versions, what they take and giving it back.

use crate::harness::{Device, two};

#[test]
fn a_folder_goes_over_and_comes_back() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let folder = zoe.outside().join("文件夹");
    std::fs::create_dir_all(folder.join("会议")).unwrap();
    for n in 0..20 {
        std::fs::write(folder.join(format!("记录{n}.md")), format!("第{n}次")).unwrap();
    }
    std::fs::write(folder.join("会议/大.bin"), vec![7; 300_000]).unwrap();
    assert_eq!(zoe.json(&["file", "add", "文件夹"])["path"], "/文件夹");
    bob.ok(&["wait", "--file", "/文件夹/会议/大.bin"]);
    bob.ok(&["file", "get", "/文件夹"]);
    let copy = bob.outside().join("文件夹");
    assert_eq!(std::fs::read_to_string(copy.join("记录7.md")).unwrap(), "第7次");
    assert_eq!(std::fs::read(copy.join("会议/大.bin")).unwrap(), vec![7; 300_000]);
}

#[test]
fn versions_are_listed_restored_and_done_without() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "Team"]);
    let path = zoe.outside().join("计划.bin");
    for byte in 1..=3 {
        std::fs::write(&path, vec![byte; 100_000 + usize::from(byte)]).unwrap();
        zoe.ok(&["file", "add", "计划.bin"]);
    }
    let versions = zoe.json(&["file", "versions", "/计划.bin"]);
    let bytes: Vec<_> =
        versions["versions"].as_array().unwrap().iter().map(|version| version["bytes"].clone()).collect();
    assert_eq!(bytes, [100_003, 100_002, 100_001]);
    assert_eq!(zoe.ok(&["file", "versions", "/计划.bin"]).lines().count(), 3);
    assert_eq!(zoe.json(&["file", "restore", "/计划.bin", "3"])["bytes"], 100_001);
    assert_eq!(zoe.fails(&["file", "restore", "/计划.bin", "9"]).exit, 3);

    let used = zoe.json(&["file", "usage"])["bytes"].as_u64().unwrap();
    assert!(used > 300_000, "{used}");
    let quota = (used + 10_000).to_string();
    assert!(zoe.ok(&["file", "quota", &quota]).contains("at most"));
    std::fs::write(&path, vec![9; 200_000]).unwrap();
    let refused = zoe.fails(&["file", "add", "计划.bin"]);
    assert!(refused.words.contains("raise the quota"), "{}", refused.words);
    zoe.ok(&["file", "quota", "none"]);
    assert_eq!(zoe.fails(&["file", "quota", "much"]).exit, 2);

    // A day has not passed.
    let collected = zoe.json(&["file", "gc", "--versions", "1"]);
    assert_eq!(collected["removed_chunks"], 0);
    assert!(collected["condemned_bytes"].as_u64().unwrap() > 200_000, "{collected}");
    // Whoever wants them all again gets them acquitted.
    assert_eq!(zoe.json(&["file", "gc"])["condemned_bytes"], 0);
    zoe.ok(&["file", "get", "/计划.bin", "-o", "copy"]);
    assert_eq!(std::fs::read(zoe.outside().join("copy")).unwrap(), vec![1; 100_001]);
}
