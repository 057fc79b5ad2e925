//! The end of a response that its caller may no longer have.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::Rejection;

/// Resolves to the reason once the caller of a running response may no longer have it. The body itself looks at
/// it; the server that sends the response finds it in the response's extensions, and looks at it while
/// the caller takes nothing, because nobody asks the body then.
pub type Revocation = Shared<BoxFuture<'static, Rejection>>;

/// A revocation that `reason` is the reason of, if it ever resolves.
pub fn revocation(reason: impl Future<Output = Rejection> + Send + 'static) -> Revocation {
    reason.boxed().shared()
}
