//! A request and a requester in; a permit with obligations, or a refusal with reasons, out.
