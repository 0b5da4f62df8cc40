//! Connections to directories: the member's and the national one. Dials, speaks TLS, binds, asks, with a deadline on
//! every call.
//!
//! Questions of our own go through [`client::Directory`], which is the crate `ldap3` behind [`guard`]: every inbound
//! message is framed and strictly decoded by our own codec, with limits of size and depth, before `ldap3` sees it.
//!
//! Must never: know policy, or ask for a password.

pub mod client;
pub mod contain;
pub mod dial;
pub mod discovery;
pub mod endpoint;
pub mod error;
pub mod guard;
pub mod paging;
pub mod request;
pub mod settings;
pub mod sink;
