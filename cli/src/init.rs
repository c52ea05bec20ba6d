//! `clave init`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clave::{LinkCode, LinkProgress, NetworkConfig, Node, NodeConfig, Unlock};

use crate::args::Init;
use crate::failure::{Code, Failure};
use crate::place::{self, Place};
use crate::recovery;
use crate::reply::{Profile, Reply};
use crate::screen::Screen;
use crate::show;
use crate::text;

/// Creates the identity of a person with this as their first device.
pub(crate) async fn init(place: &Place, init: Init, screen: &Screen) -> Result<(), Failure> {
    if let Some(code) = &init.link {
        // Also where a link came to nothing: what belongs to somebody is told from that once it is open.
        return link(place, &init, code, screen).await;
    }
    if Node::exists(&place.directory) {
        return Err(clave::Error::IdentityExists.into());
    }
    if let Some(file) = &init.recovery.restore {
        // Before anything is asked.
        std::fs::File::open(file).map_err(|error| Failure::file(file, &error))?;
        return come_back(place, &init, recovery::Source::Export(file), screen).await;
    }
    let name = clave::check_name(&answer(init.name.clone(), "Your name, as others see it", None)?)
        .map_err(|error| Failure::new(Code::Usage, error))?
        .to_owned();
    if init.recovery.recover {
        return come_back(place, &init, recovery::Source::PhraseAlone { name: &name }, screen).await;
    }
    let device = device_name(&init)?;
    let unlock = unlock(&init, screen)?;
    place.create()?;
    let config = NodeConfig { store: init.store, unlock, ..NodeConfig::new(&place.directory) };
    let (node, phrase) = Box::pin(Node::create_with_phrase(config, &name, &device)).await?;
    let profile = Profile::from(node.profile());
    node.shutdown().await;
    if screen.json {
        return recovery::created(&profile, &phrase, screen);
    }
    screen.say(&format!("You are {} on this device, which is called {}.", text::line(&name), text::line(&device)))?;
    screen.say(&format!("Everything is kept in {}.", place.directory.display()))?;
    recovery::created(&profile, &phrase, screen)?;
    screen.say("")?;
    screen.say("Next: found a space with `clave space new NAME`, or join one with `clave join LINK`.")
}

/// Makes this a device of the person whose phrase is typed.
async fn come_back(place: &Place, init: &Init, from: recovery::Source<'_>, screen: &Screen) -> Result<(), Failure> {
    let device = device_name(init)?;
    let phrase = recovery::read_phrase(init.recovery.phrase_file.as_deref())?;
    let unlock = unlock(init, screen)?;
    place.create()?;
    let config = NodeConfig { store: init.store, unlock, ..NodeConfig::new(&place.directory) };
    recovery::come_back(config, &phrase, from, &device, screen).await
}

/// Makes this a further device of the person who shows the code.
async fn link(place: &Place, init: &Init, code: &str, screen: &Screen) -> Result<(), Failure> {
    let code: LinkCode = code.parse().map_err(clave::Error::Link)?;
    let code = if init.at.is_empty() { code } else { code.at(init.at.clone()) };
    let device = answer(init.device.clone(), "What you call this device", host_name())?;
    let unlock = unlock(init, screen)?;
    place.create()?;
    let network = NetworkConfig { listen: crate::run::listen_addresses(&place.directory), ..NetworkConfig::default() };
    let config = NodeConfig { store: init.store, unlock, network: Some(network), ..NodeConfig::new(&place.directory) };
    let tell = |step| {
        if let LinkProgress::AwaitsConfirmation { person_name, sas } = step {
            // Beside the answer, which scripts read.
            show::link_pending(&person_name, &sas).iter().for_each(|words| screen.note(words));
        }
    };
    let node = Box::pin(Node::link(config, &device, &code, init.timeout, tell)).await?;
    let profile = Profile::from(node.profile());
    node.shutdown().await;
    if screen.json {
        return screen.value(&Reply::Profile(profile));
    }
    let (person, device) = (text::line(&profile.person_name), text::line(&profile.device_name));
    screen.say(&format!("You are {person} on this device too, which is called {device}."))?;
    screen.say("Next: `clave run` keeps it online; `clave space list` says what it is in.")
}

/// What this device is called.
fn device_name(init: &Init) -> Result<String, Failure> {
    let device = answer(init.device.clone(), "What you call this device", host_name())?;
    Ok(clave::check_name(&device).map_err(|error| Failure::new(Code::Usage, error))?.to_owned())
}

/// What is to open the vault of a new device.
fn unlock(init: &Init, screen: &Screen) -> Result<Unlock, Failure> {
    if init.no_passphrase {
        screen.warn(
            "no passphrase: whoever can read the data directory can read everything in it and write in your name.",
        );
        return Ok(Unlock::WithoutPassphrase);
    }
    Ok(match place::passphrase_variable() {
        Some(passphrase) if passphrase.is_empty() => {
            return Err(Failure::usage("CLAVE_PASSPHRASE is empty").hint("to go without one, say --no-passphrase"));
        }
        Some(passphrase) => Unlock::Passphrase(passphrase),
        None => Unlock::Passphrase(place::ask_new_passphrase()?),
    })
}

/// What was given, or what the person answers.
fn answer(given: Option<String>, question: &str, default: Option<String>) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    if !std::io::stdin().is_terminal() {
        return default.ok_or_else(|| {
            Failure::usage("there is no terminal to ask for a name in").hint("give it with --name \"…\"")
        });
    }
    let failed = |error| Failure::failed(format!("the terminal could not be used: {error}"));
    let mut terminal = std::io::stderr().lock();
    match &default {
        Some(default) => write!(terminal, "{question} [{default}]: "),
        None => write!(terminal, "{question}: "),
    }
    .and_then(|()| terminal.flush())
    .map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let line = line.trim();
    Ok(match default {
        Some(default) if line.is_empty() => default,
        _ => line.to_owned(),
    })
}

/// What the system calls this machine, if it says so.
fn host_name() -> Option<String> {
    let from_file = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok().or_else(from_file)?;
    clave::check_name(&name).ok().map(str::to_owned)
}
