//! The shapes of what `--json` prints. Scripts rely on them: fields may be added, none may change or go.

use std::fs;

use serde_json::{Map, Value, json};

use crate::harness::{Device, two};

/// A value with its types in place of its content; of a list, only the first.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let shape = if name == "type" { value.clone() } else { shape(value) };
                (name.clone(), shape)
            };
            Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
        }
    }
}

#[track_caller]
fn expect(device: &Device, args: &[&str], expected: Value) {
    assert_eq!(shape(&device.json(args)), expected, "clave {args:?}");
}

fn person() -> Value {
    json!({ "person": "string", "name": "string", "role": "string", "me": "bool", "verification": "string",
            "devices": [{ "device": "string", "name": "string", "online": "bool" }] })
}

fn profile() -> Value {
    json!({ "person": "string", "person_name": "string", "device": "string", "device_name": "string" })
}

fn with_type(kind: &str, mut value: Value) -> Value {
    value["type"] = json!(kind);
    value
}

#[test]
fn shapes_of_people_and_spaces() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let space = json!({ "id": "string", "name": "string", "members": "number", "post_quantum": "bool" });
    expect(&zoe, &["whoami"], with_type("profile", profile()));
    expect(&zoe, &["space", "list"], json!({ "type": "spaces", "spaces": [space] }));
    expect(&zoe, &["members"], json!({ "type": "members", "members": [person()] }));
    expect(
        &zoe,
        &["invite"],
        json!({ "type": "invitation", "id": "string", "link": "string", "space": "string", "expires_ms": "number",
                "addresses": ["string"] }),
    );
    let invitations = zoe.json(&["invite", "list"]);
    let used = invitations["invitations"].as_array().unwrap().iter().find(|known| known["state"] == "used").unwrap();
    assert_eq!(shape(used), json!({ "id": "string", "state": "string", "used_by": "string", "expires_ms": "number" }));
    zoe.ok(&["chat", "send", "x"]);
    bob.ok(&["wait", "--messages", "1"]);
    expect(
        &zoe,
        &["space", "show"],
        json!({ "type": "space", "id": "string", "name": "string", "members": [person()], "messages": "number",
                "epoch": "string", "commits": "number", "post_quantum": "bool", "devices": "number", "entries": "number", "held": "number",
                "documents": [{ "id": "string", "kind": "string", "heads": ["string"] }] }),
    );
    let mut status = shape(&zoe.json(&["status"]));
    // Measured now and then.
    status["peers"][0].as_object_mut().unwrap().remove("round_trip_ms");
    assert_eq!(
        status,
        json!({ "type": "status", "profile": profile(), "running": "bool", "pid": "number", "directory": "string",
                "addresses": ["string"], "reachability": "string", "sent_bytes": "number", "received_bytes": "number", "store_bytes": "number",
                "refusals": [], "spaces": [space],
                "peers": [{ "device": "string", "name": "string", "address": "string", "way": "string",
                            "sent_bytes": "number", "received_bytes": "number" }] })
    );
}

#[test]
fn shapes_of_work() {
    let zoe = Device::new("Zoë", "laptop");
    expect(
        &zoe,
        &["space", "new", "Kollektiv"],
        json!({ "type": "spaces", "spaces": [{ "id": "string", "name": "string", "members": "number", "post_quantum": "bool" }] }),
    );
    expect(&zoe, &["chat", "send", "x"], json!({ "type": "sent", "id": "string", "online": "number" }));
    zoe.ok(&["chat", "react", "last", "👍"]);
    let id = zoe.json(&["chat", "history"])["messages"][0]["id"].as_str().unwrap().to_owned();
    zoe.ok(&["chat", "send", "--reply-to", &id, "y"]);
    let writer = json!({ "name": "string", "person": "string", "me": "bool" });
    let message = json!({ "id": "string", "author": writer, "sent_ms": "number", "body": "string", "edited": "bool",
                          "withdrawn": "bool", "reactions": [{ "text": "string", "by": ["string"] }],
                          "attachments": [], "state": { "is": "string" } });
    expect(&zoe, &["chat", "history"], json!({ "type": "messages", "messages": [message] }));
    let history = zoe.json(&["chat", "history"]);
    assert_eq!(history["messages"][1]["reply_to"], id.as_str());

    let note = json!({ "type": "note", "id": "string", "title": "string", "markdown": "string", "heads": ["string"] });
    expect(&zoe, &["note", "new", "Plan", "--text", "x"], note.clone());
    expect(&zoe, &["note", "show", "Plan"], note);
    expect(&zoe, &["note", "list"], json!({ "type": "notes", "notes": [{ "id": "string", "title": "string" }] }));

    fs::write(zoe.outside().join("f"), "content").unwrap();
    let mut file = json!({ "type": "file", "id": "string", "path": "string", "folder": "bool", "bytes": "number",
                           "modified_ms": "number", "blake3": "string", "conflicts": "number" });
    expect(&zoe, &["file", "add", "f"], file.clone());
    file.as_object_mut().unwrap().remove("type");
    expect(&zoe, &["file", "ls"], json!({ "type": "files", "path": "string", "files": [file] }));
    expect(
        &zoe,
        &["file", "mkdir", "d"],
        json!({ "type": "file", "id": "string", "path": "string", "folder": "bool", "conflicts": "number" }),
    );

    expect(
        &zoe,
        &["cal", "add", "x", "--at", "2030-01-01", "--with", "a@b.c"],
        json!({ "type": "added", "uid": "string" }),
    );
    expect(
        &zoe,
        &["cal", "agenda", "--from", "2030-01-01"],
        json!({ "type": "agenda", "zone": "string", "from_ms": "number", "to_ms": "number", "truncated": "bool",
                "occurrences": [{ "uid": "string", "summary": "string", "start_ms": "number", "end_ms": "number",
                                  "all_day": "bool", "location": "string", "status": "string",
                                  "attendees": ["string"] }] }),
    );
    fs::write(zoe.outside().join("x.ics"), "BEGIN:VCALENDAR\nnonsense\nEND:VCALENDAR\n").unwrap();
    expect(
        &zoe,
        &["cal", "import", "x.ics"],
        json!({ "type": "imported", "added": "number", "updated": "number", "unchanged": "number",
                "problems": [{ "line": "number", "component": "string", "reason": "string" }] }),
    );
    expect(&zoe, &["cal", "export"], json!({ "type": "calendar", "ics": "string" }));
    expect(&zoe, &["file", "rm", "f"], json!({ "type": "done" }));
}
