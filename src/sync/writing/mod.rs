//! The national directory: what is in it, and writing into it on conditions, with a journal.

pub mod execute;
pub mod national;
pub mod observe;
pub mod owners;
pub mod pause;
pub mod record;
pub mod refused;
pub mod sight;
