// error[E0616]: field `headers` of struct `Errand` is private
use iris::exchange::Asked;
use iris::net::client::Errand;

pub fn smuggle(errand: &mut Errand<'_>, asked: &Asked) {
    errand.headers = asked.head.headers.clone();
}
