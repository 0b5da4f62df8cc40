//! Metrics and health over plain HTTP, on a loopback or management address: `/metrics`, `/livez`, `/readyz`.
//!
//! Must never: touch `directory` or `store` behind the verbs' backs.

pub mod health;
pub mod server;
