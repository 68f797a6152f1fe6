//! The suite for the log over any [`crate::disk::Disk`].
