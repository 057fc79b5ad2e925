//! What a configuration compiles to: immutable, replaced whole on reload. A request takes
//! one at its start and keeps it to its end.

use crate::access::Access;
use crate::config::{self, Finding};
use crate::route::RouteTable;

/// Compiled rules.
pub struct Rules {
    /// Who may do what.
    pub access: Access,
    /// Which provider serves what.
    pub routes: RouteTable,
    /// Longest request body in bytes.
    pub request_body: usize,
    /// Longest silence while a request body arrives.
    pub body_idle: std::time::Duration,
    /// The configuration itself, for those who show it.
    pub file: config::File,
    /// What its check found.
    pub findings: Vec<Finding>,
    /// Grows with each reload of a process.
    pub generation: u64,
}

impl Rules {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// A sentence for each thing that is wrong.
    pub fn compile(loaded: config::Loaded, generation: u64) -> Result<Self, Vec<String>> {
        let file = loaded.file;
        Ok(Self {
            access: Access::compile(&file),
            routes: RouteTable::compile(&file)?,
            request_body: file.limits.request_body,
            body_idle: file.timeouts.body,
            file,
            findings: loaded.findings,
            generation,
        })
    }
}
