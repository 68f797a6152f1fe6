//! What status, health, leases and watches tell.
