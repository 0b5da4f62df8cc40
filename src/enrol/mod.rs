//! The life of a membership: requested, checked, approved, piloting, federated, suspended, leaving, left.
//!
//! [`lifecycle`] says which steps exist and is pure; [`run`] takes them, each with its actor, reason, time and audit record in
//! one transaction of the store; [`attestations`] keeps what a member states; [`outlook`] says what a member's latest assessment keeps closed whatever step is taken.
//! [`programme`] says where every organisation stands, members or not.
//!
//! Must never: skip a state.

pub mod attestations;
pub mod error;
pub mod lifecycle;
pub mod outlook;
pub mod programme;
pub mod run;
