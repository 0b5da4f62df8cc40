//! That a card really logs on, and that a password really does not, for the member's monitoring account. The bit "smart card is
//! required" proves neither; a password that is refused proves something only together with it.

pub mod account;
pub mod probe;
pub mod verdict;
