//! Questions about people: circles, members, policies, the audit.

use std::time::Duration;

use super::{Question, millis, read, said, unexpected};
use crate::args::{
    self, Audit, AuditCommand, CircleCommand, DeviceCommand, Dm, Members, MembersCommand, Policy, PolicyCommand,
    PushCommand, RelayCommand, SetAside, SetAsideCommand,
};
use crate::audit;
use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::reply::{self, Reply};
use crate::request::{About, Ask, Network, Request, Secret};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};
use crate::when;

/// What is said to whoever leaves.
pub(super) const LEFT: &str = "You left. What is on this device stays readable; nothing more arrives.";

pub(super) fn circle(command: CircleCommand, about: &mut About) -> Question {
    match command {
        CircleCommand::Create { name, with, isolated, post_quantum } => {
            about.circle = None;
            let show = Show { founded: true, ..Show::default() };
            Question { show, ..Question::new(Ask::CircleNew { name, with, isolated, post_quantum }) }
        }
        CircleCommand::List => {
            about.circle = None;
            Question::new(Ask::CircleList)
        }
        CircleCommand::Leave { circle } => {
            about.circle = Some(circle);
            said(Ask::Leave, LEFT)
        }
    }
}

pub(super) fn device(command: DeviceCommand) -> Question {
    match command {
        DeviceCommand::List => Question::new(Ask::DeviceList),
        DeviceCommand::Link { valid, qr, .. } => {
            let show = Show { qr, ..Show::default() };
            Question { show, ..Question::new(Ask::DeviceLink { valid_ms: millis(valid), confirm: false }) }
        }
        DeviceCommand::Rename { device, name } => {
            said(Ask::DeviceRename { device, name }, "It is called that everywhere now.")
        }
        DeviceCommand::Revoke { device, wait } => Question::new(Ask::DeviceRevoke { device, wait_ms: millis(wait) }),
    }
}

pub(super) fn direct(dm: Dm) -> Result<Question, Failure> {
    let Dm { person, text, count } = dm;
    let body = match text.is_empty() {
        true => None,
        false => Some(
            args::joined(&text)
                .map_err(|error| Failure::failed(format!("the standard input could not be read: {error}")))?,
        ),
    };
    let show = Show { with: Some(person.clone()), ..Show::default() };
    Ok(Question { show, ..Question::new(Ask::Dm { person, body, count }) })
}

pub(super) fn members(members: Members) -> Result<Question, Failure> {
    let name = |role: args::RoleName| clave::Role::from(role).to_string();
    Ok(match members.command {
        None => Question::new(Ask::Members),
        Some(MembersCommand::Add { person, role }) => said(
            Ask::MembersAdd { person, role: name(role) },
            "Added. It reaches their devices as soon as they are connected.",
        ),
        Some(MembersCommand::Remove { person, no_wait, wait }) => {
            let wait = if no_wait { Duration::ZERO } else { wait };
            Question::new(Ask::MembersRemove { person, wait_ms: millis(wait) })
        }
        Some(MembersCommand::Role { person, role }) => {
            said(Ask::MembersRole { person, role: name(role) }, "They have that role now.")
        }
        Some(MembersCommand::Grant { person, until }) => said(
            Ask::MembersGrant { person, until_ms: when::until(&until)? },
            "Granted. Everybody is reminded a day and an hour before it ends; after it they get nothing more.",
        ),
    })
}

pub(super) fn set_aside(command: SetAside) -> Question {
    match command.command {
        None => Question::new(Ask::SetAside),
        Some(SetAsideCommand::Keep { document, all: _ }) => Question::new(Ask::Keep { document }),
    }
}

pub(super) fn policy(policy: Policy) -> Result<Question, Failure> {
    Ok(match policy.command {
        None => Question::new(Ask::Policies),
        Some(PolicyCommand::Set { key, value }) => {
            let key = key.replace('-', "_");
            let value = match value.split_once(':') {
                Some(("ratcheted", time)) if time.parse::<u64>().is_err() => {
                    let time = args::duration(time).map_err(Failure::usage)?;
                    format!("ratcheted:{}", time.as_secs())
                }
                _ => value.replace('-', "_"),
            };
            Question::new(Ask::PolicySet { key, value })
        }
    })
}

