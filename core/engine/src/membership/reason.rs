//! Why an operation has no effect, and how to say so.

use std::fmt;

use clave_crypto::{DeviceId, PersonId};

use super::action::Action;
use super::operation::Operation;
use super::rights::{Right, Role};
use crate::OperationId;

/// Why an operation has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// No operation before it introduces the author.
    AuthorUnknown,
    /// The author had been removed before.
    AuthorRemoved {
        /// By this.
        by: OperationId,
    },
    /// The author, or who brought them in, owes the place to an operation that is itself set aside.
    AuthorSetAside {
        /// That operation.
        admission: OperationId,
    },
    /// The author was removed at the same time.
    RemovedMeanwhile {
        /// By this.
        by: OperationId,
    },
    /// The author lost the right at the same time.
    LoweredMeanwhile {
        /// By this.
        by: OperationId,
    },
    /// The policy that gave the author the right was withdrawn at the same time.
    PolicyMeanwhile {
        /// By this.
        by: OperationId,
    },
    /// The author's role does not have the right.
    NotAllowed {
        /// Which.
        right: Right,
    },
    /// The author's role may not give that role.
    RoleTooHigh {
        /// Which.
        role: Role,
    },
    /// The author's role does not reach whom it is about.
    Outranked,
    /// Whom it removes was at the same time given a role beyond the author's reach.
    Overruled {
        /// By this.
        by: OperationId,
    },
    /// It would leave nobody who is an owner and has a device.
    LastOwner,
    /// Who or what it brings in is there already.
    AlreadyThere,
    /// Whom or what it is about is not there.
    NotThere,
    /// The device belongs to somebody else.
    DeviceTaken,
    /// It speaks for a person whose device the author is not.
    NotTheirOwn,
    /// It ends a grant, but whom it is about is no guest with a date.
    NoGrant,
    /// It brings a device in, or changes the recovery key, by a recovery key that is not in force for its person.
    NoRecovery,
    /// The recovery key by which it brings a device in was changed at the same time.
    RecoveryChangedMeanwhile {
        /// The change.
        by: OperationId,
    },
    /// It brings a device in by a recovery key that was named before, so perhaps removed.
    NotNew,
    /// It changes nothing.
    NoChange,
    /// It is malformed or from a newer version of Clave.
    Unreadable,
}

/// An operation that is in the log and has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The operation.
    pub operation: OperationId,
    /// Its author.
    pub author: DeviceId,
    /// Why.
    pub reason: Reason,
}

impl Reason {
    /// The operation that it names.
    #[must_use]
    pub fn by(&self) -> Option<OperationId> {
        match self {
            Self::AuthorSetAside { admission: by }
            | Self::AuthorRemoved { by }
            | Self::RemovedMeanwhile { by }
            | Self::LoweredMeanwhile { by }
            | Self::RecoveryChangedMeanwhile { by }
            | Self::PolicyMeanwhile { by }
            | Self::Overruled { by } => Some(*by),
            _ => None,
        }
    }
}

/// Names for those whom sentences speak of.
pub(crate) trait Names {
    fn person(&self, person: PersonId) -> String;
    fn device(&self, device: DeviceId) -> String;
    /// The author of an operation.
    fn author(&self, operation: OperationId) -> String;
}

/// To whoever wanted to do it: why others would set it aside.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorUnknown => f.write_str("this device is not in the circle; ask a member for an invitation"),
            Self::AuthorRemoved { .. } | Self::RemovedMeanwhile { .. } => {
                f.write_str("this device or its person was removed from the circle; ask a member for an invitation")
            }
            Self::AuthorSetAside { .. } => {
                f.write_str("the admission of this device was set aside; ask a member for an invitation")
            }
            Self::LoweredMeanwhile { .. } => f.write_str("the role was lowered at the same time; ask an owner"),
            Self::PolicyMeanwhile { .. } => f.write_str("the policy was withdrawn at the same time; ask an admin"),
            Self::NotAllowed { right } => write!(f, "your role may not {right}; ask an admin"),
            Self::RoleTooHigh { role } => write!(f, "your role may not make anybody {}; ask an owner", article(*role)),
            Self::Outranked => f.write_str("your role does not reach that far; ask an owner"),
            Self::Overruled { .. } => f.write_str("they were given a role beyond your reach; ask an owner"),
            Self::LastOwner => {
                f.write_str("the circle would have no owner with a device left; make somebody else an owner first")
            }
            Self::AlreadyThere => f.write_str("they are in the circle already"),
            Self::NotThere => f.write_str("they are not in the circle"),
            Self::DeviceTaken => f.write_str("the device is somebody else's; use another"),
            Self::NotTheirOwn => f.write_str("only the person themselves can do that"),
            Self::NoGrant => f.write_str("they are no guest with a date; remove them instead"),
            Self::RecoveryChangedMeanwhile { .. } => {
                f.write_str("the recovery phrase was changed at the same time; recover with the new one")
            }
            Self::NoRecovery => {
                f.write_str("the recovery phrase is not this person's, or was changed since; check the phrase, or ask a member for an invitation")
            }
            Self::NotNew => f.write_str("the device was in the circle before; recover on a device with a new identity"),
            Self::NoChange => f.write_str("they have that role already"),
            Self::Unreadable => f.write_str("it is malformed or out of bounds, or needs a newer version of Clave"),
        }
    }
}

impl std::error::Error for Reason {}

