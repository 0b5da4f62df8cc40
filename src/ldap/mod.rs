//! The language of directories: BER with limits, messages, controls, filters, names, entries. No socket, no clock.
