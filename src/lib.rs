//! Iris: a private AI gateway that joins your tailnet.
pub mod ledger;
