//! Work that the writer does between records, with an answer in time. Records wait for the database
//! for as long as it takes; a person who saves a configuration wants to know that it can't be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Message, Queue};
use crate::records::stores::Connection;
use crate::records::{Error, Failure, Shared};

/// How long work waits for its turn. It is then not done at all.
pub(crate) const TURN: Duration = Duration::from_secs(5);

/// How long work that has begun is waited for. What it does may still take effect afterwards.
pub(crate) const WORK: Duration = Duration::from_secs(10);

const WAITS: u8 = 0;
const HAS_BEGUN: u8 = 1;
const IS_GIVEN_UP: u8 = 2;

/// Runs `work` on the writer's connection. It is given up when writing fails before it has begun.
pub(crate) async fn run<T: Send + 'static>(
    queue: &Queue,
    shared: &Shared,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Error> {
    let mut failing = std::pin::pin!(shared.failing.notified());
    failing.as_mut().enable();
    shared.writable()?;
    let state = Arc::new(AtomicU8::new(WAITS));
    let (done, mut answer) = oneshot::channel();
    let begun = Arc::clone(&state);
    let message = Message::Work(Box::new(move |connection| {
        if !change(&begun, HAS_BEGUN) {
            return;
        }
        let result =
            connection.and_then(|connection| work(connection).map_err(|error| error.to_string()));
        // The receiver may be gone.
        let _ = done.send(result);
    }));
    let gone = || Error::Write("the writer has ended".to_owned());
    queue.send(message).map_err(|_| gone())?;
    tokio::select! {
        biased;
        result = &mut answer => return result.map_err(|_| gone())?.map_err(Error::Write),
        () = failing => {}
        () = tokio::time::sleep(TURN) => {}
    }
    if change(&state, IS_GIVEN_UP) {
        shared.writable()?;
        return Err(busy());
    }
    match tokio::time::timeout(WORK, answer).await {
        Ok(result) => result.map_err(|_| gone())?.map_err(Error::Write),
        Err(_) => Err(late()),
    }
}

/// The database has not come to it in time.
pub(crate) fn busy() -> Error {
    Error::Write(format!("it was busy for {TURN:?}"))
}

/// Work that has begun has not ended in time.
pub(crate) fn late() -> Error {
    Error::Undecided(format!(
        "it was not done within {WORK:?}, and may still take effect"
    ))
}

/// Whether work that waited is now in another state.
fn change(state: &AtomicU8, to: u8) -> bool {
    let changed = state.compare_exchange(WAITS, to, Ordering::AcqRel, Ordering::Acquire);
    changed.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn opened() -> (Queue, Receiver<Message>) {
        let (sender, messages) = channel();
        (Queue::new(sender, std::thread::current()), messages)
    }

    #[tokio::test]
    async fn work_is_given_up_when_writing_fails_and_is_not_done_later() {
        let (queue, messages) = opened();
        let shared = Arc::new(Shared::default());
        let asked = {
            let (queue, shared) = (queue.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let work = |_: &mut dyn Connection| -> Result<(), Failure> {
                    unreachable!("it was given up")
                };
                run(&queue, &shared, work).await
            })
        };
        let message = loop {
            if let Ok(message) = messages.try_recv() {
                break message;
            }
            tokio::task::yield_now().await;
        };
        shared.fails(Some("no space".to_owned()));
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "ledger: cannot write: no space");
        let Message::Work(work) = message else {
            panic!("of another kind");
        };
        work(Err("it is not looked at".to_owned()));
        // As long as it fails, nothing waits at all.
        let refused = run(&queue, &shared, |_| Ok(())).await.unwrap_err();
        assert_eq!(refused.to_string(), error.to_string());
        assert!(messages.try_recv().is_err(), "nothing was queued");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_has_begun_is_waited_for_and_not_without_end() {
        let (queue, messages) = opened();
        let shared = Arc::new(Shared::default());
        let asked = tokio::spawn(async move { run(&queue, &shared, |_| Ok(7)).await });
        tokio::time::sleep(TURN / 2).await;
        drop(messages);
        // The writer's end is known at once.
        assert!(asked.await.unwrap().is_err());
        let (queue, messages) = opened();
        let shared = Arc::new(Shared::default());
        let asked = tokio::spawn(async move { run(&queue, &shared, |_| Ok(7)).await });
        let error = asked.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("busy"), "{error}");
        assert!(messages.try_recv().is_ok());
    }
}
