//! Circles, access, policies and what was set aside, in words.

use super::{Show, kind, people, quoted, short};
use crate::qr;
use crate::reply::{self, DeviceAccess, PersonAccess};
use crate::screen::bold;
use crate::text::{line, table};
use crate::time::moment;

pub(super) fn circles(circles: &[reply::Circle], how: &Show) -> Vec<String> {
    if let (true, [circle]) = (how.founded, circles) {
        let mut words = vec![
            format!(
                "The {}circle “{}” is founded ({}), and you are its owner.",
                kind(circle.post_quantum),
                line(&circle.name),
                people(circle.members)
            ),
            "Nobody else of the space learns that it exists.".to_owned(),
        ];
        words.push(if circle.scope == "isolated" {
            format!("Next: `clave --circle {} invite` makes a link for somebody from outside.", quoted(&circle.name))
        } else {
            format!("Next: `clave --circle {} chat send Hello`.", quoted(&circle.name))
        });
        return words;
    }
    if circles.is_empty() {
        return vec!["No circles yet: `clave circle create NAME --with PERSON` founds one.".to_owned()];
    }
    let row = |circle: &reply::Circle| {
        let kind = match (circle.direct, circle.scope.as_str()) {
            (true, _) => "chat of two",
            (_, "isolated") => "open to people from outside",
            _ => "",
        };
        let how = self::kind(circle.post_quantum).trim_end();
        let state = match circle.removed {
            Some(_) => "you are out".to_owned(),
            None => [how, kind].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", "),
        };
        vec![short(&circle.id), line(&circle.name), people(circle.members), state]
    };
    table(&circles.iter().map(row).collect::<Vec<_>>())
}

/// Who reads, who does not any more, and whether the keys say so too.
pub(super) fn access(access: &reply::Access) -> Vec<String> {
    let name = line(&access.name);
    let mut words = Vec::new();
    if let Some(removed) = &access.removed {
        words.push(line(removed));
        words.push("As far as this device has heard:".to_owned());
    }
    let (inside, outside): (Vec<_>, Vec<_>) = access.people.iter().partition(|person| person.role.is_some());
    words.push(bold(&format!("Who can read what is written in “{name}” now:")));
    words.extend(rows(&inside));
    if !outside.is_empty() {
        words.push(bold("Who was in, keeps what they had, and gets nothing more:"));
        words.extend(rows(&outside));
        let reasons = outside.iter().filter_map(|person| person.removed.as_ref());
        words.extend(reasons.map(|reason| format!("  {}.", line(reason))));
    }
    words.push(match access.rotated {
        true => format!(
            "Keys: epoch {}, after {} changes. No device that is out has them.",
            short(&access.epoch),
            access.commits
        ),
        false => {
            "Keys: not changed yet since the last removal. Nothing is written with the old ones meanwhile: it waits \
                  until a device that may change them is online."
                .to_owned()
        }
    });
    words.push(format!("History: {}", history(&access.history)));
    words
}

fn rows(people: &[&PersonAccess]) -> Vec<String> {
    let mut rows = Vec::new();
    for person in people {
        let name = format!("{}{}", line(&person.name), if person.me { " (you)" } else { "" });
        let role = person.role.clone().unwrap_or_default();
        if person.devices.is_empty() {
            rows.push(vec![name.clone(), role.clone(), String::new(), "no devices".to_owned()]);
        }
        for device in &person.devices {
            rows.push(vec![name.clone(), role.clone(), line(&device.name), reading(device)]);
        }
    }
    table(&rows).into_iter().map(|row| format!("  {row}")).collect()
}

fn reading(device: &DeviceAccess) -> String {
    let confirmed = if device.confirmed { ", has the newest keys" } else { ", not seen with the newest keys yet" };
    match (device.reading.as_str(), device.until_ms) {
        ("now", _) => format!("reads{confirmed}"),
        ("until", Some(at)) => format!("reads until {}{confirmed}", moment(at)),
        ("soon", _) => "is in; the keys have not reached it yet".to_owned(),
        ("stopping", _) => "is out; the keys are being changed".to_owned(),
        _ => "reads nothing new".to_owned(),
    }
}

