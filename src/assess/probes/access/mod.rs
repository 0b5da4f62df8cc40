//! Who holds which right over what rules the domain, from security descriptors.

pub mod area;
pub mod principal;
pub mod probe;
pub mod report;
pub mod right;
pub mod sight;
pub mod sweep;
