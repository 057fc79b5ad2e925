// error[E0616]: field `request` of struct `Errand` is private
use iris::exchange::Asked;
use iris::net::client::Errand;

pub fn smuggle(errand: &mut Errand<'_>, asked: &Asked) {
    *errand.request.headers_mut() = asked.head.headers.clone();
}
