//! Who is to be published and as what, what is different, what guards hold back: pure.

pub mod books;
pub mod compare;
pub mod desired;
pub mod difference;
pub mod drift;
pub mod guards;
pub mod naming;
pub mod survey;
