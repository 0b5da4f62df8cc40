//! Reads changes, plans, guards, executes, confirms.
