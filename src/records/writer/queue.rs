//! The way to the writer.

use std::sync::mpsc::{SendError, Sender};
use std::thread::Thread;

use super::Message;

/// Sends to the writer. A record wakes it only where it has nothing to do: while it gathers a group, it
/// sleeps until the group is due, and a thread that answers requests doesn't pay for waking it.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Message>,
    writer: Thread,
}

impl Queue {
    pub(crate) fn new(sender: Sender<Message>, writer: Thread) -> Queue {
        Queue { sender, writer }
    }

    /// # Errors
    /// When the writer has ended; it gives the message back.
    pub(crate) fn send(&self, message: Message) -> Result<(), SendError<Message>> {
        let can_wait = matches!(message, Message::Record(..) | Message::Tell(_));
        self.sender.send(message)?;
        if !can_wait {
            self.writer.unpark();
        }
        Ok(())
    }
}
