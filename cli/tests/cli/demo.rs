//! The demo and the replay, from outside.

use std::fs;

use serde_json::Value;

use crate::harness::Device;

#[test]
fn the_demo_ends_with_equal_devices() {
    let device = Device::blank();
    let file = device.outside().join("some file.txt");
    fs::write(&file, "content").unwrap();
    let demo = device.output(&["--json", "demo", "--nodes", "2", "--file", file.to_str().unwrap(), "--keep=false"]);
    let errors = String::from_utf8_lossy(&demo.stderr).into_owned();
    assert!(demo.status.success(), "{errors}");
    let text = String::from_utf8(demo.stdout).unwrap();
    let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((end["type"].as_str(), end["equal"].as_bool()), (Some("demo"), Some(true)));
    let devices = end["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    for device in devices {
        assert_eq!(device["documents"], devices[0]["documents"]);
        assert_eq!(device["documents"].as_object().unwrap().len(), 4);
        assert_eq!(device["file"], blake3::hash(b"content").to_string());
        assert!(device["sent_bytes"].as_u64().unwrap() > 1_000);
        assert!(!fs::exists(device["directory"].as_str().unwrap()).unwrap(), "--keep=false");
    }
}

/// Two people type at the same time, each behind the other by one.
#[test]
fn a_recorded_session_ends_as_recorded() {
    let device = Device::blank();
    let txn = |agent: u32, parents: &[u32], at: u32, insert: &str| serde_json::json!({ "agent": agent, "parents": parents, "patches": [[at, 0, insert]] });
    let mut txns = vec![txn(0, &[], 0, "|")];
    for step in 0..20_u32 {
        // Both saw what the other wrote in the step before, not in this one.
        let parents: Vec<u32> = if step == 0 { vec![0] } else { vec![2 * step - 1, 2 * step] };
        txns.push(txn(0, &parents, 0, "左"));
        txns.push(txn(1, &parents, 2 * step + 1 - step, "r"));
    }
    let end = format!("{}|{}", "左".repeat(20), "r".repeat(20));
    let trace = device.outside().join("trace.json");
    fs::write(&trace, serde_json::json!({ "endContent": end, "txns": txns }).to_string()).unwrap();
    let replay = device.json_lines(&["note", "replay", trace.to_str().unwrap()]);
    let result = replay.last().unwrap();
    assert_eq!((result["equal"].as_bool(), result["changes"].as_u64()), (Some(true), Some(41)), "{result}");
    let wrong = serde_json::json!({ "endContent": "something else", "txns": txns });
    fs::write(&trace, wrong.to_string()).unwrap();
    assert_eq!(device.output(&["note", "replay", trace.to_str().unwrap()]).status.code(), Some(1));
    fs::write(&trace, "{}").unwrap();
    assert_eq!(device.output(&["note", "replay", trace.to_str().unwrap()]).status.code(), Some(2));
}
