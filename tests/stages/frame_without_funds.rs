// error[E0308]: mismatched types
use iris::exchange::Cleared;
use iris::exchange::upstream::{Socket, Upstream};

pub async fn send(upstream: &Upstream, cleared: &Cleared, socket: &mut Socket) -> bool {
    upstream.send_frame(cleared, socket).await.is_ok()
}
