//! Policy files and the YAML in them, every part with its place.

use crate::policy::fault::{Place, Placed};

/// A part of a document as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Place,
    pub content: Content,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Null,
    /// A scalar as written; `plain` means without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Placed<String>, Node)>),
}
