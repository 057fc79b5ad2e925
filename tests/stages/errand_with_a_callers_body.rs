// error[E0616]: field `body` of struct `Errand` is private
use iris::exchange::Asked;
use iris::net::client::Errand;

pub fn smuggle(errand: &mut Errand<'_>, asked: &Asked) {
    errand.body = asked.call.body.clone();
}