pub(super) fn relay(command: RelayCommand) -> Result<Question, Failure> {
    let secret = |typed: String| args::joined(&[typed]).map(|read| Secret::new(read.trim())).map_err(unread);
    Ok(match command {
        RelayCommand::List => Question::new(Ask::Relays),
        RelayCommand::Add { address, token } => {
            Question::new(Ask::RelayAdd { address, token: token.map(secret).transpose()? })
        }
        RelayCommand::Token { relay, token, .. } => {
            let words = match token {
                Some(_) => "This device shows the relay that token from now on.",
                None => "This device shows the relay no token any more.",
            };
            said(Ask::RelayToken { relay, token: token.map(secret).transpose()? }, words)
        }
        RelayCommand::Remove { relay } => Question::new(Ask::RelayRemove { relay }),
    })
}

pub(super) fn push(command: PushCommand) -> Question {
    Question::new(match command {
        PushCommand::Set { endpoint: url, p256dh, auth, relay } => {
            let keys = p256dh.zip(auth).map(|(p256dh, auth)| (p256dh, Secret::new(&auth)));
            Ask::PushSet { url, keys, relay }
        }
        PushCommand::Clear => Ask::PushClear,
        PushCommand::Status => Ask::PushStatus,
    })
}

fn unread(error: std::io::Error) -> Failure {
    Failure::failed(format!("the standard input could not be read: {error}"))
}

pub(super) async fn audit(place: &Place, about: About, audit: Audit, screen: &Screen) -> Result<(), Failure> {
    if let Some(AuditCommand::Check { file, hash, here }) = audit.command {
        let exported = audit::check(&read(&file)?)?;
        let mut compared = false;
        if let Some(hash) = hash {
            let hash = hash.trim().to_ascii_lowercase();
            if hash != exported.hash && hash != exported.keys.hash {
                let words = format!(
                    "the list fits in itself, and its last hash is not that one: it is {}, and that of the keys {}",
                    exported.hash, exported.keys.hash
                );
                return Err(Failure::new(Code::Refused, words).reason("altered").hint(
                    "either it was altered, or the two speak of different moments: export again, and compare again",
                ));
            }
            compared = true;
        }
        let mut newer_here = None;
        if here {
            let about = About { circle: None, space: Some(exported.circle.clone()) };
            let known = match ask_audit(place, about).await {
                Err(failure) if failure.code == Code::NotFound => {
                    ask_audit(place, About { space: None, circle: Some(exported.circle.clone()) }).await?
                }
                known => known?,
            };
            newer_here = Some(audit::compare(&exported, &known)?);
            compared = true;
        }
        let reply::Audit { circle, records, hash, keys, .. } = exported;
        let (records, key_changes) = (records.len(), keys.changes.len());
        let keys_hash = keys.hash;
        let checked = reply::Checked { circle, records, hash, key_changes, keys_hash, compared, newer_here };
        return show(&Reply::Checked(checked), &Show::default(), screen);
    }
    let known = ask_audit(place, about).await?;
    let Some(path) = audit.export else { return show(&Reply::Audit(known), &Show::default(), screen) };
    std::fs::write(&path, audit::export(&known)?).map_err(|error| Failure::file(&path, &error))?;
    let show_as = Show { written: Some(path), ..Show::default() };
    show(&Reply::Audit(known), &show_as, screen)
}

async fn ask_audit(place: &Place, about: About) -> Result<reply::Audit, Failure> {
    let mut session = Session::open(place, Network::Offline).await?;
    let reply = session.call(&Request { about, ask: Ask::Audit }, |_| Ok(())).await;
    session.close().await;
    match reply? {
        Reply::Audit(audit) => Ok(audit),
        _ => Err(unexpected()),
    }
}
