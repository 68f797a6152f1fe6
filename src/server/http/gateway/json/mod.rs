//! JSON as Go reads and writes it. What etcd takes is not quite the standard: a scanner tells where a
//! value ends and what is wrong with it in Go's words ([`scan`]), [`text`] walks through values that
//! are known to be well-formed, [`read`] makes messages of them, and [`write`] goes the other way.

pub(super) mod read;
pub(super) mod scan;
mod text;
pub(super) mod write;