impl Reason {
    /// Completes "… was set aside because".
    fn clause(&self, author: &str, names: &dyn Names) -> String {
        match self {
            Self::AuthorUnknown => "nobody had brought its author in".to_owned(),
            Self::AuthorRemoved { by } => format!("{} had removed {author} before", names.author(*by)),
            Self::AuthorSetAside { admission } => {
                format!("{author} had come in by an act of {} that was itself set aside", names.author(*admission))
            }
            Self::RemovedMeanwhile { by } => format!("{} removed {author} at the same time", names.author(*by)),
            Self::LoweredMeanwhile { by } => {
                format!("{} gave {author} a lower role at the same time", names.author(*by))
            }
            Self::PolicyMeanwhile { by } => {
                format!("{} withdrew at the same time what allowed it", names.author(*by))
            }
            Self::NotAllowed { right } => format!("{author} may not {right}"),
            Self::RoleTooHigh { role } => format!("{author} may not make anybody {}", article(*role)),
            Self::Outranked => format!("{author}'s role does not reach that far"),
            Self::Overruled { by } => {
                format!("{} gave them a role beyond {author}'s reach at the same time", names.author(*by))
            }
            Self::LastOwner => "the circle would have had no owner with a device left".to_owned(),
            Self::AlreadyThere => "they were there already".to_owned(),
            Self::NotThere => "they were not there".to_owned(),
            Self::DeviceTaken => "the device is somebody else's".to_owned(),
            Self::NotTheirOwn => format!("only the person themselves can do that, and {author} is somebody else"),
            Self::NoGrant => "they are no guest with a date".to_owned(),
            Self::RecoveryChangedMeanwhile { by } => {
                format!("{} changed the recovery phrase at the same time", names.author(*by))
            }
            Self::NoRecovery => format!("that recovery key was not {author}'s, or no longer"),
            Self::NotNew => "the device had been there before, and a recovery brings in new ones only".to_owned(),
            Self::NoChange => "it changes nothing".to_owned(),
            Self::Unreadable => "this version of Clave cannot read it; update to see what it says".to_owned(),
        }
    }
}

/// An operation as a sentence. `own` is the author's person.
pub(crate) fn sentence(operation: &Operation, own: Option<PersonId>, names: &dyn Names) -> String {
    format!("{} {}", names.author(operation.id()), words(operation.action(), own, names).0)
}

/// Why an operation has no effect, as a sentence.
pub(crate) fn explanation(operation: &Operation, reason: Reason, own: Option<PersonId>, names: &dyn Names) -> String {
    let (author, what) = (names.author(operation.id()), words(operation.action(), own, names).1);
    format!("{author}'s {what} was set aside because {}.", reason.clause(&author, names))
}

/// What was done, perhaps by the person it is about, in two forms: "added Bob as a member" and "addition of Bob as a member".
fn words(action: &Action, own: Option<PersonId>, names: &dyn Names) -> (String, String) {
    let (verb, noun, rest) = match action {
        Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } if Some(*person) == own => {
            ("left", "leaving", "the circle".to_owned())
        }
        Action::SetRole { person, role, .. } if Some(*person) == own => ("became", "becoming", article(*role)),
        Action::Genesis { name, suite, .. } => {
            let kind = if suite.is_post_quantum() { "post-quantum circle" } else { "circle" };
            ("created", "creation of", format!("the {kind} “{name}”"))
        }
        Action::AddPerson { newcomer, role } => {
            ("added", "addition of", format!("{} as {}", names.person(newcomer.person), article(*role)))
        }
        Action::AddDevice { device } => ("added", "addition of", format!("the device “{}”", device.name)),
        Action::RecoverDevice { device, .. } => {
            ("recovered with", "recovery with", format!("the new device “{}”", device.name))
        }
        Action::SetRecovery { .. } => ("took", "taking of", "another recovery phrase".to_owned()),
        Action::RevokePerson { person, .. } => ("removed", "removal of", names.person(*person)),
        Action::RevokeDevice { device, .. } => {
            ("revoked", "revocation of", format!("the device “{}”", names.device(*device)))
        }
        Action::SetRole { person, role, .. } => {
            ("made", "making", format!("{} {}", names.person(*person), article(*role)))
        }
        Action::Rename { name } => ("renamed", "renaming of", format!("the circle to “{name}”")),
        Action::SetProfile { name, .. } => ("took", "taking of", format!("the name “{name}”")),
        Action::RenameDevice { device, name } => {
            // Not by the name that it had: here it has the new one already.
            ("named", "naming of", format!("the device {} “{name}”", device.short()))
        }
        Action::Grant { guest, .. } => {
            ("let in", "admission of", format!("{} as a guest until a date", names.person(guest.person)))
        }
        Action::EndGrant { person, .. } => ("ended", "ending of", format!("the stay of {}", names.person(*person))),
        Action::PublishKeyPackages { .. } => ("published", "publication of", "key packages".to_owned()),
        Action::SetPolicy { key, value, .. } => ("set", "setting of", format!("the policy {key} to “{value}”")),
        Action::Unknown { .. } => ("did", "doing of", "something that this version of Clave cannot read".to_owned()),
    };
    (format!("{verb} {rest}"), format!("{noun} {rest}"))
}

fn article(role: Role) -> String {
    let article = if matches!(role, Role::Owner | Role::Admin) { "an" } else { "a" };
    format!("{article} {role}")
}
