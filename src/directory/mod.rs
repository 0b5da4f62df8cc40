//! Connects to directories: TLS, bind, strict framing, deadlines; the guarded client for our own questions.
