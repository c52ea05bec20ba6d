//! Real devices on one machine, over loopback.

mod frames;
mod harness;
mod hostile;
mod peers;
mod relayed;
