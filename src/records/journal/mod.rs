//! Records on their way to the database.

pub(crate) mod misplaced;
pub(crate) mod queues;
pub(crate) mod retention;
pub(crate) mod room;
pub(crate) mod turn;
pub(crate) mod writer;
pub(crate) mod written;
