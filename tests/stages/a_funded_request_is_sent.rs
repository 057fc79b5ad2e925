// compiles
// So that the others can't fail for a name that has changed.
use iris::exchange::Funded;
use iris::exchange::upstream::Upstream;
use iris::net::client::Reuse;

pub async fn send(upstream: &Upstream, funded: &Funded<'_>) -> bool {
    upstream.send(funded, Reuse::Kept).await.is_ok()
}
