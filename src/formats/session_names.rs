//! What the model of a session is called: by its caller, and by its provider.

use super::body::{bad_request, names};
use crate::base::text::Text;
use crate::wire::Rejection;

/// The names of a session's model.
#[derive(Clone, Debug)]
pub struct Names {
    /// As the caller named it.
    pub asked: Text,
    /// As its provider names it.
    pub served: Text,
    /// The provider.
    pub provider: Text,
}

impl Names {
    /// A name by which a request finds this model at this provider alone.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}/{}", self.provider, self.served)
    }

    /// Sees that a model named in a message of the session is the session's.
    ///
    /// # Errors
    /// A 400 that names both.
    pub(super) fn same(&self, key: &str, named: &str) -> Result<(), Rejection> {
        let is_it = |known: &str| names(named, known);
        if is_it(&self.asked) || is_it(&self.served) || is_it(&self.subject()) {
            return Ok(());
        }
        let named: String = named.chars().take(60).collect();
        Err(bad_request(format!(
            "`{key}` names the model {named:?}, and this session was opened for {:?}: a session keeps its \
             model, so open another one",
            self.asked.as_str()
        )))
    }
}
