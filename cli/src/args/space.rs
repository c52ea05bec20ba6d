//! What can be typed about spaces: founding them, inviting, joining.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum SpaceCommand {
    /// Found a space, and be its owner
    #[command(after_help = "Example:\n  clave space new \"四月项目\"")]
    New {
        /// What it is called
        name: String,
        /// Agree on keys by X-Wing (ML-KEM-768 and X25519), here and in all circles of the space, for good; larger messages
        #[arg(long)]
        post_quantum: bool,
    },
    /// List the spaces of this device
    #[command(after_help = "Example:\n  clave space list", visible_alias = "ls")]
    List,
    /// Show a space: people, documents and their heads, keys
    #[command(after_help = "Example:\n  clave space show --space Kollektiv")]
    Show,
    /// Leave a space: what is here stays readable, nothing more arrives
    #[command(after_help = "Example:\n  clave space leave --space Kollektiv")]
    Leave,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(subcommand)]
    pub(crate) command: Option<InviteCommand>,
    /// How long the link works: 30m, 24h, 7d
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub(crate) valid: Duration,
    /// Draw the link as a QR code
    #[arg(long)]
    pub(crate) qr: bool,
    /// Stay, and say when somebody has joined
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// List the invitations that this device made
    #[command(after_help = "Example:\n  clave invite list", visible_alias = "ls")]
    List,
    /// Take an invitation back
    #[command(after_help = "Example:\n  clave invite revoke h2k7")]
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The link, as it was sent to you
    #[arg(required_unless_present = "cancel")]
    pub(crate) link: Option<String>,
    /// Give up what waits at a relay: this invitation, or all without LINK
    #[arg(long)]
    pub(crate) cancel: bool,
    /// How long to try
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}
