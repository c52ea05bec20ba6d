//! The generated protobuf types.
#![allow(missing_docs, clippy::all, unreachable_pub)]

pub(crate) mod entry {
    include!(concat!(env!("OUT_DIR"), "/clave.entry.v1.rs"));
}
pub(crate) mod file {
    include!(concat!(env!("OUT_DIR"), "/clave.file.v1.rs"));
}
pub(crate) mod frame {
    include!(concat!(env!("OUT_DIR"), "/clave.frame.v1.rs"));
}
pub(crate) mod invitation {
    include!(concat!(env!("OUT_DIR"), "/clave.invitation.v1.rs"));
}
pub(crate) mod local {
    include!(concat!(env!("OUT_DIR"), "/clave.local.v1.rs"));
}
pub(crate) mod account {
    include!(concat!(env!("OUT_DIR"), "/clave.account.v1.rs"));
}
