//! What is kept of each request, and of what people do.

pub(crate) mod earlier;
