//! A few bytes from a client that are to cost the member little memory and time.
