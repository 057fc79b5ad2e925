//! Takes a future that wakes itself through one turn of its task. hyper's connections do: taking the body of a
//! request wakes the connection that has sent it, which is the same task. The runtime would put the task
//! into its queue for that, and wake another thread to look into the queue.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often it is polled in a turn, so that it leaves others theirs.
const POLLS: usize = 8;

/// It waits.
const IDLE: u8 = 0;
/// It is polled.
const POLLED: u8 = 1;
/// It was woken while it was polled.
const WOKEN: u8 = 2;

#[derive(Default)]
struct Turn {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (from, to) = (POLLED, WOKEN);
        let polled = (self.state).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        if polled == Err(IDLE) {
            self.task.wake();
        }
    }
}

/// Runs a future to its end. It is pinned where it stands, because a future that is handed over has its room
/// twice.
pub(super) async fn in_one_turn<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let turn = Arc::new(Turn::default());
    let waker = Waker::from(Arc::clone(&turn));
    poll_fn(|cx| {
        turn.task.register(cx.waker());
        for _ in 0..POLLS {
            turn.state.store(POLLED, Ordering::Release);
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let (from, to) = (POLLED, IDLE);
            let ended =
                (turn.state).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            if polled.is_ready() || ended.is_ok() {
                return polled;
            }
        }
        turn.state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use std::pin::pin;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A future that wakes itself so often before it ends.
    async fn restless(mut times: usize) {
        poll_fn(|cx| {
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_at_once_but_not_for_ever() {
        for (times, polls) in [(0, 1), (POLLS - 1, 1), (POLLS, 2), (3 * POLLS, 4)] {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut cx = Context::from_waker(&waker);
            let restless = pin!(restless(times));
            let mut future = pin!(in_one_turn(restless));
            let mut polled = 1;
            while future.as_mut().poll(&mut cx).is_pending() {
                polled += 1;
            }
            assert_eq!(polled, polls, "{times}");
            assert_eq!(count.0.load(Ordering::Relaxed), polls - 1, "{times}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_wake_of_another_thread_is_lost() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let receives = tokio::spawn(async move {
            let sums = pin!(async move {
                let mut sum = 0;
                while let Some(number) = receiver.recv().await {
                    sum += number;
                }
                sum
            });
            in_one_turn(sums).await
        });
        for number in 0..10_000_u64 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        let sum = tokio::time::timeout(Duration::from_secs(30), receives).await;
        assert_eq!(sum.unwrap().unwrap(), 9_999 * 5_000);
    }
}
