//! What a report of a problem should hold.

use std::fmt::Write as _;

use crate::{Error, Node, Way};

impl Node {
    /// The state of this node in some lines of text, to be sent to whoever looks into a problem: counts, sizes and shortened
    /// ids. No names, no content, no keys, no addresses.
    ///
    /// # Errors
    /// [`Error::Paused`], [`Error::Stopped`], or what the disk has to say.
    pub async fn debug_dump(&self) -> Result<String, Error> {
        let status = self.status().await?;
        let mut dump = format!("clave {}\ndevice {}\n", env!("CARGO_PKG_VERSION"), self.profile().device.short());
        let mut line = |text: String| writeln!(dump, "{text}").expect("text can be written to text");
        line(format!("addresses {}, store {} bytes", status.addresses.len(), status.store_bytes));
        line(format!("sent {} bytes, received {} bytes", status.sent_bytes, status.received_bytes));
        for peer in &status.peers {
            let rtt_ms = peer.round_trip.map(|trip| trip.as_millis());
            let way = match peer.way {
                Way::Direct => "direct",
                Way::HolePunched => "hole-punched",
                Way::Relayed { .. } => "relayed",
            };
            line(format!("peer {} {way} round trip {rtt_ms:?} ms", peer.device.short()));
        }
        for (reason, count) in &status.refusals {
            line(format!("refused {count}: {reason}"));
        }
        let circles = self.read(|engine| Ok(engine.circles().collect::<Vec<_>>())).await?;
        for circle in circles {
            let status = self.read(move |engine| engine.status(circle)).await?;
            line(format!(
                "circle {} depth {} leaves {} entries {} held {} set aside {} waiting {} rejoining {}",
                circle.short(),
                status.depth,
                status.leaves,
                status.entries,
                status.held,
                status.set_aside,
                status.waiting,
                status.rejoining
            ));
        }
        Ok(dump)
    }
}
