// error[E0308]: mismatched types
use iris::exchange::Cleared;
use iris::exchange::upstream::Upstream;
use iris::net::client::Reuse;

pub async fn send(upstream: &Upstream, cleared: &Cleared) -> bool {
    upstream.send(cleared, Reuse::Kept).await.is_ok()
}
