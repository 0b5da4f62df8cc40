//! Registration by file: the people of an organisation that has no directory of its own, as a table (CSV) with a row per person.
//!
//! The key of a person is (ODS code, local id); everything follows from it. A registered person is staged as an account of a
//! directory would be, under a GUID that is derived from the key ([`person::guid`]), and from there on nothing is different: the same
//! plan, guards, approvals, journal, writes with assertions, and reading back ([`crate::sync::running::run::after_reading`]).
//!
//! [`check`] reads a table and tells every fault of every row; [`mails`] asks the national directory whose the mails are, [`beside`] who is
//! registered already; [`run`] previews or applies, one organisation at a time under its lease; [`answer`] says what became of each row.
//!
//! A row that is not there says nothing: nobody leaves because a file does not name them. A leaver is named by `status`.
//!
//! Must never: write to the national directory itself; register people of an organisation that has a directory.

pub mod answer;
pub mod beside;
pub mod check;
pub mod mails;
pub mod organisation;
pub mod person;
pub mod run;
