//! One versioned file into every module's own settings, or all of its faults.
