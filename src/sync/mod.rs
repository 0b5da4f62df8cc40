//! Publishing a member's people into the national directory: reads changes, plans (pure), guards, executes, confirms.
//!
//! One run: lease, read (DirSync; effects and cookie in one transaction), plan from everything staged and the live
//! target, guards, execute with assertions and a journal around every batch, read back. A run that was killed anywhere
//! is resumed by running again: the plan is made anew from what is staged and what is really there.
//!
//! Its parts, each of which uses only those below it:
//!
//! ```text
//! 8  hand                    what people do by hand: look, explain, undo, read anew, register a table
//! 7  watching                the national directory watched (RFC 4533): what is not as the journal says
//! 6  running                 a member's run from its lease to its report, and what makes runs come
//! 5  planning                a plan from what is staged and what is published
//! 4  writing                 the national directory: what is in it; writes on conditions, with a journal
//! 3  reading                 a member directory: which controller, what changed, what is gone
//! 2  keeping                 what the store keeps of a member, under the lease of a run
//! 1  people                  who is to be published and as what, what is different, what guards hold back: pure
//! 0  terms                   people and their identities, steps, settings, errors: words that every part uses
//! ```
//!
//! Must never: apply a write that no plan holds; write to a member; take "not seen" for "deleted".

pub mod hand;
pub mod keeping;
pub mod people;
pub mod planning;
pub mod reading;
pub mod running;
pub mod terms;
pub mod watching;
pub mod writing;