pub(super) fn removal(removal: &reply::Removal) -> Vec<String> {
    let name = line(&removal.name);
    let mut words = vec![format!("{name} is removed from “{}”.", line(&removal.from))];
    if !removal.circles.is_empty() {
        words.push(format!("And from the circles that you share: {}.", list(&removal.circles)));
    }
    words.push(match removal.keeps.is_empty() {
        true => format!("{name} had no device there."),
        false => {
            format!("{name} keeps what was written before, on {}; nothing written from now on.", list(&removal.keeps))
        }
    });
    words.push(format!("Who reads on: {}.", list(&removal.reads)));
    words.push(match removal.no_wait {
        true => {
            "The keys change as soon as a device that may change them is online: `clave access` says when.".to_owned()
        }
        false => "The keys are being changed…".to_owned(),
    });
    words
}

pub(super) fn rotation(rotation: &reply::Rotation) -> Vec<String> {
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let Some(rotated_ms) = rotation.rotated_ms else {
        return vec![
            format!(
                "They have not changed within {}. Nothing is written with the old ones meanwhile.",
                seconds(rotation.waited_ms)
            ),
            "`clave access` says when it is done.".to_owned(),
        ];
    };
    let mut words = vec![
        format!("The keys have changed, after {}.", seconds(rotated_ms)),
        format!("Seen with the new ones: {}.", list(&rotation.confirmed)),
    ];
    if !rotation.unconfirmed.is_empty() {
        words.push(format!("Not yet: {}. `clave access` says when.", list(&rotation.unconfirmed)));
    }
    words
}

pub(super) fn set_aside(set_aside: &reply::SetAside) -> Vec<String> {
    if set_aside.acts.is_empty() && set_aside.documents.is_empty() {
        return vec![format!("Nothing is set aside in “{}”.", line(&set_aside.name))];
    }
    let mut words: Vec<String> = set_aside.acts.iter().map(|act| line(act)).collect();
    for document in &set_aside.documents {
        let what = match (document.kind.as_str(), document.title.is_empty()) {
            ("note", false) => format!("the note “{}”", line(&document.title)),
            ("note", true) => format!("the note {}", short(&document.id)),
            (kind, _) => format!("the {kind}"),
        };
        let count = if document.changes == 1 { "1 change".to_owned() } else { format!("{} changes", document.changes) };
        let verb = if document.changes == 1 { "is" } else { "are" };
        let when = match document.first_ms == document.last_ms {
            true => moment(document.first_ms),
            false => format!("{} to {}", moment(document.first_ms), moment(document.last_ms)),
        };
        let by = list(&document.authors);
        words.push(format!(
            "{count} by {by} in {what} ({when}) {verb} not shown: {}",
            line(&document.reasons.join(" "))
        ));
    }
    if !set_aside.documents.is_empty() {
        words.push("To take over what they wrote: `clave set-aside keep DOCUMENT`, or --all.".to_owned());
    }
    words
}

pub(super) fn kept(changes: usize, documents: usize) -> String {
    match (changes, documents) {
        (0, _) => "There is nothing to take over.".to_owned(),
        (changes, documents) => format!(
            "{changes} {} in {documents} {} {} shown to everybody again, on your word.",
            if changes == 1 { "change" } else { "changes" },
            if documents == 1 { "document" } else { "documents" },
            if changes == 1 { "is" } else { "are" }
        ),
    }
}

pub(super) fn link_code(code: &reply::LinkCode, how: &Show) -> Vec<String> {
    let mut words = vec![
        format!("Whoever takes up this code is you, until {}. Show it to nobody:", moment(code.expires_ms)),
        String::new(),
    ];
    words.extend([code.code.clone(), String::new()]);
    if how.qr {
        match qr::draw(&code.code) {
            Some(drawn) => words.extend(drawn),
            None => words.push("(The code is too long to be drawn.)".to_owned()),
        }
        words.push(String::new());
    }
    words.push("On the new device: clave init --link CODE".to_owned());
    let at = code.addresses.first().map(|address| format!(" --at {}", line(address))).unwrap_or_default();
    words.push(format!("or, to type:       clave init --link {}{at}", code.typed));
    words.push("Waiting for it…".to_owned());
    words
}

