//! The export of an account and the way back, in words.

use super::{bytes, line, people, quoted};
use crate::reply::{OpenExported, Rejoining, Restored};

pub(super) fn exported(file: &str, size: u64, records: u64, with_files: bool) -> Vec<String> {
    let files = match with_files {
        true => "The content of files is in it, as far as it is on this device.",
        false => "The content of files is not in it (--with-files); after a restore it is fetched from others.",
    };
    vec![
        format!("Your account is in {}: {}, {records} records, read back and whole.", line(file), bytes(size)),
        files.to_owned(),
        "Only your recovery phrase opens it: clave init --restore FILE".to_owned(),
    ]
}

pub(super) fn open_exported(exported: &OpenExported) -> Vec<String> {
    let OpenExported { directory, circles, messages, notes, events, files, documents, missing } = exported;
    let mut words = vec![
        format!("{}: {circles} spaces and circles, in clear.", line(directory)),
        format!("{messages} messages, {notes} notes, {events} events, {files} files, {documents} Automerge files."),
    ];
    if !missing.is_empty() {
        words.push("Not on this device, and so not there yet:".to_owned());
        words.extend(missing.iter().map(|path| format!("  {}", line(path))));
        words.push("Next: the same again with --wait 1m, while somebody who has them is online.".to_owned());
    }
    words
}

pub(super) fn restored(restored: &Restored) -> Vec<String> {
    let (person, device) = (line(&restored.profile.person_name), line(&restored.profile.device_name));
    let mut words = vec![
        format!("You are {person} again, on this device, which is called {device}."),
        format!("Everything is kept in {}.", restored.directory),
    ];
    if !restored.exported {
        words.push("There is your identity, and nothing else: what you had in spaces was on the devices.".to_owned());
        words.push(
            "Next: if one of your devices is left, `clave device link` there makes another one yours, with everything \
             (`clave init --link` in a directory that is still empty)."
                .to_owned(),
        );
        words.push(
            "If none is left, have somebody in each space remove you and invite you anew: clave join LINK".to_owned(),
        );
        return words;
    }
    if restored.spaces.is_empty() {
        words.push("The export has no spaces in it.".to_owned());
        words.push("Next: found one with `clave space new NAME`, or join one with `clave join LINK`.".to_owned());
        return words;
    }
    words.push("Readable now, offline too:".to_owned());
    for space in &restored.spaces {
        words.push(format!("  {} ({})", line(&space.name), people(space.members)));
        words.extend(space.removed.iter().map(|removed| format!("    {}", line(removed))));
    }
    words.extend(rejoining(&restored.rejoining));
    if let Some(lost) = restored.devices.first() {
        let names = restored.devices.iter().map(|name| format!("“{}”", line(name))).collect::<Vec<_>>().join(", ");
        words.push(format!(
            "Still yours: {names}. Once you can write, revoke what is lost: clave device revoke {}",
            quoted(lost)
        ));
    }
    words
}

/// Where a restored device only reads so far, and what is to be done about it.
pub(super) fn rejoining(waiting: &[Rejoining]) -> Vec<String> {
    let name = |known: &Rejoining| match &known.space {
        Some(space) => format!("“{}” (in “{}”)", line(&known.name), line(space)),
        None => format!("“{}”", line(&known.name)),
    };
    let (alone, others): (Vec<_>, Vec<_>) = waiting.iter().partition(|known| known.alone);
    let mut words = Vec::new();
    if !others.is_empty() {
        let names = others.into_iter().map(name).collect::<Vec<_>>().join(", ");
        words.push(format!("You can read; you can write again once a member of the space is met: {names}."));
        words.push(
            "Next: `clave run`, while one of them is online. `clave status` says what is still waiting.".to_owned(),
        );
    }
    for known in alone {
        let place = match &known.space {
            Some(space) => format!("--space {} --circle {}", quoted(space), quoted(&known.name)),
            None => format!("--space {}", quoted(&known.name)),
        };
        words.push(format!(
            "In {} you are alone. If your other devices there are lost, make it yours again: clave {place} account begin-anew",
            name(known)
        ));
    }
    words
}
