// error[E0451]: fields `draft`, `asked` and `choice` of struct `Routed` are private
use iris::exchange::Routed;

pub fn route(other: Routed) -> Routed {
    Routed { ..other }
}
