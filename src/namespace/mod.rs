//! Which member owns a name; translation of names and attributes; how several answers become one.
