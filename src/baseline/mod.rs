//! Facts, controls and their evaluation: evidence in, assessment out. Unknown never passes.
