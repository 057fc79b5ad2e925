//! Long work beside the threads that serve others.

use std::sync::LazyLock;
use std::thread;

use tokio::sync::Semaphore;

/// As much is done at once as there are processors: each piece of work takes memory, too.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(2, usize::from)));

/// What work comes to that is done beside the threads that serve others, once it has its turn; `None` if it
/// panics. Work that has begun goes on though nobody waits for it.
pub(super) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let turn = TURNS.acquire().await.ok()?;
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.ok()
}
