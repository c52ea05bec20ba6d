//! What can be typed about being woken.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PushCommand {
    /// Have the relays push to this device when it is away and something is written for it; a push says nothing but that
    #[command(
        after_help = "Example:\n  clave push set https://push.example.org/UP?token=abc\n\nOf Web Push, give the keys of \
                            the subscription too. `clave push status` shows the key that it is to be made for."
    )]
    Set {
        /// The endpoint, an https URL: of UnifiedPush, or of a Web Push subscription
        endpoint: String,
        /// The subscription's key `p256dh`, in base64
        #[arg(long, value_name = "KEY", requires = "auth")]
        p256dh: Option<String>,
        /// The subscription's secret `auth`, in base64
        #[arg(long, value_name = "SECRET", requires = "p256dh")]
        auth: Option<String>,
        /// For this relay alone: its address
        #[arg(long, value_name = "ADDRESS")]
        relay: Option<String>,
    },
    /// Have no relay push to this device any more
    #[command(after_help = "Example:\n  clave push clear")]
    Clear,
    /// Show how each relay gets on with waking this device, and what is muted
    #[command(after_help = "Example:\n  clave push status")]
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct Mute {
    /// The circle; everybody in the space if missing
    #[arg(value_name = "CIRCLE")]
    pub(crate) name: Option<String>,
}
