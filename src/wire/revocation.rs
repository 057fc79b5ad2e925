//! The end of a response that its caller may no longer have.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::Rejection;
use crate::base::panics;

/// Resolves to the reason once the caller of a running response may no longer have it. The body itself looks at
/// it; the server that sends the response finds it in the response's extensions, and looks at it while
/// the caller takes nothing, because the body isn't polled then.
pub type Revocation = Shared<BoxFuture<'static, Rejection>>;

/// A revocation that resolves when `reason` does. A panic in it revokes too, because the future that
/// it leaves behind can't be polled again.
pub fn revocation(reason: impl Future<Output = Rejection> + Send + 'static) -> Revocation {
    let reason = panics::caught("the watch of a grant", reason);
    let reason = reason.map(|reason| reason.unwrap_or_else(Rejection::panicked));
    reason.boxed().shared()
}