pub(super) fn compare(compare: &reply::Compare) -> Vec<String> {
    let mut words = vec![format!("Compare with {}, by voice or side by side:", line(&compare.name))];
    words.extend(pictures(&compare.emoji, &compare.digits));
    words
}

fn pictures(emoji: &[(String, String)], digits: &[u16]) -> Vec<String> {
    let mut words = vec![String::new()];
    words.extend(emoji.iter().map(|(sign, word)| format!("    {sign}  {word}")));
    let digits = digits.iter().map(ToString::to_string).collect::<Vec<_>>().join("  ");
    words.extend([String::new(), format!("or, where pictures do not work:  {digits}"), String::new()]);
    words
}

pub(super) fn link_asked(asked: &reply::LinkAsked) -> Vec<String> {
    let mut words = vec![format!(
        "A device called “{}” wants to be yours. It must show the same as this one:",
        line(&asked.device_name)
    )];
    words.extend(pictures(&asked.emoji, &asked.digits));
    words.push("If it is yours, it gets your identity and everything that you can read.".to_owned());
    words
}

/// On the new device: what the other one shows as well.
pub(crate) fn link_pending(person: &str, sas: &clave::Sas) -> Vec<String> {
    let (emoji, digits) = reply::pictures(sas);
    let mut words = vec![format!("This will be a device of {}. Your other device must show the same:", line(person))];
    words.extend(pictures(&emoji, &digits));
    words.push("If it does, and only then, say yes there. Waiting for that…".to_owned());
    words
}

pub(super) fn verified(name: &str, verification: &str) -> String {
    let name = line(name);
    match verification {
        "verified" => format!("{name} is verified on this device: nobody sits between the two of you."),
        "changed" => format!("{name} is not marked as verified any more, and somebody else is who has that name."),
        _ => format!("{name} is not marked as verified any more."),
    }
}

pub(super) fn safety_number(name: &str, number: &str, verification: &str) -> Vec<String> {
    let name = line(name);
    let groups: Vec<&str> = number.split(' ').collect();
    let mut words = vec![
        format!("The safety number of you and {name}. {name} sees the same: clave verify --number YOU"),
        String::new(),
    ];
    words.extend(groups.chunks(4).map(|four| format!("    {}", four.join(" "))));
    words.push(String::new());
    words.push(match verification {
        "verified" => format!("{name} is verified on this device already."),
        "changed" => format!(
            "Somebody else called {name} was verified here before: either they began anew, or somebody took the name. Compare!"
        ),
        _ => format!("If it is the same: clave verify --mark {}", quoted(&name)),
    });
    words
}

pub(super) fn policies(policies: &reply::Policies) -> Vec<String> {
    let meaning = |key: &str, value: &str| match (key, value) {
        ("members_may_invite", "true") => "members bring people in, as members or guests".to_owned(),
        ("members_may_invite", _) => "only owners and admins bring people in".to_owned(),
        ("history", value) => history(value),
        ("post_quantum_circles", "true") => "every device says how it can be added to a post-quantum circle".to_owned(),
        ("post_quantum_circles", _) => "no post-quantum circles with others in this space".to_owned(),
        (key, "") if key.starts_with("relay.") => "no relay".to_owned(),
        (key, _) if key.starts_with("relay.") => "keeps what is written here for who is not online".to_owned(),
        _ => "of a newer version".to_owned(),
    };
    let rows: Vec<_> =
        policies.policies.iter().map(|(key, value)| vec![line(key), line(value), meaning(key, value)]).collect();
    let mut words = vec![bold(&format!("Policies of “{}”", line(&policies.name)))];
    words.extend(table(&rows));
    words
}

fn history(value: &str) -> String {
    match value.split_once(':') {
        Some(("ratcheted", seconds)) => {
            let seconds: i64 = seconds.parse().unwrap_or(0);
            format!("newcomers read what is written since they came; everything is erased after {}", time(seconds))
        }
        _ if value == "since_joining" => "newcomers read what is written since they came".to_owned(),
        _ => "newcomers read everything that was ever written".to_owned(),
    }
}

fn time(seconds: i64) -> String {
    let (count, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Names, one after the other.
fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().map(|name| line(name)).collect::<Vec<_>>().join(", ")
}
