//! detcd-wire
