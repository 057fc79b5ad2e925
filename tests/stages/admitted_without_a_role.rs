// error[E0451]: fields `draft` and `context` of struct `Admitted` are private
use iris::exchange::Admitted;

pub fn admit(other: Admitted) -> Admitted {
    Admitted { ..other }
}
