//! Runs the probes, writes evidence, evaluates it, moves the gates.
