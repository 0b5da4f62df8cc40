//! Keys and anchors in, client and server settings out; verifies smartcard certificates.
//!
//! Settings are plain values behind an `Arc`: to reload, build new ones and swap them; a connection keeps those it
//! began with. TLS 1.2 is the floor in both directions. Verification cannot be turned off: there is no setting, and
//! no code path, that yields a client without anchors or a server that takes an unchecked certificate.

pub mod client;
pub mod error;
pub mod identity;
pub mod material;
pub mod policies;
pub mod revocation;
pub mod server;
pub mod smartcard;
pub mod validity;
