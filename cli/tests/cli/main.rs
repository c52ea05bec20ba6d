//! The real `clave` binary, as people and scripts use it.

mod canary;
mod chat;
mod demo;
mod errors;
mod harness;
mod invitations;
mod json;
mod work;
