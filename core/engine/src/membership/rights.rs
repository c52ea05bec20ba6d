//! Roles and what each may do: one table, nothing else decides.

use std::fmt;

/// What somebody is in a circle. The numbers are part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Role {
    /// Answers to other owners only. A circle always has one.
    Owner = 1,
    /// Runs the circle day by day: people below admins, names, policies.
    Admin = 2,
    /// Takes part and, unless the policy says otherwise, invites.
    Member = 3,
    /// A program: a bridge to another system. Takes part, invites nobody.
    Bot = 4,
    /// Takes part for a while, invites nobody.
    Guest = 5,
}

/// Something that needs permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Right {
    /// Write into documents.
    Write,
    /// Commit to the key agreement: rotate keys, carry out what the log says.
    Commit,
    /// Look after oneself: own devices, own name, key packages, leaving.
    OwnEntry,
    /// Bring people in, in a role that [`Role::gives`] allows.
    Invite,
    /// End a grant whose date has passed.
    EndGrant,
    /// Remove people, revoke their devices, change their roles, as far as [`Role::manages`] reaches.
    ManagePeople,
    /// Name the circle.
    Rename,
    /// Set policies.
    SetPolicy,
}

struct Line {
    role: Role,
    rights: &'static [Right],
    /// The roles it may give.
    gives: &'static [Role],
    /// The roles whose holders it may remove or give another role.
    manages: &'static [Role],
}

use Right::{Commit, EndGrant, Invite, ManagePeople, OwnEntry, Rename, SetPolicy, Write};
use Role::{Admin, Bot, Guest, Member, Owner};

const TABLE: [Line; 5] = [
    Line {
        role: Owner,
        rights: &[Write, Commit, OwnEntry, Invite, EndGrant, ManagePeople, Rename, SetPolicy],
        gives: &[Owner, Admin, Member, Bot, Guest],
        manages: &[Owner, Admin, Member, Bot, Guest],
    },
    Line {
        role: Admin,
        rights: &[Write, Commit, OwnEntry, Invite, EndGrant, ManagePeople, Rename, SetPolicy],
        gives: &[Member, Bot, Guest],
        manages: &[Member, Bot, Guest],
    },
    Line {
        role: Member,
        rights: &[Write, Commit, OwnEntry, Invite, EndGrant], // Invite: while `members_may_invite` holds
        gives: &[Member, Guest],
        manages: &[],
    },
    Line { role: Bot, rights: &[Write, Commit, OwnEntry], gives: &[], manages: &[] },
    Line { role: Guest, rights: &[Write, Commit, OwnEntry], gives: &[], manages: &[] },
];

impl Role {
    /// All of them, the highest first.
    pub const ALL: [Self; 5] = [Owner, Admin, Member, Bot, Guest];

    fn line(self) -> &'static Line {
        TABLE.iter().find(|line| line.role == self).expect("the table has a line for each role")
    }

    /// Its place from the top: an owner's is 0.
    #[must_use]
    pub const fn rank(self) -> u8 {
        self as u8 - 1
    }

    /// Whether the role has the right, policies apart.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.line().rights.contains(&right)
    }

    /// Whether its holders may give `role` to somebody.
    #[must_use]
    pub fn gives(self, role: Self) -> bool {
        self.line().gives.contains(&role)
    }

    /// Whether its holders may remove somebody with `role`, or give them another.
    #[must_use]
    pub fn manages(self, role: Self) -> bool {
        self.line().manages.contains(&role)
    }

    /// The number it has on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The role with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|role| u32::from(role.number()) == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner => "owner",
            Admin => "admin",
            Member => "member",
            Bot => "bot",
            Guest => "guest",
        })
    }
}

impl fmt::Display for Right {
    /// Completes "may not …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Write => "write",
            Commit => "rotate keys",
            OwnEntry => "change their own entry",
            Invite => "invite",
            EndGrant => "end grants",
            ManagePeople => "manage people",
            Rename => "rename the circle",
            SetPolicy => "set policies",
        })
    }
}
