//! An assessment for people to read: text, HTML, CSV of offenders; and for programs: JSON, and OSCAL assessment results.

pub mod closings;
pub mod count;
pub mod csv;
pub mod first;
pub mod history;
pub mod html;
pub mod nation;
pub mod oscal;
pub mod page;
pub mod text;
pub mod trend;
pub mod words;
