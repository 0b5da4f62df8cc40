//! The one integration binary: real flows from outside, as a user would run them. Each file is a module of it.
mod config_faults;
mod enrol_life;
mod floors;
mod lab;
mod store_conformance;
mod store_faults;
